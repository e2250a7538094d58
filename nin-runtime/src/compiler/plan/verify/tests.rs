//! Mistakes that are planted for the verifier to find.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::compile::{Purpose, planned};
use crate::compiler::Isa;
use crate::compiler::codegen::Target;
use crate::compiler::plan::{Algos, Demand};
use crate::model::Model;

/// A sum whose operand is read by three, batch normalisations in both branches, masks, dropout and a product.
const TEXT: &str = "< input(3, 8, 8) conv(8, bias = 0) batchnorm relu dropout(0.5) \
    add < conv(8, bias = 0) batchnorm relu conv(8) > < conv(8, kernel = 1) batchnorm > < > relu \
    mul < > < gap fc(8) > maxpool(2) gap fc(4) softmax >";

fn graph() -> Graph {
    Model::from_text("m.nin", TEXT, &[]).unwrap().graph().clone()
}

fn plan(graph: &Graph) -> Plan {
    let target = Target::host(Isa::Portable).unwrap();
    let demand = Demand { batch: 16, registers: target.registers(), algos: &Algos::default() };
    planned(graph, Purpose::Training, demand)
}

/// What is said of a plan in which something was changed.
fn said(change: impl FnOnce(&mut Plan)) -> String {
    let graph = graph();
    let mut plan = plan(&graph);
    change(&mut plan);
    let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(&graph, &plan))) else {
        return "nothing".to_owned();
    };
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

fn training(plan: &mut Plan) -> &mut Pass {
    plan.training.as_mut().expect("it trains")
}

/// The first stage that is so, in the training pass.
fn stage(plan: &mut Plan, is: impl Fn(&Stage) -> bool) -> &mut Stage {
    let stages = training(plan).blocks.iter_mut().flat_map(|planned| &mut planned.block.stages);
    let mut stages = stages.filter(|stage| is(stage));
    stages.next().expect("there is one")
}

#[test]
fn a_plan_keeps_its_promises() {
    assert_eq!(said(|_| {}), "nothing");
}

#[test]
fn buffers_that_overlap_are_found() {
    let said = said(|plan| {
        let pass = training(plan);
        let in_arena = |buffer: &&mut Buffer| !buffer.is_stored();
        pass.buffers.iter_mut().filter(in_arena).for_each(|buffer| buffer.offset = 0);
    });
    assert!(said.contains("overlap"), "{said}");
}

#[test]
fn a_buffer_outside_its_memory_is_found() {
    let said = said(|plan| training(plan).arena -= 1);
    assert!(said.contains("ends outside"), "{said}");
}

#[test]
fn a_buffer_that_is_touched_when_it_does_not_live_is_found() {
    let said = said(|plan| {
        let pass = training(plan);
        let long = |buffer: &&mut Buffer| buffer.live.start() + 1 < *buffer.live.end();
        let buffer = pass.buffers.iter_mut().find(long).expect("one lives for long");
        buffer.live = *buffer.live.start()..=*buffer.live.start();
    });
    assert!(said.contains("is touched in"), "{said}");
}

#[test]
fn what_is_read_after_it_was_overwritten_is_found() {
    let said = said(|plan| {
        let places = training(plan).places.clone();
        let is_sum = |stage: &Stage| stage.reads.len() == 3 && !stage.accumulates();
        let sum = stage(plan, is_sum).clone();
        let place = places.view(sum.writes);
        let taken = sum.reads.iter().copied().find(|&read| places.view(read) == place);
        // Whoever reads the sum next reads what it took the place of.
        let next = stage(plan, |stage| stage.reads.first() == Some(&sum.writes));
        next.reads[0] = taken.expect("a sum takes the place of an operand");
    });
    assert!(said.contains("but there is"), "{said}");
}

#[test]
fn what_nobody_wrote_is_found() {
    let said = said(|plan| {
        let block = &mut training(plan).blocks[0].block;
        block.stages.remove(0);
    });
    assert!(said.contains("is not there"), "{said}");
}

#[test]
fn sums_that_are_not_gathered_are_found() {
    let said = said(|plan| {
        let pass = training(plan);
        let statistics = pass.phases[0].gathers[0];
        pass.phases[1].gathers[0] = statistics;
    });
    assert!(said.contains("before it is gathered"), "{said}");
}

#[test]
fn a_phase_that_gathers_nothing_is_found() {
    let said = said(|plan| training(plan).phases[0].gathers.clear());
    assert!(said.contains("what it gathers"), "{said}");
}

/// Sums over a chunk that is a group are gathered between the blocks of the one phase.
#[test]
fn sums_of_a_group_that_are_not_gathered_are_found() {
    let text = "< input(3, 6, 6) conv(4) batchnorm(ghost = 2) relu conv(4) batchnorm(ghost = 2) gap fc(3) >";
    let graph = Model::from_text("m.nin", text, &[]).unwrap().graph().clone();
    let gathering = |plan: &Plan| {
        let blocks = &plan.training.as_ref().expect("it trains").blocks;
        let gathering =
            blocks.iter().enumerate().filter(|(_, planned)| !planned.gathers.is_empty());
        gathering.map(|(index, _)| index).collect::<Vec<_>>()
    };
    let sound = plan(&graph);
    check(&graph, &sound);
    assert_eq!((sound.phases().len(), sound.store()), (1, 0));
    // Statistics going forward, sums of gradients going backward.
    assert_eq!(gathering(&sound).len(), 4);
    for index in gathering(&sound) {
        let mut plan = sound.clone();
        training(&mut plan).blocks[index].gathers.clear();
        let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(&graph, &plan))) else {
            panic!("nothing is said of block {index}");
        };
        let said = panic.downcast_ref::<String>().cloned().unwrap_or_default();
        assert!(said.contains("before it is gathered"), "{said}");
    }
}

#[test]
fn a_contribution_to_nothing_is_found() {
    let accumulates = |stage: &Stage| stage.accumulates();
    let said = said(|plan| {
        let writes = stage(plan, accumulates).writes;
        let first = stage(plan, |stage| stage.writes == writes);
        if let StageOp::InputGrad { accumulates, .. } = &mut first.op {
            *accumulates = true;
        }
    });
    assert!(said.contains("nothing to add to"), "{said}");
}

#[test]
fn a_weight_without_a_gradient_and_one_with_two_are_found() {
    let said = said(|plan| {
        let gradients: Vec<TensorId> = training(plan)
            .blocks
            .iter()
            .flat_map(|planned| &planned.block.stages)
            .filter(|stage| stage.op == StageOp::KernelGrad)
            .map(|stage| stage.writes)
            .collect();
        stage(plan, |stage| stage.writes == gradients[0]).writes = gradients[1];
    });
    assert!(said.contains("gradients of"), "{said}");
}

#[test]
fn a_block_of_no_phase_is_found() {
    let said = said(|plan| {
        let phases = &mut training(plan).phases;
        phases.pop();
        phases.last_mut().expect("there are several").gathers.clear();
    });
    assert!(said.contains("belongs to no phase"), "{said}");
}

/// A text whose concatenation has a part that others read too, and one that is a concatenation.
const JOINED: &str = "< input(3, 6, 6) conv(4) relu \
    concat < > < conv(2) concat < > < relu conv(3) relu > > < maxpool(3, stride = 1, pad = 1) > conv(4) gap fc(4) softmax >";

/// What is said of a plan of that text in which something was changed.
fn said_of_views(change: impl FnOnce(&Graph, &mut Plan)) -> String {
    let graph = Model::from_text("m.nin", JOINED, &[]).unwrap().graph().clone();
    let mut plan = plan(&graph);
    change(&graph, &mut plan);
    let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(&graph, &plan))) else {
        return "nothing".to_owned();
    };
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

/// The outer concatenation.
fn outer(graph: &Graph) -> NodeId {
    let joins = graph.ids().filter(|&id| graph.node(id).op == Op::Concat);
    joins.max().expect("there are two")
}

#[test]
fn a_part_that_is_not_where_it_is_joined_is_found() {
    assert_eq!(said_of_views(|_, _| {}), "nothing");
    let said = said_of_views(|graph, plan| {
        let inputs = &graph.node(outer(graph)).inputs;
        let pair = [inputs[0], inputs[2]].map(TensorId::Value);
        training(plan).places.exchange(pair);
    });
    assert!(said.contains("is in the way of"), "{said}");
}

/// A gradient is added to what a concatenation passes on; not if that comes after.
#[test]
fn a_part_of_a_gradient_that_is_read_before_it_is_passed_on_is_found() {
    let said = said_of_views(|graph, plan| {
        let outer = outer(graph);
        let blocks = &mut training(plan).blocks;
        let passes = |stage: &Stage| {
            stage.node == outer && matches!(stage.op, StageOp::InputGrad { input: 0, .. })
        };
        let stages = blocks.iter_mut().map(|planned| &mut planned.block.stages);
        let block = stages.into_iter().find(|stages| stages.iter().any(passes));
        block.expect("it passes its gradient on").retain(|stage| !passes(stage));
    });
    assert!(said.contains("nothing to add to"), "{said}");
}

/// Two windows with a wide map between them, and what is said of a plan of them depth first in which something was changed.
fn said_of_bands(change: impl FnOnce(&mut Pass)) -> String {
    let text = "< input(3, 12, 12) conv(8, kernel = 3, pad = same, stride = 2) relu maxpool(3, stride = 1) gap fc(4) softmax >";
    let graph = Model::from_text("m.nin", text, &[]).unwrap().graph().clone();
    let target = Target::host(Isa::Portable).unwrap();
    let algos: Algos = "depth-first=always".parse().unwrap();
    let demand = Demand { batch: 16, registers: target.registers(), algos: &algos };
    let mut plan = planned(&graph, Purpose::Inference, demand);
    let is_deep = |step: &Step| matches!(step, Step::DepthFirst { .. });
    assert!(plan.inference.blocks.iter().flat_map(|planned| &planned.steps).any(is_deep));
    change(&mut plan.inference);
    let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(&graph, &plan))) else {
        return "nothing".to_owned();
    };
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

/// The first map that is kept by bands.
fn band(pass: &mut Pass) -> &mut Buffer {
    let is_band = |buffer: &&mut Buffer| {
        matches!(buffer.holds, super::super::Holds::Map { extent: Extent::Band(_), .. })
    };
    pass.buffers.iter_mut().find(is_band).expect("there is one")
}

#[test]
fn a_band_without_room_for_the_rows_that_are_kept_is_found() {
    assert_eq!(said_of_bands(|_| {}), "nothing");
    let said = said_of_bands(|pass| {
        let super::super::Holds::Map { extent: Extent::Band(rows), .. } = &mut band(pass).holds
        else {
            unreachable!("it is a band")
        };
        *rows -= 1;
    });
    assert!(said.contains("is no room for"), "{said}");
}

#[test]
fn a_map_between_that_others_read_is_found() {
    let said = said_of_bands(|pass| {
        let stages = pass.blocks.iter().flat_map(|planned| &planned.block.stages);
        let between = stages.clone().nth(1).expect("the convolution").writes;
        let last = pass.blocks.last_mut().expect("the softmax");
        last.block.stages.last_mut().expect("it has a stage").reads.push(between);
    });
    assert!(said.contains("is read elsewhere"), "{said}");
}
