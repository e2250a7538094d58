//! `depthwise(kernel = 3, stride = 1, pad = same, bias = 1, dilation = 1, multiplier = 1)`: a convolution of each channel by
//! itself.

use super::{Arg, Args, Default, Kind, LayerSpec, Takes, Yields, common};
use crate::graph::{BuildError, Builder, Convolution};

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "depthwise",
    summary: "Convolution of each channel by itself, to `multiplier` channels.",
    also: &["depthwiseconv", "depthwiseconv2d", "depthwiseconvolution", "dwconv", "dwconv2d"],
    args: &[
        common::KERNEL,
        common::STRIDE,
        common::PAD,
        common::BIAS,
        common::DILATION,
        Arg {
            name: "multiplier",
            key: "multiplier",
            also: &["depthmultiplier", "channelmultiplier", "expansion"],
            kind: Kind::Positive,
            default: Default::Whole(1),
            doc: "output channels of each input channel, which lie one after the other",
        },
    ],
    takes: Takes::Map,
    yields: Yields::Map,
    lower,
};

fn lower(args: &Args, build: &mut Builder) -> Result<(), BuildError> {
    let groups = build.shape().channels();
    let conv = Convolution {
        channels: groups.saturating_mul(args.size("multiplier")),
        window: args.window(),
        groups,
        bias: args.switch("bias"),
    };
    build.conv(None, conv)
}
