//! Sums over the slices of a batch.

use cranelift_codegen::ir::{InstBuilder, Type, Value};

use super::emitter::Emitter;
use crate::compiler::plan::Plan;

/// The sum of a number of every slice, `at` being the first one's: pairwise, as a tree.
pub(super) fn sum_of_slices(e: &mut Emitter<'_>, plan: &Plan, ty: Type, at: Value) -> Value {
    let mut sums = Vec::with_capacity(plan.slices);
    for slice in 0..plan.slices {
        sums.push(e.load(ty, at, (slice * plan.slice_floats) as i64));
    }
    while sums.len() > 1 {
        let pairs = sums.chunks(2).map(|pair| match *pair {
            [a, b] => e.b.ins().fadd(a, b),
            [a] => a,
            _ => unreachable!("chunks of two"),
        });
        sums = pairs.collect();
    }
    sums[0]
}
