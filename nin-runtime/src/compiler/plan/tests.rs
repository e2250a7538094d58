//! How batches are cut.

use super::*;
use crate::compile::{self, Purpose};
use crate::compiler::Isa;
use crate::compiler::codegen::Target;
use crate::model::Model;

fn planned(outputs: usize, batch: usize) -> Plan {
    let text = format!("model M < input(64, 8, 8) fc({outputs}) softmax >");
    let model = Model::from_text("m.nin", &text, &[]).unwrap();
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
