//! How far a run is from its switches: the values at which a ReLU or a maximum changes which way a gradient goes.
//!
//! Two executors that round differently may take a close switch differently, and a difference quotient may step over
//! it; neither says anything about a gradient's rule.

use ndarray::{ArrayView4, NdFloat};
use nin_dsl::graph::{Graph, Op};

use super::pool::{windows, winner};
use super::{Values, maps};
use crate::autodiff::Tensor;

/// The smallest distance of a ReLU's operand from 0, and of a maximum from the runner-up of its window, each relative to
/// the largest magnitude of the tensor it is in; infinite where there is no switch.
///
/// Exact zeros and exact ties do not count: they are what an earlier ReLU, dropout or pool left of one and the same
/// element, and stay exact however it is computed.
pub fn switch_margin<T: NdFloat>(graph: &Graph, values: &Values<T>) -> T {
    let mut margin = T::infinity();
    for id in graph.ids() {
        let node = graph.node(id);
        let Some(operand) = id.operand() else { continue };
        let (Some(x), Some(_)) =
            (values.get(&Tensor::Value(operand)), values.get(&Tensor::Value(id)))
        else {
            continue;
        };
        let x = maps(graph.node(operand).shape, x);
        let scale = x.iter().fold(T::zero(), |scale, x| scale.max(x.abs()));
        let closest = match node.op {
            Op::Relu | Op::LeakyRelu { .. } => smallest_positive(x.iter().map(|x| x.abs())),
            // With an alpha of 1 its gradient does not jump.
            Op::Elu { alpha } if alpha != 1.0 => smallest_positive(x.iter().map(|x| x.abs())),
            Op::MaxPool { window, .. } => {
                let mut closest = T::infinity();
                let output = (node.shape.height(), node.shape.width());
                windows(window, x.dim(), output, |_, places| {
                    closest = closest.min(lead(&x, places));
                });
                closest
            }
            Op::Input
            | Op::Conv { .. }
            | Op::Elu { .. }
            | Op::AvgPool { .. }
            | Op::GlobalAvgPool
            | Op::Dropout { .. }
            | Op::BatchNorm { .. }
            | Op::Softmax => continue,
        };
        margin = margin.min(closest / scale);
    }
    margin
}

/// How far a window's maximum leads everything smaller.
fn lead<T: NdFloat>(x: &ArrayView4<'_, T>, places: &[[usize; 4]]) -> T {
    let best = x[winner(x, places)];
    smallest_positive(places.iter().map(|&place| best - x[place]))
}

fn smallest_positive<T: NdFloat>(distances: impl Iterator<Item = T>) -> T {
    distances.filter(|&distance| distance > T::zero()).fold(T::infinity(), T::min)
}
