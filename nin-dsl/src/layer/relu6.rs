//! `relu6`: numbers are kept from 0 to 6 (Howard et al., 2017).

use super::{Args, LayerSpec, Takes, Yields};
use crate::graph::{Activation, BuildError, Builder};

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "relu6",
    summary: "min(max(x, 0), 6).",
    also: &["clippedrelu", "hardtanh", "relun"],
    args: &[],
    takes: Takes::Any,
    yields: Yields::Same,
    lower,
};

fn lower(_: &Args, build: &mut Builder) -> Result<(), BuildError> {
    build.activation(Activation::Relu6);
    Ok(())
}
