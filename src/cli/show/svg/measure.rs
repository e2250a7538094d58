//! How large everything is, before it has a place.

use nin::Shape;

use super::scene::{Frame, Join, Mark, Part, Volume, written};

/// Between a frame and what is beside it, and between a frame and what is in it.
pub(super) const OUTSIDE: f64 = 9.0;
pub(super) const INSIDE: f64 = 10.0;
/// Labels are not given more than this.
const LONGEST_LABEL: f64 = 280.0;
/// Above and below what is in a frame: room for its label, and for its lower edge.
const FRAME_HEAD: f64 = 24.0;
const FRAME_FOOT: f64 = 9.0;
/// Below a volume, its shape and its name.
const CAPTION: f64 = 35.0;
/// Width of a band on a volume.
const BAND: f64 = 5.0;
/// Half the height of a step's pill.
pub(super) const PILL: f64 = 10.0;
/// The size of all text but the title.
pub(super) const TEXT: f64 = 12.0;

/// What has a place.
#[derive(Clone, Copy, Debug)]
pub(super) enum What<'s> {
    Volume(&'s Volume, Solid),
    Mark(&'s Mark),
    Join(&'s Join),
}

/// How far something reaches above and below its row's axis.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extent {
    pub(super) up: f64,
    pub(super) down: f64,
}

impl Extent {
    pub(super) fn of(what: What<'_>) -> Extent {
        // There is room for what is written on the arrows in any case.
        let least = 2.0 * TEXT;
        match what {
            What::Volume(_, solid) => {
                Extent { up: solid.half().max(least), down: (solid.half() + CAPTION).max(least) }
            }
            What::Mark(_) => Extent { up: least, down: least },
            What::Join(join) => join.footprint.extent,
        }
    }

    /// That of a frame around this.
    pub(super) fn framed(self) -> Extent {
        Extent { up: self.up + FRAME_HEAD, down: self.down + FRAME_FOOT }
    }

    pub(super) fn include(&mut self, other: Extent) {
        self.up = self.up.max(other.up);
        self.down = self.down.max(other.down);
    }
}

/// A volume's measures: a front of channels by height, drawn back by the width.
#[derive(Clone, Copy, Debug)]
pub(super) struct Solid {
    /// Width of the front, without bands.
    pub(super) thick: f64,
    /// Width of each band on it.
    pub(super) band: f64,
    pub(super) bands: usize,
    pub(super) height: f64,
    /// How far the back is to the right of the front, and above it.
    pub(super) back: (f64, f64),
}

impl Solid {
    /// Sizes grow with the square root, so that 7 and 224 pixels fit one picture, and stay in bounds.
    pub(super) fn of(volume: &Volume) -> Solid {
        let root = |n: usize, scale: f64, least: f64, most: f64| {
            (scale * (n as f64).sqrt()).clamp(least, most)
        };
        let (thick, height, depth) = match volume.shape {
            Shape::Map { c, h, w } => {
                (root(c, 3.0, 5.0, 90.0), root(h, 14.0, 9.0, 170.0), root(w, 14.0, 9.0, 170.0))
            }
            Shape::Vector { n } => (9.0, root(n, 9.0, 14.0, 130.0), 14.0),
        };
        Solid {
            thick,
            band: BAND,
            bands: volume.bands.len(),
            height,
            back: (0.36 * depth, 0.24 * depth),
        }
    }

    /// Width of the front.
    pub(super) fn front(&self) -> f64 {
        self.thick + self.band * self.bands as f64
    }

    pub(super) fn width(&self) -> f64 {
        self.front() + self.back.0
    }

    /// Half of what it takes above and below its middle.
    pub(super) fn half(&self) -> f64 {
        (self.height + self.back.1) / 2.0
    }
}

pub(super) fn frame_width(frame: &Frame) -> f64 {
    let width = |part: &Part| match part {
        Part::Volume(volume) => {
            let solid = Solid::of(volume);
            let what = What::Volume(volume, solid);
            gap_width(what) + cell_width(what, solid.width())
        }
        Part::Mark(step) => {
            let what = What::Mark(step);
            gap_width(what) + cell_width(what, pill_width(step))
        }
        Part::Frame(frame) => frame_width(frame),
        Part::Join(join) => gap_width(What::Join(join)) + join.footprint.width,
    };
    let inside: f64 = frame.parts.iter().map(width).sum();
    (inside + 2.0 * INSIDE).max(label_width(frame)) + 2.0 * OUTSIDE
}

/// Width of a frame that has room for its label, if that is not too long.
pub(super) fn label_width(frame: &Frame) -> f64 {
    (text_width(&frame.label) + 2.0 * INSIDE).min(LONGEST_LABEL)
}

/// Room for an arrow and what is written on it.
pub(super) fn gap_width(what: What<'_>) -> f64 {
    match what {
        What::Volume(volume, _) => {
            (text_width(&volume.above).max(text_width(&volume.below)) + 18.0).max(30.0)
        }
        What::Mark(_) => 16.0,
        What::Join(_) => 12.0,
    }
}

/// Room for something `width` wide and what is written below it.
pub(super) fn cell_width(what: What<'_>, width: f64) -> f64 {
    match what {
        What::Volume(volume, _) => {
            width.max(text_width(&written(volume.shape))).max(text_width(&volume.name))
        }
        What::Mark(_) | What::Join(_) => width,
    }
}

pub(super) fn pill_width(step: &Mark) -> f64 {
    text_width(&step.text) + 16.0
}

/// Width of a text of size [`TEXT`], generously, since the reader's font is not known.
pub(super) fn text_width(text: &str) -> f64 {
    let em = |c: char| match c {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' => 0.34,
        ' ' | 't' | 'f' | 'r' | '(' | ')' | '-' | '[' | ']' => 0.42,
        'm' | 'w' | 'M' | 'W' | '…' => 0.98,
        'A'..='Z' | '×' | '=' | '+' | '·' => 0.76,
        c if c.is_ascii() => 0.62,
        // It may be a script whose letters are as wide as they are high.
        _ => 1.05,
    };
    text.chars().map(em).sum::<f64>() * TEXT
}
