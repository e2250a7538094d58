//! [`PartTime`], how long each part of a pass takes: what `nin bench --layers` prints.
#![warn(clippy::wildcard_enum_match_arm)]

use std::ops::Range;
use std::time::Duration;

use nin_dsl::graph::{Graph, NodeId, Op};

use crate::compiler::fuse::{Stage, StageOp};
use crate::compiler::kernel::PassKind;
use crate::compiler::plan::{self, Moved, Part, Pass, Plan, Product, Spectrum, Step};

/// A part of a pass, what it does for one image, and how long that takes on one thread.
#[derive(Clone, Debug, PartialEq)]
pub struct PartTime {
    /// The layers of its block.
    pub name: String,
    /// What it computes of them.
    pub what: String,
    /// The products of convolutions that it makes, or has a share in.
    pub products: Vec<(NodeId, Product)>,
    /// Floating-point operations of the direct algorithm: two a multiply-accumulate, padding taps included.
    pub flops: u64,
    /// Multiply-adds of the products as they are really made.
    pub multiply_adds: u64,
    /// Bytes of the tensors, spectra and weights that it reads and writes.
    pub moved: Moved,
    /// The median over all images and runs.
    pub time: Duration,
}

/// The stages of a part.
fn stages(pass: &Pass, part: Part) -> &[Stage] {
    let planned = &pass.blocks[part.block];
    let stages = &planned.block.stages;
    match part.step.map(|step| &planned.steps[step]) {
        Some(Step::Whole(stage) | Step::Transform { stage, .. } | Step::Products { stage, .. }) => {
            &stages[*stage..=*stage]
        }
        Some(Step::Banded { stages: range, .. } | Step::DepthFirst { stages: range, .. }) => {
            &stages[range.clone()]
        }
        None => stages,
    }
}

/// What a part does, as far as that does not depend on the clock.
fn describe((graph, plan): (&Graph, &Plan), pass: &Pass, part: Part, moved: Moved) -> PartTime {
    let stages = stages(pass, part);
    let planned = &pass.blocks[part.block];
    let step = part.step.map(|step| &planned.steps[step]);
    // In Winograd's domain the work that the layer asks for is in the products.
    let is_made = |number: usize| -> bool {
        planned
            .steps
            .iter()
            .any(|step| matches!(step, Step::Products { stage, .. } if *stage == number))
    };
    let first = match step {
        Some(Step::Whole(stage) | Step::Banded { stages: Range { start: stage, .. }, .. }) => {
            is_made(*stage)
        }
        Some(Step::DepthFirst { .. } | Step::Transform { .. } | Step::Products { .. }) | None => {
            false
        }
    };
    let title = |(number, stage): (usize, &Stage)| {
        let title = stage.title(graph);
        match step {
            // A kernel's gradient is made of two maps.
            Some(Step::Transform { spectrum: Spectrum::Operand(Product::KernelGrad), .. }) => {
                format!("transform of the value for {title}")
            }
            Some(Step::Transform { spectrum: Spectrum::Grad, .. }) => {
                format!("transform of the gradient for {title}")
            }
            Some(Step::Transform { .. }) => format!("transform for {title}"),
            Some(Step::Products { .. }) => format!("products of {title}"),
            Some(Step::Whole(_) | Step::Banded { .. }) | None if first && number == 0 => {
                format!("back to {title}")
            }
            Some(Step::Whole(_) | Step::Banded { .. } | Step::DepthFirst { .. }) | None => title,
        }
    };
    let what: Vec<String> = stages.iter().enumerate().map(title).collect();
    let made: &[Stage] = match step {
        Some(Step::Transform { .. }) => &[],
        Some(
            Step::Whole(_) | Step::Banded { .. } | Step::DepthFirst { .. } | Step::Products { .. },
        )
        | None => &stages[usize::from(first)..],
    };
    PartTime {
        name: planned.block.name.clone(),
        what: what.join(", "),
        products: stages.iter().filter_map(|stage| product(graph, stage)).collect(),
        flops: made.iter().map(|stage| flops(graph, stage)).sum(),
        multiply_adds: made.iter().map(|stage| plan.multiply_adds(stage)).sum(),
        moved,
        time: Duration::ZERO,
    }
}

/// The product of a convolution that a stage makes.
fn product(graph: &Graph, stage: &Stage) -> Option<(NodeId, Product)> {
    let is_conv = matches!(graph.node(stage.node).op, Op::Conv { .. });
    plan::product(stage.op).filter(|_| is_conv).map(|product| (stage.node, product))
}

fn flops(graph: &Graph, stage: &Stage) -> u64 {
    match stage.op {
        StageOp::Forward { .. } | StageOp::InputGrad { .. } | StageOp::KernelGrad => {
            2 * graph.macs(stage.node)
        }
        StageOp::Import
        | StageOp::Statistics
        | StageOp::Loss
        | StageOp::BiasGrad
        | StageOp::NormGrads { .. }
        | StageOp::SlopeGrad => 0,
    }
}

/// Whether a part does nothing: a dropout of inference, whose result lies where its operand does.
fn is_idle(graph: &Graph, (kind, pass): (PassKind, &Pass), part: Part) -> bool {
    kind == PassKind::Inference
        && stages(pass, part).iter().all(|stage| {
            matches!(graph.node(stage.node).op, Op::Dropout { .. }) && pass.is_in_place(stage)
        })
}

/// Runs the parts of a pass so often on a chunk of `images`, after a first run that nobody times, and gives each its median.
pub(crate) fn measure(
    (graph, plan): (&Graph, &Plan),
    (kind, pass): (PassKind, &Pass),
    (runs, images): (usize, usize),
    run: impl Fn() -> Vec<(usize, Duration)>,
) -> Vec<PartTime> {
    let parts = &pass.parts;
    let mut times: Vec<Vec<Duration>> = vec![vec![]; parts.len()];
    run();
    for (number, time) in (0..runs).flat_map(|_| run()) {
        times[number].push(time);
    }
    let measured = parts.iter().zip(times);
    measured
        .filter(|&(&part, _)| !is_idle(graph, (kind, pass), part))
        .map(|(&part, times)| {
            // A block that takes all images at once was called once for them.
            let images_a_call = if part.together { images as u32 } else { 1 };
            let moved = plan.moved(graph, pass, part, images);
            PartTime {
                time: median(times) / images_a_call,
                ..describe((graph, plan), pass, part, moved)
            }
        })
        .collect()
}

/// The median of some times.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
