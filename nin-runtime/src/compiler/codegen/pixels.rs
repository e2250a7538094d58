//! [`Pixels`], a view at run time, and walks over the numbers of maps.

use cranelift_codegen::ir::types::{F32X4, I64};
use cranelift_codegen::ir::{Type, Value};
use cranelift_frontend::Variable;
use nin_dsl::shape::Shape;

use super::emitter::{Emitter, LANES, VECTORS};
use crate::compiler::Elem;

/// Where a map's numbers lie, channels last: the address of one of them, and how many elements on the same channel of the next
/// pixel is. Of vectors of a chunk's images, each is a pixel.
#[derive(Clone, Copy)]
pub(super) struct Pixels {
    /// An address, the first pixel's at first.
    pub(super) at: Value,
    /// Elements from one pixel to the next.
    pub(super) pitch: usize,
    /// What the numbers are stored as.
    pub(super) elem: Elem,
}

impl Pixels {
    /// From pixel `index` on.
    pub(super) fn pixel(self, e: &mut Emitter<'_>, index: Value) -> Pixels {
        self.pixels(e, index, 1)
    }

    /// From pixel `index * scale` on.
    pub(super) fn pixels(self, e: &mut Emitter<'_>, index: Value, scale: usize) -> Pixels {
        self.elements(e, index, scale * self.pitch)
    }

    /// From a fixed pixel on, which may lie before this one.
    pub(super) fn skip_pixels(self, e: &mut Emitter<'_>, pixels: i64) -> Pixels {
        self.skip(e, pixels * self.pitch as i64)
    }

    /// From channel `index` on.
    pub(super) fn channel(self, e: &mut Emitter<'_>, index: Value) -> Pixels {
        self.elements(e, index, 1)
    }

    /// From channel `index * scale` on.
    pub(super) fn elements(self, e: &mut Emitter<'_>, index: Value, scale: usize) -> Pixels {
        Pixels { at: e.element(self.at, index, scale, self.elem), ..self }
    }

    /// From a fixed channel on.
    pub(super) fn skip(self, e: &mut Emitter<'_>, channels: i64) -> Pixels {
        Pixels { at: e.add(self.at, channels * self.elem.bytes() as i64), ..self }
    }

    /// Numbers from channel `offset` on, as float32.
    pub(super) fn load(self, e: &mut Emitter<'_>, ty: Type, offset: i64) -> Value {
        match self.elem {
            Elem::F32 => e.load(ty, self.at, offset),
        }
    }

    /// Stores float32 numbers from channel `offset` on.
    pub(super) fn store(self, e: &mut Emitter<'_>, value: Value, offset: i64) {
        match self.elem {
            Elem::F32 => e.store(value, self.at, offset),
        }
    }

    /// Whether a map of this shape lies in one stretch.
    pub(super) fn is_dense(self, shape: Shape) -> bool {
        self.pitch == shape.channels() || shape.pixels() == 1
    }

    /// Where a map of this shape lies, if as an array of float32 would.
    pub(super) fn floats(self, shape: Shape) -> Option<Value> {
        (self.is_dense(shape) && self.elem == Elem::F32).then_some(self.at)
    }
}

/// Runs `body` `turns` times; it gets the turn's number and the maps, each moved on by its number of elements every turn. Returns where
/// they are after the last.
///
/// Addresses are carried from turn to turn, since Cranelift moves nothing out of a loop that is made of a constant.
pub(super) fn walk<const N: usize>(
    e: &mut Emitter<'_>,
    turns: usize,
    maps: [(Pixels, usize); N],
    body: impl FnOnce(&mut Emitter<'_>, Value, [Pixels; N]),
) -> [Pixels; N] {
    // Whatever lies in one place and goes on alike has one address.
    let mut cursors: Vec<((Value, i64), Variable)> = Vec::new();
    let carried = maps.map(|(map, step)| {
        let key = (map.at, (step * map.elem.bytes()) as i64);
        let known = cursors.iter().find(|(of, _)| *of == key).map(|&(_, cursor)| cursor);
        let cursor = known.unwrap_or_else(|| {
            let cursor = e.b.declare_var(I64);
            e.b.def_var(cursor, map.at);
            cursors.push((key, cursor));
            cursor
        });
        (map, cursor)
    });
    let here = |e: &mut Emitter<'_>| {
        carried.map(|(map, cursor)| Pixels { at: e.b.use_var(cursor), ..map })
    };
    e.count(turns, |e, number| {
        let maps = here(e);
        body(e, number, maps);
        for &((_, bytes), cursor) in &cursors {
            let at = e.b.use_var(cursor);
            let next = e.add(at, bytes);
            e.b.def_var(cursor, next);
        }
    });
    here(e)
}

/// Runs `body` over all numbers of maps of one shape, in one go if all are dense. It gets the type, the number's index in the
/// shape, and the maps from there on.
pub(super) fn each_number<const N: usize>(
    e: &mut Emitter<'_>,
    shape: Shape,
    maps: [Pixels; N],
    mut body: impl FnMut(&mut Emitter<'_>, Type, Value, [Pixels; N]),
) {
    if maps.iter().all(|map| map.is_dense(shape)) {
        return neighbours(e, shape.elements(), maps, body);
    }
    let channels = shape.channels();
    e.count(shape.pixels(), |e, pixel| {
        let rows = maps.map(|map| map.pixel(e, pixel));
        let first = e.mul(pixel, channels as i64);
        e.lanes(channels, |e, ty, i| {
            let here = rows.map(|row| row.channel(e, i));
            let index = e.sum(first, i);
            body(e, ty, index, here);
        });
    });
}

/// Runs `body` over neighbouring numbers of maps, a few vectors a turn as long as they last.
fn neighbours<const N: usize>(
    e: &mut Emitter<'_>,
    numbers: usize,
    maps: [Pixels; N],
    mut body: impl FnMut(&mut Emitter<'_>, Type, Value, [Pixels; N]),
) {
    let group = VECTORS * LANES;
    let steps = maps.map(|map| (map, group));
    let rest = walk(e, numbers / group, steps, |e, number, maps| {
        for offset in (0..group as i64).step_by(LANES) {
            let first = e.mul(number, group as i64);
            let (i, here) = (e.add(first, offset), maps.map(|map| map.skip(e, offset)));
            body(e, F32X4, i, here);
        }
    });
    let first = numbers / group * group;
    e.lanes(numbers - first, |e, ty, i| {
        let here = rest.map(|map| map.channel(e, i));
        let i = e.add(i, first as i64);
        body(e, ty, i, here);
    });
}

/// Sets every number of a map to zero.
pub(super) fn zero(e: &mut Emitter<'_>, shape: Shape, map: Pixels) {
    if let Some(floats) = map.floats(shape) {
        return super::pool::zero(e, floats, shape.elements());
    }
    each_number(e, shape, [map], |e, ty, _, [here]| {
        let zero = e.float(ty, 0.0);
        here.store(e, zero, 0);
    });
}
