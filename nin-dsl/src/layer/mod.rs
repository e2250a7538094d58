//! The layers. A layer is a word, its arguments, what shapes it takes and yields, and how it lowers to ops; its facts
//! follow from the ops. Each has a file of its own and a place in [`LAYERS`], and nothing else names it.

pub(crate) mod args;

mod add;
mod avgpool;
mod batchnorm;
mod concat;
mod conv;
mod depthwise;
mod dropout;
mod elu;
mod fc;
mod gap;
mod gelu;
mod gmp;
mod hard_sigmoid;
mod hard_swish;
mod input;
mod leaky_relu;
mod lrn;
mod maxpool;
mod mlpconv;
mod mul;
mod prelu;
mod relu;
mod relu6;
mod scale;
mod sigmoid;
mod silu;
mod softmax;
mod tanh;

pub(crate) use args::Args;

use crate::graph::{BuildError, Builder, Join};

/// Every layer, in the order of the language reference.
pub const LAYERS: &[&LayerSpec] = &[
    &input::LAYER,
    &conv::LAYER,
    &depthwise::LAYER,
    &mlpconv::LAYER,
    &maxpool::LAYER,
    &avgpool::LAYER,
    &dropout::LAYER,
    &relu::LAYER,
    &leaky_relu::LAYER,
    &elu::LAYER,
    &relu6::LAYER,
    &sigmoid::LAYER,
    &tanh::LAYER,
    &silu::LAYER,
    &gelu::LAYER,
    &hard_sigmoid::LAYER,
    &hard_swish::LAYER,
    &prelu::LAYER,
    &scale::LAYER,
    &batchnorm::LAYER,
    &lrn::LAYER,
    &gap::LAYER,
    &gmp::LAYER,
    &fc::LAYER,
    &add::LAYER,
    &concat::LAYER,
    &mul::LAYER,
    &softmax::LAYER,
];

/// Words of other systems for what needs no layer here, and why.
pub(crate) const NEEDLESS: &[(&str, &str)] =
    &[("flatten", "`fc` flattens its input by itself: leave `flatten` out")];

/// A layer of the language.
#[derive(Debug)]
pub struct LayerSpec {
    /// Its word.
    pub word: &'static str,
    /// One sentence of reference.
    pub summary: &'static str,
    /// What other systems call it, in lower case without underscores: for "did you mean".
    pub also: &'static [&'static str],
    /// Its arguments, in order of position.
    pub args: &'static [Arg],
    /// What it can stand after.
    pub takes: Takes,
    /// What kind of shape it leaves.
    pub yields: Yields,
    /// Appends its ops. The arguments are complete and in range, and the shape is one it takes; branches have been appended,
    /// and their shapes go together.
    pub(crate) lower: fn(&Args, &mut Builder) -> Result<(), BuildError>,
}

impl LayerSpec {
    /// How it joins branches, if it takes any.
    pub fn join(&self) -> Option<Join> {
        match self.takes {
            Takes::Branches(join) => Some(join),
            Takes::Nothing | Takes::Map | Takes::Vector | Takes::Any => None,
        }
    }

    /// A call as the language reference has it: `conv(c, kernel = 3, ...)`.
    pub fn usage(&self) -> String {
        let args = self.args.iter().map(|arg| match arg.default {
            Default::Required if arg.kind == Kind::ChannelList => "c1, c2, ...".to_owned(),
            Default::Required => arg.name.to_owned(),
            Default::Whole(n) => format!("{} = {n}", arg.name),
            Default::Real(x) => format!("{} = {x:?}", arg.name),
            Default::Word(word) => format!("{} = {word}", arg.name),
            Default::Of("kernel") => format!("{} = k", arg.name),
            Default::Of(key) => format!("{} = {key}", arg.name),
        });
        match self.args {
            [] if self.join().is_some() => format!("{} < ... > < ... >", self.word),
            [] => self.word.to_owned(),
            _ => format!("{}({})", self.word, args.collect::<Vec<_>>().join(", ")),
        }
    }
}

/// What a layer can stand after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing: it begins the chain.
    Nothing,
    /// Channels x height x width.
    Map,
    /// A vector.
    Vector,
    /// A map or a vector.
    Any,
    /// Two branches or more, which may stand after anything.
    Branches(Join),
}

/// What kind of shape a layer leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yields {
    /// The shape it read.
    Same,
    /// A map.
    Map,
    /// A vector.
    Vector,
    /// A vector that no layer may follow.
    End,
    /// What its branches leave: a map if any of them leaves one.
    Joined,
}

/// An argument of a layer.
#[derive(Clone, Copy, Debug)]
pub struct Arg {
    /// Its name in a model.
    pub name: &'static str,
    /// Its name once resolved, in [`crate::graph::Layer::args`]; it may be written in a model, too.
    pub key: &'static str,
    /// What other systems call it, in lower case without underscores: for "did you mean".
    pub also: &'static [&'static str],
    /// The values it takes.
    pub kind: Kind,
    /// Its value where none is written.
    pub default: Default,
    /// A phrase of reference.
    pub doc: &'static str,
}

/// The values an argument takes. Numbers go up to [`crate::limits::ACTIVATION_ELEMENTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number from 1; resolved to a list of one.
    Channels,
    /// All arguments given by position, at least one, each a whole number from 1; resolved to a list.
    ChannelList,
    /// A whole number from 1.
    Positive,
    /// A size of a window: a whole number from 1, or one for each axis.
    Sides,
    /// Whole numbers from 0, one for all sides, one for each axis or one for each side, or `same`: dilation * (kernel - 1) / 2,
    /// for an odd kernel. Resolved to numbers.
    Padding,
    /// Whole numbers from 0 to half the kernel, one for all sides, one for each axis or one for each side.
    PoolPadding,
    /// `floor` or `ceil`; resolved to 0 or 1.
    Rounding,
    /// `real` or `window`; resolved to 0 or 1.
    Counting,
    /// 0 or 1.
    Switch,
    /// A real number from 0, below 1.
    Probability,
    /// A real number of either sign.
    Real,
    /// A real number from 0.
    NonNegative,
    /// What keeps a divisor away from 0: a real number from [`crate::limits::LEAST_EPS`] to 1.
    Eps,
    /// A real number from 0 to 1.
    Share,
    /// 0, or a whole number from 2: one alone is no group.
    Group,
    /// An odd whole number from 1.
    Odd,
    /// What a sum starts from that must be positive: a real number from [`crate::limits::LEAST_EPS`].
    Start,
}

/// An argument's value where none is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Default {
    /// There is none.
    Required,
    /// A whole number.
    Whole(i64),
    /// A real number.
    Real(f64),
    /// One of the words `same floor ceil real`.
    Word(&'static str),
    /// That of an earlier argument.
    Of(&'static str),
}

/// The layer with this word.
pub fn find(word: &str) -> Option<&'static LayerSpec> {
    LAYERS.iter().find(|layer| layer.word == word).copied()
}

/// A word as [`LayerSpec::also`] spells it: `max_pool2D` is `maxpool2d`.
pub(crate) fn plain(word: &str) -> String {
    word.to_lowercase().replace('_', "")
}

/// The arguments that several layers share.
mod common {
    use super::{Arg, Default, Kind};

    pub(super) const CHANNELS: Arg = Arg {
        name: "c",
        key: "channels",
        also: &["filters", "outchannels", "numoutput", "features"],
        kind: Kind::Channels,
        default: Default::Required,
        doc: "output channels",
    };
    pub(super) const KERNEL: Arg = Arg {
        name: "kernel",
        key: "kernel",
        also: &["k", "kernelsize", "size"],
        kind: Kind::Sides,
        default: Default::Whole(3),
        doc: "kernel height and width",
    };
    pub(super) const STRIDE: Arg = Arg {
        name: "stride",
        key: "stride",
        also: &["s", "strides"],
        kind: Kind::Sides,
        default: Default::Whole(1),
        doc: "pixels from one window to the next",
    };
    pub(super) const DILATION: Arg = Arg {
        name: "dilation",
        key: "dilation",
        also: &["d", "dilations", "dilationrate", "rate"],
        kind: Kind::Sides,
        default: Default::Whole(1),
        doc: "pixels from one tap of the kernel to the next",
    };
    pub(super) const PAD: Arg = Arg {
        name: "pad",
        key: "pad",
        also: &["p", "padding"],
        kind: Kind::Padding,
        default: Default::Word("same"),
        doc: "zero pixels around the map",
    };
    pub(super) const BIAS: Arg = Arg {
        name: "bias",
        key: "bias",
        also: &["usebias", "biasterm"],
        kind: Kind::Switch,
        default: Default::Whole(1),
        doc: "whether a bias is added",
    };
    pub(super) const POOL: &[Arg] = &[
        Arg { name: "k", default: Default::Required, ..KERNEL },
        Arg { default: Default::Of("kernel"), ..STRIDE },
        Arg {
            kind: Kind::PoolPadding,
            default: Default::Whole(0),
            doc: "pixels around the map that no value is made of",
            ..PAD
        },
        Arg {
            name: "round",
            key: "ceil",
            also: &["ceilmode", "rounding"],
            kind: Kind::Rounding,
            default: Default::Word("floor"),
            doc: "how an output size is rounded",
        },
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order() {
        for layer in LAYERS {
            assert_eq!(find(layer.word).map(|found| found.word), Some(layer.word));
            for (i, arg) in layer.args.iter().enumerate() {
                let earlier = &layer.args[..i];
                let known = |key| earlier.iter().any(|arg| arg.key == key);
                assert!(!known(arg.key), "{} twice in {}", arg.key, layer.word);
                if let Default::Of(key) = arg.default {
                    assert!(known(key), "{}: {key} resolves before {}", layer.word, arg.key);
                }
                if matches!(arg.kind, Kind::Padding | Kind::PoolPadding) {
                    assert!(known("kernel"), "{}: padding needs a kernel", layer.word);
                }
                assert!(arg.kind != Kind::ChannelList || i == 0, "a list comes first");
            }
            let joins = layer.join().is_some();
            assert_eq!(joins, layer.yields == Yields::Joined, "{}", layer.word);
            assert!(!joins || layer.args.is_empty(), "{}: see `usage`", layer.word);
        }
    }
}
