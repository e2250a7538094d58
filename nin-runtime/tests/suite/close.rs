//! How numbers are compared: relative to the largest magnitude of the tensor they are in.

use ndarray::ArrayD;
use nin_dsl::graph::{Graph, Op, Weight};

/// The largest magnitude in a tensor.
pub(crate) fn scale<'a>(values: impl IntoIterator<Item = &'a f64>) -> f64 {
    values.into_iter().fold(0.0, |scale, value| scale.max(value.abs()))
}

/// The scale below which the gradient of a weight is nothing but rounding: a batch normalisation takes away whatever moves
/// a channel as a whole, so that the gradient of a bias before it is a sum of large numbers that is zero.
pub(crate) fn least_scale(graph: &Graph, weight: &Weight, gradients: &[ArrayD<f64>]) -> f64 {
    let norm = graph.nodes.iter().rposition(|node| matches!(node.op, Op::BatchNorm { .. }));
    let normalised = norm.is_some_and(|norm| weight.node.index() < norm);
    if normalised { 0.1 * scale(gradients.iter().flatten()) } else { 0.0 }
}

/// Whether every number is within `tolerance` of the expected tensor's scale; the message names the worst.
pub(crate) fn check(
    what: &str,
    found: &ArrayD<f64>,
    expected: &ArrayD<f64>,
    tolerance: f64,
) -> Result<(), String> {
    check_above(what, found, expected, tolerance, 0.0)
}

/// As [`check`], with a least scale.
pub(crate) fn check_above(
    what: &str,
    found: &ArrayD<f64>,
    expected: &ArrayD<f64>,
    tolerance: f64,
    least_scale: f64,
) -> Result<(), String> {
    if found.shape() != expected.shape() {
        return Err(format!("{what}: {:?} instead of {:?}", found.shape(), expected.shape()));
    }
    let scale = scale(expected).max(least_scale);
    for (at, &expected) in expected.indexed_iter() {
        let found = found[&at];
        let distance = (found - expected).abs();
        // A NaN is within nothing.
        let close = distance <= tolerance * scale;
        if !close {
            return Err(format!(
                "{what} at {at:?}: {found:e} instead of {expected:e}, scale {scale:e}"
            ));
        }
    }
    Ok(())
}
