//! `avgpool(k, stride = k, pad = 0, round = floor, count = real)`: the mean of each window.

use super::{Arg, Args, Default, Kind, LayerSpec, Takes, Yields, common};
use crate::graph::{BuildError, Builder};

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "avgpool",
    summary: "Mean over a window: of its real pixels, or with padding as zeros.",
    also: &["avgpool2d", "averagepool", "averagepooling2d", "averagepooling", "meanpool"],
    args: &[
        common::POOL[0],
        common::POOL[1],
        common::POOL[2],
        common::POOL[3],
        Arg {
            name: "count",
            key: "count",
            also: &["countincludepad", "includepad"],
            kind: Kind::Counting,
            default: Default::Word("real"),
            doc: "whether the sum is divided by the real pixels alone, or by padding too",
        },
    ],
    takes: Takes::Map,
    yields: Yields::Map,
    lower,
};

fn lower(args: &Args, build: &mut Builder) -> Result<(), BuildError> {
    build.avg_pool(args.window(), args.round(), args.count())
}
