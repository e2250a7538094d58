//! What a local response normalisation works in: rows of one pixel's channels, with zeros at both sides.

use nin_dsl::graph::{Graph, NodeId, Op};

use super::ALIGN;

/// The rows of one op, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelRows {
    /// Channels of a pixel.
    pub channels: usize,
    /// Channels on either side of one that are in its sum, as many as there can be.
    pub half: usize,
}

impl ChannelRows {
    /// Rows: of squares, of what the gradient comes through, of gradients, of sums.
    const COUNT: usize = 4;

    /// Those of a node, if it is such an op.
    pub fn of(graph: &Graph, node: NodeId) -> Option<ChannelRows> {
        let Op::Lrn { size, .. } = graph.node(node).op else { return None };
        let channels = graph.node(node).shape.channels();
        Some(ChannelRows { channels, half: (size / 2).min(channels - 1) })
    }

    /// Numbers that one sum is over.
    pub fn window(self) -> usize {
        2 * self.half + 1
    }

    /// Numbers of a row with the zeros beside it.
    pub fn padded(self) -> usize {
        self.channels + 2 * self.half
    }

    /// Where a row begins, in floats.
    pub fn row(self, number: usize) -> usize {
        number * self.padded().next_multiple_of(ALIGN)
    }

    /// All of them.
    pub fn floats(self) -> usize {
        self.row(Self::COUNT)
    }
}
