//! [`Scope`], where the tensors and weights that a block's stages name lie in memory.
#![warn(clippy::wildcard_enum_match_arm)]

use std::mem::offset_of;

use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, Value};
use nin_dsl::graph::{Graph, NodeId, Op};
use nin_dsl::shape::{Shape, Window};

use super::affine::AffineRows;
use super::emitter::Emitter;
use super::lrn::Lrn;
use super::pixels::Pixels;
use super::pool::{Pool, Reduce};
use super::{context, group, norm};
use crate::compiler::abi::Context;
use crate::compiler::autodiff::TensorId;
use crate::compiler::kernel::PassKind;
use crate::compiler::plan::{
    Affine, BufferKey, ChannelRows, ConvPlan, Extent, GroupSum, NormPlan, Pass, Plan, Product,
    Reach, Row, Spectrum,
};

/// Everything a block's stages refer to.
pub(super) struct Scope<'a> {
    pub(super) graph: &'a Graph,
    pub(super) plan: &'a Plan,
    pub(super) pass: &'a Pass,
    pub(super) kind: PassKind,
    /// The entry's context.
    pub(super) context: Value,
    /// This thread's arena, for bands.
    pub(super) arena: Value,
    /// The arena of whole images.
    pub(super) shared: Value,
    /// The chunk's first image, counted from the start of the batch.
    pub(super) first: Value,
    /// Images of the chunk.
    pub(super) count: Value,
    /// The rows that bands' buffers begin with, of those that begin with others than the band that is asked for.
    pub(super) tops: Vec<(BufferKey, Value)>,
}

impl<'a> Scope<'a> {
    /// The scope of `count` images of a chunk that begins with image `first`.
    pub(super) fn open(
        e: &mut Emitter<'_>,
        graph: &'a Graph,
        plan: &'a Plan,
        kind: PassKind,
        context: Value,
        (first, count): (Value, Value),
    ) -> Scope<'a> {
        let arena = context::load(e, I64, context, offset_of!(Context, arena));
        let shared = context::load(e, I64, context, offset_of!(Context, shared));
        let pass = super::pass(plan, kind);
        let tops = Vec::new();
        Scope { graph, plan, pass, kind, context, arena, shared, first, count, tops }
    }
}

impl Scope<'_> {
    pub(super) fn shape(&self, node: NodeId) -> Shape {
        self.graph.node(node).shape
    }

    pub(super) fn operand_shape(&self, node: NodeId) -> Shape {
        self.shape(self.graph.operand(node))
    }

    pub(super) fn pool(&self, node: NodeId) -> Pool {
        let (reduce, window) = match self.graph.node(node).op {
            Op::MaxPool { window, .. } => (Reduce::Max, window),
            Op::AvgPool { window, count, .. } => (Reduce::Mean(count), window),
            Op::GlobalMaxPool => {
                let input = self.operand_shape(node);
                (Reduce::Max, Window::whole((input.height(), input.width())))
            }
            other @ (Op::Input
            | Op::Conv { .. }
            | Op::Relu
            | Op::Activation(_)
            | Op::PRelu { .. }
            | Op::GlobalAvgPool
            | Op::Dropout { .. }
            | Op::BatchNorm { .. }
            | Op::Lrn { .. }
            | Op::Softmax
            | Op::Add
            | Op::Concat
            | Op::Mul) => unreachable!("{other:?} is no pool (a bug in nin)"),
        };
        Pool { reduce, window, input: self.operand_shape(node), output: self.shape(node) }
    }

    pub(super) fn lrn(&self, e: &mut Emitter<'_>, node: NodeId) -> Lrn {
        let Op::Lrn { size, alpha, beta, k } = self.graph.node(node).op else {
            unreachable!("{node} does not normalise across channels (a bug in nin)")
        };
        let rows = ChannelRows::of(self.graph, node).expect("it has rows (a bug in nin)");
        let (scratch, pixels) = (self.scratch(e), self.shape(node).pixels());
        Lrn { rows, scratch, pixels, size, alpha, beta, k }
    }

    /// Where an image of a tensor lies; the band of it, if that is all the buffer holds.
    pub(super) fn image(&self, e: &mut Emitter<'_>, tensor: TensorId, image: Value) -> Pixels {
        let view = self.pass.view(tensor);
        let buffer = self.pass.room(view.buffer);
        let (image_bytes, extent) = buffer.map();
        let (memory, image) = match extent {
            Extent::Band(_) => (self.arena, None),
            Extent::Image => (self.shared, None),
            Extent::Chunk => (self.shared, Some(image)),
            Extent::Batch => {
                let store = context::load(e, I64, self.context, offset_of!(Context, store));
                (store, Some(e.b.ins().iadd(self.first, image)))
            }
        };
        let offset = buffer.offset + view.channel * view.elem.bytes();
        let base = e.place(memory, offset);
        let at = image.map_or(base, |image| {
            let before = e.mul(image, image_bytes as i64);
            e.sum(base, before)
        });
        Pixels { at, pitch: view.pitch, elem: view.elem }
    }

    /// Where a tensor of all images of the chunk lies, each of which is a pixel.
    pub(super) fn images(&self, e: &mut Emitter<'_>, tensor: TensorId) -> Pixels {
        let zero = e.int(0);
        let view = self.pass.view(tensor);
        let (image_bytes, _) = self.pass.room(view.buffer).map();
        let pitch = image_bytes / view.elem.bytes();
        Pixels { pitch, ..self.image(e, tensor, zero) }
    }

    /// Where row `row`, the first of a band, of an image of a tensor lies.
    pub(super) fn row(
        &self,
        e: &mut Emitter<'_>,
        tensor: TensorId,
        image: Value,
        row: Value,
    ) -> Pixels {
        let buffer = self.pass.room(self.pass.view(tensor).buffer);
        let base = self.image(e, tensor, image);
        let node = buffer.key.node().expect("a map's (a bug in nin)");
        let width = self.shape(node).width();
        match buffer.map().1 {
            Extent::Band(_) => match self.tops.iter().find(|(key, _)| *key == buffer.key) {
                None => base,
                Some(&(_, top)) => {
                    let down = e.b.ins().isub(row, top);
                    base.pixels(e, down, width)
                }
            },
            Extent::Image | Extent::Chunk | Extent::Batch => base.pixels(e, row, width),
        }
    }

    /// Where a spectrum of a convolution lies.
    pub(super) fn spectrum(
        &self,
        e: &mut Emitter<'_>,
        conv: &ConvPlan,
        spectrum: Spectrum,
    ) -> Value {
        let buffer = self.pass.room(BufferKey::Spectrum(conv.node, spectrum));
        let memory = match conv.transformed(spectrum.product()).reach {
            Reach::Band => self.arena,
            Reach::Image | Reach::Chunk => self.shared,
        };
        e.place(memory, buffer.offset)
    }

    /// Scratch of transforms and of normalisations across channels, this thread's own.
    pub(super) fn scratch(&self, e: &mut Emitter<'_>) -> Value {
        let buffer = self.pass.room(BufferKey::Scratch);
        e.place(self.arena, buffer.offset)
    }

    /// Where a prepared form of a weight lies.
    pub(super) fn prepared(&self, e: &mut Emitter<'_>, offset: usize) -> Value {
        let base = context::load(e, I64, self.context, offset_of!(Context, prepared));
        e.place(base, offset)
    }

    /// Where panels of a convolution's kernel lie that are prepared for a product.
    pub(super) fn panels(
        &self,
        e: &mut Emitter<'_>,
        (conv, product): (&ConvPlan, Product),
        offset: usize,
    ) -> Pixels {
        let (at, elem) = (self.prepared(e, offset), conv.prepared(product).elem);
        Pixels { at, pitch: conv.tile(product).cols, elem }
    }

    /// The rows of a batch normalisation in the statistics of the batch, or of the group that an image of the chunk is in.
    pub(super) fn statistics(&self, e: &mut Emitter<'_>, norm: &NormPlan, image: Value) -> Value {
        if norm.ghost == 0 {
            return norm::rows(e, norm, self.context);
        }
        let number = self.group(e, norm, image);
        group::rows(e, norm, self.context, number)
    }

    /// The number of the group that an image of the chunk is in.
    fn group(&self, e: &mut Emitter<'_>, norm: &NormPlan, image: Value) -> Value {
        let end = context::load(e, I64, self.context, offset_of!(Context, end));
        let number = e.b.ins().iadd(self.first, image);
        group::of_image(e, norm, number, end)
    }

    /// The rows by which a batch normalisation normalises: of the running statistics, or of the batch's.
    pub(super) fn affine(&self, e: &mut Emitter<'_>, norm: &NormPlan, image: Value) -> AffineRows {
        let base = match self.kind {
            PassKind::Inference => {
                let offset = norm.prepared.expect("a merged norm runs nowhere (a bug in nin)");
                self.prepared(e, offset)
            }
            PassKind::Training => {
                let first = norm.statistic(Row::Affine(Affine::Mean)) as i64;
                let statistics = self.statistics(e, norm, image);
                e.floats(statistics, first)
            }
        };
        AffineRows::behind(e, norm, base)
    }

    /// The moments of a batch normalisation's operand that an image of the chunk is merged into, this slice's or its group's,
    /// and how many images are in them already.
    pub(super) fn moments(
        &self,
        e: &mut Emitter<'_>,
        norm: &NormPlan,
        image: Value,
    ) -> (Value, [Value; 2]) {
        if norm.ghost > 0 {
            let group = self.group(e, norm, image);
            let first = e.mul(group, norm.ghost as i64);
            let number = e.b.ins().iadd(self.first, image);
            let before = e.b.ins().isub(number, first);
            let rows = self.statistics(e, norm, image);
            let sums = [GroupSum::Mean, GroupSum::Squares].map(|sum| norm.group_sum(sum) as i64);
            return (before, sums.map(|sum| e.floats(rows, sum)));
        }
        let images = self.images_before(e, image);
        let sums = context::load(e, I64, self.context, offset_of!(Context, gradients));
        let means = e.place_floats(sums, self.plan.weight_floats + norm.moments());
        let squares = e.floats(means, norm.squares() as i64);
        (images, [means, squares])
    }

    /// Images of the slice before an image of the chunk.
    fn images_before(&self, e: &mut Emitter<'_>, image: Value) -> Value {
        let begin = context::load(e, I64, self.context, offset_of!(Context, begin));
        let number = e.b.ins().iadd(self.first, image);
        e.b.ins().isub(number, begin)
    }

    /// Where an image of the chunk adds to the gradient of a batch normalisation's scale or shift: in this slice, or in its
    /// group.
    pub(super) fn norm_grad(
        &self,
        e: &mut Emitter<'_>,
        (norm, image): (&NormPlan, Value),
        (sum, tensor): (GroupSum, TensorId),
    ) -> Value {
        if norm.ghost == 0 {
            return self.weight_grad(e, tensor);
        }
        let rows = self.statistics(e, norm, image);
        e.floats(rows, norm.group_sum(sum) as i64)
    }

    /// Where this slice gathers the gradient of a weight.
    pub(super) fn weight_grad(&self, e: &mut Emitter<'_>, tensor: TensorId) -> Value {
        let TensorId::WeightGrad(weight) = tensor else {
            unreachable!("{tensor} is no weight's gradient (a bug in nin)")
        };
        let base = context::load(e, I64, self.context, offset_of!(Context, gradients));
        e.place_floats(base, self.plan.weights[weight.index()])
    }
}
