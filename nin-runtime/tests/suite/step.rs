//! A training step that also differentiates with respect to the images.

use std::collections::BTreeSet;

use nin_dsl::graph::Graph;
use nin_runtime::compiler::autodiff::{TensorId, TrainNode, TrainOp, differentiate, saved};

/// The computations of a training step, and after them those of the gradients that no weight asks for, down to that of node 0,
/// the images.
pub(crate) fn down_to_images(graph: &Graph) -> Vec<TrainNode> {
    let mut nodes = differentiate(graph).nodes;
    let asked: BTreeSet<TensorId> = nodes.iter().map(|node| node.writes).collect();
    let mut contributed = BTreeSet::new();
    for id in graph.ids().rev().skip_while(|&id| id > graph.logits()) {
        for (input, &to) in graph.node(id).inputs.iter().enumerate() {
            let writes = TensorId::Grad(to);
            if asked.contains(&writes) {
                continue;
            }
            let reads = [TensorId::Grad(id)].into_iter().chain(saved(graph, id, input)).collect();
            let op = TrainOp::InputGrad { node: id, input };
            nodes.push(TrainNode { op, reads, writes, accumulates: !contributed.insert(to) });
        }
    }
    nodes
}
