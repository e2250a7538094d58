//! The end of a training step: slices' gradients are summed, weights follow them by the optimizer's rule, a row of
//! [`Update`], and are prepared for the next step, strip by strip while they are in cache.

use std::mem::offset_of;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, I64};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use nin_dsl::graph::{Graph, WeightId};

use super::context;
use super::emitter::Emitter;
use super::slices::sum_of_slices;
use super::strip::Strip;
use crate::compiler::abi::{Coefficients, Context};
use crate::compiler::kernel::Update;
use crate::compiler::plan::{Plan, StripOwner};

/// Scalars that a step is given.
struct StepScalars {
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

/// Takes the weights of a strip through the end of a step, tensor by tensor, by the function of a rule.
pub(super) fn strip(
    e: &mut Emitter<'_>,
    graph: &Graph,
    plan: &Plan,
    (rule, context): (Value, Value),
    strip: Strip<'_>,
) {
    let coefficients = context::load(e, I64, context, offset_of!(Context, coefficients));
    let mut follow = |id: WeightId, rows: usize, channels: usize| {
        debug_assert!(graph.weight(id).role.is_trained());
        let first = e.place(strip.first, plan.weights[id.index()]);
        let [rows, stride, columns] = [rows, channels, strip.channels].map(|size| e.size(size));
        let own = e.place(coefficients, id.index() * size_of::<Coefficients>());
        e.call_rule(rule, &[context, first, rows, stride, columns, own]);
    };
    match strip.owner {
        StripOwner::Conv(conv) => {
            let channels = conv.geometry.outputs();
            follow(conv.kernel, conv.rows(), channels);
            conv.bias.into_iter().for_each(|bias| follow(bias, 1, channels));
        }
        StripOwner::Norm(norm, _) => {
            for id in [norm.weights.scale, norm.weights.shift] {
                follow(id, 1, norm.channels);
            }
        }
        StripOwner::Slope(slope) => follow(slope.slope, 1, slope.channels),
    }
}

/// Writes the function that takes the step of a rule over some columns of a matrix of weights.
pub(super) fn follow(e: &mut Emitter<'_>, plan: &Plan, rule: Update) {
    let [context, first, rows, stride, columns, coefficients] = *e.arguments() else {
        unreachable!("a rule takes six arguments (a bug in nin)")
    };
    let gradients = context::load(e, I64, context, offset_of!(Context, gradients));
    let reduced = context::load(e, I64, context, offset_of!(Context, reduced));
    let step = Walk::of(e, rule, context, coefficients);
    // The slices' sums lie in the first one's place already, or they are summed here.
    for is_reduced in [true, false] {
        let asked = e.b.ins().icmp_imm_s(IntCC::Equal, reduced, i64::from(is_reduced));
        e.when(asked, |e| {
            let zero = e.int(0);
            e.range(zero, rows, 1, |e, row| {
                let begin = e.b.ins().imul(row, stride);
                let begin = e.b.ins().iadd(first, begin);
                let end = e.b.ins().iadd(begin, columns);
                e.lanes_between(begin, end, |e, ty, i| {
                    let at = e.at(gradients, i, 1);
                    let g = match is_reduced {
                        true => e.load(ty, at, 0),
                        false => sum_of_slices(e, plan, ty, at),
                    };
                    step.take(e, ty, i, g);
                });
            });
        });
    }
}

/// The arithmetic of one step.
struct Walk {
    rule: Update,
    weights: Value,
    momentum: Value,
    squares: Value,
    settings: StepScalars,
}

impl Walk {
    fn of(e: &mut Emitter<'_>, rule: Update, context: Value, coefficients: Value) -> Walk {
        let [weights, momentum, squares] = [
            offset_of!(Context, weights),
            offset_of!(Context, momentum),
            offset_of!(Context, squares),
        ]
        .map(|offset| context::load(e, I64, context, offset));
        let scale = context::load(e, F32, context, offset_of!(Context, scale));
        let mut own = |offset| context::load(e, F32, coefficients, offset);
        let settings = StepScalars {
            scale,
            lr: own(offset_of!(Coefficients, lr)),
            rate: own(offset_of!(Coefficients, momentum)),
            decay: own(offset_of!(Coefficients, decay)),
            shrink: own(offset_of!(Coefficients, shrink)),
            square_rate: own(offset_of!(Coefficients, square_rate)),
            epsilon: own(offset_of!(Coefficients, epsilon)),
        };
        Walk { rule, weights, momentum, squares, settings }
    }

    /// Updates the weights from float `i` on by their gradients.
    fn take(&self, e: &mut Emitter<'_>, ty: Type, i: Value, g: Value) {
        let settings = &self.settings;
        let [weight, momentum, square] =
            [self.weights, self.momentum, self.squares].map(|base| e.at(base, i, 1));
        let places = Places { momentum, square };
        let w = e.load(ty, weight, 0);
        let back = e.b.ins().fneg(settings.lr);
        let [scale, back, decay] =
            [settings.scale, back, settings.decay].map(|scalar| e.splat(ty, scalar));
        let g = e.b.ins().fmul(scale, g);
        let g = e.mul_add(decay, w, g);
        let w = match self.rule {
            Update::Momentum => {
                let v = moved(e, ty, settings, &places, g);
                e.mul_add(back, v, w)
            }
            Update::Nesterov => {
                let v = moved(e, ty, settings, &places, g);
                let rate = e.splat(ty, settings.rate);
                let ahead = e.mul_add(rate, v, g);
                e.mul_add(back, ahead, w)
            }
            Update::Adam => {
                let way = adam(e, ty, settings, &places, g);
                let shrink = e.splat(ty, settings.shrink);
                let less = e.b.ins().fmul(shrink, w);
                let w = e.b.ins().fsub(w, less);
                e.mul_add(back, way, w)
            }
        };
        e.store(w, weight, 0);
    }
}

/// The momentum after a gradient: `v = momentum v + g`.
fn moved(
    e: &mut Emitter<'_>,
    ty: Type,
    settings: &StepScalars,
    places: &Places,
    g: Value,
) -> Value {
    let v = e.load(ty, places.momentum, 0);
    let rate = e.splat(ty, settings.rate);
    let v = e.mul_add(rate, v, g);
    e.store(v, places.momentum, 0);
    v
}

/// Adam's direction after a gradient: the running mean over the root of that of squares.
fn adam(e: &mut Emitter<'_>, ty: Type, settings: &StepScalars, places: &Places, g: Value) -> Value {
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
