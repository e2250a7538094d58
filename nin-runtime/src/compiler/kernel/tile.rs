//! [`Tile`], the register tile of a matrix product, and [`Transform`], the linear map along both directions of a small map of vectors.
//!
//! One tile spec serves forward, input gradient and kernel gradient:
//!
//! ```text
//! C[m, n] = epilogue(init + sum over segments, groups, k of A[m, k] * B[k, n])     m in group.rows
//! ```
//!
//! A depthwise convolution's tile has an A for each column: `A[m, k, n]`, whose columns are neighbours. So has a pool's, which
//! has no B: it takes the maximum.
//!
//! A *segment* is a kernel row (forward, input gradient) or a row of pixels (kernel gradient); their number is a run-time
//! argument, because it depends on how near the border the tile is. A *group* is a run of k for which the same rows of
//! the tile see real pixels: borders are compiled into groups, so no operand is ever padded or copied.

use std::fmt;
use std::ops::Range;

use crate::compiler::winograd::{self, Map, Rational, Straight};
use crate::compiler::{Elem, Isa};

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
pub enum InitialSum {
    /// Zero.
    Zero,
    /// The bias of each column.
    Bias,
    /// What C holds: the tile accumulates.
    Load,
    /// Minus infinity.
    Lowest,
}

/// What a tile does with the numbers of each k.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// Adds `A[m, k] * B[k, n]`.
    Product,
    /// Adds `A[m, k, n] * B[k, n]`.
    ByColumn,
    /// Takes `A[m, k, n]` unless what there is already is larger, or is NaN.
    Maximum,
}

impl Reduction {
    /// Whether A has a number for each column, side by side; else all columns share one.
    pub fn by_column(self) -> bool {
        match self {
            Reduction::Product => false,
            Reduction::ByColumn | Reduction::Maximum => true,
        }
    }
}

/// What happens to the sums before they are stored, in list order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Epilogue {
    /// `max(c, 0)`.
    Relu,
    /// `min(max(c, 0), 6)`.
    Relu6,
    /// `c` times the slope where it is negative.
    LeakyRelu {
        /// The slope, not negative.
        slope: Scalar,
    },
    /// `min(max(c + 3, 0), 6) / 6`.
    HardSigmoid,
    /// `c min(c + 3, 6) / 6`, where `c` is at least -3.
    HardSwish,
    /// `c` times a number.
    Scale {
        /// The number.
        by: Scalar,
    },
    /// Zero where the mask is not positive.
    Mask,
    /// `c + d`, where `d` stands in the mask's place: a tile has one of the two.
    Add,
}

/// A float32 by its bits, so that specs can be compared.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scalar(pub u32);

impl Scalar {
    /// That of a number, rounded.
    pub fn of(number: f64) -> Scalar {
        Scalar((number as f32).to_bits())
    }

    /// The number.
    pub fn value(self) -> f32 {
        f32::from_bits(self.0)
    }
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value().fmt(f)
    }
}

/// A register tile. Strides are in elements of their operand and compiled in as constants.
///
/// Its function takes `(a, b, c, bias, mask, segments)`: five pointers, of which it reads those its init and epilogue
/// name, and the number of segments. It may read, but never uses, elements past a row of B, of the bias, of C where it
/// starts from that, of the mask, and of A where that has columns, as far as [`overread`] says; of another A it reads what
/// it uses, and it stores exactly `rows x cols`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// What its operands are stored as; sums are float32.
    pub elems: Elems,
    /// Rows (M).
    pub rows: usize,
    /// Columns (N); the last vector may be partial.
    pub cols: usize,
    /// From one row of A to the next.
    pub a_row: i64,
    /// From one k of A to the next.
    pub a_k: i64,
    /// What is done with the numbers of each k.
    pub reduction: Reduction,
    /// From one segment of A to the next.
    pub a_segment: i64,
    /// From one k of B to the next.
    pub b_k: i64,
    /// From one segment of B to the next.
    pub b_segment: i64,
    /// From one row of C to the next.
    pub c_row: i64,
    /// From one row of what the epilogue reads beside C to the next; as of C if it reads nothing.
    pub beside_row: i64,
    /// Runs of k within a segment.
    pub groups: Vec<Group>,
    /// What the sums start from.
    pub init: InitialSum,
    /// What happens to them before they are stored.
    pub epilogue: Vec<Epilogue>,
}

/// What the operands of a tile are stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Elems {
    /// A.
    pub a: Elem,
    /// B.
    pub b: Elem,
    /// C.
    pub c: Elem,
    /// What the epilogue reads beside C; as C if it reads nothing.
    pub beside: Elem,
}

impl fmt::Display for Elems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Elems { a, b, c, beside } = self;
        match [b, c, beside].iter().all(|elem| *elem == a) {
            true => a.fmt(f),
            false => write!(f, "{a}*{b}->{c}/{beside}"),
        }
    }
}

impl Epilogue {
    /// What the second of two bounds is, if it has one.
    pub const SIX: f32 = 6.0;
    /// What its values are divided by: six of them are one in float32, too.
    pub const SIXTH: f32 = 1.0 / 6.0;

    /// Whether it reads something beside C.
    pub fn reads_beside(self) -> bool {
        match self {
            Epilogue::Relu
            | Epilogue::Relu6
            | Epilogue::LeakyRelu { .. }
            | Epilogue::HardSigmoid
            | Epilogue::HardSwish
            | Epilogue::Scale { .. } => false,
            Epilogue::Mask | Epilogue::Add => true,
        }
    }
}

impl Tile {
    /// Bytes that are left free behind what tiles and transforms read by vectors: a cache line, which is more than any
    /// [`overread`], so that what follows begins on one too.
    pub const OVERREAD: usize = 64;
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
        write!(f, "tile {} {}x{}", self.elems, self.rows, self.cols)?;
        write!(f, " a {}/{}/{}", self.a_row, self.a_k, self.a_segment)?;
        match self.reduction {
            Reduction::Product => write!(f, " b {}/{}", self.b_k, self.b_segment)?,
            Reduction::ByColumn => write!(f, " by column b {}/{}", self.b_k, self.b_segment)?,
            Reduction::Maximum => f.write_str(" by column, maximum")?,
        }
        write!(f, " c {}", self.c_row)?;
        if self.beside_row != self.c_row {
            write!(f, " beside {}", self.beside_row)?;
        }
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
    /// What positions that are read, those that are written, and what the epilogue reads beside those are stored as.
    pub elems: [Elem; 3],
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
    /// The same of what the epilogue reads beside the result; as `to` if it reads nothing.
    pub beside: [i64; 2],
    /// Rows, and positions of a row, that are written, from the first on.
    pub wanted: [usize; 2],
    /// What a result starts from.
    pub init: InitialSum,
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
        self.map.role != winograd::MapRole::Kernel
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
        let [from, to, beside] = self.elems;
        write!(f, "transform ")?;
        if [to, beside] != [from; 2] {
            write!(f, "{from}->{to}/{beside} ")?;
        }
        write!(f, "{} of {} channels", self.map, self.channels)?;
        write!(f, " [{}..{}, {}..{}]", y.start, y.end, x.start, x.end)?;
        write!(f, " @{}/{}", self.from[0], self.from[1])?;
        write!(f, " to {}x{} @{}/{}", self.wanted[0], self.wanted[1], self.to[0], self.to[1])?;
        if self.beside != self.to {
            write!(f, " beside @{}/{}", self.beside[0], self.beside[1])?;
        }
        write!(f, " {:?}", self.init)?;
        self.epilogue.iter().try_for_each(|epilogue| write!(f, " {epilogue:?}"))
    }
}
