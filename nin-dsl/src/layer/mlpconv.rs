//! `mlpconv(c1, c2, ..., kernel = 3, stride = 1, pad = same)`: a small network slid over the image, the layer of
//! Network In Network.

use super::{Arg, Args, Kind, LayerSpec, Takes, Yields, common};
use crate::graph::{BuildError, Builder, Convolution};
use crate::shape::Window;

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "mlpconv",
    summary: "A convolution to c1 channels, then 1x1 convolutions to c2, c3, ..., a ReLU after each of them.",
    also: &["nin", "ninblock", "mlp", "mlpconv2d"],
    args: &[
        Arg { name: "channels", kind: Kind::ChannelList, ..common::CHANNELS },
        common::KERNEL,
        common::STRIDE,
        common::PAD,
    ],
    takes: Takes::Map,
    yields: Yields::Map,
    lower,
};

fn lower(args: &Args, build: &mut Builder) -> Result<(), BuildError> {
    for (i, &channels) in args.channels().iter().enumerate() {
        // The 1x1 convolutions are named as the paper has them: cascaded cross-channel parametric pooling.
        let (part, window) = match i {
            0 => ("conv".to_owned(), args.window()),
            _ => (format!("cccp{i}"), Window::square(1, 1, 0)),
        };
        build.conv(Some(&part), Convolution::new(channels, window))?;
        build.relu();
    }
    Ok(())
}
