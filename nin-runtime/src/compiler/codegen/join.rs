//! Joins on one image, channels last: sums, channels one after the other, products; and what they contribute to the gradients of
//! what they read.

use cranelift_codegen::ir::{InstBuilder, Type, Value};
use nin_dsl::shape::Shape;

use super::emitter::Emitter;
use super::grad::GradOperands;
use super::rectify::rectified;

/// The sum of values, element by element, in their order, and perhaps a ReLU. The result may lie where an input does.
pub(super) fn add(e: &mut Emitter<'_>, inputs: &[Value], output: Value, floats: usize, relu: bool) {
    e.lanes(floats, |e, ty, i| {
        let load = |e: &mut Emitter<'_>, input: Value| {
            let at = e.at(input, i, 1);
            e.load(ty, at, 0)
        };
        let mut sum = load(e, inputs[0]);
        for &input in &inputs[1..] {
            let next = load(e, input);
            sum = e.b.ins().fadd(sum, next);
        }
        if relu {
            sum = rectified(e, sum);
        }
        let at = e.at(output, i, 1);
        e.store(sum, at, 0);
    });
}

/// Contributes the gradient of a sum as it is.
pub(super) fn add_grad(e: &mut Emitter<'_>, operands: GradOperands, floats: usize) {
    e.lanes(floats, |e, ty, i| {
        let at = e.at(operands.grad, i, 1);
        let grad = e.load(ty, at, 0);
        operands.leave(e, ty, grad, i);
    });
}

/// The channels of one value after those of another: `parts` are the channels of each and where it lies.
pub(super) fn concat(e: &mut Emitter<'_>, shape: Shape, parts: &[(usize, Value)], output: Value) {
    let mut first = 0;
    for &(channels, input) in parts {
        e.count(shape.pixels(), |e, pixel| {
            let from = e.at(input, pixel, channels);
            let to = e.at(output, pixel, shape.channels());
            let to = e.floats(to, first as i64);
            e.lanes(channels, |e, ty, i| {
                let (from, to) = (e.at(from, i, 1), e.at(to, i, 1));
                let x = e.load(ty, from, 0);
                e.store(x, to, 0);
            });
        });
        first += channels;
    }
}

/// Contributes the channels from `first` on of a map's gradient to the gradient of an input.
pub(super) fn concat_grad(
    e: &mut Emitter<'_>,
    (shape, first): (Shape, usize),
    read: Shape,
    operands: GradOperands,
) {
    e.count(shape.pixels(), |e, pixel| {
        let from = e.at(operands.grad, pixel, shape.channels());
        let from = e.floats(from, first as i64);
        let here = operands.at_pixel(e, pixel, read.channels());
        e.lanes(read.channels(), |e, ty, i| {
            let at = e.at(from, i, 1);
            let grad = e.load(ty, at, 0);
            here.leave(e, ty, grad, i);
        });
    });
}

/// A value that is multiplied with others.
#[derive(Clone, Copy)]
pub(super) struct Factor {
    /// Where it lies.
    pub(super) at: Value,
    /// Whether it has a number for each pixel; otherwise it has one a channel.
    pub(super) is_whole: bool,
}

impl Factor {
    /// Its numbers for the channels from `i` on of a pixel.
    fn load(
        self,
        e: &mut Emitter<'_>,
        ty: Type,
        (pixel, channels): (Value, usize),
        i: Value,
    ) -> Value {
        let row = if self.is_whole { e.at(self.at, pixel, channels) } else { self.at };
        let at = e.at(row, i, 1);
        e.load(ty, at, 0)
    }
}

/// The product of values, element by element, in their order.
pub(super) fn multiply(e: &mut Emitter<'_>, shape: Shape, factors: &[Factor], output: Value) {
    let channels = shape.channels();
    e.count(shape.pixels(), |e, pixel| {
        let row = e.at(output, pixel, channels);
        e.lanes(channels, |e, ty, i| {
            let mut product = factors[0].load(e, ty, (pixel, channels), i);
            for factor in &factors[1..] {
                let next = factor.load(e, ty, (pixel, channels), i);
                product = e.b.ins().fmul(product, next);
            }
            let at = e.at(row, i, 1);
            e.store(product, at, 0);
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
        let grad = Factor { at: operands.grad, is_whole: true };
        let mut part = grad.load(e, ty, (pixel, channels), i);
        for factor in others {
            let next = factor.load(e, ty, (pixel, channels), i);
            part = e.b.ins().fmul(part, next);
        }
        part
    };
    if read.pixels() == shape.pixels() {
        return e.count(shape.pixels(), |e, pixel| {
            let here = operands.at_pixel(e, pixel, channels);
            e.lanes(channels, |e, ty, i| {
                let part = part(e, ty, pixel, i);
                here.leave(e, ty, part, i);
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
        operands.leave(e, ty, total, i);
    });
}
