//! Softmax, and the softmax cross entropy with its gradient.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};

use super::emitter::Emitter;
use super::math::{exp, log};
use super::pixels::Pixels;

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
    input: Pixels,
    output: Pixels,
) {
    let zero = e.int(0);
    e.range(zero, count, 1, |e, image| {
        let (from, to) = (input.pixel(e, image).at, output.pixel(e, image).at);
        let (largest, _) = largest(e, from, classes);
        let sum = exponentials(e, classes, from, largest, to);
        let one = e.float(F32, 1.0);
        let factor = e.b.ins().fdiv(one, sum);
        scale(e, classes, to, factor);
    });
}

/// What the loss of `count` rows reads and writes, from the first row on.
pub(super) struct LossOperands {
    /// Logits.
    pub(super) logits: Pixels,
    /// Their gradient, to be written.
    pub(super) grad: Pixels,
    /// Labels (u32).
    pub(super) labels: Value,
    /// The loss of each image, to be written.
    pub(super) losses: Value,
    /// Whether each image is classified right (u32), to be written.
    pub(super) correct: Value,
    /// The weight of one image in the mean (f32).
    pub(super) per_image: Value,
    /// The share of a label that is spread over all classes (f32).
    pub(super) smoothing: Value,
}

/// `log sum exp(z) - target . z` of each row, and `(softmax(z) - target) * per_image`, where the target is 1 at the label less
/// the share that is spread over all classes.
pub(super) fn cross_entropy(
    e: &mut Emitter<'_>,
    classes: usize,
    count: Value,
    operands: &LossOperands,
) {
    let zero = e.int(0);
    e.range(zero, count, 1, |e, image| {
        let logits = operands.logits.pixel(e, image).at;
        let grad = operands.grad.pixel(e, image).at;
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
        // The label's logit less the mean one is what spreading costs.
        let share = e.float(F32, 1.0 / classes as f32);
        let sum_of_logits = total(e, classes, logits);
        let mean = e.b.ins().fmul(sum_of_logits, share);
        let lead = e.b.ins().fsub(picked, mean);
        let lead = e.b.ins().fmul(operands.smoothing, lead);
        let loss = e.b.ins().fadd(loss, lead);
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
        spread(e, classes, grad, at, operands);
    });
}

/// Moves a share of the label's target to all classes, in a row of gradients: `at` is the label's.
fn spread(e: &mut Emitter<'_>, classes: usize, row: Value, at: Value, operands: &LossOperands) {
    let moved = e.b.ins().fmul(operands.smoothing, operands.per_image);
    let label = e.load(F32, at, 0);
    let label = e.b.ins().fadd(label, moved);
    e.store(label, at, 0);
    let share = e.float(F32, 1.0 / classes as f32);
    let each = e.b.ins().fmul(moved, share);
    e.count(classes, |e, class| {
        let at = e.at(row, class, 1);
        let value = e.load(F32, at, 0);
        let value = e.b.ins().fsub(value, each);
        e.store(value, at, 0);
    });
}
