//! Between `[N, C, H, W]`, as arrays have it at the boundary, and channels last, as everything inside has it.

use cranelift_codegen::ir::types::F32;
use cranelift_codegen::ir::{InstBuilder, Value};
use nin_dsl::shape::Shape;

use super::emitter::Emitter;
use super::pixels::Pixels;

/// Channels up to which a pixel's are written out one by one.
const FEW: usize = 8;
/// Pixels that are then written out together.
const TOGETHER: usize = 4;

/// Rows `lo..hi` of an image from `[C, H, W]` to channels last. Both maps are given from their first pixel on.
pub(super) fn import(
    e: &mut Emitter<'_>,
    shape: Shape,
    (lo, hi): (Value, Value),
    planes: Value,
    map: Pixels,
) {
    let (channels, width) = (shape.channels(), shape.width() as i64);
    let [first, end] = [lo, hi].map(|row| e.mul(row, width));
    if let (1, Some(floats)) = (channels, map.floats(shape)) {
        return e.lanes_between(first, end, |e, ty, i| {
            let (source, target) = (e.at(planes, i, 1), e.at(floats, i, 1));
            let value = e.load(ty, source, 0);
            e.store(value, target, 0);
        });
    }
    if channels > FEW {
        return e.range(first, end, 1, |e, pixel| {
            let (from, to) = (e.at(planes, pixel, 1), map.pixel(e, pixel));
            e.count(channels, |e, channel| {
                let source = e.at(from, channel, shape.pixels());
                let value = e.load(F32, source, 0);
                to.channel(e, channel).store(e, value, 0);
            });
        });
    }
    let some = |e: &mut Emitter<'_>, pixel: Value, pixels: usize| {
        let (from, to) = (e.at(planes, pixel, 1), map.pixel(e, pixel));
        for at in 0..pixels {
            for channel in 0..channels {
                let value = e.load(F32, from, (channel * shape.pixels() + at) as i64);
                to.store(e, value, (at * map.pitch + channel) as i64);
            }
        }
    };
    let count = e.b.ins().isub(end, first);
    let whole = e.b.ins().band_imm_s(count, -(TOGETHER as i64));
    let middle = e.b.ins().iadd(first, whole);
    e.range(first, middle, TOGETHER as i64, |e, pixel| some(e, pixel, TOGETHER));
    e.range(middle, end, 1, |e, pixel| some(e, pixel, 1));
}

/// One image from channels last to `[C, H, W]`.
pub(super) fn export(e: &mut Emitter<'_>, shape: Shape, pixels: Value, planes: Value) {
    transpose(e, (shape.pixels(), shape.channels()), pixels, planes);
}

/// From `[rows][columns]` to `[columns][rows]`.
fn transpose(e: &mut Emitter<'_>, (rows, columns): (usize, usize), from: Value, to: Value) {
    if rows == 1 || columns == 1 {
        return e.lanes(rows * columns, |e, ty, i| {
            let (source, target) = (e.at(from, i, 1), e.at(to, i, 1));
            let value = e.load(ty, source, 0);
            e.store(value, target, 0);
        });
    }
    e.count(columns, |e, column| {
        let (from, to) = (e.at(from, column, 1), e.at(to, column, rows));
        e.count(rows, |e, row| {
            let (source, target) = (e.at(from, row, columns), e.at(to, row, 1));
            let value = e.load(F32, source, 0);
            e.store(value, target, 0);
        });
    });
}
