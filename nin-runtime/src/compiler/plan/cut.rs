//! How a pass is cut: blocks into steps, and all of it into phases and into parts that one call can run.

use std::ops::Range;

use nin_dsl::graph::{Graph, Op};

use super::{
    BAND_BYTES, ConvPlan, Gather, Part, Phase, PlannedBlock, Product, ProductsBy, Reach, Spectrum,
    Step, Winograd,
};
use crate::compiler::autodiff::TensorId;
use crate::compiler::fuse::{Block, Domain, Stage, StageOp};

/// Cuts a block into steps: convolutions whose successors are pointwise go band by band, and what works in Winograd's domain is
/// brought there and multiplied before.
pub(super) fn steps(graph: &Graph, block: &Block, convs: &[ConvPlan]) -> Vec<Step> {
    let stages = &block.stages;
    let mut steps = Vec::new();
    let mut next = 0;
    while next < stages.len() {
        let mut end = next + 1;
        if block.domain == Domain::Image && is_conv(graph, &stages[next]) {
            while stages
                .get(end)
                .is_some_and(|stage| goes_on(graph, convs, [&stages[end - 1], stage]))
            {
                end += 1;
            }
        }
        piece(graph, block, next..end, convs, &mut steps);
        next = end;
    }
    steps
}

/// The steps of one stage, or of several through which bands of the same rows go.
pub(super) fn piece(
    graph: &Graph,
    block: &Block,
    range: Range<usize>,
    convs: &[ConvPlan],
    steps: &mut Vec<Step>,
) {
    let first = &block.stages[range.start];
    let conv = convs.iter().find(|conv| conv.node == first.node);
    let conv = conv.filter(|_| block.domain == Domain::Image);
    let product = product(first.op);
    let winograd = product.zip(conv).and_then(|(product, conv)| conv.winograd(product));
    if let (Some(conv), Some(product), Some(winograd)) = (conv, product, winograd) {
        transforms(range.start, (conv, product), winograd, steps);
    }
    if product == Some(Product::KernelGrad) && winograd.is_some() {
        return;
    }
    let conv = conv.filter(|_| is_conv(graph, first));
    // Whoever shares an image's rows needs bands, of however many convolutions.
    let banded =
        |conv: &ConvPlan| range.len() > 1 || conv.geometry.is_pointwise() || winograd.is_some();
    if conv.is_some_and(banded) {
        let shapes = range.clone().map(|index| graph.node(block.stages[index].node).shape);
        let widest = shapes.map(|shape| 4 * shape.channels() * shape.width()).max().unwrap_or(1);
        let height = graph.node(first.node).shape.height();
        let rows = (BAND_BYTES / widest).clamp(1, height);
        let unit = winograd.map_or(1, |winograd| winograd.size.outputs).min(height);
        let rows = (rows / unit).max(1) * unit;
        steps.push(Step::Banded { stages: range, rows, unit });
    } else {
        steps.push(Step::Whole(range.start));
    }
}

/// Whether a stage is a convolution's forward pass.
pub(super) fn is_conv(graph: &Graph, stage: &Stage) -> bool {
    let is_forward = matches!(stage.op, StageOp::Forward { .. });
    is_forward && matches!(graph.node(stage.node).op, Op::Conv { .. })
}

/// Whether a band goes on from a convolution to a pointwise one.
pub(super) fn goes_on(graph: &Graph, convs: &[ConvPlan], [before, stage]: [&Stage; 2]) -> bool {
    let conv = convs.iter().find(|conv| conv.node == stage.node);
    let is_pointwise = conv.is_some_and(|conv| conv.geometry.is_pointwise());
    is_conv(graph, before) && is_conv(graph, stage) && is_pointwise
}

/// Whether a stage that is a step of its own can be shared by rows.
fn goes_by_rows(graph: &Graph, stage: &Stage) -> bool {
    match stage.op {
        StageOp::Import => return true,
        StageOp::Forward { .. } => {}
        StageOp::Statistics
        | StageOp::Loss
        | StageOp::InputGrad { .. }
        | StageOp::KernelGrad
        | StageOp::BiasGrad
        | StageOp::NormGrads { .. }
        | StageOp::SlopeGrad => return false,
    }
    match graph.node(stage.node).op {
        Op::Conv { .. }
        | Op::MaxPool { .. }
        | Op::AvgPool { .. }
        | Op::Relu
        | Op::Activation(_) => true,
        Op::Input
        | Op::PRelu { .. }
        | Op::GlobalAvgPool
        | Op::GlobalMaxPool
        | Op::Dropout { .. }
        | Op::BatchNorm { .. }
        | Op::Lrn { .. }
        | Op::Softmax
        | Op::Add
        | Op::Concat
        | Op::Mul => false,
    }
}

/// The product that a stage which makes one makes.
pub(crate) fn product_of(op: StageOp) -> Product {
    product(op).expect("only products are made in Winograd's domain (a bug in nin)")
}

/// The product that a stage makes, if its node is a convolution.
pub(crate) fn product(op: StageOp) -> Option<Product> {
    match op {
        StageOp::Forward { .. } => Some(Product::Forward),
        StageOp::InputGrad { .. } => Some(Product::InputGrad),
        StageOp::KernelGrad => Some(Product::KernelGrad),
        StageOp::Import
        | StageOp::Statistics
        | StageOp::Loss
        | StageOp::BiasGrad
        | StageOp::NormGrads { .. }
        | StageOp::SlopeGrad => None,
    }
}

/// The steps of a product in Winograd's domain before its result is brought back.
fn transforms(
    stage: usize,
    (conv, product): (&ConvPlan, Product),
    winograd: Winograd,
    steps: &mut Vec<Step>,
) {
    if winograd.reach == Reach::Band {
        return;
    }
    steps.push(Step::Transform { stage, spectrum: Spectrum::Operand(product) });
    if product == Product::KernelGrad {
        steps.push(Step::Transform { stage, spectrum: Spectrum::Grad });
    }
    let by = match winograd.reach {
        Reach::Chunk => ProductsBy::Chunk,
        Reach::Band | Reach::Image
            if product == Product::Forward && goes_by_tiles(conv, winograd) =>
        {
            ProductsBy::Row
        }
        Reach::Band | Reach::Image => ProductsBy::Frequency,
    };
    steps.push(Step::Products { stage, by });
}

/// Whether threads share products by rows of tiles: where reading all transformed weights costs less than to meet twice more, and
/// to read maps that others have made; and where halves of the rows are about as many.
fn goes_by_tiles(conv: &ConvPlan, winograd: Winograd) -> bool {
    let (rows, _) = winograd.tiles(conv.geometry.output);
    let weights = winograd.size.frequencies() * conv.geometry.cin * conv.geometry.outputs();
    weights <= ROW_WEIGHTS && rows > 1 && (rows.is_multiple_of(2) || rows > FEW_ROWS)
}

/// Floats of transformed weights that every thread may read.
const ROW_WEIGHTS: usize = 160 << 10;
/// Rows of tiles of which an odd number cannot be halved.
const FEW_ROWS: usize = 8;

/// Steps of a block that are walked together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// All of them on one image, then on the next.
    Images(Range<usize>),
    /// One, on all images of the chunk at once.
    Chunk(usize),
}

impl PlannedBlock {
    /// The steps in runs.
    pub fn runs(&self) -> Vec<Run> {
        let mut runs = Vec::new();
        for (number, step) in self.steps.iter().enumerate() {
            if step.is_together() {
                runs.push(Run::Chunk(number));
            } else if let Some(Run::Images(steps)) = runs.last_mut() {
                steps.end = number + 1;
            } else {
                runs.push(Run::Images(number..number + 1));
            }
        }
        runs
    }
}

impl Step {
    /// Whether one call takes all images of the chunk.
    pub fn is_together(&self) -> bool {
        matches!(self, Step::Products { by: ProductsBy::Chunk, .. })
    }
}

/// The phases of a pass. After each is gathered what stages of later ones read of its sums.
pub(super) fn phases(blocks: &[PlannedBlock]) -> Vec<Phase> {
    let mut phases: Vec<Phase> = Vec::new();
    for (index, PlannedBlock { block, .. }) in blocks.iter().enumerate() {
        if block.phase < phases.len() {
            phases.last_mut().expect("a phase is open").blocks.end = index + 1;
            continue;
        }
        if let Some(before) = phases.last_mut() {
            let (ended, left) = blocks.split_at(index);
            before.gathers = gathers(&ended[before.blocks.clone()], left);
        }
        phases.push(Phase { blocks: index..index + 1, gathers: Vec::new() });
    }
    phases
}

/// What stages leave in the blocks of a phase and those that are left read of it, in the order in which it is left.
fn gathers(phase: &[PlannedBlock], left: &[PlannedBlock]) -> Vec<Gather> {
    let stages = |blocks: &'_ [PlannedBlock]| -> Vec<Stage> {
        blocks.iter().flat_map(|planned| planned.block.stages.iter().cloned()).collect()
    };
    let left = stages(left);
    let sums = stages(phase).into_iter().filter(|stage| {
        matches!(stage.op, StageOp::Statistics | StageOp::NormGrads { .. })
            && left.iter().any(|later| later.reads.contains(&stage.writes))
    });
    let gather = |stage: Stage| {
        let is_forward = stage.op == StageOp::Statistics;
        if is_forward { Gather::Statistics(stage.node) } else { Gather::Gradients(stage.node) }
    };
    sums.map(gather).collect()
}

/// Blocks with what is gathered before each of the sums that blocks before it in the same phase have left: once, before the
/// first that reads it.
pub(super) fn gathered_by_chunk(graph: &Graph, mut blocks: Vec<PlannedBlock>) -> Vec<PlannedBlock> {
    let mut open: Vec<(TensorId, usize)> = Vec::new();
    for PlannedBlock { block, gathers, .. } in &mut blocks {
        for stage in &block.stages {
            let node = stage.node;
            for read in &stage.reads {
                let Some(at) = open.iter().position(|of| *of == (*read, block.phase)) else {
                    continue;
                };
                open.remove(at);
                let gather = match read {
                    TensorId::Statistics(of) => Gather::Statistics(*of),
                    TensorId::WeightGrad(_)
                    | TensorId::Value(_)
                    | TensorId::Grad(_)
                    | TensorId::Labels
                    | TensorId::Loss => Gather::Gradients(node),
                };
                if !gathers.contains(&gather) {
                    gathers.push(gather);
                }
            }
        }
        let is_norm = |stage: &&Stage| matches!(graph.node(stage.node).op, Op::BatchNorm { .. });
        let left = block.stages.iter().filter(is_norm).flat_map(Stage::sums);
        open.extend(left.map(|sum| (sum, block.phase)));
    }
    blocks
}

/// The parts of a pass.
pub(super) fn parts(graph: &Graph, blocks: &[PlannedBlock], convs: &[ConvPlan]) -> Vec<Part> {
    let mut parts = Vec::new();
    for (block, planned) in blocks.iter().enumerate() {
        match planned.block.domain {
            Domain::Image => {
                for (step, planned_step) in planned.steps.iter().enumerate() {
                    let rows = planned.rows(graph, convs, planned_step);
                    let together = planned_step.is_together();
                    let before = step.checked_sub(1).map(|before| &planned.steps[before]);
                    let follows = before.is_some_and(|before| {
                        follows(graph, &planned.block, before, planned_step)
                            && parts.last().is_some_and(|part: &Part| part.rows == rows)
                    });
                    parts.push(Part { block, step: Some(step), together, rows, follows });
                }
            }
            Domain::Chunk => {
                parts.push(Part { block, step: None, together: true, rows: 1, follows: false });
            }
        }
    }
    parts
}

/// Whether a share of a step reads nothing new but what the same share of the step before it, of the same block, has left. Blocks
/// keep all that they touch apart, so that nothing is overwritten that another thread still reads.
fn follows(graph: &Graph, block: &Block, before: &Step, step: &Step) -> bool {
    let is_elementwise = |stage: &Stage| {
        let op = graph.node(stage.node).op;
        matches!(stage.op, StageOp::Forward { .. }) && matches!(op, Op::Relu | Op::Activation(_))
    };
    match (before, step) {
        (Step::Transform { stage: before, .. }, Step::Products { stage, by }) => {
            before == stage && *by == ProductsBy::Row
        }
        (Step::Products { stage, by }, Step::Banded { stages, .. }) => {
            stages.start == *stage && *by == ProductsBy::Row
        }
        (Step::Whole(before), Step::Whole(stage)) => {
            let [before, stage] = [before, stage].map(|&stage| &block.stages[stage]);
            is_elementwise(stage) && goes_by_rows(graph, before) && stage.reads == [before.writes]
        }
        (
            Step::Banded { stages, unit: 1, .. } | Step::DepthFirst { stages, .. },
            Step::Whole(stage),
        ) => {
            let [before, stage] = [stages.end - 1, *stage].map(|stage| &block.stages[stage]);
            is_elementwise(stage) && stage.reads == [before.writes]
        }
        (
            Step::Whole(_)
            | Step::Banded { .. }
            | Step::DepthFirst { .. }
            | Step::Transform { .. }
            | Step::Products { .. },
            _,
        ) => false,
    }
}

impl PlannedBlock {
    /// Rows (of the output, of tiles; or frequencies) that a step makes one by one; 1 if it works on the image as a whole.
    pub fn rows(&self, graph: &Graph, convs: &[ConvPlan], step: &Step) -> usize {
        let stage = |index: usize| &self.block.stages[index];
        let conv = |index: usize| {
            let found = convs.iter().find(|conv| conv.node == stage(index).node);
            found.expect("every convolution is planned (a bug in nin)")
        };
        let height = |index: usize| graph.node(stage(index).node).shape.height();
        match step {
            Step::Whole(index) if goes_by_rows(graph, stage(*index)) => height(*index),
            Step::Whole(_) => 1,
            Step::Banded { stages, unit, .. } => height(stages.start).div_ceil(*unit),
            Step::DepthFirst { stages, .. } => height(stages.end - 1),
            Step::Transform { stage, spectrum } => {
                let conv = conv(*stage);
                let outputs = match spectrum.product() {
                    Product::Forward | Product::KernelGrad => conv.geometry.output,
                    Product::InputGrad => conv.geometry.input,
                };
                conv.transformed(spectrum.product()).tiles(outputs).0
            }
            Step::Products { stage, by } => {
                let (product, conv) = (product_of(self.block.stages[*stage].op), conv(*stage));
                let winograd = conv.transformed(product);
                match by {
                    ProductsBy::Row => winograd.tiles(conv.geometry.output).0,
                    ProductsBy::Frequency | ProductsBy::Chunk => winograd.size.frequencies(),
                }
            }
        }
    }
}
