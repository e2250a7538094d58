//! Data of which two executors that round differently must find the same, and how far rounding alone moves what they find.
//!
//! Two things part executors that are both right. A value near a *switch* (a ReLU's zero, two rivals of a maximum) may fall
//! on either side of it: data are drawn so that none is near. And a sum that cancels leaves what rounding left of its terms:
//! a batch normalisation takes away whatever moves a channel as a whole, so that the gradient of a bias before it is nothing
//! else, and of a constant map it makes rounding of any size, several of them in a row up to the size of the numbers
//! themselves. How much that is for a model and its data is measured: the interpreter takes the step again in f32, and each
//! tensor on the way is disturbed a little ([`Rounding`]), so that nothing cancels exactly by luck.

use ndarray::{ArrayD, Dimension as _};
use nin_dsl::graph::{Activation, Graph, NodeId, Op};
use nin_runtime::compiler::autodiff::{TensorId, TrainNode, TrainOp, differentiate};
use nin_runtime::oracle::{self, Differentiated, DropoutKey, Inputs};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::close::{self, Expected};
use crate::data::Data;

/// The closest a switch may be for gradients to be compared, relative to its tensor's scale.
pub(crate) const MARGIN: f64 = 1e-5;
/// How far a tensor is disturbed, relative to its scale: what sums of some hundred products in f32 stray.
const DISTURBANCE: f32 = 1.0 / (1 << 22) as f32;
/// How often a step is taken again to see how far rounding moves it.
pub(crate) const RUNS: u64 = 3;
/// How often where gradients stray farther than a few runs say.
pub(crate) const MANY_RUNS: u64 = 16;
/// How often all data are drawn again before a case is given up.
const DRAWS: u64 = 8;
/// How often images that are near a switch are drawn again.
const REDRAWS: usize = 24;

/// Data and what the interpreter makes of them in f64.
pub(crate) struct Steady {
    pub(crate) data: Data,
    pub(crate) exact: Differentiated<f64>,
}

impl Steady {
    /// Data of which two executors must find the same gradients, with these masks of dropout or none; if such are drawn, data that leave no weight without a
    /// gradient. `None` if rounding alone decides switches of every draw.
    pub(crate) fn draw(
        graph: &Graph,
        images: usize,
        seed: u64,
        dropout: Option<DropoutKey>,
    ) -> Option<Steady> {
        let mut drawn = None;
        for draw in 0..DRAWS {
            let seed = seed.wrapping_mul(DRAWS).wrapping_add(draw);
            let Some(steady) = Steady::draw_once(graph, images, seed, dropout) else { continue };
            let trained = graph.weights().iter().zip(&steady.exact.gradients);
            let mut trained = trained.filter(|(weight, _)| weight.role.is_trained());
            let alive = trained.all(|(_, grad)| grad.iter().any(|&x| x != 0.0));
            drawn = Some(steady);
            if alive {
                break;
            }
        }
        drawn
    }

    /// The gradients, and how far rounding moves them; `None` if that is not steady.
    pub(crate) fn expected(&self, graph: &Graph) -> Option<Expected> {
        self.expected_by(graph, RUNS)
    }

    /// The same, by so many disturbed runs: a few say little of a tensor of a few numbers.
    pub(crate) fn expected_by(&self, graph: &Graph, runs: u64) -> Option<Expected> {
        let Steady { data, exact } = self;
        let (weights, images) = (oracle::arrays(&data.weights), data.images.mapv(f64::from));
        let labels = &data.labels;
        let inputs = Inputs { weights: &weights, images: images.view(), labels, dropout: None };
        let again =
            |rounding: &mut Rounding| Some(rounding.differentiate(graph, inputs, exact)?.gradients);
        let noise = noise(&exact.gradients, runs, again)?;
        Some(Expected { numbers: exact.gradients.clone(), noise })
    }

    fn draw_once(
        graph: &Graph,
        images: usize,
        seed: u64,
        dropout: Option<DropoutKey>,
    ) -> Option<Steady> {
        let mut data = Data::draw(graph, images, seed);
        let weights = oracle::arrays(&data.weights);
        let forward = to_the_logits(graph);
        let mut rng = ChaCha8Rng::seed_from_u64(!seed);
        for _ in 0..REDRAWS {
            let images = data.images.mapv(f64::from);
            let inputs =
                Inputs { weights: &weights, images: images.view(), labels: &data.labels, dropout };
            let margins = oracle::switch_margins(graph, &oracle::run(graph, &forward, inputs));
            if margins.iter().all(|&margin| margin >= MARGIN) {
                let exact = oracle::loss_and_gradients(graph, inputs);
                Rounding::new(seed).differentiate(graph, inputs, &exact)?;
                return Some(Steady { data, exact });
            }
            let near = margins.iter().map(|&margin| margin < MARGIN);
            for (mut image, _) in data.images.outer_iter_mut().zip(near).filter(|(_, near)| *near) {
                image.map_inplace(|pixel| *pixel = rng.random_range(-1.0..1.0));
            }
        }
        None
    }
}

/// Whether a step is one of which two executors must find the same, whatever it has been drawn for.
pub(crate) fn is_steady(
    graph: &Graph,
    inputs: Inputs<'_, f64>,
    exact: &Differentiated<f64>,
) -> bool {
    oracle::switch_margin(graph, &exact.values) >= MARGIN
        && Rounding::new(0).differentiate(graph, inputs, exact).is_some()
}

/// The forward computations of a training step.
fn to_the_logits(graph: &Graph) -> Vec<TrainNode> {
    let mut nodes = differentiate(graph).nodes;
    nodes.truncate(nodes.iter().position(|node| node.op == TrainOp::CrossEntropy).expect("a loss"));
    nodes
}

/// What rounding does to a step: noise, the same for the same seed.
pub(crate) struct Rounding {
    rng: ChaCha8Rng,
}

impl Rounding {
    fn new(seed: u64) -> Rounding {
        Rounding { rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// A step in f32, disturbed on its way; `None` if what a switch reads moves about as far as the switch may be near.
    pub(crate) fn differentiate(
        &mut self,
        graph: &Graph,
        inputs: Inputs<'_, f64>,
        exact: &Differentiated<f64>,
    ) -> Option<Differentiated<f64>> {
        let Inputs { weights, images, labels, dropout } = inputs;
        let weights: Vec<ArrayD<f32>> =
            weights.iter().map(|weight| weight.mapv(|x| x as f32)).collect();
        let images = images.mapv(|x| x as f32);
        let inputs = Inputs { weights: &weights, images: images.view(), labels, dropout };
        let count = labels.len();
        let change = |tensor, values: &mut ArrayD<f32>| match tensor {
            // A number is its own mean, and the variance is zero, for every executor.
            TensorId::Statistics(id) if has_lone_number(graph, id, count) => {}
            _ => self.disturb(tensor, values),
        };
        let disturbed = widened(oracle::loss_and_gradients_through(graph, inputs, change));
        let steady = switching(graph).all(|read| {
            let (exact, found) = (&exact.values[&read], &disturbed.values[&read]);
            close::distance(exact, found) <= MARGIN / 2.0 * close::scale(exact)
        });
        steady.then_some(disturbed)
    }

    /// Moves every number that is not zero: zeros are what a switch or a dropout left, exact for every executor. One part
    /// of the noise is each number's own; the other is one share of all numbers of a channel, as equal numbers are rounded
    /// alike and what that does to them adds up.
    fn disturb(&mut self, tensor: TensorId, values: &mut ArrayD<f32>) {
        let scale = values.iter().fold(0f32, |scale, value| scale.max(value.abs()));
        let channels = values.shape().get(1).copied().unwrap_or(1);
        let shared: Vec<f32> = (0..channels).map(|_| self.rng.random_range(-1.0..1.0)).collect();
        for (at, x) in values.indexed_iter_mut().filter(|(_, x)| **x != 0.0) {
            let own = match tensor {
                // Means and variances of channels have little to do with each other.
                TensorId::Statistics(_) => x.abs(),
                TensorId::Value(_)
                | TensorId::Grad(_)
                | TensorId::WeightGrad(_)
                | TensorId::Labels
                | TensorId::Loss => scale,
            };
            let channel = if at.ndim() > 1 { at[1] } else { 0 };
            let noise = *x * shared[channel] + own * self.rng.random_range(-1.0..1.0);
            let moved = *x + DISTURBANCE * noise;
            // No number is so near to a switch.
            if moved * *x > 0.0 {
                *x = moved;
            }
        }
    }
}

/// Whether a batch normalisation has a single number a channel in a batch of so many images or in a group of them.
fn has_lone_number(graph: &Graph, id: NodeId, images: usize) -> bool {
    let node = graph.node(id);
    let ends_alone = matches!(node.op, Op::BatchNorm { ghost: 2, .. }) && images % 2 == 1;
    node.shape.pixels() == 1 && (images == 1 || ends_alone)
}

/// The same step with wider numbers.
fn widened(step: Differentiated<f32>) -> Differentiated<f64> {
    let wide = |values: ArrayD<f32>| values.mapv(f64::from);
    Differentiated {
        loss: step.loss.into(),
        gradients: step.gradients.into_iter().map(wide).collect(),
        values: step.values.into_iter().map(|(tensor, values)| (tensor, wide(values))).collect(),
    }
}

/// The tensors of a training step whose numbers decide which way a gradient goes.
fn switching(graph: &Graph) -> impl Iterator<Item = TensorId> {
    let logits = graph.logits();
    graph.ids().take_while(move |&id| id <= logits).filter_map(|id| match graph.node(id).op {
        Op::Activation(
            Activation::Sigmoid
            | Activation::Tanh
            | Activation::Silu
            | Activation::Gelu
            | Activation::Scale { .. },
        ) => None,
        Op::Relu
        | Op::Activation(_)
        | Op::PRelu { .. }
        | Op::MaxPool { .. }
        | Op::GlobalMaxPool => Some(TensorId::Value(graph.operand(id))),
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
        | Op::Mul => None,
    })
}

/// How far rounding moves numbers of each weight: the most that `again` strays from them in so many disturbed runs. `None` if
/// one of those is not steady.
pub(crate) fn noise(
    exact: &[ArrayD<f64>],
    runs: u64,
    again: impl Fn(&mut Rounding) -> Option<Vec<ArrayD<f64>>>,
) -> Option<Vec<f64>> {
    let mut noise = vec![0f64; exact.len()];
    for run in 1..=runs {
        let disturbed = again(&mut Rounding::new(run))?;
        for (noise, (exact, disturbed)) in noise.iter_mut().zip(exact.iter().zip(&disturbed)) {
            *noise = noise.max(close::distance(exact, disturbed));
        }
    }
    Some(noise)
}
