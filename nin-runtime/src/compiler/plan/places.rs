//! Which tensors share a buffer: what works in place is decided here, once, for everything that asks later.

use std::collections::{BTreeMap, BTreeSet};

use nin_dsl::graph::{Graph, NodeId, Op, Readers};

use super::BufferKey;
use crate::compiler::Checked;
use crate::compiler::autodiff::{Tensor, saved};

/// The buffer of every value and gradient, the same for all passes over a graph.
///
/// An op may overwrite what it reads if nobody else reads it: neither another node, nor a rule of the backward pass.
///
/// - ReLUs, ELUs and dropouts make an element of the same element alone. The masks of ReLUs and ELUs (`value > 0`) find what the
///   whole run of such ops has left. No op of a run makes a positive number of another (a leaky ReLU's slope and an ELU's alpha
///   are not negative), and of a positive one only a dropout makes anything else than a positive one: zero, where its own rule
///   has already made the gradient zero, since it is the only reader of what is before it.
/// - An ELU's rule computes with the value itself, so an ELU is the last of its run: what works in place elsewhere leaves it as
///   it is and has a value of its own, even at inference, for one layout rule.
/// - A batch normalisation's value has a buffer of its own, since its operand is read again.
/// - A sum takes the place of an operand that no rule reads.
///
/// A gradient that only one node contributes to becomes its operand's where it lies, whatever becomes of the values; that of a sum
/// becomes its last operand's, once the others have theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    values: Vec<NodeId>,
    grads: Vec<NodeId>,
}

impl Places {
    /// Those of a graph.
    pub fn of(checked: &Checked<'_>) -> Places {
        let (graph, readers) = (checked.graph(), checked.readers());
        Places { values: values(graph, readers), grads: grads(graph, readers) }
    }

    /// The buffer of a tensor; `None` for what does not lie in the arena.
    pub fn buffer(&self, tensor: Tensor) -> Option<BufferKey> {
        match tensor {
            Tensor::Value(id) => Some(BufferKey::Value(self.values[id.index()])),
            Tensor::Grad(id) => Some(BufferKey::Grad(self.grads[id.index()])),
            Tensor::WeightGrad(_) | Tensor::Statistics(_) | Tensor::Labels | Tensor::Loss => None,
        }
    }
}

/// The node whose value's buffer each value lies in.
fn values(graph: &Graph, readers: &Readers) -> Vec<NodeId> {
    let kept = kept(graph);
    let mut homes: Vec<NodeId> = Vec::with_capacity(graph.nodes().len());
    // Buffers that hold a value which the backward pass reads.
    let mut needed: BTreeSet<NodeId> = BTreeSet::new();
    for id in graph.ids() {
        let node = graph.node(id);
        let is_elu = |id: NodeId| matches!(graph.node(id).op, Op::Elu { .. });
        let taken = node.inputs.iter().copied().find(|&input| {
            readers.only(input) == Some(id)
                && if node.op == Op::Add {
                    !needed.contains(&homes[input.index()])
                } else {
                    works_in_place(node.op) && !is_elu(input)
                }
        });
        let home = taken.map_or(id, |input| homes[input.index()]);
        homes.push(home);
        if kept.contains(&id) {
            needed.insert(home);
        }
    }
    homes
}

/// The nodes whose values some rule of the backward pass reads.
fn kept(graph: &Graph) -> BTreeSet<NodeId> {
    let mut kept = BTreeSet::new();
    for id in graph.ids() {
        let inputs = &graph.node(id).inputs;
        for input in 0..inputs.len() {
            kept.extend(saved(graph, id, input).into_iter().filter_map(|tensor| match tensor {
                Tensor::Value(id) => Some(id),
                Tensor::Grad(_)
                | Tensor::WeightGrad(_)
                | Tensor::Statistics(_)
                | Tensor::Labels
                | Tensor::Loss => None,
            }));
        }
        // The gradients of kernels and scales.
        if matches!(graph.node(id).op, Op::Conv { .. } | Op::BatchNorm { .. }) {
            kept.extend(inputs);
        }
    }
    kept
}

/// The node whose gradient's buffer each gradient lies in.
fn grads(graph: &Graph, readers: &Readers) -> Vec<NodeId> {
    let mut homes: BTreeMap<NodeId, NodeId> = BTreeMap::new();
    for id in graph.ids() {
        let node = graph.node(id);
        let only = |input: &&NodeId| readers.only(**input) == Some(id);
        let inherits = works_in_place(node.op) || matches!(node.op, Op::BatchNorm { .. } | Op::Add);
        let heir = node.inputs.iter().rev().find(only).filter(|_| inherits);
        homes.insert(id, heir.map_or(id, |input| homes[input]));
    }
    homes.into_values().collect()
}

/// Whether an op makes an element of the same element alone, and the backward pass needs no more of the operand than its value
/// keeps.
fn works_in_place(op: Op) -> bool {
    match op {
        Op::Relu | Op::LeakyRelu { .. } | Op::Elu { .. } | Op::Dropout { .. } => true,
        Op::Input
        | Op::Conv { .. }
        | Op::MaxPool { .. }
        | Op::AvgPool { .. }
        | Op::GlobalAvgPool
        | Op::BatchNorm { .. }
        | Op::Softmax
        | Op::Add
        | Op::Concat
        | Op::Mul => false,
    }
}
