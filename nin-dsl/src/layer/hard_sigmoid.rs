//! `hard_sigmoid`: a sigmoid of straight lines.

use super::{Args, LayerSpec, Takes, Yields};
use crate::graph::{Activation, BuildError, Builder};

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "hard_sigmoid",
    summary: "min(max(x / 6 + 1/2, 0), 1).",
    also: &["hardsigmoid", "hsigmoid", "hardlogistic"],
    args: &[],
    takes: Takes::Any,
    yields: Yields::Same,
    lower,
};

fn lower(_: &Args, build: &mut Builder) -> Result<(), BuildError> {
    build.activation(Activation::HardSigmoid);
    Ok(())
}
