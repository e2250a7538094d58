//! The algorithm of each product of a convolution, chosen by what it costs.
//!
//! The choice depends on the convolution's geometry alone: not on the batch, the instruction set or the machine, so that all of
//! them give the same bits. Costs are counted in multiply-adds of one vector lane; what other operations cost beside one was
//! fitted to measurements (a vector that is stored costs two, since a core stores half as many as it multiplies).

use std::fmt;
use std::str::FromStr;

use crate::geometry::{Axis, ConvGeometry, Correlation};
use crate::winograd::{Map, Role, Size, Straight};

/// The choice of algorithms, `--algo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algo {
    /// Whichever costs least, for each product of each convolution.
    #[default]
    Auto,
    /// The exact one, tap by tap.
    Direct,
    /// Winograd's wherever it can be had.
    Winograd,
}

impl Algo {
    /// Every choice.
    pub const ALL: [Algo; 3] = [Algo::Auto, Algo::Direct, Algo::Winograd];

    /// The word that chooses it, such as `direct`.
    pub fn word(self) -> &'static str {
        match self {
            Algo::Auto => "auto",
            Algo::Direct => "direct",
            Algo::Winograd => "winograd",
        }
    }

    /// What it is, in a few words.
    pub fn summary(self) -> &'static str {
        match self {
            Algo::Auto => "Whichever costs least, for each product of each convolution",
            Algo::Direct => "Tap by tap: sums of the products that define a convolution",
            Algo::Winograd => {
                "Winograd's wherever a convolution has stride 1 and more than one tap"
            }
        }
    }
}

impl fmt::Display for Algo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Algo {
    type Err = String;

    fn from_str(text: &str) -> Result<Algo, String> {
        let found = Algo::ALL.into_iter().find(|algo| algo.word() == text);
        found.ok_or_else(|| {
            let words = Algo::ALL.map(Algo::word).join(", ");
            format!("no algorithm `{text}`: it is one of {words}")
        })
    }
}

/// How a product of a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Tap by tap, by tiles over the maps as they lie.
    Direct,
    /// By transforms, and matrix products in between.
    Winograd(Winograd),
}

/// A product in Winograd's domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Winograd {
    /// The tile.
    pub size: Size,
    /// How much is in the domain at a time.
    pub reach: Reach,
}

/// How much is transformed before it is multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// A band: what it takes stays in cache, but every band reads all transformed weights.
    Band,
    /// One image.
    Image,
    /// All images of a chunk: so that the rows of a product are many, although an image has few tiles.
    Chunk,
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reach::Band => "by bands",
            Reach::Image => "by image",
            Reach::Chunk => "by chunk",
        })
    }
}

/// What a product costs, in multiply-adds of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// In matrix products.
    pub products: u64,
    /// In transforms.
    pub transforms: u64,
}

impl Cost {
    /// All of it.
    pub fn total(self) -> u64 {
        self.products + self.transforms
    }
}

/// The three products of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Product {
    /// The output.
    Forward,
    /// The input's gradient.
    InputGrad,
    /// The kernel's gradient.
    KernelGrad,
}

/// An algorithm and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// What it costs for one image.
    pub cost: Cost,
    /// What the direct algorithm costs.
    pub direct: u64,
}

/// Tiles an image needs at least if the rows of a product are to come from it alone: fewer leave registers idle and read the
/// transformed weights for little work.
const FEW_TILES: usize = 8;
/// Floats in the domain beyond which an image no longer stays in the second-level cache.
const IMAGE_FLOATS: usize = 640 << 10;
/// Multiply-adds in the time in which a float is written to the third-level cache and read again.
const SPILL: usize = 20;
/// Floats of a chunk in the domain that a kernel's gradient may take.
const CHUNK_FLOATS: usize = 1536 << 10;
/// Floats of transformed weights that each band may read again.
const WEIGHT_FLOATS: usize = 128 << 10;
/// Images of a chunk, as far as costs go; batches with smaller chunks get the same algorithms.
const CHUNK: usize = 4;
/// Lanes of the widest vector: a transform of fewer channels costs as much.
const LANES: usize = 16;

/// Tiles of `m` outputs along an axis.
fn tiles(axis: &Axis, size: Size) -> usize {
    axis.outputs.div_ceil(size.outputs)
}

/// Chooses the algorithm of a product of a convolution.
pub(super) fn choose(geometry: &ConvGeometry, product: Product, algo: Algo) -> Choice {
    let correlation = match product {
        Product::Forward | Product::KernelGrad => geometry.forward(),
        Product::InputGrad => geometry.input_grad()[0].correlation,
    };
    let direct = direct(&correlation, product, geometry);
    let exact = Choice {
        algorithm: Algorithm::Direct,
        cost: Cost { products: direct, transforms: 0 },
        direct,
    };
    let square = geometry.kernel.0 == geometry.kernel.1 && geometry.stride == 1;
    if algo == Algo::Direct || !square {
        return exact;
    }
    let others = Size::all(geometry.kernel.0).map(|size| {
        let algorithm =
            Algorithm::Winograd(Winograd { size, reach: reach(&correlation, size, product) });
        Choice { algorithm, cost: cost(&correlation, size, product), direct }
    });
    let best = others.min_by_key(|choice| choice.cost.total());
    match (algo, best) {
        (Algo::Winograd, Some(best)) => best,
        (_, Some(best)) if 10 * best.cost.total() < 9 * direct => best,
        _ => exact,
    }
}

/// Multiply-adds of the direct algorithm: of real taps alone.
fn direct(correlation: &Correlation, product: Product, geometry: &ConvGeometry) -> u64 {
    let real = |axis: &Axis| (0..axis.outputs).map(|o| axis.real_taps(o).len()).sum::<usize>();
    let Correlation { y, x, inputs, outputs, .. } = correlation;
    let phases = match product {
        Product::InputGrad => geometry.input_grad().len(),
        Product::Forward | Product::KernelGrad => 1,
    };
    (phases * real(y) * real(x) * inputs * outputs) as u64
}

/// What a transform of one tile costs a channel: its operations, its loads, and its stores twice.
fn transform(size: Size, role: Role) -> usize {
    let map = Map { size, role };
    let steps = Straight::of(&map.matrix()).steps.len();
    let (from, to) = (map.from(), map.to());
    let operations = (from + to) * steps;
    let (loads, stores) = (from * from + to * from, to * from + to * to);
    operations + loads + 2 * stores
}

fn cost(correlation: &Correlation, size: Size, product: Product) -> Cost {
    let Correlation { y, x, inputs, outputs, .. } = correlation;
    let tiles = tiles(y, size) * tiles(x, size);
    let lanes = |channels: usize| channels.next_multiple_of(LANES);
    let (of_inputs, of_outputs, passes) = match product {
        // A sum is stored once, whatever it sums.
        Product::Forward | Product::InputGrad => (
            transform(size, Role::Input),
            transform(size, Role::Output),
            tiles * (inputs + 4) * outputs,
        ),
        // Sums are loaded and stored once a chunk.
        Product::KernelGrad => (
            transform(size, Role::Input),
            transform(size, Role::OutputGrad),
            (tiles + 4 / CHUNK) * inputs * outputs,
        ),
    };
    let spectra = size.frequencies() * tiles * (inputs + outputs);
    let spilled = match reach(correlation, size, product) {
        Reach::Image | Reach::Chunk if spectra > IMAGE_FLOATS => SPILL * spectra,
        Reach::Band | Reach::Image | Reach::Chunk => 0,
    };
    Cost {
        products: (size.frequencies() * passes) as u64,
        transforms: (tiles * (lanes(*inputs) * of_inputs + lanes(*outputs) * of_outputs) + spilled)
            as u64,
    }
}

fn reach(correlation: &Correlation, size: Size, product: Product) -> Reach {
    let Correlation { y, x, inputs, outputs, .. } = correlation;
    let tiles = tiles(y, size) * tiles(x, size);
    let spectra = size.frequencies() * tiles * (inputs + outputs);
    let weights = size.frequencies() * inputs * outputs;
    match product {
        Product::KernelGrad if CHUNK * spectra > CHUNK_FLOATS => Reach::Image,
        Product::KernelGrad => Reach::Chunk,
        Product::Forward if spectra > IMAGE_FLOATS && weights <= WEIGHT_FLOATS => Reach::Band,
        Product::Forward | Product::InputGrad if tiles < FEW_TILES => Reach::Chunk,
        Product::Forward | Product::InputGrad => Reach::Image,
    }
}
