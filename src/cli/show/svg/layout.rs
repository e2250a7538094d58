//! Where everything goes: parts side by side, row under row where they do not fit, in frames around them. Branches have places of
//! their own, and with their join stand among the other parts as one.
//!
//! A row is as wide as it must be for the picture to have as few rows as it can: the narrowest limit that needs no more.

use super::measure::{
    Extent, INSIDE, OUTSIDE, Solid, What, cell_width, frame_width, gap_width, label_width,
    pill_width,
};
use super::scene::{Frame, FrameKind, Part, has_joins};

/// A row of a chain is no wider than this, if the parts let it.
const WIDEST: f64 = 1060.0;
/// And a row with joins, of which two mostly go side by side.
const WIDEST_JOINS: f64 = 1180.0;
/// Between two rows.
const BETWEEN_ROWS: f64 = 34.0;
/// Room beside the rows, for the arrow from one to the next.
pub(super) const TURN: f64 = 16.0;
/// A picture with its places. The origin is the upper left corner of the first row.
#[derive(Debug)]
pub(super) struct Layout<'s> {
    pub(super) placed: Vec<Placed<'s>>,
    pub(super) frames: Vec<FramePiece<'s>>,
    pub(super) rows: Vec<Row>,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// A volume or a step in its place.
#[derive(Debug)]
pub(super) struct Placed<'s> {
    pub(super) what: What<'s>,
    pub(super) row: usize,
    /// Where the room for the arrow that leads to it begins, and where it ends.
    pub(super) gap: (f64, f64),
    /// Its left and right edge, without captions.
    pub(super) left: f64,
    pub(super) right: f64,
    /// Where what comes after it begins.
    end: f64,
}

/// The part of a frame on one row.
#[derive(Debug)]
pub(super) struct FramePiece<'s> {
    pub(super) frame: &'s Frame,
    pub(super) row: usize,
    pub(super) left: f64,
    pub(super) right: f64,
    /// Whether the frame begins here, and whether it ends here.
    pub(super) begins: bool,
    pub(super) ends: bool,
    pub(super) extent: Extent,
}

/// A row of the picture.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Row {
    /// The middle of its volumes, along which the arrows run.
    pub(super) axis: f64,
    extent: Extent,
    /// The rightmost edge.
    pub(super) right: f64,
}

impl Row {
    /// The middle of the space below the row.
    pub(super) fn below(&self) -> f64 {
        self.axis + self.extent.down + BETWEEN_ROWS / 2.0
    }
}

/// Gives every part its place.
pub(super) fn place(parts: &[Part]) -> Layout<'_> {
    let rows = |limit| Placer::run(parts, limit, false).row + 1;
    let widest = widest(parts);
    let fewest = rows(widest);
    let (mut short, mut enough) = (widest_layer(parts, 0.0, widest), widest);
    while enough - short > 4.0 {
        let middle = (enough + short) / 2.0;
        if rows(middle) <= fewest { enough = middle } else { short = middle }
    }
    Placer::run(parts, enough, false).finish()
}

/// How wide a row may be.
pub(super) fn widest(parts: &[Part]) -> f64 {
    if has_joins(parts) { WIDEST_JOINS } else { WIDEST }
}

/// Gives the parts of a branch their places, in rows about as wide as `limit`: an arrow leads to the first of them.
pub(super) fn place_branch(parts: &[Part], limit: f64) -> Layout<'_> {
    Placer::run(parts, limit, true).finish()
}

/// The widest layer, or group with joins, that fits a row with the frames around it, which take up `around`: no row is narrower for it.
fn widest_layer(parts: &[Part], around: f64, widest: f64) -> f64 {
    let width = |part: &Part| match part {
        Part::Volume(_) | Part::Mark(_) => 0.0,
        Part::Join(join) if join.footprint.width + around <= widest => {
            join.footprint.width + around
        }
        Part::Join(_) => 0.0,
        Part::Frame(frame) => {
            let whole = match frame.kind {
                FrameKind::Layer => frame_width(frame) + around,
                FrameKind::Group if has_joins(&frame.parts) => frame_width(frame) + around,
                FrameKind::Group => 0.0,
            };
            let inside = widest_layer(&frame.parts, around + 2.0 * (INSIDE + OUTSIDE), widest);
            if whole <= widest { whole.max(inside) } else { inside }
        }
    };
    parts.iter().map(width).fold(0.0, f64::max)
}

/// A frame that is being filled.
struct Open<'s> {
    frame: &'s Frame,
    left: f64,
    /// Whether it holds anything on this row.
    filled: bool,
    begins: bool,
    /// Of what it holds on this row.
    extent: Extent,
}

/// Places parts from left to right.
struct Placer<'s> {
    limit: f64,
    /// Whether an arrow leads to the first part.
    is_led_to: bool,
    row: usize,
    x: f64,
    /// Whether anything is on this row.
    filled: bool,
    open: Vec<Open<'s>>,
    placed: Vec<Placed<'s>>,
    frames: Vec<FramePiece<'s>>,
}

impl<'s> Placer<'s> {
    fn run(parts: &'s [Part], limit: f64, is_led_to: bool) -> Placer<'s> {
        let mut placer = Placer {
            limit,
            is_led_to,
            row: 0,
            x: 0.0,
            filled: false,
            open: vec![],
            placed: vec![],
            frames: vec![],
        };
        placer.parts(parts);
        placer
    }

    fn parts(&mut self, parts: &'s [Part]) {
        for part in parts {
            match part {
                Part::Frame(frame) => self.frame(frame),
                Part::Volume(volume) => {
                    let solid = Solid::of(volume);
                    self.put(What::Volume(volume, solid), solid.width());
                }
                Part::Mark(step) => {
                    self.put(What::Mark(step), pill_width(step));
                }
                Part::Join(join) => self.put(What::Join(join), join.footprint.width),
            }
        }
    }

    /// Where the row ends for what stands in the frames that are open.
    fn end(&self) -> f64 {
        self.limit - (INSIDE + OUTSIDE) * self.open.len() as f64
    }

    fn frame(&mut self, frame: &'s Frame) {
        let width = frame_width(frame);
        let start = (INSIDE + OUTSIDE) * self.open.len() as f64;
        let stays_whole = match frame.kind {
            FrameKind::Layer => width <= self.end() - start,
            FrameKind::Group if has_joins(&frame.parts) => width <= self.end() - start,
            // A long one may as well begin where it is.
            FrameKind::Group => width <= (self.end() - start) / 2.0,
        };
        if self.filled && stays_whole && self.x + width > self.end() {
            self.new_row();
        }
        let left = self.x + OUTSIDE;
        self.open.push(Open {
            frame,
            left,
            filled: false,
            begins: true,
            extent: Extent::default(),
        });
        self.x = left + INSIDE;
        self.parts(&frame.parts);
        let open = self.open.pop().expect("the frame is open");
        let labelled = open.left + label_width(frame);
        let right = if open.begins { (self.x + INSIDE).max(labelled) } else { self.x + INSIDE };
        let extent = self.close(&open, right, true);
        if let Some(outer) = self.open.last_mut() {
            outer.extent.include(extent);
        }
        self.x = right + OUTSIDE;
    }

    /// Ends what of a frame is on this row; returns how far it reaches.
    fn close(&mut self, open: &Open<'s>, right: f64, ends: bool) -> Extent {
        let &Open { frame, left, begins, extent, .. } = open;
        let (row, extent) = (self.row, extent.framed());
        self.frames.push(FramePiece { frame, row, left, right, begins, ends, extent });
        extent
    }

    fn new_row(&mut self) {
        // From the inside out, each frame as far to the right as it may go on.
        let mut right = self.x;
        let mut inner = Extent::default();
        let mut open = std::mem::take(&mut self.open);
        for frame in open.iter_mut().rev() {
            right += INSIDE;
            frame.extent.include(inner);
            if frame.filled {
                inner = self.close(frame, right, false);
                frame.begins = false;
            }
            right += OUTSIDE;
        }
        self.row += 1;
        self.x = 0.0;
        self.filled = false;
        for frame in &mut open {
            frame.left = self.x + OUTSIDE;
            (frame.filled, frame.extent) = (false, Extent::default());
            self.x = frame.left + INSIDE;
        }
        self.open = open;
    }

    fn put(&mut self, what: What<'s>, width: f64) {
        let cell = cell_width(what, width);
        let is_start = self.placed.is_empty() && !self.is_led_to;
        let gap = if is_start { 0.0 } else { gap_width(what) };
        if self.filled && self.x + gap + cell > self.end() {
            self.new_row();
        }
        let gap = (self.x, self.x + gap);
        let left = gap.1 + (cell - width) / 2.0;
        let end = gap.1 + cell;
        self.placed.push(Placed { what, row: self.row, gap, left, right: left + width, end });
        self.x = end;
        self.filled = true;
        self.open.iter_mut().for_each(|frame| frame.filled = true);
        if let Some(frame) = self.open.last_mut() {
            frame.extent.include(Extent::of(what));
        }
    }

    fn finish(self) -> Layout<'s> {
        let mut rows = vec![Row::default(); self.row + 1];
        for placed in &self.placed {
            let row = &mut rows[placed.row];
            row.extent.include(Extent::of(placed.what));
            row.right = row.right.max(placed.end);
        }
        for piece in &self.frames {
            let row = &mut rows[piece.row];
            row.extent.include(piece.extent);
            row.right = row.right.max(piece.right);
        }
        let mut y = 0.0;
        for row in &mut rows {
            row.axis = y + row.extent.up;
            y = row.axis + row.extent.down + BETWEEN_ROWS;
        }
        let width = rows.iter().map(|row| row.right).fold(0.0, f64::max);
        Layout { placed: self.placed, frames: self.frames, rows, width, height: y - BETWEEN_ROWS }
    }
}
