//! [`Graph`], the checked model: a chain of [`Op`]s with known shapes, and the [`Weight`]s they read.
//!
//! This is the contract between the language and everything that runs it. Layers are words of the language; each one
//! has become one or more ops here, and the runtime never looks at a layer's word again.
#![warn(clippy::wildcard_enum_match_arm)]

mod build;
mod group;

use std::fmt;
use std::ops::Range;

pub use self::build::{BuildError, Builder};
pub use self::group::{Group, GroupKind};
use crate::limits;
pub use crate::number::Number;
use crate::shape::{Round, Shape, Window};
use crate::span::Span;

/// Index of a [`Node`] in its [`Graph`]. Prints as `%3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// Index of a [`Weight`] in its [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WeightId(pub u32);

/// Index of a [`Layer`] in its [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LayerId(pub u32);

impl NodeId {
    /// Position in [`Graph::nodes`].
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// The node this one reads: the one before it. `None` for the input.
    pub fn operand(self) -> Option<NodeId> {
        self.0.checked_sub(1).map(NodeId)
    }
}

impl WeightId {
    /// Position in [`Graph::weights`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

/// What a node computes from the node before it. Closed: a new op is a list of compile errors where it is missing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// The images; always node 0.
    Input,
    /// Cross-correlation over all input channels. `fc` is the convolution whose window is the whole input.
    Conv {
        /// Kernel, stride and zero padding.
        window: Window,
        /// Kernel weights.
        weight: WeightId,
        /// One number an output channel, if the layer has a bias.
        bias: Option<WeightId>,
    },
    /// `max(x, 0)`.
    Relu,
    /// `x`, but `slope * x` where `x < 0`.
    LeakyRelu {
        /// What negative numbers are multiplied by. Never negative: a value has the sign of its operand, or is zero, so
        /// that the value alone tells which gradient applies.
        slope: f64,
    },
    /// `x`, but `alpha * (exp(x) - 1)` where `x <= 0`; its gradient there is the value plus `alpha`.
    Elu {
        /// Minus what large negative numbers become. Never negative: a value has the sign of its operand, or is zero, so
        /// that the value alone tells the gradient.
        alpha: f64,
    },
    /// Maximum over a window clipped to the input; the first in row order takes the gradient; NaN wins.
    MaxPool {
        /// Window.
        window: Window,
        /// How the output size was rounded.
        round: Round,
    },
    /// Mean over the real pixels of a window.
    AvgPool {
        /// Window.
        window: Window,
        /// How the output size was rounded.
        round: Round,
    },
    /// Mean over all pixels of a channel.
    GlobalAvgPool,
    /// Inverted dropout: in training an element is zero with probability `p`, else scaled by `1 / (1 - p)`.
    Dropout {
        /// Probability of a zero.
        p: f64,
        /// This dropout's number in the graph, from 0: a part of the counter its mask is hashed from.
        index: u32,
    },
    /// `scale (x - mean) / sqrt(variance + eps) + shift`, channel by channel. Training takes mean and (biased) variance of
    /// the whole batch and moves the running ones towards them, unless a channel has one number in it, which has no variance;
    /// inference takes the running ones.
    BatchNorm {
        /// Keeps the divisor away from zero: at least [`limits::LEAST_EPS`].
        eps: f64,
        /// How far a step moves the running statistics: `running = (1 - momentum) running + momentum batch`.
        momentum: f64,
        /// What they read.
        weights: BatchNormWeights,
    },
    /// `exp(x) / sum exp(x)` over the channels; the last node, if present.
    Softmax,
}

/// The tensors of a [`Op::BatchNorm`], one number a channel in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchNormWeights {
    /// Trained.
    pub scale: WeightId,
    /// Trained.
    pub shift: WeightId,
    /// Running mean.
    pub mean: WeightId,
    /// Running variance, of samples (unbiased).
    pub variance: WeightId,
}

impl BatchNormWeights {
    /// All of them, in the graph's order.
    pub fn all(self) -> [WeightId; 4] {
        let BatchNormWeights { scale, shift, mean, variance } = self;
        [scale, shift, mean, variance]
    }
}

/// One op, the shape it yields and the layer it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it computes.
    pub op: Op,
    /// Shape of one image's result.
    pub shape: Shape,
    /// The layer that asked for it.
    pub layer: LayerId,
}

/// What a weight tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A convolution's kernel: `[out, in, kh, kw]`, or `[out, in]` of an `fc`.
    Kernel,
    /// A bias: `[out]`.
    Bias,
    /// A batch normalisation's scale: `[channels]`.
    Scale,
    /// A batch normalisation's shift: `[channels]`.
    Shift,
    /// A batch normalisation's running mean: `[channels]`.
    RunningMean,
    /// A batch normalisation's running variance: `[channels]`.
    RunningVariance,
}

impl Role {
    /// Whether the loss has a gradient with respect to it; what is not trained is measured while others are.
    pub fn is_trained(self) -> bool {
        match self {
            Role::Kernel | Role::Bias | Role::Scale | Role::Shift => true,
            Role::RunningMean | Role::RunningVariance => false,
        }
    }
}

/// A tensor that a model is trained to, or measures while it is trained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Its name in a weights file, such as `mlpconv1.cccp1.weight`.
    pub name: String,
    /// Its dimensions in a weights file.
    pub dims: Vec<usize>,
    /// What it is for.
    pub role: Role,
    /// The node that reads it.
    pub node: NodeId,
}

impl Weight {
    /// Numbers in the tensor.
    pub fn elements(&self) -> usize {
        self.dims.iter().product()
    }

    /// Inputs summed into one output: `in * kh * kw` of a kernel, 1 of anything else.
    pub fn fan_in(&self) -> usize {
        match self.role {
            Role::Kernel => self.dims[1..].iter().product(),
            Role::Bias | Role::Scale | Role::Shift | Role::RunningMean | Role::RunningVariance => 1,
        }
    }
}

/// A layer's argument after defaults, parameters and words are resolved.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// A single number.
    Number(Number),
    /// The channel counts of a convolution layer.
    List(Vec<i64>),
}

/// What the checker knows about a layer besides its shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Trainable numbers.
    pub params: u64,
    /// Multiply-accumulates for one image, padding taps included.
    pub macs: u64,
    /// Bytes of float32 a training step keeps for one image, inner outputs included.
    pub activation_bytes: u64,
    /// Side of the square of input pixels that one output pixel sees, not clipped to the input.
    pub receptive_field: u64,
}

/// A layer as the language has it, for people: tables, messages and weight names come from here.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// The language's word, such as `mlpconv`.
    pub word: &'static str,
    /// Word and number from 1 in chain order, such as `mlpconv2`: the prefix of its weights.
    pub name: String,
    /// Every argument, resolved, in the order of the language reference.
    pub args: Vec<(&'static str, Arg)>,
    /// Shape it reads. For `input`, the shape it yields.
    pub input: Shape,
    /// Shape it yields.
    pub output: Shape,
    /// Parameters, multiply-accumulates, activation bytes, receptive field.
    pub facts: Facts,
    /// The layer's call in the source.
    pub span: Span,
    /// The nodes it became.
    pub nodes: Range<usize>,
}

/// A checked model.
///
/// Invariants, which [`Graph::verify`] checks:
/// 1. node 0 is the only [`Op::Input`]; every other node reads the node before it, so a forward scan is evaluation
///    order and a reverse scan is the order of reverse-mode differentiation;
/// 2. every node's shape follows from its op and its operand's shape;
/// 3. every weight is read by exactly one node, which gives it its dimensions;
/// 4. [`Op::Softmax`] reads a vector and stands last; dropouts are numbered from 0 in order;
/// 5. the layers' node ranges tile the nodes, and a node's layer is the one whose range holds it;
/// 6. groups hold at least one layer and nest, each after the one around it.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// The model's name.
    pub name: String,
    /// The model's parameters with their values, defaults overridden.
    pub params: Vec<(String, Number)>,
    /// Ops in evaluation order.
    pub nodes: Vec<Node>,
    /// Trained and measured tensors, in the order of the nodes that read them; a kernel before its bias, scale and shift
    /// before running mean and variance.
    pub weights: Vec<Weight>,
    /// Layers in chain order, `input` included.
    pub layers: Vec<Layer>,
    /// Uses of blocks and passes of repetitions, in order, each after the one around it.
    pub groups: Vec<Group>,
}

impl Graph {
    /// Shape of one image.
    pub fn input(&self) -> Shape {
        self.nodes[0].shape
    }

    /// Shape of one image's result.
    pub fn output(&self) -> Shape {
        self.nodes[self.nodes.len() - 1].shape
    }

    /// The node with this id.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The weight with this id.
    pub fn weight(&self, id: WeightId) -> &Weight {
        &self.weights[id.index()]
    }

    /// Node ids in evaluation order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (0..u32::try_from(self.nodes.len()).expect("a graph has fewer than 2^32 nodes")).map(NodeId)
    }

    /// Weight ids in order.
    pub fn weight_ids(&self) -> impl Iterator<Item = WeightId> + use<> {
        (0..u32::try_from(self.weights.len()).expect("a graph has fewer than 2^32 weights"))
            .map(WeightId)
    }

    /// The last node whose value is the model's logits: the output, or what a final softmax reads.
    pub fn logits(&self) -> NodeId {
        let last = self.ids().next_back().expect("a graph has an input");
        match self.node(last).op {
            Op::Softmax => last.operand().expect("softmax is never first"),
            Op::Input
            | Op::Conv { .. }
            | Op::Relu
            | Op::LeakyRelu { .. }
            | Op::Elu { .. }
            | Op::MaxPool { .. }
            | Op::AvgPool { .. }
            | Op::GlobalAvgPool
            | Op::Dropout { .. }
            | Op::BatchNorm { .. } => last,
        }
    }

    /// The model up to its logits: without its softmax, if it has one.
    pub fn without_softmax(&self) -> Graph {
        // The softmax is all of its layer.
        match self.nodes.last().is_some_and(|node| node.op == Op::Softmax) {
            true => self.first_layers(self.layers.len() - 1),
            false => self.clone(),
        }
    }

    /// The model up to the last layer that yields maps: without `gap` or `fc` and what follows them.
    pub fn feature_maps(&self) -> Graph {
        let is_map = |layer: &Layer| matches!(layer.output, Shape::Map { .. });
        let last = self.layers.iter().rposition(is_map).expect("the input is a map");
        self.first_layers(last + 1)
    }

    /// The model's first layers, at least one, and the weights they read.
    fn first_layers(&self, count: usize) -> Graph {
        let mut graph = self.clone();
        graph.layers.truncate(count);
        let nodes = graph.layers[count - 1].nodes.end;
        graph.nodes.truncate(nodes);
        graph.weights.retain(|weight| weight.node.index() < nodes);
        for group in &mut graph.groups {
            group.layers.end = group.layers.end.min(count);
        }
        // A block may be all of what is gone.
        graph.groups.retain(|group| !group.layers.is_empty());
        graph.verified()
    }

    /// The graph itself; where assertions are on, one that keeps its invariants.
    pub(crate) fn verified(self) -> Graph {
        if cfg!(debug_assertions) {
            self.verify();
        }
        self
    }

    /// Trainable numbers of the whole model.
    pub fn params_total(&self) -> u64 {
        self.layers.iter().map(|layer| layer.facts.params).sum()
    }

    /// Multiply-accumulates for one image, padding taps included.
    pub fn macs_total(&self) -> u64 {
        self.layers.iter().map(|layer| layer.facts.macs).sum()
    }

    /// Multiply-accumulates of one node for one image, padding taps included.
    pub fn macs(&self, id: NodeId) -> u64 {
        match self.node(id).op {
            Op::Conv { weight, .. } => {
                let weight = self.weight(weight);
                (weight.elements() * self.node(id).shape.pixels()) as u64
            }
            Op::Input
            | Op::Relu
            | Op::LeakyRelu { .. }
            | Op::Elu { .. }
            | Op::MaxPool { .. }
            | Op::AvgPool { .. }
            | Op::GlobalAvgPool
            | Op::Dropout { .. }
            | Op::BatchNorm { .. }
            | Op::Softmax => 0,
        }
    }

    /// Checks the invariants listed on [`Graph`].
    ///
    /// # Panics
    /// On a violation, which is a bug in nin: no text a user can write leads here.
    pub fn verify(&self) {
        let mut dropouts = 0;
        let mut read = vec![0usize; self.weights.len()];
        for id in self.ids() {
            let node = self.node(id);
            let input = id.operand().map(|operand| self.node(operand).shape);
            let expected = match (node.op, input) {
                (Op::Input, None) => Some(node.shape),
                (Op::Input, Some(_)) | (_, None) => None,
                (Op::Conv { window, weight, bias }, Some(input)) => {
                    read[weight.index()] += 1;
                    let weight = self.weight(weight);
                    let channels = weight.dims[0];
                    assert_eq!(weight.node, id, "{id} is not the reader of {}", weight.name);
                    assert_eq!(weight.fan_in(), window.taps() * input.channels(), "{id}: fan-in");
                    if let Some(bias) = bias {
                        read[bias.index()] += 1;
                        assert_eq!(self.weight(bias).dims, [channels], "{id}: bias");
                    }
                    conv_output(node.shape, input, window, channels)
                }
                (Op::MaxPool { window, round } | Op::AvgPool { window, round }, Some(input)) => {
                    window
                        .output((input.height(), input.width()), round)
                        .map(|(h, w)| Shape::map(input.channels(), h, w))
                }
                (Op::Relu, Some(input)) => Some(input),
                (Op::LeakyRelu { slope }, Some(input)) => {
                    assert!(slope >= 0.0 && slope.is_finite(), "{id}: slope {slope}");
                    Some(input)
                }
                (Op::Elu { alpha }, Some(input)) => {
                    assert!(alpha >= 0.0 && alpha.is_finite(), "{id}: alpha {alpha}");
                    Some(input)
                }
                (Op::Dropout { p, index }, Some(input)) => {
                    assert!((0.0..1.0).contains(&p), "{id}: dropout probability {p}");
                    assert_eq!(index, dropouts, "{id}: dropout number");
                    dropouts += 1;
                    Some(input)
                }
                (Op::BatchNorm { eps, momentum, weights }, Some(input)) => {
                    assert!(eps >= limits::LEAST_EPS && eps.is_finite(), "{id}: eps {eps}");
                    assert!((0.0..=1.0).contains(&momentum), "{id}: momentum {momentum}");
                    for weight in weights.all() {
                        read[weight.index()] += 1;
                        assert_eq!(self.weight(weight).dims, [input.channels()], "{id}: channels");
                    }
                    Some(input)
                }
                (Op::GlobalAvgPool, Some(input)) => Some(Shape::Vector { n: input.channels() }),
                (Op::Softmax, Some(input)) => {
                    assert_eq!(id.index() + 1, self.nodes.len(), "{id}: softmax stands last");
                    matches!(input, Shape::Vector { .. }).then_some(input)
                }
            };
            assert_eq!(expected, Some(node.shape), "{id}: {:?}: shape (a bug in nin)", node.op);
            let layer = &self.layers[node.layer.0 as usize];
            assert!(layer.nodes.contains(&id.index()), "{id} is not a node of {}", layer.name);
        }
        assert!(read.iter().all(|&times| times == 1), "a weight is read once (a bug in nin)");
        let tiled = self.layers.iter().fold(0, |end, layer| {
            assert_eq!(layer.nodes.start, end, "{}: node range", layer.name);
            layer.nodes.end
        });
        assert_eq!(tiled, self.nodes.len(), "the layers' node ranges tile the nodes");
        group::verify(&self.groups, self.layers.len());
    }
}

/// The shape a convolution must have; a vector (`fc`) only where its window is the whole input.
fn conv_output(claimed: Shape, input: Shape, window: Window, channels: usize) -> Option<Shape> {
    let size = (input.height(), input.width());
    match claimed {
        Shape::Vector { .. } => {
            let whole = Window { kernel: size, stride: 1, pad: 0 };
            (window == whole).then_some(Shape::Vector { n: channels })
        }
        Shape::Map { .. } => {
            window.output(size, Round::Floor).map(|(h, w)| Shape::map(channels, h, w))
        }
    }
}

impl fmt::Display for Graph {
    /// One line a node: `nin show --stage graph`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "graph {}", self.name)?;
        if !self.params.is_empty() {
            let params: Vec<String> =
                self.params.iter().map(|(n, v)| format!("{n} = {v}")).collect();
            write!(f, "({})", params.join(", "))?;
        }
        writeln!(f)?;
        for id in self.ids() {
            let node = self.node(id);
            let layer = &self.layers[node.layer.0 as usize];
            let op = self.describe(id);
            writeln!(
                f,
                "  {:<4} = {op:<44} {:<12} {}",
                id.to_string(),
                node.shape.to_string(),
                layer.name
            )?;
        }
        Ok(())
    }
}

impl Graph {
    /// A node's op with its operand and attributes, such as `conv(%0) 5x5 s1 p2 mlpconv1.conv`.
    pub fn describe(&self, id: NodeId) -> String {
        let operand = id.operand().map_or(String::new(), |operand| operand.to_string());
        match self.node(id).op {
            Op::Input => "input".to_owned(),
            Op::Conv { window, weight, bias } => {
                let name = self.weight(weight).name.trim_end_matches(".weight");
                let bias = if bias.is_some() { "" } else { " no bias" };
                format!("conv({operand}) {window} {name}{bias}")
            }
            Op::Relu => format!("relu({operand})"),
            Op::LeakyRelu { slope } => format!("leaky_relu({operand}) slope {slope}"),
            Op::Elu { alpha } => format!("elu({operand}) alpha {alpha}"),
            Op::MaxPool { window, round } => format!("maxpool({operand}) {window} {round}"),
            Op::AvgPool { window, round } => format!("avgpool({operand}) {window} {round}"),
            Op::GlobalAvgPool => format!("gap({operand})"),
            Op::Dropout { p, index } => format!("dropout({operand}) p {p} mask {index}"),
            Op::BatchNorm { eps, momentum, .. } => {
                format!("batchnorm({operand}) eps {eps:e} momentum {momentum}")
            }
            Op::Softmax => format!("softmax({operand})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Source;

    #[test]
    fn a_softmax_is_taken_out_of_its_blocks() {
        let text = "block end < softmax > block head < gap end > < input(3, 2, 2) head >";
        let (whole, _) = crate::read(&Source::new("m", text), &[]).unwrap();
        let graph = whole.without_softmax();
        graph.verify();
        assert_eq!(graph.logits(), whole.logits());
        let groups: Vec<_> = graph.groups.iter().map(|group| group.kind.to_string()).collect();
        assert_eq!(groups, ["head"]);
        assert_eq!(graph.without_softmax(), graph);
    }

    #[test]
    fn feature_maps_are_what_the_head_reads() {
        let text = "block head < gap fc(4) relu fc(3) softmax > < input(3, 6, 6) mlpconv(4, 5) maxpool(2) head >";
        let (whole, _) = crate::read(&Source::new("m", text), &[]).unwrap();
        let graph = whole.feature_maps();
        graph.verify();
        assert_eq!(graph.output().to_string(), "5x3x3");
        assert!(graph.groups.is_empty());
        let names: Vec<&str> = graph.weights.iter().map(|weight| weight.name.as_str()).collect();
        assert_eq!(names[names.len() - 1], "mlpconv1.cccp1.bias");
        assert_eq!(graph.feature_maps(), graph);
    }
}
