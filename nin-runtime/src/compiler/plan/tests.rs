//! How batches are cut, and where prepared weights lie.

use super::*;
use crate::compile::{self, Purpose};
use crate::compiler::Isa;
use crate::compiler::codegen::Target;
use crate::model::Model;

fn planned(outputs: usize, batch: usize) -> Plan {
    planned_text(&format!("model M < input(64, 8, 8) fc({outputs}) softmax >"), batch)
}

fn planned_text(text: &str, batch: usize) -> Plan {
    let model = Model::from_text("m.nin", text, &[]).unwrap();
    let target = Target::host(Isa::Portable).unwrap();
    let demand = Demand { batch, registers: target.registers(), algos: &Algos::default() };
    compile::planned(model.graph(), Purpose::Training, demand)
}

/// Gradients of all slices together stay within 128 MiB, but a batch has always a slice: weights of 128 MiB and more, too.
#[test]
fn a_batch_has_as_many_slices_as_memory_leaves() {
    // An output has 4,096 weights and a bias: 16 KiB and 4 bytes.
    for (outputs, slices) in
        [(10, 8), (1000, 8), (2000, 4), (4000, 2), (4200, 1), (8200, 1), (20_000, 1)]
    {
        let plan = planned(outputs, 128);
        assert_eq!(plan.slices, slices, "{outputs} outputs");
        assert_eq!((plan.slice_images() * slices, plan.chunk), (128, CHUNK));
    }
    for (batch, slices) in [(1, 1), (8, 1), (9, 2), (64, 8), (1000, 8)] {
        assert_eq!(planned(10, batch).slices, slices, "a batch of {batch}");
    }
}

/// Groups of one size are chunks of one phase; those of several keep phases, and whole batches between them.
#[test]
fn memory_does_not_grow_with_a_batch_of_groups() {
    let text = |ghosts: [usize; 2]| {
        let [a, b] = ghosts;
        format!(
            "< input(2, 8, 8) conv(9) batchnorm(ghost = {a}) relu conv(8) batchnorm(ghost = {b}) gap >"
        )
    };
    let sizes = |ghosts, batch| {
        let plan = planned_text(&text(ghosts), batch);
        assert!(plan.slice_images() * plan.slices >= batch);
        (plan.phases().len(), plan.chunk, plan.arena(), plan.store())
    };
    let (phases, chunk, arena, store) = sizes([8, 8], 64);
    assert_eq!((phases, chunk, store), (1, 11, 0));
    assert_eq!(sizes([8, 8], 1000), (1, 11, arena, 0));
    let (phases, chunk, _, store) = sizes([8, 4], 64);
    assert_eq!((phases, chunk), (5, CHUNK));
    assert!(store > 0 && sizes([8, 4], 128).3 > store);
}

/// Every group lies in one slice, wherever the batch ends.
#[test]
fn slices_are_cut_between_groups() {
    let text = "< input(2, 4, 4) batchnorm(ghost = 4) conv(3) batchnorm(ghost = 6) gap batchnorm >";
    let plan = planned_text(text, 100);
    assert_eq!(plan.slice_images(), 24);
    for n in 1..=100 {
        let slices: Vec<Range<usize>> =
            (0..plan.slices).map(|slice| plan.slice_of(slice, n)).collect();
        let mut end = 0;
        for slice in slices {
            assert_eq!(slice.start, end);
            end = slice.end;
            for ghost in [4, 6] {
                let begins = (0..groups(n, ghost)).any(|group| group * ghost == slice.start);
                assert!(begins || slice.is_empty(), "{n} images: {slice:?}");
            }
        }
        assert_eq!(end, n);
    }
}

/// Models whose convolutions are prepared in every form, with panels of which the last is cut off; of the second, a kernel is
/// larger than all that a run works in.
const PREPARED: [&str; 3] = [
    "model M < input(3, 14, 14) conv(50) batchnorm relu conv(33, kernel = 5) relu conv(21, stride = 2) batchnorm gap fc(7) >",
    "model M < input(96, 3, 3) conv(16) gap >",
    "model M < input(9, 12, 12) batchnorm conv(33, bias = 0) batchnorm conv(3, kernel = 1) gap batchnorm fc(50) >",
];

/// Plans of models for this CPU's instruction sets: for an image and for a batch, for inference and for training.
fn plans(texts: &[&str]) -> Vec<Plan> {
    let mut plans = Vec::new();
    for text in texts {
        let model = Model::from_text("m.nin", text, &[]).unwrap();
        for (isa, algo) in Isa::available().flat_map(|isa| Algo::ALL.map(|algo| (isa, algo))) {
            let target = Target::host(isa).unwrap();
            for (batch, purpose) in [(1, Purpose::Inference), (128, Purpose::Training)] {
                let (registers, algos) = (target.registers(), &algo.into());
                let demand = Demand { batch, registers, algos };
                plans.push(compile::planned(model.graph(), purpose, demand));
            }
        }
    }
    plans
}

/// Where a prepared kernel lies, and whether what it is made in is within the arena.
fn room(plan: &Plan, kernel: &PreparedKernel, panels: &[usize]) -> Vec<Range<usize>> {
    let bytes = kernel.elem.bytes();
    match &kernel.form {
        PreparedForm::Panels(offsets) => {
            let panels = offsets.iter().zip(panels);
            panels.map(|(&offset, numbers)| offset..offset + bytes * numbers).collect()
        }
        PreparedForm::Spectrum(spectrum) => {
            let PreparedSpectrum { offset, stride, panel, scratch } = *spectrum;
            let most = scratch + 4 * crate::compiler::kernel::Transform::SCRATCH;
            assert!(panel < scratch && most <= plan.preparing_bytes, "{spectrum:?}");
            assert!(plan.preparing_bytes <= plan.arena());
            // At least as many frequencies as a tile of three inputs has.
            std::iter::once(offset..offset + 9 * stride * bytes).collect()
        }
    }
}

/// Whole panels, biases with them: a strip is written to its full width.
#[test]
fn prepared_weights_lie_apart() {
    for plan in plans(&PREPARED) {
        let mut taken: Vec<Range<usize>> = Vec::new();
        for conv in &plan.convs {
            let panels = |of: &crate::compiler::geometry::Correlation, cols: usize| {
                of.outputs.div_ceil(cols) * of.panel(cols)
            };
            let cols = conv.tile(Product::Forward).cols;
            let forward = panels(&conv.geometry.forward(), cols);
            taken.extend(room(&plan, conv.prepared(Product::Forward), &[forward]));
            let padded = conv.geometry.cout.next_multiple_of(cols);
            taken.extend(conv.bias_panels.map(|offset| offset..offset + 4 * padded));
            if let Some(kernel) = &conv.product(Product::InputGrad).kernel {
                let cols = conv.tile(Product::InputGrad).cols;
                let phases = conv.geometry.input_grad();
                let floats: Vec<usize> =
                    phases.iter().map(|phase| panels(&phase.correlation, cols)).collect();
                taken.extend(room(&plan, kernel, &floats));
            }
        }
        for (norm, rows) in plan.free_norms() {
            taken.push(rows..rows + 4 * (norm.affine(Affine::Shift) + norm.channels));
        }
        taken.sort_by_key(|range| range.start);
        assert!(taken.windows(2).all(|pair| pair[0].end <= pair[1].start), "{taken:?}");
        assert!(taken.last().is_none_or(|last| last.end <= plan.prepared_bytes));
    }
}

/// Where a kernel takes more room than a run does, it is what the arena is made for.
#[test]
fn a_kernel_can_take_more_room_than_a_run() {
    let of_kernel = |plan: &Plan| plan.preparing_bytes > plan.inference.arena;
    assert!(plans(&PREPARED[1..2]).iter().any(of_kernel));
}

/// One image reads every weight for itself, and those of a large model from memory: kernels that grow less in Winograd's domain cost
/// it less, while many images share the reading. A small model's weights lie near either way.
#[test]
fn one_image_reads_fewer_weights_than_many_share() {
    let choice = |channels: usize, batch: usize| {
        let text = format!("< input({channels}, 7, 7) conv({channels}, kernel = 3) gap softmax >");
        planned_text(&text, batch).convs[0].choice(Product::Forward)
    };
    let weights = |channels: usize, batch: usize| match choice(channels, batch).algorithm {
        Algorithm::Direct => 9,
        Algorithm::Winograd(winograd) => winograd.size.frequencies(),
    };
    assert!(weights(512, 1) < weights(512, 8), "{:?}", choice(512, 1));
    assert_eq!(weights(512, 8), weights(512, 128));
    assert_eq!(weights(16, 1), weights(16, 128));
}
