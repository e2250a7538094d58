//! The share of a normal distribution below a number, for GELU, and its slope.

use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::types::{F32X4, I32, I32X4};
use cranelift_codegen::ir::{InstBuilder, Value};

use super::emitter::Emitter;
use super::math::{EXP_MIN, Exp, at_most, polynomial};
use super::rectify::{rectified, where_positive};

/// A normal distribution's share beyond `z`, over `exp(-z^2 / 2)`, is one of these polynomials over the other from 0 to 13.6, with
/// a relative error of 6e-9; highest power first, all positive: nothing cancels.
const ABOVE: [f32; 5] = [4.045_287_7e-3, 4.015_418_7e-2, 0.181_812_85, 0.436_372_64, 0.5];
const BELOW: [f32; 6] =
    [1.013_989_6e-2, 0.100_658_745, 0.465_716_04, 1.196_591_5, 1.670_630_2, 1.0];
/// From here on nothing is left of it in float32.
const END: f32 = 14.0;

/// The share of a normal distribution beyond the magnitude of a number, in parts: `exp above / below`.
struct Tail {
    /// The magnitude, but not more than [`END`].
    z: Value,
    exp: Value,
    above: Value,
    below: Value,
}

impl Tail {
    fn of(e: &mut Emitter<'_>, x: Value) -> Tail {
        let magnitude = e.b.ins().fabs(x);
        let z = at_most(e, magnitude, END);
        let exp = exp_of_square(e, z);
        let (above, below) = (polynomial(e, &ABOVE, z), polynomial(e, &BELOW, z));
        Tail { z, exp, above, below }
    }
}

/// `exp(-z^2 / 2)`, 0 where that is no normal float. The square is known to more digits than a float has: that of the upper half of
/// `z`'s digits is exact.
fn exp_of_square(e: &mut Emitter<'_>, z: Value) -> Value {
    let ty = e.b.func.dfg.value_type(z);
    let integers = if ty == F32X4 { I32X4 } else { I32 };
    let bits = e.bitcast(integers, z);
    let upper = e.b.ins().iconst(I32, i64::from(0xffff_f000_u32));
    let upper = e.splat(integers, upper);
    let high = e.b.ins().band(bits, upper);
    let high = e.bitcast(ty, high);
    let (less, more) = (e.b.ins().fsub(z, high), e.b.ins().fadd(z, high));
    let rest = e.b.ins().fmul(less, more);
    let square = e.b.ins().fmul(high, high);
    let half = e.float(ty, -0.5);
    let (square, rest) = (e.b.ins().fmul(square, half), e.b.ins().fmul(rest, half));
    let exp = Exp::of_sum(e, square, Some(rest)).value(e);
    let (zero, lowest) = (e.float(ty, 0.0), e.float(ty, EXP_MIN));
    let too_low = e.b.ins().fcmp(FloatCC::LessThan, square, lowest);
    e.choose(too_low, zero, exp)
}

/// `x` times a normal distribution's share below `x`, a scalar or a vector: `max(x, 0) - |x| share beyond |x|`, so that no digit of
/// a negative number's small value is lost. NaN stays NaN.
pub(super) fn gelu(e: &mut Emitter<'_>, x: Value) -> Value {
    let Tail { z, exp, above, below } = Tail::of(e, x);
    let missing = e.b.ins().fmul(z, above);
    let missing = e.b.ins().fmul(missing, exp);
    let missing = e.b.ins().fdiv(missing, below);
    let positive = rectified(e, x);
    e.b.ins().fsub(positive, missing)
}

/// The slope of [`gelu`]: a normal distribution's share below `x`, and `x` times its density there.
pub(super) fn gelu_slope(e: &mut Emitter<'_>, x: Value) -> Value {
    let ty = e.b.func.dfg.value_type(x);
    let Tail { z, exp, above, below } = Tail::of(e, x);
    let beyond = e.b.ins().fmul(above, exp);
    let beyond = e.b.ins().fdiv(beyond, below);
    // 1 / sqrt(2 pi).
    let density = e.float(ty, 0.398_942_3);
    let density = e.b.ins().fmul(exp, density);
    let moment = e.b.ins().fmul(z, density);
    let one = e.float(ty, 1.0);
    let rest = e.b.ins().fsub(one, beyond);
    let right = e.b.ins().fadd(rest, moment);
    let left = e.b.ins().fsub(beyond, moment);
    where_positive(e, x, right, left)
}
