//! Pools and their gradients, the global ones too, on one image, channels last: vectors of channels at each pixel.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, F32X4, I32, I32X4};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use cranelift_frontend::Variable;
use nin_dsl::shape::{Count, Shape, Slide, Window};

use super::emitter::Emitter;
use super::grad::GradOperands;
use super::pixels::{self, Pixels};

/// How a window becomes one number.
#[derive(Clone, Copy)]
pub(super) enum Reduce {
    /// The maximum.
    Max,
    /// The mean.
    Mean(Count),
}

/// A pool's geometry: the map it reads and the map it yields.
#[derive(Clone, Copy)]
pub(super) struct Pool {
    /// Max or mean.
    pub(super) reduce: Reduce,
    /// Window.
    pub(super) window: Window,
    /// What it reads.
    pub(super) input: Shape,
    /// What it yields.
    pub(super) output: Shape,
}

/// The real pixels under one window, as run-time values.
struct Covered {
    rows: Stretch,
    columns: Stretch,
}

/// What a window covers along one direction.
struct Stretch {
    /// Its first real pixel.
    first: Value,
    /// What comes after its last.
    end: Value,
    /// Where it begins, in padding or not.
    begins: Value,
    slide: Slide,
    inputs: usize,
}

impl Stretch {
    /// That of window `o`.
    fn of(e: &mut Emitter<'_>, o: Value, slide: Slide, inputs: usize) -> Stretch {
        let begins = e.mul(o, slide.stride as i64);
        let begins = e.add(begins, -(slide.pad[0] as i64));
        let end = e.add(begins, slide.kernel as i64);
        let (zero, size) = (e.int(0), e.size(inputs));
        Stretch { first: e.max(begins, zero), end: e.min(end, size), begins, slide, inputs }
    }

    /// How many pixels a mean counts.
    fn counted(&self, e: &mut Emitter<'_>, count: Count) -> Value {
        match count {
            Count::Real => e.b.ins().isub(self.end, self.first),
            Count::Window => {
                let padded = e.size(self.inputs + self.slide.pad[1]);
                let left = e.b.ins().isub(padded, self.begins);
                let kernel = e.size(self.slide.kernel);
                e.min(left, kernel)
            }
        }
    }
}

/// Runs `body` for every output pixel of rows `lo..hi`; it gets the pixel's index and the input pixels under it.
fn windows(
    e: &mut Emitter<'_>,
    pool: &Pool,
    (lo, hi): (Value, Value),
    mut body: impl FnMut(&mut Emitter<'_>, Value, &Covered),
) {
    e.range(lo, hi, 1, |e, y| {
        let rows = Stretch::of(e, y, pool.window.y, pool.input.height());
        e.count(pool.output.width(), |e, x| {
            let columns = Stretch::of(e, x, pool.window.x, pool.input.width());
            let row = e.mul(y, pool.output.width() as i64);
            let pixel = e.b.ins().iadd(row, x);
            body(e, pixel, &Covered { rows, columns });
        });
    });
}

/// Runs `body` for every input pixel under a window, in row order; it gets the pixel's index.
fn under(
    e: &mut Emitter<'_>,
    pool: &Pool,
    pixels: &Covered,
    mut body: impl FnMut(&mut Emitter<'_>, Value),
) {
    e.range(pixels.rows.first, pixels.rows.end, 1, |e, y| {
        let row = e.mul(y, pool.input.width() as i64);
        e.range(pixels.columns.first, pixels.columns.end, 1, |e, x| {
            let pixel = e.b.ins().iadd(row, x);
            body(e, pixel);
        });
    });
}

/// `1 / (pixels that count under the window)`, in every lane of `ty`.
fn per_pixel(e: &mut Emitter<'_>, ty: Type, pixels: &Covered, count: Count) -> Value {
    let rows = pixels.rows.counted(e, count);
    let columns = pixels.columns.counted(e, count);
    let count = e.b.ins().imul(rows, columns);
    let count = e.b.ins().fcvt_from_sint(F32, count);
    let one = e.float(F32, 1.0);
    let share = e.b.ins().fdiv(one, count);
    e.splat(ty, share)
}

/// Whether `value` replaces the maximum so far: it is larger, or the first NaN.
fn wins(e: &mut Emitter<'_>, value: Value, best: Value) -> Value {
    // Only comparisons that every target has in vectors.
    let at_most = e.b.ins().fcmp(FloatCC::LessThanOrEqual, value, best);
    let number = e.b.ins().fcmp(FloatCC::Equal, best, best);
    let other = e.b.ins().bnot(at_most);
    e.b.ins().band(number, other)
}

/// A variable for each of a few vectors.
fn variables(e: &mut Emitter<'_>, start: Value, vectors: usize) -> Vec<Variable> {
    let ty = e.b.func.dfg.value_type(start);
    let variable = |e: &mut Emitter<'_>| {
        let variable = e.b.declare_var(ty);
        e.b.def_var(variable, start);
        variable
    };
    (0..vectors).map(|_| variable(e)).collect()
}

/// The place of vector `index` behind an address, in floats.
fn offset(ty: Type, index: usize) -> i64 {
    i64::from(ty.lane_count()) * index as i64
}

/// The mean over output rows `lo..hi`.
pub(super) fn average(
    e: &mut Emitter<'_>,
    pool: &Pool,
    rows: (Value, Value),
    [input, output]: [Pixels; 2],
) {
    let Reduce::Mean(count) = pool.reduce else { unreachable!("tiles take maxima (a bug in nin)") };
    windows(e, pool, rows, |e, pixel, pixels| {
        let written = output.pixel(e, pixel);
        e.vectors(pool.input.channels(), |e, ty, channel, vectors| {
            let from = input.channel(e, channel);
            let start = e.float(ty, 0.0);
            let sums = variables(e, start, vectors);
            under(e, pool, pixels, |e, pixel| {
                let at = from.pixel(e, pixel);
                for (index, &sum) in sums.iter().enumerate() {
                    let value = at.load(e, ty, offset(ty, index));
                    let before = e.b.use_var(sum);
                    let after = e.b.ins().fadd(before, value);
                    e.b.def_var(sum, after);
                }
            });
            let share = per_pixel(e, ty, pixels, count);
            let at = written.channel(e, channel);
            for (index, &sum) in sums.iter().enumerate() {
                let sum = e.b.use_var(sum);
                let mean = e.b.ins().fmul(sum, share);
                at.store(e, mean, offset(ty, index));
            }
        });
    });
}

/// The gradient of the input: each output's gradient goes to its winner, or to all pixels alike.
///
/// A maximum's winners are found again in the pool's input.
pub(super) fn input_grad(
    e: &mut Emitter<'_>,
    pool: &Pool,
    input: Option<Pixels>,
    operands: GradOperands,
) {
    let channels = pool.input.channels();
    if !operands.accumulates {
        pixels::zero(e, pool.input, operands.result);
    }
    let rows = (e.int(0), e.size(pool.output.height()));
    windows(e, pool, rows, |e, pixel, pixels| {
        let grad = operands.grad.pixel(e, pixel);
        e.vectors(channels, |e, ty, channel, vectors| {
            let at = grad.channel(e, channel);
            let mut grads: Vec<Value> =
                (0..vectors).map(|index| at.load(e, ty, offset(ty, index))).collect();
            let winners = input.map(|input| {
                let from = input.channel(e, channel);
                winners(e, pool, pixels, (ty, vectors), from)
            });
            if let Reduce::Mean(count) = pool.reduce {
                let share = per_pixel(e, ty, pixels, count);
                grads.iter_mut().for_each(|grad| *grad = e.b.ins().fmul(*grad, share));
            }
            let none = e.float(ty, 0.0);
            // Every window adds to what others have left.
            let result = GradOperands { accumulates: true, ..operands }.at_channel(e, channel);
            under(e, pool, pixels, |e, pixel| {
                let here = lane_index(e, ty, pixel);
                let at = result.at_pixel(e, pixel);
                for (index, &grad) in grads.iter().enumerate() {
                    let mut part = grad;
                    if let Some(winners) = &winners {
                        let won = e.b.ins().icmp(IntCC::Equal, here, winners[index]);
                        part = e.choose(won, part, none);
                    }
                    at.leave(e, ty, part, offset(ty, index));
                }
            });
        });
    });
}

/// The gradient of the global maximum's input: a channel's winner has it, the other pixels have none. Every pixel is written
/// once, so that nothing has to be zero before.
pub(super) fn global_max_grad(
    e: &mut Emitter<'_>,
    pool: &Pool,
    input: Pixels,
    operands: GradOperands,
) {
    let zero = e.int(0);
    let Window { y, x } = pool.window;
    let rows = Stretch::of(e, zero, y, pool.input.height());
    let columns = Stretch::of(e, zero, x, pool.input.width());
    let pixels = Covered { rows, columns };
    e.vectors(pool.input.channels(), |e, ty, channel, vectors| {
        let grad = operands.grad.channel(e, channel);
        let grads: Vec<Value> =
            (0..vectors).map(|index| grad.load(e, ty, offset(ty, index))).collect();
        let from = input.channel(e, channel);
        let winners = winners(e, pool, &pixels, (ty, vectors), from);
        let none = e.float(ty, 0.0);
        let result = operands.at_channel(e, channel);
        under(e, pool, &pixels, |e, pixel| {
            let here = lane_index(e, ty, pixel);
            let at = result.at_pixel(e, pixel);
            for (index, (&grad, &winner)) in grads.iter().zip(&winners).enumerate() {
                let won = e.b.ins().icmp(IntCC::Equal, here, winner);
                let part = e.choose(won, grad, none);
                at.leave(e, ty, part, offset(ty, index));
            }
        });
    });
}

/// The index of the pixel that holds the maximum, per lane of a few vectors from `from` on.
fn winners(
    e: &mut Emitter<'_>,
    pool: &Pool,
    pixels: &Covered,
    (ty, vectors): (Type, usize),
    from: Pixels,
) -> Vec<Value> {
    let lowest = e.float(ty, f32::NEG_INFINITY);
    let bests = variables(e, lowest, vectors);
    // Where everything is minus infinity nothing is larger: the first pixel takes the gradient.
    let row = e.mul(pixels.rows.first, pool.input.width() as i64);
    let first = e.b.ins().iadd(row, pixels.columns.first);
    let first = lane_index(e, ty, first);
    let indices = variables(e, first, vectors);
    under(e, pool, pixels, |e, pixel| {
        let at = from.pixel(e, pixel);
        let here = lane_index(e, ty, pixel);
        for (number, (&best, &index)) in bests.iter().zip(&indices).enumerate() {
            let value = at.load(e, ty, offset(ty, number));
            let before = e.b.use_var(best);
            let wins = wins(e, value, before);
            let after = e.choose(wins, value, before);
            e.b.def_var(best, after);
            let before = e.b.use_var(index);
            let after = e.choose(wins, here, before);
            e.b.def_var(index, after);
        }
    });
    indices.iter().map(|&index| e.b.use_var(index)).collect()
}

/// The integer type whose lanes match those of a float type.
fn index_type(ty: Type) -> Type {
    if ty == F32X4 { I32X4 } else { I32 }
}

/// A pixel's index in every lane.
fn lane_index(e: &mut Emitter<'_>, ty: Type, pixel: Value) -> Value {
    let index = e.b.ins().ireduce(I32, pixel);
    e.splat(index_type(ty), index)
}

/// Sets `floats` floats to zero.
pub(super) fn zero(e: &mut Emitter<'_>, address: Value, floats: usize) {
    e.vectors(floats, |e, ty, i, vectors| {
        let at = e.at(address, i, 1);
        let zero = e.float(ty, 0.0);
        (0..vectors).for_each(|index| e.store(zero, at, offset(ty, index)));
    });
}

/// The mean of each channel over all pixels of one image.
pub(super) fn global_average(e: &mut Emitter<'_>, shape: Shape, input: Pixels, output: Pixels) {
    e.vectors(shape.channels(), |e, ty, channel, vectors| {
        let from = input.channel(e, channel);
        let start = e.float(ty, 0.0);
        let sums = variables(e, start, vectors);
        e.count(shape.pixels(), |e, pixel| {
            let at = from.pixel(e, pixel);
            for (index, &sum) in sums.iter().enumerate() {
                let value = at.load(e, ty, offset(ty, index));
                let before = e.b.use_var(sum);
                let after = e.b.ins().fadd(before, value);
                e.b.def_var(sum, after);
            }
        });
        let (at, share) = (output.channel(e, channel), e.float(ty, 1.0 / shape.pixels() as f32));
        for (index, &sum) in sums.iter().enumerate() {
            let sum = e.b.use_var(sum);
            let mean = e.b.ins().fmul(sum, share);
            at.store(e, mean, offset(ty, index));
        }
    });
}

/// The gradient of the global average's input: the same share for every pixel.
pub(super) fn global_average_grad(e: &mut Emitter<'_>, shape: Shape, operands: GradOperands) {
    let channels = shape.channels();
    e.count(shape.pixels(), |e, pixel| {
        let here = operands.at_pixel(e, pixel);
        e.lanes(channels, |e, ty, channel| {
            let grad = operands.grad.channel(e, channel).load(e, ty, 0);
            let share = e.float(ty, 1.0 / shape.pixels() as f32);
            let part = e.b.ins().fmul(grad, share);
            here.at_channel(e, channel).leave(e, ty, part, 0);
        });
    });
}
