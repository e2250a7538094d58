//! Pools and their gradients, window by window.

use ndarray::{Array4, ArrayView4, NdFloat};
use nin_dsl::shape::{Count, Slide, Window};

use super::conv::{pixels, under};
use super::count;

/// An element of `[N, C, H, W]`.
type Place = [usize; 4];

/// Calls `each` for every output element with the input elements under its window, in row order.
pub(super) fn windows(
    window: Window,
    (images, channels, h, w): (usize, usize, usize, usize),
    output: (usize, usize),
    mut each: impl FnMut(Place, &[Place]),
) {
    let mut places = Vec::with_capacity(window.taps());
    for n in 0..images {
        for c in 0..channels {
            for y in 0..output.0 {
                for x in 0..output.1 {
                    places.clear();
                    let taps = under(window, (h, w), (y, x));
                    places.extend(taps.map(|tap| [n, c, tap.input.0, tap.input.1]));
                    each([n, c, y, x], &places);
                }
            }
        }
    }
}

/// The element that a window's maximum is: the largest, the first of equals; a NaN before any number.
pub(super) fn winner<T: NdFloat>(x: &ArrayView4<'_, T>, places: &[Place]) -> Place {
    let wins = |new: T, best: T| new > best || (new.is_nan() && !best.is_nan());
    let better = |best: Place, new: Place| if wins(x[new], x[best]) { new } else { best };
    places.iter().copied().reduce(better).expect("every window has a real pixel under it")
}

/// The maximum of each window.
pub(super) fn max<T: NdFloat>(
    window: Window,
    x: ArrayView4<'_, T>,
    output: (usize, usize),
) -> Array4<T> {
    let (images, channels, _, _) = x.dim();
    let mut y = Array4::zeros((images, channels, output.0, output.1));
    windows(window, x.dim(), output, |out, places| y[out] = x[winner(&x, places)]);
    y
}

/// Each window's gradient goes to its winner.
pub(super) fn max_grad<T: NdFloat>(
    window: Window,
    x: ArrayView4<'_, T>,
    dy: ArrayView4<'_, T>,
) -> Array4<T> {
    let mut dx = Array4::zeros(x.dim());
    windows(window, x.dim(), pixels(&dy), |out, places| dx[winner(&x, places)] += dy[out]);
    dx
}

/// How many pixels a mean counts under the window of an output, `real` of which are there.
fn counted(
    (window, counts): (Window, Count),
    (h, w): (usize, usize),
    [_, _, y, x]: Place,
    real: usize,
) -> usize {
    let inside = |slide: Slide, out: usize, size: usize| {
        slide.kernel.min(slide.padded(size) - out * slide.stride)
    };
    match counts {
        Count::Real => real,
        Count::Window => inside(window.y, y, h) * inside(window.x, x, w),
    }
}

/// The mean over each window: the sum of its real pixels over how many count.
pub(super) fn mean<T: NdFloat>(
    mean: (Window, Count),
    x: ArrayView4<'_, T>,
    output: (usize, usize),
) -> Array4<T> {
    let (images, channels, h, w) = x.dim();
    let mut y = Array4::zeros((images, channels, output.0, output.1));
    windows(mean.0, x.dim(), output, |out, places| {
        let sum = places.iter().fold(T::zero(), |sum, &place| sum + x[place]);
        y[out] = sum / count(counted(mean, (h, w), out, places.len()));
    });
    y
}

/// Each window's gradient is shared evenly among what counts of it.
pub(super) fn mean_grad<T: NdFloat>(
    mean: (Window, Count),
    dy: ArrayView4<'_, T>,
    input: (usize, usize),
) -> Array4<T> {
    let (images, channels, _, _) = dy.dim();
    let mut dx = Array4::zeros((images, channels, input.0, input.1));
    windows(mean.0, dx.dim(), pixels(&dy), |out, places| {
        for &place in places {
            dx[place] += dy[out] / count(counted(mean, input, out, places.len()));
        }
    });
    dx
}
