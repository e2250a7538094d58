//! Between `[N, C, H, W]`, as arrays have it at the boundary, and channels last, as everything inside has it.

use cranelift_codegen::ir::Value;
use cranelift_codegen::ir::types::F32;
use nin_dsl::shape::Shape;

use super::emitter::Emitter;
use super::pixels::Pixels;

/// One image from `[C, H, W]` to channels last.
pub(super) fn import(e: &mut Emitter<'_>, shape: Shape, planes: Value, map: Pixels) {
    if let Some(floats) = map.floats(shape) {
        return transpose(e, (shape.channels(), shape.pixels()), planes, floats);
    }
    e.count(shape.pixels(), |e, pixel| {
        let (from, to) = (e.at(planes, pixel, 1), map.pixel(e, pixel));
        e.count(shape.channels(), |e, channel| {
            let source = e.at(from, channel, shape.pixels());
            let value = e.load(F32, source, 0);
            to.channel(e, channel).store(e, value, 0);
        });
    });
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
