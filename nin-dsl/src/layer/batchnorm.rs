//! `batchnorm(eps = 1e-5, momentum = 0.1, ghost = 0)`: each channel to mean 0 and variance 1 over the batch, then scaled and
//! shifted (Ioffe & Szegedy, 2015); or over groups of its images (Hoffer, Hubara & Soudry, 2017).

use super::{Arg, Args, Default, Kind, LayerSpec, Takes, Yields};
use crate::graph::{BuildError, Builder};

pub(super) const LAYER: LayerSpec = LayerSpec {
    word: "batchnorm",
    summary: "Each channel to mean 0 and variance 1, then times a trained scale plus a trained shift: by the statistics of \
              the whole batch in training, or of each group of images of it, by the running ones at inference.",
    also: &["batchnorm2d", "batchnorm1d", "batchnormalization", "bn"],
    args: &[
        Arg {
            name: "eps",
            key: "eps",
            also: &["epsilon"],
            kind: Kind::Eps,
            default: Default::Real(1e-5),
            doc: "added to the variance",
        },
        Arg {
            name: "momentum",
            key: "momentum",
            also: &["decay", "rho"],
            kind: Kind::Share,
            default: Default::Real(0.1),
            doc: "running = (1 - momentum) * running + momentum * batch, with the unbiased variance; a channel of one number, \
                  which has none, moves nothing",
        },
        Arg {
            name: "ghost",
            key: "ghost",
            also: &["ghostbatch", "ghostbatchsize", "virtualbatchsize", "group", "groupsize"],
            kind: Kind::Group,
            default: Default::Whole(0),
            doc: "images of a group, counted from the start of the batch; a last group of fewer than half as many joins the one \
                  before it, and each group moves the running statistics in turn; 0 makes the whole batch one group",
        },
    ],
    takes: Takes::Any,
    yields: Yields::Same,
    lower,
};

fn lower(args: &Args, build: &mut Builder) -> Result<(), BuildError> {
    build.batch_norm([args.real("eps"), args.real("momentum")], args.size("ghost"))
}
