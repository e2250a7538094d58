//! `relu`: negative numbers become zero.

use super::{Args, LayerSpec, Takes, Yields};
use crate::graph::{BuildError, Builder};

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "relu",
    summary: "max(x, 0).",
    also: &["rectifier", "rectify", "activation"],
    args: &[],
    takes: Takes::Any,
    yields: Yields::Same,
    lower,
};

fn lower(_: &Args, build: &mut Builder) -> Result<(), BuildError> {
    build.relu();
    Ok(())
}
