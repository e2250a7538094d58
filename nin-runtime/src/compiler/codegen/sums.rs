//! Sums over the pixels of an image, a few vectors of channels at a time, in chains that keep an adder busy.

use cranelift_codegen::ir::{InstBuilder, Type, Value};
use cranelift_frontend::Variable;

use super::emitter::{Columns, Emitter};
use super::pixels::{Pixels, walk};

/// Sums over the pixels of a map that a loop makes together, so that an adder need not wait for its last result.
const CHAINS: usize = 8;

/// Sums over pixels of a few vectors of channels: where these are few, of every other pixel apart, or of every fourth.
pub(super) struct Sums {
    /// Those of the first pixel's vectors, then of the second's.
    chains: Vec<Variable>,
    /// How many vectors there are.
    vectors: usize,
}

impl Sums {
    /// Sums of nothing.
    pub(super) fn new(e: &mut Emitter<'_>, ty: Type, vectors: usize, turns: usize) -> Sums {
        let start = e.float(ty, 0.0);
        let chains = (0..turns * vectors).map(|_| {
            let sum = e.b.declare_var(ty);
            e.b.def_var(sum, start);
            sum
        });
        Sums { chains: chains.collect(), vectors }
    }

    /// Changes the sum of a vector that the pixels of a turn have.
    pub(super) fn change(
        &self,
        e: &mut Emitter<'_>,
        (turn, index): (usize, usize),
        change: impl FnOnce(&mut Emitter<'_>, Value) -> Value,
    ) {
        let sum = self.chains[turn * self.vectors + index];
        let before = e.b.use_var(sum);
        let after = change(e, before);
        e.b.def_var(sum, after);
    }

    /// The sum of each vector over all pixels, added up as a tree.
    pub(super) fn total(&self, e: &mut Emitter<'_>) -> Vec<Value> {
        let mut sums: Vec<Value> = self.chains.iter().map(|&sum| e.b.use_var(sum)).collect();
        while sums.len() > self.vectors {
            let upper = sums.split_off(sums.len() / 2);
            sums = sums.iter().zip(upper).map(|(&a, b)| e.b.ins().fadd(a, b)).collect();
        }
        sums
    }
}

/// How many pixels in turn have sums of their own, if each has `sums` of them.
pub(super) fn turns(pixels: usize, sums: usize) -> usize {
    let turns = (CHAINS / sums).max(1);
    // A power of two, since the sums are added in pairs.
    let turns = 1 << turns.ilog2();
    if pixels < turns { 1 } else { turns }
}

/// Runs `body` for each pixel of maps, a few in turn; it gets the pixel's turn. What is left at the end has the first turns.
pub(super) fn pixels_in_turn<const N: usize>(
    e: &mut Emitter<'_>,
    pixels: usize,
    turns: usize,
    maps: [Pixels; N],
    mut body: impl FnMut(&mut Emitter<'_>, usize, [Pixels; N]),
) {
    let mut few = |e: &mut Emitter<'_>, maps: [Pixels; N], turns: usize| {
        for turn in 0..turns {
            let here = maps.map(|map| map.skip_pixels(e, turn as i64));
            body(e, turn, here);
        }
    };
    let maps = maps.map(|map| (map, turns * map.pitch));
    let rest = walk(e, pixels / turns, maps, |e, _, here| few(e, here, turns));
    few(e, rest, pixels % turns);
}

/// The sums of some channels over the pixels of a map; `add` gets a vector's index, its numbers of a pixel and the sum before them.
pub(super) fn summed(
    e: &mut Emitter<'_>,
    columns: &Columns,
    (x, pixels): (Pixels, usize),
    mut add: impl FnMut(&mut Emitter<'_>, usize, Value, Value) -> Value,
) -> Vec<Value> {
    let Columns { ty, ref offsets, .. } = *columns;
    let turns = turns(pixels, offsets.len());
    let sums = Sums::new(e, ty, offsets.len(), turns);
    pixels_in_turn(e, pixels, turns, [x], |e, turn, [x]| {
        for (index, &offset) in offsets.iter().enumerate() {
            let x = x.load(e, ty, offset);
            sums.change(e, (turn, index), |e, sum| add(e, index, x, sum));
        }
    });
    sums.total(e)
}
