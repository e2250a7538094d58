//! `mul < A > < B > ...`: the product of what branches leave.

use super::{Args, LayerSpec, Takes, Yields};
use crate::graph::{BuildError, Builder, Join};

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "mul",
    summary: "The product of its branches' results, element by element; a vector, or a map of 1x1, scales the channels of a map.",
    also: &["multiply", "multiplication", "product", "prod", "times", "elementwisemul"],
    args: &[],
    takes: Takes::Branches(Join::Mul),
    yields: Yields::Joined,
    lower,
};

fn lower(_: &Args, build: &mut Builder) -> Result<(), BuildError> {
    build.join(Join::Mul)
}
