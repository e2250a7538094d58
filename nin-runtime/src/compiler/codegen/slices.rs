//! Where the slices of a batch begin, and sums over them.

use cranelift_codegen::ir::condcodes::IntCC;
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

/// Where a slice begins or ends in a batch of `n` images, if that were long enough: as [`Plan::slice_of`] has it.
pub(super) fn slice_bound(e: &mut Emitter<'_>, plan: &Plan, bound: Value, n: Value) -> Value {
    let at = e.min(bound, n);
    let Some(groups) = plan.groups else { return at };
    let left = e.b.ins().isub(n, at);
    let few = e.b.ins().icmp_imm_s(IntCC::SignedLessThan, left, groups.least as i64);
    let later = e.b.ins().icmp_imm_s(IntCC::NotEqual, at, 0);
    let joins = e.b.ins().band(few, later);
    e.b.ins().select(joins, n, at)
}
