//! Loop nests around Winograd's domain: maps into it, out of it, and the sums of a kernel's gradient back to the kernel.
//!
//! The products in between are those of `conv`; here is which transform runs where. At a map's borders a transform reads, or
//! writes, only what is real, so that no map is padded.

use std::ops::Range;

use cranelift_codegen::ir::{InstBuilder, Value};

use super::emitter::Emitter;
use super::pixels::Pixels;
use crate::compiler::Elem;
use crate::compiler::geometry::Axis;
use crate::compiler::kernel::{Epilogue, InitialSum, Kernel, Transform};
use crate::compiler::plan::SpectrumLayout;
use crate::compiler::winograd::{Map, MapRole, Size};

/// Neighbouring tiles along one direction that meet the same positions.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tiles {
    /// The first.
    first: usize,
    /// How many.
    count: usize,
    /// Which of its positions are real.
    real: Range<usize>,
}

/// Tiles `step` positions apart, of `size` positions from `offset` on, on a line of `positions`.
fn runs(tiles: usize, step: usize, size: usize, offset: i64, positions: usize) -> Vec<Tiles> {
    let mut runs: Vec<Tiles> = Vec::new();
    for tile in 0..tiles {
        let first = (tile * step) as i64 + offset;
        let clip = |position: i64| (position - first).clamp(0, size as i64) as usize;
        let real = clip(0)..clip(positions as i64);
        match runs.last_mut() {
            Some(run) if run.real == real => run.count += 1,
            _ => runs.push(Tiles { first: tile, count: 1, real }),
        }
    }
    runs
}

/// A map of tiles and its real positions, in both directions.
#[derive(Clone)]
pub(super) struct Grid {
    size: Size,
    runs: [Vec<Tiles>; 2],
    /// Where tile 0 begins.
    offset: [i64; 2],
    /// Positions of a row of the map.
    width: usize,
}

impl Grid {
    /// The overlapping tiles that a correlation reads.
    pub(super) fn inputs(size: Size, y: &Axis, x: &Axis) -> Grid {
        let of = |axis: &Axis| {
            runs(size.tiles(axis.outputs), size.outputs, size.inputs(), axis.offset, axis.inputs)
        };
        Grid { size, runs: [of(y), of(x)], offset: [y.offset, x.offset], width: x.inputs }
    }

    /// The tiles of a map of outputs; the last of a row or column may be cut off.
    pub(super) fn outputs(size: Size, (height, width): (usize, usize)) -> Grid {
        let m = size.outputs;
        let of = |positions: usize| runs(size.tiles(positions), m, m, 0, positions);
        Grid { size, runs: [of(height), of(width)], offset: [0, 0], width }
    }

    fn columns(&self) -> usize {
        self.runs[1].iter().map(|run| run.count).sum()
    }

    /// Runs `body` for the tiles of rows `lo..hi`: with their runs, the tile's number counted from row `first`, and where it
    /// begins in the map, in positions.
    fn each(
        &self,
        e: &mut Emitter<'_>,
        (lo, hi): (Value, Value),
        first: Value,
        mut body: impl FnMut(&mut Emitter<'_>, [&Tiles; 2], Value, Value),
    ) {
        let step = self.size.outputs;
        for y in &self.runs[0] {
            let (from, to) = (e.size(y.first), e.size(y.first + y.count));
            let (from, to) = (e.max(lo, from), e.min(hi, to));
            e.range(from, to, 1, |e, row| {
                let at = e.mul(row, (step * self.width) as i64);
                let at = e.add(at, self.offset[0] * self.width as i64 + self.offset[1]);
                let row = e.b.ins().isub(row, first);
                let row = e.mul(row, self.columns() as i64);
                for x in &self.runs[1] {
                    e.count(x.count, |e, column| {
                        let column = e.add(column, x.first as i64);
                        let number = e.b.ins().iadd(row, column);
                        let across = e.mul(column, step as i64);
                        let position = e.b.ins().iadd(at, across);
                        body(e, [y, x], number, position);
                    });
                }
            });
        }
    }
}

/// Where a spectrum lies and how.
#[derive(Clone, Copy)]
pub(super) struct SpectrumRows {
    /// The first frequency of the row that tile row `first` begins with.
    pub(super) at: Value,
    /// The tile row counted from.
    pub(super) first: Value,
    /// Its layout.
    pub(super) layout: SpectrumLayout,
}

impl SpectrumRows {
    /// The first frequency of a row.
    fn row(&self, e: &mut Emitter<'_>, number: Value) -> Value {
        e.element(self.at, number, self.layout.channels, self.layout.elem)
    }

    fn strides(&self, size: Size) -> [i64; 2] {
        let stride = self.layout.stride as i64;
        [size.inputs() as i64 * stride, stride]
    }
}

/// Brings the tiles of rows `lo..hi` of a map into the domain.
pub(super) fn transform(
    e: &mut Emitter<'_>,
    grid: &Grid,
    role: MapRole,
    range: (Value, Value),
    map: Pixels,
    scratch: Value,
    spectrum: SpectrumRows,
) {
    let (size, channels) = (grid.size, spectrum.layout.channels);
    grid.each(e, range, spectrum.first, |e, [y, x], number, position| {
        let spectrum_elem = spectrum.layout.elem;
        let transform = Transform {
            elems: [map.elem, spectrum_elem, spectrum_elem],
            map: Map { size, role },
            channels,
            from: [(grid.width * map.pitch) as i64, map.pitch as i64],
            real: [y.real.clone(), x.real.clone()],
            to: spectrum.strides(size),
            beside: spectrum.strides(size),
            wanted: [size.inputs(); 2],
            init: InitialSum::Zero,
            epilogue: Vec::new(),
        };
        let from = map.pixel(e, position).at;
        let to = spectrum.row(e, number);
        e.call(&Kernel::Transform(transform), &[from, scratch, to, to, to]);
    });
}

/// What becomes of a result that comes out of the domain.
#[derive(Clone, Copy)]
pub(super) struct InverseEpilogue {
    /// Bias of each channel.
    pub(super) bias: Option<Value>,
    /// Mask, of the map's shape.
    pub(super) mask: Option<Pixels>,
    /// What is added to it, of the map's shape; then there is no mask.
    pub(super) addend: Option<Pixels>,
    /// What is then done to it.
    pub(super) then: Option<Epilogue>,
    /// Whether it is added to what is there; then there is no bias.
    pub(super) accumulates: bool,
}

/// Brings rows `lo..hi` of tiles out of the domain, into a map of outputs.
pub(super) fn inverse(
    e: &mut Emitter<'_>,
    grid: &Grid,
    range: (Value, Value),
    spectrum: SpectrumRows,
    (map, scratch): (Pixels, Value),
    finish: InverseEpilogue,
) {
    let (size, channels) = (grid.size, spectrum.layout.channels);
    let add = finish.addend.map(|_| Epilogue::Add);
    let epilogue = add.into_iter().chain(finish.then).chain(finish.mask.map(|_| Epilogue::Mask));
    let epilogue: Vec<Epilogue> = epilogue.collect();
    let init = match finish.bias {
        Some(_) => InitialSum::Bias,
        None if finish.accumulates => InitialSum::Load,
        None => InitialSum::Zero,
    };
    let beside = finish.mask.or(finish.addend).unwrap_or(map);
    let strides = |map: Pixels| [(grid.width * map.pitch) as i64, map.pitch as i64];
    grid.each(e, range, spectrum.first, |e, [y, x], number, position| {
        let transform = Transform {
            elems: [spectrum.layout.elem, map.elem, beside.elem],
            map: Map { size, role: MapRole::Output },
            channels,
            from: spectrum.strides(size),
            real: [0..size.inputs(), 0..size.inputs()],
            to: strides(map),
            beside: strides(beside),
            wanted: [y.real.end, x.real.end],
            init,
            epilogue: epilogue.clone(),
        };
        let from = spectrum.row(e, number);
        let to = map.pixel(e, position).at;
        let is_read = finish.mask.or(finish.addend).is_some();
        let beside = if is_read { beside.pixel(e, position).at } else { to };
        let bias = finish.bias.unwrap_or(to);
        e.call(&Kernel::Transform(transform), &[from, scratch, to, bias, beside]);
    });
}

/// Brings a strip of a kernel's panel, `[ky][kx][channels]`, into the domain, whose frequencies are `stride` elements apart.
pub(super) fn transform_kernel(
    e: &mut Emitter<'_>,
    size: Size,
    (channels, stride, elem): (usize, usize, Elem),
    (from, scratch, to): (Value, Value, Value),
) {
    let stride = stride as i64;
    let transform = Transform {
        elems: [Elem::F32, elem, elem],
        map: Map { size, role: MapRole::Kernel },
        channels,
        from: [(size.taps * channels) as i64, channels as i64],
        real: [0..size.taps, 0..size.taps],
        to: [size.inputs() as i64 * stride, stride],
        beside: [size.inputs() as i64 * stride, stride],
        wanted: [size.inputs(); 2],
        init: InitialSum::Zero,
        epilogue: Vec::new(),
    };
    e.call(&Kernel::Transform(transform), &[from, scratch, to, to, to]);
}

/// Brings the sums of a kernel's gradient, `[frequency][in][out]`, back to the kernel's `[ky][kx][in][out]`.
pub(super) fn kernel_grad(
    e: &mut Emitter<'_>,
    size: Size,
    layout: SpectrumLayout,
    (from, scratch, to): (Value, Value, Value),
) {
    let channels = layout.rows * layout.channels;
    let stride = layout.stride as i64;
    let transform = Transform {
        elems: [layout.elem, Elem::F32, Elem::F32],
        map: Map { size, role: MapRole::KernelGrad },
        channels,
        from: [size.inputs() as i64 * stride, stride],
        real: [0..size.inputs(), 0..size.inputs()],
        to: [(size.taps * channels) as i64, channels as i64],
        beside: [(size.taps * channels) as i64, channels as i64],
        wanted: [size.taps; 2],
        init: InitialSum::Zero,
        epilogue: Vec::new(),
    };
    e.call(&Kernel::Transform(transform), &[from, scratch, to, to, to]);
}
