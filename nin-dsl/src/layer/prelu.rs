//! `prelu`: negative numbers are multiplied by a slope that is trained (He et al., 2015).

use super::{Args, LayerSpec, Takes, Yields};
use crate::graph::{BuildError, Builder};

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "prelu",
    summary: "x, but slope * x where x is negative: a trained slope for each channel, which starts at 0.25.",
    also: &["parametricrelu", "prelulayer"],
    args: &[],
    takes: Takes::Any,
    yields: Yields::Same,
    lower,
};

fn lower(_: &Args, build: &mut Builder) -> Result<(), BuildError> {
    build.prelu()
}
