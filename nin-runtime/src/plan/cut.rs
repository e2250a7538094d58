//! How a pass is cut: blocks into steps, and all of it into phases and into parts that one call can run.

use nin_dsl::graph::{Graph, Op};

use super::{BAND_BYTES, ConvPlan, Gather, Part, Phase, PlannedBlock, Step};
use crate::fuse::{Block, Domain, Stage, StageOp};

/// Cuts a block into steps: convolutions whose successors are pointwise go band by band.
pub(super) fn steps(graph: &Graph, block: &Block, convs: &[ConvPlan]) -> Vec<Step> {
    let stages = &block.stages;
    let conv = |index: usize| -> Option<&ConvPlan> {
        let forward = matches!(stages.get(index)?.op, StageOp::Forward { .. });
        let found = convs.iter().find(|conv| conv.node == stages[index].node);
        if forward && block.domain == Domain::Image { found } else { None }
    };
    let mut steps = Vec::new();
    let mut next = 0;
    while next < stages.len() {
        let mut end = next + 1;
        if conv(next).is_some() {
            while conv(end).is_some_and(|conv| conv.geometry.is_pointwise()) {
                end += 1;
            }
        }
        // Whoever shares an image's rows needs bands, of however many convolutions.
        if conv(next).is_some_and(|conv| end - next > 1 || conv.geometry.is_pointwise()) {
            let shapes = (next..end).map(|index| graph.node(stages[index].node).shape);
            let widest =
                shapes.map(|shape| 4 * shape.channels() * shape.width()).max().unwrap_or(1);
            let height = graph.node(stages[next].node).shape.height();
            let rows = (BAND_BYTES / widest).clamp(1, height);
            steps.push(Step::Banded { stages: next..end, rows });
        } else {
            steps.push(Step::Whole(next));
        }
        next = end;
    }
    steps
}

/// The phases of a pass. What a phase waits for is read by the first stage of its first block.
pub(super) fn phases(graph: &Graph, blocks: &[PlannedBlock]) -> Vec<Phase> {
    let mut phases: Vec<Phase> = Vec::new();
    for (index, PlannedBlock { block, .. }) in blocks.iter().enumerate() {
        if block.phase < phases.len() {
            phases.last_mut().expect("a phase is open").blocks.end = index + 1;
            continue;
        }
        let Stage { op, node, .. } = block.stages[0];
        if let Some(before) = phases.last_mut() {
            assert!(
                matches!(graph.node(node).op, Op::BatchNorm { .. }),
                "a phase waits for a batch normalisation's sums (a bug in nin)"
            );
            before.gather = Some(match op {
                StageOp::InputGrad { .. } => Gather::Gradients(node),
                _ => Gather::Statistics(node),
            });
        }
        phases.push(Phase { blocks: index..index + 1, gather: None });
    }
    phases
}

/// The parts of a pass.
pub(super) fn parts(graph: &Graph, blocks: &[PlannedBlock]) -> Vec<Part> {
    let mut parts = Vec::new();
    for (block, planned) in blocks.iter().enumerate() {
        match planned.block.domain {
            Domain::Image => {
                for (step, planned_step) in planned.steps.iter().enumerate() {
                    let rows = planned.rows(graph, planned_step);
                    parts.push(Part { block, step: Some(step), rows });
                }
            }
            Domain::Chunk => parts.push(Part { block, step: None, rows: 1 }),
        }
    }
    parts
}

impl PlannedBlock {
    /// Rows of a step's output that it makes one by one; 1 if it works on the image as a whole.
    pub fn rows(&self, graph: &Graph, step: &Step) -> usize {
        let index = match step {
            Step::Whole(index) => *index,
            Step::Banded { stages, .. } => stages.start,
        };
        let stage = &self.block.stages[index];
        let by_rows = matches!(stage.op, StageOp::Forward { .. })
            && matches!(
                graph.node(stage.node).op,
                Op::Conv { .. } | Op::MaxPool { .. } | Op::AvgPool { .. }
            );
        if by_rows { graph.node(stage.node).shape.height() } else { 1 }
    }
}
