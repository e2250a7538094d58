//! `tanh`: numbers are kept from -1 to 1.

use super::{Args, LayerSpec, Takes, Yields};
use crate::graph::{Activation, BuildError, Builder};

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "tanh",
    summary: "The hyperbolic tangent of x.",
    also: &["tanhactivation"],
    args: &[],
    takes: Takes::Any,
    yields: Yields::Same,
    lower,
};

fn lower(_: &Args, build: &mut Builder) -> Result<(), BuildError> {
    build.activation(Activation::Tanh);
    Ok(())
}
