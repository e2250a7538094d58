//! The plan: everything that is decided before code is written.
//!
//! How a batch is cut into slices and chunks, which stages run band by band, the algorithm of each convolution, where
//! every tensor lies in the arena, and where weights and their prepared forms lie. A plan depends on the model, the batch
//! and the target's vector registers, never on threads, cache sizes or timings: the same plan gives the same bits anywhere.

mod arena;
mod display;

use std::ops::Range;

use nin_dsl::graph::{Graph, NodeId, Op, Role, WeightId};
use nin_dsl::shape::Shape;

use crate::autodiff::{self, Tensor};
use crate::fuse::{self, Block, Domain, StageOp};
use crate::geometry::ConvGeometry;
use crate::kernel::{Registers, Tile, TileShape};

pub use arena::{Buffer, BufferKey, Extent};

/// Images a chunk carries through the net before the next: few, so that what they leave for backward stays in cache.
const CHUNK: usize = 4;
/// Slices of a large batch: enough for 8 threads, few enough that reducing their gradients costs nothing.
const SLICES: usize = 8;
/// Bytes of gradients all slices together may take.
const GRADIENT_BYTES: usize = 128 << 20;
/// Bytes of the widest tensor of a band: a block's inner tensors stay in the first two cache levels.
const BAND_BYTES: usize = 64 << 10;
/// Everything in a buffer of floats starts on a cache line.
pub const ALIGN: usize = 16;

/// How a convolution is computed, in each of its three passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Tap by tap, by tiles over the maps as they lie.
    Direct,
}

/// A convolution's geometry, algorithm, and prepared weights (offsets in the prepared buffer, in floats).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvPlan {
    /// The node.
    pub node: NodeId,
    /// Its geometry, normalised.
    pub geometry: ConvGeometry,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// Its kernel.
    pub kernel: WeightId,
    /// Its bias.
    pub bias: Option<WeightId>,
    /// Tile of the forward pass; its columns are the width of the forward panels.
    pub forward_tile: TileShape,
    /// Tile of the input gradient; its columns are the width of the gradient panels.
    pub grad_tile: TileShape,
    /// Tile of the kernel gradient.
    pub kernel_tile: TileShape,
    /// Kernel in panels for the forward pass.
    pub forward_panels: usize,
    /// Bias, padded to whole panels.
    pub bias_panels: Option<usize>,
    /// Flipped, transposed kernel in panels for each phase of the input gradient; empty if nothing asks for it.
    pub grad_panels: Vec<usize>,
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
    },
}

/// A block and its steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedBlock {
    /// The block.
    pub block: Block,
    /// Its steps, which cover its stages in order.
    pub steps: Vec<Step>,
}

/// The blocks that carry a chunk of images through the net, and the arena they work in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Blocks in order.
    pub blocks: Vec<PlannedBlock>,
    /// Tensors in the arena.
    pub buffers: Vec<Buffer>,
    /// Size of one thread's arena, in floats.
    pub arena: usize,
}

/// The plan of a program.
///
/// Invariants: buffers that are live at the same time do not overlap; every tensor a stage names has a buffer; offsets
/// are multiples of [`ALIGN`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Images a call may hold at most.
    pub batch: usize,
    /// Images carried through the net together.
    pub chunk: usize,
    /// Parts of a training batch with a gradient buffer each.
    pub slices: usize,
    /// Where each weight lies in the weights (also in gradients and momentum), in floats. Kernels lie as
    /// `[ky][kx][in][out]`.
    pub weights: Vec<usize>,
    /// Size of the weights with what a tile may read past the last, in floats.
    pub weight_floats: usize,
    /// The convolutions, in node order.
    pub convs: Vec<ConvPlan>,
    /// Size of the prepared weights, in floats.
    pub prepared_floats: usize,
    /// Forward with dropout off.
    pub inference: Pass,
    /// Forward, loss and backward; `None` in a plan for inference.
    pub training: Option<Pass>,
}

/// Plans a model: for inference only, or for training too.
pub fn plan(graph: &Graph, batch: usize, registers: &Registers, training: bool) -> Plan {
    let train_graph = training.then(|| autodiff::differentiate(graph));
    let last = graph.ids().next_back().expect("a graph has an input");
    let forward = fuse::fuse(graph, &autodiff::forward(graph, last));
    let step = train_graph.map(|train_graph| fuse::fuse(graph, &train_graph.nodes));
    let (weights, end) = lay_out(graph.weights.iter().map(|weight| weight.elements()));
    let weight_floats = (end + Tile::OVERREAD).next_multiple_of(ALIGN);
    let slices = if training { slices(batch, weight_floats) } else { 1 };
    let chunk = batch.div_ceil(slices).min(CHUNK);
    let (convs, prepared_floats) = convs(graph, step.as_deref().unwrap_or(&[]), registers, chunk);
    Plan {
        batch,
        chunk,
        slices,
        weights,
        weight_floats,
        inference: pass(graph, forward, chunk, &convs, Some(Tensor::Value(last))),
        training: step.map(|blocks| pass(graph, blocks, chunk, &convs, None)),
        convs,
        prepared_floats,
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
fn geometry(graph: &Graph, id: NodeId) -> Option<ConvGeometry> {
    let Op::Conv { window, .. } = graph.node(id).op else { return None };
    let input = graph.node(id.operand().expect("a convolution reads a node")).shape;
    let output = graph.node(id).shape;
    let geometry = ConvGeometry {
        input: (input.height(), input.width()),
        output: (output.height(), output.width()),
        kernel: window.kernel,
        stride: window.stride,
        pad: window.pad,
        cin: input.channels(),
        cout: output.channels(),
    };
    Some(geometry.normalised())
}

/// Plans every convolution; `step` tells which input gradients are wanted.
fn convs(
    graph: &Graph,
    step: &[Block],
    registers: &Registers,
    chunk: usize,
) -> (Vec<ConvPlan>, usize) {
    let mut end = 0;
    let mut place = |floats: usize| {
        let offset = end;
        end += floats.next_multiple_of(ALIGN);
        offset
    };
    let mut convs = Vec::new();
    for id in graph.ids() {
        let (Op::Conv { weight, bias, .. }, Some(geometry)) =
            (graph.node(id).op, geometry(graph, id))
        else {
            continue;
        };
        let [forward_tile, grad_tile, kernel_tile] = tiles(graph, id, &geometry, registers, chunk);
        let floats =
            |channels: usize, tile: TileShape, panel: usize| channels.div_ceil(tile.cols) * panel;
        let panel = geometry.forward().panel(forward_tile.cols);
        let forward_panels = place(floats(geometry.cout, forward_tile, panel));
        let bias_panels =
            bias.map(|_| place(floats(geometry.cout, forward_tile, forward_tile.cols)));
        let mut stages = step.iter().flat_map(|block| &block.stages);
        let wanted =
            stages.any(|stage| stage.node == id && matches!(stage.op, StageOp::InputGrad { .. }));
        let phases = if wanted { geometry.input_grad() } else { Vec::new() };
        let grad_panels = phases.iter().map(|phase| {
            place(floats(geometry.cin, grad_tile, phase.correlation.panel(grad_tile.cols)))
        });
        let grad_panels = grad_panels.collect();
        convs.push(ConvPlan {
            node: id,
            geometry,
            algorithm: Algorithm::Direct,
            kernel: weight,
            bias,
            forward_tile,
            grad_tile,
            kernel_tile,
            forward_panels,
            bias_panels,
            grad_panels,
        });
    }
    (convs, end + Tile::OVERREAD)
}

/// The tiles of a convolution's three products: forward, input gradient, kernel gradient.
fn tiles(
    graph: &Graph,
    id: NodeId,
    geometry: &ConvGeometry,
    registers: &Registers,
    chunk: usize,
) -> [TileShape; 3] {
    let ConvGeometry { cin, cout, output, input, kernel, stride, .. } = *geometry;
    let vector = matches!(graph.node(id).shape, Shape::Vector { .. });
    let (forward, grad) = if vector {
        (chunk, chunk)
    } else if geometry.is_pointwise() {
        let pixels = graph.node(id).shape.pixels();
        (pixels, pixels)
    } else {
        (output.1, input.1.div_ceil(stride))
    };
    // Rows of the kernel gradient are channels of a tap; a tile across two taps would have rows that idle at borders.
    let channels = if cin >= registers.lanes { cin } else { kernel.1 * cin };
    [registers.shape(forward, cout), registers.shape(grad, cin), registers.shape(channels, cout)]
}

/// Plans the blocks of a pass and its arena. `result` is read after the last block.
fn pass(
    graph: &Graph,
    blocks: Vec<Block>,
    chunk: usize,
    convs: &[ConvPlan],
    result: Option<Tensor>,
) -> Pass {
    let blocks: Vec<PlannedBlock> = blocks
        .into_iter()
        .map(|block| PlannedBlock { steps: steps(graph, &block, convs), block })
        .collect();
    let (buffers, arena) = arena::lay_out(graph, &blocks, chunk, result);
    Pass { blocks, buffers, arena }
}

/// Cuts a block into steps: convolutions whose successors are pointwise go band by band.
fn steps(graph: &Graph, block: &Block, convs: &[ConvPlan]) -> Vec<Step> {
    let stages = &block.stages;
    let conv = |index: usize| -> Option<&ConvPlan> {
        let forward = matches!(stages.get(index)?.op, StageOp::Forward { .. });
        let found = convs.iter().find(|conv| conv.node == stages[index].node);
        if forward && block.domain == Domain::Image { found } else { None }
    };
    let mut steps = Vec::new();
    let mut next = 0;
    while next < stages.len() {
        let mut end = next + 1;
        if conv(next).is_some() {
            while conv(end).is_some_and(|conv| conv.geometry.is_pointwise()) {
                end += 1;
            }
        }
        if end - next > 1 {
            let shapes = (next..end).map(|index| graph.node(stages[index].node).shape);
            let widest =
                shapes.map(|shape| 4 * shape.channels() * shape.width()).max().unwrap_or(1);
            let height = graph.node(stages[next].node).shape.height();
            let rows = (BAND_BYTES / widest).clamp(1, height);
            steps.push(Step::Banded { stages: next..end, rows });
        } else {
            steps.push(Step::Whole(next));
        }
        next = end;
    }
    steps
}

impl Plan {
    /// Images of a slice; the last slices of a small call may be empty.
    pub fn slice_images(&self) -> usize {
        self.batch.div_ceil(self.slices)
    }

    /// The plan of a convolution.
    pub fn conv(&self, node: NodeId) -> &ConvPlan {
        let found = self.convs.iter().find(|conv| conv.node == node);
        found.expect("every convolution is planned (a bug in nin)")
    }

    /// Floats of one thread's arena, for either pass.
    pub fn arena(&self) -> usize {
        self.training.as_ref().map_or(0, |pass| pass.arena).max(self.inference.arena)
    }
}

impl Pass {
    /// Where a tensor lies.
    pub fn buffer(&self, graph: &Graph, tensor: Tensor) -> &Buffer {
        let key =
            BufferKey::of(graph, tensor).expect("only activations lie in the arena (a bug in nin)");
        let found = self.buffers.iter().find(|buffer| buffer.key == key);
        found.expect("every activation is placed (a bug in nin)")
    }
}

/// The position of a weight's number in the file's layout, `[out, in, ky, kx]`, for each position in the plan's layout,
/// `[ky][kx][in][out]`. A bias lies alike in both.
pub fn file_positions(graph: &Graph, id: WeightId) -> impl Iterator<Item = usize> + use<> {
    let weight = graph.weight(id);
    let (taps, cin, cout) = match (weight.role, graph.node(weight.node).op) {
        (Role::Kernel, Op::Conv { window, .. }) => {
            (window.taps(), weight.fan_in() / window.taps(), weight.dims[0])
        }
        _ => (1, 1, weight.elements()),
    };
    (0..taps).flat_map(move |tap| {
        (0..cin).flat_map(move |i| (0..cout).map(move |o| (o * cin + i) * taps + tap))
    })
}
