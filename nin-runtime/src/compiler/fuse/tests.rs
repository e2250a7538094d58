//! What shares a walk over the data, and mistakes that are planted for the verifier to find.

use std::panic::{AssertUnwindSafe, catch_unwind};

use nin_dsl::graph::Op;

use super::*;
use crate::model::Model;

fn graph(text: &str) -> Graph {
    Model::from_text("m.nin", text, &[]).unwrap().graph().clone()
}

fn step(graph: &Graph) -> (Computations, Vec<Block>) {
    let computations = Computations::of(&Checked::of(graph), true);
    let blocks = Passes::of(&Checked::of(graph), &computations).training.expect("it trains");
    (computations, blocks)
}

fn stages(blocks: &[Block]) -> impl Iterator<Item = &Stage> {
    blocks.iter().flat_map(|block| &block.stages)
}

/// The mask of the only ReLU is on every contribution to its gradient.
#[test]
fn a_mask_on_each_contribution_is_a_mask_on_the_sum() {
    let graph = graph(
        "< input(2, 4, 4) conv(3) relu add < conv(3) > < > < maxpool(3, stride = 1, pad = 1) > gap >",
    );
    let (_, blocks) = step(&graph);
    let relu = graph.ids().find(|&id| graph.node(id).op == Op::Relu).expect("a ReLU");
    let to = TensorId::Grad(graph.operand(relu));
    let contributions: Vec<&Stage> = stages(&blocks).filter(|stage| stage.writes == to).collect();
    assert_eq!(contributions.len(), 3);
    for (number, stage) in contributions.into_iter().enumerate() {
        let StageOp::InputGrad { mask, accumulates, .. } = stage.op else { panic!("{stage:?}") };
        assert_eq!((mask, accumulates), (Some(TensorId::Value(relu)), number > 0));
    }
}

/// What reads the ReLU's operand too must not come under the mask.
#[test]
fn a_mask_stays_alone_where_others_read_what_is_rectified() {
    let graph = graph("< input(2, 4, 4) conv(3) add < relu conv(3) > < > gap >");
    let (_, blocks) = step(&graph);
    let relu = graph.ids().find(|&id| graph.node(id).op == Op::Relu).expect("a ReLU");
    let of_relu =
        |stage: &&Stage| stage.node == relu && matches!(stage.op, StageOp::InputGrad { .. });
    assert_eq!(stages(&blocks).filter(of_relu).count(), 1);
    let is_masked = |stage: &Stage| matches!(stage.op, StageOp::InputGrad { mask: Some(_), .. });
    assert!(!stages(&blocks).any(is_masked));
}

/// What a residual branch's sum passes on waits for the branch's first convolution, which masks what it adds to that.
#[test]
fn a_shortcut_leaves_its_mask_to_a_convolution() {
    let graph =
        graph("< input(2, 4, 4) conv(3) batchnorm relu add < conv(3) batchnorm > < > gap >");
    let (_, blocks) = step(&graph);
    let relu = graph.ids().find(|&id| graph.node(id).op == Op::Relu).expect("a ReLU");
    let to = TensorId::Grad(graph.operand(relu));
    let contributes = |stage: &&Stage| stage.writes == to;
    let block = blocks.iter().find(|block| block.stages.iter().any(|stage| stage.writes == to));
    let block = block.expect("somebody contributes");
    let found: Vec<(Op, StageOp)> = block
        .stages
        .iter()
        .filter(contributes)
        .map(|stage| (graph.node(stage.node).op, stage.op))
        .collect();
    let mask = Some(TensorId::Value(relu));
    let [(Op::Add, sum), (Op::Conv { .. }, conv)] = found[..] else { panic!("{found:?}") };
    assert_eq!(sum, StageOp::InputGrad { input: 1, mask: None, accumulates: false });
    assert_eq!(conv, StageOp::InputGrad { input: 0, mask, accumulates: true });
    assert_eq!(stages(&blocks).filter(contributes).count(), 2);
}

#[test]
fn a_normalisation_has_both_of_its_gradients_in_one_stage() {
    let graph = graph("< input(2, 4, 4) conv(3) batchnorm relu gap >");
    let (_, blocks) = step(&graph);
    let norm = graph.ids().find(|&id| matches!(graph.node(id).op, Op::BatchNorm { .. }));
    let norm = norm.expect("a normalisation");
    let Op::BatchNorm { weights, .. } = graph.node(norm).op else { unreachable!("it is one") };
    let sums = [weights.scale, weights.shift].map(TensorId::WeightGrad);
    let made = stages(&blocks).filter(|stage| stage.written().any(|tensor| sums.contains(&tensor)));
    let made: Vec<Vec<TensorId>> = made.map(|stage| stage.written().collect()).collect();
    assert_eq!(made, [sums]);
}

#[test]
fn only_what_is_read_once_is_fused() {
    let graph = graph("< input(2, 4, 4) conv(3) add < batchnorm > < > < > relu gap >");
    let inference =
        Passes::of(&Checked::of(&graph), &Computations::of(&Checked::of(&graph), false)).inference;
    let is_merged = |stage: &Stage| matches!(stage.op, StageOp::Forward { norm: Some(_), .. });
    assert!(!stages(&inference).any(is_merged), "{inference:?}");
    let rectified = |stage: &&Stage| matches!(stage.op, StageOp::Forward { then: Some(_), .. });
    let rectified: Vec<Op> =
        stages(&inference).filter(rectified).map(|stage| graph.node(stage.node).op).collect();
    assert_eq!(rectified, [Op::Add]);
}

/// Of a convolution with its merged normalisation, of a convolution alone, and of a normalisation by the batch's statistics; where the
/// last branch is the identity too. A sum of three is a stage of its own.
#[test]
fn a_sum_of_two_is_an_epilogue() {
    let text = "< input(2, 4, 4) conv(3) add < conv(3) batchnorm > < > relu add < > < conv(3) > add < conv(3) > < > < > gap >";
    let graph = graph(text);
    let computations = Computations::of(&Checked::of(&graph), true);
    let sums = |blocks: &[Block]| -> Vec<(bool, bool)> {
        let with_sum = stages(blocks).filter_map(|stage| {
            let StageOp::Forward { add: Some(_), then, .. } = stage.op else { return None };
            Some((matches!(graph.node(stage.node).op, Op::Conv { .. }), then.is_some()))
        });
        with_sum.collect()
    };
    let training = Passes::of(&Checked::of(&graph), &computations).training.expect("it trains");
    assert_eq!(sums(&training), [(false, true), (true, false)]);
    let inference =
        Passes::of(&Checked::of(&graph), &Computations::of(&Checked::of(&graph), false)).inference;
    assert_eq!(sums(&inference), [(true, true), (true, false)]);
    let alone = stages(&inference).filter(|stage| graph.node(stage.node).op == Op::Add);
    assert_eq!(alone.count(), 1);
}

/// A mistake, and what is said of it.
type Mistake = (&'static str, fn(&mut Vec<Block>));

#[test]
fn planted_mistakes_are_found() {
    let graph = graph("< input(2, 4, 4) conv(3) batchnorm relu add < conv(3) > < > gap >");
    let said = |change: fn(&mut Vec<Block>)| {
        let (computations, mut blocks) = step(&graph);
        change(&mut blocks);
        let nodes = &computations.training.as_ref().expect("it trains").nodes;
        let found = catch_unwind(AssertUnwindSafe(|| verify(&graph, nodes, &blocks)));
        match found {
            Ok(()) => "nothing".to_owned(),
            Err(panic) => panic.downcast_ref::<String>().cloned().unwrap_or_default(),
        }
    };
    assert_eq!(said(|_| {}), "nothing");
    let cases: [Mistake; 5] = [
        ("has no stages", |blocks| blocks[0].stages.clear()),
        ("goes back a phase", |blocks| blocks[0].phase = 7),
        ("is read before it is written", |blocks| blocks.swap(0, 1)),
        ("nobody writes", |blocks| {
            let blocks = blocks.iter_mut();
            blocks.for_each(|block| block.stages.retain(|stage| stage.op != StageOp::KernelGrad));
        }),
        ("(a bug in nin)", |blocks| {
            let stages = blocks.iter_mut().flat_map(|block| &mut block.stages);
            for stage in stages {
                if let StageOp::InputGrad { accumulates, .. } = &mut stage.op {
                    *accumulates = !*accumulates;
                }
            }
        }),
    ];
    for (expected, change) in cases {
        let said = said(change);
        assert!(said.contains(expected), "{expected}: {said}");
    }
}
