//! Prepared forms of the weights: panels for the forward pass and, flipped and transposed, for the input gradient.

use std::mem::offset_of;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};

use super::context;
use super::emitter::Emitter;
use crate::abi::Context;
use crate::geometry::{ConvGeometry, GradPhase};
use crate::plan::Plan;

/// Rebuilds the prepared forms of the convolutions numbered `begin..end`.
pub(super) fn prepare(
    e: &mut Emitter<'_>,
    plan: &Plan,
    context: Value,
    (begin, end): (Value, Value),
) {
    let weights = context::load(e, I64, context, offset_of!(Context, weights));
    let prepared = context::load(e, I64, context, offset_of!(Context, prepared));
    for (number, conv) in plan.convs.iter().enumerate() {
        let from = e.b.ins().icmp_imm_s(IntCC::SignedLessThanOrEqual, begin, number as i64);
        let to = e.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, end, number as i64);
        let inside = e.b.ins().band(from, to);
        e.when(inside, |e| {
            let kernel = e.floats(weights, plan.weights[conv.kernel.index()] as i64);
            let geometry = &conv.geometry;
            let panels = e.floats(prepared, conv.forward_panels as i64);
            let rows = geometry.weights() / geometry.cout;
            let cols = conv.forward_tile.cols;
            pack(e, (rows, geometry.cout), cols, kernel, panels);
            if let (Some(bias), Some(offset)) = (conv.bias, conv.bias_panels) {
                let bias = e.floats(weights, plan.weights[bias.index()] as i64);
                let padded = e.floats(prepared, offset as i64);
                pack(e, (1, geometry.cout), cols, bias, padded);
            }
            for (phase, &offset) in geometry.input_grad().iter().zip(&conv.grad_panels) {
                let panels = e.floats(prepared, offset as i64);
                pack_flipped(e, geometry, phase, conv.grad_tile.cols, kernel, panels);
            }
        });
    }
}

/// From `[rows][columns]` to panels `[columns / cols][rows][cols]`, the last one filled up with zeros.
fn pack(e: &mut Emitter<'_>, (rows, columns): (usize, usize), cols: usize, from: Value, to: Value) {
    let copy = |e: &mut Emitter<'_>, panel: Value, used: usize| {
        let from = e.at(from, panel, cols);
        let to = e.at(to, panel, rows * cols);
        e.count(rows, |e, row| {
            let (from, to) = (e.at(from, row, columns), e.at(to, row, cols));
            fill(e, used, cols, to, |e, column| e.load(F32, from, column as i64));
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
