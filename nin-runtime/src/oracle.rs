//! The interpreter: every computation of a step, one at a time and naively, over ndarray, in `f32` or `f64`.
//!
//! It is the oracle that generated code is held against, so it shares nothing with the code generator but the
//! [`TrainNode`]s and the definition of dropout's masks, and prefers being plainly right to being fast.
#![warn(clippy::wildcard_enum_match_arm)]

mod activation;
mod conv;
mod join;
mod loss;
mod lrn;
mod margin;
mod norm;
mod pool;

use std::collections::BTreeMap;

use ndarray::{Array1, Array4, ArrayD, ArrayView1, ArrayView4, Axis, Ix2, IxDyn, NdFloat, arr0, s};
use nin_dsl::graph::{BatchNormWeights, Graph, NodeId, Op, WeightId};
use nin_dsl::shape::{Count, Shape, Window};

use self::conv::Conv;
pub use self::margin::{switch_margin, switch_margins};
use crate::compiler::autodiff::{self, TensorId, TrainNode, TrainOp};
use crate::compiler::dropout;
use crate::weights::Weights;

/// The tensors of a run: `[N, C, H, W]` of a map, `[N, n]` of a vector, a weight's own dimensions, `[2, C]` of
/// statistics, or as many rows for each group, `[]` of the loss.
pub type Values<T> = BTreeMap<TensorId, ArrayD<T>>;

/// What a run is given.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a, T> {
    /// The graph's weights, in its order and dimensions.
    pub weights: &'a [ArrayD<T>],
    /// Images, `[N, C, H, W]`.
    pub images: ArrayView4<'a, T>,
    /// The class of each image, `[N]`; read by the loss alone.
    pub labels: &'a [u32],
    /// Which masks dropout takes; without a key dropout is the identity.
    pub dropout: Option<DropoutKey>,
}

/// What determines the dropout masks of a training step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropoutKey {
    /// Seed of the run.
    pub seed: u64,
    /// Number of the step.
    pub step: u64,
}

/// A loss with its gradients.
#[derive(Clone, Debug)]
pub struct Differentiated<T> {
    /// Mean softmax cross entropy over the images.
    pub loss: T,
    /// The gradient of the loss with respect to each weight, in the graph's order and dimensions; zeros for a running
    /// statistic, which has none.
    pub gradients: Vec<ArrayD<T>>,
    /// Every tensor of the step.
    pub values: Values<T>,
}

/// Runs computations in order and returns every tensor they write.
///
/// # Panics
/// If the weights, images or labels do not fit the graph, or a computation reads what none before it wrote.
pub fn run<T: NdFloat>(graph: &Graph, nodes: &[TrainNode], inputs: Inputs<'_, T>) -> Values<T> {
    run_through(graph, nodes, inputs, |_, _| {})
}

/// As [`run`]; every tensor goes through `change` before another is made of it.
fn run_through<T: NdFloat>(
    graph: &Graph,
    nodes: &[TrainNode],
    inputs: Inputs<'_, T>,
    mut change: impl FnMut(TensorId, &mut ArrayD<T>),
) -> Values<T> {
    assert_eq!(inputs.images.shape()[1..], graph.input().dims(), "the shape of an image");
    assert_eq!(inputs.weights.len(), graph.weights().len(), "the number of weights");
    for (weight, given) in graph.weights().iter().zip(inputs.weights) {
        assert_eq!(given.shape(), weight.dims, "the dimensions of {}", weight.name);
    }
    let mut run = Run { graph, inputs, values: Values::new() };
    for node in nodes {
        let mut result = run.evaluate(node);
        if node.accumulates {
            let before = run.values.get(&node.writes).expect("there is something to add to");
            result = before + &result;
        }
        change(node.writes, &mut result);
        run.values.insert(node.writes, result);
    }
    run.values
}

/// The model's output for images `[N, C, H, W]`, as inference gives it: dropout does nothing, softmax is evaluated.
///
/// # Panics
/// As [`run`].
pub fn forward<T: NdFloat>(
    graph: &Graph,
    weights: &[ArrayD<T>],
    images: ArrayView4<'_, T>,
) -> ArrayD<T> {
    let last = graph.result();
    let inputs = Inputs { weights, images, labels: &[], dropout: None };
    let mut values = run(graph, &autodiff::forward(graph, last), inputs);
    values.remove(&TensorId::Value(last)).expect("the last node is evaluated")
}

/// The loss of a training step, the gradient of every weight, and all tensors on the way.
///
/// # Panics
/// As [`run`], and if the model's logits are no vector or a label is not less than their number.
pub fn loss_and_gradients<T: NdFloat>(graph: &Graph, inputs: Inputs<'_, T>) -> Differentiated<T> {
    loss_and_gradients_through(graph, inputs, |_, _| {})
}

/// As [`loss_and_gradients`]; every tensor goes through `change` before another is made of it: what a change of each does to
/// all is how well the step is conditioned.
///
/// # Panics
/// As [`loss_and_gradients`].
pub fn loss_and_gradients_through<T: NdFloat>(
    graph: &Graph,
    inputs: Inputs<'_, T>,
    change: impl FnMut(TensorId, &mut ArrayD<T>),
) -> Differentiated<T> {
    let values = run_through(graph, &autodiff::differentiate(graph).nodes, inputs, change);
    let gradient = |id: WeightId| match values.get(&TensorId::WeightGrad(id)) {
        Some(gradient) => gradient.clone(),
        None => ArrayD::zeros(graph.weight(id).dims.clone()),
    };
    let gradients = graph.weight_ids().map(gradient).collect();
    Differentiated { loss: values[&TensorId::Loss][IxDyn(&[])], gradients, values }
}

/// Moves the running statistics of every batch normalisation towards those of a training step. One number a channel has no
/// variance, and moves none.
///
/// # Panics
/// If the values are not those of a training step of this graph.
pub fn track<T: NdFloat>(graph: &Graph, weights: &mut [ArrayD<T>], values: &Values<T>) {
    for id in graph.ids() {
        let Op::BatchNorm {
            momentum, ghost, weights: BatchNormWeights { mean, variance, .. }, ..
        } = graph.node(id).op
        else {
            continue;
        };
        let batch = &values[&TensorId::Statistics(id)];
        let images = values[&TensorId::Value(graph.operand(id))].len_of(Axis(0));
        for (group, members) in norm::groups(images, ghost).into_iter().enumerate() {
            let numbers = members.len() * graph.node(id).shape.pixels();
            if numbers == 1 {
                continue;
            }
            let unbiased = count::<T>(numbers) / count(numbers - 1);
            for (row, (weight, factor)) in
                [(mean, T::one()), (variance, unbiased)].iter().enumerate()
            {
                let running = weights[weight.index()].iter_mut();
                for (running, &batch) in running.zip(batch.index_axis(Axis(0), 2 * group + row)) {
                    *running = *running + number::<T>(momentum) * (batch * *factor - *running);
                }
            }
        }
    }
}

/// Weights as arrays, in their order and dimensions.
pub fn arrays<T: NdFloat>(weights: &Weights) -> Vec<ArrayD<T>> {
    let array = |tensor: &crate::weights::Tensor| {
        let values = tensor.values.iter().map(|&x| number(x)).collect();
        ArrayD::from_shape_vec(tensor.dims.clone(), values).expect("a tensor has its dimensions")
    };
    weights.tensors().iter().map(array).collect()
}

/// A number in the run's precision.
fn number<T: NdFloat>(x: impl Into<f64>) -> T {
    T::from(x.into()).expect("every real number rounds to a float")
}

/// A whole number in the run's precision.
fn count<T: NdFloat>(n: usize) -> T {
    T::from(n).expect("every whole number rounds to a float")
}

/// A run up to some computation.
struct Run<'g, 'i, T> {
    graph: &'g Graph,
    inputs: Inputs<'i, T>,
    values: Values<T>,
}

impl<T: NdFloat> Run<'_, '_, T> {
    fn evaluate(&self, node: &TrainNode) -> ArrayD<T> {
        let read = |index: usize| self.read(node.reads[index]);
        match node.op {
            TrainOp::Forward(id) => {
                let value = match self.graph.node(id).op {
                    Op::Input => self.inputs.images.to_owned(),
                    Op::Add => join::add(&self.read_all(&node.reads)),
                    Op::Concat => join::concat(&self.read_all(&node.reads)),
                    Op::Mul => join::multiply(&self.read_all(&node.reads)),
                    Op::Conv { .. }
                    | Op::Relu
                    | Op::Activation(_)
                    | Op::PRelu { .. }
                    | Op::MaxPool { .. }
                    | Op::AvgPool { .. }
                    | Op::GlobalAvgPool
                    | Op::GlobalMaxPool
                    | Op::Dropout { .. }
                    | Op::BatchNorm { .. }
                    | Op::Lrn { .. }
                    | Op::Softmax => self.forward(id, read(0), node.reads.get(1)),
                };
                batch(self.graph.node(id).shape, value)
            }
            TrainOp::CrossEntropy => {
                arr0(loss::cross_entropy(read(0), self.inputs.labels)).into_dyn()
            }
            TrainOp::CrossEntropyGrad => {
                let grad = loss::cross_entropy_grad(read(0), self.inputs.labels);
                batch(self.graph.node(self.graph.logits()).shape, grad)
            }
            TrainOp::InputGrad { node: id, input } => {
                let read_by = self.graph.node(id).inputs[input];
                batch(
                    self.graph.node(read_by).shape,
                    self.input_grad((id, input), read(0), &node.reads[1..]),
                )
            }
            TrainOp::Statistics(id) => norm::statistics(read(0), self.ghost(id)).into_dyn(),
            TrainOp::KernelGrad(id) => {
                let Op::Conv { window, groups, weight, .. } = self.graph.node(id).op else {
                    panic!("{id} has no kernel (a bug in nin)");
                };
                let (conv, dims) = (Conv { window, groups }, self.kernel(id).dim());
                let grad = conv::kernel_grad(conv, dims, read(0), read(1));
                let dims = self.graph.weight(weight).dims.clone();
                grad.into_shape_with_order(dims).expect("a kernel keeps its elements")
            }
            TrainOp::BiasGrad(_) => conv::bias_grad(read(0)).into_dyn(),
            TrainOp::ScaleGrad(id) => {
                let is_prelu = matches!(self.graph.node(id).op, Op::PRelu { .. });
                let parts = if is_prelu {
                    activation::slope_grad(read(1), read(0))
                } else {
                    read(0).to_owned() * self.normalised(id, read(1), node.reads[2])
                };
                conv::bias_grad(parts.view()).into_dyn()
            }
        }
    }

    /// A node's value from its operand's, both `[N, C, H, W]`; by the statistics of the batch, if they are given.
    fn forward(
        &self,
        id: NodeId,
        x: ArrayView4<'_, T>,
        statistics: Option<&TensorId>,
    ) -> Array4<T> {
        let shape = self.graph.node(id).shape;
        let pixels = (shape.height(), shape.width());
        match self.graph.node(id).op {
            Op::Input | Op::Add | Op::Concat | Op::Mul => unreachable!("{id} has not one operand"),
            Op::Conv { window, groups, bias, .. } => {
                let bias = bias.map_or_else(
                    || Array1::zeros(shape.channels()),
                    |id| Array1::from_iter(self.inputs.weights[id.index()].iter().copied()),
                );
                let conv = Conv { window, groups };
                conv::forward(conv, self.kernel(id), bias.view(), x, pixels)
            }
            // A NaN is not less than zero, and stays.
            Op::Relu => x.mapv(|x| if x < T::zero() { T::zero() } else { x }),
            Op::Activation(of) => x.mapv(|x| activation::value(of, x)),
            Op::PRelu { slope } => activation::prelu(self.row(slope), x),
            Op::MaxPool { window, .. } => pool::max(window, x, pixels),
            Op::AvgPool { window, count, .. } => pool::mean((window, count), x, pixels),
            Op::GlobalAvgPool => {
                pool::mean((Window::whole(conv::pixels(&x)), Count::Real), x, (1, 1))
            }
            Op::GlobalMaxPool => pool::max(Window::whole(conv::pixels(&x)), x, (1, 1)),
            Op::Dropout { p, index } => self.drop_elements(p, index, x),
            Op::BatchNorm { eps, weights, .. } => {
                let normalised = match statistics {
                    Some(&statistics) => self.normalised(id, x, statistics),
                    None => {
                        let [mean, variance] =
                            [weights.mean, weights.variance].map(|id| self.row(id));
                        norm::normalised(eps, norm::running(mean, variance).view(), x)
                    }
                };
                norm::forward(self.row(weights.scale), self.row(weights.shift), normalised.view())
            }
            Op::Lrn { size, alpha, beta, k } => {
                lrn::Lrn { size, constants: [alpha, beta, k].map(number) }.forward(x)
            }
            Op::Softmax => loss::softmax(x),
        }
    }

    /// What a node contributes to the gradient of one of its inputs, from the gradient of its value and what else its rule reads.
    fn input_grad(
        &self,
        (id, input): (NodeId, usize),
        grad: ArrayView4<'_, T>,
        tensors: &[TensorId],
    ) -> Array4<T> {
        let inputs = &self.graph.node(id).inputs;
        let shape = self.graph.node(inputs[input]).shape;
        let pixels = (shape.height(), shape.width());
        let saved = || self.read(tensors[0]);
        match self.graph.node(id).op {
            Op::Conv { window, groups, .. } => {
                conv::input_grad(Conv { window, groups }, self.kernel(id), grad, pixels)
            }
            Op::Relu => {
                let mut masked = grad.to_owned();
                masked.zip_mut_with(&saved(), |grad, &value| {
                    // A NaN is not greater than zero, and passes no gradient.
                    *grad = if value > T::zero() { *grad } else { T::zero() };
                });
                masked
            }
            Op::Activation(of) => {
                let mut scaled = grad.to_owned();
                match tensors {
                    // Its rule reads nothing.
                    [] => scaled.mapv_inplace(|grad| activation::grad(of, grad, T::zero())),
                    _ => scaled.zip_mut_with(&saved(), |grad, &saved| {
                        *grad = activation::grad(of, *grad, saved);
                    }),
                }
                scaled
            }
            Op::PRelu { slope } => activation::prelu_grad(self.row(slope), saved(), grad),
            Op::MaxPool { window, .. } => pool::max_grad(window, saved(), grad),
            Op::AvgPool { window, count, .. } => pool::mean_grad((window, count), grad, pixels),
            Op::GlobalAvgPool => {
                pool::mean_grad((Window::whole(pixels), Count::Real), grad, pixels)
            }
            Op::GlobalMaxPool => pool::max_grad(Window::whole(pixels), saved(), grad),
            Op::Dropout { p, index } => self.drop_elements(p, index, grad),
            Op::BatchNorm { .. } => self.norm_grad(id, saved(), grad, tensors[1]),
            Op::Lrn { size, alpha, beta, k } => {
                lrn::Lrn { size, constants: [alpha, beta, k].map(number) }.input_grad(saved(), grad)
            }
            Op::Add => grad.to_owned(),
            Op::Concat => {
                let channels = |id: &NodeId| self.graph.node(*id).shape.channels();
                let first: usize = inputs[..input].iter().map(channels).sum();
                join::concat_grad(grad, first..first + shape.channels())
            }
            Op::Mul => join::multiply_grad(grad, &self.read_all(tensors), pixels),
            Op::Input | Op::Softmax => panic!("{id} has no input gradient (a bug in nin)"),
        }
    }

    /// What a batch normalisation contributes to the gradient of its operand, group by group. Sums over the whole batch are the
    /// gradients of scale and shift.
    fn norm_grad(
        &self,
        id: NodeId,
        x: ArrayView4<'_, T>,
        grad: ArrayView4<'_, T>,
        statistics: TensorId,
    ) -> Array4<T> {
        let Op::BatchNorm { eps, ghost, weights, .. } = self.graph.node(id).op else {
            panic!("{id} does not normalise (a bug in nin)");
        };
        let normalised = self.normalised(id, x, statistics);
        let mut result = Array4::zeros(x.dim());
        for (number, group) in norm::groups(x.dim().0, ghost).into_iter().enumerate() {
            let variance = self.values[&statistics].index_axis(Axis(0), 2 * number + 1);
            let variance = variance.into_dimensionality().expect("a row of statistics");
            let normalised = normalised.slice(s![group.clone(), .., .., ..]);
            let grad = grad.slice(s![group.clone(), .., .., ..]);
            let sums = match ghost {
                0 => [weights.scale, weights.shift].map(|id| {
                    let sum = self.values[&TensorId::WeightGrad(id)].clone();
                    sum.into_dimensionality().expect("a number a channel")
                }),
                _ => norm::sums(normalised, grad),
            };
            let sums = [sums[0].view(), sums[1].view()];
            let scale = self.row(weights.scale);
            let of_group = norm::input_grad((eps, variance), scale, sums, normalised, grad);
            result.slice_mut(s![group, .., .., ..]).assign(&of_group);
        }
        result
    }

    /// Images of a group whose statistics a batch normalisation takes; 0 if the whole batch is one.
    fn ghost(&self, id: NodeId) -> usize {
        let Op::BatchNorm { ghost, .. } = self.graph.node(id).op else {
            panic!("{id} does not normalise (a bug in nin)");
        };
        ghost
    }

    /// A convolution's kernel, `[out, in, kh, kw]`; an `fc`'s too.
    fn kernel(&self, id: NodeId) -> ArrayView4<'_, T> {
        let Op::Conv { window, weight, .. } = self.graph.node(id).op else {
            panic!("{id} has no kernel (a bug in nin)");
        };
        let (out, fan_in) = (self.graph.weight(weight).dims[0], self.graph.weight(weight).fan_in());
        let (kernel_h, kernel_w) = window.kernel();
        let dims = (out, fan_in / window.taps(), kernel_h, kernel_w);
        let kernel = self.inputs.weights[weight.index()].view();
        kernel.into_shape_with_order(dims).expect("a kernel has its elements, in standard layout")
    }

    /// A batch normalisation's operand, normalised by the statistics of a batch or of its groups.
    fn normalised(&self, id: NodeId, x: ArrayView4<'_, T>, statistics: TensorId) -> Array4<T> {
        let Op::BatchNorm { eps, ghost, .. } = self.graph.node(id).op else {
            panic!("{id} does not normalise (a bug in nin)");
        };
        let statistics = self.values[&statistics].view();
        let statistics = statistics.into_dimensionality::<Ix2>().expect("rows of channels");
        let mut normalised = Array4::zeros(x.dim());
        for (number, group) in norm::groups(x.dim().0, ghost).into_iter().enumerate() {
            let rows = statistics.slice(s![2 * number..2 * number + 2, ..]);
            let of_group = norm::normalised(eps, rows, x.slice(s![group.clone(), .., .., ..]));
            normalised.slice_mut(s![group, .., .., ..]).assign(&of_group);
        }
        normalised
    }

    /// A weight of one dimension.
    fn row(&self, id: WeightId) -> ArrayView1<'_, T> {
        self.inputs.weights[id.index()].view().into_dimensionality().expect("a number a channel")
    }

    /// A value or its gradient under a dropout's mask.
    fn drop_elements(&self, p: f64, index: u32, x: ArrayView4<'_, T>) -> Array4<T> {
        let mut dropped = x.to_owned();
        let Some(DropoutKey { seed, step }) = self.inputs.dropout else { return dropped };
        let layer_key = dropout::layer_key(seed, step, index);
        let (_, channels, _, width) = x.dim();
        for ((n, c, y, x), value) in dropped.indexed_iter_mut() {
            let element = (y * width + x) * channels + c;
            let element = u32::try_from(element).expect("the limits keep an activation small");
            let keeps = dropout::keeps(
                dropout::image_key(layer_key, n as u64),
                element,
                dropout::threshold(p),
            );
            *value = if keeps { *value * number(dropout::scale(p)) } else { T::zero() };
        }
        dropped
    }

    /// Several tensors, each as [`Run::read`] has it.
    fn read_all(&self, tensors: &[TensorId]) -> Vec<ArrayView4<'_, T>> {
        tensors.iter().map(|&tensor| self.read(tensor)).collect()
    }

    /// A tensor as `[N, C, H, W]`; a vector's features are channels of one pixel.
    fn read(&self, tensor: TensorId) -> ArrayView4<'_, T> {
        let shape = match tensor {
            TensorId::Value(id) | TensorId::Grad(id) => self.graph.node(id).shape,
            TensorId::WeightGrad(_)
            | TensorId::Statistics(_)
            | TensorId::Labels
            | TensorId::Loss => {
                panic!("no computation reads {tensor} as an array (a bug in nin)")
            }
        };
        let value = self.values.get(&tensor);
        let value = value.unwrap_or_else(|| panic!("{tensor} is read before it is computed"));
        maps(shape, value)
    }
}

/// Activations of a shape as `[N, C, H, W]`.
fn maps<T>(shape: Shape, value: &ArrayD<T>) -> ArrayView4<'_, T> {
    let dims = (value.shape()[0], shape.channels(), shape.height(), shape.width());
    value.view().into_shape_with_order(dims).expect("a tensor has its node's shape")
}

/// `[N, C, H, W]` as the arrays of a run have it.
fn batch<T: NdFloat>(shape: Shape, value: Array4<T>) -> ArrayD<T> {
    let dims: Vec<usize> = [value.dim().0].into_iter().chain(shape.dims()).collect();
    let value = value.as_standard_layout().into_owned();
    value.into_shape_with_order(dims).expect("a tensor has its node's shape")
}
