//! Local response normalisation and its gradient, number by number.

use std::ops::Range;

use ndarray::{Array4, ArrayView4, NdFloat};

use super::count;

/// What an op says.
pub(super) struct Lrn<T> {
    /// Channels that a sum is over.
    pub(super) size: usize,
    /// Alpha, beta and k.
    pub(super) constants: [T; 3],
}

impl<T: NdFloat> Lrn<T> {
    /// The channels around one of so many.
    fn around(&self, channel: usize, channels: usize) -> Range<usize> {
        let half = self.size / 2;
        channel.saturating_sub(half)..channel.saturating_add(half + 1).min(channels)
    }

    /// `k + alpha / size * s` at every number.
    fn sums(&self, x: ArrayView4<'_, T>) -> Array4<T> {
        let [alpha, _, k] = self.constants;
        Array4::from_shape_fn(x.dim(), |(n, c, h, w)| {
            let around = self.around(c, x.dim().1);
            let squares = around.fold(T::zero(), |sum, c| sum + x[[n, c, h, w]] * x[[n, c, h, w]]);
            k + alpha / count(self.size) * squares
        })
    }

    /// Each number divided by its sum to the power.
    pub(super) fn forward(&self, x: ArrayView4<'_, T>) -> Array4<T> {
        let [_, beta, _] = self.constants;
        let mut y = x.to_owned();
        y.zip_mut_with(&self.sums(x), |x, sum| *x /= sum.powf(beta));
        y
    }

    /// A number is in the sums of all around it, each of which its own gradient comes through.
    pub(super) fn input_grad(&self, x: ArrayView4<'_, T>, dy: ArrayView4<'_, T>) -> Array4<T> {
        let [alpha, beta, _] = self.constants;
        let sums = self.sums(x);
        let two = T::one() + T::one();
        Array4::from_shape_fn(x.dim(), |at @ (n, c, h, w)| {
            let through = self.around(c, x.dim().1).fold(T::zero(), |through, c| {
                let at = [n, c, h, w];
                through + dy[at] * x[at] / sums[at].powf(beta + T::one())
            });
            dy[at] / sums[at].powf(beta) - two * alpha * beta / count(self.size) * x[at] * through
        })
    }
}
