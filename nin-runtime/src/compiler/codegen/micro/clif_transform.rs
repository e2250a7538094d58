//! The portable transform: CLIF over vectors of four floats.
//!
//! Channels are walked a vector at a time. The columns of a tile go through the map one by one into scratch; then its rows do,
//! and are finished and stored.

use cranelift_codegen::ir::{InstBuilder, Type, Value};

use super::super::activation;
use super::super::emitter::{Emitter, LANES};
use super::super::pixels::Pixels;
use super::super::rectify::{clipped, masked, rectified};
use crate::compiler::kernel::{Epilogue, InitialSum, Transform};
use crate::compiler::winograd::{Straight, Term};

/// Writes a transform's body.
pub(in crate::compiler::codegen) fn emit(e: &mut Emitter<'_>, transform: &Transform) {
    let arguments: [Value; 5] = e.arguments().try_into().expect("a transform takes five arguments");
    let [columns, rows] = [0, 1].map(|direction| transform.straight(direction));
    let [from, scratch, to, bias, mask] = arguments;
    let [from, to, mask] = [0, 1, 2].map(|index| {
        // Strides are the transform's own.
        let (at, elem) = ([from, to, mask][index], transform.elems[index]);
        Pixels { at, pitch: transform.channels, elem }
    });
    let fused = transform.is_fused();
    let [from_y, from_x] = transform.from;
    let [to_y, to_x] = transform.to;
    let [beside_y, beside_x] = transform.beside;
    let [real_y, real_x] = transform.real.clone();
    // From one row of scratch to the next.
    let pitch = (real_x.len() * LANES) as i64;
    e.lanes(transform.channels, |e, ty, channel| {
        let [from, to, mask] = [from, to, mask].map(|map| map.channel(e, channel));
        let bias = e.at(bias, channel, 1);
        let first = from.skip(e, from_y * real_y.start as i64 + from_x * real_x.start as i64);
        e.count(real_x.len(), |e, x| {
            let stride = usize::try_from(from_x).expect("positions of a row ascend");
            let (from, scratch) = (first.elements(e, x, stride), e.at(scratch, x, LANES));
            let outputs = run(e, ty, (&columns, fused), |e, y| from.load(e, ty, from_y * y as i64));
            for (y, output) in outputs.into_iter().enumerate() {
                e.store(output, scratch, pitch * y as i64);
            }
        });
        e.count(transform.wanted[0], |e, y| {
            let scratch = e.at(scratch, y, real_x.len() * LANES);
            let [to, mask] = [(to, to_y), (mask, beside_y)].map(|(base, stride)| {
                base.elements(e, y, usize::try_from(stride).expect("rows ascend"))
            });
            let outputs =
                run(e, ty, (&rows, fused), |e, x| e.load(ty, scratch, (x * LANES) as i64));
            for (x, output) in outputs.into_iter().enumerate() {
                let (at, beside) = (to_x * x as i64, beside_x * x as i64);
                let started = match transform.init {
                    InitialSum::Zero => output,
                    InitialSum::Lowest => unreachable!("transforms add (a bug in nin)"),
                    InitialSum::Bias => {
                        let bias = e.load(ty, bias, 0);
                        e.b.ins().fadd(output, bias)
                    }
                    InitialSum::Load => {
                        let before = to.load(e, ty, at);
                        e.b.ins().fadd(output, before)
                    }
                };
                let finish = |value: Value, epilogue: &Epilogue| match epilogue {
                    Epilogue::Relu => rectified(e, value),
                    Epilogue::Relu6 => clipped(e, value, Epilogue::SIX),
                    Epilogue::LeakyRelu { .. }
                    | Epilogue::HardSigmoid
                    | Epilogue::HardSwish
                    | Epilogue::Scale { .. } => activation::in_tile(e, *epilogue, value),
                    Epilogue::Add => {
                        let addend = mask.load(e, ty, beside);
                        e.b.ins().fadd(value, addend)
                    }
                    Epilogue::Mask => {
                        let mask = mask.load(e, ty, beside);
                        masked(e, value, mask)
                    }
                };
                let finished = transform.epilogue.iter().fold(started, finish);
                to.store(e, finished, at);
            }
        });
    });
}

/// Straight-line code on values of type `ty`.
fn run(
    e: &mut Emitter<'_>,
    ty: Type,
    (code, fused): (&Straight, bool),
    mut load: impl FnMut(&mut Emitter<'_>, usize) -> Value,
) -> Vec<Value> {
    let mut values: Vec<Value> = (0..code.inputs).map(|input| load(e, input)).collect();
    for term in &code.terms {
        let value = match *term {
            Term::Scaled { factor, of } => {
                let factor = e.float(ty, factor);
                e.b.ins().fmul(values[of], factor)
            }
            Term::Sum { a, factor: 1.0, b } => e.b.ins().fadd(values[a], values[b]),
            Term::Sum { a, factor: -1.0, b } => e.b.ins().fsub(values[a], values[b]),
            Term::Sum { a, factor, b } => {
                let factor = e.float(ty, factor);
                if fused {
                    e.mul_add(factor, values[b], values[a])
                } else {
                    let product = e.b.ins().fmul(factor, values[b]);
                    e.b.ins().fadd(values[a], product)
                }
            }
        };
        values.push(value);
    }
    let zero = e.float(ty, 0.0);
    code.outputs.iter().map(|output| output.map_or(zero, |value| values[value])).collect()
}
