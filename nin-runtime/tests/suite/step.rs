//! A training step that also differentiates with respect to the images.

use nin_dsl::graph::Graph;
use nin_runtime::autodiff::{Tensor, TrainNode, TrainOp, differentiate, saved};

/// The computations of a training step, and after them those of the gradient of node 0, the images.
pub(crate) fn down_to_images(graph: &Graph) -> Vec<TrainNode> {
    let mut nodes = differentiate(graph).nodes;
    let trained = graph.weights.iter().filter(|weight| weight.role.is_trained());
    let deepest = trained.map(|weight| weight.node).min().unwrap_or(graph.logits());
    for id in graph.ids().rev().skip_while(|&id| id > deepest) {
        let Some(operand) = id.operand() else { break };
        let saved = saved(graph, id);
        nodes.push(TrainNode {
            op: TrainOp::InputGrad(id),
            reads: [Tensor::Grad(id)].into_iter().chain(saved).collect(),
            writes: Tensor::Grad(operand),
        });
    }
    nodes
}
