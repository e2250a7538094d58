//! Batch normalisation: statistics of a batch or of groups of its images, its forward pass, and the gradients of scale and operand.

use std::ops::Range;

use ndarray::{
    Array1, Array2, Array4, ArrayView1, ArrayView2, ArrayView4, Axis, NdFloat, concatenate, s,
};

use super::{count, number};

/// The images of each group, of so many; all are one if a group has 0.
pub(super) fn groups(images: usize, ghost: usize) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let size = if ghost == 0 { images } else { ghost };
    for first in (0..images).step_by(size) {
        let end = images.min(first + size);
        match groups.last_mut() {
            Some(before) if 2 * (end - first) < size => before.end = end,
            _ => groups.push(first..end),
        }
    }
    groups
}

/// Mean and biased variance of each channel, two rows for each group, `[2 groups, C]`.
pub(super) fn statistics<T: NdFloat>(x: ArrayView4<'_, T>, ghost: usize) -> Array2<T> {
    let groups = groups(x.dim().0, ghost);
    let mut statistics = Array2::zeros((2 * groups.len(), x.dim().1));
    for (number, group) in groups.into_iter().enumerate() {
        let x = x.slice(s![group, .., .., ..]);
        let mut rows = statistics.slice_mut(s![2 * number..2 * number + 2, ..]);
        for (channel, mut column) in x.axis_iter(Axis(1)).zip(rows.axis_iter_mut(Axis(1))) {
            let numbers = count::<T>(channel.len());
            let mean = channel.iter().fold(T::zero(), |sum, &x| sum + x) / numbers;
            let squares = channel.iter().fold(T::zero(), |sum, &x| sum + (x - mean) * (x - mean));
            column[0] = mean;
            column[1] = squares / numbers;
        }
    }
    statistics
}

/// The statistics of two rows, mean and variance.
pub(super) fn running<T: NdFloat>(
    mean: ArrayView1<'_, T>,
    variance: ArrayView1<'_, T>,
) -> Array2<T> {
    let rows = [mean.insert_axis(Axis(0)), variance.insert_axis(Axis(0))];
    concatenate(Axis(0), &rows).expect("both have a number a channel")
}

/// Applies `each(channel, element)` to every element of `[N, C, H, W]`.
fn by_channel<T: NdFloat>(
    x: ArrayView4<'_, T>,
    each: impl Fn(usize, [usize; 4]) -> T,
) -> Array4<T> {
    let mut y = Array4::zeros(x.dim());
    for ((n, c, h, w), y) in y.indexed_iter_mut() {
        *y = each(c, [n, c, h, w]);
    }
    y
}

/// `(x - mean) / sqrt(variance + eps)`.
pub(super) fn normalised<T: NdFloat>(
    eps: f64,
    statistics: ArrayView2<'_, T>,
    x: ArrayView4<'_, T>,
) -> Array4<T> {
    by_channel(x, |c, at| (x[at] - statistics[[0, c]]) / (statistics[[1, c]] + number(eps)).sqrt())
}

/// `scale * normalised + shift`.
pub(super) fn forward<T: NdFloat>(
    scale: ArrayView1<'_, T>,
    shift: ArrayView1<'_, T>,
    normalised: ArrayView4<'_, T>,
) -> Array4<T> {
    by_channel(normalised, |c, at| scale[c] * normalised[at] + shift[c])
}

/// `scale / sqrt(variance + eps) * (dy - mean(dy) - normalised * mean(dy * normalised))`, with the means over the group as
/// the gradients of shift and scale give them.
pub(super) fn input_grad<T: NdFloat>(
    (eps, variance): (f64, ArrayView1<'_, T>),
    scale: ArrayView1<'_, T>,
    [scale_grad, shift_grad]: [ArrayView1<'_, T>; 2],
    normalised: ArrayView4<'_, T>,
    dy: ArrayView4<'_, T>,
) -> Array4<T> {
    let numbers = count::<T>(dy.len() / dy.dim().1);
    by_channel(dy, |c, at| {
        let around = shift_grad[c] / numbers + normalised[at] * scale_grad[c] / numbers;
        scale[c] / (variance[c] + number(eps)).sqrt() * (dy[at] - around)
    })
}

/// The sums of `dy * normalised` and of `dy` over a group: what it adds to the gradients of scale and shift.
pub(super) fn sums<T: NdFloat>(
    normalised: ArrayView4<'_, T>,
    dy: ArrayView4<'_, T>,
) -> [Array1<T>; 2] {
    let sum = |x: Array4<T>| super::conv::bias_grad(x.view());
    [sum(dy.to_owned() * normalised), sum(dy.to_owned())]
}
