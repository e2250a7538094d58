//! Prepared forms of the weights, strip by strip: panels for the forward pass and, flipped and transposed, for the input
//! gradient; rows of batch normalisations.

use std::mem::offset_of;

use cranelift_codegen::ir::types::{F32, I64};
use cranelift_codegen::ir::{InstBuilder, Type, Value};

use super::affine::AffineRows;
use super::emitter::Emitter;
use super::strip::{self, Strip};
use super::{context, conv, norm, winograd};
use crate::compiler::abi::Context;
use crate::compiler::geometry::{ConvGeometry, GradPhase};
use crate::compiler::plan::{
    ConvPlan, Plan, PreparedKernel, PreparedSpectrum, Product, StripOwner,
};

/// Writes the function that rebuilds what is prepared of one strip.
pub(super) fn emit(e: &mut Emitter<'_>, plan: &Plan) {
    let [context, number] = *e.arguments() else {
        unreachable!("a strip takes two arguments (a bug in nin)")
    };
    let mut field = |offset: usize| context::load(e, I64, context, offset);
    let pack = Pack {
        weights: field(offset_of!(Context, weights)),
        prepared: field(offset_of!(Context, prepared)),
        arena: field(offset_of!(Context, arena)),
        plan,
    };
    let end = e.add(number, 1);
    strip::each(e, plan, (number, end), |e, strip| match strip.owner {
        StripOwner::Conv(conv) => {
            pack.forward(e, conv, strip);
            if let Some(kernel) = &conv.product(Product::InputGrad).kernel {
                pack.grad(e, conv, kernel, strip);
            }
        }
        StripOwner::Norm(norm, rows) => {
            let rows = e.floats(pack.prepared, rows as i64);
            norm::prepare(e, plan, norm, (pack.weights, rows), strip);
        }
    });
}

/// What strips are prepared from, to and in.
struct Pack<'a> {
    plan: &'a Plan,
    weights: Value,
    prepared: Value,
    arena: Value,
}

impl Pack<'_> {
    /// What the forward pass of a convolution reads of a strip: its panel or the panel's spectrum, and its biases.
    fn forward(&self, e: &mut Emitter<'_>, conv: &ConvPlan, strip: Strip<'_>) {
        let Pack { plan, weights, prepared, arena } = *self;
        let norm =
            conv.norm.map(|norm| norm::prepare(e, plan, plan.norm(norm), (weights, arena), strip));
        let (rows, cols) = (conv.rows(), conv.tile(Product::Forward).cols);
        match conv.prepared(Product::Forward) {
            PreparedKernel::Panels(offsets) => {
                let panels = e.floats(prepared, offsets[0] as i64);
                let panel = e.at(panels, strip.index, rows * cols);
                self.forward_panel(e, conv, norm, panel, strip);
            }
            PreparedKernel::Spectrum(spectrum) => {
                let panel = e.floats(arena, spectrum.panel as i64);
                self.forward_panel(e, conv, norm, panel, strip);
                let channels = conv.geometry.cin * cols;
                let to = e.floats(prepared, spectrum.offset as i64);
                let to = e.at(to, strip.index, channels);
                self.transform(e, (conv, Product::Forward), spectrum, channels, to);
            }
        }
        let bias = conv.bias.map(|bias| e.floats(weights, plan.weights[bias.index()] as i64));
        if let Some(offset) = conv.bias_panels {
            let padded = e.floats(prepared, offset as i64);
            let to = e.at(padded, strip.index, cols);
            fill(e, strip.channels, cols, to, |e, ty, i| {
                merged_bias(e, ty, (bias, norm), strip, i)
            });
        }
    }

    /// The forward panel of a strip.
    fn forward_panel(
        &self,
        e: &mut Emitter<'_>,
        conv: &ConvPlan,
        norm: Option<AffineRows>,
        panel: Value,
        strip: Strip<'_>,
    ) {
        let kernel = e.floats(self.weights, self.plan.weights[conv.kernel.index()] as i64);
        let kernel = e.at(kernel, strip.first, 1);
        let cols = conv.tile(Product::Forward).cols;
        e.count(conv.rows(), |e, row| {
            let (from, to) = (e.at(kernel, row, conv.geometry.cout), e.at(panel, row, cols));
            fill(e, strip.channels, cols, to, |e, ty, i| {
                let at = e.at(from, i, 1);
                let weight = e.load(ty, at, 0);
                match norm {
                    Some(AffineRows { factor, .. }) => {
                        let factor = of_row(e, ty, factor, strip, i);
                        e.b.ins().fmul(weight, factor)
                    }
                    None => weight,
                }
            });
        });
    }

    /// What the input gradient of a convolution reads of a strip: its rows of the panels of each phase, or of the spectrum of the
    /// only one.
    fn grad(
        &self,
        e: &mut Emitter<'_>,
        conv: &ConvPlan,
        prepared: &PreparedKernel,
        strip: Strip<'_>,
    ) {
        let kernel = e.floats(self.weights, self.plan.weights[conv.kernel.index()] as i64);
        let (geometry, cols) = (&conv.geometry, conv.tile(Product::InputGrad).cols);
        let phases = geometry.input_grad();
        let tap = geometry.cout * cols;
        match prepared {
            PreparedKernel::Panels(offsets) => {
                for (phase, &offset) in phases.iter().zip(offsets) {
                    let panels = e.floats(self.prepared, offset as i64);
                    let panels = e.at(panels, strip.first, cols);
                    let size = phase.correlation.panel(cols);
                    conv::panels(e, geometry.cin, cols, |e, panel, used| {
                        let to = e.at(panels, panel, size);
                        pack_flipped(
                            e,
                            geometry,
                            (phase, panel),
                            (cols, used),
                            (kernel, to, tap),
                            strip,
                        );
                    });
                }
            }
            PreparedKernel::Spectrum(spectrum) => {
                let channels = strip.channels * cols;
                let from = e.floats(self.arena, spectrum.panel as i64);
                let to = e.floats(self.prepared, spectrum.offset as i64);
                let to = e.at(to, strip.first, cols);
                conv::panels(e, geometry.cin, cols, |e, panel, used| {
                    pack_flipped(
                        e,
                        geometry,
                        (&phases[0], panel),
                        (cols, used),
                        (kernel, from, channels),
                        strip,
                    );
                    let to = e.at(to, panel, tap);
                    self.transform(e, (conv, Product::InputGrad), spectrum, channels, to);
                });
            }
        }
    }

    /// Brings a strip of a panel, of so many floats a tap, from the arena into Winograd's domain.
    fn transform(
        &self,
        e: &mut Emitter<'_>,
        (conv, product): (&ConvPlan, Product),
        spectrum: &PreparedSpectrum,
        channels: usize,
        to: Value,
    ) {
        let [panel, scratch] =
            [spectrum.panel, spectrum.scratch].map(|offset| e.floats(self.arena, offset as i64));
        let size = conv.transformed(product).size;
        winograd::transform_kernel(e, size, (channels, spectrum.stride), (panel, scratch, to));
    }
}

/// Numbers of a row of channels for those from channel `i` of a strip on.
fn of_row(e: &mut Emitter<'_>, ty: Type, row: Value, strip: Strip<'_>, i: Value) -> Value {
    let channel = e.b.ins().iadd(strip.first, i);
    let at = e.at(row, channel, 1);
    e.load(ty, at, 0)
}

/// The bias of a channel with a merged batch normalisation: `(bias - mean) * factor + shift`.
fn merged_bias(
    e: &mut Emitter<'_>,
    ty: Type,
    (bias, norm): (Option<Value>, Option<AffineRows>),
    strip: Strip<'_>,
    i: Value,
) -> Value {
    let bias = match bias {
        Some(bias) => of_row(e, ty, bias, strip, i),
        None => e.float(ty, 0.0),
    };
    let Some(AffineRows { mean, factor, shift }) = norm else { return bias };
    let [mean, factor, shift] = [mean, factor, shift].map(|row| of_row(e, ty, row, strip, i));
    let around = e.b.ins().fsub(bias, mean);
    // Never fused, so that weights can be prepared for another CPU than this: the bits are the same on all.
    let scaled = e.b.ins().fmul(around, factor);
    e.b.ins().fadd(scaled, shift)
}

/// Stores `used` floats and zeros up to `cols`.
fn fill(
    e: &mut Emitter<'_>,
    used: usize,
    cols: usize,
    to: Value,
    mut float: impl FnMut(&mut Emitter<'_>, Type, Value) -> Value,
) {
    e.lanes(used, |e, ty, i| {
        let at = e.at(to, i, 1);
        let value = float(e, ty, i);
        e.store(value, at, 0);
    });
    let zero = e.float(F32, 0.0);
    for column in used..cols {
        e.store(zero, to, column as i64);
    }
}

/// A strip of one panel of a phase of the input gradient, `[ky][kx][cout][cols]`, with so many floats from one tap to the next:
/// the phase's taps last first, input and output channels exchanged.
fn pack_flipped(
    e: &mut Emitter<'_>,
    geometry: &ConvGeometry,
    (phase, panel): (&GradPhase, Value),
    (cols, used): (usize, usize),
    (kernel, to, tap_floats): (Value, Value, usize),
    strip: Strip<'_>,
) {
    let ConvGeometry { cin, cout, stride, .. } = *geometry;
    let (rows, columns) = (phase.correlation.y.taps, phase.correlation.x.taps);
    // Tap j of the phase is tap `first + stride * (taps - 1 - j)` of the kernel.
    let tap = |e: &mut Emitter<'_>, j: Value, first: usize, taps: usize| {
        let back = e.mul(j, -(stride as i64));
        e.add(back, (first + stride * (taps - 1)) as i64)
    };
    e.count(rows, |e, j| {
        let ky = tap(e, j, phase.first_tap.0, rows);
        let to = e.at(to, j, columns * tap_floats);
        e.count(columns, |e, i| {
            let kx = tap(e, i, phase.first_tap.1, columns);
            let to = e.at(to, i, tap_floats);
            let row = e.mul(ky, geometry.kernel.1 as i64);
            let number = e.b.ins().iadd(row, kx);
            let from = e.at(kernel, number, cin * cout);
            let from = e.at(from, panel, cols * cout);
            let from = e.at(from, strip.first, 1);
            e.count(strip.channels, |e, output| {
                let (from, to) = (e.at(from, output, 1), e.at(to, output, cols));
                for column in 0..cols {
                    let value = match column < used {
                        true => e.load(F32, from, (column * cout) as i64),
                        false => e.float(F32, 0.0),
                    };
                    e.store(value, to, column as i64);
                }
            });
        });
    });
}
