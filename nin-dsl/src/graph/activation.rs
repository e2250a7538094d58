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
}

impl Activation {
    /// What it is called: the layer's word.
    pub fn word(self) -> &'static str {
        match self {
            Activation::LeakyRelu { .. } => "leaky_relu",
            Activation::Elu { .. } => "elu",
        }
    }

    /// Its number, and what that is called, if it has one.
    pub fn number(self) -> Option<(&'static str, f64)> {
        match self {
            Activation::LeakyRelu { slope } => Some(("slope", slope)),
            Activation::Elu { alpha } => Some(("alpha", alpha)),
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
        };
        assert!(in_range, "{id}: {self:?} (a bug in nin)");
    }
}
