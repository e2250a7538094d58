//! `conv(c, kernel = 3, stride = 1, pad = same, bias = 1, groups = 1, dilation = 1)`: a linear convolution.

use super::{Arg, Args, Default, Kind, LayerSpec, Takes, Yields, common};
use crate::graph::{BuildError, Builder, Convolution};

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "conv",
    summary: "Linear convolution (cross-correlation) over all input channels, or those of each group.",
    also: &["conv2d", "convolution", "convolution2d", "convolutional"],
    args: &[
        common::CHANNELS,
        common::KERNEL,
        common::STRIDE,
        common::PAD,
        common::BIAS,
        Arg {
            name: "groups",
            key: "groups",
            also: &["group", "g", "numgroups", "cardinality"],
            kind: Kind::Positive,
            default: Default::Whole(1),
            doc: "groups of channels, each of which reads its share of the input's; they divide both",
        },
        common::DILATION,
    ],
    takes: Takes::Map,
    yields: Yields::Map,
    lower,
};

fn lower(args: &Args, build: &mut Builder) -> Result<(), BuildError> {
    let conv = Convolution {
        channels: args.channels()[0],
        window: args.window(),
        groups: args.size("groups"),
        bias: args.switch("bias"),
    };
    build.conv(None, conv)
}
