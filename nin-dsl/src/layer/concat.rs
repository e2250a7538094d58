//! `concat < A > < B > ...`: the channels of what branches leave, one branch's after the other's.

use super::{Args, LayerSpec, Takes, Yields};
use crate::graph::{BuildError, Builder, Join};

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "concat",
    summary: "The channels of its branches' results, one branch's after the other's; they are maps of one height and width, or vectors.",
    also: &["cat", "concatenate", "concatenation", "depthconcat", "filterconcat"],
    args: &[],
    takes: Takes::Branches(Join::Concat),
    yields: Yields::Joined,
    lower,
};

fn lower(_: &Args, build: &mut Builder) -> Result<(), BuildError> {
    build.join(Join::Concat)
}
