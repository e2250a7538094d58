//! `dropout(p)`: zeroes a part of its input in training.

use super::{Arg, Args, Default, Kind, LayerSpec, Takes, Yields};
use crate::graph::{BuildError, Builder};

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "dropout",
    summary: "In training, zeroes an element with probability p and scales the rest by 1/(1 - p); nothing at inference.",
    also: &["drop", "dropout2d"],
    args: &[Arg {
        name: "p",
        key: "p",
        also: &["rate", "prob", "probability", "ratio", "dropoutratio"],
        kind: Kind::Probability,
        default: Default::Required,
        doc: "probability of a zero",
    }],
    takes: Takes::Any,
    yields: Yields::Same,
    lower,
};

fn lower(args: &Args, build: &mut Builder) -> Result<(), BuildError> {
    build.dropout(args.real("p"));
    Ok(())
}
