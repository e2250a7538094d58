//! Softmax, and the softmax cross entropy with its gradient; `exp` and `log` as polynomials, so that no outside symbol is
//! called.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, I32, I64};
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
const EXP_MIN: f32 = -87.0;

/// `c[0] x^n + ... + c[n]`.
fn polynomial(e: &mut Emitter<'_>, coefficients: &[f32], x: Value) -> Value {
    let mut sum = e.float(F32, coefficients[0]);
    for &coefficient in &coefficients[1..] {
        let coefficient = e.float(F32, coefficient);
        sum = e.mul_add(sum, x, coefficient);
    }
    sum
}

/// `exp(x)` of a scalar `x <= 0`; NaN stays NaN.
fn exp(e: &mut Emitter<'_>, x: Value) -> Value {
    let lowest = e.float(F32, EXP_MIN);
    let too_low = e.b.ins().fcmp(FloatCC::LessThan, x, lowest);
    let x = e.b.ins().select(too_low, lowest, x);
    // x = n ln 2 + r with |r| <= ln 2 / 2.
    let per_ln2 = e.float(F32, std::f32::consts::LOG2_E);
    let round = e.float(F32, ROUND);
    let shifted = e.mul_add(x, per_ln2, round);
    let n = e.b.ins().fsub(shifted, round);
    let mut r = x;
    for part in LN2 {
        let part = e.float(F32, -part);
        r = e.mul_add(n, part, r);
    }
    let tail = polynomial(e, &EXP, r);
    let square = e.b.ins().fmul(r, r);
    let one = e.float(F32, 1.0);
    let linear = e.b.ins().fadd(r, one);
    let mantissa = e.mul_add(tail, square, linear);
    // 2^n: n stands in the low bits of `shifted`.
    let bits = e.bitcast(I32, shifted);
    let exponent = e.b.ins().ishl_imm_u(bits, 23);
    let power = e.b.ins().iadd_imm_s(exponent, i64::from(1.0f32.to_bits()));
    let power = e.bitcast(F32, power);
    e.b.ins().fmul(mantissa, power)
}

/// `ln(x)` of a scalar `x >= 1`; NaN stays NaN.
fn log(e: &mut Emitter<'_>, x: Value) -> Value {
    // x = 2^n m with m in [sqrt(1/2), sqrt 2).
    let bits = e.bitcast(I32, x);
    let offset = i64::from(std::f32::consts::FRAC_1_SQRT_2.to_bits());
    let above = e.b.ins().iadd_imm_s(bits, -offset);
    let n = e.b.ins().sshr_imm_u(above, 23);
    let shift = e.b.ins().ishl_imm_u(n, 23);
    let mantissa = e.b.ins().isub(bits, shift);
    let mantissa = e.bitcast(F32, mantissa);
    let n = e.b.ins().fcvt_from_sint(F32, n);
    let one = e.float(F32, 1.0);
    let r = e.b.ins().fsub(mantissa, one);
    let tail = polynomial(e, &LOG, r);
    let square = e.b.ins().fmul(r, r);
    let cube = e.b.ins().fmul(square, r);
    let mut y = e.b.ins().fmul(tail, cube);
    let low = e.float(F32, LN2[1]);
    y = e.mul_add(n, low, y);
    let half = e.float(F32, -0.5);
    y = e.mul_add(half, square, y);
    y = e.b.ins().fadd(r, y);
    let high = e.float(F32, LN2[0]);
    y = e.mul_add(n, high, y);
    let number = e.b.ins().fcmp(FloatCC::Equal, x, x);
    e.b.ins().select(number, y, x)
}

/// The largest of `classes` floats and its index, the first of equals.
fn largest(e: &mut Emitter<'_>, row: Value, classes: usize) -> (Value, Value) {
    let (best, index) = (e.b.declare_var(F32), e.b.declare_var(I64));
    let first = e.load(F32, row, 0);
    e.b.def_var(best, first);
    let (zero, one, end) = (e.int(0), e.int(1), e.size(classes));
    e.b.def_var(index, zero);
    e.range(one, end, 1, |e, class| {
        let at = e.at(row, class, 1);
        let value = e.load(F32, at, 0);
        let before = e.b.use_var(best);
        let larger = e.b.ins().fcmp(FloatCC::GreaterThan, value, before);
        let after = e.b.ins().select(larger, value, before);
        e.b.def_var(best, after);
        let before = e.b.use_var(index);
        let after = e.b.ins().select(larger, class, before);
        e.b.def_var(index, after);
    });
    (e.b.use_var(best), e.b.use_var(index))
}

/// Stores `exp(z - largest)` for each class and returns the sum.
fn exponentials(
    e: &mut Emitter<'_>,
    classes: usize,
    from: Value,
    largest: Value,
    to: Value,
) -> Value {
    let sum = e.b.declare_var(F32);
    let start = e.float(F32, 0.0);
    e.b.def_var(sum, start);
    e.count(classes, |e, class| {
        let at = e.at(from, class, 1);
        let z = e.load(F32, at, 0);
        let z = e.b.ins().fsub(z, largest);
        let power = exp(e, z);
        let at = e.at(to, class, 1);
        e.store(power, at, 0);
        let before = e.b.use_var(sum);
        let after = e.b.ins().fadd(before, power);
        e.b.def_var(sum, after);
    });
    e.b.use_var(sum)
}

/// The sum of a row.
fn total(e: &mut Emitter<'_>, classes: usize, row: Value) -> Value {
    let sum = e.b.declare_var(F32);
    let start = e.float(F32, 0.0);
    e.b.def_var(sum, start);
    e.count(classes, |e, class| {
        let at = e.at(row, class, 1);
        let value = e.load(F32, at, 0);
        let before = e.b.use_var(sum);
        let after = e.b.ins().fadd(before, value);
        e.b.def_var(sum, after);
    });
    e.b.use_var(sum)
}

/// Multiplies a row by a scalar.
fn scale(e: &mut Emitter<'_>, classes: usize, row: Value, factor: Value) {
    e.count(classes, |e, class| {
        let at = e.at(row, class, 1);
        let value = e.load(F32, at, 0);
        let value = e.b.ins().fmul(value, factor);
        e.store(value, at, 0);
    });
}

/// Softmax of `count` rows.
pub(super) fn softmax(
    e: &mut Emitter<'_>,
    classes: usize,
    count: Value,
    input: Value,
    output: Value,
) {
    let zero = e.int(0);
    e.range(zero, count, 1, |e, image| {
        let (from, to) = (e.at(input, image, classes), e.at(output, image, classes));
        let (largest, _) = largest(e, from, classes);
        let sum = exponentials(e, classes, from, largest, to);
        let one = e.float(F32, 1.0);
        let factor = e.b.ins().fdiv(one, sum);
        scale(e, classes, to, factor);
    });
}

/// What the loss of `count` rows reads and writes; each address is the first row's.
pub(super) struct LossOperands {
    /// Logits.
    pub(super) logits: Value,
    /// Their gradient, to be written.
    pub(super) grad: Value,
    /// Labels (u32).
    pub(super) labels: Value,
    /// The loss of each image, to be written.
    pub(super) losses: Value,
    /// Whether each image is classified right (u32), to be written.
    pub(super) correct: Value,
    /// The weight of one image in the mean (f32).
    pub(super) per_image: Value,
}

/// `log sum exp(z) - z[label]` of each row, and `(softmax(z) - onehot(label)) * per_image`.
pub(super) fn cross_entropy(
    e: &mut Emitter<'_>,
    classes: usize,
    count: Value,
    operands: &LossOperands,
) {
    let zero = e.int(0);
    e.range(zero, count, 1, |e, image| {
        let logits = e.at(operands.logits, image, classes);
        let grad = e.at(operands.grad, image, classes);
        let label = e.at(operands.labels, image, 1);
        let label = e.b.ins().uload32(Emitter::mem(), label, 0);
        let (largest, index) = largest(e, logits, classes);
        let right = e.b.ins().icmp(IntCC::Equal, index, label);
        let right = e.b.ins().uextend(I32, right);
        let at = e.at(operands.correct, image, 1);
        e.store(right, at, 0);
        let sum = exponentials(e, classes, logits, largest, grad);
        let at = e.at(logits, label, 1);
        let picked = e.load(F32, at, 0);
        let below = e.b.ins().fsub(largest, picked);
        let log = log(e, sum);
        let loss = e.b.ins().fadd(log, below);
        let at = e.at(operands.losses, image, 1);
        e.store(loss, at, 0);
        let factor = e.b.ins().fdiv(operands.per_image, sum);
        // The label's probability less one is minus the others', which does not cancel where the net is sure.
        let at = e.at(grad, label, 1);
        let none = e.float(F32, 0.0);
        e.store(none, at, 0);
        let others = total(e, classes, grad);
        scale(e, classes, grad, factor);
        let share = e.b.ins().fmul(others, factor);
        let share = e.b.ins().fneg(share);
        e.store(share, at, 0);
    });
}
