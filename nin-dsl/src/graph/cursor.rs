//! [`Cursor`], a place in a graph that is being built: where a branch begins or has ended.

use super::NodeId;

/// A value of a graph and what it sees of the input. [`super::Builder::cursor`] gives the last one, and
/// [`super::Builder::resume`] goes on from any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The node whose value it is; `None` before the input.
    pub(super) node: Option<NodeId>,
    /// Rows and columns of input pixels that one pixel of the value sees.
    pub(super) field: [u64; 2],
    /// Input rows and columns between neighbouring pixels of the value.
    pub(super) jump: [u64; 2],
}

impl Cursor {
    /// Before the input.
    pub(super) const START: Cursor = Cursor { node: None, field: [1; 2], jump: [1; 2] };

    /// What windows of `sides` pixels see that move by `strides` over this value.
    pub(super) fn windows(self, sides: [usize; 2], strides: [usize; 2]) -> Cursor {
        let reach = |axis: usize| (sides[axis] as u64 - 1).saturating_mul(self.jump[axis]);
        Cursor {
            node: self.node,
            field: [0, 1].map(|axis| self.field[axis].saturating_add(reach(axis))),
            jump: [0, 1].map(|axis| self.jump[axis].saturating_mul(strides[axis] as u64)),
        }
    }

    /// What a join of this value and another sees: on each axis as much as the one that sees most, in steps as long as the
    /// longest.
    pub(super) fn joined(self, other: Cursor) -> Cursor {
        Cursor {
            node: self.node,
            field: [0, 1].map(|axis| self.field[axis].max(other.field[axis])),
            jump: [0, 1].map(|axis| self.jump[axis].max(other.jump[axis])),
        }
    }
}
