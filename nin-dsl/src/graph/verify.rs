//! The invariants of a [`Graph`], checked.

use super::{Graph, Layer, Op, Readers, group, join};
use crate::limits;
use crate::shape::{Round, Shape, Window};

impl Graph {
    /// Checks the invariants listed on [`Graph`].
    ///
    /// # Panics
    /// On a violation, which is a bug in nin: no text a user can write leads here.
    pub fn verify(&self) {
        let mut dropouts = 0;
        let mut read = vec![0usize; self.weights.len()];
        for id in self.ids() {
            let node = self.node(id);
            for &input in &node.inputs {
                assert!(input < id, "{id} reads {input}, which comes after it (a bug in nin)");
            }
            let shapes: Vec<Shape> = node.inputs.iter().map(|&id| self.node(id).shape).collect();
            let arity = node.op.arity();
            assert!(
                arity.contains(&shapes.len()),
                "{id} reads {} nodes (a bug in nin)",
                shapes.len()
            );
            let input = shapes.first().copied();
            let expected = match (node.op, input) {
                (Op::Input, None) => Some(node.shape),
                (Op::Input, Some(_)) | (_, None) => None,
                (Op::Conv { window, groups, weight, bias }, Some(input)) => {
                    read[weight.index()] += 1;
                    let weight = self.weight(weight);
                    let channels = weight.dims[0];
                    let divides = |channels: usize| channels.is_multiple_of(groups);
                    assert!(
                        divides(channels) && divides(input.channels()),
                        "{id}: {groups} groups"
                    );
                    assert_eq!(weight.node, id, "{id} is not the reader of {}", weight.name);
                    let seen = window.taps() * input.channels() / groups;
                    assert_eq!(weight.fan_in(), seen, "{id}: fan-in");
                    if let Some(bias) = bias {
                        read[bias.index()] += 1;
                        assert_eq!(self.weight(bias).dims, [channels], "{id}: bias");
                    }
                    conv_output(node.shape, input, window, channels)
                }
                (
                    Op::MaxPool { window, round } | Op::AvgPool { window, round, .. },
                    Some(input),
                ) => window
                    .output((input.height(), input.width()), round)
                    .map(|(h, w)| Shape::map(input.channels(), h, w)),
                (Op::Relu, Some(input)) => Some(input),
                (Op::Activation(activation), Some(input)) => {
                    activation.verify(id);
                    Some(input)
                }
                (Op::PRelu { slope }, Some(input)) => {
                    read[slope.index()] += 1;
                    assert_eq!(self.weight(slope).dims, [input.channels()], "{id}: slopes");
                    Some(input)
                }
                (Op::Dropout { p, index }, Some(input)) => {
                    assert!((0.0..1.0).contains(&p), "{id}: dropout probability {p}");
                    assert_eq!(index, dropouts, "{id}: dropout number");
                    dropouts += 1;
                    Some(input)
                }
                (Op::BatchNorm { eps, momentum, ghost, weights }, Some(input)) => {
                    assert!(eps >= limits::LEAST_EPS && eps.is_finite(), "{id}: eps {eps}");
                    assert!((0.0..=1.0).contains(&momentum), "{id}: momentum {momentum}");
                    assert!(ghost != 1, "{id}: groups of {ghost}");
                    for weight in weights.all() {
                        read[weight.index()] += 1;
                        assert_eq!(self.weight(weight).dims, [input.channels()], "{id}: channels");
                    }
                    Some(input)
                }
                (Op::Lrn { size, alpha, beta, k }, Some(input)) => {
                    assert!(size % 2 == 1, "{id}: size {size}");
                    assert!(alpha >= 0.0 && alpha.is_finite(), "{id}: alpha {alpha}");
                    assert!(beta >= 0.0 && beta.is_finite(), "{id}: beta {beta}");
                    assert!(k >= limits::LEAST_EPS && k.is_finite(), "{id}: k {k}");
                    matches!(input, Shape::Map { .. }).then_some(input)
                }
                (Op::Add, Some(_)) => join::add(&shapes),
                (Op::Concat, Some(_)) => join::concat(&shapes),
                (Op::Mul, Some(_)) => join::mul(&shapes),
                (Op::GlobalAvgPool | Op::GlobalMaxPool, Some(input)) => {
                    Some(Shape::Vector { n: input.channels() })
                }
                (Op::Softmax, Some(input)) => {
                    assert_eq!(id.index() + 1, self.nodes.len(), "{id}: softmax stands last");
                    matches!(input, Shape::Vector { .. }).then_some(input)
                }
            };
            assert_eq!(expected, Some(node.shape), "{id}: {:?}: shape (a bug in nin)", node.op);
            let layer = self.layer(node.layer);
            assert!(layer.nodes.contains(&id.index()), "{id} is not a node of {}", layer.name);
        }
        let readers = Readers::of(self);
        for id in self.ids().filter(|&id| id != self.result()) {
            assert!(!readers.of_value(id).is_empty(), "{id} has no reader (a bug in nin)");
        }
        assert!(read.iter().all(|&times| times == 1), "a weight is read once (a bug in nin)");
        let tiled = self.layers.iter().fold(0, |end, layer| {
            assert_eq!(layer.nodes.start, end, "{}: node range", layer.name);
            layer.nodes.end
        });
        assert_eq!(tiled, self.nodes.len(), "the layers' node ranges tile the nodes");
        for Layer { name, nodes, inputs, .. } in &self.layers {
            let read = self.nodes[nodes.clone()].iter().flat_map(|node| &node.inputs);
            let beyond = read.filter(|id| id.index() < nodes.start).map(|&id| self.node(id).layer);
            assert!(beyond.eq(inputs.iter().copied()), "{name}: inputs (a bug in nin)");
        }
        group::verify(&self.groups, &self.layers);
    }
}

/// The shape a convolution must have; a vector (`fc`) only where its window is the whole input.
fn conv_output(claimed: Shape, input: Shape, window: Window, channels: usize) -> Option<Shape> {
    let size = (input.height(), input.width());
    match claimed {
        Shape::Vector { .. } => {
            (window == Window::whole(size)).then_some(Shape::Vector { n: channels })
        }
        Shape::Map { .. } => {
            window.output(size, Round::Floor).map(|(h, w)| Shape::map(channels, h, w))
        }
    }
}
