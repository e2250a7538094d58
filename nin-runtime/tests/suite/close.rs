//! How numbers are compared: relative to the largest magnitude of the tensor they are in.

use ndarray::ArrayD;

/// The largest magnitude in a tensor.
pub(crate) fn scale<'a>(values: impl IntoIterator<Item = &'a f64>) -> f64 {
    values.into_iter().fold(0.0, |scale, value| scale.max(value.abs()))
}

/// Whether every number is within `tolerance` of the expected tensor's scale; the message names the worst.
pub(crate) fn check(
    what: &str,
    found: &ArrayD<f64>,
    expected: &ArrayD<f64>,
    tolerance: f64,
) -> Result<(), String> {
    if found.shape() != expected.shape() {
        return Err(format!("{what}: {:?} instead of {:?}", found.shape(), expected.shape()));
    }
    let scale = scale(expected);
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
