//! `elu(alpha = 1.0)`: negative numbers saturate (Clevert, Unterthiner & Hochreiter, 2016).

use super::{Arg, Args, Default, Kind, LayerSpec, Takes, Yields};
use crate::graph::{Activation, BuildError, Builder};

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "elu",
    summary: "x, but alpha * (exp(x) - 1) where x is not positive.",
    also: &["exponentiallinear", "exponentiallinearunit", "selu", "celu"],
    args: &[Arg {
        name: "alpha",
        key: "alpha",
        also: &["a"],
        kind: Kind::NonNegative,
        default: Default::Real(1.0),
        doc: "large negative numbers become -alpha",
    }],
    takes: Takes::Any,
    yields: Yields::Same,
    lower,
};

fn lower(args: &Args, build: &mut Builder) -> Result<(), BuildError> {
    build.activation(Activation::Elu { alpha: args.real("alpha") });
    Ok(())
}
