//! Weights prepared without a session and without generated code, for a library that carries them: where no code may be
//! executed, and for other CPUs than this.
//!
//! What lies where is the plan's to say; `codegen::pack` writes code that makes the same, to the bit.

use std::ops::Range;

use nin_dsl::graph::{Graph, WeightId};

use super::session::from_file_layout;
use crate::compiler::Elem;
use crate::compiler::geometry::{Correlation, GradPhase};
use crate::compiler::plan::{
    Affine, ConvPlan, NormPlan, Plan, PreparedForm, PreparedKernel, PreparedSpectrum, StripOwner,
};
use crate::compiler::plan::{Algorithm, Choice, Product};
use crate::compiler::winograd::{Map, MapRole, Size, Straight, Term};
use crate::error::Error;
use crate::host::memory::Floats;
use crate::weights::Weights;

/// The prepared weights of a plan, which may be for another CPU than this. Preparing never fuses multiplications with
/// additions, so that its bits are the same on all.
///
/// # Errors
/// [`Error::Weights`] if they are another model's, [`Error::Memory`].
pub(crate) fn prepare(graph: &Graph, plan: &Plan, weights: &Weights) -> Result<Floats, Error> {
    weights.check(graph)?;
    let mut master = Floats::zeroed(plan.weight_floats)?;
    from_file_layout(graph, plan, weights, &mut master);
    let mut prepared = Floats::of_bytes(plan.prepared_bytes)?;
    let mut pack = Pack { plan, weights: master.as_slice(), prepared: prepared.as_mut_slice() };
    for group in plan.strip_groups() {
        match group.owner {
            StripOwner::Conv(conv) => {
                pack.forward(conv);
                if let Some(kernel) = &conv.product(Product::InputGrad).kernel {
                    pack.grad(conv, kernel);
                }
            }
            StripOwner::Norm(norm, rows) => pack.norm(norm, rows),
            StripOwner::Slope(slope) => {
                let values = pack.weight(slope.slope, slope.channels).to_vec();
                pack.store(slope.prepared, Elem::F32, &values);
            }
        }
    }
    Ok(prepared)
}

/// The output channels of each forward panel of a convolution.
fn strips(conv: &ConvPlan) -> impl Iterator<Item = Range<usize>> {
    let (cols, cout) = (conv.tile(Product::Forward).cols, conv.geometry.cout);
    (0..conv.geometry.groups).flat_map(move |group| {
        let first = group * cout;
        (0..cout).step_by(cols).map(move |at| first + at..first + (at + cols).min(cout))
    })
}

/// What weights are prepared from and to.
struct Pack<'a> {
    plan: &'a Plan,
    weights: &'a [f32],
    prepared: &'a mut [f32],
}

/// The rows of a batch normalisation, a number for each channel.
struct AffineRows {
    mean: Vec<f32>,
    factor: Vec<f32>,
    shift: Vec<f32>,
}

impl Pack<'_> {
    /// The first `count` numbers of a weight.
    fn weight(&self, id: WeightId, count: usize) -> &[f32] {
        &self.weights[self.plan.weights[id.index()]..][..count]
    }

    /// What the forward pass of a convolution reads: its panels or their spectra, and its biases.
    fn forward(&mut self, conv: &ConvPlan) {
        let norm = conv.norm.map(|norm| self.affine(self.plan.norm(norm)));
        let (cols, outputs) = (conv.tile(Product::Forward).cols, conv.geometry.outputs());
        let transform =
            KernelTransform::of(conv.choice(Product::Forward), conv.prepared(Product::Forward));
        let size = conv.rows() * cols;
        for (number, channels) in strips(conv).enumerate() {
            let first = channels.start;
            let mut panel = vec![0.0; size];
            let kernel = self.weight(conv.kernel, conv.geometry.weights());
            for (row, to) in kernel.chunks_exact(outputs).zip(panel.chunks_exact_mut(cols)) {
                let row = &row[channels.clone()];
                match &norm {
                    None => to[..row.len()].copy_from_slice(row),
                    Some(AffineRows { factor, .. }) => {
                        for ((to, &weight), &factor) in to.iter_mut().zip(row).zip(&factor[first..])
                        {
                            *to = product(weight, factor);
                        }
                    }
                }
            }
            let PreparedKernel { elem, form } = conv.prepared(Product::Forward);
            match form {
                PreparedForm::Panels(offsets) => {
                    self.store(offsets[0] + number * size * elem.bytes(), *elem, &panel);
                }
                PreparedForm::Spectrum(spectrum) => {
                    let channels = conv.geometry.cin * cols;
                    let to = spectrum.offset + number * channels * elem.bytes();
                    self.transform(transform.as_ref(), (spectrum, to, *elem), &panel);
                }
            }
            if let Some(offset) = conv.bias_panels {
                let bias = conv.bias.map(|bias| self.weight(bias, outputs));
                let merged = channels.map(|channel| {
                    let bias = bias.map_or(0.0, |bias| bias[channel]);
                    let Some(AffineRows { mean, factor, shift }) = &norm else { return bias };
                    sum(product(sum(bias, -mean[channel]), factor[channel]), shift[channel])
                });
                let merged: Vec<f32> = merged.collect();
                self.store(offset + first * Elem::F32.bytes(), Elem::F32, &merged);
            }
        }
    }

    /// What the input gradient of a convolution reads: the panels of each phase, or the spectra of the only one.
    fn grad(&mut self, conv: &ConvPlan, prepared: &PreparedKernel) {
        let cols = conv.tile(Product::InputGrad).cols;
        let transform = KernelTransform::of(conv.choice(Product::InputGrad), prepared);
        for (phase_number, phase) in conv.geometry.input_grad().iter().enumerate() {
            let Correlation { outputs, groups, .. } = phase.correlation;
            let panels = (0..groups)
                .flat_map(|group| (0..outputs).step_by(cols).map(move |first| (group, first)));
            for (number, place) in panels.enumerate() {
                let panel = match conv.geometry.depthwise {
                    true => self.turned(conv, phase, place.1),
                    false => self.flipped(conv, phase, place),
                };
                let bytes = prepared.elem.bytes();
                match &prepared.form {
                    PreparedForm::Panels(offsets) => {
                        let to = offsets[phase_number] + number * panel.len() * bytes;
                        self.store(to, prepared.elem, &panel);
                    }
                    PreparedForm::Spectrum(spectrum) => {
                        let to = spectrum.offset + number * conv.geometry.cout * cols * bytes;
                        self.transform(transform.as_ref(), (spectrum, to, prepared.elem), &panel);
                    }
                }
            }
        }
    }

    /// The panel of a phase of a group's input gradient that begins with the group's input channel `first`, `[ky][kx][cout][cols]`:
    /// the phase's taps last first, input and output channels exchanged.
    fn flipped(
        &self,
        conv: &ConvPlan,
        phase: &GradPhase,
        (group, first): (usize, usize),
    ) -> Vec<f32> {
        let (geometry, cols) = (&conv.geometry, conv.tile(Product::InputGrad).cols);
        let (cin, cout, outputs) = (geometry.cin, geometry.cout, geometry.outputs());
        let used = cols.min(cin - first);
        let mut panel = vec![0.0; phase.correlation.panel(cols)];
        for (tap, to) in panel.chunks_exact_mut(cout * cols).enumerate() {
            let from = self.tap(conv, phase, tap);
            for (output, to) in to.chunks_exact_mut(cols).enumerate() {
                for (column, to) in to[..used].iter_mut().enumerate() {
                    *to = from[(first + column) * outputs + group * cout + output];
                }
            }
        }
        panel
    }

    /// The panel of a phase of a depthwise convolution's input gradient that begins with channel `first`, `[ky][kx][cols]`: the
    /// phase's taps last first.
    fn turned(&self, conv: &ConvPlan, phase: &GradPhase, first: usize) -> Vec<f32> {
        let cols = conv.tile(Product::InputGrad).cols;
        let used = cols.min(conv.geometry.outputs() - first);
        let mut panel = vec![0.0; phase.correlation.panel(cols)];
        for (tap, to) in panel.chunks_exact_mut(cols).enumerate() {
            to[..used].copy_from_slice(&self.tap(conv, phase, tap)[first..][..used]);
        }
        panel
    }

    /// What a kernel has at a tap of a phase of the input gradient, `[cin][outputs]`.
    fn tap(&self, conv: &ConvPlan, phase: &GradPhase, tap: usize) -> &[f32] {
        let geometry = &conv.geometry;
        let [rows, columns] = phase.taps;
        let ky = rows.of_kernel(tap / columns.count);
        let kx = columns.of_kernel(tap % columns.count);
        let size = geometry.cin * geometry.outputs();
        let kernel = self.weight(conv.kernel, geometry.weights());
        &kernel[(ky * geometry.window.x.kernel + kx) * size..][..size]
    }

    /// The rows of a batch normalisation that is merged into no convolution.
    fn norm(&mut self, norm: &NormPlan, at: usize) {
        let AffineRows { mean, factor, shift } = self.affine(norm);
        for (row, values) in
            [(Affine::Mean, mean), (Affine::Factor, factor), (Affine::Shift, shift)]
        {
            self.store(at + norm.affine(row) * Elem::F32.bytes(), Elem::F32, &values);
        }
    }

    /// The rows of a batch normalisation by its running statistics.
    fn affine(&self, norm: &NormPlan) -> AffineRows {
        let [scale, shift, mean, variance] =
            norm.weights.all().map(|id| self.weight(id, norm.channels));
        let eps = norm.eps as f32;
        let factor = scale.iter().zip(variance).map(|(&scale, &variance)| {
            let deviation = sum(variance, eps).sqrt();
            product(scale, flushed(1.0 / deviation))
        });
        AffineRows { mean: mean.to_vec(), factor: factor.collect(), shift: shift.to_vec() }
    }

    /// Stores numbers from byte `at` on.
    fn store(&mut self, at: usize, elem: Elem, values: &[f32]) {
        match elem {
            Elem::F32 => {
                self.prepared[at / elem.bytes()..][..values.len()].copy_from_slice(values);
            }
        }
    }

    /// Brings a panel, `[ky][kx][channels]`, into Winograd's domain.
    fn transform(
        &mut self,
        transform: Option<&KernelTransform>,
        (spectrum, to, elem): (&PreparedSpectrum, usize, Elem),
        panel: &[f32],
    ) {
        let transform = transform.expect("a spectrum is Winograd's (a bug in nin)");
        transform.run(panel, |at, numbers| {
            let at = spectrum.stride * at.0 + at.1;
            self.store(to + at * elem.bytes(), elem, numbers);
        });
    }
}

/// Numbers of neighbouring channels, which go through a transform together.
type Vector = [f32; 16];

/// The transform of kernels, in one direction.
struct KernelTransform {
    size: Size,
    code: Straight,
}

impl KernelTransform {
    /// That of a product, if it reads a spectrum.
    fn of(choice: Choice, kernel: &PreparedKernel) -> Option<KernelTransform> {
        match (choice.algorithm, &kernel.form) {
            (Algorithm::Winograd(winograd), PreparedForm::Spectrum(_)) => {
                let size = winograd.size;
                let code = Straight::of(&Map { size, role: MapRole::Kernel }.matrix());
                Some(KernelTransform { size, code })
            }
            (Algorithm::Direct, _) | (_, PreparedForm::Panels(_)) => None,
        }
    }

    /// Brings `[ky][kx][channels]` into the domain: its columns one by one, then what became of its rows. `store` gets a frequency
    /// and a channel, and the numbers from there on.
    fn run(&self, from: &[f32], mut store: impl FnMut((usize, usize), &[f32])) {
        let (taps, inputs) = (self.size.taps, self.size.inputs());
        let channels = from.len() / (taps * taps);
        let mut columns = vec![Vector::default(); inputs * taps];
        let mut values = Vec::new();
        for first in (0..channels).step_by(Vector::default().len()) {
            let width = Vector::default().len().min(channels - first);
            for x in 0..taps {
                let load = |y: usize| {
                    let mut lanes = Vector::default();
                    let at = (y * taps + x) * channels + first;
                    lanes[..width].copy_from_slice(&from[at..][..width]);
                    lanes
                };
                self.straight(load, &mut values);
                for y in 0..inputs {
                    columns[y * taps + x] = self.output(y, &values);
                }
            }
            for (y, row) in columns.chunks_exact(taps).enumerate() {
                self.straight(|x| row[x], &mut values);
                for x in 0..inputs {
                    store((y * inputs + x, first), &self.output(x, &values)[..width]);
                }
            }
        }
    }

    /// The values of the straight-line code.
    fn straight(&self, input: impl Fn(usize) -> Vector, values: &mut Vec<Vector>) {
        values.clear();
        values.extend((0..self.code.inputs).map(input));
        for term in &self.code.terms {
            let value = match *term {
                Term::Scaled { factor, of } => scaled(factor, values[of]),
                Term::Sum { a, factor: 1.0, b } => both(values[a], values[b], sum),
                Term::Sum { a, factor: -1.0, b } => both(values[a], values[b], |a, b| sum(a, -b)),
                Term::Sum { a, factor, b } => both(values[a], scaled(factor, values[b]), sum),
            };
            values.push(value);
        }
    }

    fn output(&self, number: usize, values: &[Vector]) -> Vector {
        self.code.outputs[number].map_or(Vector::default(), |value| values[value])
    }
}

/// An operation on two values, lane by lane.
fn both(a: Vector, b: Vector, of: impl Fn(f32, f32) -> f32) -> Vector {
    std::array::from_fn(|lane| of(a[lane], b[lane]))
}

/// Products of a constant, lane by lane.
fn scaled(factor: f32, x: Vector) -> Vector {
    let rounded = x.map(|x| flushed(factor * flushed(x)));
    // Elsewhere than at the least normal float, rounding to it hides nothing.
    let is_least = |x: &f32| x.abs() == f32::MIN_POSITIVE;
    if rounded.iter().fold(false, |any, x| any | is_least(x)) {
        return x.map(|x| product(factor, x));
    }
    rounded
}

/// A number as generated code reads and leaves it: denormals are zero.
fn flushed(x: f32) -> f32 {
    if x.abs() < f32::MIN_POSITIVE { 0.0_f32.copysign(x) } else { x }
}

/// `a + b` as generated code adds; a denormal sum is exact before it is flushed.
fn sum(a: f32, b: f32) -> f32 {
    flushed(flushed(a) + flushed(b))
}

/// `a b` as generated code multiplies: a product is flushed that would be denormal with any number of bits.
fn product(a: f32, b: f32) -> f32 {
    /// What is less rounds, at the precision of a normal float, to less than the least of them.
    const LEAST: f64 = f32::MIN_POSITIVE as f64 * (1.0 - f32::EPSILON as f64 / 4.0);
    let exact = f64::from(flushed(a)) * f64::from(flushed(b));
    if exact.abs() < LEAST { 0.0_f32.copysign(exact as f32) } else { exact as f32 }
}

#[cfg(test)]
mod tests;
