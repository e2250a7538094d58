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

/// What a mean's sum of real pixels is divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Count {
    /// The real pixels under the window.
    #[default]
    Real,
    /// The pixels under the window that are real or padding: what of it lies beyond the padding, where a size was rounded up,
    /// does not count (as in PyTorch's and ONNX's `count_include_pad`).
    Window,
}

/// How a window slides along one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slide {
    /// Taps of the kernel, at least 1.
    pub kernel: usize,
    /// Pixels from one window to the next, at least 1.
    pub stride: usize,
    /// Pixels of padding before the map and behind it.
    pub pad: [usize; 2],
    /// Pixels from one tap to the next, at least 1.
    pub dilation: usize,
}

impl Slide {
    /// A kernel without gaps, as far into the padding on either side.
    pub fn new(kernel: usize, stride: usize, pad: usize) -> Slide {
        Slide { kernel, stride, pad: [pad; 2], dilation: 1 }
    }

    /// Pixels from a window's first tap to its last, both included.
    pub fn reach(self) -> usize {
        self.dilation * (self.kernel - 1) + 1
    }

    /// Pixels of the padded map.
    pub fn padded(self, size: usize) -> usize {
        size.saturating_add(self.pad[0]).saturating_add(self.pad[1])
    }

    /// Outputs over `size` pixels, or `None` where no window fits.
    ///
    /// `floor((size + pads - reach) / stride) + 1`; with [`Round::Ceil`] the quotient is rounded up, but a last window that
    /// would start in the padding beyond the input is dropped (as Caffe and PyTorch do).
    pub fn output(self, size: usize, round: Round) -> Option<usize> {
        let room = self.padded(size).checked_sub(self.reach())?;
        let windows = match round {
            Round::Floor => room / self.stride,
            Round::Ceil => room.div_ceil(self.stride),
        } + 1;
        let last_starts_outside =
            round == Round::Ceil && (windows - 1) * self.stride >= size + self.pad[0];
        Some(windows - usize::from(last_starts_outside))
    }
}

/// A window sliding over a map: `fc`'s is the whole input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Downwards.
    pub y: Slide,
    /// To the right.
    pub x: Slide,
}

impl Window {
    /// A `kernel x kernel` window.
    pub fn square(kernel: usize, stride: usize, pad: usize) -> Window {
        let slide = Slide::new(kernel, stride, pad);
        Window { y: slide, x: slide }
    }

    /// The window that is a whole map of `h x w` pixels.
    pub fn whole((h, w): (usize, usize)) -> Window {
        Window { y: Slide::new(h, 1, 0), x: Slide::new(w, 1, 0) }
    }

    /// Kernel height and width.
    pub fn kernel(self) -> (usize, usize) {
        (self.y.kernel, self.x.kernel)
    }

    /// Taps of one window.
    pub fn taps(self) -> usize {
        self.y.kernel * self.x.kernel
    }

    /// Output height and width over an `h x w` input ([`Slide::output`]), or `None` where no window fits.
    pub fn output(self, (h, w): (usize, usize), round: Round) -> Option<(usize, usize)> {
        Some((self.y.output(h, round)?, self.x.output(w, round)?))
    }

    /// Whether every output pixel depends on the one input pixel under it.
    pub fn is_pointwise(self) -> bool {
        self == Window::square(1, 1, 0)
    }
}

impl fmt::Display for Window {
    /// `5x5 s1 p2`; where axes or sides differ, each has its number: `1x7 s1x2 p0,3,0,2 d1x2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Window { y, x } = self;
        write!(f, "{}x{} s{}", y.kernel, x.kernel, y.stride)?;
        if x.stride != y.stride {
            write!(f, "x{}", x.stride)?;
        }
        let ([top, bottom], [left, right]) = (y.pad, x.pad);
        match top == bottom && left == right {
            true if top == left => write!(f, " p{top}")?,
            true => write!(f, " p{top}x{left}")?,
            false => write!(f, " p{top},{left},{bottom},{right}")?,
        }
        match (y.dilation, x.dilation) {
            (1, 1) => Ok(()),
            (y, x) if y == x => write!(f, " d{y}"),
            (y, x) => write!(f, " d{y}x{x}"),
        }
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

    #[test]
    fn each_direction_has_its_own() {
        let y = Slide { kernel: 3, stride: 2, pad: [1, 0], dilation: 1 };
        let x = Slide { kernel: 2, stride: 1, pad: [0, 0], dilation: 3 };
        let window = Window { y, x };
        assert_eq!((y.reach(), x.reach()), (3, 4));
        assert_eq!(window.output((8, 8), Round::Floor), Some((4, 5)));
        assert_eq!(window.output((8, 3), Round::Floor), None);
        assert_eq!(window.to_string(), "3x2 s2x1 p1,0,0,0 d1x3");
        assert_eq!(Window { y: x, x }.to_string(), "2x2 s1 p0 d3");
        assert_eq!(
            Window { y: Slide::new(1, 1, 0), x: Slide::new(7, 1, 3) }.to_string(),
            "1x7 s1 p0x3"
        );
    }
}
