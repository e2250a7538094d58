//! `avgpool(k, stride = k, pad = 0, round = floor)`: the mean of each window.

use super::{Args, Layer, Takes, Yields, common};
use crate::graph::{BuildError, Builder};

pub(super) const LAYER: Layer = Layer {
    word: "avgpool",
    summary: "Mean over the real pixels of a window.",
    also: &["avgpool2d", "averagepool", "averagepooling2d", "averagepooling", "meanpool"],
    args: common::POOL,
    takes: Takes::Map,
    yields: Yields::Map,
    lower,
};

fn lower(args: &Args, build: &mut Builder) -> Result<(), BuildError> {
    build.avg_pool(args.window(), args.round())
}
