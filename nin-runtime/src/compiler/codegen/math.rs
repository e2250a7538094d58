//! Functions that no CPU has, as polynomials, so that no outside symbol is called: `exp`, `exp - 1`, `log`, and those that are
//! made of them. docs/numerics.md has their errors.

use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::types::{F32X4, I32, I32X4};
use cranelift_codegen::ir::{InstBuilder, Value};

use super::emitter::Emitter;

/// Polynomials after Cephes (`expf`, `logf`), highest power first; relative error about 1e-7.
const EXP: [f32; 6] =
    [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.500_000_04];
const LOG: [f32; 9] = [
    7.037_683_6e-2,
    -0.115_146_1,
    0.116_769_99,
    -0.124_201_41,
    0.142_493_23,
    -0.166_680_58,
    0.200_007_15,
    -0.249_999_94,
    0.333_333_3,
];
/// `ln 2` in two parts, the first short enough that its multiples are exact.
const LN2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// Adding this to a small float leaves the nearest whole number in the low bits of the sum.
const ROUND: f32 = 12_582_912.0;
/// Below, `exp` is no normal float.
pub(super) const EXP_MIN: f32 = -87.0;
/// Up to it, `exp` is a float.
const EXP_MAX: f32 = 88.0;
/// `(tanh(x) / x - 1) / x^2` in powers of `x^2`, highest first, after Cephes (`tanhf`).
const TANH: [f32; 5] =
    [-5.704_988_7e-3, 2.063_908_8e-2, -5.373_971_6e-2, 0.133_314_42, -0.333_332_8];
/// Below, that is as good as the exponential.
const TANH_SMALL: f32 = 0.625;

/// `c[0] x^n + ... + c[n]`.
pub(super) fn polynomial(e: &mut Emitter<'_>, coefficients: &[f32], x: Value) -> Value {
    let ty = e.b.func.dfg.value_type(x);
    let mut sum = e.float(ty, coefficients[0]);
    for &coefficient in &coefficients[1..] {
        let coefficient = e.float(ty, coefficient);
        sum = e.mul_add(sum, x, coefficient);
    }
    sum
}

/// `exp(x)` as `power (1 + r + square tail)`.
pub(super) struct Exp {
    /// A power of two.
    power: Value,
    /// What is left of `x`: at most `ln 2 / 2` from zero.
    r: Value,
    square: Value,
    tail: Value,
}

impl Exp {
    /// The parts for `x <= 88`, a scalar or a vector. A NaN stands in `r`.
    fn of(e: &mut Emitter<'_>, x: Value) -> Exp {
        Exp::of_sum(e, x, None)
    }

    /// Those of the sum of `x` and a number close to zero, whose digits `x` does not swallow.
    pub(super) fn of_sum(e: &mut Emitter<'_>, x: Value, low: Option<Value>) -> Exp {
        let ty = e.b.func.dfg.value_type(x);
        let integers = if ty == F32X4 { I32X4 } else { I32 };
        let lowest = e.float(ty, EXP_MIN);
        let too_low = e.b.ins().fcmp(FloatCC::LessThan, x, lowest);
        let x = e.choose(too_low, lowest, x);
        // x = n ln 2 + r with |r| <= ln 2 / 2.
        let per_ln2 = e.float(ty, std::f32::consts::LOG2_E);
        let round = e.float(ty, ROUND);
        let shifted = e.mul_add(x, per_ln2, round);
        let n = e.b.ins().fsub(shifted, round);
        let mut r = x;
        for part in LN2 {
            let part = e.float(ty, -part);
            r = e.mul_add(n, part, r);
        }
        if let Some(low) = low {
            r = e.b.ins().fadd(r, low);
        }
        let tail = polynomial(e, &EXP, r);
        let square = e.b.ins().fmul(r, r);
        // 2^n: n stands in the low bits of `shifted`.
        let bits = e.bitcast(integers, shifted);
        let exponent = e.b.ins().ishl_imm_u(bits, 23);
        let one = e.float(ty, 1.0);
        let one = e.bitcast(integers, one);
        let power = e.b.ins().iadd(exponent, one);
        let power = e.bitcast(ty, power);
        Exp { power, r, square, tail }
    }

    /// The exponential, which is that of [`EXP_MIN`] where `x` is less.
    pub(super) fn value(self, e: &mut Emitter<'_>) -> Value {
        let Exp { power, r, square, tail } = self;
        let ty = e.b.func.dfg.value_type(r);
        let one = e.float(ty, 1.0);
        let small = e.mul_add(tail, square, r);
        let mantissa = e.b.ins().fadd(small, one);
        e.b.ins().fmul(mantissa, power)
    }
}

/// `x`, but not more than `most`. NaN stays NaN.
pub(super) fn at_most(e: &mut Emitter<'_>, x: Value, most: f32) -> Value {
    let ty = e.b.func.dfg.value_type(x);
    let most = e.float(ty, most);
    let is_more = e.b.ins().fcmp(FloatCC::GreaterThan, x, most);
    e.choose(is_more, most, x)
}

/// `x`, but not less than `least`. NaN stays NaN.
pub(super) fn at_least(e: &mut Emitter<'_>, x: Value, least: f32) -> Value {
    let ty = e.b.func.dfg.value_type(x);
    let least = e.float(ty, least);
    let is_less = e.b.ins().fcmp(FloatCC::LessThan, x, least);
    e.choose(is_less, least, x)
}

/// `1 + exp(-x)`, a scalar or a vector; below -88 as there. NaN stays NaN.
fn one_and_exp(e: &mut Emitter<'_>, x: Value) -> Value {
    let ty = e.b.func.dfg.value_type(x);
    let negated = e.b.ins().fneg(x);
    let negated = at_most(e, negated, EXP_MAX);
    let exp = Exp::of(e, negated).value(e);
    let one = e.float(ty, 1.0);
    e.b.ins().fadd(exp, one)
}

/// `1 / (1 + exp(-x))`, a scalar or a vector; 0 where that is no normal float. NaN stays NaN.
pub(super) fn sigmoid(e: &mut Emitter<'_>, x: Value) -> Value {
    let ty = e.b.func.dfg.value_type(x);
    let (one, divisor) = (e.float(ty, 1.0), one_and_exp(e, x));
    e.b.ins().fdiv(one, divisor)
}

/// `x / (1 + exp(-x))`, a scalar or a vector; 0 below -88, where it is less than 6e-37 from that. NaN stays NaN.
pub(super) fn silu(e: &mut Emitter<'_>, x: Value) -> Value {
    let ty = e.b.func.dfg.value_type(x);
    let divisor = one_and_exp(e, x);
    let y = e.b.ins().fdiv(x, divisor);
    let (zero, lowest) = (e.float(ty, 0.0), e.float(ty, -EXP_MAX));
    let is_low = e.b.ins().fcmp(FloatCC::LessThan, x, lowest);
    e.choose(is_low, zero, y)
}

/// The hyperbolic tangent, a scalar or a vector, with the sign of `x`. NaN stays NaN.
pub(super) fn tanh(e: &mut Emitter<'_>, x: Value) -> Value {
    let ty = e.b.func.dfg.value_type(x);
    let square = e.b.ins().fmul(x, x);
    let tail = polynomial(e, &TANH, square);
    let tail = e.b.ins().fmul(tail, square);
    let small = e.mul_add(tail, x, x);
    // 1 - 2 / (exp(2 |x|) + 1), by what does not overflow.
    let magnitude = e.b.ins().fabs(x);
    let minus_two = e.float(ty, -2.0);
    let exponent = e.b.ins().fmul(magnitude, minus_two);
    let exp = Exp::of(e, exponent).value(e);
    let (one, two) = (e.float(ty, 1.0), e.float(ty, 2.0));
    let twice = e.b.ins().fmul(exp, two);
    let divisor = e.b.ins().fadd(exp, one);
    let rest = e.b.ins().fdiv(twice, divisor);
    let large = e.b.ins().fsub(one, rest);
    let negated = e.b.ins().fneg(large);
    let zero = e.float(ty, 0.0);
    let is_negative = e.b.ins().fcmp(FloatCC::LessThan, x, zero);
    let large = e.choose(is_negative, negated, large);
    let bound = e.float(ty, TANH_SMALL);
    let is_small = e.b.ins().fcmp(FloatCC::LessThan, magnitude, bound);
    e.choose(is_small, small, large)
}

/// `exp(x)` of `x <= 0`, a scalar or a vector, 0 where that is no normal float; NaN stays NaN.
pub(super) fn exp(e: &mut Emitter<'_>, x: Value) -> Value {
    let ty = e.b.func.dfg.value_type(x);
    let lowest = e.float(ty, EXP_MIN);
    let too_low = e.b.ins().fcmp(FloatCC::LessThan, x, lowest);
    let Exp { power, r, square, tail } = Exp::of(e, x);
    let one = e.float(ty, 1.0);
    let linear = e.b.ins().fadd(r, one);
    let mantissa = e.mul_add(tail, square, linear);
    let result = e.b.ins().fmul(mantissa, power);
    let zero = e.float(ty, 0.0);
    e.choose(too_low, zero, result)
}

/// `exp(x) - 1` of `x <= 0`, a scalar or a vector; NaN stays NaN. Where `x` is close to 0, `power` is 1 and nothing
/// cancels: the relative error is below 3e-7 everywhere, and the sign is always that of `x`.
pub(super) fn exp_m1(e: &mut Emitter<'_>, x: Value) -> Value {
    let ty = e.b.func.dfg.value_type(x);
    let Exp { power, r, square, tail } = Exp::of(e, x);
    let mantissa = e.mul_add(tail, square, r);
    let one = e.float(ty, 1.0);
    let rest = e.b.ins().fsub(power, one);
    e.mul_add(mantissa, power, rest)
}

/// `ln(x)` of a scalar `x >= 1`; NaN stays NaN.
pub(super) fn log(e: &mut Emitter<'_>, x: Value) -> Value {
    let y = log_of_normal(e, x);
    let number = e.b.ins().fcmp(FloatCC::Equal, x, x);
    e.b.ins().select(number, y, x)
}

/// `ln(x)` of a positive normal `x`, a scalar or a vector.
fn log_of_normal(e: &mut Emitter<'_>, x: Value) -> Value {
    let ty = e.b.func.dfg.value_type(x);
    let integers = if ty == F32X4 { I32X4 } else { I32 };
    // x = 2^n m with m in [sqrt(1/2), sqrt 2).
    let bits = e.bitcast(integers, x);
    let offset = i64::from(std::f32::consts::FRAC_1_SQRT_2.to_bits());
    let offset = e.b.ins().iconst(I32, -offset);
    let offset = e.splat(integers, offset);
    let above = e.b.ins().iadd(bits, offset);
    let n = e.b.ins().sshr_imm_u(above, 23);
    let shift = e.b.ins().ishl_imm_u(n, 23);
    let mantissa = e.b.ins().isub(bits, shift);
    let mantissa = e.bitcast(ty, mantissa);
    let n = e.b.ins().fcvt_from_sint(ty, n);
    let one = e.float(ty, 1.0);
    let r = e.b.ins().fsub(mantissa, one);
    let tail = polynomial(e, &LOG, r);
    let square = e.b.ins().fmul(r, r);
    let cube = e.b.ins().fmul(square, r);
    let mut y = e.b.ins().fmul(tail, cube);
    let low = e.float(ty, LN2[1]);
    y = e.mul_add(n, low, y);
    let half = e.float(ty, -0.5);
    y = e.mul_add(half, square, y);
    y = e.b.ins().fadd(r, y);
    let high = e.float(ty, LN2[0]);
    e.mul_add(n, high, y)
}

/// The largest power that is made of roots and products.
const LARGEST_OF_ROOTS: f64 = 4.0;

/// `x^-power` of `x > 0` and `power >= 0`, a scalar or a vector; NaN stays NaN, and infinity becomes 0, unless the power is 0,
/// which makes 1 of all. A power that is a multiple of a quarter, up to 4, is made of square roots and products, with a
/// relative error below 1e-6; any other by `ln` and `exp`, with one below `5e-7 + 2e-7 * power * |ln x|` where `x` is normal.
pub(super) fn inverse_power(e: &mut Emitter<'_>, x: Value, power: f64) -> Value {
    let ty = e.b.func.dfg.value_type(x);
    let one = e.float(ty, 1.0);
    if power == 0.0 {
        return one;
    }
    if (4.0 * power).fract() == 0.0 && power <= LARGEST_OF_ROOTS {
        let raised = power_of_roots(e, x, (4.0 * power) as usize);
        return e.b.ins().fdiv(one, raised);
    }
    let log = log_of_normal(e, x);
    let factor = e.float(ty, power as f32);
    let exponent = e.b.ins().fmul(log, factor);
    let magnitude = e.b.ins().fabs(exponent);
    let negative = e.b.ins().fneg(magnitude);
    let small = exp(e, negative);
    let large = e.b.ins().fdiv(one, small);
    let zero = e.float(ty, 0.0);
    let shrinks = e.b.ins().fcmp(FloatCC::GreaterThan, exponent, zero);
    let result = e.choose(shrinks, small, large);
    let infinity = e.float(ty, f32::INFINITY);
    let finite = e.b.ins().fcmp(FloatCC::LessThan, x, infinity);
    let otherwise = e.b.ins().fdiv(one, x);
    e.choose(finite, result, otherwise)
}

/// `x` to a power of so many quarters, at least one.
fn power_of_roots(e: &mut Emitter<'_>, x: Value, quarters: usize) -> Value {
    let root = e.b.ins().sqrt(x);
    let mut factors = vec![x; quarters / 4];
    if quarters % 4 >= 2 {
        factors.push(root);
    }
    if quarters % 2 == 1 {
        factors.push(e.b.ins().sqrt(root));
    }
    let product = factors.into_iter().reduce(|product, factor| e.b.ins().fmul(product, factor));
    product.expect("there are quarters")
}
