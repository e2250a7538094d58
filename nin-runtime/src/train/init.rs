//! The weights training starts from.

use nin_dsl::graph::{Graph, Node, Op, Role, WeightId};
use rand::distr::Distribution as _;
use rand_distr::StandardNormal;

use super::random::{Stream, stream};
use super::recipe::{Init, Recipe};
use crate::weights::Weights;

/// Fresh weights for a graph. Every tensor has a stream of its own, so that a change in one layer leaves the others.
pub fn init(graph: &Graph, recipe: &Recipe) -> Weights {
    let mut weights = Weights::zeros(graph);
    let last = OutputLayer::of(graph);
    for ((id, values), weight) in graph.weight_ids().zip(weights.values_mut()).zip(graph.weights())
    {
        let last = last.filter(|last| last.has(id));
        match weight.role {
            Role::Kernel => {
                let own = recipe.layer(&weight.name).and_then(|layer| layer.std);
                let deviation = own.unwrap_or_else(|| match recipe.init {
                    Init::He => (2.0 / weight.fan_in() as f64).sqrt(),
                    Init::Gaussian { std } => std,
                });
                let factor =
                    if last.is_some() && own.is_none() { recipe.last_layer.weights } else { 1.0 };
                let mut rng = stream(recipe.seed, Stream::Init, id.0);
                for value in values {
                    let normal: f64 = StandardNormal.sample(&mut rng);
                    *value = (normal * deviation * factor) as f32;
                }
            }
            Role::Bias => {
                let under_relu = last.is_some_and(|last| last.under_relu);
                values.fill(if under_relu { recipe.last_layer.bias as f32 } else { 0.0 });
            }
            Role::Scale | Role::RunningVariance => values.fill(1.0),
            Role::Slope => values.fill(0.25),
            Role::Shift | Role::RunningMean => values.fill(0.0),
        }
    }
    weights
}

/// The last convolution or fully connected layer, if what it computes are the outputs, but for a ReLU or a global pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutputLayer {
    kernel: WeightId,
    bias: Option<WeightId>,
    /// Whether a ReLU follows, behind which outputs can die.
    pub(super) under_relu: bool,
}

impl OutputLayer {
    pub(super) fn of(graph: &Graph) -> Option<OutputLayer> {
        let is_convolution = |node: &Node| matches!(node.op, Op::Conv { .. });
        let index = graph.nodes().iter().rposition(is_convolution)?;
        let is_join = |node: &Node| matches!(node.op, Op::Add | Op::Concat | Op::Mul);
        if graph.nodes()[index..].iter().any(is_join) {
            return None;
        }
        let Op::Conv { weight: kernel, bias, .. } = graph.nodes()[index].op else { return None };
        let under_relu = match graph.nodes().get(index + 1).map(|node| node.op) {
            Some(Op::Relu) => true,
            None | Some(Op::Softmax | Op::GlobalAvgPool | Op::GlobalMaxPool) => false,
            Some(_) => return None,
        };
        Some(OutputLayer { kernel, bias, under_relu })
    }

    pub(super) fn has(&self, id: WeightId) -> bool {
        self.kernel == id || self.bias == Some(id)
    }
}

#[cfg(test)]
mod tests {
    use nin_dsl::Source;

    use super::*;

    fn graph(text: &str) -> Graph {
        nin_dsl::read(&Source::new("m", text), &[]).unwrap().0
    }

    fn deviation(values: &[f32]) -> f64 {
        let squares: f64 = values.iter().map(|&x| f64::from(x).powi(2)).sum();
        (squares / values.len() as f64).sqrt()
    }

    #[test]
    fn outputs_start_small_and_under_a_relu_positive() {
        let with = graph("< input(1, 9, 9) conv(64) relu mlpconv(64, 32) gap softmax >");
        let without = graph("< input(1, 9, 9) conv(64) relu conv(32, kernel = 1) gap softmax >");
        let connected = graph("< input(1, 9, 9) mlpconv(32) fc(64) softmax >");
        let normalised = graph("< input(1, 9, 9) conv(64) relu conv(32) batchnorm relu gap >");
        let recipe = Recipe::default();
        let weights = init(&with, &recipe);
        let of = |name: &str| weights.get(name).unwrap().values.as_slice();
        let he = |fan_in: f64| (2.0 / fan_in).sqrt();
        let near = |values: &[f32], expected: f64| {
            let found = deviation(values);
            assert!((found / expected - 1.0).abs() < 0.15, "{found}, expected {expected}");
        };
        near(of("conv1.weight"), he(9.0));
        near(of("mlpconv1.cccp1.weight"), 0.1 * he(64.0));
        assert!(of("mlpconv1.cccp1.bias").iter().all(|&x| x == 1.0));
        assert!(of("mlpconv1.conv.bias").iter().all(|&x| x == 0.0));
        let weights = init(&without, &recipe);
        near(&weights.get("conv2.weight").unwrap().values, 0.1 * he(64.0));
        assert!(weights.get("conv2.bias").unwrap().values.iter().all(|&x| x == 0.0));
        let weights = init(&connected, &recipe);
        near(&weights.get("fc1.weight").unwrap().values, 0.1 * he(32.0 * 81.0));
        assert!(weights.get("mlpconv1.conv.bias").unwrap().values.iter().all(|&x| x == 0.0));
        let weights = init(&normalised, &recipe);
        near(&weights.get("conv2.weight").unwrap().values, he(576.0));
    }

    #[test]
    fn a_seed_is_a_start() {
        let graph = graph("< input(1, 5, 5) conv(4) gap softmax >");
        let start = |seed| init(&graph, &Recipe { seed, ..Recipe::default() });
        assert_eq!(start(3), start(3));
        assert_ne!(start(3), start(4));
    }
}
