//! Loop nests of the direct convolution: forward and input gradient (one correlation serves both), kernel gradient, bias
//! gradient. The products are the tile's; here is which tile runs where.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value};
use nin_dsl::shape::Window;

use super::emitter::{Columns, Emitter};
use super::panels::Grouped;
use super::pixels::Pixels;
use crate::compiler::Elem;
use crate::compiler::geometry::{Axis, ConvGeometry, Correlation, TileRun};
use crate::compiler::kernel::{
    Elems, Epilogue, Group, InitialSum, Kernel, Reduction, Tile, TileShape,
};

/// Pixels of a band of a kernel gradient: about as many of a cache line of either operand stay in the first-level cache.
const KERNEL_GRAD_PIXELS: usize = 64;

/// What a correlation works on.
#[derive(Clone, Copy)]
pub(super) struct Operands {
    /// The map that is read.
    pub(super) input: Pixels,
    /// Packed weights, a row of a panel after the other; none where there is nothing to multiply with, but a maximum to take.
    pub(super) panels: Option<Pixels>,
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
    /// Those of a maximum, from one map to the other.
    pub(super) fn of_maximum([input, output]: [Pixels; 2]) -> Operands {
        Operands {
            input,
            panels: None,
            output,
            bias: None,
            mask: None,
            addend: None,
            accumulates: false,
        }
    }

    fn init(&self) -> InitialSum {
        match self.bias {
            Some(_) => InitialSum::Bias,
            None if self.accumulates => InitialSum::Load,
            None if self.panels.is_none() => InitialSum::Lowest,
            None => InitialSum::Zero,
        }
    }

    fn epilogue(&self, then: Option<Epilogue>) -> Vec<Epilogue> {
        let add = self.addend.map(|_| Epilogue::Add);
        add.into_iter().chain(then).chain(self.mask.map(|_| Epilogue::Mask)).collect()
    }

    fn elems(&self) -> Elems {
        let Operands { input, panels, output, .. } = self;
        let b = panels.unwrap_or(*input).elem;
        Elems { a: input.elem, b, c: output.elem, beside: self.beside().elem }
    }

    fn reduction(&self, depthwise: bool) -> Reduction {
        match (self.panels, depthwise) {
            (None, _) => Reduction::Maximum,
            (Some(_), true) => Reduction::ByColumn,
            (Some(_), false) => Reduction::Product,
        }
    }

    fn reads_beside(&self) -> bool {
        self.mask.or(self.addend).is_some()
    }

    /// What the epilogue reads beside the output; the output, if nothing.
    fn beside(&self) -> Pixels {
        self.mask.or(self.addend).unwrap_or(self.output)
    }
}

/// The sums of a kernel's gradient, a row for each tap and input channel of a group.
fn sums(at: Value, outputs: usize) -> Pixels {
    Pixels { at, pitch: outputs, elem: Elem::F32 }
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
    /// As many as a run-time value says, which is mostly the same: the pixels of a band that may be a short one.
    Mostly {
        /// The value.
        count: Value,
        /// What it mostly is.
        usual: usize,
    },
}

/// A correlation over rows `lo..hi` of its output.
pub(super) fn correlate(
    e: &mut Emitter<'_>,
    shape: TileShape,
    correlation: &Correlation,
    (lo, hi): (Value, Value),
    operands: Operands,
    then: Option<Epilogue>,
) {
    let Correlation { y, x, inputs, step, groups, outputs, depthwise, .. } = *correlation;
    let Operands { input, output, panels, .. } = operands;
    let beside = operands.beside();
    let runs = correlation.tiles(shape, input.pitch);
    let one_row = y.outputs == 1;
    let grouped = Grouped { groups, inputs, outputs, depthwise };
    grouped.panels(e, shape.cols, |e, panel| {
        let packed = correlation.panel(shape.cols);
        let weights = panels.map(|panels| panel.packed(e, panels, packed));
        let bias = operands.bias.map(|bias| panel.bias(e, bias));
        let input = panel.input(e, input);
        let row = |e: &mut Emitter<'_>, row: Value| {
            let scaled = e.mul(row, y.stride as i64);
            let first = e.add(scaled, y.offset);
            let (tap, segments) = real_taps(e, first, &y);
            let down = e.mul(tap, y.dilation as i64);
            let at = e.b.ins().iadd(first, down);
            let a = input.pixels(e, at, x.inputs).skip_pixels(e, x.offset);
            let rows = x.taps * inputs * shape.cols;
            let b = weights.map_or(a, |weights| weights.elements(e, tap, rows));
            let place = |e: &mut Emitter<'_>, map: Pixels| {
                let map = map.pixels(e, row, correlation.row);
                panel.output(e, map).skip_pixels(e, correlation.origin as i64)
            };
            let c = place(e, output);
            let d = if operands.reads_beside() { place(e, beside) } else { c };
            for run in &runs {
                let tile = Tile {
                    elems: operands.elems(),
                    rows: run.rows,
                    cols: panel.columns,
                    a_row: (x.stride * input.pitch) as i64,
                    a_k: correlation.step_of_sum(input.pitch) as i64,
                    reduction: operands.reduction(depthwise),
                    a_segment: (y.dilation * x.inputs * input.pitch) as i64,
                    b_k: shape.cols as i64,
                    b_segment: (x.taps * inputs * shape.cols) as i64,
                    c_row: (step * output.pitch) as i64,
                    beside_row: (step * d.pitch) as i64,
                    groups: run.groups.clone(),
                    init: operands.init(),
                    epilogue: operands.epilogue(then),
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

/// The taps of a window that begins at `first` that fall on inputs: the first of them, and how many (or less than one).
fn real_taps(e: &mut Emitter<'_>, first: Value, axis: &Axis) -> (Value, Value) {
    let zero = e.int(0);
    let missing = e.b.ins().ineg(first);
    let missing = e.max(missing, zero);
    let tap = quotient_up(e, missing, axis.dilation);
    let inputs = e.size(axis.inputs);
    let reach = e.b.ins().isub(inputs, first);
    let reach = if axis.dilation == 1 { reach } else { e.max(reach, zero) };
    let reach = quotient_up(e, reach, axis.dilation);
    let taps = e.size(axis.taps);
    let end = e.min(reach, taps);
    let count = e.b.ins().isub(end, tap);
    (tap, count)
}

/// `x / by` rounded up; `x` is not negative, unless `by` is 1.
fn quotient_up(e: &mut Emitter<'_>, x: Value, by: usize) -> Value {
    if by == 1 {
        return x;
    }
    let x = e.add(x, by as i64 - 1);
    e.b.ins().udiv_imm_u(x, by as i64)
}

/// Calls a run's tile at each of its places. `arguments` are those of the row's first tile (A, B, C, bias, mask, segments).
fn tiles(e: &mut Emitter<'_>, run: &TileRun, tile: &Tile, arguments: [Value; 6]) {
    let kernel = Kernel::Tile(tile.clone());
    let masked = tile.epilogue.iter().any(|epilogue| epilogue.reads_beside());
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

/// A pointwise correlation of each group: rows of its inputs times panels, to rows of its outputs.
pub(super) fn multiply(
    e: &mut Emitter<'_>,
    shape: TileShape,
    grouped: Grouped,
    rows: Rows,
    operands: Operands,
    then: Option<Epilogue>,
) {
    let Operands { input, output, .. } = operands;
    let inputs = grouped.inputs;
    let beside = operands.beside();
    let tile = |rows: usize, cols: usize| Tile {
        elems: operands.elems(),
        rows,
        cols,
        a_row: input.pitch as i64,
        a_k: 1,
        reduction: Reduction::Product,
        a_segment: 0,
        b_k: shape.cols as i64,
        b_segment: 0,
        c_row: output.pitch as i64,
        beside_row: beside.pitch as i64,
        groups: vec![Group { a: 0, b: 0, k: inputs, rows: 0..rows }],
        init: operands.init(),
        epilogue: operands.epilogue(then),
    };
    grouped.panels(e, shape.cols, |e, panel| {
        let panels = operands.panels.expect("a product has weights (a bug in nin)");
        let b = panel.packed(e, panels, inputs * shape.cols);
        let bias = operands.bias.map(|bias| panel.bias(e, bias));
        let c = panel.output(e, output);
        let d = if operands.reads_beside() { panel.output(e, beside) } else { c };
        let input = panel.input(e, input);
        let one = e.int(1);
        let run = |e: &mut Emitter<'_>, row: Value, rows: usize| {
            let (a, c) = (input.pixel(e, row), c.pixel(e, row));
            let d = if operands.reads_beside() { d.pixel(e, row) } else { c };
            let bias = bias.unwrap_or(c.at);
            let tile = tile(rows, panel.columns);
            e.call(&Kernel::Tile(tile), &[a.at, b.at, c.at, bias, d.at, one]);
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
            Rows::Mostly { count, usual } => {
                let rest = e.b.ins().urem_imm_u(count, shape.rows as i64);
                let whole = e.b.ins().isub(count, rest);
                e.range(zero, whole, shape.rows as i64, |e, row| run(e, row, shape.rows));
                rest_of_rows(e, (whole, rest), (usual % shape.rows, shape.rows), &run);
            }
        }
    });
}

/// Runs `run` on the rows that are left after whole tiles: as one tile if there are as many as usual, else in ever smaller ones.
fn rest_of_rows(
    e: &mut Emitter<'_>,
    (first, rest): (Value, Value),
    (usual, rows): (usize, usize),
    run: &impl Fn(&mut Emitter<'_>, Value, usize),
) {
    let as_usual = e.b.ins().icmp_imm_s(IntCC::Equal, rest, usual as i64);
    let short = e.b.ins().icmp_imm_s(IntCC::NotEqual, rest, usual as i64);
    if usual > 0 {
        e.when(as_usual, |e| run(e, first, usual));
    }
    e.when(short, |e| {
        let (mut first, mut rest) = (first, rest);
        let mut size = rows.next_power_of_two() / 2;
        while size > 0 {
            let some = e.b.ins().band_imm_s(rest, size as i64);
            let end = e.b.ins().iadd(first, some);
            e.range(first, end, size as i64, |e, row| run(e, row, size));
            rest = e.b.ins().isub(rest, some);
            first = end;
            size /= 2;
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
    let ConvGeometry { cin, depthwise, window: Window { y, x }, .. } = *geometry;
    let outputs = geometry.outputs();
    let (height, width) = geometry.input;
    let (rows, cols) = geometry.output;
    let runs = geometry.kernel_grad_tiles(shape, (input.pitch, grad.pitch));
    let band = (KERNEL_GRAD_PIXELS / cols).clamp(1, rows);
    Grouped::of(geometry).panels(e, shape.cols, |e, panel| {
        let grad = panel.output(e, grad);
        let input = panel.input(e, input);
        let kernel = panel.output(e, sums(kernel, outputs)).at;
        e.count(rows.div_ceil(band), |e, number| {
            let lo = e.mul(number, band as i64);
            let hi = e.add(lo, band as i64);
            let rows = e.size(rows);
            let hi = e.min(hi, rows);
            e.count(y.kernel, |e, tap| {
                let down = e.mul(tap, y.dilation as i64);
                // Output rows o in the band with 0 <= o * stride - pad + tap * dilation < height.
                let above = real_outputs(e, down, y.pad[0], y.stride);
                let above = e.max(above, lo);
                let below = real_outputs(e, down, height + y.pad[0], y.stride);
                let below = e.min(below, hi);
                let segments = e.b.ins().isub(below, above);
                let first = e.mul(above, y.stride as i64);
                let first = e.b.ins().iadd(first, down);
                let first = e.add(first, -(y.pad[0] as i64));
                let a = input.pixels(e, first, width).skip_pixels(e, -(x.pad[0] as i64));
                let b = grad.pixels(e, above, cols);
                let c = e.at(kernel, tap, x.kernel * cin * outputs);
                for run in &runs {
                    let tile = Tile {
                        elems: sums_of(input, grad),
                        rows: run.rows,
                        cols: panel.columns,
                        a_row: if depthwise { (x.dilation * input.pitch) as i64 } else { 1 },
                        a_k: (x.stride * input.pitch) as i64,
                        reduction: if depthwise { Reduction::ByColumn } else { Reduction::Product },
                        a_segment: (y.stride * width * input.pitch) as i64,
                        b_k: grad.pitch as i64,
                        b_segment: (cols * grad.pitch) as i64,
                        c_row: outputs as i64,
                        beside_row: outputs as i64,
                        groups: run.groups.clone(),
                        init: InitialSum::Load,
                        epilogue: Vec::new(),
                    };
                    tiles(e, run, &tile, [a.at, b.at, c, c, c, segments]);
                }
            });
        });
    });
}

/// The number of outputs `o >= 0` with `o * stride < bound - tap`, where a tap is so far down.
fn real_outputs(e: &mut Emitter<'_>, tap: Value, bound: usize, stride: usize) -> Value {
    let bound = e.size(bound + stride - 1);
    let room = e.b.ins().isub(bound, tap);
    let zero = e.int(0);
    let room = e.max(room, zero);
    if stride == 1 { room } else { e.b.ins().udiv_imm_u(room, stride as i64) }
}

/// Adds the kernel gradient of a product of rows, group by group: `count` segments of `rows` rows.
pub(super) fn kernel_grad_of_rows(
    e: &mut Emitter<'_>,
    shape: TileShape,
    grouped: Grouped,
    (count, rows): (Value, usize),
    [input, grad]: [Pixels; 2],
    kernel: Value,
) {
    let k = rows;
    let (inputs, outputs) = (grouped.inputs, grouped.groups * grouped.outputs);
    grouped.panels(e, shape.cols, |e, panel| {
        let b = panel.output(e, grad);
        let input = panel.input(e, input);
        let c = panel.output(e, sums(kernel, outputs)).at;
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
                cols: panel.columns,
                a_row: 1,
                a_k: input.pitch as i64,
                reduction: Reduction::Product,
                a_segment: (k * input.pitch) as i64,
                b_k: grad.pitch as i64,
                b_segment: (k * grad.pitch) as i64,
                c_row: outputs as i64,
                beside_row: outputs as i64,
                groups: run.groups.clone(),
                init: InitialSum::Load,
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
    e.columns(channels, |e, columns| {
        let Columns { first, ty, ref offsets } = *columns;
        let (grad, bias) = (grad.channel(e, first), e.at(bias, first, 1));
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
    });
}
