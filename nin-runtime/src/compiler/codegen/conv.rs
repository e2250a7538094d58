//! Loop nests of the direct convolution: forward and input gradient (one correlation serves both), kernel gradient, bias
//! gradient. The products are the tile's; here is which tile runs where.

use cranelift_codegen::ir::{InstBuilder, Value};

use super::emitter::{Emitter, columns};
use super::pixels::Pixels;
use crate::compiler::Elem;
use crate::compiler::geometry::{ConvGeometry, Correlation, TileRun};
use crate::compiler::kernel::{Elems, Epilogue, Group, Init, Kernel, Tile, TileShape};

/// Pixels of a band of a kernel gradient: about as many of a cache line of either operand stay in the first-level cache.
const KERNEL_GRAD_PIXELS: usize = 64;

/// What a correlation works on.
#[derive(Clone, Copy)]
pub(super) struct Operands {
    /// The map that is read.
    pub(super) input: Pixels,
    /// Packed weights, a row of a panel after the other.
    pub(super) panels: Pixels,
    /// The map that is written; its first pixel may lie before what there is of it.
    pub(super) output: Pixels,
    /// Bias, padded to panels.
    pub(super) bias: Option<Value>,
    /// Mask, of the output's shape.
    pub(super) mask: Option<Pixels>,
    /// What is added to the output, of its shape; then there is no mask.
    pub(super) addend: Option<Pixels>,
    /// Whether it adds to what is there; then there is no bias.
    pub(super) accumulates: bool,
}

impl Operands {
    fn init(&self) -> Init {
        match self.bias {
            Some(_) => Init::Bias,
            None if self.accumulates => Init::Load,
            None => Init::Zero,
        }
    }

    fn epilogue(&self, relu: bool) -> Vec<Epilogue> {
        let add = self.addend.map(|_| Epilogue::Add);
        let relu = relu.then_some(Epilogue::Relu);
        add.into_iter().chain(relu).chain(self.mask.map(|_| Epilogue::Mask)).collect()
    }

    fn elems(&self) -> Elems {
        let Operands { input, panels, output, .. } = self;
        Elems { a: input.elem, b: panels.elem, c: output.elem, beside: self.beside().elem }
    }

    fn reads_beside(&self) -> bool {
        self.mask.or(self.addend).is_some()
    }

    /// What the epilogue reads beside the output; the output, if nothing.
    fn beside(&self) -> Pixels {
        self.mask.or(self.addend).unwrap_or(self.output)
    }
}

/// What the operands of a kernel's gradient are stored as: its sums are float32.
fn sums_of(input: Pixels, grad: Pixels) -> Elems {
    Elems { a: input.elem, b: grad.elem, c: Elem::F32, beside: Elem::F32 }
}

/// Which rows a matrix product has.
#[derive(Clone, Copy)]
pub(super) enum Rows {
    /// As many as a run-time value says: the images of a chunk.
    Counted(Value),
    /// A fixed number: the pixels of an image or a band.
    Fixed(usize),
}

/// Runs `body` for every panel of `channels` channels: full ones in a loop, then a narrower last one. It gets the panel's
/// number and its columns.
pub(super) fn panels(
    e: &mut Emitter<'_>,
    channels: usize,
    cols: usize,
    mut body: impl FnMut(&mut Emitter<'_>, Value, usize),
) {
    e.count(channels / cols, |e, panel| body(e, panel, cols));
    if !channels.is_multiple_of(cols) {
        let last = e.size(channels / cols);
        body(e, last, channels % cols);
    }
}

/// A correlation over rows `lo..hi` of its output.
pub(super) fn correlate(
    e: &mut Emitter<'_>,
    shape: TileShape,
    correlation: &Correlation,
    (lo, hi): (Value, Value),
    operands: Operands,
    relu: bool,
) {
    let Correlation { y, x, inputs, step, .. } = *correlation;
    let Operands { input, output, panels: panels_of, .. } = operands;
    let beside = operands.beside();
    let runs = correlation.tiles(shape, input.pitch);
    let one_row = y.outputs == 1;
    panels(e, correlation.outputs, shape.cols, |e, panel, cols| {
        let weights = panels_of.elements(e, panel, correlation.panel(shape.cols));
        let bias = operands.bias.map(|bias| e.at(bias, panel, shape.cols));
        let row = |e: &mut Emitter<'_>, row: Value| {
            let scaled = e.mul(row, y.stride as i64);
            let first = e.add(scaled, y.offset);
            let (tap, segments) = real_taps(e, first, y.taps, y.inputs);
            let at = e.b.ins().iadd(first, tap);
            let a = input.pixels(e, at, x.inputs).skip_pixels(e, x.offset);
            let b = weights.elements(e, tap, x.taps * inputs * shape.cols);
            let place = |e: &mut Emitter<'_>, map: Pixels| {
                let map = map.pixels(e, row, correlation.row);
                map.elements(e, panel, shape.cols).skip_pixels(e, correlation.origin as i64)
            };
            let c = place(e, output);
            let d = if operands.reads_beside() { place(e, beside) } else { c };
            for run in &runs {
                let tile = Tile {
                    elems: operands.elems(),
                    rows: run.rows,
                    cols,
                    a_row: (x.stride * input.pitch) as i64,
                    a_k: 1,
                    a_segment: (x.inputs * input.pitch) as i64,
                    b_k: shape.cols as i64,
                    b_segment: (x.taps * inputs * shape.cols) as i64,
                    c_row: (step * output.pitch) as i64,
                    beside_row: (step * d.pitch) as i64,
                    groups: run.groups.clone(),
                    init: operands.init(),
                    epilogue: operands.epilogue(relu),
                };
                let bias = bias.unwrap_or(c.at);
                tiles(e, run, &tile, [a.at, b.at, c.at, bias, d.at, segments]);
            }
        };
        if one_row {
            row(e, lo);
        } else {
            e.range(lo, hi, 1, row);
        }
    });
}

/// The taps of `first, first + 1, ...` that fall on `0..inputs`: the first of them, and how many (or less than one).
fn real_taps(e: &mut Emitter<'_>, first: Value, taps: usize, inputs: usize) -> (Value, Value) {
    let zero = e.int(0);
    let missing = e.b.ins().ineg(first);
    let tap = e.max(missing, zero);
    let inputs = e.size(inputs);
    let reach = e.b.ins().isub(inputs, first);
    let taps = e.size(taps);
    let end = e.min(reach, taps);
    let count = e.b.ins().isub(end, tap);
    (tap, count)
}

/// Calls a run's tile at each of its places. `arguments` are those of the row's first tile (A, B, C, bias, mask, segments).
fn tiles(e: &mut Emitter<'_>, run: &TileRun, tile: &Tile, arguments: [Value; 6]) {
    let kernel = Kernel::Tile(tile.clone());
    let masked = tile.epilogue.iter().any(|epilogue| *epilogue != Epilogue::Relu);
    e.count(run.count, |e, index| {
        let row = e.mul(index, run.rows as i64);
        let row = e.add(row, run.first as i64);
        let [a, b, c, bias, mask, segments] = arguments;
        let mut rows = |base: Value, pitch: i64, elem: Elem| {
            let bytes = e.mul(row, pitch * elem.bytes() as i64);
            e.sum(base, bytes)
        };
        let (a, c) = (rows(a, tile.a_row, tile.elems.a), rows(c, tile.c_row, tile.elems.c));
        let mask = if masked { rows(mask, tile.beside_row, tile.elems.beside) } else { c };
        e.call(&kernel, &[a, b, c, bias, mask, segments]);
    });
}

/// A pointwise correlation: rows of `inputs` floats times panels, to rows of `outputs` floats.
pub(super) fn multiply(
    e: &mut Emitter<'_>,
    shape: TileShape,
    (inputs, outputs): (usize, usize),
    rows: Rows,
    operands: Operands,
    relu: bool,
) {
    let Operands { input, output, .. } = operands;
    let beside = operands.beside();
    let tile = |rows: usize, cols: usize| Tile {
        elems: operands.elems(),
        rows,
        cols,
        a_row: input.pitch as i64,
        a_k: 1,
        a_segment: 0,
        b_k: shape.cols as i64,
        b_segment: 0,
        c_row: output.pitch as i64,
        beside_row: beside.pitch as i64,
        groups: vec![Group { a: 0, b: 0, k: inputs, rows: 0..rows }],
        init: operands.init(),
        epilogue: operands.epilogue(relu),
    };
    panels(e, outputs, shape.cols, |e, panel, cols| {
        let b = operands.panels.elements(e, panel, inputs * shape.cols);
        let bias = operands.bias.map(|bias| e.at(bias, panel, shape.cols));
        let c = output.elements(e, panel, shape.cols);
        let d = if operands.reads_beside() { beside.elements(e, panel, shape.cols) } else { c };
        let one = e.int(1);
        let run = |e: &mut Emitter<'_>, row: Value, rows: usize| {
            let (a, c) = (input.pixel(e, row), c.pixel(e, row));
            let d = if operands.reads_beside() { d.pixel(e, row) } else { c };
            let bias = bias.unwrap_or(c.at);
            e.call(&Kernel::Tile(tile(rows, cols)), &[a.at, b.at, c.at, bias, d.at, one]);
        };
        let zero = e.int(0);
        match rows {
            Rows::Fixed(rows) => {
                let whole = e.size(rows / shape.rows * shape.rows);
                e.range(zero, whole, shape.rows as i64, |e, row| run(e, row, shape.rows));
                if !rows.is_multiple_of(shape.rows) {
                    run(e, whole, rows % shape.rows);
                }
            }
            Rows::Counted(count) => {
                let rest = e.b.ins().urem_imm_u(count, shape.rows as i64);
                let whole = e.b.ins().isub(count, rest);
                e.range(zero, whole, shape.rows as i64, |e, row| run(e, row, shape.rows));
                e.range(whole, count, 1, |e, row| run(e, row, 1));
            }
        }
    });
}

/// Adds one image's kernel gradient: for each kernel row, `X^T dY` over the pixels that meet real input.
///
/// Every tile reads a few channels of each pixel, and the tile beside it the next few of the same cache lines: the pixels go
/// through in bands whose lines stay in the first-level cache.
pub(super) fn kernel_grad(
    e: &mut Emitter<'_>,
    shape: TileShape,
    geometry: &ConvGeometry,
    [input, grad]: [Pixels; 2],
    kernel: Value,
) {
    let ConvGeometry { cin, cout, stride, .. } = *geometry;
    let (height, width) = geometry.input;
    let (rows, cols) = geometry.output;
    let runs = geometry.kernel_grad_tiles(shape, (input.pitch, grad.pitch));
    let band = (KERNEL_GRAD_PIXELS / cols).clamp(1, rows);
    panels(e, cout, shape.cols, |e, panel, columns| {
        let grad = grad.elements(e, panel, shape.cols);
        let kernel = e.at(kernel, panel, shape.cols);
        e.count(rows.div_ceil(band), |e, number| {
            let lo = e.mul(number, band as i64);
            let hi = e.add(lo, band as i64);
            let rows = e.size(rows);
            let hi = e.min(hi, rows);
            e.count(geometry.kernel.0, |e, tap| {
                // Output rows o in the band with 0 <= o * stride - pad + tap < height.
                let above = real_outputs(e, tap, geometry.pad, stride);
                let above = e.max(above, lo);
                let below = real_outputs(e, tap, height + geometry.pad, stride);
                let below = e.min(below, hi);
                let segments = e.b.ins().isub(below, above);
                let first = e.mul(above, stride as i64);
                let first = e.b.ins().iadd(first, tap);
                let first = e.add(first, -(geometry.pad as i64));
                let a = input.pixels(e, first, width).skip_pixels(e, -(geometry.pad as i64));
                let b = grad.pixels(e, above, cols);
                let c = e.at(kernel, tap, geometry.kernel.1 * cin * cout);
                for run in &runs {
                    let tile = Tile {
                        elems: sums_of(input, grad),
                        rows: run.rows,
                        cols: columns,
                        a_row: 1,
                        a_k: (stride * input.pitch) as i64,
                        a_segment: (stride * width * input.pitch) as i64,
                        b_k: grad.pitch as i64,
                        b_segment: (cols * grad.pitch) as i64,
                        c_row: cout as i64,
                        beside_row: cout as i64,
                        groups: run.groups.clone(),
                        init: Init::Load,
                        epilogue: Vec::new(),
                    };
                    tiles(e, run, &tile, [a.at, b.at, c, c, c, segments]);
                }
            });
        });
    });
}

/// The number of outputs `o >= 0` with `o * stride < bound - tap`.
fn real_outputs(e: &mut Emitter<'_>, tap: Value, bound: usize, stride: usize) -> Value {
    let bound = e.size(bound + stride - 1);
    let room = e.b.ins().isub(bound, tap);
    let zero = e.int(0);
    let room = e.max(room, zero);
    if stride == 1 { room } else { e.b.ins().udiv_imm_u(room, stride as i64) }
}

/// Adds the kernel gradient of a product of rows: `count` segments of `rows` rows.
pub(super) fn kernel_grad_of_rows(
    e: &mut Emitter<'_>,
    shape: TileShape,
    (inputs, outputs): (usize, usize),
    (count, rows): (Value, usize),
    [input, grad]: [Pixels; 2],
    kernel: Value,
) {
    let k = rows;
    panels(e, outputs, shape.cols, |e, panel, cols| {
        let b = grad.elements(e, panel, shape.cols);
        let c = e.at(kernel, panel, shape.cols);
        let run = |first: usize, rows: usize, count: usize| TileRun {
            first,
            rows,
            count,
            groups: vec![Group { a: 0, b: 0, k, rows: 0..rows }],
        };
        let whole = inputs / shape.rows;
        let rest = inputs % shape.rows;
        let runs =
            [run(0, shape.rows, whole), run(whole * shape.rows, rest, usize::from(rest > 0))];
        for run in runs.iter().filter(|run| run.count > 0) {
            let tile = Tile {
                elems: sums_of(input, grad),
                rows: run.rows,
                cols,
                a_row: 1,
                a_k: input.pitch as i64,
                a_segment: (k * input.pitch) as i64,
                b_k: grad.pitch as i64,
                b_segment: (k * grad.pitch) as i64,
                c_row: outputs as i64,
                beside_row: outputs as i64,
                groups: run.groups.clone(),
                init: Init::Load,
                epilogue: Vec::new(),
            };
            tiles(e, run, &tile, [input.at, b.at, c, c, c, count]);
        }
    });
}

/// Adds the bias gradient: the sum of `count` rows of `channels` floats, a few vectors at a time.
pub(super) fn bias_grad(
    e: &mut Emitter<'_>,
    channels: usize,
    count: Value,
    grad: Pixels,
    bias: Value,
) {
    for (ty, offsets) in columns(channels) {
        let start = |e: &mut Emitter<'_>, &offset: &i64| {
            let sum = e.b.declare_var(ty);
            let start = e.load(ty, bias, offset);
            e.b.def_var(sum, start);
            sum
        };
        let sums: Vec<_> = offsets.iter().map(|offset| start(e, offset)).collect();
        let zero = e.int(0);
        e.range(zero, count, 1, |e, row| {
            let row = grad.pixel(e, row);
            for (&offset, &sum) in offsets.iter().zip(&sums) {
                let value = row.load(e, ty, offset);
                let before = e.b.use_var(sum);
                let after = e.b.ins().fadd(before, value);
                e.b.def_var(sum, after);
            }
        });
        for (&offset, &sum) in offsets.iter().zip(&sums) {
            let total = e.b.use_var(sum);
            e.store(total, bias, offset);
        }
    }
}
