//! Activations: each as its definition has it, its gradient, and where that jumps.

use ndarray::{Array4, ArrayView1, ArrayView4, NdFloat};
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
        Activation::Relu6 => clipped(x, 6.0),
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
        Activation::Silu | Activation::Gelu | Activation::HardSwish if x == T::neg_infinity() => {
            T::zero()
        }
        Activation::Silu => x * sigmoid(x),
        Activation::Gelu => x * share_below(x),
        Activation::HardSigmoid => hard_sigmoid(x),
        Activation::HardSwish => x * hard_sigmoid(x),
        Activation::Scale { by } => x * number(by),
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
        Activation::Relu6 => within(saved, [0.0, 6.0], grad),
        Activation::Sigmoid => grad * saved * (T::one() - saved),
        Activation::Tanh => grad * (T::one() - saved * saved),
        Activation::Silu => {
            let share = sigmoid(saved);
            grad * share * (T::one() + saved * (T::one() - share))
        }
        Activation::Gelu => {
            let density =
                (saved * saved / number(-2.0)).exp() / number(std::f64::consts::TAU.sqrt());
            grad * (share_below(saved) + saved * density)
        }
        Activation::HardSigmoid => within(saved, [0.0, 1.0], grad / number(6.0)),
        Activation::HardSwish => {
            if saved >= number(3.0) {
                grad
            } else if saved <= number(-3.0) {
                T::zero()
            } else {
                grad * (saved / number(3.0) + number(0.5))
            }
        }
        Activation::Scale { by } => grad * number(by),
    }
}

/// The operands at which the gradient jumps.
pub(super) fn jumps(activation: Activation) -> &'static [f64] {
    match activation {
        // With an alpha of 1 its gradient does not jump.
        Activation::Elu { alpha: 1.0 } => &[],
        Activation::LeakyRelu { .. } | Activation::Elu { .. } => &[0.0],
        Activation::Relu6 => &[0.0, 6.0],
        Activation::HardSigmoid | Activation::HardSwish => &[-3.0, 3.0],
        Activation::Sigmoid
        | Activation::Tanh
        | Activation::Silu
        | Activation::Gelu
        | Activation::Scale { .. } => &[],
    }
}

/// A number, but not less than zero and not more than `most`. A NaN is neither, and stays.
fn clipped<T: NdFloat>(x: T, most: f64) -> T {
    if x < T::zero() {
        T::zero()
    } else if x > number(most) {
        number(most)
    } else {
        x
    }
}

/// A gradient where the value lies between two numbers, else zero.
fn within<T: NdFloat>(value: T, [low, high]: [f64; 2], grad: T) -> T {
    if value > number(low) && value < number(high) { grad } else { T::zero() }
}

fn sigmoid<T: NdFloat>(x: T) -> T {
    T::one() / (T::one() + (-x).exp())
}

fn hard_sigmoid<T: NdFloat>(x: T) -> T {
    clipped(x + number(3.0), 6.0) / number(6.0)
}

/// The share of a normal distribution that is less than a number.
fn share_below<T: NdFloat>(x: T) -> T {
    let x = x.to_f64().expect("a float is a float");
    number::<T>(libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2) / 2.0)
}

/// `x`, but its channel's slope times `x` where `x < 0`.
pub(super) fn prelu<T: NdFloat>(slope: ArrayView1<'_, T>, x: ArrayView4<'_, T>) -> Array4<T> {
    let mut y = x.to_owned();
    for ((_, c, _, _), y) in y.indexed_iter_mut() {
        *y = if *y < T::zero() { *y * slope[c] } else { *y };
    }
    y
}

/// The gradient of its operand.
pub(super) fn prelu_grad<T: NdFloat>(
    slope: ArrayView1<'_, T>,
    x: ArrayView4<'_, T>,
    grad: ArrayView4<'_, T>,
) -> Array4<T> {
    let mut scaled = grad.to_owned();
    for ((n, c, h, w), grad) in scaled.indexed_iter_mut() {
        *grad = if x[[n, c, h, w]] > T::zero() { *grad } else { *grad * slope[c] };
    }
    scaled
}

/// What each number adds to the gradient of its channel's slope.
pub(super) fn slope_grad<T: NdFloat>(x: ArrayView4<'_, T>, grad: ArrayView4<'_, T>) -> Array4<T> {
    let mut parts = grad.to_owned();
    parts.zip_mut_with(&x, |grad, &x| *grad = if x > T::zero() { T::zero() } else { *grad * x });
    parts
}
