//! Prepared forms of the weights: panels for the forward pass and, flipped and transposed, for the input gradient; rows of
//! batch normalisations.

use std::mem::offset_of;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};

use super::emitter::Emitter;
use super::norm::AffineRows;
use super::{context, norm, winograd};
use crate::abi::Context;
use crate::geometry::{ConvGeometry, GradPhase};
use crate::plan::{ConvPlan, Plan, PreparedKernel, Product};

/// Where weights lie, their prepared forms, and the arena in which those are made.
#[derive(Clone, Copy)]
struct Memory {
    weights: Value,
    prepared: Value,
    arena: Value,
}

/// Rebuilds the prepared forms numbered `begin..end`.
pub(super) fn prepare(
    e: &mut Emitter<'_>,
    plan: &Plan,
    context: Value,
    (begin, end): (Value, Value),
) {
    let mut field = |offset: usize| context::load(e, I64, context, offset);
    let memory = Memory {
        weights: field(offset_of!(Context, weights)),
        prepared: field(offset_of!(Context, prepared)),
        arena: field(offset_of!(Context, arena)),
    };
    let inside = |e: &mut Emitter<'_>, number: usize| {
        let from = e.b.ins().icmp_imm_s(IntCC::SignedLessThanOrEqual, begin, number as i64);
        let to = e.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, end, number as i64);
        e.b.ins().band(from, to)
    };
    for (number, (norm, offset)) in (2 * plan.convs.len()..).zip(plan.free_norms()) {
        let inside = inside(e, number);
        e.when(inside, |e| {
            let rows = e.floats(memory.prepared, offset as i64);
            norm::prepare(e, plan, norm, memory.weights, rows);
        });
    }
    for (number, conv) in plan.convs.iter().enumerate() {
        let forward = inside(e, 2 * number);
        e.when(forward, |e| prepare_forward(e, plan, conv, memory));
        if let Some(kernel) = &conv.grad_kernel {
            let grad = inside(e, 2 * number + 1);
            e.when(grad, |e| prepare_grad(e, plan, conv, kernel, memory));
        }
    }
}

/// What the forward pass of a convolution reads: its kernel, and the bias.
fn prepare_forward(e: &mut Emitter<'_>, plan: &Plan, conv: &ConvPlan, memory: Memory) {
    let Memory { weights, arena, .. } = memory;
    let norm = conv.norm.map(|norm| norm::prepare(e, plan, plan.norm(norm), weights, arena));
    let kernel = e.floats(weights, plan.weights[conv.kernel.index()] as i64);
    let geometry = &conv.geometry;
    let rows = geometry.weights() / geometry.cout;
    let cols = conv.forward_tile.cols;
    let factor = norm.map(|norm| norm.factor);
    prepare_kernel(
        e,
        (conv, Product::Forward),
        (&conv.forward_kernel, geometry.cin * cols),
        memory,
        |e, _, panels| {
            pack(e, (rows, geometry.cout), cols, panels, |e, row, channel| {
                let row = e.at(kernel, row, geometry.cout);
                let weight = channel.load(e, row);
                match factor {
                    Some(factor) => {
                        let factor = channel.load(e, factor);
                        e.b.ins().fmul(weight, factor)
                    }
                    None => weight,
                }
            });
        },
    );
    let bias = conv.bias.map(|bias| e.floats(weights, plan.weights[bias.index()] as i64));
    if let Some(offset) = conv.bias_panels {
        let padded = e.floats(memory.prepared, offset as i64);
        pack(e, (1, geometry.cout), cols, padded, |e, _, channel| {
            merged_bias(e, bias, norm, channel)
        });
    }
}

/// What the input gradient of a convolution reads: the kernel for each of its phases.
fn prepare_grad(
    e: &mut Emitter<'_>,
    plan: &Plan,
    conv: &ConvPlan,
    prepared: &PreparedKernel,
    memory: Memory,
) {
    let kernel = e.floats(memory.weights, plan.weights[conv.kernel.index()] as i64);
    let (geometry, cols) = (&conv.geometry, conv.grad_tile.cols);
    let phases = geometry.input_grad();
    prepare_kernel(
        e,
        (conv, Product::InputGrad),
        (prepared, geometry.cout * cols),
        memory,
        |e, phase, panels| pack_flipped(e, geometry, &phases[phase], cols, kernel, panels),
    );
}

/// Prepares what a product reads of a kernel. `pack` makes the panels of a correlation by its number, which have so many floats
/// a tap; where the product reads their spectrum, they are made in the arena and brought into the domain.
fn prepare_kernel(
    e: &mut Emitter<'_>,
    (conv, product): (&ConvPlan, Product),
    (kernel, floats): (&PreparedKernel, usize),
    memory: Memory,
    mut pack: impl FnMut(&mut Emitter<'_>, usize, Value),
) {
    match kernel {
        PreparedKernel::Panels(offsets) => {
            for (number, &offset) in offsets.iter().enumerate() {
                let panels = e.floats(memory.prepared, offset as i64);
                pack(e, number, panels);
            }
        }
        PreparedKernel::Spectrum(spectrum) => {
            let [panels, scratch] = [spectrum.panels, spectrum.scratch]
                .map(|offset| e.floats(memory.arena, offset as i64));
            pack(e, 0, panels);
            let to = e.floats(memory.prepared, spectrum.offset as i64);
            let size = conv.transformed(product).size;
            let count = spectrum.stride / floats;
            winograd::transform_panels(e, size, (count, floats), (panels, scratch, to));
        }
    }
}

/// A channel: so many behind a panel's first.
#[derive(Clone, Copy)]
struct Channel {
    /// Offset of the panel's first channel in a row of them, in bytes.
    panel: Value,
    /// Its number in the panel.
    column: usize,
}

impl Channel {
    /// The channel's number in a row.
    fn load(self, e: &mut Emitter<'_>, row: Value) -> Value {
        let panel = e.b.ins().iadd(row, self.panel);
        e.load(F32, panel, self.column as i64)
    }
}

/// The bias of a channel with a merged batch normalisation: `(bias - mean) * factor + shift`.
fn merged_bias(
    e: &mut Emitter<'_>,
    bias: Option<Value>,
    norm: Option<AffineRows>,
    channel: Channel,
) -> Value {
    let bias = match bias {
        Some(bias) => channel.load(e, bias),
        None => e.float(F32, 0.0),
    };
    let Some(AffineRows { mean, factor, shift }) = norm else { return bias };
    let [mean, factor, shift] = [mean, factor, shift].map(|row| channel.load(e, row));
    let around = e.b.ins().fsub(bias, mean);
    // Never fused, so that weights can be prepared for another CPU than this: the bits are the same on all.
    let scaled = e.b.ins().fmul(around, factor);
    e.b.ins().fadd(scaled, shift)
}

/// Fills panels `[columns / cols][rows][cols]` with a number for each row and channel, the last one up with zeros.
fn pack(
    e: &mut Emitter<'_>,
    (rows, columns): (usize, usize),
    cols: usize,
    to: Value,
    mut number: impl FnMut(&mut Emitter<'_>, Value, Channel) -> Value,
) {
    let mut copy = |e: &mut Emitter<'_>, panel: Value, used: usize| {
        let first = e.mul(panel, 4 * cols as i64);
        let to = e.at(to, panel, rows * cols);
        e.count(rows, |e, row| {
            let to = e.at(to, row, cols);
            fill(e, used, cols, to, |e, column| number(e, row, Channel { panel: first, column }));
        });
    };
    e.count(columns / cols, |e, panel| copy(e, panel, cols));
    if !columns.is_multiple_of(cols) {
        let last = e.size(columns / cols);
        copy(e, last, columns % cols);
    }
}

/// Stores `used` floats and zeros up to `cols`.
fn fill(
    e: &mut Emitter<'_>,
    used: usize,
    cols: usize,
    to: Value,
    mut float: impl FnMut(&mut Emitter<'_>, usize) -> Value,
) {
    for column in 0..cols {
        let value = if column < used { float(e, column) } else { e.float(F32, 0.0) };
        e.store(value, to, column as i64);
    }
}

/// The panels of one phase of the input gradient, `[cin / cols][ky][kx][cout][cols]`: the phase's taps last first, input
/// and output channels exchanged.
fn pack_flipped(
    e: &mut Emitter<'_>,
    geometry: &ConvGeometry,
    phase: &GradPhase,
    cols: usize,
    kernel: Value,
    panels: Value,
) {
    let ConvGeometry { cin, cout, stride, .. } = *geometry;
    let (rows, columns) = (phase.correlation.y.taps, phase.correlation.x.taps);
    let size = phase.correlation.panel(cols);
    // Tap j of the phase is tap `first + stride * (taps - 1 - j)` of the kernel.
    let tap = |e: &mut Emitter<'_>, j: Value, first: usize, taps: usize| {
        let back = e.mul(j, -(stride as i64));
        e.add(back, (first + stride * (taps - 1)) as i64)
    };
    let copy = |e: &mut Emitter<'_>, panel: Value, used: usize| {
        let to = e.at(panels, panel, size);
        e.count(rows, |e, j| {
            let ky = tap(e, j, phase.first_tap.0, rows);
            let to = e.at(to, j, columns * cout * cols);
            e.count(columns, |e, i| {
                let kx = tap(e, i, phase.first_tap.1, columns);
                let to = e.at(to, i, cout * cols);
                let row = e.mul(ky, geometry.kernel.1 as i64);
                let number = e.b.ins().iadd(row, kx);
                let from = e.at(kernel, number, cin * cout);
                let from = e.at(from, panel, cols * cout);
                e.count(cout, |e, output| {
                    let (from, to) = (e.at(from, output, 1), e.at(to, output, cols));
                    fill(e, used, cols, to, |e, column| e.load(F32, from, (column * cout) as i64));
                });
            });
        });
    };
    e.count(cin / cols, |e, panel| copy(e, panel, cols));
    if !cin.is_multiple_of(cols) {
        let last = e.size(cin / cols);
        copy(e, last, cin % cols);
    }
}
