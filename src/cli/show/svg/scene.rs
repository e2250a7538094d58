//! What there is to draw: a graph as [`Part`]s in order, before any has a place.

use std::ops::Range;

use nin::{Graph, Shape};
use nin_dsl::graph::{Activation, Group, GroupKind, Layer, NodeId, Op};
use nin_dsl::shape::{Slide, Window};

use super::join::{self, Footprint};
use super::look::Look;
use crate::cli::amounts::grouped;
use crate::cli::check::arguments;

/// A part of the picture.
#[derive(Debug)]
pub(super) enum Part {
    /// An activation.
    Volume(Volume),
    /// An op that changes no shape and stands alone, written on the arrow.
    Mark(Mark),
    /// Parts that belong together.
    Frame(Frame),
    /// Branches and what joins them.
    Join(Join),
}

/// An activation and what makes it.
#[derive(Debug)]
pub(super) struct Volume {
    pub(super) look: Look,
    pub(super) shape: Shape,
    /// What is written above the arrow that leads to it; empty for the input.
    pub(super) above: String,
    /// And below.
    pub(super) below: String,
    /// What is done to it where it is, in order.
    pub(super) bands: Vec<Look>,
    pub(super) name: String,
    /// What is told of it at length.
    pub(super) note: String,
}

/// An op on the arrow.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) text: String,
    pub(super) note: String,
}

/// Parts beside one another that become one value.
#[derive(Debug)]
pub(super) struct Join {
    /// The parts of each branch, in order; none where what goes in comes out.
    pub(super) branches: Vec<Vec<Part>>,
    /// How they become one.
    pub(super) sign: &'static str,
    pub(super) shape: Shape,
    pub(super) name: String,
    pub(super) note: String,
    /// What all of it takes, found once everything is there.
    pub(super) footprint: Footprint,
}

/// Parts under a label.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: FrameKind,
    pub(super) label: String,
    pub(super) note: String,
    pub(super) parts: Vec<Part>,
}

/// Why parts belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameKind {
    /// They are one layer.
    Layer,
    /// They are a block or repeated.
    Group,
}

/// The parts of a graph.
pub(super) fn parts(graph: &Graph) -> Vec<Part> {
    let mut parts = vec![];
    push_layers(graph, 0..graph.layers().len(), graph.groups(), &mut parts);
    join::measure(&mut parts);
    parts
}

/// Whether any of them is a join, or has one in it.
pub(super) fn has_joins(parts: &[Part]) -> bool {
    parts.iter().any(|part| match part {
        Part::Volume(_) | Part::Mark(_) => false,
        Part::Frame(frame) => has_joins(&frame.parts),
        Part::Join(_) => true,
    })
}

/// Appends the layers of a range; `groups` are those inside it.
fn push_layers(graph: &Graph, layers: Range<usize>, mut groups: &[Group], parts: &mut Vec<Part>) {
    let mut at = layers.start;
    while at < layers.end {
        let group = groups.first().filter(|group| group.layers.start == at);
        match group.map(|group| (group, &group.kind)) {
            Some((_, &GroupKind::Branch { join, .. })) => {
                push_join(graph, join.index(), groups, parts);
                at = join.index() + 1;
                groups = &groups[groups.partition_point(|group| group.layers.start < at)..];
            }
            Some((_, GroupKind::Block(_) | GroupKind::Pass { .. })) => {
                at = push_groups(graph, groups, parts);
                groups = &groups[groups.partition_point(|group| group.layers.start < at)..];
            }
            None if graph.layers()[at].inputs.len() > 1 => {
                push_join(graph, at, &[], parts);
                at += 1;
            }
            None => {
                push_layer(graph, &graph.layers()[at], parts);
                at += 1;
            }
        }
    }
}

/// Appends a join with its branches, of which those that have layers are the first of `groups`.
fn push_join(graph: &Graph, at: usize, mut groups: &[Group], parts: &mut Vec<Part>) {
    let layer = &graph.layers()[at];
    let mut branches: Vec<Vec<Part>> = layer.inputs.iter().map(|_| vec![]).collect();
    while let Some(Group { kind: GroupKind::Branch { number, join, .. }, layers }) = groups.first()
        && join.index() == at
    {
        let end = inner_end(groups);
        push_layers(graph, layers.clone(), &groups[1..end], &mut branches[number - 1]);
        groups = &groups[end..];
    }
    let id = graph.ids().nth(layer.nodes.start).expect("a layer has a node");
    let sign = match graph.node(id).op {
        Op::Add => "+",
        Op::Mul => "×",
        Op::Concat => "concat",
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
        | Op::Softmax => panic!("{} has branches (a bug in nin)", layer.name),
    };
    let (shape, name, note) = (layer.output, layer.name.clone(), told(layer));
    parts.push(Part::Join(Join {
        branches,
        sign,
        shape,
        name,
        note,
        footprint: Footprint::default(),
    }));
}

/// Appends the first group, and with it what is drawn as one with it: other passes of a repetition. Returns the layer after
/// them.
fn push_groups(graph: &Graph, groups: &[Group], parts: &mut Vec<Part>) -> usize {
    let mut passes = passes(groups);
    let (drawn, count) = (parts.len(), passes.len());
    let are_one = are_alike(graph, &passes, |a, b| a.output == b.output);
    let folded = if are_one { count } else { 1 };
    push_group(graph, &groups[0], &groups[1..inner_end(groups)], folded, parts);
    // Where they differ in their sizes alone, as in a network that grows, the first and the last say it all.
    let grows = || has_joins(&parts[drawn..]) && are_alike(graph, &passes, |_, _| true);
    if !are_one && count > 3 && grows() {
        passes.truncate(count - 1);
        let text = format!("passes 2 to {}", count - 1);
        let note = format!("{} passes, alike but for their sizes", count - 2);
        parts.push(Part::Mark(Mark { text, note }));
    } else {
        passes.truncate(folded);
    }
    passes.last().expect("the first is one").layers.end
}

/// One past the groups inside the first one.
fn inner_end(groups: &[Group]) -> usize {
    let end = groups[0].layers.end;
    groups.partition_point(|group| group.layers.start < end)
}

/// The first group and, if it is the first pass of a repetition, those of the other passes.
fn passes(groups: &[Group]) -> Vec<&Group> {
    let mut passes = vec![&groups[0]];
    let GroupKind::Pass { number: 1, of } = groups[0].kind else { return passes };
    let mut rest = groups;
    while passes.len() < of {
        rest = &rest[inner_end(rest)..];
        let Some(next) = rest.first() else { break };
        passes.push(next);
    }
    passes
}

/// Whether the passes have the same layers, of which the second are as the first in this, too.
fn are_alike(graph: &Graph, passes: &[&Group], is_same: fn(&Layer, &Layer) -> bool) -> bool {
    let layers = |group: &Group| &graph.layers()[group.layers.clone()];
    let first = layers(passes[0]);
    passes.iter().all(|pass| {
        let pass = layers(pass);
        let same = |(a, b): (&Layer, &Layer)| a.word == b.word && a.args == b.args && is_same(a, b);
        pass.len() == first.len() && first.iter().zip(pass).all(same)
    })
}

/// Appends a group that stands for `folded` of its like.
fn push_group(
    graph: &Graph,
    group: &Group,
    inside: &[Group],
    folded: usize,
    parts: &mut Vec<Part>,
) {
    let label = match &group.kind {
        GroupKind::Pass { of: 1, .. } => {
            return push_layers(graph, group.layers.clone(), inside, parts);
        }
        GroupKind::Pass { .. } if folded > 1 => format!("repeat × {folded}"),
        kind => kind.to_string(),
    };
    let mut inner = vec![];
    push_layers(graph, group.layers.clone(), inside, &mut inner);
    let layers = &graph.layers()[group.layers.clone()];
    let params: u64 = layers.iter().map(|layer| layer.facts.params).sum();
    let note = format!("{label}: {} layers, {} parameters", layers.len(), grouped(params));
    parts.push(Part::Frame(Frame { kind: FrameKind::Group, label, note, parts: inner }));
}

/// Appends a layer: its volumes, in a frame if there are several.
fn push_layer(graph: &Graph, layer: &Layer, parts: &mut Vec<Part>) {
    let ids = || graph.ids().skip(layer.nodes.start).take(layer.nodes.len());
    let volumes = ids().filter(|&id| makes_volume(graph.node(id).op)).count();
    if volumes <= 1 {
        return ids().for_each(|id| push_node(graph, layer, id, &layer.name, parts));
    }
    let mut inner = vec![];
    for id in ids() {
        // The layer's own name is on the frame.
        let part = if let Op::Conv { weight, .. } = graph.node(id).op {
            graph.weight(weight).name.split('.').nth(1)
        } else {
            None
        };
        push_node(graph, layer, id, part.unwrap_or(""), &mut inner);
    }
    let (label, note) = (layer.name.clone(), told(layer));
    parts.push(Part::Frame(Frame { kind: FrameKind::Layer, label, note, parts: inner }));
}

fn makes_volume(op: Op) -> bool {
    match op {
        Op::Input
        | Op::Conv { .. }
        | Op::MaxPool { .. }
        | Op::AvgPool { .. }
        | Op::GlobalAvgPool
        | Op::GlobalMaxPool
        | Op::Softmax => true,
        Op::Relu
        | Op::Activation(_)
        | Op::PRelu { .. }
        | Op::BatchNorm { .. }
        | Op::Lrn { .. }
        | Op::Dropout { .. }
        | Op::Add
        | Op::Concat
        | Op::Mul => false,
    }
}

/// Appends what one node makes, or marks what it works on.
fn push_node(graph: &Graph, layer: &Layer, id: NodeId, name: &str, parts: &mut Vec<Part>) {
    let shape = graph.node(id).shape;
    let note = told(layer);
    let mut volume = |look, above: String, below: String| {
        let (note, name, bands) = (note.clone(), name.to_owned(), vec![]);
        parts.push(Part::Volume(Volume { look, shape, above, below, bands, name, note }));
    };
    match graph.node(id).op {
        Op::Input => volume(Look::Input, String::new(), String::new()),
        Op::Conv { window, groups, .. } => match shape {
            Shape::Vector { .. } => volume(Look::Fc, "fc".to_owned(), String::new()),
            Shape::Map { .. } if window.is_pointwise() && groups == 1 => {
                volume(Look::Pointwise, sized("conv", window), String::new());
            }
            Shape::Map { .. } => {
                let is_same = |slide: Slide| slide.padded(1) == slide.reach();
                let is_same = is_same(window.y) && is_same(window.x);
                let inputs = graph.node(graph.operand(id)).shape.channels();
                let (word, groups) = match groups {
                    1 => ("conv", None),
                    groups if groups == inputs => ("dw", None),
                    groups => ("conv", Some(format!("{groups} groups"))),
                };
                let look = if window.is_pointwise() { Look::Pointwise } else { Look::Conv };
                let moved = [Some(moved(window, is_same)), groups];
                let below: Vec<String> =
                    moved.into_iter().flatten().filter(|text| !text.is_empty()).collect();
                volume(look, sized(word, window), below.join(", "));
            }
        },
        Op::MaxPool { window, .. } => {
            volume(Look::MaxPool, sized("max", window), moved(window, is_unpadded(window)));
        }
        Op::AvgPool { window, .. } => {
            volume(Look::AvgPool, sized("avg", window), moved(window, is_unpadded(window)));
        }
        Op::GlobalAvgPool => {
            volume(Look::GlobalAvgPool, "global".to_owned(), "average".to_owned());
        }
        Op::GlobalMaxPool => {
            volume(Look::GlobalMaxPool, "global".to_owned(), "maximum".to_owned());
        }
        Op::Softmax => volume(Look::Softmax, "softmax".to_owned(), String::new()),
        Op::Relu => push_band(Look::Relu, "relu".to_owned(), note, parts),
        Op::Activation(of) => push_band(Look::of(of), called(of), note, parts),
        Op::PRelu { .. } => push_band(Look::PRelu, "prelu".to_owned(), note, parts),
        Op::BatchNorm { .. } => push_band(Look::BatchNorm, "batchnorm".to_owned(), note, parts),
        Op::Lrn { size, .. } => push_band(Look::Lrn, format!("lrn {size}"), note, parts),
        Op::Dropout { p, .. } => {
            parts.push(Part::Mark(Mark { text: format!("dropout {p}"), note }));
        }
        // They stand where their branches end.
        Op::Add | Op::Concat | Op::Mul => {}
    }
}

/// An activation's name with its number, such as `elu 1`.
fn called(activation: Activation) -> String {
    let word = activation.word().replace('_', " ");
    match activation.number() {
        Some((_, number)) => format!("{word} {number}"),
        None => word,
    }
}

/// Appends an op to the volume it works on, if that stands beside it in the same frame, and else to the arrow.
fn push_band(look: Look, text: String, note: String, parts: &mut Vec<Part>) {
    match parts.last_mut() {
        Some(Part::Volume(volume)) if volume.look != Look::Input => volume.bands.push(look),
        _ => parts.push(Part::Mark(Mark { text, note })),
    }
}

fn sized(word: &str, window: Window) -> String {
    let (h, w) = window.kernel();
    format!("{word} {h}×{w}")
}

fn is_unpadded(Window { y, x }: Window) -> bool {
    y.pad == [0; 2] && x.pad == [0; 2]
}

/// Stride, padding and dilation, where they are not what they usually are.
fn moved(window: Window, usual_pad: bool) -> String {
    let Window { y, x } = window;
    let pair = |a: usize, b: usize| if a == b { a.to_string() } else { format!("{a}×{b}") };
    let stride =
        ((y.stride, x.stride) != (1, 1)).then(|| format!("stride {}", pair(y.stride, x.stride)));
    let ([top, bottom], [left, right]) = (y.pad, x.pad);
    let pad = (!usual_pad).then(|| match is_unpadded(window) {
        true => "no pad".to_owned(),
        false if top == bottom && left == right => format!("pad {}", pair(top, left)),
        false => format!("pad {top} {left} {bottom} {right}"),
    });
    let gaps = ((y.dilation, x.dilation) != (1, 1))
        .then(|| format!("dilation {}", pair(y.dilation, x.dilation)));
    stride.into_iter().chain(pad).chain(gaps).collect::<Vec<_>>().join(", ")
}

/// A shape as it is written in a picture.
pub(super) fn written(shape: Shape) -> String {
    shape.dims().iter().map(usize::to_string).collect::<Vec<_>>().join("×")
}

/// A receptive field as it is written in a picture.
pub(super) fn field([rows, columns]: [u64; 2]) -> String {
    format!("{rows}×{columns}")
}

/// What the checker knows of a layer.
fn told(layer: &Layer) -> String {
    let facts = layer.facts;
    let arguments = match arguments(layer) {
        none if none.is_empty() => none,
        some => format!(": {some}"),
    };
    format!(
        "{}{arguments}\n{} → {}\n{} parameters, {} multiply-accumulates\nreceptive field {}",
        layer.name,
        written(layer.input),
        written(layer.output),
        grouped(facts.params),
        grouped(facts.macs),
        field(facts.receptive_field),
    )
}
