//! The table of diagnostic codes: number, severity, title and long explanation, each stated once.
//!
//! A code keeps its number for good: people search for it, and tests and tools match on it.

use std::fmt;
use std::str::FromStr;

/// How bad a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The model means something, perhaps not what was meant.
    Warning,
    /// There is no model.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// The whole table in one list, from which the enum and its four columns follow.
macro_rules! codes {
    ($($number:ident $variant:ident $severity:ident $title:literal $explanation:literal)*) => {
        /// What a diagnostic is about. Prints as its number, such as `N010`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = concat!("`", stringify!($number), "`: ", $title, ".")] $variant,)*
        }

        impl Code {
            /// Every code, in order of number.
            pub const ALL: &[Code] = &[$(Code::$variant),*];

            /// The stable number, such as `N010`.
            pub fn number(self) -> &'static str {
                match self { $(Code::$variant => stringify!($number),)* }
            }

            /// Error or warning.
            pub fn severity(self) -> Severity {
                match self { $(Code::$variant => Severity::$severity,)* }
            }

            /// A few words that hold for every diagnostic with this code.
            pub fn title(self) -> &'static str {
                match self { $(Code::$variant => $title,)* }
            }

            /// The long form, for `nin explain`: plain text in paragraphs.
            pub fn explanation(self) -> &'static str {
                match self { $(Code::$variant => $explanation.trim_ascii(),)* }
            }
        }
    };
}

codes! {
N001 Syntax Error "text that is not a model" "
A model is a chain of layers between `<` and `>`, usually with a name and parameters before it:

    model Small(width = 16) <
        input(1, 28, 28)
        mlpconv(width, 10, kernel = 5)
        gap
        softmax
    >

Arguments stand in parentheses, separated by commas: first those without a name, then `name = value`. The message says
what could have come at the marked place. Only the first such error of a text is reported, since what follows it is
guesswork.

Names are made of `a` to `z`, `A` to `Z`, `0` to `9` and `_`, and begin with no digit; comments may hold any letters. What
separates words is a blank, a tab or the end of a line: blanks of other kinds, such as those that web pages and word
processors put in their place, are named in the message, and so are characters that nobody can see.
"
N002 BadNumber Error "a malformed number" "
Numbers are written `12`, `0.5` or `1e-5`: digits on both sides of the point, and no suffix, prefix or separator
(`12u32`, `0x10` and `1_000` are not numbers here). Whole numbers fit 64 bits; real ones are finite.
"
N003 Reserved Error "a reserved word" "
The layers' words, `model`, `block`, `repeat`, `pub`, `ceil`, `floor` and `same` mean something already and cannot name a
model, a block or a parameter; neither can `_`, `self`, `Self`, `super` and `crate`, which are no names in Rust.
"
N004 MisplacedDoc Error "a doc comment that documents nothing" "
Doc comments (`///` and `/** */`) stand before `model` and `block` and nowhere else; `//!` and `/*! */` have no place in a model.
Write `//` or `/* */` for an ordinary comment.
"
N005 UnterminatedComment Error "a comment without an end" "
A comment that begins with `/*` ends with `*/`. Comments nest: inside one, each further `/*` needs a `*/` of its own.
"
N006 NestedTooDeep Error "nesting too deep" "
At most 64 brackets or comments may stand inside one another. The same limit holds for blocks, repetitions and branches as
they expand: a block that uses a block that uses a block, and so on.
"
N007 NotOneModel Error "not exactly one model" "
A file holds exactly one model, `model NAME < ... >`, or one bare chain `< ... >`, and any number of blocks. Put a second
model in a file of its own.
"
N010 UnknownLayer Error "a layer that does not exist" "
The message names the layer that was probably meant, or lists them all. Words of other systems have their equals: `conv2d`
is `conv`, `dense` and `linear` are `fc`, `maxpool2d` is `maxpool`, `globalavgpool` is `gap`, `globalmaxpool` is `gmp`; `flatten` is not
needed, since `fc` flattens. The blocks of the same text are used as layers are.
"
N011 UnknownArgument Error "an argument that does not exist" "
Each layer has its own arguments, and each block has its parameters. The message lists those of the one in question.
"
N012 DuplicateArgument Error "an argument given twice" "
An argument is given once: by its position or by its name.
"
N013 MissingArgument Error "an argument is missing" "
Arguments without a default must be given: `input` needs channels, height and width, a convolution its channels, a pool
its kernel, `dropout` its probability, `fc` its number of outputs, and a block its parameters without a default.
"
N014 TooManyArguments Error "too many arguments" "
The layer or block takes fewer arguments than were given by position.
"
N015 PositionalAfterNamed Error "an argument without a name after one with a name" "
Arguments given by position come first: `conv(64, kernel = 5)`, not `conv(kernel = 5, 64)`.
"
N020 UnknownParameter Error "a parameter that does not exist" "
A name in a value is one of the model's parameters, which stand in its head: `model Net(width = 96) < ... >`. A bare
chain has none. Inside a block it is one of the block's own: give it what it needs, as in `stage(width)` for
`block stage(channels) < ... >`.
"
N021 UnusedParameter Error "a parameter that is never used" "
Giving it another value would change nothing, which is never meant. Use the parameter in the chain, or remove it from the
head.
"
N022 DuplicateParameter Error "two parameters of one name" "
Each parameter of a model or a block has a name of its own, since that is how it is given another value. Rename one of
the two, or remove it.
"
N023 UnknownOverride Error "an override for no parameter" "
Only a parameter of the model can be given another value. The message lists those the model has.
"
N024 DefaultNotConstant Error "a default that is not a constant" "
A parameter's default is a number, or arithmetic over numbers; it cannot use another parameter.
"
N025 RecursiveBlock Error "a block that uses itself" "
A block stands for its chain, so a block that contains itself, directly or by way of others, would never end. To stack a
chain, write `repeat(n) < ... >`, or use the block several times.
"
N026 DuplicateBlock Error "two blocks of one name" "
Each block of a text has a name of its own, by which chains use it. Rename one of the two, or remove it; one that
differs only in a number can take that number as a parameter.
"
N030 OutOfRange Error "a value out of range" "
Channels, kernels, strides and repetitions are at least 1, a dropout's probability is at least 0 and below 1, `bias` is 0 or 1, a
pool's padding is at most half its kernel (so that every window holds a real pixel), a `leaky_relu`'s slope, an
`elu`'s alpha and an `lrn`'s alpha and beta are not negative, an `lrn`'s size is odd and its k positive, a
`batchnorm`'s groups have no images (then the whole batch is one) or at least 2, and nothing exceeds 2^28,
of either sign.
"
N031 WrongKind Error "a value of the wrong kind" "
Some arguments are whole numbers, some real, some one of a few words (`round = ceil`, `pad = same`). Sizes of windows are one
number, or one for each axis, `kernel = (1, 7)`, vertical before horizontal; padding may also be one for each side,
`pad = (0, 1, 0, 1)`: top, left, bottom, right. A parameter is whole
or real as its default is: `width = 96` is whole and takes no `0.5`; write a default of `1.0` for a real parameter.
"
N032 Arithmetic Error "arithmetic without a result" "
The value overflows 64 bits or divides by zero. Whole numbers divide as in Rust: `7 / 2` is 3, `1 / 2` is 0.
"
N033 EvenSame Error "`pad = same` with an even kernel" "
`pad = same` pads every side by (kernel - 1) / 2, so that with a stride of 1 the output is as large as the input. That
is a whole number only if the kernel is odd on both axes. Use an odd kernel, or give the padding as a number. A dilation of d
pads d times as much.
"
N040 NoInput Error "a chain that does not begin with `input`" "
The first layer says what the model reads: `input(channels, height, width)`, for instance `input(3, 32, 32)`.
"
N041 SecondInput Error "an `input` that is not first" "
A model reads one input, and `input` is its first layer.
"
N042 WindowTooLarge Error "a window larger than its padded input" "
A kernel of size k fits an input of size n with padding p if k <= n + 2p; with a dilation of d it is d * (k - 1) + 1 pixels wide. Otherwise not even one window fits, and the
output would be empty. Earlier pools and strides have usually shrunk the input too far: use fewer, or a smaller kernel.
"
N043 AfterSoftmax Error "a layer after `softmax`" "
`softmax` turns scores into probabilities and ends the model: training fuses it with the cross entropy.
"
N044 SoftmaxOnMap Error "`softmax` over a map" "
`softmax` needs one score a class, a vector. Reduce the map before it: `gap` averages each channel (the way of Network
In Network, with one channel a class), `fc(classes)` flattens and multiplies.
"
N045 SpatialOnVector Error "a spatial layer over a vector" "
Convolutions and pools slide over height and width, which `gap`, `gmp` and `fc` have removed. Put them before, or use `fc`.
"
N046 TooLarge Error "a model over the size limits" "
A model has at most 2^28 numbers in one activation of one image, 2^28 parameters, 10,000 layers, 10,000 uses of blocks,
repetitions and branches, 1,000 blocks, 256 parameters in one head, 128 bytes in one name and 4 MiB of text.
"
N047 Groups Error "groups that do not divide the channels" "
A convolution in groups gives each of them an equal share of the input's channels and of its own: the number of groups divides
both. With `groups` equal to the input's channels each is by itself; `depthwise` is that, whatever the input has.
"
N050 NoBranches Error "branches of a word that takes none" "
A chain behind a layer is one of its branches, and only `add`, `concat` and `mul` take any. The layers of one chain follow
one another without `<` and `>`: `conv(8) relu`, not `conv(8) < relu >`. A block takes no branches either: put the join into
the block.
"
N051 TooFewBranches Error "fewer than two branches" "
A layer that joins has two branches or more, each a chain that reads what the layer stands after:

    add < conv(16) batchnorm > < >

The empty chain `< >` is a branch that leaves what it reads as it is: the shortcut of a residual network.
"
N052 BranchShapes Error "branches that do not go together" "
`add` takes branches that leave one shape, `concat` maps of one height and width or else vectors, and `mul` one shape, where
a vector or a map of 1x1 may stand in for a map of as many channels and scales each of them.

Where a branch halves the height and width or changes the number of channels, the branch beside it must do so too. For an
empty one that is a convolution to as many channels with a kernel of 1 and the same stride: the message says which.
"
N053 EndInBranch Error "`input` or `softmax` in a branch" "
A model reads one input and ends once. `input` stands first and `softmax` last in the model's own chain; every branch
reads what its layer stands after, and what branches leave goes on behind the layer.
"
N060 DroppedPixels Warning "rows or columns that no window reads" "
With `round = floor`, the default, a pool reads only whole windows: if the stride does not divide what is left, the last
rows and columns are dropped. `round = ceil` covers them with a clipped window, as the networks of the paper do. Write
either one to say which is meant; that silences the warning.
"
N061 DropoutLast Warning "dropout as the last layer" "
Dropout zeroes some of its inputs at random in training. At the end of a model it zeroes the model's own scores, and the
loss with them. Put it before the last convolution or `fc`.
"
N062 UnusedBlock Warning "a block that is never used" "
The model does not use the block, not even by way of another one, so that it changes nothing. Use it or remove it.
"
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.number())
    }
}

/// A text that is no code's number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownCode(pub String);

impl fmt::Display for UnknownCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (Code::ALL[0], Code::ALL[Code::ALL.len() - 1]);
        write!(f, "`{}` is no diagnostic's code; they run from {first} to {last}", self.0)
    }
}

impl std::error::Error for UnknownCode {}

impl FromStr for Code {
    type Err = UnknownCode;

    /// Reads a code's number, in either case.
    fn from_str(text: &str) -> Result<Code, UnknownCode> {
        let same = |code: &&Code| code.number().eq_ignore_ascii_case(text);
        Code::ALL.iter().find(same).copied().ok_or_else(|| UnknownCode(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_sorted_and_read_back() {
        assert!(Code::ALL.is_sorted_by(|a, b| a.number() < b.number()));
        for &code in Code::ALL {
            assert_eq!(code.number().to_lowercase().parse(), Ok(code));
            assert!(!code.explanation().is_empty(), "{code}");
        }
        assert!("N999".parse::<Code>().is_err());
    }
}
