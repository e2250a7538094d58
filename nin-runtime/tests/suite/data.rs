//! Random weights, images and labels for a graph, from a seed.

use ndarray::Array4;
use nin_dsl::graph::{Graph, Role};
use nin_runtime::autodiff::Tensor;
use nin_runtime::interp::{self, Differentiated, DropoutKey, Inputs};
use nin_runtime::weights::Weights;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::close;

/// The closest a switch may be for gradients to be compared, relative to its tensor's scale.
pub(crate) const MARGIN: f64 = 1e-5;
/// The least scale, relative to one image's share, of the logits' gradient: `softmax(z) - onehot` cancels where the net
/// is sure of every label, and its rounding is that of 1.
const UNSURE: f64 = 1e-2;
/// How often data are drawn again before a case is given up.
const DRAWS: u64 = 10;

/// What a training step reads.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    pub(crate) weights: Weights,
    /// `[N, C, H, W]`
    pub(crate) images: Array4<f32>,
    /// `[N]`
    pub(crate) labels: Vec<u32>,
}

impl Data {
    /// Weights that keep activations in scale, images from -1 to 1, any labels.
    pub(crate) fn draw(graph: &Graph, images: usize, seed: u64) -> Data {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut weights = Weights::zeros(graph);
        for (weight, values) in graph.weights.iter().zip(weights.values_mut()) {
            let range = match weight.role {
                Role::Kernel => {
                    let bound = (6.0 / weight.fan_in() as f32).sqrt();
                    -bound..bound
                }
                // More often up than down: few channels die.
                Role::Bias => -0.2..0.4,
            };
            values.fill_with(|| rng.random_range(range.clone()));
        }
        let input = graph.input();
        let dims = (images, input.channels(), input.height(), input.width());
        let classes = graph.output().channels() as u32;
        Data {
            weights,
            images: Array4::from_shape_simple_fn(dims, || rng.random_range(-1.0..1.0)),
            labels: (0..images).map(|_| rng.random_range(0..classes)).collect(),
        }
    }

    /// [`comparable`] data, and what the interpreter makes of them in f64: data that leave no weight without a gradient,
    /// if such are drawn. `None` if no draw is comparable.
    pub(crate) fn draw_comparable(
        graph: &Graph,
        images: usize,
        seed: u64,
        dropout: Option<DropoutKey>,
    ) -> Option<(Data, Differentiated<f64>)> {
        let mut drawn = None;
        for draw in 0..DRAWS {
            let data = Data::draw(graph, images, seed.wrapping_mul(DRAWS).wrapping_add(draw));
            let reference = data.differentiate(graph, dropout);
            if comparable(graph, &reference) {
                let alive = reference.gradients.iter().all(|grad| grad.iter().any(|&x| x != 0.0));
                drawn = Some((data, reference));
                if alive {
                    break;
                }
            }
        }
        drawn
    }

    /// What the interpreter makes of the data in f64.
    pub(crate) fn differentiate(
        &self,
        graph: &Graph,
        dropout: Option<DropoutKey>,
    ) -> Differentiated<f64> {
        let weights = interp::arrays(&self.weights);
        let images = self.images.mapv(f64::from);
        let labels = &self.labels;
        let inputs = Inputs { weights: &weights, images: images.view(), labels, dropout };
        interp::loss_and_gradients(graph, inputs)
    }
}

/// Whether two executors that round differently must find the same gradients: no switch is closer than [`MARGIN`], and
/// the loss leaves something to learn. (A loss over one class never does, and exactly.)
pub(crate) fn comparable(graph: &Graph, reference: &Differentiated<f64>) -> bool {
    let grad = &reference.values[&Tensor::Grad(graph.logits())];
    let unsure = close::scale(grad) * grad.shape()[0] as f64 > UNSURE;
    interp::switch_margin(graph, &reference.values) > MARGIN && (unsure || grad.shape()[1] == 1)
}
