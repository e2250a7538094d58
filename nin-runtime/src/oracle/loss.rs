//! Softmax and the cross entropy, image by image.

use ndarray::{Array4, ArrayView4, NdFloat};

use super::count;

/// `exp(z) / sum exp(z)` over the channels.
pub(super) fn softmax<T: NdFloat>(logits: ArrayView4<'_, T>) -> Array4<T> {
    let mut probabilities = logits.to_owned();
    for mut image in probabilities.outer_iter_mut() {
        let largest = largest(image.iter());
        image.mapv_inplace(|z| (z - largest).exp());
        let sum = image.sum();
        image.mapv_inplace(|power| power / sum);
    }
    probabilities
}

/// `mean over images of (log sum exp(z) - z[label])`.
pub(super) fn cross_entropy<T: NdFloat>(logits: ArrayView4<'_, T>, labels: &[u32]) -> T {
    assert_eq!(logits.dim().0, labels.len(), "a label for each image");
    let one = |(n, &label): (usize, &u32)| {
        let image = logits.index_axis(ndarray::Axis(0), n);
        let largest = largest(image.iter());
        let sum = image.iter().fold(T::zero(), |sum, &z| sum + (z - largest).exp());
        sum.ln() + largest - logits[[n, label as usize, 0, 0]]
    };
    let total = labels.iter().enumerate().map(one).fold(T::zero(), |total, loss| total + loss);
    total / count(labels.len())
}

/// `(softmax(z) - onehot(label)) / images`.
pub(super) fn cross_entropy_grad<T: NdFloat>(
    logits: ArrayView4<'_, T>,
    labels: &[u32],
) -> Array4<T> {
    assert_eq!(logits.dim().0, labels.len(), "a label for each image");
    let mut grad = softmax(logits);
    for (mut image, &label) in grad.outer_iter_mut().zip(labels) {
        // The label's probability less one is minus the others', which is exact where the net is sure.
        image[[label as usize, 0, 0]] = T::zero();
        let others = image.sum();
        image[[label as usize, 0, 0]] = -others;
    }
    grad.mapv_into(|grad| grad / count(labels.len()))
}

/// What is subtracted before `exp`, so that nothing overflows.
fn largest<'a, T: NdFloat>(logits: impl Iterator<Item = &'a T>) -> T {
    logits.fold(T::neg_infinity(), |largest, &z| if z > largest { z } else { largest })
}

#[cfg(test)]
mod tests {
    use ndarray::arr1;

    use super::*;

    /// A label whose probability is 1 to the last bit has a gradient all the same.
    #[test]
    fn the_gradient_of_a_sure_net_is_exact() {
        let logits = arr1(&[0.0, -50.0, -60.0]).into_shape_with_order((1, 3, 1, 1)).unwrap();
        let grad = cross_entropy_grad(logits.view(), &[0]);
        let others = (-50.0_f64).exp() + (-60.0_f64).exp();
        assert!((grad[[0, 0, 0, 0]] + others).abs() < 1e-12 * others, "{grad}");
        assert!(grad.sum().abs() < 1e-12 * others);
    }
}
