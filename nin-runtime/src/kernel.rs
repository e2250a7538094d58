//! [`Kernel`], plain data that names one machine function, and [`Tile`], the register tile of a matrix product.
//!
//! One tile spec serves forward, input gradient and kernel gradient:
//!
//! ```text
//! C[m, n] = epilogue(init + sum over segments, groups, k of A[m, k] * B[k, n])     m in group.rows
//! ```
//!
//! A *segment* is a kernel row (forward, input gradient) or a row of pixels (kernel gradient); their number is a run-time
//! argument, because it depends on how near the border the tile is. A *group* is a run of k for which the same rows of
//! the tile see real pixels: borders are compiled into groups, so no operand is ever padded or copied.

use std::fmt;
use std::ops::Range;

/// A machine function's name: the key under which it is found, and what a profile calls it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// A register tile, shared by all that ask for the same.
    Tile(Tile),
    /// A block of one of the plan's passes, over the images of a chunk.
    Block {
        /// The pass.
        pass: PassKind,
        /// Its number in the pass.
        index: usize,
    },
    /// A step of a block that walks image by image, over a range of rows of one image.
    Step {
        /// The pass.
        pass: PassKind,
        /// The block's number in the pass.
        block: usize,
        /// The step's number in the block.
        step: usize,
    },
    /// A function that Rust calls.
    Entry(Entry),
}

/// The passes of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PassKind {
    /// Forward with dropout off.
    Inference,
    /// Forward, loss and backward.
    Training,
}

/// The functions that Rust calls, all with one signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// Rebuilds a range of the prepared weights, numbered as [`Plan::preparations`](crate::plan::Plan::preparations) has
    /// them.
    Prepare,
    /// Carries a range of images through the net.
    Infer,
    /// Runs one part of a pass, numbered as [`Pass::parts`](crate::plan::Pass) has them, over a range of rows of one
    /// image.
    Part {
        /// The pass.
        pass: PassKind,
    },
    /// Carries a range of images, one slice, through a phase of forward and backward and leaves the slice's sums.
    Train {
        /// The phase.
        phase: usize,
    },
    /// Makes what the next phase needs of the sums of all slices.
    Gather {
        /// The phase that left them.
        phase: usize,
    },
    /// Sums the slices' gradients over a range of one weight.
    Reduce,
    /// Takes one optimizer step over a range of one weight.
    Update {
        /// The optimizer's rule.
        rule: Update,
    },
    /// Moves the running statistics of every batch normalisation.
    Track,
}

/// How a weight follows its gradient. See [`Optimizer`](crate::optimizer::Optimizer).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Update {
    /// By a running sum of gradients.
    Momentum,
    /// By the gradient and the running sum after it.
    Nesterov,
    /// By a running mean of gradients over the root of one of their squares.
    Adam,
}

impl Update {
    /// Every rule.
    pub const ALL: [Update; 3] = [Update::Momentum, Update::Nesterov, Update::Adam];
}

impl fmt::Display for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Update::Momentum => "momentum",
            Update::Nesterov => "nesterov",
            Update::Adam => "adam",
        })
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kernel::Tile(tile) => tile.fmt(f),
            Kernel::Block { pass, index } => write!(f, "{pass} block {index}"),
            Kernel::Step { pass, block, step } => write!(f, "{pass} block {block} step {step}"),
            Kernel::Entry(entry) => write!(f, "entry {entry}"),
        }
    }
}

impl fmt::Display for PassKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PassKind::Inference => "infer",
            PassKind::Training => "train",
        })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Prepare => f.write_str("prepare"),
            Entry::Infer => f.write_str("infer"),
            Entry::Part { pass } => write!(f, "{pass} part"),
            Entry::Train { phase } => write!(f, "train phase {phase}"),
            Entry::Gather { phase } => write!(f, "gather after phase {phase}"),
            Entry::Reduce => f.write_str("reduce"),
            Entry::Update { rule } => write!(f, "update by {rule}"),
            Entry::Track => f.write_str("track"),
        }
    }
}

/// Element types of a product. A second one (bf16 pairs, int8 quads) is a variant here and an arm in the makers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dot {
    /// float32 multiplicands, float32 sums.
    F32,
}

/// A run of `k` in which a fixed range of the tile's rows takes part.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    /// Offset of its first A element from the segment's, in elements.
    pub a: i64,
    /// Offset of its first B row from the segment's, in elements.
    pub b: i64,
    /// Steps.
    pub k: usize,
    /// Rows of the tile that take part.
    pub rows: Range<usize>,
}

/// What the sums start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Init {
    /// Zero.
    Zero,
    /// The bias of each column.
    Bias,
    /// What C holds: the tile accumulates.
    Load,
}

/// What happens to the sums before they are stored, in list order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Epilogue {
    /// `max(c, 0)`.
    Relu,
    /// Zero where the mask, laid out as C, is not positive.
    Mask,
}

/// A register tile. Strides are in elements of their operand and compiled in as constants.
///
/// Its function takes `(a, b, c, bias, mask, segments)`: five pointers, of which it reads those its init and epilogue
/// name, and the number of segments. It may read, but never uses, up to [`Tile::OVERREAD`] elements past a row of B, C or
/// the mask; it stores exactly `rows x cols`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Element types.
    pub dot: Dot,
    /// Rows (M).
    pub rows: usize,
    /// Columns (N); the last vector may be partial.
    pub cols: usize,
    /// From one row of A to the next.
    pub a_row: i64,
    /// From one k of A to the next.
    pub a_k: i64,
    /// From one segment of A to the next.
    pub a_segment: i64,
    /// From one k of B to the next.
    pub b_k: i64,
    /// From one segment of B to the next.
    pub b_segment: i64,
    /// From one row of C to the next.
    pub c_row: i64,
    /// Runs of k within a segment.
    pub groups: Vec<Group>,
    /// What the sums start from.
    pub init: Init,
    /// What happens to them before they are stored.
    pub epilogue: Vec<Epilogue>,
}

impl Tile {
    /// Elements past the end of an operand that a tile may touch with a partial vector.
    pub const OVERREAD: usize = 16;
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Dot::F32 = self.dot;
        write!(f, "tile f32 {}x{}", self.rows, self.cols)?;
        write!(f, " a {}/{}/{}", self.a_row, self.a_k, self.a_segment)?;
        write!(f, " b {}/{} c {}", self.b_k, self.b_segment, self.c_row)?;
        for Group { a, b, k, rows } in &self.groups {
            write!(f, " [{}..{} k {k} @{a}/{b}]", rows.start, rows.end)?;
        }
        write!(f, " {:?}", self.init)?;
        self.epilogue.iter().try_for_each(|epilogue| write!(f, " {epilogue:?}"))
    }
}

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
    /// The widths of a panel that can be had, in vectors, best first, each with the most rows that fit beside it.
    pub panels: &'static [(usize, usize)],
    /// Sums below which a step waits for the multiply-add before it.
    pub busy: usize,
}

impl Registers {
    /// The shape for products of `rows` rows (of one image, or a line of it) and `columns` columns: panels that divide the
    /// columns, then rows that leave the fewest and fullest tiles.
    pub fn shape(&self, rows: usize, columns: usize) -> TileShape {
        let total = columns.div_ceil(self.lanes);
        let narrowest = self.panels.iter().map(|&(vectors, _)| vectors).min().unwrap_or(1);
        let divides = |&&(vectors, _): &&(usize, usize)| total.is_multiple_of(vectors);
        let waste = |&&(vectors, _): &&(usize, usize)| {
            (total.next_multiple_of(vectors) - total, total / vectors)
        };
        let found = self.panels.iter().find(divides);
        let found = found.or_else(|| self.panels.iter().min_by_key(waste));
        let &(vectors, most) = found.expect("a target has panels");
        // Fewer vectors than the narrowest panel leave room for as many sums in more rows, up to twice.
        let most = if total < narrowest { 2 * most } else { most };
        let cost = |tile: usize| (tile * vectors).max(self.busy) + 1;
        let of_tiles = |tile: usize| match rows % tile {
            0 => rows / tile * cost(tile),
            rest => rows / tile * cost(tile) + cost(rest),
        };
        let best = (1..=most.min(rows)).rev().min_by_key(|&tile| of_tiles(tile));
        TileShape { rows: best.unwrap_or(1), cols: vectors * self.lanes }
    }
}
