//! What ReLUs and masks do to a number.

use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::{InstBuilder, Value};

use super::emitter::Emitter;
use super::math;

/// `max(x, 0)`. NaN stays NaN.
pub(super) fn rectified(e: &mut Emitter<'_>, x: Value) -> Value {
    let ty = e.b.func.dfg.value_type(x);
    let zero = e.float(ty, 0.0);
    let negative = e.b.ins().fcmp(FloatCC::LessThan, x, zero);
    e.choose(negative, zero, x)
}

/// `kept` where a value is positive, else `other`.
pub(super) fn where_positive(
    e: &mut Emitter<'_>,
    value: Value,
    kept: Value,
    other: Value,
) -> Value {
    let ty = e.b.func.dfg.value_type(value);
    let zero = e.float(ty, 0.0);
    let positive = e.b.ins().fcmp(FloatCC::GreaterThan, value, zero);
    e.choose(positive, kept, other)
}

/// A gradient where the ReLU's value is positive, else zero.
pub(super) fn masked(e: &mut Emitter<'_>, grad: Value, value: Value) -> Value {
    let ty = e.b.func.dfg.value_type(grad);
    let zero = e.float(ty, 0.0);
    where_positive(e, value, grad, zero)
}

/// `x`, but not less than zero and not more than `most`. NaN stays NaN.
pub(super) fn clipped(e: &mut Emitter<'_>, x: Value, most: f32) -> Value {
    let x = rectified(e, x);
    math::at_most(e, x, most)
}
