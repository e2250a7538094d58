//! `gap`: global average pooling, which turns a map for each class into a score for each class.

use super::{Args, LayerSpec, Takes, Yields};
use crate::graph::{BuildError, Builder};

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "gap",
    summary: "Global average pool: the mean of each channel.",
    also: &[
        "globalavgpool",
        "globalavgpool2d",
        "globalaveragepool",
        "globalaveragepooling",
        "globalaveragepooling2d",
        "adaptiveavgpool2d",
    ],
    args: &[],
    takes: Takes::Map,
    yields: Yields::Vector,
    lower,
};

fn lower(_: &Args, build: &mut Builder) -> Result<(), BuildError> {
    build.global_avg_pool();
    Ok(())
}
