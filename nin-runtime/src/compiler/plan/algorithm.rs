//! The algorithm of each product of a convolution, chosen by what it costs.
//!
//! The choice depends on the convolution's geometry, on how large the model's weights are and on how many images a chunk has, which share
//! the reading of them: not on the instruction set or the machine.
//!
//! The unit of cost is one multiply-add in one lane of a vector. A load counts as one such unit and a store as two, because a core
//! stores half as many vectors in a cycle as it multiplies. The constants below were fitted to measurements.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use nin_dsl::graph::{Graph, NodeId, Weight};
use nin_dsl::shape::{Shape, Window};

use super::CHUNK;
use super::geometry_of;
use crate::compiler::Elem;
use crate::compiler::geometry::{Axis, ConvGeometry, Correlation};
use crate::compiler::winograd::{Map, MapRole, Size, Straight};

/// The choice of an algorithm, a word of `--algo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algo {
    /// Whichever costs least, for each product of each convolution.
    #[default]
    Auto,
    /// The exact one, tap by tap.
    Direct,
    /// Winograd's wherever it can be had, of the size that costs least.
    Winograd,
    /// Winograd's with so many outputs a tile in each direction, where there is that size.
    Outputs(usize),
}

impl Algo {
    /// Every choice but that of a size.
    pub const ALL: [Algo; 3] = [Algo::Auto, Algo::Direct, Algo::Winograd];
}

impl fmt::Display for Algo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Algo::Auto => f.write_str("auto"),
            Algo::Direct => f.write_str("direct"),
            Algo::Winograd => f.write_str("winograd"),
            Algo::Outputs(outputs) => write!(f, "winograd{outputs}"),
        }
    }
}

impl FromStr for Algo {
    type Err = String;

    fn from_str(text: &str) -> Result<Algo, String> {
        let sized = || (2..Size::MOST).map(Algo::Outputs);
        let found = Algo::ALL.into_iter().chain(sized()).find(|algo| algo.to_string() == text);
        found.ok_or_else(|| {
            format!(
                "no algorithm `{text}`: it is one of {}, or winograd2 to winograd{}",
                Algo::ALL.map(|algo| algo.to_string()).join(", "),
                Size::MOST - 1
            )
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

/// What a product costs an image, in multiply-adds of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// In matrix products.
    pub products: u64,
    /// In transforms.
    pub transforms: u64,
    /// In reading weights that no cache near has kept.
    pub weights: u64,
}

impl Cost {
    /// All of it.
    pub fn total(self) -> u64 {
        self.products + self.transforms + self.weights
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

impl Product {
    /// Each of them.
    pub const ALL: [Product; 3] = [Product::Forward, Product::InputGrad, Product::KernelGrad];

    /// The word for it in `--algo`.
    pub fn word(self) -> &'static str {
        match self {
            Product::Forward => "forward",
            Product::InputGrad => "input-grad",
            Product::KernelGrad => "kernel-grad",
        }
    }
}

/// An algorithm and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// What it costs for one image.
    pub cost: Cost,
    /// The multiply-adds of the direct algorithm.
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
const CHUNK_FLOATS: usize = 3 << 20;
/// Floats of transformed weights that each band may read again.
const WEIGHT_FLOATS: usize = 128 << 10;
/// Lanes of the widest vector: a transform of fewer channels costs as much.
const LANES: usize = 16;

/// What all convolutions of a plan have to pay alike.
pub(super) struct Prices {
    /// What Winograd's transforms cost, each derived once.
    transforms: HashMap<Map, usize>,
    /// Multiply-adds in the time in which a weight is read from where it lay since the last call.
    weight: usize,
    /// Images that are carried through a convolution before the next one, for which its weights are read once.
    chunk: usize,
}

/// Where a model's weights lie from call to call, by the bytes that they take in Winograd's domain at most, and what it costs to read one
/// from there.
const WEIGHTS: [(usize, usize); 2] = [(2 << 20, 1), (16 << 20, 12)];
/// The same of larger models, which no cache keeps.
const FAR_WEIGHT: usize = 20;
/// How much larger kernels become in Winograd's domain, about.
const GROWTH: usize = 4;

/// Every algorithm that can compute a product of a convolution, under the word that asks for it; the direct one first.
pub(super) fn choices(
    prices: &mut Prices,
    geometry: &ConvGeometry,
    product: Product,
) -> Vec<(Algo, Choice)> {
    let correlation = match product {
        Product::Forward | Product::KernelGrad => geometry.forward(),
        Product::InputGrad => geometry.input_grad()[0].correlation,
    };
    let direct = direct(&correlation, product, geometry);
    let weights = prices.weights(&correlation, geometry.window.taps(), product);
    let exact = Choice {
        algorithm: Algorithm::Direct,
        cost: Cost { products: direct, transforms: 0, weights },
        direct,
    };
    let winograd = sizes_of(geometry).map(|size| {
        let algorithm =
            Algorithm::Winograd(Winograd { size, reach: reach(&correlation, size, product) });
        let cost = cost(prices, &correlation, size, product);
        let choice = Choice { algorithm, cost, direct };
        (Algo::Outputs(size.outputs), choice)
    });
    [(Algo::Direct, exact)].into_iter().chain(winograd).collect()
}

/// Chooses the algorithm of a product of a convolution.
pub(super) fn choose(
    prices: &mut Prices,
    geometry: &ConvGeometry,
    (product, algo): (Product, Algo),
) -> Choice {
    let choices = choices(prices, geometry, product);
    let (&(_, exact), others) =
        choices.split_first().expect("every product has the direct algorithm (a bug in nin)");
    let cost = |choice: &Choice| choice.cost.total();
    let cheapest = || others.iter().map(|&(_, choice)| choice).min_by_key(cost);
    match algo {
        Algo::Auto => cheapest().filter(|best| 10 * cost(best) < 9 * cost(&exact)).unwrap_or(exact),
        Algo::Direct => exact,
        Algo::Winograd => cheapest().unwrap_or(exact),
        Algo::Outputs(_) => {
            let sized = others.iter().find(|(word, _)| *word == algo);
            sized.map_or(exact, |&(_, choice)| choice)
        }
    }
}

/// Every size of Winograd's algorithm that a convolution of a graph can take.
pub(super) fn sizes(graph: &Graph, id: NodeId) -> Vec<Size> {
    match graph.node(id).shape {
        Shape::Map { .. } => geometry_of(graph, id).iter().flat_map(sizes_of).collect(),
        // A vector is one product of the chunk's images.
        Shape::Vector { .. } => vec![],
    }
}

/// The sizes for a geometry: of square kernels with stride 1 and without gaps, over more than one input channel.
fn sizes_of(geometry: &ConvGeometry) -> impl Iterator<Item = Size> + use<> {
    let ConvGeometry { window: Window { y, x }, depthwise, .. } = *geometry;
    let has_sizes = y.kernel == x.kernel
        && [y, x].iter().all(|slide| slide.stride == 1 && slide.dilation == 1)
        && !depthwise;
    Size::all(y.kernel).filter(move |_| has_sizes)
}

/// Multiply-adds of the direct algorithm: of real taps alone.
fn direct(correlation: &Correlation, product: Product, geometry: &ConvGeometry) -> u64 {
    let real = |axis: &Axis| (0..axis.outputs).map(|o| axis.real_taps(o).len()).sum::<usize>();
    let Correlation { inputs, outputs, groups, .. } = correlation;
    let meetings = |of: &Correlation| real(&of.y) * real(&of.x);
    let meetings = match product {
        Product::InputGrad => {
            geometry.input_grad().iter().map(|phase| meetings(&phase.correlation)).sum()
        }
        Product::Forward | Product::KernelGrad => meetings(correlation),
    };
    (meetings * inputs * outputs * groups) as u64
}

impl Prices {
    /// The prices of a graph's convolutions, of which each carries a chunk of images.
    pub(super) fn of(graph: &Graph, chunk: usize) -> Prices {
        let floats: usize = graph.weights().iter().map(Weight::elements).sum();
        let bytes = GROWTH * Elem::F32.bytes() * floats;
        let found = WEIGHTS.iter().find(|(most, _)| bytes <= *most);
        let weight = found.map_or(FAR_WEIGHT, |(_, price)| *price);
        Prices { transforms: HashMap::new(), weight, chunk }
    }

    /// What it costs an image to read a kernel for a product: `of_pair` weights for each pair of channels.
    fn weights(&self, correlation: &Correlation, of_pair: usize, product: Product) -> u64 {
        let Correlation { inputs, outputs, groups, .. } = correlation;
        match product {
            Product::Forward | Product::InputGrad => {
                (self.weight * of_pair * groups * inputs * outputs / self.chunk) as u64
            }
            Product::KernelGrad => 0,
        }
    }

    /// What a transform of one tile costs a channel: its operations, its loads, and its stores twice.
    fn transform(&mut self, size: Size, role: MapRole) -> usize {
        let map = Map { size, role };
        *self.transforms.entry(map).or_insert_with(|| {
            let terms = Straight::of(&map.matrix()).terms.len();
            let (from, to) = (map.from(), map.to());
            let operations = (from + to) * terms;
            let (loads, stores) = (from * from + to * from, to * from + to * to);
            operations + loads + 2 * stores
        })
    }
}

fn cost(prices: &mut Prices, correlation: &Correlation, size: Size, product: Product) -> Cost {
    let Correlation { y, x, inputs, outputs, groups, .. } = correlation;
    let tiles = size.tiles(y.outputs) * size.tiles(x.outputs);
    let lanes = |channels: usize| channels.next_multiple_of(LANES);
    let (of_inputs, of_outputs, passes) = match product {
        // A sum is stored once, whatever it sums.
        Product::Forward | Product::InputGrad => (
            prices.transform(size, MapRole::Input),
            prices.transform(size, MapRole::Output),
            tiles * (inputs + 4) * outputs,
        ),
        // Sums are loaded and stored once a chunk, which costs about as much as a tile of each image.
        Product::KernelGrad => (
            prices.transform(size, MapRole::Input),
            prices.transform(size, MapRole::OutputGrad),
            (tiles + 1) * inputs * outputs,
        ),
    };
    let spectra = size.frequencies() * tiles * groups * (inputs + outputs);
    let spilled = match reach(correlation, size, product) {
        Reach::Image | Reach::Chunk if spectra > IMAGE_FLOATS => SPILL * spectra,
        Reach::Band | Reach::Image | Reach::Chunk => 0,
    };
    Cost {
        products: (size.frequencies() * groups * passes) as u64,
        transforms: (tiles
            * (lanes(inputs * groups) * of_inputs + lanes(outputs * groups) * of_outputs)
            + spilled) as u64,
        weights: prices.weights(correlation, size.frequencies(), product),
    }
}

fn reach(correlation: &Correlation, size: Size, product: Product) -> Reach {
    let Correlation { y, x, inputs, outputs, groups, .. } = correlation;
    let tiles = size.tiles(y.outputs) * size.tiles(x.outputs);
    let spectra = size.frequencies() * tiles * groups * (inputs + outputs);
    let weights = size.frequencies() * groups * inputs * outputs;
    match product {
        Product::KernelGrad if CHUNK * spectra > CHUNK_FLOATS => Reach::Image,
        Product::KernelGrad => Reach::Chunk,
        Product::Forward if spectra > IMAGE_FLOATS && weights <= WEIGHT_FLOATS => Reach::Band,
        Product::Forward | Product::InputGrad if tiles < FEW_TILES => Reach::Chunk,
        Product::Forward | Product::InputGrad => Reach::Image,
    }
}
