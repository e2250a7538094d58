//! Winograd's algorithm: a small correlation with fewer multiplications than taps times outputs.
//!
//! F(m, k) makes `m` outputs of a correlation with `k` taps from `n = m + k - 1` inputs `d` by `n` multiplications:
//!
//! ```text
//! y = A^T [ (G g) . (B^T d) ]
//! ```
//!
//! In two directions the same holds with each matrix on both sides, `n x n` multiplications instead of `m m k k`, and summed
//! over input channels the multiplications of one of the `n x n` *frequencies* are a matrix product. Transposing the bilinear
//! form gives the gradients: the input's by a correlation with flipped taps, the kernel's as `G^T [ (A dy) . (B^T d) ]`.
//!
//! The matrices are Cook and Toom's: the product of two polynomials is interpolated from its values at `n - 1` points and its
//! leading coefficient. Here they are derived exactly, in rational numbers (Lavin and Gray, "Fast Algorithms for
//! Convolutional Neural Networks", 2016; Blahut, "Fast Algorithms for Signal Processing", 2010, chapter 5).

mod straight;

use std::fmt;

use num_rational::Ratio;

pub use straight::{Straight, Term};

/// An exact coefficient.
pub type Rational = Ratio<i64>;

/// The size of the algorithm, F(m x m, k x k).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Size {
    /// Outputs of a tile in each direction, `m`.
    pub outputs: usize,
    /// Taps in each direction, `k`.
    pub taps: usize,
}

impl Size {
    /// Most inputs of a tile in each direction. Errors grow with them, tenfold from four to eight: `docs/numerics.md` has the
    /// bound.
    pub const MOST: usize = 8;

    /// Every size there is code for, for kernels of `taps` by `taps`: at least two outputs, at most [`Size::MOST`] inputs.
    pub fn all(taps: usize) -> impl Iterator<Item = Size> {
        let most = (Size::MOST + 1).saturating_sub(taps);
        (2..=most).filter(move |_| taps > 1).map(move |outputs| Size { outputs, taps })
    }

    /// Inputs of a tile in each direction, `n`.
    pub fn inputs(self) -> usize {
        self.outputs + self.taps - 1
    }

    /// Tiles of a line of outputs; the last may be cut off.
    pub fn tiles(self, outputs: usize) -> usize {
        outputs.div_ceil(self.outputs)
    }

    /// Products that a tile takes instead of `m m k k`.
    pub fn frequencies(self) -> usize {
        self.inputs() * self.inputs()
    }

    /// The finite points at which polynomials are evaluated.
    ///
    /// Those whose matrices round least, of small numbers and their inverses; `tests::points_round_least` looks.
    fn points(self) -> Vec<Rational> {
        let points: &[(i64, i64)] = match self.inputs() {
            3 => &[(0, 1), (1, 1)],
            4 => &[(0, 1), (1, 1), (-1, 1)],
            5 => &[(0, 1), (3, 2), (-3, 2), (2, 3)],
            6 => &[(0, 1), (3, 2), (-3, 2), (2, 3), (-2, 3)],
            7 => &[(0, 1), (1, 1), (-1, 1), (2, 1), (-2, 1), (1, 2)],
            8 => &[(0, 1), (1, 1), (-1, 1), (2, 1), (-2, 1), (1, 2), (-1, 2)],
            inputs => unreachable!("no size has {inputs} inputs (a bug in nin)"),
        };
        points.iter().map(|&(numerator, denominator)| Ratio::new(numerator, denominator)).collect()
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Size { outputs, taps } = self;
        write!(f, "F({outputs}x{outputs}, {taps}x{taps})")
    }
}

/// What a transform is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapRole {
    /// `B^T`, of the input.
    Input,
    /// `G`, of the kernel.
    Kernel,
    /// `A^T`, of the products, to the output.
    Output,
    /// `A`, of the output's gradient.
    OutputGrad,
    /// `G^T`, of the summed products, to the kernel's gradient.
    KernelGrad,
}

/// One of the algorithm's linear maps, in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Map {
    /// Of which algorithm.
    pub size: Size,
    /// What it transforms.
    pub role: MapRole,
}

impl Map {
    /// Numbers it reads.
    pub fn from(self) -> usize {
        let Size { outputs, taps } = self.size;
        match self.role {
            MapRole::Input | MapRole::Output | MapRole::KernelGrad => self.size.inputs(),
            MapRole::Kernel => taps,
            MapRole::OutputGrad => outputs,
        }
    }

    /// Numbers it makes.
    pub fn to(self) -> usize {
        let Size { outputs, taps } = self.size;
        match self.role {
            MapRole::Input | MapRole::Kernel | MapRole::OutputGrad => self.size.inputs(),
            MapRole::Output => outputs,
            MapRole::KernelGrad => taps,
        }
    }

    /// Its matrix, a row for each number it makes.
    pub fn matrix(self) -> Vec<Vec<Rational>> {
        Matrices::at(&self.size.points(), self.size).of(self.role)
    }
}

impl fmt::Display for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            MapRole::Input => "input",
            MapRole::Kernel => "kernel",
            MapRole::Output => "output",
            MapRole::OutputGrad => "output gradient",
            MapRole::KernelGrad => "kernel gradient",
        };
        write!(f, "{} of {role}", self.size)
    }
}

/// The three matrices for some points, with a row for each point and one for the leading coefficient.
struct Matrices {
    size: Size,
    /// `B^T`, `[n][n]`: with leading coefficients 1, so that it depends on the points alone.
    input: Vec<Vec<Rational>>,
    /// `G`, `[n][k]`.
    kernel: Vec<Vec<Rational>>,
    /// `A`, `[n][m]`.
    output: Vec<Vec<Rational>>,
}

impl Matrices {
    fn at(points: &[Rational], size: Size) -> Matrices {
        let (zero, one) = (Ratio::new(0, 1), Ratio::new(1, 1));
        let others = |number: Option<usize>| {
            let others = points.iter().enumerate().filter(move |&(other, _)| Some(other) != number);
            others.map(|(_, &point)| point)
        };
        // Coefficients of the product of (x - p), lowest first, filled up with zeros.
        let product = |number: Option<usize>| {
            let mut product = vec![one];
            for point in others(number) {
                product.insert(0, zero);
                for power in 0..product.len() - 1 {
                    let above = product[power + 1];
                    product[power] -= point * above;
                }
            }
            product.resize(size.inputs(), zero);
            product
        };
        let powers = |point: Rational, count: usize| -> Vec<Rational> {
            std::iter::successors(Some(one), |&power| Some(power * point)).take(count).collect()
        };
        let leading = |count: usize| {
            let mut row = vec![zero; count];
            row[count - 1] = one;
            row
        };
        let numbers = 0..points.len();
        let input = numbers.clone().map(|number| product(Some(number))).chain([product(None)]);
        let kernel = numbers.clone().map(|number| {
            let point = points[number];
            let scale: Rational = others(Some(number)).map(|other| point - other).product();
            powers(point, size.taps).into_iter().map(|power| power / scale).collect()
        });
        let output = numbers.map(|number| powers(points[number], size.outputs));
        Matrices {
            size,
            input: input.collect(),
            kernel: kernel.chain([leading(size.taps)]).collect(),
            output: output.chain([leading(size.outputs)]).collect(),
        }
    }

    fn of(self, role: MapRole) -> Vec<Vec<Rational>> {
        match role {
            MapRole::Input => self.input,
            MapRole::Kernel => self.kernel,
            MapRole::OutputGrad => self.output,
            MapRole::Output => transposed(&self.output, self.size.outputs),
            MapRole::KernelGrad => transposed(&self.kernel, self.size.taps),
        }
    }
}

fn transposed(rows: &[Vec<Rational>], columns: usize) -> Vec<Vec<Rational>> {
    (0..columns).map(|column| rows.iter().map(|row| row[column]).collect()).collect()
}

#[cfg(test)]
mod tests;
