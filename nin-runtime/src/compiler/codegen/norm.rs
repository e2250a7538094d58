//! Batch normalisation, a few vectors of channels at a time: statistics, forward, gradients, and what is made of the sums of
//! a batch.
//!
//! Mean and squared deviations of a stretch of an image are taken in two passes over it, while it is in cache, and merged with those
//! before it (Chan, Golub & LeVeque, 1979): no large squares are ever subtracted from each other.

use std::mem::offset_of;

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, I64};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use nin_dsl::graph::WeightId;

use super::activation;
use super::affine::AffineRows;
use super::emitter::{Columns, Emitter};
use super::grad::GradOperands;
use super::pixels::{Pixels, walk};
use super::rectify::masked;
use super::slices::{slice_bound, sum_of_slices};
use super::strip::Strip;
use super::sums::{Sums, pixels_in_turn, summed, turns};
use super::{context, group};
use crate::compiler::abi::Context;
use crate::compiler::activation::Finish;
use crate::compiler::plan::{Affine, Gather, NormPlan, Plan, Row};

/// Bytes of a map whose pixels are gone through once for all of their channels before the next ones are: a few channels of every
/// pixel of a large map would be as many pages.
const STRETCH_BYTES: usize = 32 << 10;
/// Pixels of a stretch at least: they share what is loaded, and merged, for each channel.
const STRETCH_PIXELS: usize = 16;

/// Neighbouring pixels of an image.
#[derive(Clone, Copy)]
struct Stretch {
    /// The number of the first.
    first: Value,
    /// How many.
    pixels: usize,
}

/// How many pixels the stretches of an image have, but for what is left at its end: the most that leave nothing, if that is not
/// much less than how many they may have.
fn stretch_pixels(norm: &NormPlan) -> usize {
    let most = (STRETCH_BYTES / (4 * norm.channels)).max(STRETCH_PIXELS).min(norm.pixels);
    let whole = (most.div_ceil(3)..=most).rev().find(|&pixels| norm.pixels.is_multiple_of(pixels));
    whole.unwrap_or(most)
}

/// Runs `body` for each stretch of an image; it gets maps from there on.
fn stretches<const N: usize>(
    e: &mut Emitter<'_>,
    norm: &NormPlan,
    maps: [Pixels; N],
    mut body: impl FnMut(&mut Emitter<'_>, Stretch, [Pixels; N]),
) {
    let pixels = stretch_pixels(norm);
    let steps = maps.map(|map| (map, pixels * map.pitch));
    let rest = walk(e, norm.pixels / pixels, steps, |e, number, maps| {
        let first = e.mul(number, pixels as i64);
        body(e, Stretch { first, pixels }, maps);
    });
    let left = norm.pixels % pixels;
    if left > 0 {
        let first = e.size(norm.pixels - left);
        body(e, Stretch { first, pixels: left }, rest);
    }
}

/// Runs `body` for each pixel of maps.
fn each_pixel<const N: usize>(
    e: &mut Emitter<'_>,
    pixels: usize,
    maps: [Pixels; N],
    body: impl FnOnce(&mut Emitter<'_>, [Pixels; N]),
) {
    walk(e, pixels, maps.map(|map| (map, map.pitch)), |e, _, here| body(e, here));
}

/// Merges mean and squared deviations of one image into those of the `images` before it, a stretch after the other.
pub(super) fn statistics(
    e: &mut Emitter<'_>,
    norm: &NormPlan,
    images: Value,
    x: Pixels,
    moments: [Value; 2],
) {
    let before = e.mul(images, norm.pixels as i64);
    stretches(e, norm, [x], |e, Stretch { first, pixels }, [x]| {
        let before = e.sum(before, first);
        let before = e.b.ins().fcvt_from_sint(F32, before);
        let own = e.float(F32, pixels as f32);
        let all = e.b.ins().fadd(before, own);
        let share = e.b.ins().fdiv(own, all);
        let spread = e.b.ins().fmul(before, share);
        e.columns(norm.channels, |e, columns| {
            merge(e, columns, (x, pixels), moments, [share, spread]);
        });
    });
}

/// Merges the moments of some channels of neighbouring pixels into those before: they are a `share` of all, and that times those before
/// is the `spread`.
fn merge(
    e: &mut Emitter<'_>,
    columns: &Columns,
    (x, pixels): (Pixels, usize),
    moments: [Value; 2],
    factors: [Value; 2],
) {
    let Columns { first, ty, ref offsets } = *columns;
    let x = (x.channel(e, first), pixels);
    let [means, squares] = moments.map(|row| e.at(row, first, 1));
    let sums = summed(e, columns, x, |e, _, x, sum| e.b.ins().fadd(sum, x));
    let numbers = e.float(ty, pixels as f32);
    let [share, spread] = factors.map(|factor| e.splat(ty, factor));
    let new = sums.iter().zip(offsets).map(|(&sum, &offset)| {
        let mean = e.b.ins().fdiv(sum, numbers);
        let known = e.load(ty, means, offset);
        let delta = e.b.ins().fsub(mean, known);
        // Stored before the second walk: else Cranelift would divide in its loop, where the mean is used.
        let merged = e.mul_add(delta, share, known);
        e.store(merged, means, offset);
        (mean, delta)
    });
    let new: Vec<(Value, Value)> = new.collect();
    let deviations = summed(e, columns, x, |e, index, x, sum| {
        // What is subtracted may be an operand in memory, and a square has no sign.
        let deviation = e.b.ins().fsub(new[index].0, x);
        e.mul_add(deviation, deviation, sum)
    });
    for ((found, &offset), (_, delta)) in deviations.into_iter().zip(offsets).zip(new) {
        let known = e.load(ty, squares, offset);
        let merged = merge_squares(e, [known, found], delta, spread);
        e.store(merged, squares, offset);
    }
}

/// The squared deviations of two sets of numbers together, whose means differ by `delta`; `spread` is the number of one times its
/// counterpart's share of all.
fn merge_squares(e: &mut Emitter<'_>, squares: [Value; 2], delta: Value, spread: Value) -> Value {
    let [known, found] = squares;
    let squares = e.b.ins().fadd(known, found);
    let delta = e.b.ins().fmul(delta, delta);
    e.mul_add(delta, spread, squares)
}

/// Mean and squared deviations of some numbers.
#[derive(Clone, Copy)]
struct Spread {
    mean: Value,
    squares: Value,
}

impl Spread {
    /// Those of all numbers together, of which `share` are new; `spread` is the number of the old ones times the share.
    fn merge(self, e: &mut Emitter<'_>, new: Spread, share: Value, spread: Value) -> Spread {
        let delta = e.b.ins().fsub(new.mean, self.mean);
        let mean = e.mul_add(delta, share, self.mean);
        Spread { mean, squares: merge_squares(e, [self.squares, new.squares], delta, spread) }
    }
}

/// `(x - mean) * factor + shift`, of one image, perhaps with another value added, and perhaps an activation. NaN stays NaN.
pub(super) fn normalise(
    e: &mut Emitter<'_>,
    norm: &NormPlan,
    rows: AffineRows,
    (addend, then): (Option<Pixels>, Option<Finish>),
    [x, y]: [Pixels; 2],
) {
    let adds = addend.is_some();
    let maps = [x, y, addend.unwrap_or(y)];
    stretches(e, norm, maps, |e, Stretch { pixels, .. }, maps| {
        e.columns(norm.channels, |e, columns| {
            let Columns { first, ty, ref offsets } = *columns;
            let maps = maps.map(|map| map.channel(e, first));
            let [mean, factor, shift] = [rows.mean, rows.factor, rows.shift].map(|row| {
                let row = e.at(row, first, 1);
                offsets.iter().map(|&offset| e.load(ty, row, offset)).collect::<Vec<Value>>()
            });
            each_pixel(e, pixels, maps, |e, [x, y, d]| {
                for (index, &offset) in offsets.iter().enumerate() {
                    let x = x.load(e, ty, offset);
                    let deviation = e.b.ins().fsub(x, mean[index]);
                    let mut value = e.mul_add(deviation, factor[index], shift[index]);
                    if adds {
                        let d = d.load(e, ty, offset);
                        value = e.b.ins().fadd(value, d);
                    }
                    value = activation::finish(e, then, value);
                    y.store(e, value, offset);
                }
            });
        });
    });
}

/// Adds the gradients of scale and shift from one image: the sums of `dy (x - mean) / sqrt(variance + eps)` and of `dy`.
pub(super) fn weight_grads(
    e: &mut Emitter<'_>,
    norm: &NormPlan,
    statistics: Value,
    maps: [Pixels; 2],
    [scale, shift]: [Value; 2],
) {
    stretches(e, norm, maps, |e, Stretch { pixels, .. }, maps| {
        e.columns(norm.channels, |e, columns| {
            let Columns { first, ty, ref offsets } = *columns;
            let maps = maps.map(|map| map.channel(e, first));
            let [statistics, scale, shift] =
                [statistics, scale, shift].map(|row| e.at(row, first, 1));
            let means = row(e, ty, norm, statistics, Row::Affine(Affine::Mean), offsets);
            let turns = turns(pixels, 2 * offsets.len());
            let [products, grads] = [(); 2].map(|()| Sums::new(e, ty, offsets.len(), turns));
            pixels_in_turn(e, pixels, turns, maps, |e, turn, [grad, x]| {
                for (index, &offset) in offsets.iter().enumerate() {
                    let (dy, x) = (grad.load(e, ty, offset), x.load(e, ty, offset));
                    // Below the mean: what is subtracted may be an operand in memory, where registers are short.
                    let below = e.b.ins().fsub(means[index], x);
                    products.change(e, (turn, index), |e, sum| e.mul_add(below, dy, sum));
                    grads.change(e, (turn, index), |e, sum| e.b.ins().fadd(sum, dy));
                }
            });
            let inverses = row(e, ty, norm, statistics, Row::Inverse, offsets);
            let (products, grads) = (products.total(e), grads.total(e));
            for (index, &offset) in offsets.iter().enumerate() {
                let [before, shifted] = [scale, shift].map(|row| e.load(ty, row, offset));
                let product = e.b.ins().fneg(products[index]);
                let after = e.mul_add(product, inverses[index], before);
                e.store(after, scale, offset);
                let after = e.b.ins().fadd(shifted, grads[index]);
                e.store(after, shift, offset);
            }
        });
    });
}

/// Contributes to the gradient of one image's operand: `factor ((dy - mean dy) - slope (x - mean))`, in this order, so that what
/// cancels does so before the factor, which may be large. A mask is the operand itself.
pub(super) fn input_grad(
    e: &mut Emitter<'_>,
    norm: &NormPlan,
    statistics: Value,
    x: Pixels,
    operands: GradOperands,
) {
    let maps = [operands.grad, x, operands.result];
    stretches(e, norm, maps, |e, Stretch { pixels, .. }, maps| {
        e.columns(norm.channels, |e, columns| {
            let Columns { first, ty, ref offsets } = *columns;
            let maps = maps.map(|map| map.channel(e, first));
            let statistics = e.at(statistics, first, 1);
            let mut load = |which| row(e, ty, norm, statistics, which, offsets);
            let (means, factors) =
                (load(Row::Affine(Affine::Mean)), load(Row::Affine(Affine::Factor)));
            let (grad_means, slopes) = (load(Row::GradMean), load(Row::GradSlope));
            each_pixel(e, pixels, maps, |e, [grad, x, result]| {
                let here = GradOperands { result, ..operands };
                for (index, &offset) in offsets.iter().enumerate() {
                    let (dy, x) = (grad.load(e, ty, offset), x.load(e, ty, offset));
                    let (dy, back) =
                        (e.b.ins().fsub(dy, grad_means[index]), e.b.ins().fsub(means[index], x));
                    let sum = e.mul_add(back, slopes[index], dy);
                    let mut value = e.b.ins().fmul(sum, factors[index]);
                    if operands.mask.is_some() {
                        value = masked(e, value, x);
                    }
                    here.store(e, ty, value, offset);
                }
            });
        });
    });
}

/// Vectors of a row of the batch's statistics.
fn row(
    e: &mut Emitter<'_>,
    ty: Type,
    norm: &NormPlan,
    statistics: Value,
    row: Row,
    offsets: &[i64],
) -> Vec<Value> {
    let first = norm.statistic(row) as i64;
    offsets.iter().map(|offset| e.load(ty, statistics, first + offset)).collect()
}

/// `1 / sqrt(variance + eps)`.
pub(super) fn inverse_deviation(e: &mut Emitter<'_>, ty: Type, variance: Value, eps: f64) -> Value {
    let eps = e.float(ty, eps as f32);
    let sum = e.b.ins().fadd(variance, eps);
    let deviation = e.b.ins().sqrt(sum);
    let one = e.float(ty, 1.0);
    e.b.ins().fdiv(one, deviation)
}

/// Loads a number of each weight for the channels from `i` on.
pub(super) fn of_weights<const N: usize>(
    e: &mut Emitter<'_>,
    plan: &Plan,
    (weights, ids): (Value, [WeightId; N]),
    ty: Type,
    i: Value,
) -> [Value; N] {
    ids.map(|id| {
        let weight = e.place_floats(weights, plan.weights[id.index()]);
        let at = e.at(weight, i, 1);
        e.load(ty, at, 0)
    })
}

/// Rebuilds the rows that normalise by the running statistics, at `base` and the channels of a strip.
pub(super) fn prepare(
    e: &mut Emitter<'_>,
    plan: &Plan,
    norm: &NormPlan,
    (weights, base): (Value, Value),
    strip: Strip<'_>,
) -> AffineRows {
    let rows = AffineRows::behind(e, norm, base);
    e.lanes(strip.channels, |e, ty, i| {
        let i = e.b.ins().iadd(strip.first, i);
        let [scale, shift, mean, variance] =
            of_weights(e, plan, (weights, norm.weights.all()), ty, i);
        let inverse = inverse_deviation(e, ty, variance, norm.eps);
        let factor = e.b.ins().fmul(scale, inverse);
        for (row, value) in [(rows.mean, mean), (rows.factor, factor), (rows.shift, shift)] {
            let at = e.at(row, i, 1);
            e.store(value, at, 0);
        }
    });
    rows
}

/// Makes what the next phase reads of the sums of all slices of `images` images.
pub(super) fn gather(
    e: &mut Emitter<'_>,
    plan: &Plan,
    context: Value,
    gather: Gather,
    images: Value,
) {
    let (Gather::Statistics(node) | Gather::Gradients(node)) = gather;
    if plan.ghost_norm(node).is_some() {
        return group::gather_all(e, plan, context, gather, images);
    }
    match gather {
        Gather::Statistics(node) => gather_statistics(e, plan, plan.norm(node), context, images),
        Gather::Gradients(node) => gather_gradients(e, plan, plan.norm(node), context, images),
    }
}

/// Merges the moments of the slices, in order, into the statistics of the batch.
fn gather_statistics(
    e: &mut Emitter<'_>,
    plan: &Plan,
    norm: &NormPlan,
    context: Value,
    images: Value,
) {
    let sums = context::load(e, I64, context, offset_of!(Context, gradients));
    let sums = e.place_floats(sums, plan.weight_floats + norm.moments());
    let weights = context::load(e, I64, context, offset_of!(Context, weights));
    let merges: Vec<_> =
        (1..plan.slices).map(|slice| merge_factors(e, plan, norm, slice, images)).collect();
    let numbers = numbers(e, norm, images);
    let (zero, one) = (e.float(F32, 0.0), e.float(F32, 1.0));
    let others = e.b.ins().fsub(numbers, one);
    let alone = e.b.ins().fcmp(FloatCC::Equal, others, zero);
    let others = e.b.ins().select(alone, one, others);
    e.lanes(norm.channels, |e, ty, i| {
        let moments = |e: &mut Emitter<'_>, slice: usize| {
            let [mean, squares] = [0, norm.squares()].map(|row| {
                let at = e.at(sums, i, 1);
                e.load(ty, at, (slice * plan.slice_floats + row) as i64)
            });
            Spread { mean, squares }
        };
        let mut all = moments(e, 0);
        for (slice, &(share, spread)) in (1..).zip(&merges) {
            let new = moments(e, slice);
            let (share, spread) = (e.splat(ty, share), e.splat(ty, spread));
            all = all.merge(e, new, share, spread);
        }
        let [scale, shift] =
            of_weights(e, plan, (weights, [norm.weights.scale, norm.weights.shift]), ty, i);
        let (numbers, others) = (e.splat(ty, numbers), e.splat(ty, others));
        let variance = e.b.ins().fdiv(all.squares, numbers);
        let inverse = inverse_deviation(e, ty, variance, norm.eps);
        let factor = e.b.ins().fmul(scale, inverse);
        let unbiased = e.b.ins().fdiv(all.squares, others);
        let rows = [
            (Row::Affine(Affine::Mean), all.mean),
            (Row::Affine(Affine::Factor), factor),
            (Row::Affine(Affine::Shift), shift),
            (Row::Inverse, inverse),
            (Row::Unbiased, unbiased),
        ];
        for (row, value) in rows {
            let at = statistic(e, norm, context, row, i);
            e.store(value, at, 0);
        }
    });
}

/// What `Spread::merge` needs for slice number `slice` of `images` images: the share of its numbers among all up to it,
/// and that share times those before it.
fn merge_factors(
    e: &mut Emitter<'_>,
    plan: &Plan,
    norm: &NormPlan,
    slice: usize,
    images: Value,
) -> (Value, Value) {
    let (first, most) = (e.size(slice * plan.slice_images()), e.size(plan.slice_images()));
    let (before, own) = match plan.groups {
        None => {
            let before = e.min(first, images);
            let left = e.b.ins().isub(images, before);
            (before, e.min(left, most))
        }
        Some(_) => {
            let end = e.sum(first, most);
            let [before, end] = [first, end].map(|bound| slice_bound(e, plan, bound, images));
            (before, e.b.ins().isub(end, before))
        }
    };
    let [before, own] = [before, own].map(|images| e.b.ins().fcvt_from_sint(F32, images));
    let all = e.b.ins().fadd(before, own);
    let share = e.b.ins().fdiv(own, all);
    let pixels = e.float(F32, norm.pixels as f32);
    let spread = e.b.ins().fmul(share, before);
    (share, e.b.ins().fmul(spread, pixels))
}

/// From the gradients of scale and shift, which are sums over the batch, what the operand's gradient needs of them.
fn gather_gradients(
    e: &mut Emitter<'_>,
    plan: &Plan,
    norm: &NormPlan,
    context: Value,
    images: Value,
) {
    let sums = context::load(e, I64, context, offset_of!(Context, gradients));
    let numbers = numbers(e, norm, images);
    e.lanes(norm.channels, |e, ty, i| {
        let numbers = e.splat(ty, numbers);
        let [scale_mean, shift_mean] = [norm.weights.scale, norm.weights.shift].map(|id| {
            let sums = e.place_floats(sums, plan.weights[id.index()]);
            let at = e.at(sums, i, 1);
            let sum = sum_of_slices(e, plan, ty, at);
            e.b.ins().fdiv(sum, numbers)
        });
        let inverse = statistic(e, norm, context, Row::Inverse, i);
        let inverse = e.load(ty, inverse, 0);
        let slope = e.b.ins().fmul(inverse, scale_mean);
        for (row, value) in [(Row::GradMean, shift_mean), (Row::GradSlope, slope)] {
            let at = statistic(e, norm, context, row, i);
            e.store(value, at, 0);
        }
    });
}

/// Numbers of a channel in `images` images, as a float.
pub(super) fn numbers(e: &mut Emitter<'_>, norm: &NormPlan, images: Value) -> Value {
    let numbers = e.mul(images, norm.pixels as i64);
    e.b.ins().fcvt_from_sint(F32, numbers)
}

/// Moves the running statistics by those of `images` images, or of their groups in turn. One number a channel has no variance, and moves none.
pub(super) fn track(
    e: &mut Emitter<'_>,
    plan: &Plan,
    norm: &NormPlan,
    context: Value,
    images: Value,
) {
    if norm.ghost > 0 {
        let begin = e.int(0);
        return group::each(e, norm.ghost, (begin, images), |e, group, _, images| {
            let rows = group::rows(e, norm, context, group);
            when_several(e, norm, images, |e| move_running(e, plan, norm, (context, rows)));
        });
    }
    when_several(e, norm, images, |e| {
        let rows = rows(e, norm, context);
        move_running(e, plan, norm, (context, rows));
    });
}

/// Runs `body` if so many images have more than one number a channel.
fn when_several(
    e: &mut Emitter<'_>,
    norm: &NormPlan,
    images: Value,
    body: impl FnOnce(&mut Emitter<'_>),
) {
    if norm.pixels > 1 {
        return body(e);
    }
    let several = e.b.ins().icmp_imm_u(IntCC::UnsignedGreaterThan, images, 1);
    e.when(several, body);
}

/// `running += momentum (batch - running)`, by the rows of the batch or of a group.
fn move_running(
    e: &mut Emitter<'_>,
    plan: &Plan,
    norm: &NormPlan,
    (context, rows): (Value, Value),
) {
    let weights = context::load(e, I64, context, offset_of!(Context, weights));
    let pairs =
        [(norm.weights.mean, Row::Affine(Affine::Mean)), (norm.weights.variance, Row::Unbiased)];
    for (weight, row) in pairs {
        let running = e.place_floats(weights, plan.weights[weight.index()]);
        e.lanes(norm.channels, |e, ty, i| {
            let batch = e.floats(rows, norm.statistic(row) as i64);
            let (at, batch) = (e.at(running, i, 1), e.at(batch, i, 1));
            let (before, batch) = (e.load(ty, at, 0), e.load(ty, batch, 0));
            let way = e.b.ins().fsub(batch, before);
            let momentum = e.float(ty, norm.momentum as f32);
            let after = e.mul_add(momentum, way, before);
            e.store(after, at, 0);
        });
    }
}

/// Where the rows of a batch normalisation begin in the statistics of the batch, or those of its first group.
pub(super) fn rows(e: &mut Emitter<'_>, norm: &NormPlan, context: Value) -> Value {
    let base = context::load(e, I64, context, offset_of!(Context, statistics));
    e.place_floats(base, norm.statistics())
}

/// Where channel `i` of a row of the batch's statistics lies.
fn statistic(e: &mut Emitter<'_>, norm: &NormPlan, context: Value, row: Row, i: Value) -> Value {
    let base = rows(e, norm, context);
    let base = e.floats(base, norm.statistic(row) as i64);
    e.at(base, i, 1)
}
