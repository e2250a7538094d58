//! Activations: each as its definition has it, its gradient, and where that jumps.

use ndarray::NdFloat;
use nin_dsl::graph::Activation;

use super::number;

/// The value of a number.
pub(super) fn value<T: NdFloat>(activation: Activation, x: T) -> T {
    match activation {
        Activation::LeakyRelu { slope } => {
            if x < T::zero() {
                x * number(slope)
            } else {
                x
            }
        }
        Activation::Elu { alpha } => {
            if x <= T::zero() {
                x.exp_m1() * number(alpha)
            } else {
                x
            }
        }
    }
}

/// The gradient of a number, from that of its value and what the rule reads besides.
pub(super) fn grad<T: NdFloat>(activation: Activation, grad: T, saved: T) -> T {
    match activation {
        Activation::LeakyRelu { slope } => {
            if saved > T::zero() {
                grad
            } else {
                grad * number(slope)
            }
        }
        // A NaN is not greater than zero, and stays.
        Activation::Elu { alpha } => {
            if saved > T::zero() {
                grad
            } else {
                grad * (saved + number(alpha))
            }
        }
    }
}

/// The operands at which the gradient jumps.
pub(super) fn jumps(activation: Activation) -> &'static [f64] {
    match activation {
        // With an alpha of 1 its gradient does not jump.
        Activation::Elu { alpha: 1.0 } => &[],
        Activation::LeakyRelu { .. } | Activation::Elu { .. } => &[0.0],
    }
}
