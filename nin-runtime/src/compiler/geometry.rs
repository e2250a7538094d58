//! The geometry of a convolution's three products, and how each is cut into tiles.
//!
//! Borders are settled here: every tile gets the groups of taps that meet real pixels, and nothing else is ever multiplied.

use std::ops::Range;

use nin_dsl::shape::{Slide, Window};

use crate::compiler::kernel::{Group, TileShape};

/// One direction of a [`Correlation`]: output `o` reads inputs `o * stride + offset + tap * dilation`, where they exist.
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
    /// From one tap to the next, in input positions.
    pub dilation: usize,
    /// Position of the first output's first tap; negative in padding.
    pub offset: i64,
}

impl Axis {
    /// The taps of output `o` that fall on real inputs.
    pub fn real_taps(&self, o: usize) -> Range<usize> {
        let first = (o * self.stride) as i64 + self.offset;
        let reach = |position: i64| {
            (position - first).max(0).unsigned_abs().div_ceil(self.dilation as u64) as usize
        };
        let clip = |position: i64| reach(position).min(self.taps);
        let taps = clip(0)..clip(self.inputs as i64);
        if taps.is_empty() { 0..0 } else { taps }
    }

    /// The outputs in `0..outputs` whose `tap` falls on a real input.
    pub fn real_outputs(&self, tap: usize) -> Range<usize> {
        let at = self.offset + (tap * self.dilation) as i64;
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
    /// Channels of a group that are read; 1 of a depthwise one.
    pub inputs: usize,
    /// Channels of a group that are written.
    pub outputs: usize,
    /// Groups of channels, which lie one after the other in both maps.
    pub groups: usize,
    /// Whether each channel is made of the one with the same number.
    pub depthwise: bool,
    /// The pixel of the output map that output (0, 0) is.
    pub origin: usize,
    /// From one row of outputs to the next, in pixels of the output map.
    pub row: usize,
    /// From one output to the next, in pixels of the output map.
    pub step: usize,
}

impl Correlation {
    /// Panels of a group, of `cols` output channels each.
    pub fn panels(&self, cols: usize) -> usize {
        self.outputs.div_ceil(cols)
    }

    /// From one step of a sum to the next in the map that is read, whose pixels are `pitch` elements apart: channel by channel, but
    /// tap by tap where a tap has one.
    pub fn step_of_sum(&self, pitch: usize) -> usize {
        if self.depthwise { self.x.dilation * pitch } else { 1 }
    }

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
                let at = tap * self.x.dilation * pitch;
                let end = |group: &Group| group.a as usize + group.k * self.step_of_sum(pitch);
                match groups.last_mut() {
                    // Without a gap between them, the channels of neighbouring taps are one run.
                    Some(last) if last.rows == rows && end(last) == at => last.k += self.inputs,
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
    /// Kernel, stride, padding and dilation.
    pub window: Window,
    /// Input channels that an output channel sees.
    pub cin: usize,
    /// Output channels of a group.
    pub cout: usize,
    /// Groups of channels, each a convolution of its own.
    pub groups: usize,
    /// Whether an output channel sees the input channel with its own number and no other. Then all channels are columns of one
    /// product, whose rows have a number for each column: one group, and `cin` is 1.
    pub depthwise: bool,
}

impl ConvGeometry {
    /// Writes a convolution whose window is the whole input, channels last, as a product with a vector: the same numbers
    /// in the same order.
    #[must_use]
    pub fn normalised(self) -> ConvGeometry {
        if self.groups == 1 && !self.depthwise && is_whole(self.window, self.input) {
            let cin = self.cin * self.input.0 * self.input.1;
            let (one, window) = ((1, 1), Window::square(1, 1, 0));
            return ConvGeometry { input: one, output: one, window, cin, ..self };
        }
        self
    }

    /// Channels of the input.
    pub fn inputs(&self) -> usize {
        if self.depthwise { self.cout } else { self.cin * self.groups }
    }

    /// Channels of the output.
    pub fn outputs(&self) -> usize {
        self.cout * self.groups
    }

    /// Whether each output pixel is a matrix product of the input pixel under it.
    pub fn is_pointwise(&self) -> bool {
        self.window.is_pointwise() && !self.depthwise
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

    /// Numbers in the kernel, `[ky][kx][cin][outputs]`.
    pub fn weights(&self) -> usize {
        self.window.taps() * self.cin * self.outputs()
    }

    /// The forward correlation.
    pub fn forward(&self) -> Correlation {
        let axis = |inputs, outputs, Slide { kernel, stride, pad, dilation }| Axis {
            inputs,
            outputs,
            taps: kernel,
            stride,
            dilation,
            offset: -(pad[0] as i64),
        };
        Correlation {
            y: axis(self.input.0, self.output.0, self.window.y),
            x: axis(self.input.1, self.output.1, self.window.x),
            inputs: self.cin,
            outputs: self.cout,
            groups: self.groups,
            depthwise: self.depthwise,
            origin: 0,
            row: self.output.1,
            step: 1,
        }
    }

    /// The input gradient: one correlation over the output's gradient for each residue of the input position modulo the
    /// stride, since only every `stride`-th tap meets an output there. With stride 1 it is a single one.
    pub fn input_grad(&self) -> Vec<GradPhase> {
        let Window { y: down, x: across } = self.window;
        // A depthwise convolution exchanges nothing: its rows are one channel each way.
        let (inputs, outputs) = match self.depthwise {
            true => (self.cin, self.cout),
            false => (self.cout, self.cin),
        };
        let mut phases = Vec::new();
        for py in 0..down.stride.min(self.input.0) {
            for px in 0..across.stride.min(self.input.1) {
                let (y, ky) = grad_axis(down, py, self.input.0, self.output.0);
                let (x, kx) = grad_axis(across, px, self.input.1, self.output.1);
                let correlation = Correlation {
                    y,
                    x,
                    inputs,
                    outputs,
                    groups: self.groups,
                    depthwise: self.depthwise,
                    origin: py * self.input.1 + px,
                    row: down.stride * self.input.1,
                    step: across.stride,
                };
                phases.push(GradPhase { correlation, taps: [ky, kx] });
            }
        }
        phases
    }

    /// Row tiles of the kernel gradient for one kernel row: rows are `(kx, input channel)`; k are the output pixels of a row that
    /// meet real input there. `input` and `grad` are how far apart the pixels of the two maps are, in elements. Rows of a
    /// depthwise one are as far apart as taps, others a channel.
    pub fn kernel_grad_tiles(
        &self,
        shape: TileShape,
        (input, grad): (usize, usize),
    ) -> Vec<TileRun> {
        let Slide { kernel: taps, dilation, .. } = self.window.x;
        if self.depthwise || taps == 1 || dilation * input == self.cin {
            return self.kernel_grad_rows(shape, 0..taps * self.cin, (input, grad));
        }
        // Between the channels of two taps lie others: no tile has rows of both.
        let taps = 0..taps;
        let of_tap = |tap: usize| {
            let rows = tap * self.cin..(tap + 1) * self.cin;
            let mut runs = self.kernel_grad_rows(shape, rows, (input, grad));
            let gap = (tap * (dilation * input - self.cin)) as i64;
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
        let a_k = (self.window.x.stride * input) as i64;
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
        let real = (0..x.taps).map(|tap| x.real_outputs(tap));
        let mut cuts: Vec<usize> = real.flat_map(|outputs| [outputs.start, outputs.end]).collect();
        cuts.extend([0, x.outputs]);
        cuts.sort_unstable();
        cuts.dedup();
        cuts.windows(2).map(|cut| cut[0]..cut[1]).collect()
    }
}

/// Whether a convolution in groups of `cin` input and `cout` output channels makes each channel of the one with its number.
pub fn is_depthwise(groups: usize, cin: usize, cout: usize) -> bool {
    groups > 1 && cin == 1 && cout == 1
}

/// Whether a window is all of its input, so that its convolution reads it as a vector.
pub fn is_whole(window: Window, input: (usize, usize)) -> bool {
    window.kernel() == input && window.y.pad == [0; 2] && window.x.pad == [0; 2]
}

/// One direction of the input gradient at positions congruent to `phase`: input `i = phase + stride * t` meets the taps `k` for
/// which `i + pad - dilation * k` is `stride` times an output. Where one does, every `stride / gcd(stride, dilation)`-th does, at
/// outputs `dilation / gcd(stride, dilation)` apart. Taps are taken last first, so that the outputs they meet ascend.
fn grad_axis(slide: Slide, phase: usize, inputs: usize, outputs: usize) -> (Axis, Taps) {
    let Slide { kernel, stride, pad, dilation } = slide;
    let gcd = gcd(stride, dilation);
    let (step, apart) = (stride / gcd, dilation / gcd);
    let at = phase + pad[0];
    let first = (0..step).find(|tap| (dilation * tap) % stride == at % stride);
    let count = first.map_or(0, |first| kernel.saturating_sub(first).div_ceil(step));
    let first = first.unwrap_or(0);
    let meets_first = (at as i64 - (dilation * first) as i64).div_euclid(stride as i64);
    let axis = Axis {
        inputs: outputs,
        outputs: (inputs - phase).div_ceil(stride),
        taps: count,
        stride: 1,
        dilation: apart,
        offset: meets_first - (count as i64 - 1) * apart as i64,
    };
    (axis, Taps { first, step, count })
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// One correlation of an input gradient and the taps of the kernel it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GradPhase {
    /// The correlation over the output's gradient.
    pub correlation: Correlation,
    /// Its taps among the kernel's rows and columns.
    pub taps: [Taps; 2],
}

/// The taps of a kernel that a phase of its input gradient uses, last first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Taps {
    /// The first of the kernel's.
    pub first: usize,
    /// From one to the next.
    pub step: usize,
    /// How many.
    pub count: usize,
}

impl Taps {
    /// The kernel's number of the phase's tap `j`.
    pub fn of_kernel(self, j: usize) -> usize {
        self.first + self.step * (self.count - 1 - j)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nin_dsl::shape::Round;

    const SHAPE: TileShape = TileShape { rows: 4, cols: 8 };

    fn geometry(size: usize, slide: Slide) -> ConvGeometry {
        let output = slide.output(size, Round::Floor).unwrap();
        ConvGeometry {
            input: (size, size),
            output: (output, output),
            window: Window { y: slide, x: slide },
            cin: 3,
            cout: 5,
            groups: 1,
            depthwise: false,
        }
    }

    /// Sizes of maps and windows over them, of every kind.
    fn slides() -> impl Iterator<Item = (usize, Slide)> {
        let sizes =
            [3, 7, 8, 9].into_iter().flat_map(|size| (1..5).map(move |kernel| (size, kernel)));
        let strides =
            [1, 2, 3, 4].into_iter().flat_map(|stride| (1..5).map(move |gap| (stride, gap)));
        let pads = [[0, 0], [1, 1], [2, 0], [0, 3], [5, 5]];
        let all = sizes.flat_map(move |of| strides.clone().map(move |with| (of, with)));
        let all = all.flat_map(move |at| pads.map(move |pad| (at, pad)));
        all.filter_map(|(((size, kernel), (stride, dilation)), pad)| {
            let slide = Slide { kernel, stride, pad, dilation };
            slide.output(size, Round::Floor).map(|_| (size, slide))
        })
    }

    /// Every (input, tap, output) meeting of the forward pass is met once by the input gradient's phases.
    #[test]
    fn input_gradient_meets_the_same_pairs() {
        for (size, slide) in slides() {
            let Slide { stride, pad, dilation, kernel } = slide;
            let conv = geometry(size, slide);
            let forward = conv.forward().x;
            let mut expected = Vec::new();
            for o in 0..forward.outputs {
                for tap in 0..kernel {
                    let input = (o * stride + tap * dilation) as i64 - pad[0] as i64;
                    let real = (0..size as i64).contains(&input);
                    assert_eq!(forward.real_taps(o).contains(&tap), real, "{slide:?}: tap {tap}");
                    assert_eq!(forward.real_outputs(tap).contains(&o), real, "{slide:?}: {o}");
                    expected.extend(real.then_some((input, tap, o)));
                }
            }
            let mut met = Vec::new();
            for phase in conv.input_grad().iter().take(stride.min(size)) {
                let axis = phase.correlation.x;
                let first = phase.correlation.origin % size;
                for t in 0..axis.outputs {
                    for j in axis.real_taps(t) {
                        let tap = phase.taps[1].of_kernel(j);
                        let output = t as i64 + axis.offset + (j * axis.dilation) as i64;
                        met.push(((first + stride * t) as i64, tap, output as usize));
                    }
                }
            }
            expected.sort_unstable();
            met.sort_unstable();
            assert_eq!(met, expected, "size {size} {slide:?}");
        }
    }

    /// A 5-wide window on 32 pixels: two border tiles and six alike.
    #[test]
    fn borders_are_separate_tiles() {
        let runs = geometry(32, Slide::new(5, 1, 2)).forward().tiles(SHAPE, 3);
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
        for (size, slide) in slides() {
            let conv = geometry(size, slide);
            let mut sums = vec![0; slide.kernel * conv.cin];
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
            assert_eq!(sums, expected, "size {size} {slide:?}");
        }
    }
}
