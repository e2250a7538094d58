//! Where the slopes of PReLUs lie.

use nin_dsl::graph::{Graph, NodeId, Op, WeightId};

use super::Room;
use crate::compiler::Elem;

/// The slopes of one PReLU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlopePlan {
    /// The node.
    pub node: NodeId,
    /// Channels.
    pub channels: usize,
    /// Numbers of a channel in one image.
    pub pixels: usize,
    /// The slopes, a weight.
    pub slope: WeightId,
    /// Where they lie in the prepared weights, in bytes: as they are, in float32.
    pub prepared: usize,
}

/// Places the slopes of every PReLU.
pub(super) fn slopes(graph: &Graph, room: &mut Room) -> Vec<SlopePlan> {
    let of = |node: NodeId| {
        let Op::PRelu { slope } = graph.node(node).op else { return None };
        let shape = graph.node(node).shape;
        let (channels, pixels) = (shape.channels(), shape.pixels());
        let prepared = room.place(channels, Elem::F32);
        Some(SlopePlan { node, channels, pixels, slope, prepared })
    };
    graph.ids().filter_map(of).collect()
}
