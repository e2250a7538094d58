//! The tensors of a convolution in Winograd's domain: which of them there are, and how each is laid out. What a *spectrum* is, and
//! what its frequencies are, says [`winograd`](crate::compiler::winograd).

use super::algorithm::{Algorithm, Product, Reach, Winograd};
use super::{ALIGN, ConvPlan};
use crate::compiler::Elem;
use crate::compiler::geometry::ConvGeometry;

/// A tensor in Winograd's domain, of one convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Spectrum {
    /// The map that a product reads: the input, or for the input's gradient the output's gradient.
    Operand(Product),
    /// The output's gradient, for the kernel's.
    Grad,
    /// What the products leave: for the kernel's gradient sums that grow until the slice ends.
    Result(Product),
}

/// A spectrum's layout, `[frequency][row][channel]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpectrumLayout {
    /// Frequencies.
    pub frequencies: usize,
    /// Rows of one image or band: tiles, or of a kernel's gradient input channels of a group.
    pub rows: usize,
    /// Channels.
    pub channels: usize,
    /// What its numbers are stored as.
    pub elem: Elem,
    /// From one frequency to the next, in elements: one cache line more than a frequency takes. A transform touches the same
    /// place of every frequency in turn; without the extra line these places could be a multiple of a page apart, and would all
    /// compete for one set of the cache.
    pub stride: usize,
    /// How much it holds.
    pub reach: Reach,
}

impl SpectrumLayout {
    /// All of it.
    pub fn bytes(&self) -> usize {
        self.frequencies * self.stride * self.elem.bytes()
    }
}

impl Winograd {
    /// Tiles of a map of outputs, in rows and in each row.
    pub fn tiles(&self, (height, width): (usize, usize)) -> (usize, usize) {
        (self.size.tiles(height), self.size.tiles(width))
    }

    /// Rows of the matrix products for a map of outputs.
    pub fn rows(&self, outputs: (usize, usize), chunk: usize) -> usize {
        let (rows, columns) = self.tiles(outputs);
        match self.reach {
            Reach::Band => columns,
            Reach::Image => rows * columns,
            Reach::Chunk => chunk * rows * columns,
        }
    }
}

impl ConvPlan {
    /// The algorithm of a product, if it works in Winograd's domain.
    pub fn winograd(&self, product: Product) -> Option<Winograd> {
        match self.choice(product).algorithm {
            Algorithm::Direct => None,
            Algorithm::Winograd(winograd) => Some(winograd),
        }
    }

    /// How a product works in Winograd's domain.
    ///
    /// # Panics
    /// If it does not: a bug in nin.
    pub fn transformed(&self, product: Product) -> Winograd {
        self.winograd(product).expect("the product works in Winograd's domain (a bug in nin)")
    }

    /// The layout of a spectrum in a plan with chunks of so many images.
    ///
    /// # Panics
    /// If the product does not work in the domain: a bug in nin.
    pub fn spectrum(&self, spectrum: Spectrum, chunk: usize) -> SpectrumLayout {
        let product = spectrum.product();
        let winograd = self.transformed(product);
        let ConvGeometry { input, output, cin, .. } = self.geometry;
        let (inputs, channels) = (self.geometry.inputs(), self.geometry.outputs());
        let (outputs, operand, result) = match product {
            Product::Forward | Product::KernelGrad => (output, inputs, channels),
            Product::InputGrad => (input, channels, inputs),
        };
        let all = winograd.rows(outputs, chunk);
        let rows = if winograd.reach == Reach::Chunk { all / chunk } else { all };
        let (rows, all, channels) = match spectrum {
            Spectrum::Result(Product::KernelGrad) => (cin, cin, result),
            Spectrum::Operand(_) => (rows, all, operand),
            Spectrum::Grad | Spectrum::Result(_) => (rows, all, result),
        };
        SpectrumLayout {
            frequencies: winograd.size.frequencies(),
            rows,
            channels,
            elem: Elem::F32,
            stride: (all * channels).next_multiple_of(ALIGN) + ALIGN,
            reach: winograd.reach,
        }
    }
}

impl Spectrum {
    /// Which of a stage's operands it is the transform of.
    ///
    /// # Panics
    /// If it is none: a bug in nin.
    pub fn operand(self) -> usize {
        match self {
            Spectrum::Operand(Product::Forward | Product::InputGrad) | Spectrum::Grad => 0,
            Spectrum::Operand(Product::KernelGrad) => 1,
            Spectrum::Result(_) => unreachable!("products are no operand (a bug in nin)"),
        }
    }

    /// The product that reads or makes it.
    pub fn product(self) -> Product {
        match self {
            Spectrum::Operand(product) | Spectrum::Result(product) => product,
            Spectrum::Grad => Product::KernelGrad,
        }
    }
}
