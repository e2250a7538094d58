//! Fusion: the computations of a step become [`Stage`]s, and stages that share a pass over the data become [`Block`]s.
//!
//! Two rules, both on ops and on who reads what, so that `mlpconv(96, 64)` and the same written out as `conv`s and `relu`s fuse
//! alike:
//!
//! * a sum of two that is the only reader of a convolution or a batch normalisation becomes its epilogue, if the other value is there by
//!   then; a ReLU that is the only reader of any of these becomes its epilogue, as any activation does of a batch normalisation or
//!   a sum if no rule reads the operand, and the ReLU's
//!   gradient becomes the epilogue (a mask) of whatever contributes to the gradient of its value; the loss and its gradient are
//!   one stage, and so are the gradients of a batch normalisation's scale and shift; for inference alone a batch normalisation that is the only reader of a convolution becomes part of its weights;
//! * a k x k convolution, the pointwise convolutions that follow it and then one pool are one block, as long as each is the only
//!   reader of the one before it. Its backward block holds the gradients of the same nodes.
//!
//! A batch normalisation reads sums over the whole batch, in both directions. A step that reads one ends a *phase*: all
//! slices of the batch come to this point, their sums are gathered, and the next phase begins. If all batch normalisations read
//! sums over groups of images of one size, a chunk is a group, and a step that reads such sums only ends a *block*.
#![warn(clippy::wildcard_enum_match_arm)]

mod display;
mod epilogue;
mod home;

use std::collections::BTreeSet;

use nin_dsl::graph::{Graph, NodeId, Op};

use crate::compiler::Checked;
use crate::compiler::autodiff::{Computations, TensorId, TrainNode};

pub use display::display;
pub use epilogue::norm_after;
use home::{Home, homes};

/// What one stage does: an op of the graph or its gradient, with its epilogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StageOp {
    /// Reads the images, `[N, C, H, W]`, into channels-last order.
    Import,
    /// A node's op with its epilogue.
    Forward {
        /// The batch normalisation after a convolution that is part of the convolution's prepared weights.
        norm: Option<NodeId>,
        /// The value that a sum after it adds, if the sum is the epilogue.
        add: Option<TensorId>,
        /// The ReLU or other activation after all that, if it is the epilogue.
        then: Option<NodeId>,
    },
    /// Mean and variance of a batch normalisation's operand.
    Statistics,
    /// Mean cross entropy of the logits, and its gradient.
    Loss,
    /// What a node contributes to the gradient of one of the values that it reads.
    InputGrad {
        /// Which of its inputs.
        input: usize,
        /// The input's value, if it is a ReLU's: the gradient is zero where the value is.
        mask: Option<TensorId>,
        /// Whether it adds to the contributions before it.
        accumulates: bool,
    },
    /// The gradient of a convolution's kernel.
    KernelGrad,
    /// The gradient of a convolution's bias.
    BiasGrad,
    /// The gradients of a batch normalisation's scale, which is what the stage writes, and of its shift.
    NormGrads {
        /// The gradient of the shift.
        shift: TensorId,
    },
    /// The gradient of a PReLU's slopes.
    SlopeGrad,
}

/// One computation with its epilogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// What it does.
    pub op: StageOp,
    /// The node whose op or gradient it is; the logits of a loss.
    pub node: NodeId,
    /// Tensors read, the mask aside.
    pub reads: Vec<TensorId>,
    /// The tensor written; the first of several ([`Stage::written`]).
    pub writes: TensorId,
}

/// How a block walks over the images of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Domain {
    /// All of its stages on one image, then on the next.
    Image,
    /// Each stage on all images: a vector is one row of a matrix product.
    Chunk,
}

/// Stages that one generated function runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The layers it holds, such as `mlpconv1 maxpool1`; a backward block's begins with `d `.
    pub name: String,
    /// How it walks over images.
    pub domain: Domain,
    /// The phase of the pass it runs in, from 0.
    pub phase: usize,
    /// Stages in order.
    pub stages: Vec<Stage>,
}

/// What a pass is for, where that decides how it is fused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassMode {
    /// Inference by a program that never trains: weights may be merged.
    Inference,
    /// Inference by a program that also trains: weights stay as they are.
    Evaluation,
    /// A training step.
    Training,
}

/// The passes of a program, fused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passes {
    /// Forward with dropout off.
    pub inference: Vec<Block>,
    /// Forward, loss and backward, of a program that trains.
    pub training: Option<Vec<Block>>,
}

impl Passes {
    /// Fuses the computations of a program.
    pub fn of(checked: &Checked<'_>, computations: &Computations) -> Passes {
        let mode = match computations.training {
            Some(_) => PassMode::Evaluation,
            None => PassMode::Inference,
        };
        let step = computations.training.as_ref();
        Passes {
            inference: fuse(checked, &computations.inference, mode),
            training: step.map(|step| fuse(checked, &step.nodes, PassMode::Training)),
        }
    }
}

/// Images of the groups that every batch normalisation takes statistics of, if there are any and all have one size.
pub fn common_ghost(graph: &Graph) -> Option<usize> {
    let sizes = graph.nodes().iter().filter_map(|node| {
        let Op::BatchNorm { ghost, .. } = node.op else { return None };
        Some(ghost)
    });
    let mut sizes = sizes.collect::<Vec<_>>();
    sizes.dedup();
    match *sizes {
        [ghost] if ghost > 0 => Some(ghost),
        _ => None,
    }
}

/// Fuses the computations of a pass into blocks, in evaluation order.
fn fuse(checked: &Checked<'_>, nodes: &[TrainNode], mode: PassMode) -> Vec<Block> {
    let (graph, readers) = (checked.graph(), checked.readers());
    let stages = epilogue::stages(graph, readers, nodes, mode);
    let homes = homes(checked, mode);
    let by_chunk = common_ghost(graph).is_some();
    let mut blocks: Vec<(Home, Block)> = Vec::new();
    let mut phase = 0;
    // Sums over the batch that are complete only when the phase under way ends; over a chunk, when the block does.
    let mut open: Vec<TensorId> = Vec::new();
    for stage in stages {
        let waits = stage.reads.iter().any(|tensor| open.contains(tensor));
        if waits {
            phase += usize::from(!by_chunk);
            open.clear();
        }
        open.extend(stage.sums());
        let home = Home::of(checked, &stage, &homes);
        match blocks.last_mut() {
            Some((last, block)) if *last == home && block.phase == phase && !waits => {
                block.stages.push(stage);
            }
            _ => blocks.push((home, home.open(checked, &homes, phase, stage))),
        }
    }
    let blocks: Vec<Block> = blocks.into_iter().map(|(_, block)| block).collect();
    if cfg!(debug_assertions) {
        verify(graph, nodes, &blocks);
    }
    blocks
}

/// Checks what blocks promise: every tensor that a stage reads was written before, what is added to is there, phases do not
/// go back, and whatever the computations leave for others than themselves is written: the last value, the loss's gradient and the
/// gradients of weights.
///
/// # Panics
/// On a violation, which is a bug in nin.
pub fn verify(graph: &Graph, nodes: &[TrainNode], blocks: &[Block]) {
    let mut written = BTreeSet::from([TensorId::Labels]);
    let mut phase = 0;
    for block in blocks {
        assert!(!block.stages.is_empty(), "{} has no stages (a bug in nin)", block.name);
        assert!(block.phase >= phase, "{} goes back a phase (a bug in nin)", block.name);
        phase = block.phase;
        for stage in &block.stages {
            for tensor in stage.reads.iter().copied().chain(stage.beside()) {
                let is_there = written.contains(&tensor);
                assert!(is_there, "{tensor} is read before it is written (a bug in nin)");
            }
            for tensor in stage.written() {
                let is_new = written.insert(tensor);
                assert_eq!(is_new, !stage.accumulates(), "{} (a bug in nin)", stage.display(graph));
            }
        }
    }
    let wanted = nodes.iter().map(|node| node.writes).filter(|tensor| match tensor {
        TensorId::WeightGrad(_) | TensorId::Statistics(_) => true,
        TensorId::Value(id) => *id == graph.result(),
        TensorId::Grad(_) | TensorId::Labels | TensorId::Loss => false,
    });
    for tensor in wanted {
        assert!(written.contains(&tensor), "nobody writes {tensor} (a bug in nin)");
    }
}

#[cfg(test)]
mod tests;
