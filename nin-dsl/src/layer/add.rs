//! `add < A > < B > ...`: the sum of what branches leave.

use super::{Args, LayerSpec, Takes, Yields};
use crate::graph::{BuildError, Builder, Join};

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "add",
    summary: "The sum of its branches' results, element by element; they have one shape.",
    also: &["sum", "plus", "addition", "elementwiseadd", "eltwise", "residual", "shortcut", "skip"],
    args: &[],
    takes: Takes::Branches(Join::Add),
    yields: Yields::Joined,
    lower,
};

fn lower(_: &Args, build: &mut Builder) -> Result<(), BuildError> {
    build.join(Join::Add)
}
