//! `gmp`: global maximum pooling, which says of each channel how strongly it answered anywhere.

use super::{Args, LayerSpec, Takes, Yields};
use crate::graph::{BuildError, Builder};

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "gmp",
    summary: "Global max pool: the maximum of each channel. NaN wins; the first of equals in row order takes the gradient.",
    also: &[
        "globalmaxpool",
        "globalmaxpool2d",
        "globalmaxpooling",
        "globalmaxpooling2d",
        "adaptivemaxpool2d",
    ],
    args: &[],
    takes: Takes::Map,
    yields: Yields::Vector,
    lower,
};

fn lower(_: &Args, build: &mut Builder) -> Result<(), BuildError> {
    build.global_max_pool();
    Ok(())
}
