//! Activations of a number, a scalar or a vector, and their gradients.

use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::{InstBuilder, Value};
use nin_dsl::graph::Activation;

use super::emitter::Emitter;
use super::math;
use super::rectify::where_positive;

/// The value of a number. NaN stays NaN.
pub(super) fn value(e: &mut Emitter<'_>, of: Activation, x: Value) -> Value {
    match of {
        Activation::LeakyRelu { slope } => leaky_relu(e, slope, x),
        Activation::Elu { alpha } => elu(e, alpha, x),
    }
}

/// The gradient of a number, from that of its value and what was saved for it.
pub(super) fn grad(e: &mut Emitter<'_>, of: Activation, g: Value, saved: Value) -> Value {
    match of {
        Activation::LeakyRelu { slope } => leaky_relu_grad(e, slope, g, saved),
        Activation::Elu { alpha } => elu_grad(e, alpha, g, saved),
    }
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
