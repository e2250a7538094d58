//! The order of contributions, and mistakes that are planted for the verifier to find.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::model::Model;

fn graph() -> Graph {
    let text = "< input(2, 4, 4) conv(3) batchnorm relu add < conv(3) > < relu conv(3) > < > gap >";
    Model::from_text("m.nin", text, &[]).unwrap().graph().clone()
}

/// What is said of a training step in which something was changed.
fn said(change: impl FnOnce(&mut Vec<TrainNode>)) -> String {
    let graph = graph();
    let mut train = differentiate(&graph);
    change(&mut train.nodes);
    let Err(panic) = catch_unwind(AssertUnwindSafe(|| train.verify(&graph))) else {
        return "nothing".to_owned();
    };
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

#[test]
fn contributions_are_in_a_fixed_order() {
    let graph = graph();
    let of = graph.ids().find(|&id| graph.node(id).op == Op::Relu).expect("a ReLU");
    let nodes = differentiate(&graph).nodes;
    let contributions: Vec<(TrainOp, bool)> = nodes
        .iter()
        .filter(|node| node.writes == TensorId::Grad(of))
        .map(|node| (node.op, node.accumulates))
        .collect();
    let [third, second, first] = [graph.result().0 - 1, 5, 4].map(NodeId);
    let grad = |node, input| TrainOp::InputGrad { node, input };
    assert_eq!(
        contributions,
        [(grad(third, 2), false), (grad(second, 0), true), (grad(first, 0), true)]
    );
    assert_eq!(differentiate(&graph).nodes, nodes);
}

/// A mistake, and what is said of it.
type Mistake = (&'static str, fn(&mut Vec<TrainNode>));

#[test]
fn planted_mistakes_are_found() {
    assert_eq!(said(|_| {}), "nothing");
    let cases: [Mistake; 6] = [
        ("is read before it is computed", |nodes| nodes.swap(0, 1)),
        ("is computed twice", |nodes| {
            let twice = nodes[0].clone();
            nodes.insert(1, twice);
        }),
        ("nothing to add to", |nodes| {
            let first = |node: &&mut TrainNode| matches!(node.op, TrainOp::InputGrad { .. });
            nodes.iter_mut().find(first).expect("a gradient").accumulates = true;
        }),
        ("is computed twice", |nodes| {
            let adds = |node: &&mut TrainNode| node.accumulates;
            nodes.iter_mut().find(adds).expect("a second contribution").accumulates = false;
        }),
        ("is read before it is whole", |nodes| {
            let late = nodes.iter().rposition(|node| node.accumulates).expect("a contribution");
            let late = nodes.remove(late);
            nodes.push(late);
        }),
        ("rule of its gradient: None", |nodes| {
            nodes.retain(|node| !matches!(node.op, TrainOp::ScaleGrad(_) | TrainOp::KernelGrad(_)));
            nodes.retain(|node| {
                node.reads.iter().all(|read| !matches!(read, TensorId::WeightGrad(_)))
            });
            // What read the gradients that are gone is gone too, and what read those.
            let written: Vec<TensorId> = nodes.iter().map(|node| node.writes).collect();
            nodes.retain(|node| {
                node.reads.iter().all(|read| *read == TensorId::Labels || written.contains(read))
            });
        }),
    ];
    for (expected, change) in cases {
        let said = said(change);
        assert!(said.contains(expected), "{expected}: {said}");
    }
}
