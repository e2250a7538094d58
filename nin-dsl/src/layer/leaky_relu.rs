//! `leaky_relu(slope = 0.01)`: negative numbers become small.

use super::{Arg, Args, Default, Kind, LayerSpec, Takes, Yields};
use crate::graph::{Activation, BuildError, Builder};

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "leaky_relu",
    summary: "x, but slope * x where x is negative.",
    also: &["leakyrelu", "lrelu"],
    args: &[Arg {
        name: "slope",
        key: "slope",
        also: &["alpha", "negativeslope"],
        kind: Kind::NonNegative,
        default: Default::Real(0.01),
        doc: "what negative numbers are multiplied by",
    }],
    takes: Takes::Any,
    yields: Yields::Same,
    lower,
};

fn lower(args: &Args, build: &mut Builder) -> Result<(), BuildError> {
    build.activation(Activation::LeakyRelu { slope: args.real("slope") });
    Ok(())
}
