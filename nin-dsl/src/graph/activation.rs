//! [`Activation`], the functions that make a number of the same number alone.

use super::NodeId;

/// A function of one number, without weights. Closed, as [`Op`](super::Op) is; a ReLU, which is a mask everywhere, is an op of its
/// own. Every one hands a NaN on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// `x`, but `slope * x` where `x < 0`.
    LeakyRelu {
        /// What negative numbers are multiplied by. Never negative: a value has the sign of its operand, or is zero, so
        /// that the value alone tells which gradient applies.
        slope: f64,
    },
    /// `x`, but `alpha * (exp(x) - 1)` where `x <= 0`; its gradient there is the value plus `alpha`.
    Elu {
        /// Minus what large negative numbers become. Never negative: a value has the sign of its operand, or is zero, so
        /// that the value alone tells the gradient.
        alpha: f64,
    },
    /// `min(max(x, 0), 6)`; its gradient is that of its value where `0 < x < 6`, else zero.
    Relu6,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `x / (1 + exp(-x))`; zero at minus infinity.
    Silu,
    /// `x` times the share of a normal distribution that is less than `x`: `x erfc(-x / sqrt(2)) / 2`, exact rather than by a
    /// hyperbolic tangent; zero at minus infinity.
    Gelu,
    /// `min(max(x / 6 + 1/2, 0), 1)`; its gradient is a sixth of its value's where `-3 < x < 3`, else zero.
    HardSigmoid,
    /// `x min(max(x / 6 + 1/2, 0), 1)`; zero at minus infinity. Its slope is `x / 3 + 1/2` where `-3 < x < 3`.
    HardSwish,
    /// `by x`.
    Scale {
        /// What numbers are multiplied by, of either sign, or zero.
        by: f64,
    },
}

impl Activation {
    /// What it is called: the layer's word.
    pub fn word(self) -> &'static str {
        match self {
            Activation::LeakyRelu { .. } => "leaky_relu",
            Activation::Elu { .. } => "elu",
            Activation::Relu6 => "relu6",
            Activation::Sigmoid => "sigmoid",
            Activation::Tanh => "tanh",
            Activation::Silu => "silu",
            Activation::Gelu => "gelu",
            Activation::HardSigmoid => "hard_sigmoid",
            Activation::HardSwish => "hard_swish",
            Activation::Scale { .. } => "scale",
        }
    }

    /// Its number, and what that is called, if it has one.
    pub fn number(self) -> Option<(&'static str, f64)> {
        match self {
            Activation::LeakyRelu { slope } => Some(("slope", slope)),
            Activation::Elu { alpha } => Some(("alpha", alpha)),
            Activation::Scale { by } => Some(("by", by)),
            Activation::Relu6
            | Activation::Sigmoid
            | Activation::Tanh
            | Activation::Silu
            | Activation::Gelu
            | Activation::HardSigmoid
            | Activation::HardSwish => None,
        }
    }

    /// With its operand and its number, such as `elu(%0) alpha 1`.
    pub(super) fn describe(self, operand: &str) -> String {
        let word = self.word();
        match self.number() {
            Some((name, number)) => format!("{word}({operand}) {name} {number}"),
            None => format!("{word}({operand})"),
        }
    }

    /// Checks what it promises of its number.
    pub(super) fn verify(self, id: NodeId) {
        let in_range = match self {
            Activation::LeakyRelu { slope } => slope >= 0.0 && slope.is_finite(),
            Activation::Elu { alpha } => alpha >= 0.0 && alpha.is_finite(),
            Activation::Scale { by } => by.is_finite(),
            Activation::Relu6
            | Activation::Sigmoid
            | Activation::Tanh
            | Activation::Silu
            | Activation::Gelu
            | Activation::HardSigmoid
            | Activation::HardSwish => true,
        };
        assert!(in_range, "{id}: {self:?} (a bug in nin)");
    }
}
