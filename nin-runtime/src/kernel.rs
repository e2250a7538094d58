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

use crate::codegen::Isa;
use crate::winograd::{self, Map, Rational, Straight};

/// A machine function's name: the key under which it is found, and what a profile calls it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// A register tile, shared by all that ask for the same.
    Tile(Tile),
    /// A transform of Winograd's algorithm, shared by all that ask for the same.
    Transform(Transform),
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
    /// Rebuilds what is prepared of one strip of the weights, numbered as [`Plan::strip_groups`](crate::plan::Plan::strip_groups)
    /// has them.
    Strip,
    /// Takes one optimizer step over some columns of a matrix of weights.
    Follow {
        /// The optimizer's rule.
        rule: Update,
    },
    /// A function that Rust calls.
    Entry(Entry),
    /// A function of the C interface of a library compiled ahead.
    Export(Export),
    /// What no intermediate code can say.
    Machine(Machine),
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
    /// Rebuilds what is prepared of a range of strips.
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
    /// Sums the slices' gradients over a range of floats: for whoever asks for the gradients themselves, or for their norm.
    Reduce,
    /// Sums the slices' gradients over a range of strips, unless that is done, takes one optimizer step and rebuilds what is
    /// prepared.
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

/// The functions of a library's C interface. What each takes and returns is in `codegen::front`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Export {
    /// Carries images to their results.
    Forward(Prepared),
    /// Makes prepared weights of weights as files hold them.
    Prepare,
    /// Begins a training with weights, and perhaps momentum, as files hold them.
    Load,
    /// Takes one training step.
    Step,
    /// Lays weights, and perhaps momentum, out as files hold them.
    Save,
    /// Whether this CPU runs the library.
    Supported,
    /// The number of the fastest instruction set that this CPU has, asked once; not for callers.
    Level,
    /// A size that callers reserve.
    Size(Size),
    /// A constant text or table.
    Constant(Constant),
    /// The name of a class.
    ClassName,
}

/// Where a library's prepared weights are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prepared {
    /// Among its constants.
    Embedded,
    /// Where each call says.
    Passed,
    /// In the state of a training.
    State,
}

/// The sizes of a library's interface, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Size {
    /// Memory that a call works in.
    Workspace,
    /// Prepared weights.
    Prepared,
    /// The state of a training.
    State,
}

/// The constants of a library's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Constant {
    /// The version of nin, a text.
    Version,
    /// What is subtracted from each channel.
    Mean,
    /// What each channel is then divided by.
    Deviation,
}

/// Functions written in machine code, for registers that no intermediate code knows. They keep to System V's convention
/// on x86-64 and to the platform's elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Machine {
    /// Sets flush-to-zero, of results and of operands, and returns the setting before.
    Flush,
    /// Restores a setting.
    Restore,
    /// Asks the CPU and what the system keeps of it for the best level, as `codegen::level` numbers them; 0 if it has none.
    Detect,
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kernel::Tile(tile) => tile.fmt(f),
            Kernel::Transform(transform) => transform.fmt(f),
            Kernel::Block { pass, index } => write!(f, "{pass} block {index}"),
            Kernel::Step { pass, block, step } => write!(f, "{pass} block {block} step {step}"),
            Kernel::Strip => f.write_str("strip"),
            Kernel::Follow { rule } => write!(f, "follow by {rule}"),
            Kernel::Entry(entry) => write!(f, "entry {entry}"),
            Kernel::Export(export) => export.fmt(f),
            Kernel::Machine(machine) => machine.fmt(f),
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

impl fmt::Display for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Export::Forward(_) => "forward",
            Export::Prepare => "prepare",
            Export::Load => "load",
            Export::Step => "step",
            Export::Save => "save",
            Export::Supported => "supported",
            Export::Level => "level",
            Export::Size(Size::Workspace) => "workspace_bytes",
            Export::Size(Size::Prepared) => "prepared_bytes",
            Export::Size(Size::State) => "state_bytes",
            Export::Constant(Constant::Version) => "version",
            Export::Constant(Constant::Mean) => "mean",
            Export::Constant(Constant::Deviation) => "deviation",
            Export::ClassName => "class_name",
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Machine::Flush => "flush denormals",
            Machine::Restore => "restore control",
            Machine::Detect => "detect",
        })
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
/// name, and the number of segments. It may read, but never uses, elements past a row of B, of the bias, of C where it
/// starts from that, and of the mask, as far as [`overread`] says; of A it reads what it uses, and it stores exactly
/// `rows x cols`.
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
    /// Elements that are left free behind what tiles and transforms read by vectors: a cache line, which is more than any
    /// [`overread`], so that what follows begins on one too.
    pub const OVERREAD: usize = 16;
}

/// How many elements past a row of so many columns (or a position of so many channels) the vectors of an instruction set
/// reach. Half a vector is enough for AVX-512 where it is enough for the rest of a row; portable transforms work on a rest
/// one by one, and reach no further than its end.
pub fn overread(isa: Isa, columns: usize) -> usize {
    let vector = match isa {
        Isa::Auto | Isa::Portable => 4,
        Isa::Avx2 | Isa::Avx512 => 8,
    };
    columns.next_multiple_of(vector) - columns
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

/// A linear map along both directions of a small map of vectors:
///
/// ```text
/// to[i, j] = epilogue(init + sum over y, x of map[i, y] * from[y, x] * map[j, x])
/// ```
///
/// for each of `channels` neighbouring floats. Strides are in elements.
///
/// Its function takes `(from, scratch, to, bias, mask)`: five pointers, of which it reads those its init and epilogue name. Position
/// (0, 0) of `from` need not be real. It overwrites [`Transform::SCRATCH`] floats of scratch. Past a position's channels it may
/// read, but never uses, as many elements as [`overread`] says; it stores exactly the channels.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transform {
    /// The map in each direction.
    pub map: Map,
    /// Channels.
    pub channels: usize,
    /// From one row of positions that are read to the next, and from one position to the next.
    pub from: [i64; 2],
    /// The rows, and the positions of a row, that are real; others are zero.
    pub real: [Range<usize>; 2],
    /// From one row of positions that are written to the next, and from one position to the next.
    pub to: [i64; 2],
    /// Rows, and positions of a row, that are written, from the first on.
    pub wanted: [usize; 2],
    /// What a result starts from.
    pub init: Init,
    /// What happens to it before it is stored.
    pub epilogue: Vec<Epilogue>,
}

impl Transform {
    /// Floats for the rows between the two directions and for constants: vectors are of at most 16 floats, and no map has more
    /// constants than numbers.
    pub const SCRATCH: usize =
        Transform::CONSTANTS + 2 * winograd::Size::MOST * winograd::Size::MOST;
    /// Where in scratch constants lie.
    pub const CONSTANTS: usize = winograd::Size::MOST * winograd::Size::MOST * 16;

    /// Whether products are added without rounding them first. Weights are prepared the same on every instruction set,
    /// those without such an instruction too.
    pub fn is_fused(&self) -> bool {
        self.map.role != winograd::Role::Kernel
    }

    /// The map along one direction (0: from row to row; 1: along a row) as straight-line code: of the real positions, to those
    /// that are wanted.
    pub fn straight(&self, direction: usize) -> Straight {
        let matrix = self.map.matrix();
        let wanted = matrix.iter().take(self.wanted[direction]);
        let real = |row: &Vec<Rational>| row[self.real[direction].clone()].to_vec();
        Straight::of(&wanted.map(real).collect::<Vec<_>>())
    }
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [y, x] = &self.real;
        write!(f, "transform {} of {} channels", self.map, self.channels)?;
        write!(f, " [{}..{}, {}..{}]", y.start, y.end, x.start, x.end)?;
        write!(f, " @{}/{}", self.from[0], self.from[1])?;
        write!(f, " to {}x{} @{}/{}", self.wanted[0], self.wanted[1], self.to[0], self.to[1])?;
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
