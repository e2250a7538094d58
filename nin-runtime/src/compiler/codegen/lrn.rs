//! Local response normalisation and its gradient, on one image, pixel by pixel.
//!
//! Channels lie side by side, so that what is summed is a row. A pixel's squares go to a row of scratch with zeros at both sides;
//! the sums are then made vector by vector, of as many loads as a window has numbers. A wide window's are made of sums of 1, 2,
//! 4, ... numbers: each row of those of the row before it, and nothing is ever subtracted, which would cancel.

use cranelift_codegen::ir::{InstBuilder, Type, Value};

use super::emitter::Emitter;
use super::grad::GradOperands;
use super::math::inverse_power;
use super::pixels::Pixels;
use crate::compiler::plan::ChannelRows;

/// The widest window whose numbers are loaded one after the other.
const NARROW: usize = 15;

/// The rows of scratch.
#[derive(Clone, Copy)]
enum ScratchRow {
    /// Squares.
    Squares,
    /// What the gradients of the channels around come through.
    Through,
    /// Gradients times powers.
    Grads,
    /// Sums over wide windows.
    Sums,
}

/// An op and where it works.
#[derive(Clone, Copy)]
pub(super) struct Lrn {
    /// How its rows lie.
    pub(super) rows: ChannelRows,
    /// Scratch, this thread's own.
    pub(super) scratch: Value,
    /// Pixels of an image.
    pub(super) pixels: usize,
    /// Channels that a sum is over, by the definition.
    pub(super) size: usize,
    /// What the mean of the squares is multiplied by.
    pub(super) alpha: f64,
    /// The power.
    pub(super) beta: f64,
    /// What a sum starts from.
    pub(super) k: f64,
}

impl Lrn {
    /// `x / (k + alpha / size * s)^beta` of one image.
    pub(super) fn forward(self, e: &mut Emitter<'_>, x: Pixels, y: Pixels) {
        self.each_pixel(e, &[ScratchRow::Squares], |e, pixel| {
            let (x, y) = (x.pixel(e, pixel), y.pixel(e, pixel));
            self.square(e, x);
            e.lanes(self.rows.channels, |e, ty, i| {
                let (_, power) = self.powers(e, ty, i);
                let x = x.channel(e, i).load(e, ty, 0);
                let normalised = e.b.ins().fmul(x, power);
                y.channel(e, i).store(e, normalised, 0);
            });
        });
    }

    /// Contributes to the gradient of one image's operand: `g p - 2 alpha beta / size x t`, where `p` is the sum to the power of
    /// `-beta`, and `t` the sum of `g x p / sum` over the channels around. All of a pixel's gradient is read before any is
    /// written.
    pub(super) fn input_grad(self, e: &mut Emitter<'_>, x: Pixels, operands: GradOperands) {
        let factor = -2.0 * self.alpha * self.beta / self.size as f64;
        self.each_pixel(e, &[ScratchRow::Squares, ScratchRow::Through], |e, pixel| {
            let x = x.pixel(e, pixel);
            let grad = operands.grad.pixel(e, pixel);
            self.square(e, x);
            e.lanes(self.rows.channels, |e, ty, i| {
                let (sum, power) = self.powers(e, ty, i);
                let (x, g) = (x.channel(e, i).load(e, ty, 0), grad.channel(e, i).load(e, ty, 0));
                let own = e.b.ins().fmul(g, power);
                let through = e.b.ins().fmul(own, x);
                let through = e.b.ins().fdiv(through, sum);
                self.store(e, (ScratchRow::Grads, i), own);
                self.store(e, (ScratchRow::Through, i), through);
            });
            self.widen(e, ScratchRow::Through);
            let here = operands.at_pixel(e, pixel);
            e.lanes(self.rows.channels, |e, ty, i| {
                let around = self.sum(e, ty, ScratchRow::Through, i);
                let x = x.channel(e, i).load(e, ty, 0);
                let factor = e.float(ty, factor as f32);
                let back = e.b.ins().fmul(x, factor);
                let own = self.load(e, ty, (ScratchRow::Grads, i));
                let part = e.mul_add(back, around, own);
                here.at_channel(e, i).leave(e, ty, part, 0);
            });
        });
    }

    /// Runs `body` for each pixel; it finds zeros beside the rows.
    fn each_pixel(
        self,
        e: &mut Emitter<'_>,
        rows: &[ScratchRow],
        body: impl FnOnce(&mut Emitter<'_>, Value),
    ) {
        if !self.is_wide() {
            rows.iter().for_each(|&row| self.clear(e, row));
        }
        e.count(self.pixels, |e, pixel| {
            // Sums that are made in place overwrite the zeros.
            if self.is_wide() {
                rows.iter().for_each(|&row| self.clear(e, row));
            }
            body(e, pixel);
        });
    }

    fn is_wide(self) -> bool {
        self.rows.window() > NARROW
    }

    /// Sets what lies beside a row to zero.
    fn clear(self, e: &mut Emitter<'_>, row: ScratchRow) {
        let ChannelRows { channels, half, .. } = self.rows;
        for first in [0, half + channels] {
            let at = self.at(e, row, first);
            e.lanes(half, |e, ty, i| {
                let at = e.at(at, i, 1);
                let zero = e.float(ty, 0.0);
                e.store(zero, at, 0);
            });
        }
    }

    /// Writes a pixel's squares, and makes their sums where the window is wide.
    fn square(self, e: &mut Emitter<'_>, x: Pixels) {
        e.lanes(self.rows.channels, |e, ty, i| {
            let x = x.channel(e, i).load(e, ty, 0);
            let square = e.b.ins().fmul(x, x);
            self.store(e, (ScratchRow::Squares, i), square);
        });
        self.widen(e, ScratchRow::Squares);
    }

    /// `k + alpha / size * s` of the channels from `i` on, and that to the power of `-beta`.
    fn powers(self, e: &mut Emitter<'_>, ty: Type, i: Value) -> (Value, Value) {
        let squares = self.sum(e, ty, ScratchRow::Squares, i);
        let factor = e.float(ty, (self.alpha / self.size as f64) as f32);
        let k = e.float(ty, self.k as f32);
        let sum = e.mul_add(squares, factor, k);
        (sum, inverse_power(e, sum, self.beta))
    }

    /// The sums of a row's windows around the channels from `i` on.
    fn sum(self, e: &mut Emitter<'_>, ty: Type, row: ScratchRow, i: Value) -> Value {
        if self.is_wide() {
            return self.load(e, ty, (ScratchRow::Sums, i));
        }
        let first = self.at(e, row, 0);
        let at = e.at(first, i, 1);
        let mut sum = e.load(ty, at, 0);
        for offset in 1..self.rows.window() {
            let next = e.load(ty, at, offset as i64);
            sum = e.b.ins().fadd(sum, next);
        }
        sum
    }

    /// Makes the sums of wide windows. The row holds the sums of 1, 2, 4, ... numbers in turn; a window is made of those that
    /// its number of numbers has as a sum of powers of two.
    fn widen(self, e: &mut Emitter<'_>, row: ScratchRow) {
        if !self.is_wide() {
            return;
        }
        let (window, padded) = (self.rows.window(), self.rows.padded());
        let from = self.at(e, row, 0);
        let (mut width, mut taken) = (1, 0);
        while width <= window {
            if window & width != 0 {
                let is_first = taken == 0;
                e.lanes(self.rows.channels, |e, ty, i| {
                    let at = e.at(from, i, 1);
                    let mut sum = e.load(ty, at, taken as i64);
                    if !is_first {
                        let before = self.load(e, ty, (ScratchRow::Sums, i));
                        sum = e.b.ins().fadd(before, sum);
                    }
                    self.store(e, (ScratchRow::Sums, i), sum);
                });
                taken += width;
            }
            if 2 * width <= window {
                // From left to right: what is read further on has not been written yet.
                e.lanes(padded + 1 - 2 * width, |e, ty, i| {
                    let at = e.at(from, i, 1);
                    let (own, next) = (e.load(ty, at, 0), e.load(ty, at, width as i64));
                    let sum = e.b.ins().fadd(own, next);
                    e.store(sum, at, 0);
                });
            }
            width *= 2;
        }
    }

    /// Where number `first` of a row lies, the zeros before it counted.
    fn at(self, e: &mut Emitter<'_>, row: ScratchRow, first: usize) -> Value {
        e.floats(self.scratch, (self.rows.row(row as usize) + first) as i64)
    }

    /// Numbers of a row for the channels from `i` on.
    fn load(self, e: &mut Emitter<'_>, ty: Type, (row, i): (ScratchRow, Value)) -> Value {
        let first = self.at(e, row, self.first(row));
        let at = e.at(first, i, 1);
        e.load(ty, at, 0)
    }

    fn store(self, e: &mut Emitter<'_>, (row, i): (ScratchRow, Value), value: Value) {
        let first = self.at(e, row, self.first(row));
        let at = e.at(first, i, 1);
        e.store(value, at, 0);
    }

    /// The zeros before a row's first channel.
    fn first(self, row: ScratchRow) -> usize {
        match row {
            ScratchRow::Squares | ScratchRow::Through => self.rows.half,
            ScratchRow::Grads | ScratchRow::Sums => 0,
        }
    }
}
