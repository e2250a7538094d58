//! The plan: everything that is decided before code is written.
//!
//! How a batch is cut into slices and chunks, which stages run band by band, the algorithm of each convolution, where
//! every tensor lies in the arena, and where weights and their prepared forms lie. A plan depends on the model, the batch
//! and the target's vector registers, never on threads, cache sizes or timings: the same plan gives the same bits anywhere.
#![warn(clippy::wildcard_enum_match_arm)]

mod algorithm;
mod algos;
mod arena;
mod cut;
mod depth;
mod display;
mod groups;
mod lrn;
mod norm;
mod places;
mod pools;
mod prepared;
mod rivals;
mod slopes;
mod spectrum;
mod strips;
mod verify;
mod work;

use std::ops::Range;

use nin_dsl::graph::{Graph, NodeId, Op, Role, WeightId};
use nin_dsl::shape::Shape;

use crate::compiler::autodiff::TensorId;
use crate::compiler::fuse::{self, Block, Passes, Stage, StageOp};
use crate::compiler::geometry::{self, ConvGeometry};
use crate::compiler::kernel::{Registers, Tile, TileShape};
use crate::compiler::{Checked, Elem};

use algorithm::Prices;
pub use algorithm::{Algo, Algorithm, Choice, Cost, Product, Reach, Winograd};
pub use algos::{Algos, Hint, HintError};
use arena::Layout;
pub use arena::{Buffer, BufferKey, Extent, Holds};
pub use cut::Run;
pub(crate) use cut::{product, product_of};
pub(crate) use depth::slide;
pub use depth::{Depth, kept_rows};
pub use groups::{Groups, groups};
pub use lrn::ChannelRows;
use norm::Norms;
pub use norm::{Affine, GroupSum, NormPlan, Row};
pub use places::{Places, View};
pub use pools::PoolPlan;
use prepared::Room;
pub use prepared::{PreparedForm, PreparedKernel, PreparedSpectrum};
pub use rivals::Rivals;
pub use slopes::SlopePlan;
pub use spectrum::{Spectrum, SpectrumLayout};
pub use strips::{StripGroup, StripOwner};
pub use verify::{Planned, verify};
pub use work::Moved;

/// Images a chunk carries through the net before the next: few, so that what they leave for backward takes little memory;
/// enough that what Winograd's algorithm reads and writes once a chunk (weights, sums of gradients) is well used.
const CHUNK: usize = 8;
/// Slices of a large batch: enough for 8 threads, few enough that reducing their gradients costs nothing.
const SLICES: usize = 8;
/// Bytes of gradients all slices together may take.
const GRADIENT_BYTES: usize = 128 << 20;
/// Bytes of the widest tensor of a band: a block's inner tensors stay in the first two cache levels.
const BAND_BYTES: usize = 64 << 10;
/// Bytes of a cache line, on which everything in a buffer starts.
pub const LINE: usize = 64;
/// The same in floats.
pub const ALIGN: usize = LINE / Elem::F32.bytes();

/// A convolution's geometry, its products, and its prepared bias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvPlan {
    /// The node.
    pub node: NodeId,
    /// Its geometry, normalised.
    pub geometry: ConvGeometry,
    /// Its products, in the order of [`Product::ALL`].
    pub products: [ProductPlan; 3],
    /// Its kernel.
    pub kernel: WeightId,
    /// Its bias.
    pub bias: Option<WeightId>,
    /// The batch normalisation that is merged into its forward panels and bias.
    pub norm: Option<NodeId>,
    /// Where its bias lies in the prepared buffer, in bytes; what its last panel reads past it is padding. Biases are float32.
    pub bias_panels: Option<usize>,
}

/// How one of a convolution's products is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProductPlan {
    /// The algorithm.
    pub choice: Choice,
    /// The tile; its columns are the width of the panels that it reads.
    pub tile: TileShape,
    /// What it reads of the kernel; `None` if it reads none, or nothing asks for it.
    pub kernel: Option<PreparedKernel>,
}

impl ConvPlan {
    /// The plan of a product.
    pub fn product(&self, product: Product) -> &ProductPlan {
        &self.products[product as usize]
    }

    /// How a product is computed, and why.
    pub fn choice(&self, product: Product) -> Choice {
        self.product(product).choice
    }

    /// The tile of a product.
    pub fn tile(&self, product: Product) -> TileShape {
        self.product(product).tile
    }

    /// What a product reads of the kernel.
    ///
    /// # Panics
    /// If it reads nothing of it, or nothing asks for it: a bug in nin.
    pub fn prepared(&self, product: Product) -> &PreparedKernel {
        let kernel = self.product(product).kernel.as_ref();
        kernel.expect("the kernel is prepared for it (a bug in nin)")
    }
}

/// A part of a block's work on one image (or, in a chunk block, on all).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// One stage from first row to last.
    Whole(usize),
    /// Several convolutions, the later ones pointwise, in bands of rows: each band goes through all of them.
    Banded {
        /// The stages.
        stages: Range<usize>,
        /// Rows of a band; the last band may have fewer.
        rows: usize,
        /// Rows that are made together: a band has a multiple of them, but for the image's last.
        unit: usize,
    },
    /// Several stages of which some look at several rows of what the one before them makes, in bands of rows of the last one's
    /// result. Each makes the rows that the next one reaches and that it has not made yet.
    DepthFirst {
        /// The stages, each the only reader of the one before it.
        stages: Range<usize>,
        /// Rows of a band; the last band may have fewer.
        rows: usize,
    },
    /// Brings what a stage reads into Winograd's domain.
    Transform {
        /// The stage.
        stage: usize,
        /// What is written.
        spectrum: Spectrum,
    },
    /// The matrix products of a stage in Winograd's domain.
    Products {
        /// The stage.
        stage: usize,
        /// How they are shared.
        by: ProductsBy,
    },
}

/// How the products of a stage in Winograd's domain are shared between threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProductsBy {
    /// Each has some frequencies of one image: weights are read once, maps by threads that have not made them.
    Frequency,
    /// Each has some rows of tiles of one image, the same as in the steps before and after: it meets nobody in between.
    Row,
    /// Each has some frequencies of all images of the chunk.
    Chunk,
}

/// A block and its steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedBlock {
    /// The block.
    pub block: Block,
    /// Its steps, which cover its stages in order.
    pub steps: Vec<Step>,
    /// What is gathered before it from the images of a chunk that is a group.
    pub gathers: Vec<Gather>,
}

/// A part of a pass that every slice of the batch comes through before any goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// The blocks that carry a chunk of images through it.
    pub blocks: Range<usize>,
    /// What is then gathered from all slices; nothing after the last phase.
    pub gathers: Vec<Gather>,
}

/// Sums over the whole batch that the next phase reads, or over a chunk that is a group, which the next block reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gather {
    /// The statistics of a batch normalisation's operand.
    Statistics(NodeId),
    /// The gradients of its scale and shift.
    Gradients(NodeId),
}

/// The blocks that carry a chunk of images through the net, and the memory they work in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Blocks in order.
    pub blocks: Vec<PlannedBlock>,
    /// Phases, which cover the blocks in order.
    pub phases: Vec<Phase>,
    /// Parts, in order: together they are the pass over one image.
    pub parts: Vec<Part>,
    /// Where each tensor lies.
    pub places: Places,
    /// Tensors in the arena or in the store.
    pub buffers: Vec<Buffer>,
    /// Size of one thread's arena, in bytes.
    pub arena: usize,
    /// Size of the store, in bytes: what one phase leaves of each image for a later one.
    pub store: usize,
}

/// The plan of a program.
///
/// Invariants: buffers that are live at the same time do not overlap; every tensor a stage names has a buffer; offsets
/// are multiples of [`LINE`].
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Which algorithms it may take.
    pub algos: Algos,
    /// Images a call may hold at most.
    pub batch: usize,
    /// Images carried through the net together.
    pub chunk: usize,
    /// Parts of a training batch with a gradient buffer each.
    pub slices: usize,
    /// The groups that slices follow, if a training step takes statistics of any.
    pub groups: Option<Groups>,
    /// Where each weight lies in the weights (also in gradients and momentum), in floats. Kernels lie as
    /// `[ky][kx][in][out]`.
    pub weights: Vec<usize>,
    /// Size of the weights with what a tile may read past the last, in floats.
    pub weight_floats: usize,
    /// Size of one slice's sums: the gradients, which lie as the weights, and moments of batch normalisations.
    pub slice_floats: usize,
    /// The convolutions, in node order.
    pub convs: Vec<ConvPlan>,
    /// The batch normalisations, in node order.
    pub norms: Vec<NormPlan>,
    /// The pools that take maxima, in node order.
    pub pools: Vec<PoolPlan>,
    /// The slopes of PReLUs, in node order.
    pub slopes: Vec<SlopePlan>,
    /// Size of the statistics of one batch, or of its groups, in floats.
    pub statistics_floats: usize,
    /// Size of the prepared weights, in bytes: forms that runs read, and nothing that those are only made of.
    pub prepared_bytes: usize,
    /// Size of what they are made in, in the arena of a thread that prepares them, in bytes.
    pub preparing_bytes: usize,
    /// Forward with dropout off.
    pub inference: Pass,
    /// Forward, loss and backward; `None` in a plan for inference.
    pub training: Option<Pass>,
}

/// What a plan is made for.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    /// Images a call may hold at most.
    pub batch: usize,
    /// The registers that tiles are made of.
    pub registers: &'a Registers,
    /// The algorithms of convolutions.
    pub algos: &'a Algos,
}

/// Plans the passes of a program.
pub fn plan(checked: &Checked<'_>, passes: Passes, demand: Demand<'_>) -> Plan {
    let graph = checked.graph();
    let Demand { batch, algos, .. } = demand;
    let Passes { inference: forward, training: step } = passes;
    let training = step.is_some();
    let (weights, end) = lay_out(graph.weights().iter().map(|weight| weight.elements()));
    let weight_floats = (end + Tile::OVERREAD / Elem::F32.bytes()).next_multiple_of(ALIGN);
    let ghost = fuse::common_ghost(graph);
    let groups = Groups::of(graph, ghost).filter(|_| training);
    let slices = if training { slices(batch, weight_floats) } else { 1 };
    let followed = |groups| batch.div_ceil(groups::slice_images(batch, slices, Some(groups)));
    let slices = groups.map_or(slices, followed);
    let chunk = match ghost.filter(|_| training) {
        Some(ghost) => Groups::most(ghost, batch),
        None => batch.div_ceil(slices).min(CHUNK),
    };
    let mut room = Room::default();
    let stages = step.iter().flatten().chain(&forward).flat_map(|block| &block.stages);
    let convs = convs(graph, &stages.collect::<Vec<_>>(), demand, chunk, &mut room);
    let Norms { norms, moments, statistics } =
        norm::norms(graph, training.then_some(batch), &convs, &mut room);
    let slopes = slopes::slopes(graph, &mut room);
    let images = Images { chunk, batch, training };
    let result = TensorId::Value(graph.result());
    Plan {
        algos: algos.clone(),
        batch,
        chunk,
        slices,
        groups,
        weights,
        weight_floats,
        slice_floats: weight_floats + moments,
        inference: pass(checked, forward, images, (&convs, algos.depth), Some(result)),
        training: step.map(|blocks| pass(checked, blocks, images, (&convs, algos.depth), None)),
        convs,
        statistics_floats: statistics,
        norms,
        pools: pools::pools(graph, demand.registers),
        slopes,
        prepared_bytes: room.prepared + Tile::OVERREAD,
        preparing_bytes: room.arena,
    }
}

/// Slices of a batch: by the batch and the size of the gradients alone.
fn slices(batch: usize, weight_floats: usize) -> usize {
    let by_work = batch.div_ceil(CHUNK).min(SLICES);
    let by_memory = GRADIENT_BYTES / (4 * weight_floats).max(1);
    by_work.min(by_memory).max(1)
}

/// Offsets of consecutive aligned parts, and their total.
fn lay_out(parts: impl Iterator<Item = usize>) -> (Vec<usize>, usize) {
    let mut end = 0;
    let offsets = parts
        .map(|floats| {
            let offset = end;
            end += floats.next_multiple_of(ALIGN);
            offset
        })
        .collect();
    (offsets, end)
}

/// The geometry of a convolution node.
fn geometry_of(graph: &Graph, id: NodeId) -> Option<ConvGeometry> {
    let Op::Conv { window, groups, .. } = graph.node(id).op else { return None };
    let input = graph.node(graph.operand(id)).shape;
    let output = graph.node(id).shape;
    let (cin, cout) = (input.channels() / groups, output.channels() / groups);
    let depthwise = geometry::is_depthwise(groups, cin, cout);
    let (cout, groups) = if depthwise { (output.channels(), 1) } else { (cout, groups) };
    let geometry = ConvGeometry {
        input: (input.height(), input.width()),
        output: (output.height(), output.width()),
        window,
        cin,
        cout,
        groups,
        depthwise,
    };
    Some(geometry.normalised())
}

/// Plans every convolution. The stages of all passes tell which input gradients are wanted and which batch normalisations
/// are merged.
fn convs(
    graph: &Graph,
    stages: &[&Stage],
    Demand { registers, algos, .. }: Demand<'_>,
    chunk: usize,
    room: &mut Room,
) -> Vec<ConvPlan> {
    let (mut convs, mut prices) = (Vec::new(), Prices::of(graph, chunk));
    for id in graph.ids() {
        let (Op::Conv { weight, bias, .. }, Some(geometry)) =
            (graph.node(id).op, geometry_of(graph, id))
        else {
            continue;
        };
        let vector = matches!(graph.node(id).shape, Shape::Vector { .. });
        let layer = &graph.layer_of(id).name;
        let choices = Product::ALL.map(|product| {
            let algo = if vector { Algo::Direct } else { algos.of(layer, product) };
            algorithm::choose(&mut prices, &geometry, (product, algo))
        });
        let norm = stages.iter().find_map(|stage| match stage.op {
            StageOp::Forward { norm, .. } => norm.filter(|_| stage.node == id),
            StageOp::Import
            | StageOp::Statistics
            | StageOp::Loss
            | StageOp::InputGrad { .. }
            | StageOp::KernelGrad
            | StageOp::BiasGrad
            | StageOp::NormGrads { .. }
            | StageOp::SlopeGrad => None,
        });
        let is_wanted =
            |stage: &&Stage| stage.node == id && matches!(stage.op, StageOp::InputGrad { .. });
        let tiles = Product::ALL.map(|product| {
            let choice = choices[product as usize];
            (choice, tile(vector, registers, chunk, &geometry, (product, choice)))
        });
        let biased = bias.is_some() || norm.is_some();
        let wanted = stages.iter().any(is_wanted);
        let (products, bias_panels) =
            prepared::products(room, &geometry, tiles, norm.is_some(), (biased, wanted));
        convs.push(ConvPlan {
            node: id,
            geometry,
            products,
            kernel: weight,
            bias,
            norm,
            bias_panels,
        });
    }
    convs
}

/// The tile of one of a convolution's products.
fn tile(
    vector: bool,
    registers: &Registers,
    chunk: usize,
    geometry: &ConvGeometry,
    (product, choice): (Product, Choice),
) -> TileShape {
    let ConvGeometry { cin, cout, output, input, window, .. } = *geometry;
    let (rows, columns) = match product {
        Product::Forward => (output, cout),
        // Its panels are the forward ones, but for the order of taps.
        Product::InputGrad if geometry.depthwise => (output, cout),
        Product::InputGrad => (input, cin),
        // Rows are channels of a tap; a tile across two taps would have rows that idle at borders.
        Product::KernelGrad if cin >= registers.lanes => return registers.shape(cin, cout),
        Product::KernelGrad => match choice.algorithm {
            Algorithm::Direct => return registers.shape(window.x.kernel * cin, cout),
            Algorithm::Winograd(_) => return registers.shape(cin, cout),
        },
    };
    let rows = match choice.algorithm {
        _ if vector => chunk,
        Algorithm::Winograd(winograd) => winograd.rows(rows, chunk),
        Algorithm::Direct if geometry.is_pointwise() => rows.0 * rows.1,
        Algorithm::Direct if product == Product::InputGrad && !geometry.depthwise => {
            rows.1.div_ceil(window.x.stride)
        }
        Algorithm::Direct => rows.1,
    };
    registers.shape(rows, columns)
}

/// How many images are worked on together, and what for.
#[derive(Clone, Copy, Debug)]
struct Images {
    /// In a phase.
    chunk: usize,
    /// From phase to phase.
    batch: usize,
    /// Whether the program trains: what its backward pass reads again is kept, at inference too.
    training: bool,
}

/// Plans the blocks of a pass and its memory. `result` is read after the last block.
fn pass(
    checked: &Checked<'_>,
    blocks: Vec<Block>,
    images: Images,
    (convs, depth): (&[ConvPlan], Depth),
    result: Option<TensorId>,
) -> Pass {
    let graph = checked.graph();
    let places = Places::of(checked, images.training);
    let by_block = |block: Block| {
        let steps = cut::steps(graph, &block, convs);
        PlannedBlock { steps, block, gathers: Vec::new() }
    };
    let blocks = match (result, depth) {
        (None, _) | (_, Depth::Never) => blocks.into_iter().map(by_block).collect(),
        (Some(result), Depth::Auto | Depth::Always) => {
            depth::cut_up(graph, &blocks, &places, (convs, depth), result)
        }
    };
    let blocks = cut::gathered_by_chunk(graph, blocks);
    let Layout { buffers, arena, store } =
        arena::lay_out(graph, &places, &blocks, convs, images, result);
    let (phases, parts) = (cut::phases(&blocks), cut::parts(graph, &blocks, convs));
    Pass { phases, parts, blocks, places, buffers, arena, store }
}

impl Plan {
    /// The plan of a batch normalisation.
    pub fn norm(&self, node: NodeId) -> &NormPlan {
        let found = self.norms.iter().find(|norm| norm.node == node);
        found.expect("every batch normalisation is planned (a bug in nin)")
    }

    /// The plan of a pool that takes maxima.
    pub fn pool(&self, node: NodeId) -> &PoolPlan {
        let found = self.pools.iter().find(|pool| pool.node == node);
        found.expect("every pool is planned (a bug in nin)")
    }

    /// The slopes of a PReLU.
    pub fn slope(&self, node: NodeId) -> &SlopePlan {
        let found = self.slopes.iter().find(|slope| slope.node == node);
        found.expect("every slope is planned (a bug in nin)")
    }

    /// The plan of a node that normalises by the statistics of groups.
    pub fn ghost_norm(&self, node: NodeId) -> Option<&NormPlan> {
        self.norms.iter().find(|norm| norm.node == node && norm.ghost > 0)
    }

    /// The batch normalisations that are merged into no convolution, with where their rows lie in the prepared weights.
    pub fn free_norms(&self) -> impl Iterator<Item = (&NormPlan, usize)> {
        self.norms.iter().filter_map(|norm| Some((norm, norm.prepared?)))
    }

    /// Phases of a training step.
    pub fn phases(&self) -> &[Phase] {
        self.training.as_ref().map_or(&[], |pass| &pass.phases)
    }

    /// The convolutions whose kernel's gradient is summed in Winograd's domain in some blocks of a training step.
    pub fn summed_in_domain(&self, blocks: Range<usize>) -> impl Iterator<Item = &ConvPlan> {
        let blocks = self.training.as_ref().map_or(&[][..], |pass| &pass.blocks[blocks]);
        let stages = blocks.iter().flat_map(|planned| &planned.block.stages);
        let summed = stages.filter(|stage| stage.op == StageOp::KernelGrad);
        let convs = summed.map(|stage| self.conv(stage.node));
        convs.filter(|conv| conv.winograd(Product::KernelGrad).is_some())
    }

    /// A size that no offset of anything in it exceeds, in bytes.
    pub fn farthest(&self) -> usize {
        let floats = [self.weight_floats, self.slice_floats, self.statistics_floats];
        let bytes = floats.map(|floats| floats * Elem::F32.bytes());
        let sizes = [self.arena(), self.inference.store, self.store(), self.prepared_bytes];
        sizes.into_iter().chain(bytes).fold(0, usize::max)
    }

    /// Bytes of a session's store.
    pub fn store(&self) -> usize {
        self.training.as_ref().map_or(0, |pass| pass.store)
    }

    /// The plan of a convolution.
    pub fn conv(&self, node: NodeId) -> &ConvPlan {
        let found = self.convs.iter().find(|conv| conv.node == node);
        found.expect("every convolution is planned (a bug in nin)")
    }

    /// Bytes of one thread's arena, for either pass and for preparing weights.
    pub fn arena(&self) -> usize {
        let training = self.training.as_ref().map_or(0, |pass| pass.arena);
        training.max(self.inference.arena).max(self.preparing_bytes)
    }
}

/// A part of a pass that one call can run: a step of a block that walks image by image, or a whole block that does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The block's number in the pass.
    pub block: usize,
    /// The step's number in the block.
    pub step: Option<usize>,
    /// Whether one call takes all images of the chunk.
    pub together: bool,
    /// Rows (of the output, of tiles; or frequencies) that can be shared between threads; 1 if it cannot be.
    pub rows: usize,
    /// Whether each thread's share reads nothing new but what its own share of the part before has left, so that threads need not
    /// meet before it.
    pub follows: bool,
}

impl Pass {
    /// Where a tensor lies.
    pub fn view(&self, tensor: TensorId) -> View {
        self.places.view(tensor).expect("only activations lie in buffers (a bug in nin)")
    }

    /// The buffer that a tensor lies in.
    pub fn buffer(&self, tensor: TensorId) -> &Buffer {
        self.room(self.view(tensor).buffer)
    }

    /// Where something lies.
    pub fn room(&self, key: BufferKey) -> &Buffer {
        let found = self.buffers.iter().find(|buffer| buffer.key == key);
        found.expect("everything is placed (a bug in nin)")
    }

    /// Whether what a stage writes lies where its first operand does.
    pub fn is_in_place(&self, stage: &Stage) -> bool {
        self.places.view(stage.reads[0]) == self.places.view(stage.writes)
    }

    /// Whether nothing is left to do for a stage, because what it passes on lies where it is wanted.
    pub fn is_done(&self, graph: &Graph, stage: &Stage) -> bool {
        let op = graph.node(stage.node).op;
        match stage.op {
            StageOp::Forward { .. } if op == Op::Concat => {
                (0..stage.reads.len()).all(|input| self.is_joined(graph, stage, input))
            }
            StageOp::InputGrad { input, mask: None, .. } if op == Op::Concat => {
                let first = graph.first_channel(stage.node, input);
                self.is_slice(stage.writes, stage.reads[0], first)
            }
            StageOp::InputGrad { mask: None, .. } if op == Op::Add => self.is_in_place(stage),
            StageOp::Import
            | StageOp::Forward { .. }
            | StageOp::Statistics
            | StageOp::Loss
            | StageOp::InputGrad { .. }
            | StageOp::KernelGrad
            | StageOp::BiasGrad
            | StageOp::NormGrads { .. }
            | StageOp::SlopeGrad => false,
        }
    }

    /// Whether one of the values that a concatenation joins was made where it is wanted.
    pub fn is_joined(&self, graph: &Graph, stage: &Stage, input: usize) -> bool {
        let first = graph.first_channel(stage.node, input);
        self.is_slice(stage.reads[input], stage.writes, first)
    }

    /// Whether a tensor lies where another one has its channels from `first` on.
    pub fn is_slice(&self, tensor: TensorId, of: TensorId, first: usize) -> bool {
        let (view, of) = (self.view(tensor), self.view(of));
        view == View { channel: of.channel + first, ..of }
    }
}

/// Taps, inputs and outputs of a weight: `[outputs][inputs][taps]` in files, `[taps][inputs][outputs]` in the plan's layout.
pub fn matrix(graph: &Graph, id: WeightId) -> (usize, usize, usize) {
    let weight = graph.weight(id);
    match weight.role {
        Role::Kernel => {
            let Op::Conv { window, .. } = graph.node(weight.node).op else {
                unreachable!("a convolution reads {} (a bug in nin)", weight.name)
            };
            (window.taps(), weight.fan_in() / window.taps(), weight.dims[0])
        }
        Role::Bias
        | Role::Scale
        | Role::Shift
        | Role::Slope
        | Role::RunningMean
        | Role::RunningVariance => (1, 1, weight.elements()),
    }
}

/// The position of a weight's number in the file's layout, `[out, in, ky, kx]`, for each position in the plan's layout,
/// `[ky][kx][in][out]`. A bias lies alike in both.
pub fn file_positions(graph: &Graph, id: WeightId) -> impl Iterator<Item = usize> + use<> {
    let (taps, cin, cout) = matrix(graph, id);
    (0..taps).flat_map(move |tap| {
        (0..cin).flat_map(move |i| (0..cout).map(move |o| (o * cin + i) * taps + tap))
    })
}

#[cfg(test)]
mod tests;
