//! What a part of a pass does, by the plan's own count: the bytes that it moves, the multiply-adds of its products. Both are for
//! `nin bench --layers`.

use std::collections::BTreeSet;

use nin_dsl::graph::{Graph, NodeId, Op, WeightId};

use super::{Algorithm, Part, Pass, Plan, Product, Reach, Spectrum, Step, cut};
use crate::compiler::autodiff::TensorId;
use crate::compiler::fuse::{Domain, Stage, StageOp};

/// Bytes that a part moves for one image. Each operand counts once in either direction: it is the least that the part has to
/// load and store, however often its tiles come back to the same bytes.
///
/// What a call moves once for all of its images, such as the weights of a matrix product of a whole chunk, is shared among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// What it reads.
    pub read: u64,
    /// What it writes.
    pub written: u64,
}

impl Moved {
    /// Both directions.
    pub fn total(self) -> u64 {
        self.read + self.written
    }
}

/// Something that a part reads or writes as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Operand {
    Tensor(TensorId),
    /// The channels of a concatenation that a value was copied to.
    Copy(NodeId),
    /// A weight, or what was prepared of it for the direct algorithm, which is as large.
    Weight(WeightId),
    /// A convolution's kernel, prepared in Winograd's domain for a product.
    Kernel(NodeId, Product),
    Spectrum(NodeId, Spectrum),
}

/// What a part touches.
#[derive(Default)]
struct Traffic {
    read: BTreeSet<Operand>,
    written: BTreeSet<Operand>,
}

impl Traffic {
    fn reads(&mut self, operands: impl IntoIterator<Item = Operand>) {
        self.read.extend(operands);
    }

    fn writes(&mut self, operand: Operand) {
        self.written.insert(operand);
    }

    /// What is added to: sums are loaded before they are stored.
    fn adds_to(&mut self, operand: Operand) {
        self.reads([operand]);
        self.writes(operand);
    }

    /// The result of a stage, and what its epilogue reads.
    fn result(&mut self, stage: &Stage) {
        let written = Operand::Tensor(stage.writes);
        self.reads(stage.beside().map(Operand::Tensor));
        match stage.op {
            StageOp::Statistics
            | StageOp::KernelGrad
            | StageOp::BiasGrad
            | StageOp::NormGrads { .. }
            | StageOp::SlopeGrad => {
                stage.written().map(Operand::Tensor).for_each(|sum| self.adds_to(sum));
            }
            StageOp::InputGrad { accumulates: true, .. } => self.adds_to(written),
            // An image as it is given is as large as in the order in which it is kept.
            StageOp::Import => self.adds_to(written),
            StageOp::InputGrad { .. } | StageOp::Forward { .. } | StageOp::Loss => {
                self.writes(written);
            }
        }
    }

    /// A stage that reads tensors as they lie.
    fn whole(&mut self, graph: &Graph, pass: &Pass, stage: &Stage) {
        if pass.is_done(graph, stage) {
            return;
        }
        if graph.node(stage.node).op == Op::Concat && matches!(stage.op, StageOp::Forward { .. }) {
            return self.copies(graph, pass, stage);
        }
        self.reads(stage.reads.iter().copied().map(Operand::Tensor));
        self.reads(weights(graph, stage).map(Operand::Weight));
        self.result(stage);
    }

    /// A concatenation, of which some values are copied.
    fn copies(&mut self, graph: &Graph, pass: &Pass, stage: &Stage) {
        let inputs = graph.node(stage.node).inputs.iter().zip(&stage.reads).enumerate();
        for (input, (&id, &tensor)) in inputs {
            if !pass.is_joined(graph, stage, input) {
                self.reads([Operand::Tensor(tensor)]);
                self.writes(Operand::Copy(id));
            }
        }
    }

    /// A product of a convolution in Winograd's domain, between the transforms.
    fn product(&mut self, stage: &Stage) {
        let (node, product) = (stage.node, cut::product_of(stage.op));
        let spectrum = |spectrum| Operand::Spectrum(node, spectrum);
        self.reads([spectrum(Spectrum::Operand(product))]);
        match product {
            Product::Forward | Product::InputGrad => {
                self.reads([Operand::Kernel(node, product)]);
                self.writes(spectrum(Spectrum::Result(product)));
            }
            Product::KernelGrad => {
                self.reads([spectrum(Spectrum::Grad)]);
                self.adds_to(spectrum(Spectrum::Result(product)));
            }
        }
    }

    /// Brings a product back from Winograd's domain.
    fn back(&mut self, graph: &Graph, stage: &Stage) {
        let result = Spectrum::Result(cut::product_of(stage.op));
        self.reads([Operand::Spectrum(stage.node, result)]);
        self.reads(bias(graph, stage).map(Operand::Weight));
        self.result(stage);
    }
}

/// The weights that a stage reads.
fn weights(graph: &Graph, stage: &Stage) -> impl Iterator<Item = WeightId> {
    let kernel = match (stage.op, graph.node(stage.node).op) {
        (StageOp::Forward { .. } | StageOp::InputGrad { .. }, Op::Conv { weight, .. }) => {
            vec![weight]
        }
        (StageOp::Forward { .. }, Op::BatchNorm { weights, .. }) => {
            vec![weights.scale, weights.shift]
        }
        (StageOp::InputGrad { .. }, Op::BatchNorm { weights, .. }) => vec![weights.scale],
        (StageOp::Forward { .. } | StageOp::InputGrad { .. }, Op::PRelu { slope }) => vec![slope],
        _ => vec![],
    };
    kernel.into_iter().chain(bias(graph, stage))
}

/// The bias that a convolution's output starts from.
fn bias(graph: &Graph, stage: &Stage) -> Option<WeightId> {
    match (stage.op, graph.node(stage.node).op) {
        (StageOp::Forward { .. }, Op::Conv { bias, .. }) => bias,
        _ => None,
    }
}

impl Plan {
    /// Multiply-adds of one image that a stage really does in its product, if it makes one: no padding, and in Winograd's domain
    /// the fewer of the algorithm.
    pub fn multiply_adds(&self, stage: &Stage) -> u64 {
        let conv = self.convs.iter().find(|conv| conv.node == stage.node);
        let Some((conv, product)) = conv.zip(cut::product(stage.op)) else { return 0 };
        let choice = conv.choice(product);
        match choice.algorithm {
            Algorithm::Direct => choice.direct,
            Algorithm::Winograd(winograd) => {
                let outputs = match product {
                    Product::Forward | Product::KernelGrad => conv.geometry.output,
                    Product::InputGrad => conv.geometry.input,
                };
                let (rows, columns) = winograd.tiles(outputs);
                let tiles = winograd.size.frequencies() * rows * columns;
                (tiles * conv.geometry.cin * conv.geometry.outputs()) as u64
            }
        }
    }

    /// What a part of a pass moves for one image if it is called with so many.
    pub fn moved(&self, graph: &Graph, pass: &Pass, part: Part, images: usize) -> Moved {
        let operands = self.operands(graph, pass, part);
        let calls = if part.together { 1 } else { images };
        let bytes = |operands: &BTreeSet<Operand>| {
            let floats = |&operand: &Operand| {
                let (floats, times) = match self.floats(graph, operand) {
                    FloatCount::OfImage(floats) => (floats, images),
                    FloatCount::OfCall(floats) => (floats, calls),
                };
                floats * times
            };
            (4 * operands.iter().map(floats).sum::<usize>() / images) as u64
        };
        Moved { read: bytes(&operands.read), written: bytes(&operands.written) }
    }

    fn operands(&self, graph: &Graph, pass: &Pass, part: Part) -> Traffic {
        let planned = &pass.blocks[part.block];
        let stages = &planned.block.stages;
        let reach = |stage: &Stage| {
            let product = cut::product(stage.op).filter(|_| planned.block.domain == Domain::Image);
            let conv = self.convs.iter().find(|conv| conv.node == stage.node);
            Some(conv?.winograd(product?)?.reach)
        };
        let mut all = Traffic::default();
        match part.step.map(|step| &planned.steps[step]) {
            None => stages.iter().for_each(|stage| all.whole(graph, pass, stage)),
            Some(Step::Whole(number)) => match reach(&stages[*number]) {
                None => all.whole(graph, pass, &stages[*number]),
                Some(_) => all.back(graph, &stages[*number]),
            },
            Some(Step::Banded { stages: range, .. }) => {
                let first = &stages[range.start];
                match reach(first) {
                    None => all.whole(graph, pass, first),
                    Some(Reach::Image | Reach::Chunk) => all.back(graph, first),
                    Some(Reach::Band) => {
                        let operand = Spectrum::Operand(cut::product_of(first.op));
                        all.reads([Operand::Tensor(first.reads[operand.operand()])]);
                        all.writes(Operand::Spectrum(first.node, operand));
                        all.product(first);
                        all.back(graph, first);
                    }
                }
                stages[range.start + 1..range.end]
                    .iter()
                    .for_each(|stage| all.whole(graph, pass, stage));
            }
            Some(Step::DepthFirst { stages: range, .. }) => {
                let stages = &stages[range.clone()];
                stages.iter().for_each(|stage| all.whole(graph, pass, stage));
                for between in &stages[..stages.len() - 1] {
                    let between = Operand::Tensor(between.writes);
                    all.read.remove(&between);
                    all.written.remove(&between);
                }
            }
            Some(Step::Transform { stage, spectrum }) => {
                let stage = &stages[*stage];
                all.reads([Operand::Tensor(stage.reads[spectrum.operand()])]);
                all.writes(Operand::Spectrum(stage.node, *spectrum));
            }
            Some(Step::Products { stage, .. }) => all.product(&stages[*stage]),
        }
        all
    }

    fn floats(&self, graph: &Graph, operand: Operand) -> FloatCount {
        match operand {
            Operand::Tensor(TensorId::Value(id) | TensorId::Grad(id)) | Operand::Copy(id) => {
                FloatCount::OfImage(graph.node(id).shape.elements())
            }
            Operand::Tensor(TensorId::Labels | TensorId::Loss) => FloatCount::OfImage(1),
            Operand::Tensor(TensorId::Statistics(id)) => {
                FloatCount::OfCall(2 * graph.node(id).shape.channels())
            }
            Operand::Weight(id) | Operand::Tensor(TensorId::WeightGrad(id)) => {
                FloatCount::OfCall(graph.weight(id).elements())
            }
            Operand::Kernel(node, product) => {
                let conv = self.conv(node);
                let frequencies = conv.transformed(product).size.frequencies();
                FloatCount::OfCall(frequencies * conv.geometry.cin * conv.geometry.outputs())
            }
            Operand::Spectrum(node, spectrum) => {
                let conv = self.conv(node);
                let layout = conv.spectrum(spectrum, self.chunk);
                let floats = layout.frequencies * layout.rows * layout.channels;
                match spectrum {
                    Spectrum::Result(Product::KernelGrad) => FloatCount::OfCall(floats),
                    Spectrum::Operand(_) | Spectrum::Grad | Spectrum::Result(_) => {
                        let winograd = conv.transformed(spectrum.product());
                        // The bands of an image, one after the other.
                        let bands = match winograd.reach {
                            Reach::Band => winograd.tiles(conv.geometry.output).0,
                            Reach::Image | Reach::Chunk => 1,
                        };
                        FloatCount::OfImage(bands * floats)
                    }
                }
            }
        }
    }
}

/// How large something is.
enum FloatCount {
    /// For each image.
    OfImage(usize),
    /// For all images of a call together.
    OfCall(usize),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{self, Options, compile};
    use crate::model::Model;

    /// A model by one algorithm, and its parts for one image of calls with so many: title, and floats read and written.
    fn parts(text: &str, algo: &str, batch: usize, training: bool) -> Vec<(String, u64, u64)> {
        let model = Model::from_text("m", text, &[]).expect("the model is valid");
        let (graph, algo) = (model.graph(), algo.parse().expect("the list is valid"));
        let purpose =
            if training { compile::Purpose::Training } else { compile::Purpose::Inference };
        let program = compile(graph, &Options { batch, purpose, algo, ..Options::default() });
        let program = program.expect("the model compiles");
        let plan = program.plan();
        let pass = plan.training.as_ref().unwrap_or(&plan.inference);
        let described = pass.parts.iter().map(|&part| {
            let block = &pass.blocks[part.block];
            let title = match part.step.map(|step| &block.steps[step]) {
                None => block.block.name.clone(),
                Some(Step::Whole(stage)) => block.block.stages[*stage].title(graph),
                Some(Step::Banded { stages, .. } | Step::DepthFirst { stages, .. }) => {
                    block.block.stages[stages.start].title(graph)
                }
                Some(Step::Transform { stage, spectrum }) => {
                    format!("{} {spectrum:?}", block.block.stages[*stage].title(graph))
                }
                Some(Step::Products { stage, .. }) => {
                    format!("{} products", block.block.stages[*stage].title(graph))
                }
            };
            let moved = plan.moved(graph, pass, part, batch);
            (title, moved.read / 4, moved.written / 4)
        });
        described.collect()
    }

    /// The part of a title.
    fn find(parts: &[(String, u64, u64)], title: &str) -> (u64, u64) {
        let found = parts.iter().find(|(of, ..)| of == title);
        let &(_, read, written) = found.unwrap_or_else(|| panic!("no {title} in {parts:?}"));
        (read, written)
    }

    const TEXT: &str = "< input(16, 8, 8) conv(24, kernel = 3, pad = same) relu conv(8, kernel = 3, pad = same) gap softmax >";
    /// Of the input, the first value and the second.
    const MAPS: [u64; 3] = [16 * 64, 24 * 64, 8 * 64];

    #[test]
    fn a_direct_convolution_moves_its_maps_and_its_weights() {
        let parts = parts(TEXT, "direct", 1, false);
        let [input, first, second] = MAPS;
        assert_eq!(find(&parts, "images"), (input, input));
        assert_eq!(find(&parts, "conv1 + relu"), (input + 24 * 16 * 9 + 24, first));
        assert_eq!(find(&parts, "conv2"), (first + 8 * 24 * 9 + 8, second));
    }

    /// 16 tiles of 2 x 2 outputs, in 16 frequencies.
    #[test]
    fn winograds_transforms_move_what_they_transform_and_products_what_they_multiply() {
        let parts = parts(TEXT, "winograd2", 1, false);
        let [input, first, _] = MAPS;
        let [operand, result] = [16 * 16 * 16, 16 * 16 * 24];
        assert_eq!(find(&parts, "conv1 + relu Operand(Forward)"), (input, operand));
        assert_eq!(
            find(&parts, "conv1 + relu products"),
            (operand + 16 * 16 * 24, result),
            "the kernel in the domain too"
        );
        assert_eq!(find(&parts, "conv1 + relu"), (result + 24, first), "the bias too");
    }

    #[test]
    fn a_training_step_moves_gradients_masks_and_sums() {
        let parts = parts(TEXT, "winograd2", 1, true);
        let [_, first, second] = MAPS;
        let [values, grads] = [16 * 16 * 24, 16 * 16 * 8];
        let sums = 16 * 24 * 8;
        assert_eq!(find(&parts, "d conv2.weight Operand(KernelGrad)"), (first, values));
        assert_eq!(find(&parts, "d conv2.weight Grad"), (second, grads));
        assert_eq!(find(&parts, "d conv2.weight products"), (values + grads + sums, sums));
        let input_grad = "d input of conv2 + mask";
        assert_eq!(find(&parts, &format!("{input_grad} products")), (grads + sums, values));
        assert_eq!(find(&parts, input_grad), (values + first, first), "the mask is the value");
        assert_eq!(find(&parts, "d conv2.bias"), (second + 8, 8));
    }

    /// Few tiles an image: the products of eight images are one, which reads the kernel once.
    #[test]
    fn images_that_are_multiplied_together_share_the_weights() {
        let text = "< input(64, 4, 4) conv(64, kernel = 3, pad = same) gap softmax >";
        let [one, eight] = [1, 8].map(|batch| parts(text, "winograd2", batch, false));
        let (spectrum, kernel) = (16 * 4 * 64, 16 * 64 * 64);
        assert_eq!(find(&one, "conv1 products"), (spectrum + kernel, spectrum));
        assert_eq!(find(&eight, "conv1 products"), (spectrum + kernel / 8, spectrum));
        for part in [&one, &eight] {
            assert_eq!(find(part, "conv1 Operand(Forward)"), (64 * 16, spectrum));
        }
    }

    /// What goes through the domain band by band is one part, which moves as much as the three would.
    #[test]
    fn bands_move_every_spectrum_of_the_image() {
        let text = "< input(32, 64, 64) conv(32, kernel = 3, pad = same) gap softmax >";
        let parts = parts(text, "winograd2", 1, false);
        let (map, spectrum, kernel) = (32 * 64 * 64, 16 * 32 * 32 * 32, 16 * 32 * 32);
        assert_eq!(
            find(&parts, "conv1"),
            (map + 2 * spectrum + kernel + 32, 2 * spectrum + map),
            "{parts:?}"
        );
    }

    #[test]
    fn multiply_adds_are_those_that_are_done() {
        let text = "< input(16, 16, 16) conv(24, kernel = 5, pad = same) gap softmax >";
        let model = Model::from_text("m", text, &[]).expect("the model is valid");
        let done = |algo: &str| {
            let algo = algo.parse().expect("the list is valid");
            let program = compile(model.graph(), &Options { algo, ..Options::default() });
            let program = program.expect("the model compiles");
            let blocks = &program.plan().inference.blocks;
            let stages = blocks.iter().flat_map(|planned| &planned.block.stages);
            stages.map(|stage| program.plan().multiply_adds(stage)).sum::<u64>()
        };
        // Of five taps two miss the first output of a line, one the second, and as many the last two.
        assert_eq!(done("direct"), (16 * 5 - 6) * (16 * 5 - 6) * 16 * 24);
        // 64 tiles in 36 frequencies.
        assert_eq!(done("winograd2"), 64 * 36 * 16 * 24);
    }
}
