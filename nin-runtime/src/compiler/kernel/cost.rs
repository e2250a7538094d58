//! [`Registers`], what a tile can be made of, and the shape whose tiles take the least time.

use std::fmt;

/// How many rows and columns a full tile has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TileShape {
    /// Rows.
    pub rows: usize,
    /// Columns: the width of a panel of packed weights.
    pub cols: usize,
}

impl fmt::Display for TileShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.rows, self.cols)
    }
}

/// The vector registers a target has for a tile, from which the shape for each product follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Registers {
    /// Floats in a vector.
    pub lanes: usize,
    /// Whether half a vector costs half of a whole one.
    pub halves: bool,
    /// The widths of a panel that can be had, in vectors, best first, each with the most rows that fit beside it.
    pub panels: &'static [(usize, usize)],
    /// Sums below which a step waits for the multiply-add before it.
    pub busy: usize,
}

impl Registers {
    /// The shape for products of `rows` rows (of one image, or a line of it) and `columns` columns: the panels and rows
    /// whose tiles take the least time, and of those the least memory.
    pub fn shape(&self, rows: usize, columns: usize) -> TileShape {
        let narrowest = self.panels.iter().map(|&(vectors, _)| vectors).min().unwrap_or(1);
        let shapes = self.panels.iter().flat_map(|&(vectors, most)| {
            // Fewer vectors than the narrowest panel leave room for as many sums in more rows, up to twice.
            let few = columns.div_ceil(self.lanes) < narrowest;
            let most = if few { 2 * most } else { most };
            let cols = vectors * self.lanes;
            (1..=most.min(rows).max(1)).rev().map(move |rows| TileShape { rows, cols })
        });
        let cost = |shape: &TileShape| {
            (self.time(*shape, rows, columns), columns.next_multiple_of(shape.cols))
        };
        let best = shapes.min_by_key(cost);
        best.expect("a target has panels")
    }

    /// The time of a step of all tiles of a product, in half multiplications.
    fn time(&self, shape: TileShape, rows: usize, columns: usize) -> usize {
        let TileShape { rows: full_rows, cols: full_cols } = shape;
        let of_row = |cols: usize| {
            let tile = |rows| self.time_of_tile(rows, cols);
            rows / full_rows * tile(full_rows) + tile(rows % full_rows)
        };
        columns / full_cols * of_row(full_cols) + of_row(columns % full_cols)
    }

    /// The time of a step of one tile: its multiplications, or the wait for those of the step before, and its loads, of
    /// which those of B, which is larger than the first-level cache, count double.
    fn time_of_tile(&self, rows: usize, cols: usize) -> usize {
        if rows == 0 || cols == 0 {
            return 0;
        }
        let (vectors, rest) = (cols / self.lanes, cols % self.lanes);
        let partial = match rest {
            0 => 0,
            rest if self.halves && rest <= self.lanes / 2 => 1,
            _ => 2,
        };
        let loads = rows + 2 * cols.div_ceil(self.lanes);
        (rows * (2 * vectors + partial)).max(2 * self.busy) + loads + 2
    }
}
