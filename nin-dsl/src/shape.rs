//! [`Shape`], what flows between layers, and [`Window`], how a convolution or a pool slides over it.
//!
//! The batch dimension is never part of a shape.

use std::fmt;

/// The shape of one image's activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// Channels x height x width.
    Map {
        /// Channels.
        c: usize,
        /// Height.
        h: usize,
        /// Width.
        w: usize,
    },
    /// A vector of `n` features, what `gap` and `fc` leave.
    Vector {
        /// Features.
        n: usize,
    },
}

impl Shape {
    /// A `c x h x w` map.
    pub fn map(c: usize, h: usize, w: usize) -> Shape {
        Shape::Map { c, h, w }
    }

    /// Channels; a vector's features are channels of one pixel.
    pub fn channels(self) -> usize {
        match self {
            Shape::Map { c, .. } => c,
            Shape::Vector { n } => n,
        }
    }

    /// Height; 1 for a vector.
    pub fn height(self) -> usize {
        match self {
            Shape::Map { h, .. } => h,
            Shape::Vector { .. } => 1,
        }
    }

    /// Width; 1 for a vector.
    pub fn width(self) -> usize {
        match self {
            Shape::Map { w, .. } => w,
            Shape::Vector { .. } => 1,
        }
    }

    /// Height times width.
    pub fn pixels(self) -> usize {
        self.height() * self.width()
    }

    /// Numbers in one image's activation.
    pub fn elements(self) -> usize {
        self.channels() * self.pixels()
    }

    /// `[c, h, w]` or `[n]`, as arrays have it after the batch dimension.
    pub fn dims(self) -> Vec<usize> {
        match self {
            Shape::Map { c, h, w } => vec![c, h, w],
            Shape::Vector { n } => vec![n],
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Map { c, h, w } => write!(f, "{c}x{h}x{w}"),
            Shape::Vector { n } => write!(f, "{n}"),
        }
    }
}

/// How an output size is rounded when the stride does not divide the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Round {
    /// Rows and columns that do not fill a window are dropped.
    #[default]
    Floor,
    /// A last, clipped window covers them (Caffe's rule).
    Ceil,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Round::Floor => "floor",
            Round::Ceil => "ceil",
        })
    }
}

/// A window sliding over a map. Square in every layer but `fc`, whose window is the whole input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Kernel height and width.
    pub kernel: (usize, usize),
    /// Stride in both directions, at least 1.
    pub stride: usize,
    /// Zero padding on every side.
    pub pad: usize,
}

impl Window {
    /// A `kernel x kernel` window.
    pub fn square(kernel: usize, stride: usize, pad: usize) -> Window {
        Window { kernel: (kernel, kernel), stride, pad }
    }

    /// Taps of one window.
    pub fn taps(self) -> usize {
        self.kernel.0 * self.kernel.1
    }

    /// Output height and width over an `h x w` input, or `None` where no window fits.
    ///
    /// `floor((size + 2 pad - kernel) / stride) + 1`; with [`Round::Ceil`] the quotient is rounded up, but a last window
    /// that would start in the padding beyond the input is dropped (as Caffe and PyTorch do).
    pub fn output(self, (h, w): (usize, usize), round: Round) -> Option<(usize, usize)> {
        let one = |size: usize, kernel: usize| {
            let room = size.checked_add(self.pad.checked_mul(2)?)?.checked_sub(kernel)?;
            let windows = match round {
                Round::Floor => room / self.stride,
                Round::Ceil => room.div_ceil(self.stride),
            } + 1;
            let last_starts_outside =
                round == Round::Ceil && (windows - 1) * self.stride >= size + self.pad;
            Some(windows - usize::from(last_starts_outside))
        };
        Some((one(h, self.kernel.0)?, one(w, self.kernel.1)?))
    }

    /// Whether every output pixel depends on the one input pixel under it.
    pub fn is_pointwise(self) -> bool {
        self == Window::square(1, 1, 0)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Window { kernel: (h, w), stride, pad } = self;
        write!(f, "{h}x{w} s{stride} p{pad}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_follows_caffe() {
        let pool = Window::square(3, 2, 0);
        assert_eq!(pool.output((32, 32), Round::Ceil), Some((16, 16)));
        assert_eq!(pool.output((32, 32), Round::Floor), Some((15, 15)));
        assert_eq!(pool.output((28, 14), Round::Ceil), Some((14, 7)));
        // The window that starts in the right padding is dropped: ceil would give 3.
        assert_eq!(Window::square(2, 2, 1).output((3, 3), Round::Ceil), Some((2, 2)));
        assert_eq!(Window::square(4, 1, 0).output((3, 3), Round::Floor), None);
    }
}
