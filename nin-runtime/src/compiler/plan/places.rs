//! Where tensors lie: what works in place and what is a part of something wider is decided here, once, for everything that asks
//! later.

use std::collections::{BTreeMap, BTreeSet};

use nin_dsl::graph::{Graph, NodeId, Op, Readers};

use super::BufferKey;
use crate::compiler::activation::{Elementwise, Reads, elementwise, is_elementwise};
use crate::compiler::autodiff::{Shortcut, TensorId, saved};
use crate::compiler::geometry::is_whole;
use crate::compiler::{Checked, Elem};

/// Where a tensor lies: some channels of every pixel of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct View {
    /// The buffer.
    pub buffer: BufferKey,
    /// The channel of the buffer that is the tensor's first.
    pub channel: usize,
    /// From one pixel to the next, in elements: the channels of the buffer.
    pub pitch: usize,
    /// What its numbers are stored as.
    pub elem: Elem,
}

/// The view of every value and gradient, the same for all passes over a graph.
///
/// An op may overwrite what it reads if nobody else reads it: neither another node, nor a rule of the backward pass.
///
/// - ReLUs, other activations and dropouts make an element of the same element alone ([`elementwise`]). The masks of ReLUs
///   (`value > 0`) find what the whole run of such ops has left. No op that joins a run with a mask makes a positive number of
///   another (a leaky ReLU's slope and an ELU's alpha are not negative; a sigmoid's value is, and it has a room of its own), and
///   of a positive one only a dropout makes anything else than a positive one: zero, where its own rule has already made the
///   gradient zero, since it is the only reader of what is before it.
/// - The rules of ELUs, sigmoids and their like compute with the value itself, so each is the last of its run: what works in
///   place elsewhere leaves it as it is and has a value of its own, even at inference, for one layout rule.
/// - An activation whose rule reads its operand, and a PReLU, is in place in a program for inference alone.
/// - A batch normalisation's value has a buffer of its own, since its operand is read again; so has a local response
///   normalisation's.
/// - A sum takes the place of an operand that no rule reads.
///
/// A gradient that only one node contributes to becomes its operand's where it lies, whatever becomes of the values; that of a sum
/// becomes its last operand's, once the others have theirs. Of a [`Shortcut`] it becomes that of both operands: at the end of the
/// branch, which does not overwrite it, and then of the value that the branch begins with.
///
/// What is concatenated is made where the concatenation has it, and others read it there: nothing is copied. The gradient of a
/// concatenation becomes those of its parts where it lies, if it is the first to contribute to them; others then add to it. What
/// is concatenated twice lies in the first place, and is copied to the second. A convolution whose window is all of a map reads
/// it as one vector, so that map has no gaps between its pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    values: Vec<View>,
    grads: Vec<View>,
}

impl Places {
    /// Those of a graph, of whose program all passes have the same; what only a backward pass reads matters if it trains.
    pub fn of(checked: &Checked<'_>, training: bool) -> Places {
        let (graph, readers) = (checked.graph(), checked.readers());
        let values = Homes { of: values(graph, readers, training), widened: BTreeMap::new() };
        let grads = Homes { of: grads(graph, readers), widened: BTreeMap::new() };
        let any = |_: NodeId, _: usize| true;
        let first = |concat: NodeId, input: usize| contributes_first(graph, readers, concat, input);
        Places {
            values: values.widened(graph, readers, any).views(graph, BufferKey::Value),
            grads: grads.widened(graph, readers, first).views(graph, BufferKey::Grad),
        }
    }

    /// Where a tensor lies; `None` for what does not lie in the arena.
    pub fn view(&self, tensor: TensorId) -> Option<View> {
        match tensor {
            TensorId::Value(id) => Some(self.values[id.index()]),
            TensorId::Grad(id) => Some(self.grads[id.index()]),
            TensorId::WeightGrad(_)
            | TensorId::Statistics(_)
            | TensorId::Labels
            | TensorId::Loss => None,
        }
    }
}

#[cfg(test)]
impl Places {
    /// Has two values lie where the other did: a mistake, unless they are alike.
    pub(super) fn exchange(&mut self, values: [TensorId; 2]) {
        let [TensorId::Value(a), TensorId::Value(b)] = values else { panic!("{values:?}") };
        self.values.swap(a.index(), b.index());
    }
}

/// Which node's tensor each node's shares room with, and which of those rooms are parts of wider ones.
struct Homes {
    /// By node.
    of: Vec<NodeId>,
    /// The concatenation that a home is a part of, and the channel it begins at there.
    widened: BTreeMap<NodeId, (NodeId, usize)>,
}

impl Homes {
    /// Makes homes parts of concatenations, wherever `allowed` agrees that an input of one lies there.
    fn widened(
        mut self,
        graph: &Graph,
        readers: &Readers,
        allowed: impl Fn(NodeId, usize) -> bool,
    ) -> Homes {
        for id in graph.ids().filter(|&id| graph.node(id).op == Op::Concat) {
            for (input, &part) in graph.node(id).inputs.iter().enumerate() {
                let home = self.of[part.index()];
                let has_gaps =
                    |id: NodeId| self.of[id.index()] != home || allows_gaps(graph, readers, id);
                if allowed(id, input)
                    && !self.widened.contains_key(&home)
                    && graph.ids().all(has_gaps)
                {
                    self.widened.insert(home, (id, graph.first_channel(id, input)));
                }
            }
        }
        self
    }

    /// The view of every node's tensor.
    fn views(&self, graph: &Graph, buffer: fn(NodeId) -> BufferKey) -> Vec<View> {
        let view = |id: NodeId| {
            let (mut home, mut channel) = (self.of[id.index()], 0);
            while let Some(&(concat, first)) = self.widened.get(&home) {
                channel += first;
                home = self.of[concat.index()];
            }
            let pitch = graph.node(home).shape.channels();
            View { buffer: buffer(home), channel, pitch, elem: Elem::F32 }
        };
        graph.ids().map(view).collect()
    }
}

/// Whether all that reads a value, and makes its gradient, walks pixel by pixel.
fn allows_gaps(graph: &Graph, readers: &Readers, id: NodeId) -> bool {
    let shape = graph.node(id).shape;
    let walks = |&reader: &NodeId| match graph.node(reader).op {
        // One that is read as a vector has no pixels.
        Op::Conv { window, groups, .. } => {
            groups > 1 || !is_whole(window, (shape.height(), shape.width()))
        }
        Op::Input
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
        | Op::Mul => true,
    };
    shape.pixels() == 1 || readers.of_value(id).iter().all(walks)
}

/// Whether a concatenation is the first to contribute to the gradient of one of its inputs: the last of the input's readers, by
/// the first of the places that it has it in.
fn contributes_first(graph: &Graph, readers: &Readers, concat: NodeId, input: usize) -> bool {
    let inputs = &graph.node(concat).inputs;
    let part = inputs[input];
    readers.of_value(part).last() == Some(&concat) && !inputs[..input].contains(&part)
}

/// The node whose value's buffer each value lies in.
fn values(graph: &Graph, readers: &Readers, training: bool) -> Vec<NodeId> {
    let kept = kept(graph);
    let mut homes: Vec<NodeId> = Vec::with_capacity(graph.nodes().len());
    // Buffers that hold a value which the backward pass reads.
    let mut needed: BTreeSet<NodeId> = BTreeSet::new();
    for id in graph.ids() {
        let node = graph.node(id);
        let may_take = |input: NodeId| {
            let any =
                |holds: &dyn Fn(NodeId) -> bool| any_part(graph, readers, &homes, input, holds);
            let kept = match elementwise(node.op) {
                Some(Elementwise { reads: Reads::Operand, .. }) if training => true,
                Some(of) => any(&|id| !may_be_changed(graph.node(id).op, of)),
                None if node.op == Op::Add => any(&|home| needed.contains(&home)),
                None => true,
            };
            readers.only(input) == Some(id) && !kept
        };
        let taken = node.inputs.iter().copied().find(|&input| may_take(input));
        let home = taken.map_or(id, |input| homes[input.index()]);
        homes.push(home);
        if kept.contains(&id) {
            needed.insert(home);
        }
    }
    homes
}

/// Whether something holds for a value, for what it shares its room with, or for what a concatenation has there; or somebody else
/// reads that.
fn any_part(
    graph: &Graph,
    readers: &Readers,
    homes: &[NodeId],
    value: NodeId,
    holds: &dyn Fn(NodeId) -> bool,
) -> bool {
    let home = homes[value.index()];
    let of_part = |&part: &NodeId| {
        readers.only(part) != Some(home) || any_part(graph, readers, homes, part, holds)
    };
    let is_joined = graph.node(home).op == Op::Concat;
    let before = |&id: &NodeId| {
        let mut inputs = graph.node(id).inputs.iter().copied().filter(|_| id != home);
        inputs.find(|input| homes[input.index()] == home)
    };
    let mut room = std::iter::successors(Some(value), before);
    room.any(holds) || is_joined && graph.node(home).inputs.iter().any(of_part)
}

/// The nodes whose values some rule of the backward pass reads.
fn kept(graph: &Graph) -> BTreeSet<NodeId> {
    let mut kept = BTreeSet::new();
    for id in graph.ids() {
        let inputs = &graph.node(id).inputs;
        for input in 0..inputs.len() {
            kept.extend(saved(graph, id, input).into_iter().filter_map(|tensor| match tensor {
                TensorId::Value(id) => Some(id),
                TensorId::Grad(_)
                | TensorId::WeightGrad(_)
                | TensorId::Statistics(_)
                | TensorId::Labels
                | TensorId::Loss => None,
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
        if let Some(Shortcut { from, branch, .. }) = Shortcut::of(graph, readers, id) {
            homes.insert(branch, homes[&from]);
            homes.insert(id, homes[&from]);
            continue;
        }
        let inherits = (is_elementwise(node.op)
            || matches!(node.op, Op::BatchNorm { .. } | Op::Lrn { .. } | Op::Add))
            && Shortcut::of_branch(graph, readers, id).is_none();
        let heir = node.inputs.iter().rev().find(only).filter(|_| inherits);
        homes.insert(id, heir.map_or(id, |input| homes[input]));
    }
    homes.into_values().collect()
}

/// Whether the value of an op may lie in a room that an op after it works on in place.
fn may_be_changed(op: Op, by: Elementwise) -> bool {
    match elementwise(op).map(|of| of.reads) {
        None | Some(Reads::Nothing | Reads::Operand) => true,
        Some(Reads::Sign) => by.keeps_signs,
        Some(Reads::Value) => false,
    }
}

#[cfg(test)]
mod tests;
