//! `maxpool(k, stride = k, pad = 0, round = floor)`: the maximum of each window.

use super::{Args, LayerSpec, Takes, Yields, common};
use crate::graph::{BuildError, Builder};

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "maxpool",
    summary: "Maximum over a window clipped to the input; padding never wins.",
    also: &["maxpool2d", "maxpooling2d", "maxpooling", "pool"],
    args: common::POOL,
    takes: Takes::Map,
    yields: Yields::Map,
    lower,
};

fn lower(args: &Args, build: &mut Builder) -> Result<(), BuildError> {
    build.max_pool(args.window(), args.round())
}
