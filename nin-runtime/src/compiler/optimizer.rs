//! [`Optimizer`]: how weights follow their gradients.
//!
//! A rule's arithmetic is generated code ([`Update`]); what changes from step to step alone is worked out here, in double
//! precision.

use serde::{Deserialize, Serialize};

use crate::Hyper;
use crate::compiler::abi::Coefficients;
use crate::compiler::kernel::Update;

/// A rule, and the settings of its own. Learning rate, momentum and weight decay are set for each weight ([`Hyper`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Optimizer {
    /// `v = momentum v + (g + decay w)`, `w = w - lr v`.
    #[default]
    Sgd,
    /// The same `v`, but looked ahead: `w = w - lr (g + decay w + momentum v)` (Nesterov's momentum).
    Nesterov,
    /// `w = w - lr m / (sqrt(s) + epsilon)` with `m` and `s` the running means, corrected for their start at zero, of
    /// `g + decay w` and of its square (Kingma and Ba, 2015). Momentum is the share of `m` that stays.
    Adam(Squares),
    /// Adam without decay in the gradient: `w` shrinks by `lr decay w` instead (Loshchilov and Hutter, 2019).
    AdamW(Squares),
}

/// How Adam keeps the squares of gradients.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Squares {
    /// Share of the running mean that stays from step to step.
    pub squares: f64,
    /// What is added to the root, so that no gradient at all is no division by zero.
    pub epsilon: f64,
}

impl Default for Squares {
    fn default() -> Squares {
        Squares { squares: 0.999, epsilon: 1e-8 }
    }
}

impl Optimizer {
    /// The generated rule.
    pub(crate) fn update(self) -> Update {
        match self {
            Optimizer::Sgd => Update::Momentum,
            Optimizer::Nesterov => Update::Nesterov,
            Optimizer::Adam(_) | Optimizer::AdamW(_) => Update::Adam,
        }
    }

    /// Whether squares of gradients are kept.
    pub(crate) fn keeps_squares(self) -> bool {
        self.update() == Update::Adam
    }

    /// The coefficients of a weight's settings at `step`, from 0.
    pub(crate) fn coefficients(self, hyper: Hyper, step: u64) -> Coefficients {
        let Hyper { lr, momentum, decay } = hyper;
        let (Squares { squares, epsilon }, decoupled) = match self {
            Optimizer::Sgd | Optimizer::Nesterov => {
                let [shrink, square_rate, epsilon] = [0.0; 3];
                return Coefficients { lr, momentum, decay, shrink, square_rate, epsilon };
            }
            Optimizer::Adam(squares) => (squares, false),
            Optimizer::AdamW(squares) => (squares, true),
        };
        // Generated code counts with rounded shares. Running means that began at zero are too small by these factors.
        let square_rate = squares as f32;
        let done = (step + 1) as f64;
        let mean = 1.0 - f64::from(momentum).powf(done);
        let root = (1.0 - f64::from(square_rate).powf(done)).sqrt();
        Coefficients {
            lr: (f64::from(lr) * root / mean) as f32,
            momentum,
            decay: if decoupled { 0.0 } else { decay },
            shrink: if decoupled { lr * decay } else { 0.0 },
            square_rate,
            epsilon: (epsilon * root) as f32,
        }
    }
}
