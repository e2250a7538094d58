//! A block's function: its steps over the images of a chunk, each stage's loop nest inline.
#![warn(clippy::wildcard_enum_match_arm)]

use std::mem::offset_of;

use cranelift_codegen::ir::types::{F32, I64};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use nin_dsl::graph::{Graph, NodeId, Op};
use nin_dsl::shape::Shape;

use super::band::{Band, BandRows, Patch};
use super::conv::{self, Operands, Rows};
use super::elementwise::{self, Mask};
use super::emitter::Emitter;
use super::grad::GradOperands;
use super::join::Factor;
use super::loss::{self, LossOperands};
use super::panels::Grouped;
use super::pixels::Pixels;
use super::pool;
use super::scope::Scope;
use super::{context, join, layout, norm, prelu};
use crate::compiler::abi::Context;
use crate::compiler::activation::Finish;
use crate::compiler::autodiff::TensorId;
use crate::compiler::fuse::{Domain, Stage, StageOp};
use crate::compiler::kernel::Epilogue;
use crate::compiler::kernel::{Kernel, PassKind};
use crate::compiler::plan::{
    ConvPlan, GroupSum, Plan, PlannedBlock, PoolPlan, Product, ProductsBy, Run, SlopePlan, Step,
};

/// Writes the function of block `index` of a pass.
pub(super) fn emit(e: &mut Emitter<'_>, graph: &Graph, plan: &Plan, kind: PassKind, index: usize) {
    let pass = super::pass(plan, kind);
    let arguments: [Value; 3] = e.arguments().try_into().expect("a block takes three arguments");
    let [context, first, count] = arguments;
    let scope = Scope::open(e, graph, plan, kind, context, (first, count));
    let planned @ PlannedBlock { block, steps, .. } = &pass.blocks[index];
    match block.domain {
        Domain::Image => {
            let call = |e: &mut Emitter<'_>, step: usize, image: Value| {
                let rows = planned.rows(graph, &plan.convs, &steps[step]);
                let (lo, hi) = (e.int(0), e.size(rows));
                let kernel = Kernel::Step { pass: kind, block: index, step };
                e.call(&kernel, &[context, first, image, lo, hi]);
            };
            let zero = e.int(0);
            for run in planned.runs() {
                match run {
                    Run::Images(steps) => e.range(zero, count, 1, |e, image| {
                        steps.for_each(|step| call(e, step, image));
                    }),
                    Run::Chunk(step) => call(e, step, count),
                }
            }
        }
        Domain::Chunk => {
            for stage in &block.stages {
                scope.on_chunk(e, stage);
            }
        }
    }
}

/// Writes the function of a step of a pass: block and step number.
pub(super) fn emit_step(
    e: &mut Emitter<'_>,
    graph: &Graph,
    plan: &Plan,
    kind: PassKind,
    (block, step): (usize, usize),
) {
    let arguments: [Value; 5] = e.arguments().try_into().expect("a step takes five arguments");
    let [context, first, number, lo, hi] = arguments;
    let PlannedBlock { block, steps, .. } = &super::pass(plan, kind).blocks[block];
    let one = e.int(1);
    let scope = Scope::open(e, graph, plan, kind, context, (first, one));
    scope.step(e, &block.stages, &steps[step], number, (lo, hi));
}

impl Scope<'_> {
    /// The rows (or frequencies) `lo..hi` of one step. `number` is the image's, counted in the chunk; a step that takes all images
    /// at once gets how many there are instead.
    fn step(
        &self,
        e: &mut Emitter<'_>,
        stages: &[Stage],
        step: &Step,
        number: Value,
        (lo, hi): (Value, Value),
    ) {
        let band = Band { image: number, lo, hi, rows: BandRows::Image };
        match step {
            Step::Whole(index) => {
                let stage = &stages[*index];
                let is_elementwise = matches!(stage.op, StageOp::Forward { .. })
                    && matches!(self.graph.node(stage.node).op, Op::Relu | Op::Activation(_));
                // The rows of an image may be shared.
                let rows = if is_elementwise { BandRows::Mostly(1) } else { BandRows::Image };
                self.on_image(e, stage, Band { rows, ..band });
            }
            Step::Banded { stages: range, rows, unit } => {
                let height = self.shape(stages[range.start].node).height();
                let bands = |e: &mut Emitter<'_>, lo: Value, hi: Value, rows: usize| {
                    e.range(lo, hi, rows as i64, |e, lo| {
                        let hi = e.add(lo, rows as i64);
                        for stage in &stages[range.clone()] {
                            let rows = BandRows::Fixed(rows);
                            self.on_image(e, stage, Band { lo, hi, rows, ..band });
                        }
                    });
                };
                let mut lo = e.mul(band.lo, *unit as i64);
                let (hi, height) = (e.mul(band.hi, *unit as i64), height);
                let end = e.size(height);
                let hi = e.min(hi, end);
                let mut rows = *rows;
                // A thread's share of an image is seldom a multiple of a band: what is left is cut into ever smaller ones.
                while rows > 0 {
                    let left = e.b.ins().isub(hi, lo);
                    let rest = e.b.ins().urem_imm_u(left, rows as i64);
                    let whole = e.b.ins().isub(hi, rest);
                    bands(e, lo, whole, rows);
                    lo = whole;
                    rows = rows / 2 / unit * unit;
                }
                if !height.is_multiple_of(*unit) {
                    bands(e, lo, hi, height % unit);
                }
            }
            Step::DepthFirst { stages: range, rows } => {
                self.depth_first(e, &stages[range.clone()], *rows, band);
            }
            Step::Transform { stage, spectrum } => {
                self.transform(e, &stages[*stage], *spectrum, band);
            }
            Step::Products { stage, by } => {
                let stage = &stages[*stage];
                match by {
                    ProductsBy::Frequency => self.products(e, stage, (lo, hi), None),
                    ProductsBy::Row => self.products_of_rows(e, stage, (lo, hi)),
                    ProductsBy::Chunk => self.products(e, stage, (lo, hi), Some(number)),
                }
            }
        }
    }

    /// One stage on a band of one image.
    pub(super) fn on_image(&self, e: &mut Emitter<'_>, stage: &Stage, band: Band) {
        let image = band.image;
        let shape = self.shape(stage.node);
        let at = |e: &mut Emitter<'_>, tensor: TensorId| self.image(e, tensor, image);
        match stage.op {
            StageOp::Import => {
                let images = context::load(e, I64, self.context, offset_of!(Context, images));
                let number = e.b.ins().iadd(self.first, image);
                let planes = e.at(images, number, shape.elements());
                let pixels = at(e, stage.writes);
                layout::import(e, shape, (band.lo, band.hi), planes, pixels);
            }
            StageOp::Forward { then, add, .. } => match self.graph.node(stage.node).op {
                Op::Conv { .. } => self.conv(e, stage, band, self.tile_epilogue(then)),
                Op::BatchNorm { .. } => {
                    self.patches(e, stage.node, band, |e, patch| {
                        self.normalise(e, stage, patch, (add, then));
                    });
                }
                Op::Relu => self.patches(e, stage.node, band, |e, patch| {
                    let value = self.worked_on(e, stage, patch);
                    elementwise::relu(e, value, patch.shape);
                }),
                Op::Activation(of) => self.patches(e, stage.node, band, |e, patch| {
                    let value = self.patch(e, stage.writes, patch);
                    let is_elsewhere = !self.pass.is_in_place(stage);
                    let operand = is_elsewhere.then(|| self.patch(e, stage.reads[0], patch));
                    elementwise::activate(e, (operand, value), of, patch.shape);
                }),
                Op::PRelu { .. } => self.patches(e, stage.node, band, |e, patch| {
                    let pixels = patch.shape.pixels();
                    let slope = &SlopePlan { pixels, ..self.plan.slope(stage.node).clone() };
                    let maps = [stage.reads[0], stage.writes].map(|of| self.patch(e, of, patch));
                    let slopes = self.prepared(e, slope.prepared);
                    prelu::forward(e, slope, slopes, maps);
                }),
                Op::Dropout { p, index } => {
                    let value = self.worked_on(e, stage, Patch { image, row: None, shape });
                    if self.kind == PassKind::Training {
                        self.drop_elements(e, (p, index), image, value, shape);
                    }
                }
                Op::MaxPool { .. } | Op::GlobalMaxPool => {
                    let maps =
                        [stage.reads[0], stage.writes].map(|of| self.map_of_band(e, of, band));
                    let PoolPlan { geometry, tile, .. } = *self.plan.pool(stage.node);
                    let operands = Operands::of_maximum(maps);
                    let rows = (band.lo, band.hi);
                    conv::correlate(e, tile, &geometry.forward(), rows, operands, None);
                }
                Op::AvgPool { .. } => {
                    let pool = self.pool(stage.node);
                    let maps =
                        [stage.reads[0], stage.writes].map(|of| self.map_of_band(e, of, band));
                    pool::average(e, &pool, (band.lo, band.hi), maps);
                }
                Op::GlobalAvgPool => {
                    let (input, output) = (at(e, stage.reads[0]), at(e, stage.writes));
                    pool::global_average(e, self.operand_shape(stage.node), input, output);
                }
                Op::Lrn { .. } => {
                    let (x, y) = (at(e, stage.reads[0]), at(e, stage.writes));
                    self.lrn(e, stage.node).forward(e, x, y);
                }
                Op::Add => {
                    let inputs = self.inputs(e, stage, image);
                    let output = at(e, stage.writes);
                    join::add(e, &inputs, output, shape, self.finish(then));
                }
                Op::Concat => self.concat(e, stage, image),
                Op::Mul => {
                    let factors = self.factors(e, stage.node, &stage.reads, image);
                    let output = at(e, stage.writes);
                    join::multiply(e, shape, &factors, output);
                }
                Op::Input | Op::Softmax => unreachable!("walked elsewhere (a bug in nin)"),
            },
            StageOp::InputGrad { input, mask, accumulates } => {
                let mask = mask.map(|mask| at(e, mask));
                let grad = GradOperands {
                    grad: at(e, stage.reads[0]),
                    result: at(e, stage.writes),
                    mask,
                    accumulates,
                };
                self.input_grad(e, stage, (input, image), grad);
            }
            StageOp::Statistics => {
                let norm = self.plan.norm(stage.node);
                let x = at(e, stage.reads[0]);
                let (images, moments) = self.moments(e, norm, image);
                norm::statistics(e, norm, images, x, moments);
            }
            StageOp::SlopeGrad => {
                let tensors = [at(e, stage.reads[0]), at(e, stage.reads[1])];
                let sums = self.weight_grad(e, stage.writes);
                prelu::slope_grad(e, self.plan.slope(stage.node), tensors, sums);
            }
            StageOp::NormGrads { shift } => {
                let tensors = [at(e, stage.reads[0]), at(e, stage.reads[1])];
                let norm = self.plan.norm(stage.node);
                let statistics = self.statistics(e, norm, image);
                let sums = [(GroupSum::Scale, stage.writes), (GroupSum::Shift, shift)]
                    .map(|sum| self.norm_grad(e, (norm, image), sum));
                norm::weight_grads(e, norm, statistics, tensors, sums);
            }
            StageOp::KernelGrad => {
                let conv = self.plan.conv(stage.node);
                let (grad, input) = (at(e, stage.reads[0]), at(e, stage.reads[1]));
                let kernel = self.weight_grad(e, stage.writes);
                let tile = conv.tile(Product::KernelGrad);
                conv::kernel_grad(e, tile, &conv.geometry, [input, grad], kernel);
            }
            StageOp::BiasGrad => {
                let grad = at(e, stage.reads[0]);
                let bias = self.weight_grad(e, stage.writes);
                let pixels = e.size(shape.pixels());
                conv::bias_grad(e, shape.channels(), pixels, grad, bias);
            }
            StageOp::Loss => unreachable!("the loss is walked by chunk (a bug in nin)"),
        }
    }

    /// The activation at the end of an epilogue.
    pub(super) fn finish(&self, then: Option<NodeId>) -> Option<Finish> {
        then.and_then(|id| Finish::of(self.graph.node(id).op))
    }

    /// The same of a convolution, whose tiles do it.
    fn tile_epilogue(&self, then: Option<NodeId>) -> Option<Epilogue> {
        let finish = self.finish(then)?;
        Some(finish.in_tiles().expect("only what tiles know ends a convolution (a bug in nin)"))
    }

    /// One stage on all images of the chunk: tensors are matrices with a row an image.
    fn on_chunk(&self, e: &mut Emitter<'_>, stage: &Stage) {
        let shape = self.shape(stage.node);
        let at = |e: &mut Emitter<'_>, tensor: TensorId| self.images(e, tensor);
        match stage.op {
            StageOp::Forward { then, add, .. } => match self.graph.node(stage.node).op {
                Op::Conv { .. } => {
                    let conv = self.plan.conv(stage.node);
                    let (input, output) = (at(e, stage.reads[0]), at(e, stage.writes));
                    let addend = add.map(|add| at(e, add));
                    let operands = self.forward_operands(e, conv, input, output, addend);
                    let sizes = Grouped::of(&conv.geometry);
                    conv::multiply(
                        e,
                        conv.tile(Product::Forward),
                        sizes,
                        Rows::Counted(self.count),
                        operands,
                        self.tile_epilogue(then),
                    );
                }
                Op::Softmax => {
                    let (input, output) = (at(e, stage.reads[0]), at(e, stage.writes));
                    loss::softmax(e, shape.channels(), self.count, input, output);
                }
                Op::Relu
                | Op::Activation(_)
                | Op::PRelu { .. }
                | Op::Dropout { .. }
                | Op::BatchNorm { .. }
                | Op::Lrn { .. }
                | Op::Add
                | Op::Concat
                | Op::Mul => self.each_image(e, stage),
                Op::Input
                | Op::MaxPool { .. }
                | Op::AvgPool { .. }
                | Op::GlobalAvgPool
                | Op::GlobalMaxPool => {
                    unreachable!("walked image by image (a bug in nin)")
                }
            },
            StageOp::InputGrad { mask, accumulates, .. } => match self.graph.node(stage.node).op {
                Op::Conv { .. } => {
                    let conv = self.plan.conv(stage.node);
                    let operands = Operands {
                        input: at(e, stage.reads[0]),
                        panels: Some(self.first_panels(e, conv, Product::InputGrad)),
                        output: at(e, stage.writes),
                        bias: None,
                        mask: mask.map(|mask| at(e, mask)),
                        addend: None,
                        accumulates,
                    };
                    let sizes = Grouped::of(&conv.geometry).flipped();
                    conv::multiply(
                        e,
                        conv.tile(Product::InputGrad),
                        sizes,
                        Rows::Counted(self.count),
                        operands,
                        None,
                    );
                }
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
                | Op::Mul => self.each_image(e, stage),
            },
            StageOp::Statistics | StageOp::NormGrads { .. } | StageOp::SlopeGrad => {
                self.each_image(e, stage);
            }
            StageOp::KernelGrad => {
                let conv = self.plan.conv(stage.node);
                let (grad, input) = (at(e, stage.reads[0]), at(e, stage.reads[1]));
                let kernel = self.weight_grad(e, stage.writes);
                let sizes = Grouped::of(&conv.geometry);
                conv::kernel_grad_of_rows(
                    e,
                    conv.tile(Product::KernelGrad),
                    sizes,
                    (self.count, 1),
                    [input, grad],
                    kernel,
                );
            }
            StageOp::BiasGrad => {
                let grad = at(e, stage.reads[0]);
                let bias = self.weight_grad(e, stage.writes);
                conv::bias_grad(e, shape.channels(), self.count, grad, bias);
            }
            StageOp::Loss => self.loss(e, stage),
            StageOp::Import => unreachable!("images are read one by one (a bug in nin)"),
        }
    }

    /// A stage that works on one image at a time, whatever the block's domain.
    fn each_image(&self, e: &mut Emitter<'_>, stage: &Stage) {
        let zero = e.int(0);
        e.range(zero, self.count, 1, |e, image| {
            let (lo, hi) = (e.int(0), e.size(self.shape(stage.node).height()));
            self.on_image(e, stage, Band { image, lo, hi, rows: BandRows::Image });
        });
    }

    /// A convolution's band.
    fn conv(&self, e: &mut Emitter<'_>, stage: &Stage, band: Band, then: Option<Epilogue>) {
        let conv = self.plan.conv(stage.node);
        let geometry = conv.geometry;
        let shape = self.shape(stage.node);
        if let Some(winograd) = conv.winograd(Product::Forward) {
            return self.winograd_forward(e, stage, winograd, band, then);
        }
        if geometry.is_pointwise() {
            let rows = match band.rows {
                BandRows::Image => Rows::Fixed(shape.pixels()),
                BandRows::Fixed(rows) => Rows::Fixed(rows * shape.width()),
                BandRows::Mostly(rows) => {
                    let count = e.b.ins().isub(band.hi, band.lo);
                    let count = e.mul(count, shape.width() as i64);
                    Rows::Mostly { count, usual: rows * shape.width() }
                }
            };
            let input = self.row(e, stage.reads[0], band.image, band.lo);
            let output = self.row(e, stage.writes, band.image, band.lo);
            let addend = added(stage).map(|add| self.row(e, add, band.image, band.lo));
            let operands = self.forward_operands(e, conv, input, output, addend);
            let sizes = Grouped::of(&geometry);
            return conv::multiply(e, conv.tile(Product::Forward), sizes, rows, operands, then);
        }
        let input = self.map_of_band(e, stage.reads[0], band);
        let output = self.map_of_band(e, stage.writes, band);
        let addend = added(stage).map(|addend| self.map_of_band(e, addend, band));
        let operands = self.forward_operands(e, conv, input, output, addend);
        let rows = (band.lo, band.hi);
        conv::correlate(e, conv.tile(Product::Forward), &geometry.forward(), rows, operands, then);
    }

    /// The panels of a product that reads one set of them.
    fn first_panels(&self, e: &mut Emitter<'_>, conv: &ConvPlan, product: Product) -> Pixels {
        self.panels(e, (conv, product), conv.prepared(product).panels()[0])
    }

    pub(super) fn forward_operands(
        &self,
        e: &mut Emitter<'_>,
        conv: &ConvPlan,
        input: Pixels,
        output: Pixels,
        addend: Option<Pixels>,
    ) -> Operands {
        let panels = self.first_panels(e, conv, Product::Forward);
        let bias = conv.bias_panels.map(|offset| self.prepared(e, offset));
        let panels = Some(panels);
        Operands { input, panels, output, bias, mask: None, addend, accumulates: false }
    }

    /// What a node contributes to the gradient of one of its inputs, on one image.
    fn input_grad(
        &self,
        e: &mut Emitter<'_>,
        stage: &Stage,
        (input, image): (usize, Value),
        operands: GradOperands,
    ) {
        let at = |e: &mut Emitter<'_>, tensor: TensorId| self.image(e, tensor, image);
        let shape = self.shape(stage.node);
        let read = self.shape(self.graph.node(stage.node).inputs[input]);
        match self.graph.node(stage.node).op {
            Op::Conv { .. } => self.conv_input_grad(e, (stage.node, image), operands),
            Op::Relu => {
                let value = at(e, stage.reads[1]);
                elementwise::relu_grad(e, operands, value, shape);
            }
            Op::Activation(of) => {
                let saved = stage.reads.get(1).map_or(operands.grad, |&saved| at(e, saved));
                elementwise::activation_grad(e, operands, saved, of, shape);
            }
            Op::PRelu { .. } => {
                let (slope, x) = (self.plan.slope(stage.node), at(e, stage.reads[1]));
                let slopes = self.prepared(e, slope.prepared);
                prelu::input_grad(e, slope, (slopes, x), operands);
            }
            Op::Dropout { p, index } => {
                self.drop_grad(e, (p, index), image, operands, self.pass.is_in_place(stage), shape);
            }
            Op::BatchNorm { .. } => {
                let (norm, x) = (self.plan.norm(stage.node), at(e, stage.reads[1]));
                let statistics = self.statistics(e, norm, image);
                // The mask is the operand, which is the ReLU's value.
                norm::input_grad(e, norm, statistics, x, operands);
            }
            Op::MaxPool { .. } | Op::AvgPool { .. } => {
                let value = stage.reads.get(1).map(|&value| at(e, value));
                pool::input_grad(e, &self.pool(stage.node), value, operands);
            }
            Op::GlobalAvgPool => pool::global_average_grad(e, read, operands),
            Op::GlobalMaxPool => {
                let value = at(e, stage.reads[1]);
                pool::global_max_grad(e, &self.pool(stage.node), value, operands);
            }
            Op::Lrn { .. } => {
                let x = at(e, stage.reads[1]);
                self.lrn(e, stage.node).input_grad(e, x, operands);
            }
            Op::Add => {
                if !self.pass.is_done(self.graph, stage) {
                    join::pass_on(e, operands, shape);
                }
            }
            Op::Concat => {
                if !self.pass.is_done(self.graph, stage) {
                    let first = self.graph.first_channel(stage.node, input);
                    let grad = operands.grad.skip(e, first as i64);
                    join::pass_on(e, GradOperands { grad, ..operands }, read);
                }
            }
            Op::Mul => {
                let others = self.factors(e, stage.node, &stage.reads[1..], image);
                join::multiply_grad(e, (shape, read), &others, operands);
            }
            Op::Input | Op::Softmax => unreachable!("has no input gradient (a bug in nin)"),
        }
    }

    /// Where the values that a stage reads lie.
    fn inputs(&self, e: &mut Emitter<'_>, stage: &Stage, image: Value) -> Vec<Pixels> {
        stage.reads.iter().map(|&tensor| self.image(e, tensor, image)).collect()
    }

    /// Copies what does not lie there yet to its channels of a concatenation.
    fn concat(&self, e: &mut Emitter<'_>, stage: &Stage, image: Value) {
        for (input, &part) in stage.reads.iter().enumerate() {
            if self.pass.is_joined(self.graph, stage, input) {
                continue;
            }
            let first = self.graph.first_channel(stage.node, input);
            let shape = self.shape(self.graph.node(stage.node).inputs[input]);
            let [from, to] = [part, stage.writes].map(|tensor| self.image(e, tensor, image));
            let to = to.skip(e, first as i64);
            elementwise::copy(e, from, to, shape);
        }
    }

    /// Values that are multiplied with each other to one of a node's shape.
    fn factors(
        &self,
        e: &mut Emitter<'_>,
        node: NodeId,
        values: &[TensorId],
        image: Value,
    ) -> Vec<Factor> {
        let shape = self.shape(node);
        let factor = |&tensor: &TensorId| {
            let TensorId::Value(id) = tensor else {
                unreachable!("{tensor} is no value (a bug in nin)")
            };
            let is_whole = self.shape(id).pixels() == shape.pixels();
            Factor { map: self.image(e, tensor, image), is_whole }
        };
        values.iter().map(factor).collect()
    }

    fn conv_input_grad(
        &self,
        e: &mut Emitter<'_>,
        (node, image): (NodeId, Value),
        operands: GradOperands,
    ) {
        let conv = self.plan.conv(node);
        let geometry = conv.geometry;
        if let Some(winograd) = conv.winograd(Product::InputGrad) {
            return self.winograd_input_grad(e, conv, (winograd, image), operands);
        }
        let GradOperands { grad, result, mask, accumulates } = operands;
        let offsets = conv.prepared(Product::InputGrad).panels();
        for (phase, &offset) in geometry.input_grad().iter().zip(offsets) {
            let panels = self.panels(e, (conv, Product::InputGrad), offset);
            let operands = Operands {
                input: grad,
                panels: Some(panels),
                output: result,
                bias: None,
                mask,
                addend: None,
                accumulates,
            };
            if geometry.is_pointwise() {
                let sizes = Grouped::of(&geometry).flipped();
                let rows = Rows::Fixed(self.shape(node).pixels());
                conv::multiply(e, conv.tile(Product::InputGrad), sizes, rows, operands, None);
            } else {
                let (lo, hi) = (e.int(0), e.size(phase.correlation.y.outputs));
                conv::correlate(
                    e,
                    conv.tile(Product::InputGrad),
                    &phase.correlation,
                    (lo, hi),
                    operands,
                    None,
                );
            }
        }
    }

    fn loss(&self, e: &mut Emitter<'_>, stage: &Stage) {
        let field = |e: &mut Emitter<'_>, offset: usize| {
            let base = context::load(e, I64, self.context, offset);
            e.at(base, self.first, 1)
        };
        let operands = LossOperands {
            logits: self.images(e, stage.reads[0]),
            grad: self.images(e, stage.writes),
            labels: field(e, offset_of!(Context, labels)),
            losses: field(e, offset_of!(Context, results)),
            correct: field(e, offset_of!(Context, correct)),
            per_image: context::load(e, F32, self.context, offset_of!(Context, per_image)),
            smoothing: context::load(e, F32, self.context, offset_of!(Context, smoothing)),
        };
        let classes = self.shape(stage.node).channels();
        loss::cross_entropy(e, classes, self.count, &operands);
    }

    /// Drops elements if the step asks for dropout.
    fn drop_elements(
        &self,
        e: &mut Emitter<'_>,
        (p, index): (f64, u32),
        image: Value,
        tensor: Pixels,
        shape: Shape,
    ) {
        let (on, mask, image) = self.dropout(e, (p, index), image);
        let zero = e.int(0);
        // `on` is 0 or 1: a loop of no or one turn.
        e.range(zero, on, 1, |e, _| {
            let in_place = GradOperands::in_place(tensor);
            elementwise::drop_elements(e, mask, image, in_place, shape);
        });
    }

    /// The gradient under a dropout's mask, if the step asks for dropout.
    fn drop_grad(
        &self,
        e: &mut Emitter<'_>,
        dropout: (f64, u32),
        image: Value,
        operands: GradOperands,
        in_place: bool,
        shape: Shape,
    ) {
        if in_place {
            return self.drop_elements(e, dropout, image, operands.result, shape);
        }
        let (on, mask, image) = self.dropout(e, dropout, image);
        let (zero, one) = (e.int(0), e.int(1));
        e.range(zero, on, 1, |e, _| {
            elementwise::drop_elements(e, mask, image, operands, shape);
        });
        e.range(on, one, 1, |e, _| join::pass_on(e, operands, shape));
    }

    /// Whether the step asks for dropout (0 or 1), what a dropout's mask is hashed from, and the image's number in the batch.
    fn dropout(
        &self,
        e: &mut Emitter<'_>,
        (p, index): (f64, u32),
        image: Value,
    ) -> (Value, Mask, Value) {
        let load = |e: &mut Emitter<'_>, ty: Type, offset: usize| {
            context::load(e, ty, self.context, offset)
        };
        let on = load(e, I64, offset_of!(Context, dropout));
        let seed = load(e, I64, offset_of!(Context, seed));
        let step = load(e, I64, offset_of!(Context, step));
        let image = e.b.ins().iadd(self.first, image);
        (on, Mask { p, index, seed, step }, image)
    }
}

/// The value that a stage adds to its own.
pub(super) fn added(stage: &Stage) -> Option<TensorId> {
    let StageOp::Forward { add, .. } = stage.op else { return None };
    add
}
