//! ZCA whitening: the mean and the inverse root of the covariance of contrast-normalised images.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayViewMut2, Axis, s};

use super::super::{DataError, Split};
use super::{chunks, contrast};
use crate::host::parallel::map_on_all_cores;

/// Images whose covariance is summed at a time.
const CHUNK: usize = 500;
/// Rows of a product that a thread takes at a time.
const ROWS: usize = 128;
/// The most numbers of an image that can be whitened: the matrix takes their square.
const MOST: usize = 1 << 13;
/// How far a product may be from the identity when the iteration ends.
const TOLERANCE: f64 = 1e-9;
/// Iterations after which it has gone wrong: each makes the smallest eigenvalue about twice as large.
const MOST_ITERATIONS: usize = 100;
/// Steps of the search for the largest eigenvalue, and how far above what they find it can be.
const POWER_STEPS: usize = 30;
const MARGIN: f64 = 1.1;

/// The mean image.
pub(super) fn mean(split: &Split, indices: &[u32]) -> Vec<f32> {
    let sum = chunks(split, indices, CHUNK)
        .map(|chunk| chunk.mapv(f64::from).sum_axis(Axis(0)))
        .reduce(|a, b| a + b)
        .expect("a training set has images");
    sum.iter().map(|&x| (x / indices.len() as f64) as f32).collect()
}

/// The mean of contrast-normalised images and the inverse root of their covariance with `bias` on its diagonal.
pub(super) fn fit(
    split: &Split,
    indices: &[u32],
    scale: f64,
    bias: f64,
) -> Result<(Vec<f32>, Array2<f32>), DataError> {
    let images = split.shape();
    let size = images.elements();
    if size > MOST {
        return Err(DataError::Whitening { images });
    }
    let normalised = || {
        chunks(split, indices, CHUNK).map(|mut chunk| {
            let rows = chunk.outer_iter_mut();
            rows.into_iter().for_each(|mut row| {
                contrast::global(row.as_slice_mut().expect("rows are contiguous"), scale);
            });
            chunk
        })
    };
    let count = indices.len() as f64;
    let sums = normalised().map(|chunk| chunk.mapv(f64::from).sum_axis(Axis(0)));
    let mean: Array1<f64> = sums.reduce(|a, b| a + b).expect("a training set has images") / count;
    let narrow = mean.mapv(|x| x as f32);
    let mut covariance = Array2::<f64>::zeros((size, size));
    for mut chunk in normalised() {
        chunk -= &narrow;
        let columns = chunk.t();
        by_rows(&mut covariance, |first, mut rows| {
            let part = columns.slice(s![first..first + rows.nrows(), ..]).dot(&chunk);
            rows.zip_mut_with(&part, |sum, &x| *sum += f64::from(x));
        });
    }
    covariance /= count;
    covariance.diag_mut().iter_mut().for_each(|x| *x += bias);
    let root = inverse_root(&covariance).ok_or(DataError::Whitening { images })?;
    Ok((narrow.to_vec(), root.mapv(|x| x as f32)))
}

/// Subtracts the mean from images, one after the other, and multiplies them by the matrix.
pub(super) fn apply(images: &mut [f32], mean: &[f32], matrix: &Array2<f32>) {
    let size = mean.len();
    let dims = (images.len() / size, size);
    let mut images = ArrayViewMut2::from_shape(dims, images).expect("whole images");
    images -= &Array1::from(mean.to_vec());
    let whitened = images.dot(matrix);
    images.assign(&whitened);
}

/// Does rows of a matrix on all cores. Whoever does them, the bits are the same.
fn by_rows(matrix: &mut Array2<f64>, each: impl Fn(usize, ArrayViewMut2<'_, f64>) + Sync) {
    let parts = matrix.axis_chunks_iter_mut(Axis(0), ROWS).enumerate();
    map_on_all_cores(parts, |(part, rows)| each(part * ROWS, rows));
}

fn product(a: &Array2<f64>, b: &Array2<f64>) -> Array2<f64> {
    let mut result = Array2::zeros(a.raw_dim());
    by_rows(&mut result, |first, mut rows| {
        let a = a.slice(s![first..first + rows.nrows(), ..]);
        general_mat_mul(1.0, &a, b, 0.0, &mut rows);
    });
    result
}

/// `a^(-1/2)` of a symmetric matrix with positive eigenvalues, by Newton's iteration in the coupled form, which is products
/// of matrices alone and stable (Higham, 2008, section 6.3). `None` if it does not converge.
fn inverse_root(a: &Array2<f64>) -> Option<Array2<f64>> {
    let scale = MARGIN * largest_eigenvalue(a);
    if !(scale.is_finite() && scale > 0.0) {
        return None;
    }
    let identity = Array2::<f64>::eye(a.nrows());
    let (mut root, mut inverse) = (a / scale, identity.clone());
    for _ in 0..MOST_ITERATIONS {
        let both = product(&inverse, &root);
        let apart = (&both - &identity).iter().fold(0f64, |most, x| most.max(x.abs()));
        if apart < TOLERANCE {
            return Some(inverse / scale.sqrt());
        }
        let factor = (3.0 * &identity - both) / 2.0;
        root = product(&root, &factor);
        inverse = product(&factor, &inverse);
    }
    None
}

/// About the largest eigenvalue, from below.
fn largest_eigenvalue(a: &Array2<f64>) -> f64 {
    let mut vector = Array1::from_shape_fn(a.nrows(), |at| 1.0 + (at % 7) as f64);
    let mut value = 0.0;
    for _ in 0..POWER_STEPS {
        vector /= vector.dot(&vector).sqrt();
        let next = a.dot(&vector);
        value = next.dot(&next).sqrt();
        vector = next;
    }
    value
}
