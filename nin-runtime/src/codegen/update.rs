//! The optimizer's step over a range of one weight: a rule a row of [`Update`].

use std::mem::offset_of;

use cranelift_codegen::ir::types::{F32, I64};
use cranelift_codegen::ir::{InstBuilder, Type, Value};

use super::context;
use super::emitter::Emitter;
use crate::abi::Context;
use crate::kernel::Update;

/// Scalars that a step is given.
struct Settings {
    scale: Value,
    lr: Value,
    rate: Value,
    decay: Value,
    shrink: Value,
    square_rate: Value,
    epsilon: Value,
}

/// Where the numbers are that an optimizer keeps beside one weight.
struct Places {
    momentum: Value,
    square: Value,
}

/// Writes the step of a rule over the floats `begin..end` of the weights.
pub(super) fn emit(
    e: &mut Emitter<'_>,
    rule: Update,
    context: Value,
    (begin, end): (Value, Value),
) {
    let mut base = |offset| context::load(e, I64, context, offset);
    let gradients = base(offset_of!(Context, gradients));
    let [weights, momentum, squares] = [
        base(offset_of!(Context, weights)),
        base(offset_of!(Context, momentum)),
        base(offset_of!(Context, squares)),
    ];
    let mut scalar = |offset| context::load(e, F32, context, offset);
    let settings = Settings {
        scale: scalar(offset_of!(Context, scale)),
        lr: scalar(offset_of!(Context, lr)),
        rate: scalar(offset_of!(Context, momentum_rate)),
        decay: scalar(offset_of!(Context, decay)),
        shrink: scalar(offset_of!(Context, shrink)),
        square_rate: scalar(offset_of!(Context, square_rate)),
        epsilon: scalar(offset_of!(Context, epsilon)),
    };
    let back = e.b.ins().fneg(settings.lr);
    e.lanes_between(begin, end, |e, ty, i| {
        let [weight, gradient, momentum, square] =
            [weights, gradients, momentum, squares].map(|base| e.at(base, i, 1));
        let places = Places { momentum, square };
        let (w, g) = (e.load(ty, weight, 0), e.load(ty, gradient, 0));
        let [scale, back, decay] =
            [settings.scale, back, settings.decay].map(|scalar| e.splat(ty, scalar));
        let g = e.b.ins().fmul(scale, g);
        let g = e.mul_add(decay, w, g);
        let w = match rule {
            Update::Momentum => {
                let v = moved(e, ty, &settings, &places, g);
                e.mul_add(back, v, w)
            }
            Update::Nesterov => {
                let v = moved(e, ty, &settings, &places, g);
                let rate = e.splat(ty, settings.rate);
                let ahead = e.mul_add(rate, v, g);
                e.mul_add(back, ahead, w)
            }
            Update::Adam => {
                let way = adam(e, ty, &settings, &places, g);
                let shrink = e.splat(ty, settings.shrink);
                let less = e.b.ins().fmul(shrink, w);
                let w = e.b.ins().fsub(w, less);
                e.mul_add(back, way, w)
            }
        };
        e.store(w, weight, 0);
    });
}

/// The momentum after a gradient: `v = momentum v + g`.
fn moved(e: &mut Emitter<'_>, ty: Type, settings: &Settings, places: &Places, g: Value) -> Value {
    let v = e.load(ty, places.momentum, 0);
    let rate = e.splat(ty, settings.rate);
    let v = e.mul_add(rate, v, g);
    e.store(v, places.momentum, 0);
    v
}

/// Adam's direction after a gradient: the running mean over the root of that of squares.
fn adam(e: &mut Emitter<'_>, ty: Type, settings: &Settings, places: &Places, g: Value) -> Value {
    let square = e.b.ins().fmul(g, g);
    let m = averaged(e, ty, (settings.rate, places.momentum), g);
    let s = averaged(e, ty, (settings.square_rate, places.square), square);
    let root = e.b.ins().sqrt(s);
    let epsilon = e.splat(ty, settings.epsilon);
    let root = e.b.ins().fadd(root, epsilon);
    e.b.ins().fdiv(m, root)
}

/// A running mean after a number: `mean = rate mean + (1 - rate) x`.
fn averaged(e: &mut Emitter<'_>, ty: Type, (rate, place): (Value, Value), x: Value) -> Value {
    let one = e.float(F32, 1.0);
    let rest = e.b.ins().fsub(one, rate);
    let (rate, rest) = (e.splat(ty, rate), e.splat(ty, rest));
    let mean = e.load(ty, place, 0);
    let new = e.b.ins().fmul(rest, x);
    let mean = e.mul_add(rate, mean, new);
    e.store(mean, place, 0);
    mean
}
