//! `gelu`: a number times a normal distribution's share below it (Hendrycks & Gimpel, 2016).

use super::{Args, LayerSpec, Takes, Yields};
use crate::graph::{Activation, BuildError, Builder};

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "gelu",
    summary: "x times the share of a normal distribution below x: x * erfc(-x / sqrt(2)) / 2, not approximated by tanh.",
    also: &["gelunew", "gelutanh", "quickgelu"],
    args: &[],
    takes: Takes::Any,
    yields: Yields::Same,
    lower,
};

fn lower(_: &Args, build: &mut Builder) -> Result<(), BuildError> {
    build.activation(Activation::Gelu);
    Ok(())
}
