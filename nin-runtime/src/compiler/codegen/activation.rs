//! Activations of a number, a scalar or a vector, and their gradients.

use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::{InstBuilder, Value};
use nin_dsl::graph::Activation;

use super::emitter::Emitter;
use super::rectify::{clipped, masked, rectified, where_positive};
use super::{math, normal};
use crate::compiler::activation::Finish;
use crate::compiler::kernel::Epilogue;

/// The value of a number. NaN stays NaN.
pub(super) fn value(e: &mut Emitter<'_>, of: Activation, x: Value) -> Value {
    match of {
        Activation::LeakyRelu { slope } => leaky_relu(e, slope, x),
        Activation::Elu { alpha } => elu(e, alpha, x),
        Activation::Relu6 => clipped(e, x, 6.0),
        Activation::Sigmoid => math::sigmoid(e, x),
        Activation::Tanh => math::tanh(e, x),
        Activation::Silu => math::silu(e, x),
        Activation::Gelu => normal::gelu(e, x),
        Activation::HardSigmoid => hard_sigmoid(e, x),
        Activation::HardSwish => hard_swish(e, x),
        Activation::Scale { by } => scale(e, by, x),
    }
}

/// What a portable tile makes of a sum, if it is one of these.
pub(super) fn in_tile(e: &mut Emitter<'_>, epilogue: Epilogue, x: Value) -> Value {
    match epilogue {
        Epilogue::LeakyRelu { slope } => leaky_relu(e, slope.value().into(), x),
        Epilogue::HardSigmoid => hard_sigmoid(e, x),
        Epilogue::HardSwish => hard_swish(e, x),
        Epilogue::Scale { by } => scale(e, by.value().into(), x),
        Epilogue::Relu | Epilogue::Relu6 | Epilogue::Mask | Epilogue::Add => {
            unreachable!("{epilogue:?} is the maker's own (a bug in nin)")
        }
    }
}

/// What an epilogue makes of a number at last.
pub(super) fn finish(e: &mut Emitter<'_>, then: Option<Finish>, x: Value) -> Value {
    match then {
        None => x,
        Some(Finish::Relu) => rectified(e, x),
        Some(Finish::Activation(of)) => value(e, of, x),
    }
}

/// The gradient of a number, from that of its value and what was saved for it.
pub(super) fn grad(e: &mut Emitter<'_>, of: Activation, g: Value, saved: Value) -> Value {
    match of {
        Activation::LeakyRelu { slope } => leaky_relu_grad(e, slope, g, saved),
        Activation::Elu { alpha } => elu_grad(e, alpha, g, saved),
        Activation::Relu6 => within(e, saved, 6.0, g),
        Activation::Sigmoid => sigmoid_grad(e, g, saved),
        Activation::Tanh => tanh_grad(e, g, saved),
        Activation::Silu => silu_grad(e, g, saved),
        Activation::Gelu => {
            let slope = normal::gelu_slope(e, saved);
            e.b.ins().fmul(g, slope)
        }
        Activation::HardSigmoid => {
            let sixth = scale(e, Epilogue::SIXTH.into(), g);
            within(e, saved, 1.0, sixth)
        }
        Activation::HardSwish => hard_swish_grad(e, g, saved),
        Activation::Scale { by } => scale(e, by, g),
    }
}

/// A gradient where the value lies between zero and `most`, else zero.
fn within(e: &mut Emitter<'_>, y: Value, most: f32, g: Value) -> Value {
    let ty = e.b.func.dfg.value_type(g);
    let (zero, most) = (e.float(ty, 0.0), e.float(ty, most));
    let is_below = e.b.ins().fcmp(FloatCC::LessThan, y, most);
    let g = e.choose(is_below, g, zero);
    masked(e, g, y)
}

/// `g y (1 - y)`.
fn sigmoid_grad(e: &mut Emitter<'_>, g: Value, y: Value) -> Value {
    let ty = e.b.func.dfg.value_type(g);
    let one = e.float(ty, 1.0);
    let rest = e.b.ins().fsub(one, y);
    let slope = e.b.ins().fmul(y, rest);
    e.b.ins().fmul(g, slope)
}

/// `g (1 - y) (1 + y)`.
fn tanh_grad(e: &mut Emitter<'_>, g: Value, y: Value) -> Value {
    let ty = e.b.func.dfg.value_type(g);
    let one = e.float(ty, 1.0);
    let (less, more) = (e.b.ins().fsub(one, y), e.b.ins().fadd(one, y));
    let slope = e.b.ins().fmul(less, more);
    e.b.ins().fmul(g, slope)
}

/// `g s (1 + x (1 - s))`, where `s` is the sigmoid of `x`.
fn silu_grad(e: &mut Emitter<'_>, g: Value, x: Value) -> Value {
    let ty = e.b.func.dfg.value_type(g);
    let one = e.float(ty, 1.0);
    let share = math::sigmoid(e, x);
    let rest = e.b.ins().fsub(one, share);
    let around = e.mul_add(x, rest, one);
    let slope = e.b.ins().fmul(share, around);
    e.b.ins().fmul(g, slope)
}

/// `(x + 3) / 6` between zero and one: where digits cancel they are exact.
fn hard_sigmoid(e: &mut Emitter<'_>, x: Value) -> Value {
    let ty = e.b.func.dfg.value_type(x);
    let three = e.float(ty, 3.0);
    let x = e.b.ins().fadd(x, three);
    let x = clipped(e, x, 6.0);
    scale(e, Epilogue::SIXTH.into(), x)
}

/// `x (x + 3) / 6`, but zero up to -3 and `x` from 3 on.
fn hard_swish(e: &mut Emitter<'_>, x: Value) -> Value {
    let ty = e.b.func.dfg.value_type(x);
    let x = math::at_least(e, x, -3.0);
    let three = e.float(ty, 3.0);
    let share = e.b.ins().fadd(x, three);
    let share = math::at_most(e, share, 6.0);
    let six = e.float(ty, 6.0);
    let share = e.b.ins().fdiv(share, six);
    e.b.ins().fmul(x, share)
}

fn hard_swish_grad(e: &mut Emitter<'_>, g: Value, x: Value) -> Value {
    let ty = e.b.func.dfg.value_type(g);
    let (zero, third, half) = (e.float(ty, 0.0), e.float(ty, 1.0 / 3.0), e.float(ty, 0.5));
    let slope = e.mul_add(x, third, half);
    let scaled = e.b.ins().fmul(g, slope);
    let (low, high) = (e.float(ty, -3.0), e.float(ty, 3.0));
    let is_high = e.b.ins().fcmp(FloatCC::GreaterThanOrEqual, x, high);
    let scaled = e.choose(is_high, g, scaled);
    let is_low = e.b.ins().fcmp(FloatCC::LessThanOrEqual, x, low);
    e.choose(is_low, zero, scaled)
}

fn scale(e: &mut Emitter<'_>, by: f64, x: Value) -> Value {
    let ty = e.b.func.dfg.value_type(x);
    let by = e.float(ty, by as f32);
    e.b.ins().fmul(x, by)
}

fn leaky_relu(e: &mut Emitter<'_>, slope: f64, x: Value) -> Value {
    let ty = e.b.func.dfg.value_type(x);
    let (zero, slope) = (e.float(ty, 0.0), e.float(ty, slope as f32));
    let negative = e.b.ins().fcmp(FloatCC::LessThan, x, zero);
    let scaled = e.b.ins().fmul(x, slope);
    e.choose(negative, scaled, x)
}

/// Multiplies by the slope where the value is not positive.
fn leaky_relu_grad(e: &mut Emitter<'_>, slope: f64, g: Value, y: Value) -> Value {
    let ty = e.b.func.dfg.value_type(g);
    let slope = e.float(ty, slope as f32);
    let scaled = e.b.ins().fmul(g, slope);
    where_positive(e, y, g, scaled)
}

fn elu(e: &mut Emitter<'_>, alpha: f64, x: Value) -> Value {
    let ty = e.b.func.dfg.value_type(x);
    let (zero, alpha) = (e.float(ty, 0.0), e.float(ty, alpha as f32));
    let saturated = where_positive(e, x, zero, x);
    let saturated = math::exp_m1(e, saturated);
    let saturated = e.b.ins().fmul(saturated, alpha);
    where_positive(e, x, x, saturated)
}

/// Multiplies by the value plus `alpha` where that value is not positive.
fn elu_grad(e: &mut Emitter<'_>, alpha: f64, g: Value, y: Value) -> Value {
    let ty = e.b.func.dfg.value_type(g);
    let alpha = e.float(ty, alpha as f32);
    let slope = e.b.ins().fadd(y, alpha);
    let scaled = e.b.ins().fmul(g, slope);
    where_positive(e, y, g, scaled)
}
