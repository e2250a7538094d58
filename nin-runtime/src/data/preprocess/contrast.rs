//! Contrast normalisation of single images: global and local.

/// A shorter vector than this is left as it is.
const LEAST_NORM: f64 = 1e-8;
/// Deviation, in pixels, of the Gaussian that weighs a neighbourhood.
const DEVIATION: f64 = 2.0;

/// Subtracts an image's mean over all channels and scales it to a length.
pub(super) fn global(image: &mut [f32], length: f64) {
    let mean = image.iter().map(|&x| f64::from(x)).sum::<f64>() / image.len() as f64;
    let squares: f64 = image.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum();
    let norm = squares.sqrt() / length;
    let norm = if norm < LEAST_NORM { 1.0 } else { norm };
    image.iter_mut().for_each(|x| *x = ((f64::from(*x) - mean) / norm) as f32);
}

/// Takes from every pixel of an image `[C, H, W]` the mean of its neighbourhood, and divides it by the neighbourhood's
/// deviation, the image's mean deviation or `threshold`, whichever is largest. Beyond the border are zeros.
pub(super) fn local(image: &mut [f32], [_, h, w]: [usize; 3], kernel: usize, threshold: f32) {
    let weights = gaussian(kernel);
    for plane in image.chunks_exact_mut(h * w) {
        let means = weighed(plane, [h, w], &weights);
        plane.iter_mut().zip(&means).for_each(|(x, mean)| *x -= mean);
        let squares: Vec<f32> = plane.iter().map(|x| x * x).collect();
        let mut deviations = weighed(&squares, [h, w], &weights);
        deviations.iter_mut().for_each(|x| *x = x.sqrt());
        let mean = deviations.iter().sum::<f32>() / deviations.len() as f32;
        let least = mean.max(threshold);
        plane.iter_mut().zip(&deviations).for_each(|(x, deviation)| *x /= deviation.max(least));
    }
}

/// Weights of the positions along one side of a neighbourhood; they sum to 1.
fn gaussian(kernel: usize) -> Vec<f32> {
    let middle = (kernel / 2) as f64;
    let weight = |at: usize| (-(at as f64 - middle).powi(2) / (2.0 * DEVIATION * DEVIATION)).exp();
    let sum: f64 = (0..kernel).map(weight).sum();
    (0..kernel).map(|at| (weight(at) / sum) as f32).collect()
}

/// The weighed sum of every pixel's neighbourhood: first along rows, then along columns.
fn weighed(plane: &[f32], [h, w]: [usize; 2], weights: &[f32]) -> Vec<f32> {
    let reach = weights.len() / 2;
    // The place of a weight's pixel, if the image has it.
    let place = |at: usize, weight: usize, side: usize| {
        (at + weight).checked_sub(reach).filter(|&at| at < side)
    };
    let sum = |at: usize, side: usize, value: &dyn Fn(usize) -> f32| -> f32 {
        let taps = weights.iter().enumerate();
        taps.filter_map(|(tap, weight)| Some(weight * value(place(at, tap, side)?))).sum()
    };
    let mut rows = vec![0.0; h * w];
    for (row, before) in rows.chunks_exact_mut(w).zip(plane.chunks_exact(w)) {
        row.iter_mut().enumerate().for_each(|(x, to)| *to = sum(x, w, &|x| before[x]));
    }
    let mut both = vec![0.0; h * w];
    for (y, row) in both.chunks_exact_mut(w).enumerate() {
        row.iter_mut().enumerate().for_each(|(x, to)| *to = sum(y, h, &|y| rows[y * w + x]));
    }
    both
}
