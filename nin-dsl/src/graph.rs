//! [`Graph`], the checked model: [`Op`]s with known shapes, what each reads, and the [`Weight`]s among it.
//!
//! This is the contract between the language and everything that runs it. Layers are words of the language; each one
//! has become one or more ops here, and the runtime never looks at a layer's word again.
#![warn(clippy::wildcard_enum_match_arm)]

mod activation;
mod build;
mod cursor;
mod group;
pub mod join;
mod readers;
mod show;
mod verify;

use std::fmt;
use std::ops::{Range, RangeInclusive};

pub use self::activation::Activation;
pub use self::build::{BuildError, Builder, Convolution};
pub use self::cursor::Cursor;
pub use self::group::{Group, GroupKind};
pub use self::join::Join;
pub use self::readers::Readers;
pub use crate::number::Number;
use crate::shape::{Count, Round, Shape, Window};
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
}

impl LayerId {
    /// Position in [`Graph::layers`].
    pub fn index(self) -> usize {
        self.0 as usize
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

/// What a node computes from the nodes it reads. Closed: a new op is a list of compile errors where it is missing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// The images; always node 0.
    Input,
    /// Cross-correlation over all input channels of a group. `fc` is the convolution whose window is the whole input.
    Conv {
        /// Kernel, stride, zero padding and dilation.
        window: Window,
        /// Groups of neighbouring channels, each of which sees its own share of the input's: they divide both. With as many
        /// as there are input channels it is a depthwise convolution.
        groups: usize,
        /// Kernel weights.
        weight: WeightId,
        /// One number an output channel, if the layer has a bias.
        bias: Option<WeightId>,
    },
    /// `max(x, 0)`.
    Relu,
    /// A function of each number alone.
    Activation(Activation),
    /// `x`, but `slope * x` where `x < 0`, with a slope for each channel.
    PRelu {
        /// Trained; it may become negative.
        slope: WeightId,
    },
    /// Maximum over a window clipped to the input; the first in row order takes the gradient; NaN wins.
    MaxPool {
        /// Window.
        window: Window,
        /// How the output size was rounded.
        round: Round,
    },
    /// Mean over a window.
    AvgPool {
        /// Window.
        window: Window,
        /// How the output size was rounded.
        round: Round,
        /// What the sum of its real pixels is divided by.
        count: Count,
    },
    /// Mean over all pixels of a channel.
    GlobalAvgPool,
    /// Maximum over all pixels of a channel; the first in row order takes the gradient; NaN wins.
    GlobalMaxPool,
    /// Inverted dropout: in training an element is zero with probability `p`, else scaled by `1 / (1 - p)`.
    Dropout {
        /// Probability of a zero.
        p: f64,
        /// This dropout's number in the graph, from 0: a part of the counter its mask is hashed from.
        index: u32,
    },
    /// `scale (x - mean) / sqrt(variance + eps) + shift`, channel by channel. Training takes mean and (biased) variance of
    /// the whole batch, or of groups of its images, and moves the running ones towards them, those of one group after the
    /// other's, unless a channel has one number there, which has no variance; inference takes the running ones.
    BatchNorm {
        /// Keeps the divisor away from zero: at least [`crate::limits::LEAST_EPS`].
        eps: f64,
        /// How far a step moves the running statistics: `running = (1 - momentum) running + momentum batch`.
        momentum: f64,
        /// Images of a group, counted from the start of the batch, at least 2; 0 if the whole batch is one. A last group of
        /// fewer than half as many joins the one before it.
        ghost: usize,
        /// What they read.
        weights: BatchNormWeights,
    },
    /// Local response normalisation: `x / (k + alpha / size * s)^beta`, where `s` is the sum of the squares of the `size`
    /// channels around this one at the same pixel, as many of them as there are.
    Lrn {
        /// Channels that a sum is over: odd.
        size: usize,
        /// What the mean square is multiplied by. Never negative.
        alpha: f64,
        /// The power. Never negative.
        beta: f64,
        /// What the sum starts from, so that it is positive: at least [`crate::limits::LEAST_EPS`].
        k: f64,
    },
    /// `exp(x) / sum exp(x)` over the channels; the last node, if present.
    Softmax,
    /// The sum of two values or more of one shape, added in the order of the inputs.
    Add,
    /// The channels of two values or more, one value's after the other's: of maps of equal height and width, or of vectors.
    Concat,
    /// The product of two values or more, multiplied in the order of the inputs. Each has the result's shape or is one number a
    /// channel (a vector, or a map of one pixel), which scales every pixel of the channel.
    Mul,
}

impl Op {
    /// How many values it reads.
    pub fn arity(self) -> RangeInclusive<usize> {
        match self {
            Op::Input => 0..=0,
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
            | Op::Softmax => 1..=1,
            Op::Add | Op::Concat | Op::Mul => 2..=usize::MAX,
        }
    }
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

/// One op, what it reads, the shape it yields and the layer it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it computes.
    pub op: Op,
    /// The nodes whose values it reads, all of them before it.
    pub inputs: Vec<NodeId>,
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
    /// A [`Op::PRelu`]'s slopes: `[channels]`.
    Slope,
    /// A batch normalisation's running mean: `[channels]`.
    RunningMean,
    /// A batch normalisation's running variance: `[channels]`.
    RunningVariance,
}

impl Role {
    /// Whether the loss has a gradient with respect to it; what is not trained is measured while others are.
    pub fn is_trained(self) -> bool {
        match self {
            Role::Kernel | Role::Bias | Role::Scale | Role::Shift | Role::Slope => true,
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
            Role::Bias
            | Role::Scale
            | Role::Shift
            | Role::Slope
            | Role::RunningMean
            | Role::RunningVariance => 1,
        }
    }
}

/// A layer's argument after defaults, parameters and words are resolved.
#[derive(Clone, Debug, PartialEq)]
pub enum ArgValue {
    /// A single number.
    Number(Number),
    /// Several: a layer's channel counts, or of what differs between the axes of a window two (vertical, horizontal) or between
    /// its sides four (top, left, bottom, right).
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
    /// Rows and columns of input pixels that one output pixel sees, not clipped to the input.
    pub receptive_field: [u64; 2],
}

/// A layer as the language has it, for people: tables, messages and weight names come from here.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// The language's word, such as `mlpconv`.
    pub word: &'static str,
    /// Word and number from 1 in the order of the text, such as `mlpconv2`: the prefix of its weights. A join comes after its
    /// branches.
    pub name: String,
    /// The layers whose results it reads: none for `input`, the one before it for a layer of a chain, and one a branch for a
    /// join, where a branch without layers is the layer before the join.
    pub inputs: Vec<LayerId>,
    /// Every argument, resolved, in the order of the language reference.
    pub args: Vec<(&'static str, ArgValue)>,
    /// Shape it reads; for a join, the shape that its branches read. For `input`, the shape it yields.
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

/// A checked model. Only its [`Builder`] makes one, so that whoever holds one holds what was checked.
///
/// Invariants, which [`Graph::verify`] checks:
/// 1. node 0 is the only [`Op::Input`]; every other node reads as many nodes as its op takes, all of them before it, so that a
///    forward scan is an evaluation order and a reverse scan one of reverse-mode differentiation;
/// 2. every node but the last, which is the model's result, has a reader;
/// 3. every node's shape follows from its op and the shapes that it reads;
/// 4. every weight is read by exactly one node, which gives it its dimensions;
/// 5. [`Op::Softmax`] reads a vector and stands last; dropouts are numbered from 0 in order;
/// 6. the layers' node ranges tile the nodes, a node's layer is the one whose range holds it, and a layer's inputs are the
///    layers of what its nodes read beyond that range;
/// 7. groups hold at least one layer and nest, each after the one around it.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    name: String,
    params: Vec<(String, Number)>,
    nodes: Vec<Node>,
    weights: Vec<Weight>,
    layers: Vec<Layer>,
    groups: Vec<Group>,
}

impl Graph {
    /// The model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The model's parameters with their values, defaults overridden.
    pub fn params(&self) -> &[(String, Number)] {
        &self.params
    }

    /// Ops in evaluation order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Trained and measured tensors, in the order of the nodes that read them; a kernel before its bias, scale and shift
    /// before running mean and variance.
    pub fn weights(&self) -> &[Weight] {
        &self.weights
    }

    /// Layers in the order of the text, `input` included.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Uses of blocks, passes of repetitions and branches, in order, each after the one around it.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Shape of one image.
    pub fn input(&self) -> Shape {
        self.nodes[0].shape
    }

    /// Shape of one image's result.
    pub fn output(&self) -> Shape {
        self.node(self.result()).shape
    }

    /// The node whose value is the model's result: the last.
    pub fn result(&self) -> NodeId {
        self.ids().next_back().expect("a graph has an input")
    }

    /// The node with this id.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The one node that a node reads.
    ///
    /// # Panics
    /// If it reads none or several, which is a bug in nin.
    pub fn operand(&self, id: NodeId) -> NodeId {
        match *self.node(id).inputs {
            [operand] => operand,
            ref inputs => panic!("{id} reads {} nodes (a bug in nin)", inputs.len()),
        }
    }

    /// The channel of a node's value that the first channel of one of its inputs becomes, if it puts their channels one after the
    /// other.
    pub fn first_channel(&self, id: NodeId, input: usize) -> usize {
        let before = &self.node(id).inputs[..input];
        before.iter().map(|&id| self.node(id).shape.channels()).sum()
    }

    /// The weight with this id.
    pub fn weight(&self, id: WeightId) -> &Weight {
        &self.weights[id.index()]
    }

    /// The layer with this id.
    pub fn layer(&self, id: LayerId) -> &Layer {
        &self.layers[id.index()]
    }

    /// The layer that asked for a node.
    pub fn layer_of(&self, id: NodeId) -> &Layer {
        self.layer(self.node(id).layer)
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
        let last = self.result();
        match self.node(last).op {
            Op::Softmax => self.operand(last),
            Op::Input
            | Op::Conv { .. }
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
            | Op::Add
            | Op::Concat
            | Op::Mul => last,
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

    /// The model up to the last layer that yields maps: without `gap`, `gmp` or `fc` and what follows them.
    pub fn feature_maps(&self) -> Graph {
        let readers = Readers::of(self);
        let is_last = |&count: &usize| {
            let layer = &self.layers[count - 1];
            matches!(layer.output, Shape::Map { .. }) && self.ends_at(layer.nodes.end, &readers)
        };
        let last = (1..=self.layers.len()).rev().find(is_last).expect("the input is a map");
        self.first_layers(last)
    }

    /// Whether all that comes after the first `count` nodes is made of the last of them.
    fn ends_at(&self, count: usize, readers: &Readers) -> bool {
        let inside = |id: NodeId| readers.of_value(id).iter().all(|reader| reader.index() < count);
        self.ids().take(count - 1).all(inside)
    }

    /// The model's first layers, at least one, and the weights they read. Nothing but the last of their values may be read by
    /// what comes after them.
    ///
    /// # Panics
    /// If another is, or there are fewer layers.
    pub fn first_layers(&self, count: usize) -> Graph {
        let nodes = self.layers[count - 1].nodes.end;
        assert!(self.ends_at(nodes, &Readers::of(self)), "{count} layers end in no one value");
        let mut graph = self.clone();
        graph.layers.truncate(count);
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

    /// The same model without places in a text, for comparing it with what another text of it means.
    #[must_use]
    pub fn without_places(mut self) -> Graph {
        self.layers.iter_mut().for_each(|layer| layer.span = Span::default());
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
            | Op::Activation(_)
            | Op::PRelu { .. }
            | Op::MaxPool { .. }
            | Op::AvgPool { .. }
            | Op::GlobalAvgPool
            | Op::GlobalMaxPool
            | Op::Dropout { .. }
            | Op::BatchNorm { .. }
            | Op::Lrn { .. }
            | Op::Softmax
            | Op::Add
            | Op::Concat
            | Op::Mul => 0,
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
