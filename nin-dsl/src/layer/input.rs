//! `input(c, h, w)`: what the model reads.

use super::{Arg, Args, Default, Kind, LayerSpec, Takes, Yields};
use crate::graph::{BuildError, Builder};

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "input",
    summary: "The image a model reads: channels, height and width. Exactly once, first.",
    also: &["inputs", "data", "inputlayer", "placeholder"],
    args: &[
        dimension("c", "channels of an image"),
        dimension("h", "height of an image"),
        dimension("w", "width of an image"),
    ],
    takes: Takes::Nothing,
    yields: Yields::Map,
    lower,
};

const fn dimension(name: &'static str, doc: &'static str) -> Arg {
    let (kind, default) = (Kind::Positive, Default::Required);
    Arg { name, key: name, also: &[], kind, default, doc }
}

fn lower(args: &Args, build: &mut Builder) -> Result<(), BuildError> {
    build.input(args.size("c"), args.size("h"), args.size("w"))
}
