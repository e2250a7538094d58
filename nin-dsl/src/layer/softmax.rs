//! `softmax`: scores to probabilities.

use super::{Args, LayerSpec, Takes, Yields};
use crate::graph::{BuildError, Builder};

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "softmax",
    summary: "Probabilities over the classes; last only. Training fuses it with the cross entropy.",
    also: &["logsoftmax", "softmaxwithloss", "softmaxloss", "crossentropyloss"],
    args: &[],
    takes: Takes::Vector,
    yields: Yields::End,
    lower,
};

fn lower(_: &Args, build: &mut Builder) -> Result<(), BuildError> {
    build.softmax();
    Ok(())
}
