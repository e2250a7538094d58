//! Reverse-mode differentiation: the checked [`Graph`] becomes a [`TrainGraph`], which also says which values backward needs.
//!
//! The rules stand in one place, [`differentiate`]. A gradient is named by what it is the gradient of, not by a new op
//! per rule, so that the interpreter and the code generator each match on the model's own ops.
#![warn(clippy::wildcard_enum_match_arm)]

use std::collections::BTreeMap;
use std::fmt;

use nin_dsl::graph::{Graph, NodeId, Op, Role, WeightId};

/// A tensor of a training step; `N` stands for the images at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tensor {
    /// A node's value, `[N, ...shape]`.
    Value(NodeId),
    /// The gradient of the loss with respect to a node's value, `[N, ...shape]`.
    Grad(NodeId),
    /// The gradient of the loss with respect to a weight, in the weight's dimensions.
    WeightGrad(WeightId),
    /// Mean and biased variance of a batch normalisation's operand over the whole batch, `[2, channels]`.
    Statistics(NodeId),
    /// The class of each image, `[N]`.
    Labels,
    /// Mean softmax cross entropy over the batch.
    Loss,
}

/// How a tensor is computed from its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrainOp {
    /// The node's own op, on its operand's value; a batch normalisation's second operand in training is the batch's
    /// statistics.
    Forward(NodeId),
    /// Mean and variance of a batch normalisation's operand over the batch.
    Statistics(NodeId),
    /// `mean over images of (log sum exp(z) - z[label])` of logits `z`; operands: logits, labels.
    CrossEntropy,
    /// `(softmax(z) - onehot(label)) / batch`; operands: logits, labels.
    CrossEntropyGrad,
    /// The gradient with respect to the operand of this node; operands: the gradient of the node's value, then what
    /// its rule needs of the forward pass.
    InputGrad(NodeId),
    /// The gradient with respect to this node's kernel; operands: the gradient of the node's value, the operand's value.
    KernelGrad(NodeId),
    /// The gradient with respect to this node's bias or shift; operands: the gradient of the node's value.
    BiasGrad(NodeId),
    /// The gradient with respect to this node's scale; operands: the gradient of the node's value, the operand's value,
    /// its statistics.
    ScaleGrad(NodeId),
}

/// One computation of a training step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainNode {
    /// What to compute.
    pub op: TrainOp,
    /// The tensors it reads, each computed by an earlier node ([`Tensor::Labels`] is given).
    pub reads: Vec<Tensor>,
    /// The tensor it computes; no other node computes the same.
    pub writes: Tensor,
}

/// A training step over one graph: forward, loss, and the gradient of every weight, in evaluation order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainGraph {
    /// Computations; operands before users.
    pub nodes: Vec<TrainNode>,
}

/// Differentiates the mean softmax cross entropy of a model's logits with respect to all of its weights.
///
/// A final softmax is not evaluated: it is fused with the cross entropy. Nodes below the first weight get no gradient.
pub fn differentiate(graph: &Graph) -> TrainGraph {
    let logits = graph.logits();
    let mut nodes = forward_in_training(graph, logits);
    let loss_reads = vec![Tensor::Value(logits), Tensor::Labels];
    nodes.push(TrainNode {
        op: TrainOp::CrossEntropy,
        reads: loss_reads.clone(),
        writes: Tensor::Loss,
    });
    nodes.push(TrainNode {
        op: TrainOp::CrossEntropyGrad,
        reads: loss_reads,
        writes: Tensor::Grad(logits),
    });
    let trained = graph.weights.iter().filter(|weight| weight.role.is_trained());
    let Some(first_weighted) = trained.map(|weight| weight.node).min() else {
        return verified(graph, nodes);
    };
    for id in graph.ids().rev().skip_while(|&id| id > logits) {
        let Some(operand) = id.operand() else { break };
        if id < first_weighted {
            break;
        }
        let grad = Tensor::Grad(id);
        let value = Tensor::Value(operand);
        let mut push = |op, reads, writes| nodes.push(TrainNode { op, reads, writes });
        match graph.node(id).op {
            Op::Conv { weight, bias, .. } => {
                push(TrainOp::KernelGrad(id), vec![grad, value], Tensor::WeightGrad(weight));
                if let Some(bias) = bias {
                    push(TrainOp::BiasGrad(id), vec![grad], Tensor::WeightGrad(bias));
                }
            }
            Op::BatchNorm { weights, .. } => {
                let reads = vec![grad, value, Tensor::Statistics(id)];
                push(TrainOp::ScaleGrad(id), reads, Tensor::WeightGrad(weights.scale));
                push(TrainOp::BiasGrad(id), vec![grad], Tensor::WeightGrad(weights.shift));
            }
            Op::Input
            | Op::Relu
            | Op::LeakyRelu { .. }
            | Op::Elu { .. }
            | Op::MaxPool { .. }
            | Op::AvgPool { .. }
            | Op::GlobalAvgPool
            | Op::Dropout { .. }
            | Op::Softmax => {}
        }
        if id > first_weighted {
            let reads = [grad].into_iter().chain(saved(graph, id)).collect();
            push(TrainOp::InputGrad(id), reads, Tensor::Grad(operand));
        }
    }
    verified(graph, nodes)
}

/// The training step that consists of some computations; where assertions are on, one that keeps its invariants.
fn verified(graph: &Graph, nodes: Vec<TrainNode>) -> TrainGraph {
    let train = TrainGraph { nodes };
    if cfg!(debug_assertions) {
        train.verify(graph);
    }
    train
}

/// The forward nodes up to and including `last`, as inference runs them.
pub fn forward(graph: &Graph, last: NodeId) -> Vec<TrainNode> {
    let node = |id: NodeId| TrainNode {
        op: TrainOp::Forward(id),
        reads: id.operand().map(Tensor::Value).into_iter().collect(),
        writes: Tensor::Value(id),
    };
    graph.ids().take_while(|&id| id <= last).map(node).collect()
}

/// The forward nodes of a training step: batch normalisations take the statistics of the batch.
fn forward_in_training(graph: &Graph, last: NodeId) -> Vec<TrainNode> {
    let mut nodes = Vec::with_capacity(graph.nodes.len());
    for mut node in forward(graph, last) {
        if let TrainOp::Forward(id) = node.op
            && let Op::BatchNorm { .. } = graph.node(id).op
        {
            let (op, writes) = (TrainOp::Statistics(id), Tensor::Statistics(id));
            nodes.push(TrainNode { op, reads: node.reads.clone(), writes });
            node.reads.push(writes);
        }
        nodes.push(node);
    }
    nodes
}

/// What the rule for a node's input gradient reads besides the gradient of its value.
pub fn saved(graph: &Graph, id: NodeId) -> Vec<Tensor> {
    let operand = || id.operand().map(Tensor::Value).into_iter();
    match graph.node(id).op {
        // The mask is `output > 0`, so the operand's value can be dropped (or never be stored).
        // A leaky one's value has its operand's sign, since the slope is not negative. An ELU's value does, too, and tells
        // the gradient without another exponential.
        Op::Relu | Op::LeakyRelu { .. } | Op::Elu { .. } => vec![Tensor::Value(id)],
        // Winners are found again from the operand: cheaper than storing them.
        Op::MaxPool { .. } => operand().collect(),
        // The gradients of scale and shift are the two sums over the batch that the rule needs.
        Op::BatchNorm { weights, .. } => {
            let sums = [weights.scale, weights.shift].map(Tensor::WeightGrad);
            operand().chain([Tensor::Statistics(id)]).chain(sums).collect()
        }
        Op::Input
        | Op::Conv { .. }
        | Op::AvgPool { .. }
        | Op::GlobalAvgPool
        | Op::Dropout { .. }
        | Op::Softmax => vec![],
    }
}

impl TrainGraph {
    /// Checks the invariants: every operand is computed before it is read, nothing is computed twice, and every trained
    /// weight has a gradient of its own.
    ///
    /// # Panics
    /// On a violation, which is a bug in nin.
    pub fn verify(&self, graph: &Graph) {
        let mut known = BTreeMap::from([(Tensor::Labels, None)]);
        for node in &self.nodes {
            for operand in &node.reads {
                assert!(
                    known.contains_key(operand),
                    "{operand} is read before it is computed (a bug in nin)"
                );
            }
            let before = known.insert(node.writes, Some(node.op));
            assert!(before.is_none(), "{} is computed twice (a bug in nin)", node.writes);
        }
        for (id, weight) in graph.weight_ids().zip(&graph.weights) {
            let rule = known.get(&Tensor::WeightGrad(id)).copied().flatten();
            let right = match weight.role {
                Role::Kernel => matches!(rule, Some(TrainOp::KernelGrad(_))),
                Role::Bias | Role::Shift => matches!(rule, Some(TrainOp::BiasGrad(_))),
                Role::Scale => matches!(rule, Some(TrainOp::ScaleGrad(_))),
                Role::RunningMean | Role::RunningVariance => rule.is_none(),
            };
            assert!(right, "{}: rule of its gradient: {rule:?} (a bug in nin)", weight.name);
        }
    }

    /// One line a computation: `nin show --stage train`.
    pub fn display(&self, graph: &Graph) -> String {
        use std::fmt::Write as _;
        let mut text = format!("train {}\n", graph.name);
        for node in &self.nodes {
            let operands: Vec<String> = node.reads.iter().map(Tensor::to_string).collect();
            let what = match node.op {
                TrainOp::Forward(id) => match node.reads.get(1) {
                    None => graph.describe(id),
                    Some(statistics) => format!("{} by {statistics}", graph.describe(id)),
                },
                TrainOp::CrossEntropy => format!("cross_entropy({})", operands.join(", ")),
                TrainOp::CrossEntropyGrad => format!("cross_entropy_grad({})", operands.join(", ")),
                TrainOp::InputGrad(id) => format!("input_grad({}) of {id}", operands.join(", ")),
                TrainOp::KernelGrad(id) => format!("kernel_grad({}) of {id}", operands.join(", ")),
                TrainOp::BiasGrad(id) => format!("bias_grad({}) of {id}", operands.join(", ")),
                TrainOp::Statistics(_) => format!("statistics({})", operands.join(", ")),
                TrainOp::ScaleGrad(id) => format!("scale_grad({}) of {id}", operands.join(", ")),
            };
            writeln!(text, "  {:<24} = {what}", node.writes.display(graph))
                .expect("writing to a string cannot fail");
        }
        text
    }
}

impl Tensor {
    /// As it prints, but a weight's gradient by the weight's name.
    pub fn display(self, graph: &Graph) -> String {
        match self {
            Tensor::WeightGrad(id) => format!("d {}", graph.weight(id).name),
            Tensor::Value(_)
            | Tensor::Grad(_)
            | Tensor::Statistics(_)
            | Tensor::Labels
            | Tensor::Loss => self.to_string(),
        }
    }
}

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tensor::Value(id) => write!(f, "{id}"),
            Tensor::Grad(id) => write!(f, "d{id}"),
            Tensor::WeightGrad(id) => write!(f, "dw{}", id.0),
            Tensor::Statistics(id) => write!(f, "s{id}"),
            Tensor::Labels => f.write_str("labels"),
            Tensor::Loss => f.write_str("loss"),
        }
    }
}
