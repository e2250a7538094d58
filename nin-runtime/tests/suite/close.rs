//! How numbers are compared: relative to the largest magnitude of the tensor they are in, or to what rounding alone makes
//! of it.

use ndarray::ArrayD;
use nin_dsl::graph::Graph;
use nin_runtime::oracle;
use nin_runtime::weights::Weights;

use crate::tally::Tally;

/// How far generated code may be from the interpreter, of a tensor's scale.
pub(crate) const TOLERANCE: f64 = 1e-4;

/// How far it may be of what rounding does to a tensor, where that is more. It is measured in a few runs, in which sums are
/// taken in another order and nothing is rounded as Winograd's algorithm does it.
const NOISES: f64 = 32.0;
/// Below a hundred of the least normal numbers a float32 is as good as zero.
const NOTHING: f64 = 100.0 * f32::MIN_POSITIVE as f64;

/// The largest magnitude in a tensor.
pub(crate) fn scale<'a>(values: impl IntoIterator<Item = &'a f64>) -> f64 {
    values.into_iter().fold(0.0, |scale, value| scale.max(value.abs()))
}

/// The largest distance between two tensors of one shape.
pub(crate) fn distance(a: &ArrayD<f64>, b: &ArrayD<f64>) -> f64 {
    assert_eq!(a.shape(), b.shape());
    a.iter().zip(b).fold(0.0, |most, (a, b)| most.max((a - b).abs()))
}

/// Whether every number is within `tolerance` of the expected tensor's scale; the message names the worst.
pub(crate) fn check(
    what: &str,
    found: &ArrayD<f64>,
    expected: &ArrayD<f64>,
    tolerance: f64,
) -> Result<(), String> {
    check_within(what, found, expected, tolerance * scale(expected))
}

/// Whether every number is so near to the expected one.
pub(crate) fn check_within(
    what: &str,
    found: &ArrayD<f64>,
    expected: &ArrayD<f64>,
    allowed: f64,
) -> Result<(), String> {
    if found.shape() != expected.shape() {
        return Err(format!("{what}: {:?} instead of {:?}", found.shape(), expected.shape()));
    }
    for (at, &expected_number) in expected.indexed_iter() {
        let found = found[&at];
        // A NaN is within nothing.
        let close = (found - expected_number).abs() <= allowed;
        if !close {
            let scale = scale(expected);
            return Err(format!(
                "{what} at {at:?}: {found:e} instead of {expected_number:e}, scale {scale:e}, allowed {allowed:e}"
            ));
        }
    }
    Ok(())
}

/// Numbers of every weight, as the interpreter has them, and how far rounding moves them.
pub(crate) struct Expected {
    pub(crate) numbers: Vec<ArrayD<f64>>,
    pub(crate) noise: Vec<f64>,
}

/// How many tensors were judged by their own scale, and how many by what rounding does to them because that is more.
#[derive(Default)]
pub(crate) struct Judged(Tally);

impl Judged {
    /// By their own scale, and all.
    pub(crate) fn counts(&self) -> [u32; 2] {
        self.0.counts()
    }

    /// Asserts that about half were judged by their own scale: of deep models with functions that saturate most are not.
    pub(crate) fn assert(&self) {
        self.0.assert("tensors by their own scale", 45);
    }
}

impl Expected {
    /// Compares what was found.
    pub(crate) fn check(
        &self,
        graph: &Graph,
        what: &str,
        found: &Weights,
        judged: &Judged,
    ) -> Result<(), String> {
        let found = oracle::arrays(found);
        let expected = self.numbers.iter().zip(&self.noise);
        for ((weight, found), (expected, noise)) in graph.weights().iter().zip(&found).zip(expected)
        {
            let (own, rounding) = (TOLERANCE * scale(expected), NOISES * noise);
            if weight.role.is_trained() {
                judged.0.count(own >= rounding);
            }
            let what = format!("{what} {}", weight.name);
            check_within(&what, found, expected, own.max(rounding).max(NOTHING))?;
        }
        Ok(())
    }
}

/// Compares a loss.
pub(crate) fn check_loss(found: f64, expected: f64) -> Result<(), String> {
    // It is the difference of numbers that are 1 and more.
    if (found - expected).abs() <= (TOLERANCE * expected).max(f64::from(f32::EPSILON)) {
        Ok(())
    } else {
        Err(format!("loss {found:e} instead of {expected:e}"))
    }
}
