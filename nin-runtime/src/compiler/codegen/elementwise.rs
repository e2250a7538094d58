//! Ops that make a number of the same number alone: ReLU, other activations and dropout, and their gradients.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32X4, I32, I32X4};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use nin_dsl::graph::Activation;
use nin_dsl::shape::Shape;

use super::activation;
use super::emitter::{Emitter, LANES};
use super::grad::GradOperands;
use super::pixels::{Pixels, each_number};
use super::rectify::{masked, rectified};
use crate::compiler::dropout;

/// Puts `rule(x)` in the place of every number `x`.
fn rewrite(
    e: &mut Emitter<'_>,
    value: Pixels,
    shape: Shape,
    mut rule: impl FnMut(&mut Emitter<'_>, Value) -> Value,
) {
    each_number(e, shape, [value], |e, ty, _, [here]| {
        let x = here.load(e, ty, 0);
        let y = rule(e, x);
        here.store(e, y, 0);
    });
}

/// Contributes `rule(g, y)` for every number `g` of a gradient, where the value it is the gradient of is `y`.
fn contribute(
    e: &mut Emitter<'_>,
    operands: GradOperands,
    value: Pixels,
    shape: Shape,
    mut rule: impl FnMut(&mut Emitter<'_>, Value, Value) -> Value,
) {
    operands.contribute(e, shape, value, |e, ty, (_, g), value| {
        let y = value.load(e, ty, 0);
        rule(e, g, y)
    });
}

/// `max(x, 0)` of every number. NaN stays NaN.
pub(super) fn relu(e: &mut Emitter<'_>, value: Pixels, shape: Shape) {
    rewrite(e, value, shape, rectified);
}

/// Zeroes a gradient where the ReLU's value is not positive.
pub(super) fn relu_grad(e: &mut Emitter<'_>, operands: GradOperands, value: Pixels, shape: Shape) {
    contribute(e, operands, value, shape, masked);
}

/// An activation of every number, in place or of what lies elsewhere.
pub(super) fn activate(
    e: &mut Emitter<'_>,
    (operand, value): (Option<Pixels>, Pixels),
    of: Activation,
    shape: Shape,
) {
    let Some(operand) = operand else {
        return rewrite(e, value, shape, |e, x| activation::value(e, of, x));
    };
    each_number(e, shape, [operand, value], |e, ty, _, [operand, value]| {
        let x = operand.load(e, ty, 0);
        let y = activation::value(e, of, x);
        value.store(e, y, 0);
    });
}

/// Multiplies a gradient by an activation's slope, as what was saved tells it.
pub(super) fn activation_grad(
    e: &mut Emitter<'_>,
    operands: GradOperands,
    saved: Pixels,
    of: Activation,
    shape: Shape,
) {
    contribute(e, operands, saved, shape, |e, g, saved| activation::grad(e, of, g, saved));
}

/// Copies every number of a map.
pub(super) fn copy(e: &mut Emitter<'_>, from: Pixels, to: Pixels, shape: Shape) {
    each_number(e, shape, [from, to], |e, ty, _, [from, to]| {
        let x = from.load(e, ty, 0);
        to.store(e, x, 0);
    });
}

/// What a dropout's mask is hashed from, besides the image and the element.
#[derive(Clone, Copy)]
pub(super) struct Mask {
    /// Probability of a zero.
    pub(super) p: f64,
    /// The dropout's number in the graph.
    pub(super) index: u32,
    /// The run's seed.
    pub(super) seed: Value,
    /// The step.
    pub(super) step: Value,
}

/// Drops elements of one image's tensor: its value going forward, its gradient going backward, by the same mask.
///
/// The hash is [`dropout`]'s, lane by lane.
pub(super) fn drop_elements(
    e: &mut Emitter<'_>,
    mask: Mask,
    image: Value,
    operands: GradOperands,
    shape: Shape,
) {
    let key = image_key(e, mask, image);
    operands.contribute(e, shape, operands.grad, |e, ty, (i, x), _| {
        let keep = keeps(e, ty, key, i, dropout::threshold(mask.p));
        let scale = e.float(ty, dropout::scale(mask.p));
        let scaled = e.b.ins().fmul(x, scale);
        let zero = e.float(ty, 0.0);
        e.choose(keep, scaled, zero)
    });
}

/// [`dropout::image_key`] under [`dropout::layer_key`].
fn image_key(e: &mut Emitter<'_>, mask: Mask, image: Value) -> Value {
    let constant = |e: &mut Emitter<'_>, value: u64| e.int(value.cast_signed());
    let spread = constant(e, dropout::SPREAD[0]);
    let step = e.b.ins().imul(mask.step, spread);
    let mixed = e.b.ins().bxor(mask.seed, step);
    let mixed = mix64(e, mixed);
    let layer = constant(e, u64::from(mask.index).wrapping_mul(dropout::SPREAD[1]));
    let mixed = e.b.ins().bxor(mixed, layer);
    let layer_key = mix64(e, mixed);
    let spread = constant(e, dropout::SPREAD[2]);
    let image = e.b.ins().imul(image, spread);
    let mixed = e.b.ins().bxor(layer_key, image);
    let mixed = mix64(e, mixed);
    let high = e.b.ins().ushr_imm_u(mixed, 32);
    e.b.ins().ireduce(I32, high)
}

/// SplitMix64's finaliser.
fn mix64(e: &mut Emitter<'_>, mut x: Value) -> Value {
    for (shift, multiplier) in
        [(30, Some(dropout::FINAL64[0])), (27, Some(dropout::FINAL64[1])), (31, None)]
    {
        let shifted = e.b.ins().ushr_imm_u(x, shift);
        x = e.b.ins().bxor(x, shifted);
        if let Some(multiplier) = multiplier {
            let multiplier = e.int(multiplier.cast_signed());
            x = e.b.ins().imul(x, multiplier);
        }
    }
    x
}

/// [`dropout::keeps`] for the elements from `element` on that the lanes of `ty` hold.
fn keeps(e: &mut Emitter<'_>, ty: Type, key: Value, element: Value, threshold: u32) -> Value {
    let integers = if ty == F32X4 { I32X4 } else { I32 };
    let splat = |e: &mut Emitter<'_>, value: u32| {
        let scalar = e.b.ins().iconst(I32, i64::from(value));
        e.splat(integers, scalar)
    };
    let first = e.b.ins().ireduce(I32, element);
    let mut x = e.splat(integers, first);
    if ty == F32X4 {
        x = add_lane_numbers(e, x);
    }
    let multiplier = splat(e, dropout::ELEMENT);
    x = e.b.ins().imul(x, multiplier);
    let key = e.splat(integers, key);
    x = e.b.ins().bxor(x, key);
    for (shift, multiplier) in
        [(16, Some(dropout::FINAL[0])), (13, Some(dropout::FINAL[1])), (16, None)]
    {
        let shifted = e.b.ins().ushr_imm_u(x, shift);
        x = e.b.ins().bxor(x, shifted);
        if let Some(multiplier) = multiplier {
            let multiplier = splat(e, multiplier);
            x = e.b.ins().imul(x, multiplier);
        }
    }
    let high = e.b.ins().ushr_imm_u(x, i64::from(32 - dropout::BITS));
    let threshold = splat(e, threshold);
    // Both sides have at most 25 bits, so a signed comparison, which every target has for vectors, will do.
    e.b.ins().icmp(IntCC::SignedGreaterThanOrEqual, high, threshold)
}

/// Adds 0, 1, 2, 3 to the lanes.
fn add_lane_numbers(e: &mut Emitter<'_>, x: Value) -> Value {
    let numbers: Vec<u8> = (0..LANES as u32).flat_map(u32::to_le_bytes).collect();
    let constant = e.b.func.dfg.constants.insert(numbers.into());
    let numbers = e.b.ins().vconst(I32X4, constant);
    e.b.ins().iadd(x, numbers)
}
