//! `lrn(size = 5, alpha = 1e-4, beta = 0.75, k = 1.0)`: local response normalisation (Krizhevsky, Sutskever & Hinton, 2012).

use super::{Arg, Args, Default, Kind, LayerSpec, Takes, Yields};
use crate::graph::{BuildError, Builder};

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "lrn",
    summary: "Local response normalisation: x / (k + alpha / size * s)^beta, where s is the sum of the squares of the size \
              channels around, as many as there are.",
    also: &[
        "localresponsenorm",
        "localresponsenormalization",
        "localresponsenormalisation",
        "crossmaplrn2d",
    ],
    args: &[
        Arg {
            name: "size",
            key: "size",
            also: &["n", "localsize"],
            kind: Kind::Odd,
            default: Default::Whole(5),
            doc: "channels that a sum is over",
        },
        Arg {
            name: "alpha",
            key: "alpha",
            also: &["a"],
            kind: Kind::NonNegative,
            default: Default::Real(1e-4),
            doc: "what the mean of the squares is multiplied by",
        },
        Arg {
            name: "beta",
            key: "beta",
            also: &["b", "power"],
            kind: Kind::NonNegative,
            default: Default::Real(0.75),
            doc: "the power that is divided by",
        },
        Arg {
            name: "k",
            key: "k",
            also: &["bias"],
            kind: Kind::Start,
            default: Default::Real(1.0),
            doc: "what the sum starts from",
        },
    ],
    takes: Takes::Map,
    yields: Yields::Map,
    lower,
};

fn lower(args: &Args, build: &mut Builder) -> Result<(), BuildError> {
    build.lrn(args.size("size"), ["alpha", "beta", "k"].map(|key| args.real(key)));
    Ok(())
}
