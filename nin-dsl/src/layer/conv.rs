//! `conv(c, kernel = 3, stride = 1, pad = same, bias = 1)`: a linear convolution.

use super::{Args, Layer, Takes, Yields, common};
use crate::graph::{BuildError, Builder};

pub(super) const LAYER: Layer = Layer {
    word: "conv",
    summary: "Linear convolution (cross-correlation) over all input channels.",
    also: &["conv2d", "convolution", "convolution2d", "convolutional"],
    args: &[common::CHANNELS, common::KERNEL, common::STRIDE, common::PAD, common::BIAS],
    takes: Takes::Map,
    yields: Yields::Map,
    lower,
};

fn lower(args: &Args, build: &mut Builder) -> Result<(), BuildError> {
    build.conv(None, args.channels()[0], args.window(), args.switch("bias"))
}
