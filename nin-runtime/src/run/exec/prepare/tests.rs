//! Generated code and this packing make the same bits, whatever the plan.

use std::path::Path;

use nin_dsl::graph::{self, Graph};
use target_lexicon::Triple;

use super::*;
use crate::compile::{self, Purpose};
use crate::compiler::Isa;
use crate::compiler::codegen::{self, Assembly, Target};
use crate::compiler::kernel::Entry;
use crate::compiler::plan::{self, Algo, Algos, Demand};
use crate::model::Model;
use crate::run::exec::start;
use crate::run::jit::CodeMemory;
use crate::run::jit::call::{Callee, Lanes};

/// What generated code makes of weights: code for `target`, by a plan that may be for another.
fn generated(graph: &Graph, plan: &Plan, target: &Target, weights: &Weights) -> Floats {
    let clif = codegen::write_entries(plan::verify(graph, plan), target, &[Entry::Prepare], 0);
    let code = codegen::translate(clif, target, 1, Assembly::Drop).unwrap();
    let code = CodeMemory::link(&code, target).unwrap();
    let mut master = Floats::zeroed(plan.weight_floats).unwrap();
    from_file_layout(graph, plan, weights, &mut master);
    let mut prepared = Floats::of_bytes(plan.prepared_bytes).unwrap();
    let mut arenas = [Floats::of_bytes(plan.arena()).unwrap()];
    let (callee, mut lanes) = (Callee { code: &code, graph, plan }, Lanes::default());
    let calls = callee.prepare(&master, &mut prepared, &mut arenas, &mut lanes);
    calls.run(&mut start(1).unwrap()).unwrap();
    prepared
}

/// The targets whose plans are compared, each with one whose code this machine runs: its own where it can.
fn targets() -> Vec<(Target, Target)> {
    let of = |triple: &str, isa| Target::of(&triple.parse::<Triple>().unwrap(), isa).unwrap();
    let here = |isa| Target::host(isa).unwrap();
    let others = [
        of("aarch64-unknown-linux-gnu", Isa::Portable),
        of("x86_64-unknown-linux-gnu", Isa::Portable),
        of("x86_64-unknown-linux-gnu", Isa::Avx2),
        of("x86_64-unknown-linux-gnu", Isa::Avx512),
    ];
    let others = others.into_iter().map(|target| (target, here(Isa::Portable)));
    others.chain(Isa::available().map(|isa| (here(isa), here(isa)))).collect()
}

/// Weights of every size, some of which vanish in a product and some of which are denormal.
fn weights(graph: &Graph, seed: u32) -> Weights {
    let mut weights = Weights::zeros(graph);
    let mut state = seed;
    for value in weights.values_mut().flatten() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let sign = if state & 1 == 0 { 1.0 } else { -1.0 };
        let magnitude = match state >> 28 {
            0 => 1e-39,
            1 => 1.2e-38,
            2 => 0.0,
            3 => 1e-19,
            _ => 0.1,
        };
        *value = sign * magnitude * (state >> 8) as f32 / (1 << 24) as f32;
    }
    for (id, values) in graph.weight_ids().zip(weights.values_mut()) {
        if graph.weight(id).role == graph::Role::RunningVariance {
            values.iter_mut().for_each(|value| *value = value.abs());
        }
    }
    weights
}

/// How many numbers were compared.
fn compare(graph: &Graph, algos: &Algos) -> usize {
    let weights = weights(graph, 7);
    let (mut compared, targets) = (0, targets());
    // Of a large model, aarch64's plan and that of the best code here do: others have the same at other places.
    let is_large =
        graph.weights().iter().map(|weight| weight.elements()).sum::<usize>() > 2_000_000;
    let step = if is_large { targets.len() - 1 } else { 1 };
    for (planned, runs) in targets.into_iter().step_by(step) {
        for (batch, purpose) in [(1, Purpose::Inference), (128, Purpose::Training)] {
            let registers = planned.registers();
            let plan = compile::planned(graph, purpose, Demand { batch, registers, algos });
            let expected = generated(graph, &plan, &runs, &weights);
            let found = prepare(graph, &plan, &weights).unwrap();
            let pairs = expected.as_slice().iter().zip(found.as_slice()).enumerate();
            for (at, (expected, found)) in pairs {
                assert_eq!(
                    expected.to_bits(),
                    found.to_bits(),
                    "{} for {} {:?} {purpose:?}: {expected} and {found} at {at}",
                    graph.name(),
                    planned.name,
                    planned.registers(),
                );
            }
            compared += found.len();
        }
    }
    compared
}

/// The models that come with nin.
#[test]
fn models_are_prepared_alike() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let mut models = 0;
    for folder in [folder.clone(), folder.join("ablation")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "nin") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let model = Model::from_text(&path.display().to_string(), &text, &[]).unwrap();
            assert!(compare(model.graph(), &Algos::default()) > 0);
            models += 1;
        }
    }
    assert!(models >= 12, "only {models} models were found");
}

/// Every size of Winograd's algorithm and the direct one, strides, uneven channels, merged and free batch normalisations.
#[test]
fn every_algorithm_is_prepared_alike() {
    for kernel in 2..Size::MOST {
        let text = format!(
            "model M < input(3, 14, 14) conv(21, kernel = {kernel}, pad = 3) batchnorm relu
             conv(5, kernel = {kernel}, stride = 2, pad = 3) batchnorm maxpool(2) batchnorm
             mlpconv(17, 40, kernel = {kernel}, pad = 3) conv(3, kernel = 1, stride = 2) fc(7) softmax >"
        );
        let model = Model::from_text("m.nin", &text, &[]).unwrap();
        let sizes = Size::all(kernel).map(|size| Algo::Outputs(size.outputs));
        for algo in sizes.chain([Algo::Direct]) {
            assert!(compare(model.graph(), &Algos::from(algo)) > 0);
        }
    }
}

/// What is flushed is flushed at the same numbers: just below the least normal float, a product is rounded up to it or not.
#[test]
fn products_next_to_the_least_float_agree() {
    let least = f32::MIN_POSITIVE;
    assert_eq!(product(least, 1.0), least);
    assert_eq!(product(least, 1.0 - f32::EPSILON), 0.0);
    // Exact products that are less than the least normal float by 2^-26 and 2^-24 of it.
    let [nearer, farther] = [13, 12].map(|power| {
        let part = 2.0_f32.powi(-power);
        product(2.0_f32.powi(-60) * (1.0 + part), 2.0_f32.powi(-66) * (1.0 - part))
    });
    assert_eq!([nearer, farther], [least, 0.0]);
    assert_eq!(product(-least, 0.5).to_bits(), (-0.0_f32).to_bits());
    assert_eq!(product(least / 2.0, 4.0), 0.0);
    assert_eq!(sum(least, -1.5 * least).to_bits(), (-0.0_f32).to_bits());
    assert!(product(f32::NAN, 0.0).is_nan());
    // Lanes are multiplied as single numbers are.
    let numbers: [f32; 16] = std::array::from_fn(|lane| match lane % 4 {
        0 => 2.0_f32.powi(-66) * (1.0 - 2.0_f32.powi(-12 - (lane / 8) as i32)),
        1 => 0.0,
        2 => -1.5 * least,
        _ => lane as f32,
    });
    for factor in [
        2.0_f32.powi(-60) * (1.0 + 2.0_f32.powi(-12)),
        2.0_f32.powi(-60) * (1.0 + 2.0_f32.powi(-13)),
        0.5,
        -3.0,
    ] {
        assert_eq!(scaled(factor, numbers), numbers.map(|x| product(factor, x)));
    }
}
