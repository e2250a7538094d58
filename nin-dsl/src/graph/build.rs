//! [`Builder`], the only way to make a [`Graph`]: it derives shapes, weights, names and facts from the ops it is given,
//! and so keeps the graph's invariants.

use std::collections::BTreeMap;
use std::fmt;

use super::{
    Activation, ArgValue, BatchNormWeights, Cursor, Facts, Graph, Group, Join, Layer, LayerId,
    Node, NodeId, Number, Op, Role, Weight, WeightId,
};
use crate::limits;
use crate::shape::{Count, Round, Shape, Window};
use crate::span::Span;

/// Appends ops to a graph, layer by layer. Each reads the one before it, unless [`Builder::resume`] went elsewhere.
///
/// Of what is appended at one cursor several times, as branches are, all must be read by the layer of one
/// [`Builder::begin_join`].
#[derive(Debug)]
pub struct Builder {
    graph: Graph,
    /// How many layers of each word there are.
    numbers: BTreeMap<&'static str, usize>,
    dropouts: u32,
    params: u64,
    /// What the next op reads.
    at: Cursor,
    /// What [`Builder::join`] reads.
    branches: Vec<Cursor>,
}

/// A convolution to append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Output channels.
    pub channels: usize,
    /// Kernel, stride, padding and dilation.
    pub window: Window,
    /// Groups of channels; at least 1.
    pub groups: usize,
    /// Whether it has a bias.
    pub bias: bool,
}

impl Convolution {
    /// One over all input channels, with a bias.
    pub fn new(channels: usize, window: Window) -> Convolution {
        Convolution { channels, window, groups: 1, bias: true }
    }
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
    /// Groups of a convolution that do not divide its channels.
    Groups {
        /// Groups.
        groups: usize,
        /// Input channels.
        inputs: usize,
        /// Output channels.
        outputs: usize,
    },
    /// More than [`limits::ACTIVATION_ELEMENTS`] numbers in one activation.
    Activation {
        /// Channels, height and width.
        dims: [usize; 3],
    },
    /// Branches that do not go together.
    Branches {
        /// What they leave.
        shapes: Vec<Shape>,
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
                let Window { y, x } = window;
                write!(f, "a {}x{} window ", y.kernel, x.kernel)?;
                if (y.dilation, x.dilation) != (1, 1) {
                    write!(f, "with gaps, {}x{} pixels, ", y.reach(), x.reach())?;
                }
                let (h, w) = (y.padded(input.height()), x.padded(input.width()));
                write!(f, "does not fit in {h}x{w} pixels")?;
                if y.pad == [0; 2] && x.pad == [0; 2] {
                    return Ok(());
                }
                write!(f, " ({}x{} padded by ", input.height(), input.width())?;
                let ([top, bottom], [left, right]) = (y.pad, x.pad);
                match [left, bottom, right] == [top; 3] {
                    true => write!(f, "{top})"),
                    false => write!(f, "{top} above, {left} left, {bottom} below, {right} right)"),
                }
            }
            BuildError::Groups { groups, inputs, outputs } => {
                let parts = [("input", inputs), ("output", outputs)];
                let left = parts.iter().filter(|(_, channels)| !channels.is_multiple_of(*groups));
                let left: Vec<String> =
                    left.map(|(what, channels)| format!("{channels} {what} channels")).collect();
                write!(f, "{groups} groups do not divide {}", left.join(" and "))
            }
            BuildError::Activation { dims: [c, h, w] } => {
                let limit = limits::ACTIVATION_ELEMENTS;
                write!(f, "an activation of {c}x{h}x{w} numbers; the limit is {limit}")
            }
            BuildError::Branches { shapes } => {
                let shapes: Vec<String> = shapes.iter().map(Shape::to_string).collect();
                write!(f, "branches of {} do not go together", shapes.join(", "))
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
            at: Cursor::START,
            branches: vec![],
        }
    }

    /// Where the next op goes.
    pub fn cursor(&self) -> Cursor {
        self.at
    }

    /// Goes on from a cursor of this graph's.
    pub fn resume(&mut self, cursor: Cursor) {
        self.at = cursor;
    }

    /// Begins a layer: the ops up to the next call are its own, and its weights are named after it.
    pub fn begin_layer(
        &mut self,
        word: &'static str,
        args: Vec<(&'static str, ArgValue)>,
        span: Span,
    ) {
        let number = self.numbers.entry(word).or_insert(0);
        *number += 1;
        let name = format!("{word}{number}");
        let (start, shape) = (self.graph.nodes.len(), self.shape());
        let facts = Facts { receptive_field: self.at.field, ..Facts::default() };
        let inputs = self.layers_at(&[self.at]);
        let (input, output, nodes) = (shape, shape, start..start);
        let layer = Layer { word, name, inputs, args, input, output, facts, span, nodes };
        self.graph.layers.push(layer);
    }

    /// Begins a layer that joins branches, given where they ended. They read what is at the cursor.
    pub fn begin_join(
        &mut self,
        word: &'static str,
        args: Vec<(&'static str, ArgValue)>,
        span: Span,
        branches: Vec<Cursor>,
    ) {
        self.begin_layer(word, args, span);
        self.layer_mut().inputs = self.layers_at(&branches);
        self.branches = branches;
    }

    /// The layers whose results stand at cursors.
    fn layers_at(&self, cursors: &[Cursor]) -> Vec<LayerId> {
        let nodes = cursors.iter().filter_map(|cursor| cursor.node);
        nodes.map(|node| self.graph.node(node).layer).collect()
    }

    /// The shape the next op reads; empty before the input.
    pub fn shape(&self) -> Shape {
        self.shape_at(self.at)
    }

    fn shape_at(&self, cursor: Cursor) -> Shape {
        cursor.node.map_or(Shape::map(0, 0, 0), |node| self.graph.node(node).shape)
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
        self.push(Op::Input, shape, [1, 1], 1);
        Ok(())
    }

    /// A convolution. `part` tells the convolutions of one layer apart in their weights' names.
    ///
    /// # Errors
    /// If groups do not divide the channels, no window fits, or the result or the weights are too large.
    pub fn conv(&mut self, part: Option<&str>, conv: Convolution) -> Result<(), BuildError> {
        let Convolution { channels, window, groups, bias } = conv;
        let inputs = self.shape().channels();
        if !inputs.is_multiple_of(groups) || !channels.is_multiple_of(groups) {
            return Err(BuildError::Groups { groups, inputs, outputs: channels });
        }
        let (h, w) = self.windows(window, Round::Floor)?;
        let shape = map(channels, h, w)?;
        let (kernel_h, kernel_w) = window.kernel();
        let dims = vec![channels, inputs / groups, kernel_h, kernel_w];
        self.push_conv(part, (window, groups), shape, dims, bias)
    }

    /// A fully connected layer of `n` outputs: the convolution whose window is the whole input.
    ///
    /// # Errors
    /// If the result or the weights are too large.
    pub fn fully_connected(&mut self, n: usize, bias: bool) -> Result<(), BuildError> {
        let input = self.shape();
        let window = Window::whole((input.height(), input.width()));
        map(n, 1, 1)?;
        self.push_conv(None, (window, 1), Shape::Vector { n }, vec![n, input.elements()], bias)
    }

    /// `max(x, 0)`.
    pub fn relu(&mut self) {
        let shape = self.shape();
        self.push(Op::Relu, shape, [1, 1], 1);
    }

    /// A function of each number, whose own number is in its range.
    pub fn activation(&mut self, activation: Activation) {
        let shape = self.shape();
        self.push(Op::Activation(activation), shape, [1, 1], 1);
    }

    /// `x`, but a trained slope of its channel times `x` where `x < 0`.
    ///
    /// # Errors
    /// If the weights are too many.
    pub fn prelu(&mut self) -> Result<(), BuildError> {
        let shape = self.shape();
        let channels = shape.channels();
        self.add_params(channels as u128)?;
        let name = format!("{}.weight", self.layer_mut().name);
        let slope = self.push_weight(name, vec![channels], Role::Slope);
        self.push(Op::PRelu { slope }, shape, [1, 1], 1);
        Ok(())
    }

    /// A maximum over a window.
    ///
    /// # Errors
    /// If no window fits, or the result is too large.
    pub fn max_pool(&mut self, window: Window, round: Round) -> Result<(), BuildError> {
        self.pool(Op::MaxPool { window, round }, window, round)
    }

    /// A mean over a window.
    ///
    /// # Errors
    /// If no window fits, or the result is too large.
    pub fn avg_pool(
        &mut self,
        window: Window,
        round: Round,
        count: Count,
    ) -> Result<(), BuildError> {
        self.pool(Op::AvgPool { window, round, count }, window, round)
    }

    /// A mean over each channel.
    pub fn global_avg_pool(&mut self) {
        self.global_pool(Op::GlobalAvgPool);
    }

    /// A maximum over each channel.
    pub fn global_max_pool(&mut self) {
        self.global_pool(Op::GlobalMaxPool);
    }

    fn global_pool(&mut self, op: Op) {
        let shape = self.shape();
        let sides = [shape.height(), shape.width()];
        self.push(op, Shape::Vector { n: shape.channels() }, sides, 1);
    }

    /// Dropout with probability `p` of a zero.
    pub fn dropout(&mut self, p: f64) {
        let (shape, index) = (self.shape(), self.dropouts);
        self.dropouts += 1;
        self.push(Op::Dropout { p, index }, shape, [1, 1], 1);
    }

    /// Batch normalisation of each channel; `eps` is above 0, and `momentum` from 0 to 1. Groups have `ghost` images, at least 2,
    /// or with 0 all.
    ///
    /// # Errors
    /// If the weights are too many.
    pub fn batch_norm(
        &mut self,
        [eps, momentum]: [f64; 2],
        ghost: usize,
    ) -> Result<(), BuildError> {
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
        self.push(Op::BatchNorm { eps, momentum, ghost, weights }, shape, [1, 1], 1);
        Ok(())
    }

    /// Local response normalisation across `size` channels, an odd number; `alpha` and `beta` are at least 0, and `k` is above.
    pub fn lrn(&mut self, size: usize, [alpha, beta, k]: [f64; 3]) {
        let shape = self.shape();
        self.push(Op::Lrn { size, alpha, beta, k }, shape, [1, 1], 1);
    }

    /// Probabilities over a vector.
    pub fn softmax(&mut self) {
        let shape = self.shape();
        self.push(Op::Softmax, shape, [1, 1], 1);
    }

    /// One value of the branches that [`Builder::begin_join`] was given.
    ///
    /// # Errors
    /// If they do not go together, or the result is too large.
    pub fn join(&mut self, join: Join) -> Result<(), BuildError> {
        let branches = std::mem::take(&mut self.branches);
        let shapes: Vec<Shape> = branches.iter().map(|&branch| self.shape_at(branch)).collect();
        let shape = join.shape(&shapes).filter(|_| shapes.len() > 1);
        let shape = shape.ok_or(BuildError::Branches { shapes })?;
        map(shape.channels(), shape.height(), shape.width())?;
        let seen = branches.iter().copied().reduce(Cursor::joined).unwrap_or(self.at);
        let inputs = branches.iter().filter_map(|branch| branch.node).collect();
        self.append(join.op(), inputs, shape, seen);
        Ok(())
    }

    fn pool(&mut self, op: Op, window: Window, round: Round) -> Result<(), BuildError> {
        let (h, w) = self.windows(window, round)?;
        let shape = map(self.shape().channels(), h, w)?;
        self.push_windows(op, shape, window);
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
        (window, groups): (Window, usize),
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
        self.push_windows(Op::Conv { window, groups, weight, bias }, shape, window);
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

    /// Appends a node that reads the value at the cursor, in windows of `sides` pixels that move by `stride`.
    fn push(&mut self, op: Op, shape: Shape, sides: [usize; 2], stride: usize) {
        self.push_seeing(op, shape, self.at.windows(sides, [stride; 2]));
    }

    /// Appends a node that reads the value at the cursor in windows.
    fn push_windows(&mut self, op: Op, shape: Shape, Window { y, x }: Window) {
        let seen = self.at.windows([y.reach(), x.reach()], [y.stride, x.stride]);
        self.push_seeing(op, shape, seen);
    }

    /// Appends a node that reads the value at the cursor; `seen` is what it sees.
    fn push_seeing(&mut self, op: Op, shape: Shape, seen: Cursor) {
        let inputs = self.at.node.into_iter().collect();
        self.append(op, inputs, shape, seen);
    }

    /// Appends a node and goes on behind it; `seen` is what it sees.
    fn append(&mut self, op: Op, inputs: Vec<NodeId>, shape: Shape, seen: Cursor) {
        let id = NodeId(small(self.graph.nodes.len()));
        let layer = LayerId(small(self.graph.layers.len() - 1));
        // A training step keeps one tensor of a convolution and the ReLU on top of it.
        let in_place = op == Op::Relu
            && self.graph.nodes.last().is_some_and(|before| {
                before.layer == layer && matches!(before.op, Op::Conv { .. })
            });
        self.graph.nodes.push(Node { op, inputs, shape, layer });
        let macs = self.graph.macs(id);
        self.at = Cursor { node: Some(id), ..seen };
        let layer = self.layer_mut();
        layer.facts.macs += macs;
        layer.facts.receptive_field = seen.field;
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
