//! Joins on one image: sums, channels one after the other, products; and what they contribute to the gradients of what they read.

use cranelift_codegen::ir::{InstBuilder, Type, Value};
use nin_dsl::shape::Shape;

use super::activation;
use super::emitter::Emitter;
use super::grad::GradOperands;
use super::pixels::Pixels;
use crate::compiler::activation::Finish;

/// The sum of values, number by number, in their order, and perhaps an activation. The result may lie where an input does.
pub(super) fn add(
    e: &mut Emitter<'_>,
    inputs: &[Pixels],
    output: Pixels,
    shape: Shape,
    then: Option<Finish>,
) {
    let row = |e: &mut Emitter<'_>, inputs: &[Pixels], output: Pixels, numbers: usize| {
        e.lanes(numbers, |e, ty, i| {
            let load = |e: &mut Emitter<'_>, input: Pixels| input.channel(e, i).load(e, ty, 0);
            let mut sum = load(e, inputs[0]);
            for &input in &inputs[1..] {
                let next = load(e, input);
                sum = e.b.ins().fadd(sum, next);
            }
            sum = activation::finish(e, then, sum);
            output.channel(e, i).store(e, sum, 0);
        });
    };
    if inputs.iter().chain([&output]).all(|map| map.is_dense(shape)) {
        return row(e, inputs, output, shape.elements());
    }
    e.count(shape.pixels(), |e, pixel| {
        let inputs: Vec<Pixels> = inputs.iter().map(|input| input.pixel(e, pixel)).collect();
        let output = output.pixel(e, pixel);
        row(e, &inputs, output, shape.channels());
    });
}

/// Contributes the gradient as it is.
pub(super) fn pass_on(e: &mut Emitter<'_>, operands: GradOperands, shape: Shape) {
    operands.contribute(e, shape, operands.grad, |_, _, (_, grad), _| grad);
}

/// A value that is multiplied with others.
#[derive(Clone, Copy)]
pub(super) struct Factor {
    /// Where it lies.
    pub(super) map: Pixels,
    /// Whether it has a number for each pixel; otherwise it has one a channel.
    pub(super) is_whole: bool,
}

impl Factor {
    /// Its numbers for the channels from `i` on of a pixel.
    fn load(self, e: &mut Emitter<'_>, ty: Type, pixel: Value, i: Value) -> Value {
        let row = if self.is_whole { self.map.pixel(e, pixel) } else { self.map };
        row.channel(e, i).load(e, ty, 0)
    }
}

/// The product of values, number by number, in their order.
pub(super) fn multiply(e: &mut Emitter<'_>, shape: Shape, factors: &[Factor], output: Pixels) {
    let channels = shape.channels();
    e.count(shape.pixels(), |e, pixel| {
        let row = output.pixel(e, pixel);
        e.lanes(channels, |e, ty, i| {
            let mut product = factors[0].load(e, ty, pixel, i);
            for factor in &factors[1..] {
                let next = factor.load(e, ty, pixel, i);
                product = e.b.ins().fmul(product, next);
            }
            row.channel(e, i).store(e, product, 0);
        });
    });
}

/// Contributes to the gradient of a factor: the product's gradient times the other factors, summed over the pixels if the factor has
/// a number a channel.
pub(super) fn multiply_grad(
    e: &mut Emitter<'_>,
    (shape, read): (Shape, Shape),
    others: &[Factor],
    operands: GradOperands,
) {
    let channels = shape.channels();
    let part = |e: &mut Emitter<'_>, ty: Type, pixel: Value, i: Value| {
        let grad = Factor { map: operands.grad, is_whole: true };
        let mut part = grad.load(e, ty, pixel, i);
        for factor in others {
            let next = factor.load(e, ty, pixel, i);
            part = e.b.ins().fmul(part, next);
        }
        part
    };
    if read.pixels() == shape.pixels() {
        return e.count(shape.pixels(), |e, pixel| {
            let here = operands.at_pixel(e, pixel);
            e.lanes(channels, |e, ty, i| {
                let part = part(e, ty, pixel, i);
                here.at_channel(e, i).leave(e, ty, part, 0);
            });
        });
    }
    e.lanes(channels, |e, ty, i| {
        let sum = e.b.declare_var(ty);
        let start = e.float(ty, 0.0);
        e.b.def_var(sum, start);
        e.count(shape.pixels(), |e, pixel| {
            let part = part(e, ty, pixel, i);
            let before = e.b.use_var(sum);
            let after = e.b.ins().fadd(before, part);
            e.b.def_var(sum, after);
        });
        let total = e.b.use_var(sum);
        operands.at_channel(e, i).leave(e, ty, total, 0);
    });
}
