//! [`Builder`], the only way to make a [`Graph`]: it derives shapes, weights, names and facts from the ops it is given,
//! and so keeps the graph's invariants.

use std::collections::BTreeMap;
use std::fmt;

use super::{
    Arg, BatchNormWeights, Facts, Graph, Group, Layer, LayerId, Node, NodeId, Number, Op, Role,
    Weight, WeightId,
};
use crate::limits;
use crate::shape::{Round, Shape, Window};
use crate::span::Span;

/// Appends ops to a graph, layer by layer.
#[derive(Debug)]
pub struct Builder {
    graph: Graph,
    /// How many layers of each word there are.
    numbers: BTreeMap<&'static str, usize>,
    dropouts: u32,
    params: u64,
    /// Side of the square of input pixels that one pixel of the last node sees.
    receptive_field: u64,
    /// Input pixels between neighbouring pixels of the last node.
    jump: u64,
}

/// Why an op cannot be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// No window fits its padded input.
    NoWindow {
        /// The window.
        window: Window,
        /// What it should slide over.
        input: Shape,
    },
    /// More than [`limits::ACTIVATION_ELEMENTS`] numbers in one activation.
    Activation {
        /// Channels, height and width.
        dims: [usize; 3],
    },
    /// More than [`limits::PARAMETERS`] trainable numbers.
    Parameters {
        /// Those before the op that broke the limit.
        before: u64,
        /// Those it adds.
        added: u128,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::NoWindow { window, input } => {
                let (kernel_h, kernel_w) = window.kernel;
                let (h, w) = (input.height() + 2 * window.pad, input.width() + 2 * window.pad);
                write!(f, "a {kernel_h}x{kernel_w} window does not fit in {h}x{w} pixels")?;
                match window.pad {
                    0 => Ok(()),
                    pad => write!(f, " ({}x{} padded by {pad})", input.height(), input.width()),
                }
            }
            BuildError::Activation { dims: [c, h, w] } => {
                let limit = limits::ACTIVATION_ELEMENTS;
                write!(f, "an activation of {c}x{h}x{w} numbers; the limit is {limit}")
            }
            BuildError::Parameters { before, added } => {
                let total = u128::from(*before).saturating_add(*added);
                write!(f, "{total} parameters up to here; the limit is {}", limits::PARAMETERS)
            }
        }
    }
}

impl std::error::Error for BuildError {}

impl Builder {
    /// A graph without nodes. The first op must be [`Builder::input`].
    pub fn new(name: String, params: Vec<(String, Number)>) -> Builder {
        let graph =
            Graph { name, params, nodes: vec![], weights: vec![], layers: vec![], groups: vec![] };
        Builder {
            graph,
            numbers: BTreeMap::new(),
            dropouts: 0,
            params: 0,
            receptive_field: 1,
            jump: 1,
        }
    }

    /// Begins a layer: the ops up to the next call are its own, and its weights are named after it.
    pub fn begin_layer(&mut self, word: &'static str, args: Vec<(&'static str, Arg)>, span: Span) {
        let number = self.numbers.entry(word).or_insert(0);
        *number += 1;
        let name = format!("{word}{number}");
        let (start, shape) = (self.graph.nodes.len(), self.shape());
        let facts = Facts { receptive_field: self.receptive_field, ..Facts::default() };
        let nodes = start..start;
        let layer = Layer { word, name, args, input: shape, output: shape, facts, span, nodes };
        self.graph.layers.push(layer);
    }

    /// The shape the next op reads; empty before the input.
    pub fn shape(&self) -> Shape {
        self.graph.nodes.last().map_or(Shape::map(0, 0, 0), |node| node.shape)
    }

    /// The graph, whose layers came from these groups.
    pub fn finish(self, groups: Vec<Group>) -> Graph {
        Graph { groups, ..self.graph }
    }

    /// The op appended last.
    pub fn last_op(&self) -> Option<Op> {
        self.graph.nodes.last().map(|node| node.op)
    }

    /// The images, `c x h x w`.
    ///
    /// # Errors
    /// If they are too large.
    pub fn input(&mut self, c: usize, h: usize, w: usize) -> Result<(), BuildError> {
        let shape = map(c, h, w)?;
        self.layer_mut().input = shape;
        self.push(Op::Input, shape, 1, 1);
        Ok(())
    }

    /// A convolution to `channels` channels. `part` tells the convolutions of one layer apart in their weights' names.
    ///
    /// # Errors
    /// If no window fits, or the result or the weights are too large.
    pub fn conv(
        &mut self,
        part: Option<&str>,
        channels: usize,
        window: Window,
        bias: bool,
    ) -> Result<(), BuildError> {
        let (h, w) = self.windows(window, Round::Floor)?;
        let shape = map(channels, h, w)?;
        let (kernel_h, kernel_w) = window.kernel;
        let dims = vec![channels, self.shape().channels(), kernel_h, kernel_w];
        self.push_conv(part, window, shape, dims, bias)
    }

    /// A fully connected layer of `n` outputs: the convolution whose window is the whole input.
    ///
    /// # Errors
    /// If the result or the weights are too large.
    pub fn fully_connected(&mut self, n: usize, bias: bool) -> Result<(), BuildError> {
        let input = self.shape();
        let window = Window { kernel: (input.height(), input.width()), stride: 1, pad: 0 };
        map(n, 1, 1)?;
        self.push_conv(None, window, Shape::Vector { n }, vec![n, input.elements()], bias)
    }

    /// `max(x, 0)`.
    pub fn relu(&mut self) {
        let shape = self.shape();
        self.push(Op::Relu, shape, 1, 1);
    }

    /// `x`, but `slope * x` where `x < 0`; the slope is at least 0.
    pub fn leaky_relu(&mut self, slope: f64) {
        let shape = self.shape();
        self.push(Op::LeakyRelu { slope }, shape, 1, 1);
    }

    /// `x`, but `alpha * (exp(x) - 1)` where `x <= 0`; `alpha` is at least 0.
    pub fn elu(&mut self, alpha: f64) {
        let shape = self.shape();
        self.push(Op::Elu { alpha }, shape, 1, 1);
    }

    /// A maximum over a window.
    ///
    /// # Errors
    /// If no window fits, or the result is too large.
    pub fn max_pool(&mut self, window: Window, round: Round) -> Result<(), BuildError> {
        self.pool(Op::MaxPool { window, round }, window, round)
    }

    /// A mean over the real pixels of a window.
    ///
    /// # Errors
    /// If no window fits, or the result is too large.
    pub fn avg_pool(&mut self, window: Window, round: Round) -> Result<(), BuildError> {
        self.pool(Op::AvgPool { window, round }, window, round)
    }

    /// A mean over each channel.
    pub fn global_avg_pool(&mut self) {
        let shape = self.shape();
        let side = shape.height().max(shape.width());
        self.push(Op::GlobalAvgPool, Shape::Vector { n: shape.channels() }, side, 1);
    }

    /// Dropout with probability `p` of a zero.
    pub fn dropout(&mut self, p: f64) {
        let (shape, index) = (self.shape(), self.dropouts);
        self.dropouts += 1;
        self.push(Op::Dropout { p, index }, shape, 1, 1);
    }

    /// Batch normalisation of each channel; `eps` is above 0, and `momentum` from 0 to 1.
    ///
    /// # Errors
    /// If the weights are too many.
    pub fn batch_norm(&mut self, eps: f64, momentum: f64) -> Result<(), BuildError> {
        let shape = self.shape();
        let channels = shape.channels();
        self.add_params(2 * channels as u128)?;
        let prefix = self.layer_mut().name.clone();
        let mut weight =
            |name, role| self.push_weight(format!("{prefix}.{name}"), vec![channels], role);
        let weights = BatchNormWeights {
            scale: weight("weight", Role::Scale),
            shift: weight("bias", Role::Shift),
            mean: weight("running_mean", Role::RunningMean),
            variance: weight("running_var", Role::RunningVariance),
        };
        self.push(Op::BatchNorm { eps, momentum, weights }, shape, 1, 1);
        Ok(())
    }

    /// Probabilities over a vector.
    pub fn softmax(&mut self) {
        let shape = self.shape();
        self.push(Op::Softmax, shape, 1, 1);
    }

    fn pool(&mut self, op: Op, window: Window, round: Round) -> Result<(), BuildError> {
        let (h, w) = self.windows(window, round)?;
        let shape = map(self.shape().channels(), h, w)?;
        self.push(op, shape, window.kernel.0, window.stride);
        Ok(())
    }

    /// Rows and columns of windows over the current shape.
    fn windows(&self, window: Window, round: Round) -> Result<(usize, usize), BuildError> {
        let input = self.shape();
        let fits = window.output((input.height(), input.width()), round);
        fits.ok_or(BuildError::NoWindow { window, input })
    }

    fn push_conv(
        &mut self,
        part: Option<&str>,
        window: Window,
        shape: Shape,
        dims: Vec<usize>,
        bias: bool,
    ) -> Result<(), BuildError> {
        let channels = shape.channels();
        let kernel = dims.iter().fold(1u128, |product, &dim| product.saturating_mul(dim as u128));
        self.add_params(kernel.saturating_add(if bias { channels as u128 } else { 0 }))?;
        let layer = self.layer_mut();
        let prefix = match part {
            Some(part) => format!("{}.{part}", layer.name),
            None => layer.name.clone(),
        };
        let weight = self.push_weight(format!("{prefix}.weight"), dims, Role::Kernel);
        let bias =
            bias.then(|| self.push_weight(format!("{prefix}.bias"), vec![channels], Role::Bias));
        let side = window.kernel.0.max(window.kernel.1);
        self.push(Op::Conv { window, weight, bias }, shape, side, window.stride);
        Ok(())
    }

    /// Counts trained numbers.
    fn add_params(&mut self, added: u128) -> Result<(), BuildError> {
        let before = self.params;
        match u64::try_from(added.saturating_add(u128::from(before))) {
            Ok(total) if total <= limits::PARAMETERS => self.params = total,
            _ => return Err(BuildError::Parameters { before, added }),
        }
        Ok(())
    }

    /// A weight of the node that is about to be pushed.
    fn push_weight(&mut self, name: String, dims: Vec<usize>, role: Role) -> WeightId {
        let (id, node) = (small(self.graph.weights.len()), small(self.graph.nodes.len()));
        let weight = Weight { name, dims, role, node: NodeId(node) };
        if role.is_trained() {
            self.layer_mut().facts.params += weight.elements() as u64;
        }
        self.graph.weights.push(weight);
        WeightId(id)
    }

    /// Appends a node whose window is `side` pixels wide and moves by `stride`.
    fn push(&mut self, op: Op, shape: Shape, side: usize, stride: usize) {
        let id = small(self.graph.nodes.len());
        let layer = LayerId(small(self.graph.layers.len() - 1));
        // A training step keeps one tensor of a convolution and the ReLU on top of it.
        let in_place = op == Op::Relu
            && self.graph.nodes.last().is_some_and(|before| {
                before.layer == layer && matches!(before.op, Op::Conv { .. })
            });
        self.graph.nodes.push(Node { op, shape, layer });
        let macs = self.graph.macs(NodeId(id));
        let reach = (side as u64 - 1).saturating_mul(self.jump);
        self.receptive_field = self.receptive_field.saturating_add(reach);
        self.jump = self.jump.saturating_mul(stride as u64);
        let receptive_field = self.receptive_field;
        let layer = self.layer_mut();
        layer.facts.macs += macs;
        layer.facts.receptive_field = receptive_field;
        if !in_place {
            layer.facts.activation_bytes += 4 * shape.elements() as u64;
        }
        layer.output = shape;
        layer.nodes.end += 1;
    }

    fn layer_mut(&mut self) -> &mut Layer {
        self.graph.layers.last_mut().expect("an op belongs to a layer (a bug in nin)")
    }
}

/// A map within the limits.
fn map(c: usize, h: usize, w: usize) -> Result<Shape, BuildError> {
    let elements = [c, h, w].iter().try_fold(1u64, |product, &dim| product.checked_mul(dim as u64));
    match elements {
        Some(elements) if elements <= limits::ACTIVATION_ELEMENTS => Ok(Shape::map(c, h, w)),
        _ => Err(BuildError::Activation { dims: [c, h, w] }),
    }
}

fn small(index: usize) -> u32 {
    u32::try_from(index).expect("the limits keep a graph below 2^32 nodes and weights")
}
