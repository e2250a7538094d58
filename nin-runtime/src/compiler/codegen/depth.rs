//! Bands that go depth first through several windows: which rows each stage makes of a band, and what is kept of them for the next.

use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, Value};
use cranelift_frontend::Variable;
use nin_dsl::shape::{Shape, Slide};

use super::band::{Band, BandRows};
use super::elementwise;
use super::emitter::Emitter;
use super::pixels::Pixels;
use super::scope::Scope;
use crate::compiler::fuse::Stage;
use crate::compiler::plan::{BufferKey, Extent, slide};

/// A stage of a run.
struct Member<'a> {
    stage: &'a Stage,
    /// How its rows look at those of the stage before it.
    slide: Slide,
    /// Rows of its result.
    height: usize,
    /// Rows of it that a band mostly has.
    usual: usize,
    /// One past the last row of it that was made.
    made: Variable,
    /// What holds its rows, if that is a band's buffer alone.
    buffer: Option<BufferKey>,
    /// The row that its buffer begins with, if the next stage's windows overlap.
    top: Option<Variable>,
}

impl Scope<'_> {
    /// A run of stages in bands of `rows` rows of the last one's result.
    pub(super) fn depth_first(
        &self,
        e: &mut Emitter<'_>,
        stages: &[Stage],
        rows: usize,
        band: Band,
    ) {
        let members = self.members(e, stages, rows);
        let mut start = band.lo;
        for (index, member) in members.iter().enumerate().rev() {
            e.b.def_var(member.made, start);
            if let Some(top) = member.top {
                e.b.def_var(top, start);
            }
            if let Some(before) = index.checked_sub(1) {
                start = first_reached(e, start, member.slide, members[before].height);
            }
        }
        e.range(band.lo, band.hi, rows as i64, |e, lo| {
            let hi = e.add(lo, rows as i64);
            let hi = e.min(hi, band.hi);
            let scope = self.moved_up(e, &members, band.image);
            let ends = ends(e, &members, hi);
            for (member, &end) in members.iter().zip(&ends) {
                let rows = BandRows::Mostly(member.usual);
                let lo = e.b.use_var(member.made);
                scope.on_image(e, member.stage, Band { image: band.image, lo, hi: end, rows });
            }
            for (member, end) in members.iter().zip(ends) {
                e.b.def_var(member.made, end);
            }
        });
    }

    /// The stages of a run.
    fn members<'a>(
        &self,
        e: &mut Emitter<'_>,
        stages: &'a [Stage],
        rows: usize,
    ) -> Vec<Member<'a>> {
        let mut usual = rows;
        let mut members = Vec::with_capacity(stages.len());
        for (index, stage) in stages.iter().enumerate().rev() {
            let slide = slide(self.graph, stage).expect("it goes row by row (a bug in nin)");
            let key = self.pass.view(stage.writes).buffer;
            let is_band = matches!(self.pass.room(key).map().1, Extent::Band(_));
            // Of stages that work in the same place, what the last one's reader wants is kept.
            let next: Option<&Member<'a>> = members.last();
            let is_last_there = next.is_some_and(|next| next.buffer != Some(key));
            let overlaps = next.is_some_and(|next| next.slide != Slide::new(1, 1, 0));
            members.push(Member {
                stage,
                slide,
                height: self.shape(stage.node).height(),
                usual,
                made: e.b.declare_var(I64),
                buffer: is_band.then_some(key),
                top: (is_band && is_last_there && overlaps).then(|| e.b.declare_var(I64)),
            });
            if index > 0 {
                usual *= slide.stride;
            }
        }
        members.reverse();
        members
    }

    /// Moves what the next band reads of the last to the top of its buffer; a scope that knows where the buffers begin now.
    fn moved_up(&self, e: &mut Emitter<'_>, members: &[Member<'_>], image: Value) -> Scope<'_> {
        let mut tops = Vec::new();
        for pair in members.windows(2) {
            let [member, next] = pair else { unreachable!("windows of two (a bug in nin)") };
            let Some(key) = member.buffer else { continue };
            let made = e.b.use_var(member.made);
            let Some(top) = member.top else {
                if next.buffer != Some(key) {
                    tops.push((key, made));
                }
                continue;
            };
            let read = e.b.use_var(next.made);
            let first = first_reached(e, read, next.slide, member.height);
            let first = e.min(first, made);
            let before = e.b.use_var(top);
            e.b.def_var(top, first);
            let kept = e.b.ins().isub(made, first);
            let skipped = e.b.ins().isub(first, before);
            let map = self.image(e, member.stage.writes, image);
            let shape = self.shape(member.stage.node);
            let row = Shape::map(shape.channels(), 1, shape.width());
            let zero = e.int(0);
            // A row goes up to where none is that is still to be moved.
            e.range(zero, kept, 1, |e, index| {
                let from = e.b.ins().iadd(index, skipped);
                let from = map.pixels(e, from, shape.width());
                let to = map.pixels(e, index, shape.width());
                copy_row(e, row, [from, to]);
            });
            tops.push((key, first));
        }
        Scope { tops, ..*self }
    }
}

/// Copies a row of a map, a few vectors at a time if that is a single stretch.
fn copy_row(e: &mut Emitter<'_>, row: Shape, [from, to]: [Pixels; 2]) {
    if !(from.is_dense(row) && to.is_dense(row)) {
        return elementwise::copy(e, from, to, row);
    }
    e.vectors(row.elements(), |e, ty, i, vectors| {
        let [from, to] = [from, to].map(|map| map.channel(e, i));
        let offsets = (0..vectors as i64).map(|index| index * i64::from(ty.lane_count()));
        let offsets: Vec<i64> = offsets.collect();
        let loaded: Vec<Value> = offsets.iter().map(|&at| from.load(e, ty, at)).collect();
        for (value, at) in loaded.into_iter().zip(offsets) {
            to.store(e, value, at);
        }
    });
}

/// One past the last row of each stage that a band of the last one's, up to row `hi`, needs.
fn ends(e: &mut Emitter<'_>, members: &[Member<'_>], hi: Value) -> Vec<Value> {
    let mut ends = vec![hi; members.len()];
    for index in (1..members.len()).rev() {
        let Member { slide, .. } = members[index];
        let before = &members[index - 1];
        let end = e.add(ends[index], -1);
        let end = e.mul(end, slide.stride as i64);
        let end = e.add(end, slide.reach() as i64 - slide.pad[0] as i64);
        let height = e.size(before.height);
        let end = e.min(end, height);
        let made = e.b.use_var(before.made);
        ends[index - 1] = e.max(end, made);
    }
    ends
}

/// The first real row under the window of an output row.
fn first_reached(e: &mut Emitter<'_>, row: Value, slide: Slide, height: usize) -> Value {
    if slide == Slide::new(1, 1, 0) {
        return row;
    }
    let first = e.mul(row, slide.stride as i64);
    let first = e.add(first, -(slide.pad[0] as i64));
    let (zero, height) = (e.int(0), e.size(height));
    let first = e.max(first, zero);
    e.min(first, height)
}
