//! Groups of images whose statistics batch normalisations take, where those are not of the whole batch, and how slices follow
//! them: a group lies in one slice, so that one thread makes its sums.

use std::ops::Range;

use nin_dsl::graph::{Graph, Op};

use super::{CHUNK, Plan};
use crate::compiler::kernel::PassKind;

/// How many groups of `ghost` images are made of so many, at least one: a last one of fewer than half as many joins the one
/// before it.
pub fn groups(images: usize, ghost: usize) -> usize {
    ((images + ghost / 2) / ghost).max(1)
}

/// How groups lie in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups {
    /// Every group, however large, begins where a multiple of so many images has gone before.
    pub multiple: usize,
    /// Fewer images than so many at the end of a batch belong to a group that begins before them.
    pub least: usize,
    /// Images of a group that goes through the net as a chunk, as all groups do if they are of one size: their sums are then
    /// gathered within the phase.
    pub chunk: Option<usize>,
}

impl Groups {
    /// Those of a graph, if it has any.
    pub(super) fn of(graph: &Graph, chunk: Option<usize>) -> Option<Groups> {
        let sizes = graph.nodes().iter().filter_map(|node| {
            let Op::BatchNorm { ghost, .. } = node.op else { return None };
            (ghost > 0).then_some(ghost)
        });
        let one = |size: usize| Groups { multiple: size, least: size.div_ceil(2), chunk };
        sizes.map(one).reduce(|a, b| Groups {
            multiple: common(a.multiple, b.multiple),
            least: a.least.max(b.least),
            chunk,
        })
    }

    /// The most images of a group, in a batch of at most so many.
    pub(super) fn most(ghost: usize, batch: usize) -> usize {
        (ghost + ghost.div_ceil(2) - 1).min(batch)
    }
}

/// The least common multiple, or what is larger than any batch.
fn common(a: usize, b: usize) -> usize {
    let (mut x, mut y) = (a, b);
    while y > 0 {
        (x, y) = (y, x % y);
    }
    (a / x).saturating_mul(b).min(1 << 40)
}

impl Plan {
    /// Images of a slice; the last slices of a small call may be empty.
    pub fn slice_images(&self) -> usize {
        slice_images(self.batch, self.slices, self.groups)
    }

    /// Images of most chunks of a pass: of a group, where that is larger, the last may have more.
    pub fn full_chunk(&self, kind: PassKind) -> usize {
        match (kind, self.groups.and_then(|groups| groups.chunk)) {
            (PassKind::Training, Some(ghost)) => ghost.min(self.chunk),
            (PassKind::Training | PassKind::Inference, _) => self.chunk.min(CHUNK),
        }
    }

    /// The images of a slice of a batch of `n`.
    pub fn slice_of(&self, slice: usize, n: usize) -> Range<usize> {
        let bound = |slice: usize| {
            let at = (slice * self.slice_images()).min(n);
            // What is left is too little for a group.
            let joins = |groups: Groups| at > 0 && n - at < groups.least;
            if self.groups.is_some_and(joins) { n } else { at }
        };
        bound(slice)..bound(slice + 1)
    }
}

/// Images of each of so many slices: whole groups.
pub(super) fn slice_images(batch: usize, slices: usize, groups: Option<Groups>) -> usize {
    let images = batch.div_ceil(slices);
    groups.map_or(images, |groups| images.next_multiple_of(groups.multiple))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_of_less_than_half_joins() {
        let counted = |ghost: usize| (1..=12).map(|n| groups(n, ghost)).collect::<Vec<_>>();
        assert_eq!(counted(2), [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]);
        assert_eq!(counted(5), [1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2]);
        assert_eq!((Groups::most(2, 9), Groups::most(5, 9), Groups::most(8, 9)), (2, 7, 9));
        assert_eq!((common(4, 6), common(3, 3), common(1 << 28, (1 << 28) - 1)), (12, 3, 1 << 40));
    }
}
