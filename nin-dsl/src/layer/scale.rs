//! `scale(by)`: numbers times a constant.

use super::{Arg, Args, Default, Kind, LayerSpec, Takes, Yields};
use crate::graph::{Activation, BuildError, Builder};

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "scale",
    summary: "x times a constant.",
    also: &["rescale", "rescaling", "mulconstant", "multiply"],
    args: &[Arg {
        name: "by",
        key: "by",
        also: &["factor", "scale", "value", "alpha"],
        kind: Kind::Real,
        default: Default::Required,
        doc: "what numbers are multiplied by",
    }],
    takes: Takes::Any,
    yields: Yields::Same,
    lower,
};

fn lower(args: &Args, build: &mut Builder) -> Result<(), BuildError> {
    build.activation(Activation::Scale { by: args.real("by") });
    Ok(())
}
