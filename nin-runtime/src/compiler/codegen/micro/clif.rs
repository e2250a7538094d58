//! The portable tile: CLIF over vectors of four floats, in program order.
//!
//! Sums stay in registers over all segments; a step loads the row of B once and broadcasts one element of A for each row.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, F32X4, I64};
use cranelift_codegen::ir::{BlockArg, InstBuilder, Value};

use super::super::activation;
use super::super::emitter::{Emitter, LANES};
use super::super::pixels::Pixels;
use super::super::rectify::clipped;
use crate::compiler::Elem;
use crate::compiler::kernel::{Epilogue, Group, InitialSum, Reduction, Tile};

/// Steps of k written out in one turn of a group's loop.
const UNROLL: usize = 4;

/// The pointers and the count a tile is called with.
struct Arguments {
    a: Pixels,
    b: Pixels,
    c: Pixels,
    bias: Value,
    beside: Pixels,
    segments: Value,
}

/// Writes a tile's body.
pub(in crate::compiler::codegen) fn emit(e: &mut Emitter<'_>, tile: &Tile) {
    let arguments: [Value; 6] = e.arguments().try_into().expect("a tile takes six arguments");
    let [a, b, c, bias, beside, segments] = arguments;
    let arguments = Arguments {
        a: rows(a, tile.a_row, tile.elems.a),
        b: rows(b, tile.b_k, tile.elems.b),
        c: rows(c, tile.c_row, tile.elems.c),
        bias,
        beside: rows(beside, tile.beside_row, tile.elems.beside),
        segments,
    };
    let sums = init(e, tile, &arguments);
    let sums = sum(e, tile, &arguments, &sums);
    finish(e, tile, &arguments, sums);
}

/// Rows of an operand.
fn rows(at: Value, pitch: i64, elem: Elem) -> Pixels {
    let pitch = usize::try_from(pitch).expect("rows ascend");
    Pixels { at, pitch, elem }
}

fn vectors(tile: &Tile) -> usize {
    tile.cols.div_ceil(LANES)
}

/// Offset of a vector's first lane in a row.
fn lane(vector: usize) -> i64 {
    (vector * LANES) as i64
}

fn init(e: &mut Emitter<'_>, tile: &Tile, arguments: &Arguments) -> Vec<Value> {
    let mut sums = Vec::with_capacity(tile.rows * vectors(tile));
    for row in 0..tile.rows {
        let c = tile.c_row * row as i64;
        for vector in 0..vectors(tile) {
            sums.push(match tile.init {
                InitialSum::Zero => e.float(F32X4, 0.0),
                InitialSum::Bias => e.load(F32X4, arguments.bias, lane(vector)),
                InitialSum::Load => arguments.c.load(e, F32X4, c + lane(vector)),
                InitialSum::Lowest => e.float(F32X4, f32::NEG_INFINITY),
            });
        }
    }
    sums
}

/// The loop over segments; all groups of one segment stand in its body.
fn sum(e: &mut Emitter<'_>, tile: &Tile, arguments: &Arguments, sums: &[Value]) -> Vec<Value> {
    let (header, inside, exit) = (e.b.create_block(), e.b.create_block(), e.b.create_block());
    let [left, a, b] = [(); 3].map(|()| e.b.append_block_param(header, I64));
    let carried: Vec<Value> = sums.iter().map(|_| e.b.append_block_param(header, F32X4)).collect();
    let (mut a_map, mut b_map) = (arguments.a, arguments.b);
    let first = block_args(&[arguments.segments, a_map.at, b_map.at], sums);
    e.b.ins().jump(header, &first);
    e.b.switch_to_block(header);
    let more = e.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, left, 0);
    e.b.ins().brif(more, inside, &[], exit, &[]);
    e.b.switch_to_block(inside);
    e.b.seal_block(inside);
    let mut sums = carried.clone();
    (a_map.at, b_map.at) = (a, b);
    for group in &tile.groups {
        sum_group(e, tile, group, a_map, b_map, &mut sums);
    }
    let left = e.add(left, -1);
    let a = a_map.skip(e, tile.a_segment).at;
    let b = b_map.skip(e, tile.b_segment).at;
    e.b.ins().jump(header, &block_args(&[left, a, b], &sums));
    e.b.seal_block(header);
    e.b.switch_to_block(exit);
    e.b.seal_block(exit);
    carried
}

/// One group: a loop of [`UNROLL`] steps a turn, then the rest written out.
fn sum_group(
    e: &mut Emitter<'_>,
    tile: &Tile,
    group: &Group,
    a: Pixels,
    b: Pixels,
    sums: &mut Vec<Value>,
) {
    let mut a = a.skip(e, group.a);
    let mut b = b.skip(e, group.b);
    let turns = group.k / UNROLL;
    let mut rest = group.k;
    if turns > 1 {
        rest %= UNROLL;
        let end = b.skip(e, tile.b_k * (turns * UNROLL) as i64).at;
        let (header, inside, exit) = (e.b.create_block(), e.b.create_block(), e.b.create_block());
        let [at_a, at_b] = [(); 2].map(|()| e.b.append_block_param(header, I64));
        let carried: Vec<Value> =
            sums.iter().map(|_| e.b.append_block_param(header, F32X4)).collect();
        e.b.ins().jump(header, &block_args(&[a.at, b.at], sums));
        // Sums are tested for and left with at the top, so that each of a turn is used once: Cranelift moves a load into the
        // instruction that uses it only if nothing that follows from it is used twice.
        e.b.switch_to_block(header);
        let more = e.b.ins().icmp(IntCC::NotEqual, at_b, end);
        e.b.ins().brif(more, inside, &[], exit, &[]);
        e.b.switch_to_block(inside);
        e.b.seal_block(inside);
        let mut turn = carried.clone();
        (a.at, b.at) = (at_a, at_b);
        sum_steps(e, tile, group, a, b, UNROLL, &mut turn);
        let next_a = a.skip(e, tile.a_k * UNROLL as i64).at;
        let next_b = b.skip(e, tile.b_k * UNROLL as i64).at;
        e.b.ins().jump(header, &block_args(&[next_a, next_b], &turn));
        e.b.seal_block(header);
        e.b.switch_to_block(exit);
        e.b.seal_block(exit);
        *sums = carried;
    }
    sum_steps(e, tile, group, a, b, rest, sums);
}

/// `steps` steps of k, written out.
fn sum_steps(
    e: &mut Emitter<'_>,
    tile: &Tile,
    group: &Group,
    a: Pixels,
    b: Pixels,
    steps: usize,
    sums: &mut [Value],
) {
    let has_b = tile.reduction != Reduction::Maximum;
    for step in 0..steps as i64 {
        let loaded = |e: &mut Emitter<'_>, vector| {
            has_b.then(|| b.load(e, F32X4, tile.b_k * step + lane(vector)))
        };
        let loaded: Vec<Option<Value>> =
            (0..vectors(tile)).map(|vector| loaded(e, vector)).collect();
        for row in group.rows.clone() {
            let at = tile.a_k * step + tile.a_row * row as i64;
            let shared = (!tile.reduction.by_column()).then(|| {
                let element = a.load(e, F32, at);
                e.splat(F32X4, element)
            });
            for (vector, &b) in loaded.iter().enumerate() {
                let a = shared.unwrap_or_else(|| a.load(e, F32X4, at + lane(vector)));
                let sum = &mut sums[row * vectors(tile) + vector];
                *sum = match b {
                    Some(b) => e.mul_add(a, b, *sum),
                    None => maximum(e, *sum, a),
                };
            }
        }
    }
}

/// The larger of what there is and a value, which counts if they are equal. A NaN stays.
fn maximum(e: &mut Emitter<'_>, before: Value, value: Value) -> Value {
    // Only comparisons that every target has in vectors.
    let is_larger = e.b.ins().fcmp(FloatCC::GreaterThan, before, value);
    let is_number = e.b.ins().fcmp(FloatCC::Equal, before, before);
    let is_nan = e.b.ins().bnot(is_number);
    let stays = e.b.ins().bor(is_larger, is_nan);
    e.choose(stays, before, value)
}

/// Epilogue and stores; of a partial vector only the lanes that exist are stored.
fn finish(e: &mut Emitter<'_>, tile: &Tile, arguments: &Arguments, mut sums: Vec<Value>) {
    let zero = e.float(F32X4, 0.0);
    for (index, sum) in sums.iter_mut().enumerate() {
        let (row, vector) = (index / vectors(tile), index % vectors(tile));
        for epilogue in &tile.epilogue {
            *sum = match epilogue {
                Epilogue::Relu6 => clipped(e, *sum, Epilogue::SIX),
                Epilogue::LeakyRelu { .. }
                | Epilogue::HardSigmoid
                | Epilogue::HardSwish
                | Epilogue::Scale { .. } => activation::in_tile(e, *epilogue, *sum),
                Epilogue::Relu => {
                    let negative = e.b.ins().fcmp(FloatCC::LessThan, *sum, zero);
                    e.choose(negative, zero, *sum)
                }
                Epilogue::Add => {
                    let at = tile.beside_row * row as i64 + lane(vector);
                    let addend = arguments.beside.load(e, F32X4, at);
                    e.b.ins().fadd(*sum, addend)
                }
                Epilogue::Mask => {
                    let at = tile.beside_row * row as i64 + lane(vector);
                    let mask = arguments.beside.load(e, F32X4, at);
                    let positive = e.b.ins().fcmp(FloatCC::GreaterThan, mask, zero);
                    e.choose(positive, *sum, zero)
                }
            };
        }
        let at = tile.c_row * row as i64 + lane(vector);
        let lanes = (tile.cols - vector * LANES).min(LANES);
        if lanes == LANES {
            arguments.c.store(e, *sum, at);
        } else {
            for lane in 0..lanes as u8 {
                let element = e.b.ins().extractlane(*sum, lane);
                arguments.c.store(e, element, at + i64::from(lane));
            }
        }
    }
}

fn block_args(first: &[Value], rest: &[Value]) -> Vec<BlockArg> {
    first.iter().chain(rest).map(|&value| value.into()).collect()
}
