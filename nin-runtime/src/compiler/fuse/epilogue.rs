//! Computations and their epilogues become stages.
#![warn(clippy::wildcard_enum_match_arm)]

use std::collections::BTreeSet;

use nin_dsl::graph::{Graph, NodeId, Op, Readers};

use super::{PassMode, Stage, StageOp};
use crate::compiler::activation::Finish;
use crate::compiler::autodiff::{Shortcut, TensorId, TrainNode, TrainOp};

/// The batch normalisation that alone reads a convolution, which can be merged into the convolution's weights.
pub fn norm_after(graph: &Graph, readers: &Readers, conv: NodeId) -> Option<NodeId> {
    let is_norm = |id: &NodeId| matches!(graph.node(*id).op, Op::BatchNorm { .. });
    let reader = readers.only(conv).filter(is_norm);
    reader.filter(|_| matches!(graph.node(conv).op, Op::Conv { .. }))
}

/// Merges computations with their epilogues.
pub(super) fn stages(
    graph: &Graph,
    readers: &Readers,
    nodes: &[TrainNode],
    mode: PassMode,
) -> Vec<Stage> {
    let masks = masks(graph, readers, nodes);
    let mut stages = Vec::with_capacity(nodes.len());
    let mut rest = nodes.iter().peekable();
    while let Some(node) = rest.next() {
        let stage = match node.op {
            TrainOp::Forward(id) => {
                let mut writes = node.writes;
                let merges = mode == PassMode::Inference;
                let norm = norm_after(graph, readers, id).filter(|_| merges);
                let norm = norm.filter(|&norm| take_forward(&mut rest, norm, &mut writes));
                let mut last = norm.unwrap_or(id);
                let mut add = None;
                if let Some((sum, other)) = sum_after(graph, readers, last)
                    && take_forward(&mut rest, sum, &mut writes)
                {
                    (last, add) = (sum, Some(TensorId::Value(other)));
                }
                let next = readers.only(last);
                let next = next.filter(|&next| finishes(graph, mode, (id, last), next));
                let then = next.filter(|&next| take_forward(&mut rest, next, &mut writes));
                let op = match graph.node(id).op {
                    Op::Input => StageOp::Import,
                    Op::Conv { .. }
                    | Op::Relu
                    | Op::Activation(_)
                    | Op::PRelu { .. }
                    | Op::MaxPool { .. }
                    | Op::AvgPool { .. }
                    | Op::GlobalAvgPool
                    | Op::GlobalMaxPool
                    | Op::Dropout { .. }
                    | Op::BatchNorm { .. }
                    | Op::Lrn { .. }
                    | Op::Softmax
                    | Op::Add
                    | Op::Concat
                    | Op::Mul => StageOp::Forward { norm, add, then },
                };
                Stage { op, node: id, reads: node.reads.clone(), writes }
            }
            TrainOp::Statistics(id) => alone(StageOp::Statistics, node, id),
            TrainOp::ScaleGrad(id) => {
                // A batch normalisation's shift reads half of what its scale does.
                match rest.next_if(|next| next.op == TrainOp::BiasGrad(id)) {
                    Some(next) => alone(StageOp::NormGrads { shift: next.writes }, node, id),
                    None => alone(StageOp::SlopeGrad, node, id),
                }
            }
            TrainOp::CrossEntropy => {
                let grad = rest.next().expect("the loss is followed by its gradient");
                assert_eq!(
                    grad.op,
                    TrainOp::CrossEntropyGrad,
                    "the loss is followed by its gradient"
                );
                Stage {
                    op: StageOp::Loss,
                    node: graph.logits(),
                    reads: node.reads.clone(),
                    writes: grad.writes,
                }
            }
            TrainOp::CrossEntropyGrad => unreachable!("taken together with the loss"),
            TrainOp::InputGrad { node: relu, .. } if masks.contains(&relu) => continue,
            TrainOp::InputGrad { node: id, input } => {
                let mut stage = input_grad(graph, &masks, node, (id, input));
                if let StageOp::InputGrad { mask, .. } = &mut stage.op
                    && shortcut(graph, readers, (id, input)).is_some()
                {
                    // The convolution after it masks the sum.
                    *mask = None;
                }
                stage
            }
            TrainOp::KernelGrad(id) => alone(StageOp::KernelGrad, node, id),
            TrainOp::BiasGrad(id) => alone(StageOp::BiasGrad, node, id),
        };
        stages.push(stage);
    }
    stages
}

/// The shortcut that passes a gradient on, if one does.
fn shortcut(graph: &Graph, readers: &Readers, (id, input): (NodeId, usize)) -> Option<Shortcut> {
    Shortcut::of(graph, readers, id).filter(|shortcut| shortcut.input == input)
}

impl Stage {
    /// The shortcut whose gradient it passes on, if it does no more.
    pub(super) fn shortcut(&self, graph: &Graph, readers: &Readers) -> Option<Shortcut> {
        let StageOp::InputGrad { input, .. } = self.op else { return None };
        shortcut(graph, readers, (self.node, input))
    }
}

/// A computation that has no epilogue.
fn alone(op: StageOp, node: &TrainNode, id: NodeId) -> Stage {
    Stage { op, node: id, reads: node.reads.clone(), writes: node.writes }
}

/// The ReLUs whose gradient is a mask on every contribution to the gradient of their value.
fn masks(graph: &Graph, readers: &Readers, nodes: &[TrainNode]) -> BTreeSet<NodeId> {
    let is_masked = |&id: &NodeId| {
        let writes = TensorId::Grad(id);
        graph.node(id).op == Op::Relu
            // Whatever else were added to the gradient of its operand would come under the mask too.
            && readers.only(graph.operand(id)) == Some(id)
            && nodes.iter().filter(|node| node.writes == writes).all(|node| match node.op {
                TrainOp::InputGrad { node, .. } => masks_its_result(graph.node(node).op),
                TrainOp::Forward(_)
                | TrainOp::Statistics(_)
                | TrainOp::CrossEntropy
                | TrainOp::CrossEntropyGrad
                | TrainOp::KernelGrad(_)
                | TrainOp::BiasGrad(_)
                | TrainOp::ScaleGrad(_) => false,
            })
    };
    let relus = nodes.iter().filter_map(|node| match node.op {
        TrainOp::InputGrad { node, .. } => Some(node),
        TrainOp::Forward(_)
        | TrainOp::Statistics(_)
        | TrainOp::CrossEntropy
        | TrainOp::CrossEntropyGrad
        | TrainOp::KernelGrad(_)
        | TrainOp::BiasGrad(_)
        | TrainOp::ScaleGrad(_) => None,
    });
    relus.filter(is_masked).collect()
}

/// Whether a mask can be the epilogue of an op's input gradient.
fn masks_its_result(op: Op) -> bool {
    match op {
        Op::Conv { .. }
        | Op::MaxPool { .. }
        | Op::AvgPool { .. }
        | Op::GlobalAvgPool
        | Op::GlobalMaxPool
        | Op::BatchNorm { .. }
        | Op::Lrn { .. }
        | Op::Add
        | Op::Concat
        | Op::Mul => true,
        Op::Input
        | Op::Relu
        | Op::Activation(_)
        | Op::PRelu { .. }
        | Op::Dropout { .. }
        | Op::Softmax => false,
    }
}

/// An input gradient, masked if the input is a ReLU whose gradient is a mask: then it is the gradient of the ReLU's operand.
fn input_grad(
    graph: &Graph,
    masks: &BTreeSet<NodeId>,
    node: &TrainNode,
    (id, input): (NodeId, usize),
) -> Stage {
    let read = graph.node(id).inputs[input];
    let (mask, writes) = match masks.contains(&read) {
        true => (Some(TensorId::Value(read)), TensorId::Grad(graph.operand(read))),
        false => (None, node.writes),
    };
    let op = StageOp::InputGrad { input, mask, accumulates: node.accumulates };
    Stage { op, node: id, reads: node.reads.clone(), writes }
}

/// Whether a ReLU after an op is the op's epilogue.
fn rectifies(op: Op) -> bool {
    match op {
        Op::Conv { .. } | Op::BatchNorm { .. } | Op::Add => true,
        Op::Input
        | Op::Relu
        | Op::Activation(_)
        | Op::PRelu { .. }
        | Op::MaxPool { .. }
        | Op::AvgPool { .. }
        | Op::GlobalAvgPool
        | Op::GlobalMaxPool
        | Op::Dropout { .. }
        | Op::Lrn { .. }
        | Op::Softmax
        | Op::Concat
        | Op::Mul => false,
    }
}

/// The sum of two that alone reads a convolution or a batch normalisation, and what it adds to that.
fn sum_after(graph: &Graph, readers: &Readers, id: NodeId) -> Option<(NodeId, NodeId)> {
    if !matches!(graph.node(id).op, Op::Conv { .. } | Op::BatchNorm { .. }) {
        return None;
    }
    let sum = readers.only(id).filter(|&reader| graph.node(reader).op == Op::Add)?;
    match *graph.node(sum).inputs {
        [first, second] => Some((sum, if first == id { second } else { first })),
        _ => None,
    }
}

/// Whether an activation after the `last` node of a stage of a node is its epilogue. The tiles of convolutions know some; other
/// loops know all, where the operand need not be kept for the backward pass.
fn finishes(graph: &Graph, mode: PassMode, (id, last): (NodeId, NodeId), next: NodeId) -> bool {
    let forgets = |finish: Finish| mode != PassMode::Training || finish.forgets_its_operand();
    match Finish::of(graph.node(next).op) {
        None => false,
        Some(Finish::Relu) => rectifies(graph.node(last).op),
        Some(finish @ Finish::Activation(_)) => {
            let known = match graph.node(id).op {
                Op::BatchNorm { .. } | Op::Add => true,
                Op::Conv { .. } => finish.in_tiles().is_some(),
                Op::Input
                | Op::Relu
                | Op::Activation(_)
                | Op::PRelu { .. }
                | Op::MaxPool { .. }
                | Op::AvgPool { .. }
                | Op::GlobalAvgPool
                | Op::GlobalMaxPool
                | Op::Dropout { .. }
                | Op::Lrn { .. }
                | Op::Softmax
                | Op::Concat
                | Op::Mul => false,
            };
            known && forgets(finish)
        }
    }
}

/// Takes the next computation if it is the forward pass of a node; its tensor is then the one that is written.
fn take_forward<'a>(
    rest: &mut std::iter::Peekable<impl Iterator<Item = &'a TrainNode>>,
    node: NodeId,
    writes: &mut TensorId,
) -> bool {
    match rest.next_if(|next| next.op == TrainOp::Forward(node)) {
        Some(taken) => {
            *writes = taken.writes;
            true
        }
        None => false,
    }
}
