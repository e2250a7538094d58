//! How far a run is from its switches: the values at which a ReLU or a maximum changes which way a gradient goes.
//!
//! Two executors that round differently may take a close switch differently, and a difference quotient may step over
//! it; neither says anything about a gradient's rule.

use ndarray::{ArrayView4, Axis, NdFloat};
use nin_dsl::graph::{Graph, Op};
use nin_dsl::shape::Window;

use super::conv::pixels;
use super::pool::{windows, winner};
use super::{Values, activation, maps, number};
use crate::compiler::autodiff::TensorId;

/// The smallest distance of a ReLU's operand from 0, and of a maximum from the runner-up of its window, each relative to
/// the largest magnitude of the tensor it is in; infinite where there is no switch.
///
/// Exact zeros and exact ties do not count: they are what an earlier ReLU, dropout or pool left of one and the same
/// element, and stay exact however it is computed.
pub fn switch_margin<T: NdFloat>(graph: &Graph, values: &Values<T>) -> T {
    switch_margins(graph, values).into_iter().fold(T::infinity(), T::min)
}

/// The same for each image, in order.
pub fn switch_margins<T: NdFloat>(graph: &Graph, values: &Values<T>) -> Vec<T> {
    let input = graph.ids().next().and_then(|input| values.get(&TensorId::Value(input)));
    let mut margins = vec![T::infinity(); input.map_or(0, |images| images.len_of(Axis(0)))];
    for id in graph.ids() {
        let node = graph.node(id);
        let [operand] = *node.inputs else { continue };
        let (Some(x), Some(_)) =
            (values.get(&TensorId::Value(operand)), values.get(&TensorId::Value(id)))
        else {
            continue;
        };
        let x = maps(graph.node(operand).shape, x);
        let scale = x.iter().fold(T::zero(), |scale, x| scale.max(x.abs()));
        let nearer = |margin: &mut T, closest: T| *margin = margin.min(closest / scale);
        let from = |jump: T, margins: &mut [T]| {
            for (margin, image) in margins.iter_mut().zip(x.outer_iter()) {
                nearer(margin, smallest_positive(image.iter().map(|&x| (x - jump).abs())));
            }
        };
        match node.op {
            Op::Relu | Op::PRelu { .. } => from(T::zero(), &mut margins),
            Op::Activation(of) => {
                for &jump in activation::jumps(of) {
                    from(number(jump), &mut margins);
                }
            }
            Op::MaxPool { window, .. } => {
                let output = (node.shape.height(), node.shape.width());
                windows(window, x.dim(), output, |[n, ..], places| {
                    nearer(&mut margins[n], lead(&x, places));
                });
            }
            Op::GlobalMaxPool => {
                windows(Window::whole(pixels(&x)), x.dim(), (1, 1), |[n, ..], places| {
                    nearer(&mut margins[n], lead(&x, places));
                });
            }
            Op::Input
            | Op::Conv { .. }
            | Op::AvgPool { .. }
            | Op::GlobalAvgPool
            | Op::Dropout { .. }
            | Op::BatchNorm { .. }
            | Op::Lrn { .. }
            | Op::Softmax
            | Op::Add
            | Op::Concat
            | Op::Mul => {}
        }
    }
    margins
}

/// How far a window's maximum leads everything smaller.
fn lead<T: NdFloat>(x: &ArrayView4<'_, T>, places: &[[usize; 4]]) -> T {
    let best = x[winner(x, places)];
    smallest_positive(places.iter().map(|&place| best - x[place]))
}

fn smallest_positive<T: NdFloat>(distances: impl Iterator<Item = T>) -> T {
    distances.filter(|&distance| distance > T::zero()).fold(T::infinity(), T::min)
}
