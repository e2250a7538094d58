//! PReLU on one image, a few vectors of channels at a time: its value, its gradient, and that of its slopes.

use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::{InstBuilder, Type, Value};

use super::emitter::{Columns, Emitter};
use super::grad::GradOperands;
use super::pixels::Pixels;
use super::rectify::where_positive;
use crate::compiler::plan::SlopePlan;

/// Slopes of the channels at some offsets.
fn load(e: &mut Emitter<'_>, ty: Type, slopes: Value, offsets: &[i64]) -> Vec<Value> {
    offsets.iter().map(|&offset| e.load(ty, slopes, offset)).collect()
}

/// `x`, but the channel's slope times `x` where `x < 0`. NaN stays NaN.
pub(super) fn forward(e: &mut Emitter<'_>, plan: &SlopePlan, slopes: Value, [x, y]: [Pixels; 2]) {
    e.columns(plan.channels, |e, columns| {
        let Columns { first, ty, ref offsets } = *columns;
        let [x, y] = [x, y].map(|map| map.channel(e, first));
        let slopes = e.at(slopes, first, 1);
        let slopes = load(e, ty, slopes, offsets);
        e.count(plan.pixels, |e, pixel| {
            let (x, y) = (x.pixel(e, pixel), y.pixel(e, pixel));
            for (&offset, &slope) in offsets.iter().zip(&slopes) {
                let x = x.load(e, ty, offset);
                let zero = e.float(ty, 0.0);
                let negative = e.b.ins().fcmp(FloatCC::LessThan, x, zero);
                let scaled = e.b.ins().fmul(x, slope);
                let value = e.choose(negative, scaled, x);
                y.store(e, value, offset);
            }
        });
    });
}

/// Contributes to the gradient of the operand `x`: the value's, times the slope where `x` is not positive.
pub(super) fn input_grad(
    e: &mut Emitter<'_>,
    plan: &SlopePlan,
    (slopes, x): (Value, Pixels),
    operands: GradOperands,
) {
    e.columns(plan.channels, |e, columns| {
        let Columns { first, ty, ref offsets } = *columns;
        let [grad, x] = [operands.grad, x].map(|map| map.channel(e, first));
        let (operands, slopes) = (operands.at_channel(e, first), e.at(slopes, first, 1));
        let slopes = load(e, ty, slopes, offsets);
        e.count(plan.pixels, |e, pixel| {
            let (grad, x) = (grad.pixel(e, pixel), x.pixel(e, pixel));
            let here = operands.at_pixel(e, pixel);
            for (&offset, &slope) in offsets.iter().zip(&slopes) {
                let (g, x) = (grad.load(e, ty, offset), x.load(e, ty, offset));
                let scaled = e.b.ins().fmul(g, slope);
                let part = where_positive(e, x, g, scaled);
                here.leave(e, ty, part, offset);
            }
        });
    });
}

/// Adds the gradient of the slopes from one image: the sum of `dy x` where `x` is not positive.
pub(super) fn slope_grad(
    e: &mut Emitter<'_>,
    plan: &SlopePlan,
    [grad, x]: [Pixels; 2],
    slopes: Value,
) {
    e.columns(plan.channels, |e, columns| {
        let Columns { first, ty, ref offsets } = *columns;
        let [grad, x] = [grad, x].map(|map| map.channel(e, first));
        let slopes = e.at(slopes, first, 1);
        let start = |e: &mut Emitter<'_>, &offset: &i64| {
            let sum = e.b.declare_var(ty);
            let start = e.load(ty, slopes, offset);
            e.b.def_var(sum, start);
            sum
        };
        let sums: Vec<_> = offsets.iter().map(|offset| start(e, offset)).collect();
        e.count(plan.pixels, |e, pixel| {
            let (grad, x) = (grad.pixel(e, pixel), x.pixel(e, pixel));
            for (&offset, &sum) in offsets.iter().zip(&sums) {
                let (g, x) = (grad.load(e, ty, offset), x.load(e, ty, offset));
                let zero = e.float(ty, 0.0);
                // A NaN is not positive, and stays.
                let negative = where_positive(e, x, zero, x);
                let before = e.b.use_var(sum);
                let after = e.mul_add(g, negative, before);
                e.b.def_var(sum, after);
            }
        });
        for (&offset, &sum) in offsets.iter().zip(&sums) {
            let total = e.b.use_var(sum);
            e.store(total, slopes, offset);
        }
    });
}
