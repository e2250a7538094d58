//! Where the tensors of a pass lie: one buffer a tensor that is really stored, placed by lifetime.

use std::ops::RangeInclusive;

use nin_dsl::graph::{Graph, NodeId, Op};

use super::{ALIGN, Images, PlannedBlock, Step};
use crate::autodiff::Tensor;
use crate::fuse::{Domain, Stage, StageOp};
use crate::kernel::Tile;

/// What a buffer holds. Ops that work in place (ReLUs, ELUs, dropout) share the buffer of what they work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BufferKey {
    /// The value of a node and of the in-place ops after it.
    Value(NodeId),
    /// The gradient of that value.
    Grad(NodeId),
}

/// How much of a tensor is kept at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extent {
    /// A band of rows of one image.
    Band(usize),
    /// One image.
    Image,
    /// Every image of the chunk.
    Chunk,
    /// Every image of the batch: a later phase reads it.
    Batch,
}

/// A tensor's place: in a thread's arena, or in the store that all threads share if it outlives a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// What it holds.
    pub key: BufferKey,
    /// First float.
    pub offset: usize,
    /// Floats.
    pub floats: usize,
    /// Floats of one image.
    pub image: usize,
    /// How much is kept at a time.
    pub extent: Extent,
    /// Blocks during which it holds something.
    pub live: RangeInclusive<usize>,
}

impl BufferKey {
    /// The buffer of a tensor; `None` for what does not lie in the arena.
    ///
    /// A batch normalisation's value has a buffer of its own, since its operand is read again; its operand's gradient takes
    /// the place of its own.
    ///
    /// In-place is right in a chain: a node's value is read by the node after it alone, but for two kinds of gradients.
    /// - The masks of ReLUs and ELUs (`value > 0`) find what the whole run of in-place ops has left. No op of a run makes
    ///   a positive number of another (a leaky ReLU's slope and an ELU's alpha are not negative), and of a positive one
    ///   only a dropout makes anything else than a positive one: zero, where its own rule has already made the gradient
    ///   zero.
    /// - An ELU's rule computes with the value itself, so an ELU is the last of its run: what works in place elsewhere
    ///   leaves it as it is and has a value of its own, even at inference, for one layout rule.
    ///
    /// A gradient is read once, so it becomes its operand's where it lies, whatever becomes of the values.
    pub fn of(graph: &Graph, tensor: Tensor) -> Option<BufferKey> {
        let elementwise = |id: NodeId| works_in_place(graph.node(id).op);
        let overwrites = |id: NodeId| {
            let keeps = |id: NodeId| matches!(graph.node(id).op, Op::Elu { .. });
            elementwise(id) && !id.operand().is_some_and(keeps)
        };
        let norm = |id: NodeId| matches!(graph.node(id).op, Op::BatchNorm { .. });
        let before = |id: NodeId| id.operand().expect("an in-place op reads a node");
        match tensor {
            Tensor::Value(mut id) => {
                while overwrites(id) {
                    id = before(id);
                }
                Some(BufferKey::Value(id))
            }
            Tensor::Grad(mut id) => {
                while elementwise(id) || norm(id) {
                    id = before(id);
                }
                Some(BufferKey::Grad(id))
            }
            Tensor::WeightGrad(_) | Tensor::Statistics(_) | Tensor::Labels | Tensor::Loss => None,
        }
    }

    /// The node whose shape the buffer has.
    pub fn node(self) -> NodeId {
        match self {
            BufferKey::Value(id) | BufferKey::Grad(id) => id,
        }
    }
}

/// Whether an op overwrites its operand: an element is made of the same element alone, and the backward pass needs no more
/// of the operand than its value keeps.
fn works_in_place(op: Op) -> bool {
    match op {
        Op::Relu | Op::LeakyRelu { .. } | Op::Elu { .. } | Op::Dropout { .. } => true,
        Op::Input
        | Op::Conv { .. }
        | Op::MaxPool { .. }
        | Op::AvgPool { .. }
        | Op::GlobalAvgPool
        | Op::BatchNorm { .. }
        | Op::Softmax => false,
    }
}

/// Every tensor a stage touches.
fn touched(stage: &Stage) -> impl Iterator<Item = Tensor> {
    let mask = match stage.op {
        StageOp::InputGrad { mask } => mask,
        StageOp::Import
        | StageOp::Forward { .. }
        | StageOp::Statistics
        | StageOp::Loss
        | StageOp::KernelGrad
        | StageOp::BiasGrad
        | StageOp::ScaleGrad => None,
    };
    stage.reads.iter().copied().chain([stage.writes]).chain(mask)
}

/// Where the tensors of a pass lie, and how much room that takes (in floats).
pub(super) struct Layout {
    pub(super) buffers: Vec<Buffer>,
    pub(super) arena: usize,
    pub(super) store: usize,
}

/// Gives every tensor of a pass a place: largest first, at the lowest offset where nothing live overlaps.
pub(super) fn lay_out(
    graph: &Graph,
    blocks: &[PlannedBlock],
    images: Images,
    result: Option<Tensor>,
) -> Layout {
    let mut buffers = tensors(graph, blocks, result);
    let last = blocks.len() - 1;
    let phases = |buffer: &Buffer| {
        let (start, end) = (*buffer.live.start(), *buffer.live.end());
        blocks[start].block.phase..=blocks[end.min(last)].block.phase
    };
    for buffer in &mut buffers {
        let phases = phases(buffer);
        if phases.start() != phases.end() {
            buffer.extent = Extent::Batch;
        }
        let shape = graph.node(buffer.key.node()).shape;
        let kept = match buffer.extent {
            Extent::Band(rows) => rows * shape.width() * shape.channels(),
            Extent::Image => buffer.image,
            Extent::Chunk => images.chunk * buffer.image,
            Extent::Batch => images.batch * buffer.image,
        };
        buffer.floats = (kept + Tile::OVERREAD).next_multiple_of(ALIGN);
    }
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&index| (std::cmp::Reverse(buffers[index].floats), buffers[index].key));
    let mut placed: Vec<usize> = Vec::with_capacity(order.len());
    for index in order {
        let mut conflicts: Vec<_> = placed
            .iter()
            .map(|&other| &buffers[other])
            .filter(|other| match (buffers[index].extent, other.extent) {
                // Every image comes through a phase's blocks before the next does: two tensors of all images share room
                // only if no phase has both.
                (Extent::Batch, Extent::Batch) => overlap(&phases(&buffers[index]), &phases(other)),
                (Extent::Batch, _) | (_, Extent::Batch) => false,
                _ => overlap(&other.live, &buffers[index].live),
            })
            .map(|other| other.offset..other.offset + other.floats)
            .collect();
        conflicts.sort_by_key(|range| range.start);
        let mut offset = 0;
        for range in conflicts {
            if offset + buffers[index].floats <= range.start {
                break;
            }
            offset = offset.max(range.end);
        }
        buffers[index].offset = offset;
        placed.push(index);
    }
    let size = |stored: bool| {
        let kept = buffers.iter().filter(|buffer| (buffer.extent == Extent::Batch) == stored);
        kept.map(|buffer| buffer.offset + buffer.floats).max().unwrap_or(0)
    };
    let (arena, store) = (size(false), size(true));
    Layout { buffers, arena, store }
}

fn overlap(a: &RangeInclusive<usize>, b: &RangeInclusive<usize>) -> bool {
    a.start() <= b.end() && b.start() <= a.end()
}

/// The stored tensors with their lifetimes and extents, not placed yet, in order of first use.
fn tensors(graph: &Graph, blocks: &[PlannedBlock], result: Option<Tensor>) -> Vec<Buffer> {
    let mut buffers: Vec<Buffer> = Vec::new();
    let mut touch = |tensor: Tensor, block: usize, extent: Extent| {
        let Some(key) = BufferKey::of(graph, tensor) else { return };
        match buffers.iter_mut().find(|buffer| buffer.key == key) {
            Some(buffer) if *buffer.live.end() == block && buffer.extent == extent => {}
            Some(buffer) => {
                let alone = *buffer.live.start() == block;
                buffer.extent =
                    if alone && extent != Extent::Chunk && buffer.extent != Extent::Chunk {
                        Extent::Image
                    } else {
                        Extent::Chunk
                    };
                buffer.live = *buffer.live.start()..=block;
            }
            None => {
                let image = graph.node(key.node()).shape.elements();
                buffers.push(Buffer {
                    key,
                    offset: 0,
                    floats: 0,
                    image,
                    extent,
                    live: block..=block,
                });
            }
        }
    };
    for (index, PlannedBlock { block, steps }) in blocks.iter().enumerate() {
        for step in steps {
            let (stages, extent) = match step {
                Step::Whole(stage) => (*stage..*stage + 1, Extent::Image),
                Step::Banded { stages, rows } => (stages.clone(), Extent::Band(*rows)),
            };
            let first = stages.start;
            for number in stages {
                let stage = &block.stages[number];
                for tensor in touched(stage) {
                    // What the first convolution of a band reads is no band: its windows overlap.
                    let outside = number == first && stage.reads.contains(&tensor);
                    let extent = match (block.domain, outside) {
                        (Domain::Chunk, _) => Extent::Chunk,
                        (Domain::Image, true) => Extent::Image,
                        (Domain::Image, false) => extent,
                    };
                    touch(tensor, index, extent);
                }
            }
        }
    }
    if let Some(result) = result {
        touch(result, blocks.len(), Extent::Chunk);
    }
    buffers
}
