//! [`GradOperands`], what every contribution to a gradient is made of.

use cranelift_codegen::ir::{InstBuilder, Type, Value};

use super::emitter::Emitter;
use super::rectify::masked;

/// Addresses of a contribution to the gradient of what an op read.
#[derive(Clone, Copy)]
pub(super) struct GradOperands {
    /// The gradient of the op's value.
    pub(super) grad: Value,
    /// What is contributed to.
    pub(super) result: Value,
    /// A ReLU's value, laid out as the result: where it is not positive, the result is zero.
    pub(super) mask: Option<Value>,
    /// Whether it adds to what is there.
    pub(super) accumulates: bool,
}

impl GradOperands {
    /// A gradient that is changed where it lies.
    pub(super) fn in_place(grad: Value) -> GradOperands {
        GradOperands { grad, result: grad, mask: None, accumulates: false }
    }

    /// Leaves a part of the contribution at a float behind the result, under what the mask holds there.
    pub(super) fn leave(self, e: &mut Emitter<'_>, ty: Type, mut part: Value, float: Value) {
        if let Some(mask) = self.mask {
            let at = e.at(mask, float, 1);
            let value = e.load(ty, at, 0);
            part = masked(e, part, value);
        }
        let at = e.at(self.result, float, 1);
        self.store(e, ty, part, (at, 0));
    }

    /// Stores a part of the contribution, or adds it to what is there.
    pub(super) fn store(
        self,
        e: &mut Emitter<'_>,
        ty: Type,
        mut part: Value,
        (at, offset): (Value, i64),
    ) {
        if self.accumulates {
            let before = e.load(ty, at, offset);
            part = e.b.ins().fadd(before, part);
        }
        e.store(part, at, offset);
    }

    /// The same operands from a pixel of the result on.
    pub(super) fn at_pixel(
        self,
        e: &mut Emitter<'_>,
        pixel: Value,
        channels: usize,
    ) -> GradOperands {
        let result = e.at(self.result, pixel, channels);
        let mask = self.mask.map(|mask| e.at(mask, pixel, channels));
        GradOperands { result, mask, ..self }
    }
}
