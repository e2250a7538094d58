//! Blocks as text: `nin show --stage fused`.
#![warn(clippy::wildcard_enum_match_arm)]

use std::fmt::{self, Write as _};

use nin_dsl::graph::{Graph, NodeId, Op};

use super::{Block, Domain, Stage, StageOp};
use crate::compiler::activation::Finish;
use crate::compiler::autodiff::{self, TensorId};

impl Stage {
    /// What it is to a person: the layer, or the gradient, and its epilogue.
    pub fn title(&self, graph: &Graph) -> String {
        let node = graph.node(self.node);
        let layer = &graph.layer(node.layer).name;
        let name = match node.op {
            Op::Conv { weight, .. } => graph.weight(weight).name.trim_end_matches(".weight"),
            Op::Input
            | Op::Relu
            | Op::Activation(_)
            | Op::PRelu { .. }
            | Op::MaxPool { .. }
            | Op::AvgPool { .. }
            | Op::GlobalAvgPool
            | Op::GlobalMaxPool
            | Op::Dropout { .. }
            | Op::BatchNorm { .. }
            | Op::Lrn { .. }
            | Op::Softmax
            | Op::Add
            | Op::Concat
            | Op::Mul => layer,
        };
        match self.op {
            StageOp::Import => "images".to_owned(),
            StageOp::Forward { norm, add, then } => {
                let add = if add.is_some() { " + add" } else { "" };
                let norm = if norm.is_some() { " + norm" } else { "" };
                let then = finished(graph, then);
                format!("{name}{norm}{add}{then}")
            }
            StageOp::Statistics => format!("statistics of {name}"),
            StageOp::Loss => "loss".to_owned(),
            StageOp::InputGrad { mask, .. } => {
                let mask = if mask.is_some() { " + mask" } else { "" };
                format!("d input of {name}{mask}")
            }
            StageOp::KernelGrad
            | StageOp::BiasGrad
            | StageOp::NormGrads { .. }
            | StageOp::SlopeGrad => self.results(graph, " + "),
        }
    }

    /// The names of the tensors that it writes.
    fn results(&self, graph: &Graph, between: &str) -> String {
        let names: Vec<String> = self.written().map(|tensor| tensor.display(graph)).collect();
        names.join(between)
    }

    /// The tensors that it writes.
    pub fn written(&self) -> impl Iterator<Item = TensorId> + use<> {
        let second = match self.op {
            StageOp::NormGrads { shift } => Some(shift),
            StageOp::Import
            | StageOp::Forward { .. }
            | StageOp::Statistics
            | StageOp::Loss
            | StageOp::InputGrad { .. }
            | StageOp::KernelGrad
            | StageOp::BiasGrad
            | StageOp::SlopeGrad => None,
        };
        [self.writes].into_iter().chain(second)
    }

    /// Those of them that are sums over images.
    pub fn sums(&self) -> impl Iterator<Item = TensorId> + use<> {
        let is_sum =
            |tensor: &TensorId| matches!(tensor, TensorId::Statistics(_) | TensorId::WeightGrad(_));
        self.written().filter(is_sum)
    }

    /// What its epilogue reads, laid out as what it writes: a mask, or what is added.
    pub fn beside(&self) -> Option<TensorId> {
        match self.op {
            StageOp::InputGrad { mask, .. } => mask,
            StageOp::Forward { add, .. } => add,
            StageOp::Import
            | StageOp::Statistics
            | StageOp::Loss
            | StageOp::KernelGrad
            | StageOp::BiasGrad
            | StageOp::NormGrads { .. }
            | StageOp::SlopeGrad => None,
        }
    }

    /// Whether it adds to what other stages have written.
    pub fn accumulates(&self) -> bool {
        matches!(self.op, StageOp::InputGrad { accumulates: true, .. })
    }

    /// One line: what it writes, what it does, what it reads.
    pub fn display(&self, graph: &Graph) -> String {
        let reads: Vec<String> = self.reads.iter().map(TensorId::to_string).collect();
        let reads = reads.join(", ");
        let what = match self.op {
            StageOp::Import => "import images".to_owned(),
            StageOp::Forward { norm, add, then } => {
                let add = add.map_or(String::new(), |add| format!(" + {add}"));
                let by = autodiff::statistics(&self.reads);
                let by = by.map_or(String::new(), |tensor| format!(" by {tensor}"));
                let norm =
                    norm.map_or(String::new(), |norm| format!(" + {}", graph.describe(norm)));
                let then = finished(graph, then);
                format!("{}{by}{norm}{add}{then}", graph.describe(self.node))
            }
            StageOp::Statistics => format!("statistics({reads})"),
            StageOp::NormGrads { .. } => format!("norm_grads({reads}) of {}", self.node),
            StageOp::SlopeGrad => format!("scale_grad({reads}) of {}", self.node),
            StageOp::Loss => format!("cross_entropy({reads}) + gradient"),
            StageOp::InputGrad { mask, .. } => {
                let mask = mask.map_or(String::new(), |mask| format!(" + mask {mask}"));
                format!("input_grad({reads}) of {}{mask}", self.node)
            }
            StageOp::KernelGrad => format!("kernel_grad({reads}) of {}", self.node),
            StageOp::BiasGrad => format!("bias_grad({reads}) of {}", self.node),
        };
        let sign = if self.accumulates() { "+=" } else { "=" };
        format!("{:<24} {sign} {what}", self.results(graph, ", "))
    }
}

/// The activation at the end of an epilogue.
fn finished(graph: &Graph, then: Option<NodeId>) -> String {
    let finish = then.and_then(|id| Finish::of(graph.node(id).op));
    finish.map_or(String::new(), |finish| format!(" + {}", finish.word()))
}

/// All blocks, one line a stage: `nin show --stage fused`.
pub fn display(graph: &Graph, blocks: &[Block]) -> String {
    let mut text = format!("fused {}\n", graph.name());
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
