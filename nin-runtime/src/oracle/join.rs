//! Joins: sums, channels one after the other, products.

use std::ops::Range;

use ndarray::{Array4, ArrayView4, Axis, NdFloat, concatenate, s};

/// The sum of values, in their order.
pub(super) fn add<T: NdFloat>(inputs: &[ArrayView4<'_, T>]) -> Array4<T> {
    let first = inputs[0].to_owned();
    inputs[1..].iter().fold(first, |sum, input| sum + input)
}

/// The channels of values, one value's after the other's.
pub(super) fn concat<T: NdFloat>(inputs: &[ArrayView4<'_, T>]) -> Array4<T> {
    concatenate(Axis(1), inputs).expect("maps that are joined are of one size")
}

/// The gradient of some channels of a map.
pub(super) fn concat_grad<T: NdFloat>(
    grad: ArrayView4<'_, T>,
    channels: Range<usize>,
) -> Array4<T> {
    grad.slice(s![.., channels, .., ..]).to_owned()
}

/// The product of values, in their order; one of a pixel stands for all pixels.
pub(super) fn multiply<T: NdFloat>(factors: &[ArrayView4<'_, T>]) -> Array4<T> {
    let largest = factors.iter().max_by_key(|factor| factor.len()).expect("there are factors");
    let ones = Array4::ones(largest.raw_dim());
    factors.iter().fold(ones, |product, factor| product * factor)
}

/// The gradient of a factor with these rows and columns, from the other factors.
pub(super) fn multiply_grad<T: NdFloat>(
    grad: ArrayView4<'_, T>,
    others: &[ArrayView4<'_, T>],
    pixels: (usize, usize),
) -> Array4<T> {
    let whole = others.iter().fold(grad.to_owned(), |product, factor| product * factor);
    let (_, _, height, width) = whole.dim();
    if (height, width) == pixels {
        return whole;
    }
    let sums = whole.sum_axis(Axis(3)).sum_axis(Axis(2));
    sums.insert_axis(Axis(2)).insert_axis(Axis(3))
}
