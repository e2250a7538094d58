//! `silu`: a number times its sigmoid (Elfwing et al., 2018).

use super::{Args, LayerSpec, Takes, Yields};
use crate::graph::{Activation, BuildError, Builder};

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "silu",
    summary: "x / (1 + exp(-x)): x times its sigmoid.",
    also: &["swish", "swish1"],
    args: &[],
    takes: Takes::Any,
    yields: Yields::Same,
    lower,
};

fn lower(_: &Args, build: &mut Builder) -> Result<(), BuildError> {
    build.activation(Activation::Silu);
    Ok(())
}
