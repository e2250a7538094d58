//! Random weights, images and labels for a graph, from a seed.

use ndarray::{Array4, ArrayD};
use nin_dsl::graph::{Graph, Role};
use nin_runtime::interp::{self, Differentiated, DropoutKey, Inputs};
use nin_runtime::weights::Weights;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::close;

/// The closest a switch may be for gradients to be compared, relative to its tensor's scale.
pub(crate) const MARGIN: f64 = 1e-5;
/// How far rounding to f32 may move a gradient or the loss by itself, relative to its scale: a sum that cancels says
/// nothing about who computed it.
const ROUNDING: f64 = 1e-5;
/// How often data are drawn again before a case is given up.
const DRAWS: u64 = 8;

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
                Role::Bias | Role::Shift => -0.2..0.4,
                Role::Scale => -0.5..1.5,
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

    /// Data of which two executors must find the same gradients ([`differentiate_comparably`]), and what the interpreter
    /// makes of them in f64: data that leave no weight without a gradient, if such are drawn. `None` if no draw is
    /// comparable.
    pub(crate) fn draw_comparable(
        graph: &Graph,
        images: usize,
        seed: u64,
        dropout: Option<DropoutKey>,
    ) -> Option<(Data, Differentiated<f64>)> {
        let mut drawn = None;
        for draw in 0..DRAWS {
            let data = Data::draw(graph, images, seed.wrapping_mul(DRAWS).wrapping_add(draw));
            let (weights, images) = (interp::arrays(&data.weights), data.images.mapv(f64::from));
            let labels = &data.labels;
            let inputs = Inputs { weights: &weights, images: images.view(), labels, dropout };
            if let Some(reference) = differentiate_comparably(graph, inputs) {
                let trained = graph.weights.iter().zip(&reference.gradients);
                let mut trained = trained.filter(|(weight, _)| weight.role.is_trained());
                let alive = trained.all(|(_, grad)| grad.iter().any(|&x| x != 0.0));
                drawn = Some((data, reference));
                if alive {
                    break;
                }
            }
        }
        drawn
    }
}

/// What the interpreter makes of a step in f64, if two executors that round to f32 must agree about it: no switch is closer
/// than [`MARGIN`], and the interpreter in f32 strays no further than [`ROUNDING`].
pub(crate) fn differentiate_comparably(
    graph: &Graph,
    inputs: Inputs<'_, f64>,
) -> Option<Differentiated<f64>> {
    let wide = interp::loss_and_gradients(graph, inputs);
    if interp::switch_margin(graph, &wide.values) < MARGIN {
        return None;
    }
    let weights: Vec<ArrayD<f32>> =
        inputs.weights.iter().map(|weight| weight.mapv(|x| x as f32)).collect();
    let images = inputs.images.mapv(|x| x as f32);
    let Inputs { labels, dropout, .. } = inputs;
    let inputs = Inputs { weights: &weights, images: images.view(), labels, dropout };
    let narrow = interp::loss_and_gradients(graph, inputs);
    let steady = (f64::from(narrow.loss) - wide.loss).abs() <= ROUNDING * wide.loss
        && graph.weights.iter().zip(narrow.gradients.iter().zip(&wide.gradients)).all(
            |(weight, (narrow, grad))| {
                let least = close::least_scale(graph, weight, &wide.gradients);
                let narrow = narrow.mapv(f64::from);
                close::check_above("gradient", &narrow, grad, ROUNDING, least).is_ok()
            },
        );
    steady.then_some(wide)
}
