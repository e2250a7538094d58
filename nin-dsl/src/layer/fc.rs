//! `fc(n, bias = 1)`: a fully connected layer.

use super::{Arg, Args, Default, Kind, LayerSpec, Takes, Yields, common};
use crate::graph::{BuildError, Builder};

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "fc",
    summary: "Flattens its input in channel, row, column order and multiplies it by a matrix.",
    also: &["dense", "linear", "fullyconnected", "innerproduct"],
    args: &[
        Arg {
            name: "n",
            key: "n",
            also: &["units", "outfeatures", "numoutput", "c", "channels"],
            kind: Kind::Positive,
            default: Default::Required,
            doc: "outputs",
        },
        common::BIAS,
    ],
    takes: Takes::Any,
    yields: Yields::Vector,
    lower,
};

fn lower(args: &Args, build: &mut Builder) -> Result<(), BuildError> {
    build.fully_connected(args.size("n"), args.switch("bias"))
}
