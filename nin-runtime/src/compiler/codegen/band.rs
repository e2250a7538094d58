//! [`Band`], the rows of an image that a stage is asked for, and where they lie: as one map, or patch by patch.
#![warn(clippy::wildcard_enum_match_arm)]

use cranelift_codegen::ir::Value;
use nin_dsl::graph::NodeId;
use nin_dsl::shape::Shape;

use super::elementwise;
use super::emitter::Emitter;
use super::norm;
use super::pixels::Pixels;
use super::scope::Scope;
use crate::compiler::autodiff::TensorId;
use crate::compiler::fuse::Stage;
use crate::compiler::plan::{Extent, NormPlan};

/// The part of a stage's output that is asked for: rows of one image of the chunk. What does not go row by row ignores them.
#[derive(Clone, Copy)]
pub(super) struct Band {
    /// The image, counted in the chunk.
    pub(super) image: Value,
    /// The first row.
    pub(super) lo: Value,
    /// One past the last row.
    pub(super) hi: Value,
    /// How many rows that is.
    pub(super) rows: BandRows,
}

/// How many rows a band has, as far as that is known before it runs: a pointwise convolution's tiles depend on it.
#[derive(Clone, Copy)]
pub(super) enum BandRows {
    /// It is no band: what does not go row by row takes all of the image.
    Image,
    /// A fixed number of them.
    Fixed(usize),
    /// A number known when it runs, which is mostly this one.
    Mostly(usize),
}

/// A part of a map that is walked at once: all of it, or some rows.
#[derive(Clone, Copy)]
pub(super) struct Patch {
    /// The image.
    pub(super) image: Value,
    /// The first row, if it is not all of the map.
    pub(super) row: Option<Value>,
    /// Its shape.
    pub(super) shape: Shape,
}

impl Scope<'_> {
    /// The map of which a band is asked for. A band's buffer holds some rows alone: row 0 of the image would lie before it.
    pub(super) fn map_of_band(&self, e: &mut Emitter<'_>, tensor: TensorId, band: Band) -> Pixels {
        let view = self.pass.view(tensor);
        let Extent::Band(_) = self.pass.room(view.buffer).map().1 else {
            return self.image(e, tensor, band.image);
        };
        let map = self.row(e, tensor, band.image, band.lo);
        let node = view.buffer.node().expect("a map's (a bug in nin)");
        let row = self.shape(node).width() * map.pitch * map.elem.bytes();
        let above = e.mul(band.lo, -(row as i64));
        Pixels { at: e.sum(map.at, above), ..map }
    }

    /// Runs `body` on a band of a node's map, as a whole if its rows are known, else row by row.
    pub(super) fn patches(
        &self,
        e: &mut Emitter<'_>,
        node: NodeId,
        Band { image, lo, hi, rows }: Band,
        body: impl FnOnce(&mut Emitter<'_>, Patch),
    ) {
        let shape = self.shape(node);
        let of = |h: usize| Shape::map(shape.channels(), h, shape.width());
        match rows {
            // Of one row, or of an image of vectors, all is wanted.
            BandRows::Image => body(e, Patch { image, row: None, shape }),
            BandRows::Fixed(rows) => body(e, Patch { image, row: Some(lo), shape: of(rows) }),
            BandRows::Mostly(_) => e.range(lo, hi, 1, |e, row| {
                body(e, Patch { image, row: Some(row), shape: of(1) });
            }),
        }
    }

    /// Where a patch of a tensor lies.
    pub(super) fn patch(
        &self,
        e: &mut Emitter<'_>,
        tensor: TensorId,
        Patch { image, row, .. }: Patch,
    ) -> Pixels {
        match row {
            None => self.image(e, tensor, image),
            Some(row) => self.row(e, tensor, image, row),
        }
    }

    /// A batch normalisation of a patch by statistics that are there, and its epilogue.
    pub(super) fn normalise(
        &self,
        e: &mut Emitter<'_>,
        stage: &Stage,
        patch: Patch,
        (add, then): (Option<TensorId>, Option<NodeId>),
    ) {
        let norm = self.plan.norm(stage.node);
        let tensors = [stage.reads[0], stage.writes].map(|of| self.patch(e, of, patch));
        let rows = self.affine(e, norm, patch.image);
        let addend = add.map(|add| self.patch(e, add, patch));
        let norm = &NormPlan { pixels: patch.shape.pixels(), ..norm.clone() };
        norm::normalise(e, norm, rows, (addend, self.finish(then)), tensors);
    }

    /// What an op that changes numbers where they are is to work on: its operand, copied to the value's place if that is
    /// another one.
    pub(super) fn worked_on(&self, e: &mut Emitter<'_>, stage: &Stage, patch: Patch) -> Pixels {
        let to = self.patch(e, stage.writes, patch);
        if !self.pass.is_in_place(stage) {
            let from = self.patch(e, stage.reads[0], patch);
            elementwise::copy(e, from, to, patch.shape);
        }
        to
    }
}
