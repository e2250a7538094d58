//! Prepared forms of the weights, strip by strip: panels for the forward pass and, flipped and transposed, for the input
//! gradient; rows of batch normalisations.

use std::mem::offset_of;

use cranelift_codegen::ir::types::{F32, I64};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use nin_dsl::graph::Graph;

use super::affine::AffineRows;
use super::emitter::Emitter;
use super::pixels::Pixels;
use super::strip::{self, Strip};
use super::{context, norm, panels, update, winograd};
use crate::compiler::Elem;
use crate::compiler::abi::Context;
use crate::compiler::geometry::{ConvGeometry, GradPhase, Taps};
use crate::compiler::plan::{
    ConvPlan, Plan, PreparedForm, PreparedKernel, PreparedSpectrum, Product, StripOwner,
};

/// Writes the function that takes strips of an owner through the end of a step, if they follow a rule, and rebuilds what is
/// prepared of them while it is in cache.
pub(super) fn emit(e: &mut Emitter<'_>, graph: &Graph, plan: &Plan, owner: usize) {
    let [context, begin, end, rule] = *e.arguments() else {
        unreachable!("strips take four arguments (a bug in nin)")
    };
    let mut field = |offset: usize| context::load(e, I64, context, offset);
    let pack = Pack {
        weights: field(offset_of!(Context, weights)),
        prepared: field(offset_of!(Context, prepared)),
        arena: field(offset_of!(Context, arena)),
        plan,
    };
    let strips = plan.strip_groups().nth(owner).expect("the owner has strips (a bug in nin)");
    strip::each(e, strips, (begin, end), |e, strip| {
        e.when(rule, |e| update::strip(e, graph, plan, (rule, context), strip));
        pack.strip(e, strip);
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
    /// What is prepared of a strip.
    fn strip(&self, e: &mut Emitter<'_>, strip: Strip<'_>) {
        match strip.owner {
            StripOwner::Conv(conv) => {
                self.forward(e, conv, strip);
                if let Some(kernel) = &conv.product(Product::InputGrad).kernel {
                    self.grad(e, conv, kernel, strip);
                }
            }
            StripOwner::Norm(norm, rows) => {
                let rows = e.place(self.prepared, rows);
                norm::prepare(e, self.plan, norm, (self.weights, rows), strip);
            }
            StripOwner::Slope(slope) => {
                let from = e.place_floats(self.weights, self.plan.weights[slope.slope.index()]);
                let to = e.place(self.prepared, slope.prepared);
                e.lanes(slope.channels, |e, ty, i| {
                    let (from, to) = (e.at(from, i, 1), e.at(to, i, 1));
                    let value = e.load(ty, from, 0);
                    e.store(value, to, 0);
                });
            }
        }
    }

    /// What the forward pass of a convolution reads of a strip: its panel or the panel's spectrum, and its biases.
    fn forward(&self, e: &mut Emitter<'_>, conv: &ConvPlan, strip: Strip<'_>) {
        let Pack { plan, weights, prepared, arena } = *self;
        let norm =
            conv.norm.map(|norm| norm::prepare(e, plan, plan.norm(norm), (weights, arena), strip));
        let (rows, cols) = (conv.rows(), conv.tile(Product::Forward).cols);
        let PreparedKernel { elem, form } = conv.prepared(Product::Forward);
        match form {
            PreparedForm::Panels(offsets) => {
                let panels = rows_of(e, (prepared, offsets[0]), cols, *elem);
                let panel = panels.elements(e, strip.index, rows * cols);
                self.forward_panel(e, conv, norm, panel, strip);
            }
            PreparedForm::Spectrum(spectrum) => {
                let panel = rows_of(e, (arena, spectrum.panel), cols, Elem::F32);
                self.forward_panel(e, conv, norm, panel, strip);
                let channels = conv.geometry.cin * cols;
                let to = e.place(prepared, spectrum.offset);
                let to = e.element(to, strip.index, channels, *elem);
                self.transform(e, (conv, Product::Forward), spectrum, channels, to);
            }
        }
        let bias = conv.bias.map(|bias| e.place_floats(weights, plan.weights[bias.index()]));
        if let Some(offset) = conv.bias_panels {
            let to = rows_of(e, (prepared, offset), cols, Elem::F32).channel(e, strip.first);
            // What is past a group's biases is the next one's.
            let cols = if conv.geometry.groups == 1 { cols } else { strip.channels };
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
        panel: Pixels,
        strip: Strip<'_>,
    ) {
        let kernel = e.place_floats(self.weights, self.plan.weights[conv.kernel.index()]);
        let kernel = e.at(kernel, strip.first, 1);
        let cols = conv.tile(Product::Forward).cols;
        e.count(conv.rows(), |e, row| {
            let (from, to) = (e.at(kernel, row, conv.geometry.outputs()), panel.pixel(e, row));
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
        let kernel = e.place_floats(self.weights, self.plan.weights[conv.kernel.index()]);
        let (geometry, cols) = (&conv.geometry, conv.tile(Product::InputGrad).cols);
        let phases = geometry.input_grad();
        let tap = geometry.cout * cols;
        match &prepared.form {
            PreparedForm::Panels(offsets) if geometry.depthwise => {
                for (phase, &offset) in phases.iter().zip(offsets) {
                    let panels = rows_of(e, (self.prepared, offset), cols, prepared.elem);
                    let panel = panels.elements(e, strip.index, phase.correlation.panel(cols));
                    turned(e, geometry, phase, (kernel, panel), strip);
                }
            }
            PreparedForm::Panels(offsets) => {
                for (phase, &offset) in phases.iter().zip(offsets) {
                    let panels = rows_of(e, (self.prepared, offset), cols, prepared.elem);
                    let size = phase.correlation.panel(cols);
                    let all = phase.correlation.panels(cols) * size;
                    let panels = strip.group.map_or(panels, |group| panels.elements(e, group, all));
                    let panels = panels.pixel(e, strip.within);
                    panels::panels(e, geometry.cin, cols, |e, panel, used| {
                        let to = panels.elements(e, panel, size);
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
            PreparedForm::Spectrum(spectrum) => {
                let channels = strip.channels * cols;
                let from = rows_of(e, (self.arena, spectrum.panel), cols, Elem::F32);
                let to = e.place(self.prepared, spectrum.offset);
                let all = geometry.cin.div_ceil(cols) * tap;
                let to = strip.group.map_or(to, |group| e.element(to, group, all, prepared.elem));
                let to = e.element(to, strip.within, cols, prepared.elem);
                panels::panels(e, geometry.cin, cols, |e, panel, used| {
                    pack_flipped(
                        e,
                        geometry,
                        (&phases[0], panel),
                        (cols, used),
                        (kernel, from, channels),
                        strip,
                    );
                    let to = e.element(to, panel, tap, prepared.elem);
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
            [spectrum.panel, spectrum.scratch].map(|offset| e.bytes(self.arena, offset));
        let size = conv.transformed(product).size;
        let elem = conv.prepared(product).elem;
        let stride = spectrum.stride;
        winograd::transform_kernel(e, size, (channels, stride, elem), (panel, scratch, to));
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

/// Rows of `cols` numbers that lie behind an address.
fn rows_of(e: &mut Emitter<'_>, (base, offset): (Value, usize), cols: usize, elem: Elem) -> Pixels {
    Pixels { at: e.place(base, offset), pitch: cols, elem }
}

/// Stores `used` numbers and zeros up to `cols`.
fn fill(
    e: &mut Emitter<'_>,
    used: usize,
    cols: usize,
    to: Pixels,
    mut number: impl FnMut(&mut Emitter<'_>, Type, Value) -> Value,
) {
    e.lanes(used, |e, ty, i| {
        let value = number(e, ty, i);
        to.channel(e, i).store(e, value, 0);
    });
    let zero = e.float(F32, 0.0);
    for column in used..cols {
        to.store(e, zero, column as i64);
    }
}

/// A strip of one panel of a phase of the input gradient, `[ky][kx][cout][cols]`, whose taps are `of_tap` elements apart:
/// the phase's taps last first, input and output channels exchanged.
fn pack_flipped(
    e: &mut Emitter<'_>,
    geometry: &ConvGeometry,
    (phase, panel): (&GradPhase, Value),
    (cols, used): (usize, usize),
    (kernel, to, of_tap): (Value, Pixels, usize),
    strip: Strip<'_>,
) {
    let outputs = geometry.outputs();
    each_tap(e, geometry, phase, |e, j, number| {
        let to = to.elements(e, j, of_tap);
        let from = e.at(kernel, number, geometry.cin * outputs);
        let from = e.at(from, panel, cols * outputs);
        let from = e.at(from, strip.first, 1);
        e.count(strip.channels, |e, output| {
            let (from, to) = (e.at(from, output, 1), to.pixel(e, output));
            for column in 0..cols {
                let value = match column < used {
                    true => e.load(F32, from, (column * outputs) as i64),
                    false => e.float(F32, 0.0),
                };
                to.store(e, value, column as i64);
            }
        });
    });
}

/// The panel of a strip of a depthwise convolution for a phase of its input gradient: the phase's taps last first.
fn turned(
    e: &mut Emitter<'_>,
    geometry: &ConvGeometry,
    phase: &GradPhase,
    (kernel, panel): (Value, Pixels),
    strip: Strip<'_>,
) {
    each_tap(e, geometry, phase, |e, j, number| {
        let to = panel.pixel(e, j);
        let from = e.at(kernel, number, geometry.outputs());
        let from = e.at(from, strip.first, 1);
        fill(e, strip.channels, panel.pitch, to, |e, ty, i| {
            let at = e.at(from, i, 1);
            e.load(ty, at, 0)
        });
    });
}

/// Runs `body` for each tap of a phase, with its number there and that of the kernel's tap.
fn each_tap(
    e: &mut Emitter<'_>,
    geometry: &ConvGeometry,
    phase: &GradPhase,
    mut body: impl FnMut(&mut Emitter<'_>, Value, Value),
) {
    // As `Taps::of_kernel` has them.
    let of_kernel = |e: &mut Emitter<'_>, j: Value, Taps { first, step, count }: Taps| {
        let back = e.mul(j, -(step as i64));
        e.add(back, (first + step * (count - 1)) as i64)
    };
    let [rows, columns] = phase.taps;
    e.count(rows.count, |e, j| {
        let ky = of_kernel(e, j, rows);
        e.count(columns.count, |e, i| {
            let kx = of_kernel(e, i, columns);
            let row = e.mul(ky, geometry.window.x.kernel as i64);
            let number = e.b.ins().iadd(row, kx);
            let row = e.mul(j, columns.count as i64);
            let j = e.b.ins().iadd(row, i);
            body(e, j, number);
        });
    });
}
