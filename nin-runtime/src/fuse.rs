//! Fusion: the computations of a step become [`Stage`]s, and stages that share a pass over the data become [`Block`]s.
//!
//! Two rules, both on ops alone, so that `mlpconv(96, 64)` and the same written out as `conv`s and `relu`s fuse alike:
//!
//! * a ReLU after a convolution or a batch normalisation becomes its epilogue, and the ReLU's gradient becomes the epilogue
//!   (a mask) of whatever produces the gradient of its value; the loss and its gradient are one stage; for inference alone
//!   a batch normalisation after a convolution becomes part of its weights;
//! * a k x k convolution, the pointwise convolutions that follow it and then one pool are one block. Its backward block
//!   holds the gradients of the same nodes.
//!
//! A batch normalisation reads sums over the whole batch, in both directions. A step that reads one ends a *phase*: all
//! slices of the batch come to this point, their sums are gathered, and the next phase begins.
#![warn(clippy::wildcard_enum_match_arm)]

use std::fmt::{self, Write as _};

use nin_dsl::graph::{Graph, NodeId, Op};

use crate::autodiff::{Tensor, TrainNode, TrainOp};

/// What one stage does: an op of the graph or its gradient, with its epilogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StageOp {
    /// Reads the images, `[N, C, H, W]`, into channels-last order.
    Import,
    /// A node's op with its epilogue.
    Forward {
        /// The batch normalisation after a convolution that is part of the convolution's prepared weights.
        norm: Option<NodeId>,
        /// Whether the ReLU after the node is the epilogue.
        relu: bool,
    },
    /// Mean and variance of a batch normalisation's operand.
    Statistics,
    /// Mean cross entropy of the logits, and its gradient.
    Loss,
    /// The gradient of a node's operand.
    InputGrad {
        /// The operand's value, if it is a ReLU's: the gradient is zero where the value is.
        mask: Option<Tensor>,
    },
    /// The gradient of a convolution's kernel.
    KernelGrad,
    /// The gradient of a convolution's bias or a batch normalisation's shift.
    BiasGrad,
    /// The gradient of a batch normalisation's scale.
    ScaleGrad,
}

/// One computation with its epilogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// What it does.
    pub op: StageOp,
    /// The node whose op or gradient it is; the logits of a loss.
    pub node: NodeId,
    /// Tensors read, the mask aside.
    pub reads: Vec<Tensor>,
    /// The tensor written.
    pub writes: Tensor,
}

/// How a block walks over the images of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Domain {
    /// All of its stages on one image, then on the next.
    Image,
    /// Each stage on all images: a vector is one row of a matrix product.
    Chunk,
}

/// Stages that one generated function runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The layers it holds, such as `mlpconv1 maxpool1`; a backward block's begins with `d `.
    pub name: String,
    /// How it walks over images.
    pub domain: Domain,
    /// The phase of the pass it runs in, from 0.
    pub phase: usize,
    /// Stages in order.
    pub stages: Vec<Stage>,
}

/// What a pass is for, where that decides how it is fused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Inference by a program that never trains: weights may be merged.
    Inference,
    /// Inference by a program that also trains: weights stay as they are.
    Evaluation,
    /// A training step.
    Training,
}

/// Fuses the computations of a pass into blocks, in evaluation order.
pub fn fuse(graph: &Graph, nodes: &[TrainNode], purpose: Purpose) -> Vec<Block> {
    let stages = stages(graph, nodes, purpose);
    let homes = homes(graph, purpose);
    let mut blocks: Vec<(Home, Block)> = Vec::new();
    let mut phase = 0;
    // Sums over the batch that are complete only when the phase under way ends.
    let mut open: Vec<Tensor> = Vec::new();
    for stage in stages {
        if stage.reads.iter().any(|tensor| open.contains(tensor)) {
            phase += 1;
            open.clear();
        }
        if matches!(stage.writes, Tensor::Statistics(_) | Tensor::WeightGrad(_)) {
            open.push(stage.writes);
        }
        let home = Home::of(&stage, &homes);
        match blocks.last_mut() {
            Some((last, block)) if *last == home && block.phase == phase => {
                block.stages.push(stage);
            }
            _ => blocks.push((home, home.open(graph, &homes, phase, stage))),
        }
    }
    blocks.into_iter().map(|(_, block)| block).collect()
}

/// The batch normalisation right after a convolution, which can be merged into the convolution's weights.
pub fn norm_after(graph: &Graph, conv: NodeId) -> Option<NodeId> {
    let next = NodeId(conv.0 + 1);
    let is_norm =
        graph.nodes.get(next.index()).is_some_and(|node| matches!(node.op, Op::BatchNorm { .. }));
    (is_norm && matches!(graph.node(conv).op, Op::Conv { .. })).then_some(next)
}

/// Merges computations with their epilogues.
fn stages(graph: &Graph, nodes: &[TrainNode], purpose: Purpose) -> Vec<Stage> {
    let mut stages = Vec::with_capacity(nodes.len());
    let mut rest = nodes.iter().peekable();
    while let Some(node) = rest.next() {
        let stage = match node.op {
            TrainOp::Forward(id) => {
                let mut writes = node.writes;
                let merges = purpose == Purpose::Inference;
                let norm = norm_after(graph, id).filter(|_| merges);
                let norm = norm.filter(|&norm| take_forward(&mut rest, norm, &mut writes));
                let last = norm.unwrap_or(id);
                let rectified = relu_after(graph, last).filter(|_| rectifies(graph.node(last).op));
                let relu = rectified.is_some_and(|relu| take_forward(&mut rest, relu, &mut writes));
                let op = match graph.node(id).op {
                    Op::Input => StageOp::Import,
                    Op::Conv { .. }
                    | Op::Relu
                    | Op::LeakyRelu { .. }
                    | Op::Elu { .. }
                    | Op::MaxPool { .. }
                    | Op::AvgPool { .. }
                    | Op::GlobalAvgPool
                    | Op::Dropout { .. }
                    | Op::BatchNorm { .. }
                    | Op::Softmax => StageOp::Forward { norm, relu },
                };
                Stage { op, node: id, reads: node.reads.clone(), writes }
            }
            TrainOp::Statistics(id) => alone(StageOp::Statistics, node, id),
            TrainOp::ScaleGrad(id) => alone(StageOp::ScaleGrad, node, id),
            TrainOp::CrossEntropy => {
                let grad = rest.next().expect("the loss is followed by its gradient");
                assert_eq!(
                    grad.op,
                    TrainOp::CrossEntropyGrad,
                    "the loss is followed by its gradient"
                );
                Stage {
                    op: StageOp::Loss,
                    node: graph.logits(),
                    reads: node.reads.clone(),
                    writes: grad.writes,
                }
            }
            TrainOp::CrossEntropyGrad => unreachable!("taken together with the loss"),
            TrainOp::InputGrad(id) => input_grad(graph, node, id, &mut rest),
            TrainOp::KernelGrad(id) => alone(StageOp::KernelGrad, node, id),
            TrainOp::BiasGrad(id) => alone(StageOp::BiasGrad, node, id),
        };
        stages.push(stage);
    }
    stages
}

/// A computation that has no epilogue.
fn alone(op: StageOp, node: &TrainNode, id: NodeId) -> Stage {
    Stage { op, node: id, reads: node.reads.clone(), writes: node.writes }
}

/// An input gradient, masked if the operand is a ReLU whose own gradient comes next.
fn input_grad<'a>(
    graph: &Graph,
    node: &TrainNode,
    id: NodeId,
    rest: &mut std::iter::Peekable<impl Iterator<Item = &'a TrainNode>>,
) -> Stage {
    let maskable = match graph.node(id).op {
        Op::Conv { .. }
        | Op::MaxPool { .. }
        | Op::AvgPool { .. }
        | Op::GlobalAvgPool
        | Op::BatchNorm { .. } => true,
        Op::Input
        | Op::Relu
        | Op::LeakyRelu { .. }
        | Op::Elu { .. }
        | Op::Dropout { .. }
        | Op::Softmax => false,
    };
    let relu = rest.next_if(|next| {
        let is_relu_grad =
            matches!(next.op, TrainOp::InputGrad(relu) if graph.node(relu).op == Op::Relu);
        maskable && is_relu_grad && next.reads.first() == Some(&node.writes)
    });
    let (mask, writes) = match relu {
        Some(relu) => (relu.reads.get(1).copied(), relu.writes),
        None => (None, node.writes),
    };
    Stage { op: StageOp::InputGrad { mask }, node: id, reads: node.reads.clone(), writes }
}

/// Whether a ReLU after an op is the op's epilogue.
fn rectifies(op: Op) -> bool {
    match op {
        Op::Conv { .. } | Op::BatchNorm { .. } => true,
        Op::Input
        | Op::Relu
        | Op::LeakyRelu { .. }
        | Op::Elu { .. }
        | Op::MaxPool { .. }
        | Op::AvgPool { .. }
        | Op::GlobalAvgPool
        | Op::Dropout { .. }
        | Op::Softmax => false,
    }
}

/// The ReLU right after a node.
fn relu_after(graph: &Graph, id: NodeId) -> Option<NodeId> {
    let next = NodeId(id.0 + 1);
    graph.nodes.get(next.index()).is_some_and(|node| node.op == Op::Relu).then_some(next)
}

/// Takes the next computation if it is the forward pass of a node; its tensor is then the one that is written.
fn take_forward<'a>(
    rest: &mut std::iter::Peekable<impl Iterator<Item = &'a TrainNode>>,
    node: NodeId,
    writes: &mut Tensor,
) -> bool {
    match rest.next_if(|next| next.op == TrainOp::Forward(node)) {
        Some(taken) => {
            *writes = taken.writes;
            true
        }
        None => false,
    }
}

/// Which block a node's stages belong to, by node index; block numbers count up along the chain.
fn homes(graph: &Graph, purpose: Purpose) -> Vec<(usize, Domain)> {
    /// What may still join the open block.
    enum Open {
        /// Only the input so far: anything on maps.
        Start,
        /// Convolutions so far: pointwise ones and a pool.
        Convs,
        /// A pool stands last: only what works in place on its result.
        Closed,
    }
    let mut homes = Vec::with_capacity(graph.nodes.len());
    let mut open = Open::Start;
    let (mut block, mut domain) = (0, Domain::Image);
    for id in graph.ids() {
        let node_domain = domain_of(graph, id, domain);
        let (joins, next) = match graph.node(id).op {
            Op::Input => (true, Open::Start),
            Op::Conv { window, .. } => {
                let joins = match open {
                    Open::Start => true,
                    Open::Convs => window.is_pointwise(),
                    Open::Closed => false,
                };
                (joins, Open::Convs)
            }
            Op::MaxPool { .. } | Op::AvgPool { .. } | Op::GlobalAvgPool => {
                (!matches!(open, Open::Closed), Open::Closed)
            }
            Op::Relu | Op::LeakyRelu { .. } | Op::Elu { .. } | Op::Dropout { .. } => (true, open),
            // It waits for all images.
            Op::BatchNorm { .. } if purpose == Purpose::Training => (false, Open::Start),
            Op::BatchNorm { .. } => (true, open),
            Op::Softmax => (true, Open::Closed),
        };
        if !joins || node_domain != domain {
            block += 1;
        }
        (open, domain) = (next, node_domain);
        homes.push((block, domain));
    }
    homes
}

/// Vectors are walked by chunk, but for the global average and what works in place on it.
fn domain_of(graph: &Graph, id: NodeId, before: Domain) -> Domain {
    match graph.node(id).op {
        Op::Input | Op::MaxPool { .. } | Op::AvgPool { .. } | Op::GlobalAvgPool => Domain::Image,
        Op::Relu
        | Op::LeakyRelu { .. }
        | Op::Elu { .. }
        | Op::Dropout { .. }
        | Op::BatchNorm { .. } => before,
        Op::Softmax => Domain::Chunk,
        Op::Conv { .. } => match graph.node(id).shape {
            nin_dsl::shape::Shape::Map { .. } => Domain::Image,
            nin_dsl::shape::Shape::Vector { .. } => Domain::Chunk,
        },
    }
}

/// Where a stage belongs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Home {
    Forward(usize),
    Loss,
    Backward(usize),
}

impl Home {
    fn of(stage: &Stage, homes: &[(usize, Domain)]) -> Home {
        match stage.op {
            StageOp::Import | StageOp::Forward { .. } | StageOp::Statistics => {
                Home::Forward(homes[worked_at(stage).index()].0)
            }
            StageOp::Loss => Home::Loss,
            StageOp::InputGrad { .. }
            | StageOp::KernelGrad
            | StageOp::BiasGrad
            | StageOp::ScaleGrad => Home::Backward(homes[worked_at(stage).index()].0),
        }
    }

    fn open(self, graph: &Graph, homes: &[(usize, Domain)], phase: usize, first: Stage) -> Block {
        let (prefix, block) = match self {
            Home::Forward(block) => ("", block),
            Home::Backward(block) => ("d ", block),
            Home::Loss => {
                return Block {
                    name: "loss".to_owned(),
                    domain: Domain::Chunk,
                    phase,
                    stages: vec![first],
                };
            }
        };
        let mut names: Vec<&str> = Vec::new();
        for id in graph.ids().filter(|id| homes[id.index()].0 == block) {
            let layer = &graph.layers[graph.node(id).layer.0 as usize];
            if names.last() != Some(&layer.name.as_str()) && graph.node(id).op != Op::Input {
                names.push(&layer.name);
            }
        }
        let name = if names.is_empty() { "input".to_owned() } else { names.join(" ") };
        let domain = homes[worked_at(&first).index()].1;
        Block { name: format!("{prefix}{name}"), domain, phase, stages: vec![first] }
    }
}

/// The node beside which a stage works: its own, but for a batch normalisation its operand, where the sums of its forward
/// pass are gathered and its operand's gradient is made.
fn worked_at(stage: &Stage) -> NodeId {
    let at_operand = match stage.op {
        StageOp::Statistics => true,
        StageOp::InputGrad { .. } => {
            stage.reads.iter().any(|read| matches!(read, Tensor::Statistics(_)))
        }
        StageOp::Import
        | StageOp::Forward { .. }
        | StageOp::Loss
        | StageOp::KernelGrad
        | StageOp::BiasGrad
        | StageOp::ScaleGrad => false,
    };
    if at_operand {
        stage.node.operand().expect("statistics are of an operand")
    } else {
        stage.node
    }
}

impl Stage {
    /// What it is to a person: the layer, or the gradient, and its epilogue.
    pub fn title(&self, graph: &Graph) -> String {
        let node = graph.node(self.node);
        let layer = &graph.layers[node.layer.0 as usize].name;
        let name = match node.op {
            Op::Conv { weight, .. } => graph.weight(weight).name.trim_end_matches(".weight"),
            Op::Input
            | Op::Relu
            | Op::LeakyRelu { .. }
            | Op::Elu { .. }
            | Op::MaxPool { .. }
            | Op::AvgPool { .. }
            | Op::GlobalAvgPool
            | Op::Dropout { .. }
            | Op::BatchNorm { .. }
            | Op::Softmax => layer,
        };
        match self.op {
            StageOp::Import => "images".to_owned(),
            StageOp::Forward { norm, relu } => {
                let norm = if norm.is_some() { " + norm" } else { "" };
                let relu = if relu { " + relu" } else { "" };
                format!("{name}{norm}{relu}")
            }
            StageOp::Statistics => format!("statistics of {name}"),
            StageOp::Loss => "loss".to_owned(),
            StageOp::InputGrad { mask } => {
                let mask = if mask.is_some() { " + mask" } else { "" };
                format!("d input of {name}{mask}")
            }
            StageOp::KernelGrad | StageOp::BiasGrad | StageOp::ScaleGrad => {
                self.writes.display(graph)
            }
        }
    }

    /// One line: what it writes, what it does, what it reads.
    pub fn display(&self, graph: &Graph) -> String {
        let reads: Vec<String> = self.reads.iter().map(Tensor::to_string).collect();
        let reads = reads.join(", ");
        let what = match self.op {
            StageOp::Import => "import images".to_owned(),
            StageOp::Forward { norm, relu } => {
                let by = self.reads.get(1).map_or(String::new(), |tensor| format!(" by {tensor}"));
                let norm =
                    norm.map_or(String::new(), |norm| format!(" + {}", graph.describe(norm)));
                let relu = if relu { " + relu" } else { "" };
                format!("{}{by}{norm}{relu}", graph.describe(self.node))
            }
            StageOp::Statistics => format!("statistics({reads})"),
            StageOp::ScaleGrad => format!("scale_grad({reads}) of {}", self.node),
            StageOp::Loss => format!("cross_entropy({reads}) + gradient"),
            StageOp::InputGrad { mask } => {
                let mask = mask.map_or(String::new(), |mask| format!(" + mask {mask}"));
                format!("input_grad({reads}) of {}{mask}", self.node)
            }
            StageOp::KernelGrad => format!("kernel_grad({reads}) of {}", self.node),
            StageOp::BiasGrad => format!("bias_grad({reads}) of {}", self.node),
        };
        format!("{:<24} = {what}", self.writes.display(graph))
    }
}

/// All blocks, one line a stage: `nin show --stage fused`.
pub fn display(graph: &Graph, blocks: &[Block]) -> String {
    let mut text = format!("fused {}\n", graph.name);
    let mut phase = 0;
    for block in blocks {
        if block.phase > phase {
            phase = block.phase;
            writeln!(text, "  phase {phase}, when all images are here")
                .expect("writing to a string");
        }
        writeln!(text, "  block {} ({})", block.name, block.domain).expect("writing to a string");
        for stage in &block.stages {
            writeln!(text, "    {}", stage.display(graph)).expect("writing to a string");
        }
    }
    text
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Domain::Image => "image by image",
            Domain::Chunk => "all images at once",
        })
    }
}
