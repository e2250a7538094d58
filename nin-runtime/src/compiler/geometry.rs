//! The geometry of a convolution's three products, and how each is cut into tiles.
//!
//! Borders are settled here: every tile gets the groups of taps that meet real pixels, and nothing else is ever multiplied.

use std::ops::Range;

use crate::compiler::kernel::{Group, TileShape};

/// One direction of a [`Correlation`]: output `o` reads inputs `o * stride + offset + tap`, where they exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Axis {
    /// Input positions.
    pub inputs: usize,
    /// Output positions.
    pub outputs: usize,
    /// Taps; 0 where the stride jumps over every one.
    pub taps: usize,
    /// From one output to the next, in input positions.
    pub stride: usize,
    /// Position of the first output's first tap; negative in padding.
    pub offset: i64,
}

impl Axis {
    /// The taps of output `o` that fall on real inputs.
    pub fn real_taps(&self, o: usize) -> Range<usize> {
        let first = (o * self.stride) as i64 + self.offset;
        let clip = |x: i64| x.clamp(0, self.taps as i64) as usize;
        let taps = clip(-first)..clip(self.inputs as i64 - first);
        if taps.is_empty() { 0..0 } else { taps }
    }

    /// The outputs in `0..outputs` whose `tap` falls on a real input.
    pub fn real_outputs(&self, tap: usize) -> Range<usize> {
        let at = self.offset + tap as i64;
        let stride = self.stride as i64;
        let reach =
            |position: i64| (position - at).max(0).unsigned_abs().div_ceil(stride.unsigned_abs());
        let clip = |o: u64| (o as usize).min(self.outputs);
        let outputs = clip(reach(0))..clip(reach(self.inputs as i64));
        if outputs.is_empty() { 0..0 } else { outputs }
    }
}

/// Tiles along one direction of the output that share code: `count` tiles of `rows` rows from `first` on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TileRun {
    /// First row.
    pub first: usize,
    /// Rows of each tile.
    pub rows: usize,
    /// Tiles.
    pub count: usize,
    /// What each tile sums.
    pub groups: Vec<Group>,
}

/// Splits rows into tiles of at most `rows` rows and merges neighbours that sum the same.
fn tile_runs(
    all: Range<usize>,
    rows: usize,
    groups: impl Fn(Range<usize>) -> Vec<Group>,
) -> Vec<TileRun> {
    let mut runs: Vec<TileRun> = Vec::new();
    for first in all.clone().step_by(rows) {
        let rows = rows.min(all.end - first);
        let groups = groups(first..first + rows);
        match runs.last_mut() {
            Some(run) if run.rows == rows && run.groups == groups => run.count += 1,
            _ => runs.push(TileRun { first, rows, count: 1, groups }),
        }
    }
    runs
}

/// A cross-correlation over channels-last maps with panel-packed weights: a convolution forward, or one phase of its
/// input gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Correlation {
    /// Vertical direction.
    pub y: Axis,
    /// Horizontal direction.
    pub x: Axis,
    /// Channels read.
    pub inputs: usize,
    /// Channels written.
    pub outputs: usize,
    /// The pixel of the output map that output (0, 0) is.
    pub origin: usize,
    /// From one row of outputs to the next, in pixels of the output map.
    pub row: usize,
    /// From one output to the next, in pixels of the output map.
    pub step: usize,
}

impl Correlation {
    /// Elements of a packed panel of `cols` output channels: `[ky][kx][input channel][col]`.
    pub fn panel(&self, cols: usize) -> usize {
        self.y.taps * self.x.taps * self.inputs * cols
    }

    /// The horizontal tiles of one row of outputs, over an input whose pixels are `pitch` elements apart. A pixel pointer
    /// stands at its first tap, in padding or not.
    pub fn tiles(&self, shape: TileShape, pitch: usize) -> Vec<TileRun> {
        tile_runs(0..self.x.outputs, shape.rows, |pixels| {
            let mut groups: Vec<Group> = Vec::new();
            for tap in 0..self.x.taps {
                let real = self.x.real_outputs(tap);
                let clip = |o: usize| o.clamp(pixels.start, pixels.end) - pixels.start;
                let rows = clip(real.start)..clip(real.end);
                if rows.is_empty() {
                    continue;
                }
                let at = tap * pitch;
                match groups.last_mut() {
                    // Without a gap between them, the channels of neighbouring taps are one run.
                    Some(last) if last.rows == rows && last.a as usize + last.k == at => {
                        last.k += self.inputs;
                    }
                    _ => groups.push(Group {
                        a: at as i64,
                        b: (tap * self.inputs * shape.cols) as i64,
                        k: self.inputs,
                        rows,
                    }),
                }
            }
            groups
        })
    }
}

/// A convolution's geometry, with a window that is the whole input written as a pointwise one over a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvGeometry {
    /// Input height and width.
    pub input: (usize, usize),
    /// Output height and width.
    pub output: (usize, usize),
    /// Kernel height and width.
    pub kernel: (usize, usize),
    /// Stride.
    pub stride: usize,
    /// Padding.
    pub pad: usize,
    /// Input channels.
    pub cin: usize,
    /// Output channels.
    pub cout: usize,
}

impl ConvGeometry {
    /// Writes a convolution whose window is the whole input, channels last, as a product with a vector: the same numbers
    /// in the same order.
    #[must_use]
    pub fn normalised(self) -> ConvGeometry {
        if self.kernel == self.input && self.pad == 0 {
            let cin = self.cin * self.input.0 * self.input.1;
            let one = (1, 1);
            return ConvGeometry { input: one, output: one, kernel: one, stride: 1, cin, ..self };
        }
        self
    }

    /// Whether each output pixel is a product of the input pixel under it.
    pub fn is_pointwise(&self) -> bool {
        self.kernel == (1, 1) && self.stride == 1 && self.pad == 0
    }

    /// A pointwise convolution on `pixels` pixels in a row: channels last, neighbouring rows are one row.
    #[must_use]
    pub fn flattened(self, pixels: usize) -> ConvGeometry {
        assert!(
            self.is_pointwise(),
            "only pointwise convolutions ignore where a row ends (a bug in nin)"
        );
        ConvGeometry { input: (1, pixels), output: (1, pixels), ..self }
    }

    /// Numbers in the kernel, `[ky][kx][cin][cout]`.
    pub fn weights(&self) -> usize {
        self.kernel.0 * self.kernel.1 * self.cin * self.cout
    }

    /// The forward correlation.
    pub fn forward(&self) -> Correlation {
        let axis = |inputs, outputs, taps| Axis {
            inputs,
            outputs,
            taps,
            stride: self.stride,
            offset: -(self.pad as i64),
        };
        Correlation {
            y: axis(self.input.0, self.output.0, self.kernel.0),
            x: axis(self.input.1, self.output.1, self.kernel.1),
            inputs: self.cin,
            outputs: self.cout,
            origin: 0,
            row: self.output.1,
            step: 1,
        }
    }

    /// The input gradient: one correlation over the output's gradient for each residue of the input position modulo the
    /// stride, since only every `stride`-th tap meets an output there. With stride 1 it is a single one.
    pub fn input_grad(&self) -> Vec<GradPhase> {
        let mut phases = Vec::new();
        for py in 0..self.stride.min(self.input.0) {
            for px in 0..self.stride.min(self.input.1) {
                let (y, ky) = self.grad_axis(py, self.input.0, self.output.0, self.kernel.0);
                let (x, kx) = self.grad_axis(px, self.input.1, self.output.1, self.kernel.1);
                let correlation = Correlation {
                    y,
                    x,
                    inputs: self.cout,
                    outputs: self.cin,
                    origin: py * self.input.1 + px,
                    row: self.stride * self.input.1,
                    step: self.stride,
                };
                phases.push(GradPhase { correlation, first_tap: (ky, kx) });
            }
        }
        phases
    }

    /// One direction of the input gradient at positions congruent to `phase`: input `i = phase + stride * t` meets tap
    /// `k = residue + stride * j` at output `(i + pad - residue) / stride - j`. Taps are taken last first, so that the
    /// outputs they meet ascend.
    fn grad_axis(&self, phase: usize, inputs: usize, outputs: usize, taps: usize) -> (Axis, usize) {
        let residue = (phase + self.pad) % self.stride;
        let count = taps.saturating_sub(residue).div_ceil(self.stride);
        let meets_first = (phase + self.pad - residue) / self.stride;
        let axis = Axis {
            inputs: outputs,
            outputs: (inputs - phase).div_ceil(self.stride),
            taps: count,
            stride: 1,
            offset: meets_first as i64 - (count as i64 - 1),
        };
        (axis, residue)
    }

    /// Row tiles of the kernel gradient for one kernel row: rows are `(kx, input channel)`; k are the output pixels of a row that
    /// meet real input there. `input` and `grad` are how far apart the pixels of the two maps are, in elements.
    pub fn kernel_grad_tiles(
        &self,
        shape: TileShape,
        (input, grad): (usize, usize),
    ) -> Vec<TileRun> {
        if self.kernel.1 == 1 || input == self.cin {
            return self.kernel_grad_rows(shape, 0..self.kernel.1 * self.cin, (input, grad));
        }
        // Between the channels of two taps lie others: no tile has rows of both.
        let taps = 0..self.kernel.1;
        let of_tap = |tap: usize| {
            let rows = tap * self.cin..(tap + 1) * self.cin;
            let mut runs = self.kernel_grad_rows(shape, rows, (input, grad));
            let gap = (tap * (input - self.cin)) as i64;
            let groups = runs.iter_mut().flat_map(|run| &mut run.groups);
            groups.for_each(|group| group.a += gap);
            runs
        };
        taps.flat_map(of_tap).collect()
    }

    /// The tiles of some rows; a row that lies as far behind the first row of the input as its number says.
    fn kernel_grad_rows(
        &self,
        shape: TileShape,
        all: Range<usize>,
        (input, grad): (usize, usize),
    ) -> Vec<TileRun> {
        let x = self.forward().x;
        let a_k = (self.stride * input) as i64;
        let stretches = self.stretches(&x);
        tile_runs(all, shape.rows, |rows| {
            let clip = |row: usize| row.clamp(rows.start, rows.end) - rows.start;
            let mut groups: Vec<Group> = Vec::new();
            for outputs in &stretches {
                let taps = x.real_taps(outputs.start);
                let active = clip(taps.start * self.cin)..clip(taps.end * self.cin);
                if active.is_empty() {
                    continue;
                }
                let a = outputs.start as i64 * a_k;
                let b = (outputs.start * grad) as i64;
                let k = outputs.len();
                match groups.last_mut() {
                    Some(last) if last.rows == active && last.a + last.k as i64 * a_k == a => {
                        last.k += k;
                    }
                    _ => groups.push(Group { a, b, k, rows: active }),
                }
            }
            groups
        })
    }

    /// The outputs of a row in stretches that see the same taps.
    fn stretches(&self, x: &Axis) -> Vec<Range<usize>> {
        let real = (0..self.kernel.1).map(|tap| x.real_outputs(tap));
        let mut cuts: Vec<usize> = real.flat_map(|outputs| [outputs.start, outputs.end]).collect();
        cuts.extend([0, x.outputs]);
        cuts.sort_unstable();
        cuts.dedup();
        cuts.windows(2).map(|cut| cut[0]..cut[1]).collect()
    }
}

/// One correlation of an input gradient and the taps of the kernel it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GradPhase {
    /// The correlation over the output's gradient.
    pub correlation: Correlation,
    /// Its taps are kernel rows `first_tap.0 + stride * j` and columns `first_tap.1 + stride * j`, last first.
    pub first_tap: (usize, usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: TileShape = TileShape { rows: 4, cols: 8 };

    fn geometry(size: usize, kernel: usize, stride: usize, pad: usize) -> ConvGeometry {
        let output = (size + 2 * pad - kernel) / stride + 1;
        ConvGeometry {
            input: (size, size),
            output: (output, output),
            kernel: (kernel, kernel),
            stride,
            pad,
            cin: 3,
            cout: 5,
        }
    }

    /// Every (input, tap, output) meeting of the forward pass is met once by the input gradient's phases.
    #[test]
    fn input_gradient_meets_the_same_pairs() {
        for (size, kernel, stride, pad) in
            [(7, 3, 1, 1), (8, 5, 2, 2), (9, 2, 3, 0), (5, 1, 2, 0), (6, 4, 3, 1), (3, 3, 1, 5)]
        {
            let conv = geometry(size, kernel, stride, pad);
            let forward = conv.forward().x;
            let mut expected = Vec::new();
            for o in 0..forward.outputs {
                for tap in forward.real_taps(o) {
                    expected.push(((o * stride + tap) as i64 - pad as i64, tap, o));
                }
            }
            let mut met = Vec::new();
            for phase in conv.input_grad().iter().take(stride.min(size)) {
                let axis = phase.correlation.x;
                let first = phase.correlation.origin % size;
                for t in 0..axis.outputs {
                    for j in axis.real_taps(t) {
                        let tap = phase.first_tap.1 + stride * (axis.taps - 1 - j);
                        let output = t as i64 + axis.offset + j as i64;
                        met.push(((first + stride * t) as i64, tap, output as usize));
                    }
                }
            }
            expected.sort_unstable();
            met.sort_unstable();
            assert_eq!(met, expected, "size {size} kernel {kernel} stride {stride} pad {pad}");
        }
    }

    /// A 5-wide window on 32 pixels: two border tiles and six alike.
    #[test]
    fn borders_are_separate_tiles() {
        let runs = geometry(32, 5, 1, 2).forward().tiles(SHAPE, 3);
        let counts: Vec<(usize, usize)> = runs.iter().map(|run| (run.first, run.count)).collect();
        assert_eq!(counts, [(0, 1), (4, 6), (28, 1)]);
        assert_eq!(runs[1].groups, [Group { a: 0, b: 0, k: 15, rows: 0..4 }]);
        let left: Vec<_> =
            runs[0].groups.iter().map(|group| (group.k, group.rows.clone())).collect();
        assert_eq!(left, [(3, 2..4), (3, 1..4), (9, 0..4)]);
    }

    /// The kernel gradient's tiles sum each tap over the outputs at which it is real.
    #[test]
    fn kernel_gradient_counts_real_outputs() {
        for (size, kernel, stride, pad) in [(7, 3, 1, 1), (8, 5, 2, 2), (9, 11, 3, 5)] {
            let conv = geometry(size, kernel, stride, pad);
            let mut sums = vec![0; conv.kernel.1 * conv.cin];
            for run in conv.kernel_grad_tiles(SHAPE, (conv.cin, conv.cout)) {
                for tile in 0..run.count {
                    for group in &run.groups {
                        for row in group.rows.clone() {
                            sums[run.first + tile * run.rows + row] += group.k;
                        }
                    }
                }
            }
            let x = conv.forward().x;
            let expected: Vec<usize> =
                (0..sums.len()).map(|row| x.real_outputs(row / conv.cin).len()).collect();
            assert_eq!(sums, expected);
        }
    }
}
