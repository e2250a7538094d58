//! `hard_swish`: a number times its hard sigmoid (Howard et al., 2019).

use super::{Args, LayerSpec, Takes, Yields};
use crate::graph::{Activation, BuildError, Builder};

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "hard_swish",
    summary: "x times its hard sigmoid: x * min(max(x / 6 + 1/2, 0), 1).",
    also: &["hardswish", "hswish", "hardsilu"],
    args: &[],
    takes: Takes::Any,
    yields: Yields::Same,
    lower,
};

fn lower(_: &Args, build: &mut Builder) -> Result<(), BuildError> {
    build.activation(Activation::HardSwish);
    Ok(())
}
