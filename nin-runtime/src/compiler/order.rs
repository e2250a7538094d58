//! In which order branches are evaluated where nothing is kept for a backward pass: so that the least memory is live.

use std::cmp::Reverse;
use std::ops::Range;

use nin_dsl::graph::{Graph, GroupKind, LayerId, NodeId, Op, Readers};

use crate::compiler::activation::is_elementwise;

/// The nodes of a graph, operands before readers.
///
/// While a branch is evaluated, what the branches before it leave is live too. What a branch takes beyond what it leaves is
/// therefore best spent first: the branches of a join come in descending order of that (Sethi and Ullman, 1970), and in the order
/// of the text where it is the same.
pub(super) fn evaluation(graph: &Graph, readers: &Readers) -> Vec<NodeId> {
    let order = Order { graph, readers, branches: branches(graph) };
    order.of(0..graph.nodes().len())
}

/// The nodes of a branch, and the layer that joins it with others.
struct Branch {
    join: LayerId,
    nodes: Range<usize>,
}

/// Every branch that has nodes; outer ones before those within.
fn branches(graph: &Graph) -> Vec<Branch> {
    let nodes = |layers: &Range<usize>| {
        let layers = &graph.layers()[layers.clone()];
        let first = layers.first().map_or(0, |layer| layer.nodes.start);
        first..layers.last().map_or(first, |layer| layer.nodes.end)
    };
    let groups = graph.groups().iter();
    let branches = groups.filter_map(|group| match group.kind {
        GroupKind::Branch { join, .. } => Some(Branch { join, nodes: nodes(&group.layers) }),
        GroupKind::Block(_) | GroupKind::Pass { .. } => None,
    });
    branches.filter(|branch| !branch.nodes.is_empty()).collect()
}

struct Order<'g> {
    graph: &'g Graph,
    readers: &'g Readers,
    branches: Vec<Branch>,
}

impl Order<'_> {
    /// The order of neighbouring nodes.
    fn of(&self, nodes: Range<usize>) -> Vec<NodeId> {
        let within = |branch: &&Branch| {
            branch.nodes != nodes
                && nodes.start <= branch.nodes.start
                && branch.nodes.end <= nodes.end
        };
        let mut order = Vec::with_capacity(nodes.len());
        let mut next = nodes.start;
        while next < nodes.end {
            let opens = self.branches.iter().filter(within).find(|of| of.nodes.start == next);
            let Some(Branch { join, .. }) = opens else {
                order.push(NodeId(next as u32));
                next += 1;
                continue;
            };
            let joined = self.branches.iter().filter(|branch| branch.join == *join);
            let mut branches: Vec<Vec<NodeId>> = Vec::new();
            for branch in joined {
                next = next.max(branch.nodes.end);
                branches.push(self.of(branch.nodes.clone()));
            }
            branches.sort_by_key(|branch| Reverse(self.beyond(branch)));
            order.extend(branches.into_iter().flatten());
        }
        order
    }

    /// Floats of an image that are live at most while some nodes are evaluated, beyond those of the last.
    fn beyond(&self, order: &[NodeId]) -> usize {
        let floats = |id: NodeId| self.graph.node(id).shape.elements();
        let (mut live, mut most) = (0, 0);
        for (position, &id) in order.iter().enumerate() {
            let node = self.graph.node(id);
            live += floats(id);
            most = most.max(live - self.overwritten(id).map_or(0, floats));
            let is_last = |reader: &NodeId| !order[position + 1..].contains(reader);
            let mut inputs = node.inputs.clone();
            inputs.sort_unstable();
            inputs.dedup();
            // What lies before the branch is live anyway.
            for input in inputs.into_iter().filter(|input| order[..position].contains(input)) {
                if self.readers.of_value(input).iter().all(is_last) {
                    live -= floats(input);
                }
            }
        }
        most - order.last().map_or(0, |&last| floats(last))
    }

    /// The value whose place a node's takes.
    fn overwritten(&self, id: NodeId) -> Option<NodeId> {
        let node = self.graph.node(id);
        let works_in_place = is_elementwise(node.op) || node.op == Op::Add;
        let only = |input: &NodeId| self.readers.only(*input) == Some(id);
        node.inputs.iter().copied().find(|input| works_in_place && only(input))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{Purpose, planned};
    use crate::compiler::Isa;
    use crate::compiler::codegen::Target;
    use crate::compiler::plan::{Algos, Demand};
    use crate::model::Model;

    fn graph(text: &str) -> Graph {
        Model::from_text("m.nin", text, &[]).unwrap().graph().clone()
    }

    /// Names of the layers of maps in the order in which they are evaluated.
    fn layers(text: &str) -> Vec<String> {
        let graph = graph(text);
        let order = evaluation(&graph, &Readers::of(&graph));
        let mut position: Vec<usize> = vec![0; order.len()];
        for (at, id) in order.iter().enumerate() {
            position[id.index()] = at;
        }
        for id in graph.ids() {
            let before = |input: &NodeId| position[input.index()] < position[id.index()];
            assert!(graph.node(id).inputs.iter().all(before), "{id}");
        }
        let convs = order.into_iter().filter(|&id| matches!(graph.node(id).op, Op::Conv { .. }));
        convs.map(|id| graph.layer_of(id).name.clone()).collect()
    }

    #[test]
    fn what_takes_most_beyond_what_it_leaves_comes_first() {
        let wide =
            "< input(4, 8, 8) add < conv(4) > < conv(40) conv(4) > < conv(20) conv(4) > gap >";
        assert_eq!(layers(wide), ["conv2", "conv3", "conv4", "conv5", "conv1"]);
        let equal = "< input(4, 8, 8) add < conv(4) > < conv(4) > gap >";
        assert_eq!(layers(equal), ["conv1", "conv2"]);
    }

    #[test]
    fn branches_within_branches_have_their_order() {
        let text = "< input(4, 8, 8) add < conv(4) > \
            < concat < conv(2) > < conv(30) conv(2) > conv(4) > gap >";
        assert_eq!(layers(text), ["conv3", "conv4", "conv2", "conv5", "conv1"]);
    }

    /// The wide branch beside the result of the narrow one would take more.
    #[test]
    fn inference_takes_less_memory_for_it() {
        let target = Target::host(Isa::Portable).unwrap();
        let demand = Demand { batch: 1, registers: target.registers(), algos: &Algos::default() };
        let arena = |text: &str| {
            let graph = graph(text);
            planned(&graph, Purpose::Inference, demand).inference.arena
        };
        let [first, last] = [
            "< input(2, 8, 8) conv(8) mul < conv(8) > < conv(64) maxpool(3, stride = 1, pad = 1) conv(8) > gap >",
            "< input(2, 8, 8) conv(8) mul < conv(64) maxpool(3, stride = 1, pad = 1) conv(8) > < conv(8) > gap >",
        ]
        .map(arena);
        assert_eq!(first, last);
    }
}
