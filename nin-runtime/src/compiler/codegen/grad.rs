//! [`GradOperands`], what every contribution to a gradient is made of.

use cranelift_codegen::ir::{InstBuilder, Type, Value};
use nin_dsl::shape::Shape;

use super::emitter::Emitter;
use super::pixels::{Pixels, each_number};
use super::rectify::masked;

/// Where a contribution to the gradient of what an op read comes from and goes to.
#[derive(Clone, Copy)]
pub(super) struct GradOperands {
    /// The gradient of the op's value.
    pub(super) grad: Pixels,
    /// What is contributed to.
    pub(super) result: Pixels,
    /// A ReLU's value, of the result's shape: where it is not positive, the result is zero.
    pub(super) mask: Option<Pixels>,
    /// Whether it adds to what is there.
    pub(super) accumulates: bool,
}

impl GradOperands {
    /// A gradient that is changed where it lies.
    pub(super) fn in_place(grad: Pixels) -> GradOperands {
        GradOperands { grad, result: grad, mask: None, accumulates: false }
    }

    /// Contributes `part` of every number of the op's gradient, where that has the result's shape. It gets the type, the number's
    /// index, the gradient there, and another map from there on.
    pub(super) fn contribute(
        self,
        e: &mut Emitter<'_>,
        shape: Shape,
        beside: Pixels,
        mut part: impl FnMut(&mut Emitter<'_>, Type, (Value, Value), Pixels) -> Value,
    ) {
        let mask = self.mask.unwrap_or(self.result);
        let maps = [self.grad, self.result, mask, beside];
        each_number(e, shape, maps, |e, ty, i, [grad, result, mask, beside]| {
            let grad = grad.load(e, ty, 0);
            let part = part(e, ty, (i, grad), beside);
            let here = GradOperands { result, mask: self.mask.map(|_| mask), ..self };
            here.leave(e, ty, part, 0);
        });
    }

    /// Leaves a part of the contribution at a channel of the result, under what the mask holds there.
    pub(super) fn leave(self, e: &mut Emitter<'_>, ty: Type, mut part: Value, channel: i64) {
        if let Some(mask) = self.mask {
            let value = mask.load(e, ty, channel);
            part = masked(e, part, value);
        }
        self.store(e, ty, part, channel);
    }

    /// Stores a part of the contribution, or adds it to what is there.
    pub(super) fn store(self, e: &mut Emitter<'_>, ty: Type, mut part: Value, channel: i64) {
        if self.accumulates {
            let before = self.result.load(e, ty, channel);
            part = e.b.ins().fadd(before, part);
        }
        self.result.store(e, part, channel);
    }

    /// From a pixel of the result on.
    pub(super) fn at_pixel(self, e: &mut Emitter<'_>, pixel: Value) -> GradOperands {
        let result = self.result.pixel(e, pixel);
        let mask = self.mask.map(|mask| mask.pixel(e, pixel));
        GradOperands { result, mask, ..self }
    }

    /// From a channel of the result on.
    pub(super) fn at_channel(self, e: &mut Emitter<'_>, channel: Value) -> GradOperands {
        let result = self.result.channel(e, channel);
        let mask = self.mask.map(|mask| mask.channel(e, channel));
        GradOperands { result, mask, ..self }
    }
}
