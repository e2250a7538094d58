//! Which stages share a block.
#![warn(clippy::wildcard_enum_match_arm)]

use nin_dsl::graph::{Graph, NodeId, Op, Readers};
use nin_dsl::shape::Shape;

use super::{Block, Domain, PassMode, Stage, StageOp};
use crate::compiler::Checked;
use crate::compiler::geometry::is_depthwise;

/// Which block a node's stages belong to, by node index; block numbers count up in evaluation order.
pub(super) fn homes(checked: &Checked<'_>, mode: PassMode) -> Vec<(usize, Domain)> {
    /// What may still join the open block.
    enum Open {
        /// Only the input so far: anything on maps.
        Start,
        /// Convolutions so far: pointwise ones and a pool.
        Convs,
        /// A pool stands last: only what works in place on its result.
        Closed,
    }
    let (graph, readers) = (checked.graph(), checked.readers());
    let order: Vec<NodeId> = match mode {
        PassMode::Inference | PassMode::Evaluation => checked.order().to_vec(),
        PassMode::Training => graph.ids().collect(),
    };
    let mut homes: Vec<(usize, Domain)> = vec![(0, Domain::Image); order.len()];
    let mut open = Open::Start;
    let (mut block, mut before) = (0, None);
    for id in order {
        let follows = follows(graph, readers, before, id);
        before = Some(id);
        if !follows {
            open = Open::Start;
        }
        let read = graph.node(id).inputs.first().map_or(Domain::Image, |id| homes[id.index()].1);
        let domain = domain_of(graph, id, read);
        let (joins, next) = match graph.node(id).op {
            Op::Input => (true, Open::Start),
            Op::Conv { .. } => {
                let joins = match open {
                    Open::Start => true,
                    Open::Convs => is_pointwise(graph, id),
                    Open::Closed => false,
                };
                (joins, Open::Convs)
            }
            Op::MaxPool { .. } | Op::AvgPool { .. } | Op::GlobalAvgPool | Op::GlobalMaxPool => {
                (!matches!(open, Open::Closed), Open::Closed)
            }
            Op::Relu
            | Op::Activation(_)
            | Op::PRelu { .. }
            | Op::Dropout { .. }
            | Op::Lrn { .. } => (true, open),
            // It waits for all images.
            Op::BatchNorm { .. } if mode == PassMode::Training => (false, Open::Start),
            Op::BatchNorm { .. } => (true, open),
            Op::Softmax => (true, Open::Closed),
            Op::Add | Op::Concat | Op::Mul => (false, Open::Closed),
        };
        if !joins || !follows || domain != read {
            block += 1;
        }
        open = next;
        homes[id.index()] = (block, domain);
    }
    homes
}

/// Whether a convolution is a matrix product of each pixel.
fn is_pointwise(graph: &Graph, id: NodeId) -> bool {
    let Op::Conv { window, groups, .. } = graph.node(id).op else { return false };
    let [cin, cout] = [graph.operand(id), id].map(|id| graph.node(id).shape.channels() / groups);
    window.is_pointwise() && !is_depthwise(groups, cin, cout)
}

/// Whether a node reads nothing but the node before it in the order of evaluation, and nobody else does.
fn follows(graph: &Graph, readers: &Readers, before: Option<NodeId>, id: NodeId) -> bool {
    before
        .is_none_or(|before| graph.node(id).inputs == [before] && readers.only(before) == Some(id))
}

/// Vectors are walked by chunk, but for the global pools and what works in place on it.
fn domain_of(graph: &Graph, id: NodeId, before: Domain) -> Domain {
    match graph.node(id).op {
        Op::Input
        | Op::MaxPool { .. }
        | Op::AvgPool { .. }
        | Op::GlobalAvgPool
        | Op::GlobalMaxPool
        | Op::Add
        | Op::Concat
        | Op::Mul => Domain::Image,
        Op::Relu
        | Op::Activation(_)
        | Op::PRelu { .. }
        | Op::Dropout { .. }
        | Op::BatchNorm { .. }
        | Op::Lrn { .. } => before,
        Op::Softmax => Domain::Chunk,
        Op::Conv { .. } => match graph.node(id).shape {
            Shape::Map { .. } => Domain::Image,
            Shape::Vector { .. } => Domain::Chunk,
        },
    }
}

/// Where a stage belongs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    Forward(usize),
    Loss,
    Backward(usize),
}

impl Home {
    pub(super) fn of(checked: &Checked<'_>, stage: &Stage, homes: &[(usize, Domain)]) -> Home {
        let home = |stage: &Stage| homes[worked_at(checked, stage).index()].0;
        match stage.op {
            StageOp::Import | StageOp::Forward { .. } | StageOp::Statistics => {
                Home::Forward(home(stage))
            }
            StageOp::Loss => Home::Loss,
            StageOp::InputGrad { .. }
            | StageOp::KernelGrad
            | StageOp::BiasGrad
            | StageOp::NormGrads { .. }
            | StageOp::SlopeGrad => Home::Backward(home(stage)),
        }
    }

    pub(super) fn open(
        self,
        checked: &Checked<'_>,
        homes: &[(usize, Domain)],
        phase: usize,
        first: Stage,
    ) -> Block {
        let graph = checked.graph();
        let (prefix, block) = match self {
            Home::Forward(block) => ("", block),
            Home::Backward(block) => ("d ", block),
            Home::Loss => {
                return Block {
                    name: "loss".to_owned(),
                    domain: Domain::Chunk,
                    phase,
                    stages: vec![first],
                };
            }
        };
        let mut names: Vec<&str> = Vec::new();
        for id in graph.ids().filter(|id| homes[id.index()].0 == block) {
            let layer = graph.layer_of(id);
            if names.last() != Some(&layer.name.as_str()) && graph.node(id).op != Op::Input {
                names.push(&layer.name);
            }
        }
        let name = if names.is_empty() { "input".to_owned() } else { names.join(" ") };
        let domain = homes[worked_at(checked, &first).index()].1;
        Block { name: format!("{prefix}{name}"), domain, phase, stages: vec![first] }
    }
}

/// The node beside which a stage works: its own, but for a batch normalisation its operand, where the sums of its forward
/// pass are gathered and its operand's gradient is made; and what a shortcut passes on waits for its convolution.
fn worked_at(checked: &Checked<'_>, stage: &Stage) -> NodeId {
    let graph = checked.graph();
    if let Some(shortcut) = stage.shortcut(graph, checked.readers()) {
        return shortcut.conv;
    }
    let at_operand = match stage.op {
        StageOp::Statistics => true,
        StageOp::InputGrad { .. } => matches!(graph.node(stage.node).op, Op::BatchNorm { .. }),
        StageOp::Import
        | StageOp::Forward { .. }
        | StageOp::Loss
        | StageOp::KernelGrad
        | StageOp::BiasGrad
        | StageOp::NormGrads { .. }
        | StageOp::SlopeGrad => false,
    };
    if at_operand { graph.operand(stage.node) } else { stage.node }
}
