//! `sigmoid`: numbers become shares.

use super::{Args, LayerSpec, Takes, Yields};
use crate::graph::{Activation, BuildError, Builder};

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "sigmoid",
    summary: "1 / (1 + exp(-x)).",
    also: &["logistic", "sigm"],
    args: &[],
    takes: Takes::Any,
    yields: Yields::Same,
    lower,
};

fn lower(_: &Args, build: &mut Builder) -> Result<(), BuildError> {
    build.activation(Activation::Sigmoid);
    Ok(())
}
