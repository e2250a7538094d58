//! Winograd's algorithm against the interpreter in f64: every size, border and instruction set, each product of a
//! convolution by itself, within the bound that `docs/numerics.md` promises.
//!
//! The ReLU before the convolution has a mask that no rounding in Winograd's domain reaches.

use nin_dsl::graph::{Graph, WeightId};
use nin_runtime::compiler::Isa;
use nin_runtime::compiler::plan::Algo;
use nin_runtime::compiler::winograd::Size;
use nin_runtime::weights::Weights;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use rand::rngs::ChaCha8Rng;
use rand::{Rng, RngExt, SeedableRng};

use crate::products::{BOUND, CLASSES, Expected, NAMES, Places, Strayed, errors, model, places};
use crate::settings::config;

/// A convolution and what it is given.
#[derive(Clone, Copy, Debug)]
struct Case {
    size: Size,
    pad: usize,
    /// Height and width of its output.
    output: (usize, usize),
    channels: (usize, usize),
    images: usize,
    seed: u64,
}

impl Case {
    /// Height and width of its input; `None` if padding alone has that output.
    fn input(&self) -> Option<(usize, usize)> {
        let side = |output: usize| (output + self.size.taps).checked_sub(1 + 2 * self.pad);
        let sides = (side(self.output.0)?, side(self.output.1)?);
        (sides.0 > 0 && sides.1 > 0).then_some(sides)
    }

    fn graph(&self, (height, width): (usize, usize)) -> Graph {
        let Case { size: Size { taps, .. }, pad, channels: (cin, cout), images, .. } = *self;
        let conv = format!("conv({cout}, kernel = {taps}, pad = {pad})");
        model(images, [cin, height, width], "relu", &conv)
    }
}

/// What numbers a case is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Numbers {
    /// Maps and kernels around zero.
    Random,
    /// Maps far from zero: a mean a hundred times the deviation.
    Offset,
    /// One channel a thousand times as large as the others.
    Channel,
    /// Kernels whose taps cancel: their sum is nothing beside them, over a map that hardly changes.
    Cancelling,
}

/// Weights for a case's model.
fn weights(graph: &Graph, numbers: Numbers, rng: &mut impl Rng) -> Weights {
    let Places { kernel, map, .. } = places(graph);
    let mut weights = Weights::zeros(graph);
    let ids: Vec<WeightId> = graph.weight_ids().collect();
    for (id, values) in ids.into_iter().zip(weights.values_mut()) {
        let weight = graph.weight(id);
        let per_channel = weight.fan_in();
        let bound = match () {
            () if id == map => 1.0,
            () if id == kernel => (3.0 / per_channel as f32).sqrt(),
            // The head: softmax stays near its middle.
            () => 1e-3 / (per_channel as f32).sqrt(),
        };
        values.fill_with(|| rng.random_range(-bound..bound));
        let taps = if id == kernel { weight.dims[2] * weight.dims[3] } else { 1 };
        match numbers {
            Numbers::Random => {}
            Numbers::Offset if id == map => values.iter_mut().for_each(|x| *x += 100.0),
            Numbers::Channel if id == map => {
                values[..per_channel].iter_mut().for_each(|x| *x *= 1000.0);
            }
            Numbers::Cancelling if id == map => {
                values.iter_mut().for_each(|x| *x = 1.0 + 0.01 * *x);
            }
            Numbers::Cancelling if id == kernel => {
                for taps in values.chunks_mut(taps) {
                    let mean = taps.iter().sum::<f32>() / taps.len() as f32;
                    taps.iter_mut().for_each(|tap| *tap -= mean);
                }
            }
            Numbers::Offset | Numbers::Channel | Numbers::Cancelling => {}
        }
    }
    weights
}

fn expected(case: &Case, input: (usize, usize), numbers: Numbers) -> Expected {
    let graph = case.graph(input);
    let mut rng = ChaCha8Rng::seed_from_u64(case.seed);
    let weights = weights(&graph, numbers, &mut rng);
    let labels = (0..case.images).map(|_| rng.random_range(0..CLASSES as u32)).collect();
    Expected::of(graph, weights, labels)
}

/// Checks a case on every instruction set.
fn check(case: &Case, isas: &[Isa]) -> Result<(), String> {
    let Some(input) = case.input() else { return Ok(()) };
    let expected = expected(case, input, Numbers::Random);
    for &isa in isas {
        let errors = errors(&expected, isa, Algo::Outputs(case.size.outputs));
        for (name, Strayed { rms, max }) in NAMES.into_iter().zip(errors) {
            if rms.is_nan() || rms > BOUND {
                return Err(format!(
                    "{} on {isa}, {name}: {rms:e} rms, {max:e} at most; {case:?}",
                    case.size
                ));
            }
        }
    }
    Ok(())
}

/// Every size, every pad up to the kernel's side, maps from a single output to three tiles, whole and partial.
fn check_taps(taps: usize) {
    let isas: Vec<Isa> = Isa::available().collect();
    let mut failures = vec![];
    let mut checked = 0;
    for size in Size::all(taps) {
        let m = size.outputs;
        let sides = [1, m - 1, m, m + 1, 2 * m - 1, 2 * m, 2 * m + 1, 3 * m];
        for pad in 0..=taps {
            // Every pad shrinks what is left of a map; two maps a pad, of sides that go round.
            let fits = |side: &usize| side + taps > 1 + 2 * pad;
            let fit: Vec<usize> = sides.into_iter().filter(fits).collect();
            for turn in 0..2 {
                let side = |at: usize| fit.get(at % fit.len().max(1)).copied();
                let (Some(height), Some(width)) = (side(pad + 3 * turn), side(pad + 3 * turn + 2))
                else {
                    continue;
                };
                let case = Case {
                    size,
                    pad,
                    output: (height, width),
                    channels: [(3, 18), (21, 5)][turn],
                    images: 1 + (pad + turn) % 2,
                    seed: (pad * 2 + turn) as u64,
                };
                checked += 1;
                failures.extend(check(&case, &isas).err());
            }
        }
    }
    assert!(failures.is_empty(), "{} of {checked}:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn kernels_of_2_are_within_the_bound() {
    check_taps(2);
}

#[test]
fn kernels_of_3_are_within_the_bound() {
    check_taps(3);
}

#[test]
fn kernels_of_4_are_within_the_bound() {
    check_taps(4);
}

#[test]
fn kernels_of_5_are_within_the_bound() {
    check_taps(5);
}

#[test]
fn kernels_of_6_and_7_are_within_the_bound() {
    check_taps(6);
    check_taps(7);
}

fn cases() -> impl Strategy<Value = (Case, Isa)> {
    let sizes: Vec<Size> = (2..Size::MOST).flat_map(Size::all).collect();
    let isa = proptest::sample::select(Isa::available().collect::<Vec<_>>());
    let parts = (proptest::sample::select(sizes), 0..=7usize, (1..=13usize, 1..=13usize));
    let rest = ((1..=40usize, 1..=40usize), 1..=5usize, 0..1u64 << 32);
    (parts, rest, isa).prop_map(|((size, pad, output), (channels, images, seed), isa)| {
        (Case { size, pad: pad.min(size.taps), output, channels, images, seed }, isa)
    })
}

#[test]
fn random_convolutions_are_within_the_bound() {
    proptest!(config(8), |((case, isa) in cases())| {
        prop_assume!(case.input().is_some());
        check(&case, &[isa]).map_err(TestCaseError::fail)?;
    });
}

/// Prints the tables of `docs/numerics.md`, which says how to run it.
#[test]
#[ignore = "prints tables for people"]
#[expect(clippy::print_stdout, reason = "that is what it is for")]
fn errors_of_every_size() {
    for numbers in [Numbers::Random, Numbers::Offset, Numbers::Channel, Numbers::Cancelling] {
        println!("\n{numbers:?}\n");
        println!("| algorithm | forward | input gradient | kernel gradient |\n|---|---|---|---|");
        for taps in 2..Size::MOST {
            let sizes = Size::all(taps).map(|size| (size.to_string(), Algo::Outputs(size.outputs)));
            let direct = (format!("direct, {taps}x{taps}"), Algo::Direct);
            // At a border taps that cancel do not.
            let pad = if numbers == Numbers::Cancelling { 0 } else { taps / 2 };
            let side = 11 + taps % 2;
            let case = Case {
                size: Size { outputs: 2, taps },
                pad,
                output: (side, side),
                channels: (64, 48),
                images: 2,
                seed: 1,
            };
            let input = case.input().expect("it has a map");
            let expected = expected(&case, input, numbers);
            for (name, algo) in [direct].into_iter().chain(sizes) {
                let errors = errors(&expected, Isa::Auto, algo);
                let cells = errors.map(|Strayed { rms, max }| format!("{rms:.1e} ({max:.0e})"));
                println!("| {name} | {} |", cells.join(" | "));
                if numbers == Numbers::Random {
                    assert!(errors.iter().all(|error| error.rms <= BOUND), "{name}");
                }
            }
        }
    }
}
