//! Groups of images whose statistics batch normalisations take: where their rows lie, and what is made of their sums.
//!
//! A group lies in one slice, whose thread makes all of its sums in the order of the images. Its rows are its own, so that
//! threads need nothing of each other.

use std::mem::offset_of;
use std::ops::Range;

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};

use super::emitter::Emitter;
use super::norm::{self, inverse_deviation, numbers, of_weights};
use super::{context, pool};
use crate::compiler::abi::Context;
use crate::compiler::fuse::StageOp;
use crate::compiler::plan::{Affine, Gather, GroupSum, NormPlan, Plan, Row};

/// How many groups of `ghost` images begin before image `end`, which one ends with: at least one.
fn count(e: &mut Emitter<'_>, ghost: usize, end: Value) -> Value {
    let rounded = e.add(end, (ghost / 2) as i64);
    let count = e.b.ins().udiv_imm_u(rounded, ghost as i64);
    let one = e.int(1);
    e.max(count, one)
}

/// The number of the group that an image of the batch is in, of those before image `end`.
pub(super) fn of_image(e: &mut Emitter<'_>, norm: &NormPlan, number: Value, end: Value) -> Value {
    let group = e.b.ins().udiv_imm_u(number, norm.ghost as i64);
    let groups = count(e, norm.ghost, end);
    let last = e.add(groups, -1);
    e.min(group, last)
}

/// Where a group's rows lie.
pub(super) fn rows(e: &mut Emitter<'_>, norm: &NormPlan, context: Value, group: Value) -> Value {
    let first = norm::rows(e, norm, context);
    e.at(first, group, norm.group_floats())
}

/// Runs `body` for every group of the images `begin..end`, of which there may be none; it gets the group's number, its first
/// image and how many it has.
pub(super) fn each(
    e: &mut Emitter<'_>,
    ghost: usize,
    (begin, end): (Value, Value),
    body: impl FnOnce(&mut Emitter<'_>, Value, Value, Value),
) {
    let first = e.b.ins().udiv_imm_u(begin, ghost as i64);
    let after = count(e, ghost, end);
    let some = e.b.ins().icmp(IntCC::SignedLessThan, begin, end);
    let after = e.b.ins().select(some, after, first);
    let last = e.add(after, -1);
    e.range(first, after, 1, |e, group| {
        let first = e.mul(group, ghost as i64);
        let rest = e.b.ins().isub(end, first);
        let is_last = e.b.ins().icmp(IntCC::Equal, group, last);
        let size = e.size(ghost);
        let images = e.b.ins().select(is_last, rest, size);
        body(e, group, first, images);
    });
}

/// Begins the sums of every group of a slice.
pub(super) fn clear(e: &mut Emitter<'_>, plan: &Plan, context: Value, range: (Value, Value)) {
    let ghosts: Vec<&NormPlan> = plan.norms.iter().filter(|norm| norm.ghost > 0).collect();
    for norm in ghosts {
        each(e, norm.ghost, range, |e, group, _, _| {
            let rows = rows(e, norm, context, group);
            let sums = e.floats(rows, norm.group_sum(GroupSum::Mean) as i64);
            pool::zero(e, sums, norm.group_sums());
        });
    }
}

/// Adds what the groups of a slice contribute to the gradients of scales and shifts, of the normalisations whose sums are
/// complete after some blocks of a training step.
pub(super) fn fold(
    e: &mut Emitter<'_>,
    plan: &Plan,
    blocks: Range<usize>,
    context: Value,
    range: (Value, Value),
) {
    let blocks = plan.training.as_ref().map_or(&[][..], |pass| &pass.blocks[blocks]);
    let stages = blocks.iter().flat_map(|planned| &planned.block.stages);
    let ends = stages.filter(|stage| matches!(stage.op, StageOp::NormGrads { .. }));
    for norm in ends.filter_map(|stage| plan.ghost_norm(stage.node)) {
        let gradients = context::load(e, I64, context, offset_of!(Context, gradients));
        let sums = [(norm.weights.scale, GroupSum::Scale), (norm.weights.shift, GroupSum::Shift)];
        each(e, norm.ghost, range, |e, group, _, _| {
            let rows = rows(e, norm, context, group);
            for (weight, sum) in sums {
                let to = e.place_floats(gradients, plan.weights[weight.index()]);
                let from = e.floats(rows, norm.group_sum(sum) as i64);
                e.lanes(norm.channels, |e, ty, i| {
                    let (from, to) = (e.at(from, i, 1), e.at(to, i, 1));
                    let (part, before) = (e.load(ty, from, 0), e.load(ty, to, 0));
                    let after = e.b.ins().fadd(before, part);
                    e.store(after, to, 0);
                });
            }
        });
    }
}

/// Makes what is read of the sums of every group of a batch.
pub(super) fn gather_all(
    e: &mut Emitter<'_>,
    plan: &Plan,
    context: Value,
    gather: Gather,
    images: Value,
) {
    let norm = plan.norm(node_of(gather));
    let zero = e.int(0);
    each(e, norm.ghost, (zero, images), |e, group, _, images| {
        gather_one(e, plan, context, gather, (group, images));
    });
}

fn node_of(gather: Gather) -> nin_dsl::graph::NodeId {
    match gather {
        Gather::Statistics(node) | Gather::Gradients(node) => node,
    }
}

/// Makes the statistics, or the means of gradients, of one group from its sums.
pub(super) fn gather_one(
    e: &mut Emitter<'_>,
    plan: &Plan,
    context: Value,
    gather: Gather,
    (group, images): (Value, Value),
) {
    let norm = plan.norm(node_of(gather));
    let rows = rows(e, norm, context, group);
    match gather {
        Gather::Statistics(_) => gather_statistics(e, plan, norm, (context, rows), images),
        Gather::Gradients(_) => gather_gradients(e, norm, rows, images),
    }
}

/// From the moments, the statistics.
fn gather_statistics(
    e: &mut Emitter<'_>,
    plan: &Plan,
    norm: &NormPlan,
    (context, rows): (Value, Value),
    images: Value,
) {
    let weights = context::load(e, I64, context, offset_of!(Context, weights));
    let numbers = numbers(e, norm, images);
    let one = e.float(F32, 1.0);
    let others = e.b.ins().fsub(numbers, one);
    let alone = e.b.ins().fcmp(FloatCC::LessThan, others, one);
    let others = e.b.ins().select(alone, one, others);
    e.lanes(norm.channels, |e, ty, i| {
        let here = e.at(rows, i, 1);
        let [mean, squares] = [GroupSum::Mean, GroupSum::Squares]
            .map(|sum| e.load(ty, here, norm.group_sum(sum) as i64));
        let [scale, shift] =
            of_weights(e, plan, (weights, [norm.weights.scale, norm.weights.shift]), ty, i);
        let (numbers, others) = (e.splat(ty, numbers), e.splat(ty, others));
        let variance = e.b.ins().fdiv(squares, numbers);
        let inverse = inverse_deviation(e, ty, variance, norm.eps);
        let factor = e.b.ins().fmul(scale, inverse);
        let unbiased = e.b.ins().fdiv(squares, others);
        for (row, value) in [
            (Row::Affine(Affine::Mean), mean),
            (Row::Affine(Affine::Factor), factor),
            (Row::Affine(Affine::Shift), shift),
            (Row::Inverse, inverse),
            (Row::Unbiased, unbiased),
        ] {
            e.store(value, here, norm.statistic(row) as i64);
        }
    });
}

/// From what the group adds to the gradients of scale and shift, what its operand's gradient needs of them.
fn gather_gradients(e: &mut Emitter<'_>, norm: &NormPlan, rows: Value, images: Value) {
    let numbers = numbers(e, norm, images);
    e.lanes(norm.channels, |e, ty, i| {
        let here = e.at(rows, i, 1);
        let numbers = e.splat(ty, numbers);
        let [scale_mean, shift_mean] = [GroupSum::Scale, GroupSum::Shift].map(|sum| {
            let sum = e.load(ty, here, norm.group_sum(sum) as i64);
            e.b.ins().fdiv(sum, numbers)
        });
        let inverse = e.load(ty, here, norm.statistic(Row::Inverse) as i64);
        let slope = e.b.ins().fmul(inverse, scale_mean);
        e.store(shift_mean, here, norm.statistic(Row::GradMean) as i64);
        e.store(slope, here, norm.statistic(Row::GradSlope) as i64);
    });
}
