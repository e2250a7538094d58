//! Momentum and weight decay as they are defined.

use ndarray::{ArrayD, Zip};
use nin_dsl::graph::Graph;
use nin_runtime::Hyper;

/// `v = momentum v + (g + decay w)`, `w = w - lr v`, with settings of its own for each trained weight.
pub(crate) fn step(
    graph: &Graph,
    weights: &mut [ArrayD<f64>],
    momentum: &mut [ArrayD<f64>],
    gradients: &[ArrayD<f64>],
    hyper: &[Hyper],
) {
    let settings = weights.iter_mut().zip(momentum).zip(gradients).zip(hyper);
    for ((((weight, momentum), gradient), hyper), known) in settings.zip(graph.weights()) {
        if !known.role.is_trained() {
            continue;
        }
        let [lr, rate, decay] = [hyper.lr, hyper.momentum, hyper.decay].map(f64::from);
        Zip::from(weight).and(momentum).and(gradient).for_each(|w, v, g| {
            *v = rate * *v + (g + decay * *w);
            *w -= lr * *v;
        });
    }
}

/// Scales gradients down to a Euclidean norm, all together, if they are longer.
pub(crate) fn clip(gradients: &mut [ArrayD<f64>], most: f64) {
    let norm = gradients.iter().flatten().map(|g| g * g).sum::<f64>().sqrt();
    if norm > most {
        gradients.iter_mut().for_each(|gradient| gradient.mapv_inplace(|g| g * most / norm));
    }
}
