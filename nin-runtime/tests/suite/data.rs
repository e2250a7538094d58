//! Random weights, images and labels for a graph, from a seed.

use ndarray::Array4;
use nin_dsl::graph::{Graph, Role};
use nin_runtime::weights::Weights;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

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
        for (weight, values) in graph.weights().iter().zip(weights.values_mut()) {
            let range = match weight.role {
                Role::Kernel => {
                    let bound = (6.0 / weight.fan_in() as f32).sqrt();
                    -bound..bound
                }
                // More often up than down: few channels die.
                Role::Bias | Role::Shift => -0.2..0.4,
                Role::Scale => -0.5..1.5,
                Role::Slope => -0.3..0.7,
                Role::RunningMean => -0.5..0.5,
                Role::RunningVariance => 0.2..2.0,
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
}
