//! Reverse-mode differentiation: the checked [`Graph`] becomes a [`TrainGraph`], which also says which values backward needs.
//!
//! The rules stand in one place, [`differentiate`]. A gradient is named by what it is the gradient of, not by a new op
//! per rule, so that the interpreter and the code generator each match on the model's own ops.
#![warn(clippy::wildcard_enum_match_arm)]

mod shortcut;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use nin_dsl::graph::{Graph, NodeId, Op, Readers, Role, WeightId};

use crate::compiler::Checked;
use crate::compiler::activation::{Elementwise, Reads, elementwise};

pub use shortcut::Shortcut;

/// A tensor of a training step; `N` stands for the images at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TensorId {
    /// A node's value, `[N, ...shape]`.
    Value(NodeId),
    /// The gradient of the loss with respect to a node's value, `[N, ...shape]`.
    Grad(NodeId),
    /// The gradient of the loss with respect to a weight, in the weight's dimensions.
    WeightGrad(WeightId),
    /// Mean and biased variance of a batch normalisation's operand over the whole batch, `[2, channels]`, or as many rows for
    /// each group of images.
    Statistics(NodeId),
    /// The class of each image, `[N]`.
    Labels,
    /// Mean softmax cross entropy over the batch.
    Loss,
}

/// How a tensor is computed from its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrainOp {
    /// The node's own op, on the values that it reads; a batch normalisation's second operand in training is the batch's
    /// statistics.
    Forward(NodeId),
    /// Mean and variance of a batch normalisation's operand over the batch.
    Statistics(NodeId),
    /// `mean over images of (log sum exp(z) - z[label])` of logits `z`; operands: logits, labels.
    CrossEntropy,
    /// `(softmax(z) - onehot(label)) / batch`; operands: logits, labels.
    CrossEntropyGrad,
    /// What a node contributes to the gradient of one of the values that it reads; operands: the gradient of the node's value,
    /// then what its rule needs of the forward pass.
    InputGrad {
        /// The node.
        node: NodeId,
        /// Which of its inputs.
        input: usize,
    },
    /// The gradient with respect to this node's kernel; operands: the gradient of the node's value, the operand's value.
    KernelGrad(NodeId),
    /// The gradient with respect to this node's bias or shift; operands: the gradient of the node's value.
    BiasGrad(NodeId),
    /// The gradient with respect to this node's scale or slopes; operands: the gradient of the node's value, the operand's
    /// value, and its statistics for a scale.
    ScaleGrad(NodeId),
}

/// One computation of a training step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainNode {
    /// What to compute.
    pub op: TrainOp,
    /// The tensors it reads, each computed by an earlier node ([`TensorId::Labels`] is given).
    pub reads: Vec<TensorId>,
    /// The tensor it computes, or contributes to.
    pub writes: TensorId,
    /// Whether it adds to what others before it have contributed: a value that several nodes read has a contribution to its
    /// gradient from each, in the order of the computations.
    pub accumulates: bool,
}

impl TrainNode {
    /// A computation whose tensor nobody else writes.
    pub fn new(op: TrainOp, reads: Vec<TensorId>, writes: TensorId) -> TrainNode {
        TrainNode { op, reads, writes, accumulates: false }
    }
}

/// A training step over one graph: forward, loss, and the gradient of every weight, in evaluation order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainGraph {
    /// Computations; operands before users.
    pub nodes: Vec<TrainNode>,
}

/// What the passes of a program compute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Computations {
    /// Forward with dropout off, to the model's result.
    pub inference: Vec<TrainNode>,
    /// A training step, of a program that trains.
    pub training: Option<TrainGraph>,
}

impl Computations {
    /// Those of a model, for inference only or for training too.
    pub fn of(checked: &Checked<'_>, training: bool) -> Computations {
        let graph = checked.graph();
        let order = checked.order().iter().copied();
        Computations {
            inference: order.map(|id| computation(graph, id)).collect(),
            training: training.then(|| differentiate(graph)),
        }
    }
}

/// Differentiates the mean softmax cross entropy of a model's logits with respect to all of its weights.
///
/// A final softmax is not evaluated: it is fused with the cross entropy. A value that no trained weight is behind gets no
/// gradient.
pub fn differentiate(graph: &Graph) -> TrainGraph {
    let logits = graph.logits();
    let mut nodes = forward_in_training(graph, logits);
    let loss_reads = vec![TensorId::Value(logits), TensorId::Labels];
    nodes.push(TrainNode::new(TrainOp::CrossEntropy, loss_reads.clone(), TensorId::Loss));
    nodes.push(TrainNode::new(TrainOp::CrossEntropyGrad, loss_reads, TensorId::Grad(logits)));
    let (trained, readers) = (behind(graph), Readers::of(graph));
    let mut contributed: BTreeSet<NodeId> = BTreeSet::new();
    // What shortcuts contribute, by the convolution that it waits for.
    let mut waiting: BTreeMap<NodeId, TrainNode> = BTreeMap::new();
    for id in graph.ids().rev().skip_while(|&id| id > logits).filter(|id| trained[id.index()]) {
        nodes.extend(waiting.remove(&id));
        weight_grads(graph, id, &mut nodes);
        let shortcut = Shortcut::of(graph, &readers, id);
        for input in inputs_to_differentiate(graph, &readers, id) {
            let to = graph.node(id).inputs[input];
            if !trained[to.index()] {
                continue;
            }
            let op = TrainOp::InputGrad { node: id, input };
            let reads = [TensorId::Grad(id)].into_iter().chain(saved(graph, id, input)).collect();
            let accumulates = !contributed.insert(to);
            let node = TrainNode { op, reads, writes: TensorId::Grad(to), accumulates };
            match shortcut.filter(|shortcut| shortcut.input == input) {
                Some(shortcut) => _ = waiting.insert(shortcut.conv, node),
                None => nodes.push(node),
            }
        }
    }
    verified(graph, nodes)
}

/// Which nodes' values depend on a trained weight, by node.
fn behind(graph: &Graph) -> Vec<bool> {
    let mut trained = vec![false; graph.nodes().len()];
    for weight in graph.weights().iter().filter(|weight| weight.role.is_trained()) {
        trained[weight.node.index()] = true;
    }
    for id in graph.ids() {
        trained[id.index()] |= graph.node(id).inputs.iter().any(|input| trained[input.index()]);
    }
    trained
}

/// The numbers of a node's inputs in the order in which they get their contributions: those that others read too come first, so
/// that the last may have the node's own gradient where it lies.
fn inputs_to_differentiate(graph: &Graph, readers: &Readers, id: NodeId) -> Vec<usize> {
    let inputs = &graph.node(id).inputs;
    let mut order: Vec<usize> = (0..inputs.len()).collect();
    order.sort_by_key(|&input| readers.only(inputs[input]).is_some());
    order
}

/// The gradients of the weights that a node reads.
fn weight_grads(graph: &Graph, id: NodeId, nodes: &mut Vec<TrainNode>) {
    let grad = TensorId::Grad(id);
    let mut push = |op, reads, weight| {
        nodes.push(TrainNode::new(op, reads, TensorId::WeightGrad(weight)));
    };
    match graph.node(id).op {
        Op::Conv { weight, bias, .. } => {
            let value = TensorId::Value(graph.operand(id));
            push(TrainOp::KernelGrad(id), vec![grad, value], weight);
            if let Some(bias) = bias {
                push(TrainOp::BiasGrad(id), vec![grad], bias);
            }
        }
        Op::BatchNorm { weights, .. } => {
            let reads = vec![grad, TensorId::Value(graph.operand(id)), TensorId::Statistics(id)];
            push(TrainOp::ScaleGrad(id), reads, weights.scale);
            push(TrainOp::BiasGrad(id), vec![grad], weights.shift);
        }
        Op::PRelu { slope } => {
            let value = TensorId::Value(graph.operand(id));
            push(TrainOp::ScaleGrad(id), vec![grad, value], slope);
        }
        Op::Input
        | Op::Relu
        | Op::Activation(_)
        | Op::MaxPool { .. }
        | Op::AvgPool { .. }
        | Op::GlobalAvgPool
        | Op::GlobalMaxPool
        | Op::Dropout { .. }
        | Op::Lrn { .. }
        | Op::Softmax
        | Op::Add
        | Op::Concat
        | Op::Mul => {}
    }
}

/// The training step that consists of some computations; where assertions are on, one that keeps its invariants.
fn verified(graph: &Graph, nodes: Vec<TrainNode>) -> TrainGraph {
    let train = TrainGraph { nodes };
    if cfg!(debug_assertions) {
        train.verify(graph);
    }
    train
}

/// The forward nodes up to and including `last`, without what training asks for.
pub fn forward(graph: &Graph, last: NodeId) -> Vec<TrainNode> {
    graph.ids().take_while(|&id| id <= last).map(|id| computation(graph, id)).collect()
}

/// A node's own op.
fn computation(graph: &Graph, id: NodeId) -> TrainNode {
    let reads = graph.node(id).inputs.iter().copied().map(TensorId::Value).collect();
    TrainNode::new(TrainOp::Forward(id), reads, TensorId::Value(id))
}

/// The forward nodes of a training step: batch normalisations take the statistics of the batch.
fn forward_in_training(graph: &Graph, last: NodeId) -> Vec<TrainNode> {
    let mut nodes = Vec::with_capacity(graph.nodes().len());
    for mut node in forward(graph, last) {
        if let TrainOp::Forward(id) = node.op
            && let Op::BatchNorm { .. } = graph.node(id).op
        {
            let (op, writes) = (TrainOp::Statistics(id), TensorId::Statistics(id));
            nodes.push(TrainNode::new(op, node.reads.clone(), writes));
            node.reads.push(writes);
        }
        nodes.push(node);
    }
    nodes
}

/// What the rule for the gradient of one of a node's inputs reads besides the gradient of its value.
pub fn saved(graph: &Graph, id: NodeId, input: usize) -> Vec<TensorId> {
    let operand = || TensorId::Value(graph.operand(id));
    if let Some(Elementwise { reads, .. }) = elementwise(graph.node(id).op) {
        return match reads {
            Reads::Nothing => vec![],
            Reads::Sign | Reads::Value => vec![TensorId::Value(id)],
            Reads::Operand => vec![operand()],
        };
    }
    match graph.node(id).op {
        // Winners are found again from the operand: cheaper than storing them.
        Op::MaxPool { .. } | Op::GlobalMaxPool => vec![operand()],
        // The sums are made again: cheaper than storing them.
        Op::Lrn { .. } => vec![operand()],
        // The gradients of scale and shift are the two sums over the batch that the rule needs.
        Op::BatchNorm { weights, .. } => {
            let sums = [weights.scale, weights.shift].map(TensorId::WeightGrad);
            [operand(), TensorId::Statistics(id)].into_iter().chain(sums).collect()
        }
        // The other factors.
        Op::Mul => {
            let inputs = graph.node(id).inputs.iter().enumerate();
            inputs
                .filter(|&(other, _)| other != input)
                .map(|(_, &id)| TensorId::Value(id))
                .collect()
        }
        Op::Input
        | Op::Conv { .. }
        | Op::AvgPool { .. }
        | Op::GlobalAvgPool
        | Op::Softmax
        | Op::Add
        | Op::Concat => vec![],
        Op::Relu | Op::Activation(_) | Op::PRelu { .. } | Op::Dropout { .. } => {
            unreachable!("{id} works element by element (a bug in nin)")
        }
    }
}

impl TrainGraph {
    /// Checks the invariants: every operand is computed before it is read, nothing is computed twice, contributions add to what
    /// there is and come before anyone reads the sum, and every trained weight has a gradient of its own.
    ///
    /// # Panics
    /// On a violation, which is a bug in nin.
    pub fn verify(&self, graph: &Graph) {
        let mut known = BTreeMap::from([(TensorId::Labels, None)]);
        let mut read: BTreeSet<TensorId> = BTreeSet::new();
        for node in &self.nodes {
            for operand in &node.reads {
                assert!(
                    known.contains_key(operand),
                    "{operand} is read before it is computed (a bug in nin)"
                );
                read.insert(*operand);
            }
            let writes = node.writes;
            assert!(!read.contains(&writes), "{writes} is read before it is whole (a bug in nin)");
            let before = known.insert(writes, Some(node.op));
            match node.accumulates {
                true => assert!(before.is_some(), "nothing to add to in {writes} (a bug in nin)"),
                false => assert!(before.is_none(), "{writes} is computed twice (a bug in nin)"),
            }
        }
        for (id, weight) in graph.weight_ids().zip(graph.weights()) {
            let rule = known.get(&TensorId::WeightGrad(id)).copied().flatten();
            let right = match weight.role {
                Role::Kernel => matches!(rule, Some(TrainOp::KernelGrad(_))),
                Role::Bias | Role::Shift => matches!(rule, Some(TrainOp::BiasGrad(_))),
                Role::Scale | Role::Slope => matches!(rule, Some(TrainOp::ScaleGrad(_))),
                Role::RunningMean | Role::RunningVariance => rule.is_none(),
            };
            assert!(right, "{}: rule of its gradient: {rule:?} (a bug in nin)", weight.name);
        }
    }

    /// One line a computation: `nin show --stage train`.
    pub fn display(&self, graph: &Graph) -> String {
        use std::fmt::Write as _;
        let mut text = format!("train {}\n", graph.name());
        for node in &self.nodes {
            let operands: Vec<String> = node.reads.iter().map(TensorId::to_string).collect();
            let what = match node.op {
                TrainOp::Forward(id) => match statistics(&node.reads) {
                    None => graph.describe(id),
                    Some(statistics) => format!("{} by {statistics}", graph.describe(id)),
                },
                TrainOp::CrossEntropy => format!("cross_entropy({})", operands.join(", ")),
                TrainOp::CrossEntropyGrad => format!("cross_entropy_grad({})", operands.join(", ")),
                TrainOp::InputGrad { node: id, .. } => {
                    format!("input_grad({}) of {id}", operands.join(", "))
                }
                TrainOp::KernelGrad(id) => format!("kernel_grad({}) of {id}", operands.join(", ")),
                TrainOp::BiasGrad(id) => format!("bias_grad({}) of {id}", operands.join(", ")),
                TrainOp::Statistics(_) => format!("statistics({})", operands.join(", ")),
                TrainOp::ScaleGrad(id) => format!("scale_grad({}) of {id}", operands.join(", ")),
            };
            let sign = if node.accumulates { "+=" } else { "=" };
            writeln!(text, "  {:<24} {sign} {what}", node.writes.display(graph))
                .expect("writing to a string cannot fail");
        }
        text
    }
}

/// The statistics among what a computation reads.
pub(crate) fn statistics(reads: &[TensorId]) -> Option<TensorId> {
    reads.iter().copied().find(|read| matches!(read, TensorId::Statistics(_)))
}

impl TensorId {
    /// As it prints, but a weight's gradient by the weight's name.
    pub fn display(self, graph: &Graph) -> String {
        match self {
            TensorId::WeightGrad(id) => format!("d {}", graph.weight(id).name),
            TensorId::Value(_)
            | TensorId::Grad(_)
            | TensorId::Statistics(_)
            | TensorId::Labels
            | TensorId::Loss => self.to_string(),
        }
    }
}

impl fmt::Display for TensorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TensorId::Value(id) => write!(f, "{id}"),
            TensorId::Grad(id) => write!(f, "d{id}"),
            TensorId::WeightGrad(id) => write!(f, "dw{}", id.0),
            TensorId::Statistics(id) => write!(f, "s{id}"),
            TensorId::Labels => f.write_str("labels"),
            TensorId::Loss => f.write_str("loss"),
        }
    }
}

#[cfg(test)]
mod tests;
