//! [`Shortcut`], a sum whose gradient waits where it lies until it becomes that of what the sum adds.

use nin_dsl::graph::{Graph, NodeId, Op, Readers};

/// A sum of a branch and of the value that a convolution begins the branch with, as in a residual network.
///
/// The sum is the first to contribute to that value's gradient, the convolution the second and last. So its own gradient, which
/// the branch reads but does not overwrite, becomes the value's where it lies once the convolution adds to it: nothing is copied. The
/// mask of a ReLU is left to the convolution's tiles, which mask what they have added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortcut {
    /// Which of the sum's inputs the value is.
    pub input: usize,
    /// The value.
    pub from: NodeId,
    /// The sum's other input, at the end of the branch: what its own gradient is made of gets a room of its own.
    pub branch: NodeId,
    /// The convolution.
    pub conv: NodeId,
}

impl Shortcut {
    /// That of a sum.
    pub fn of(graph: &Graph, readers: &Readers, sum: NodeId) -> Option<Shortcut> {
        let Op::Add = graph.node(sum).op else { return None };
        let [first, second] = *graph.node(sum).inputs else { return None };
        let found = [(0, first, second), (1, second, first)].map(|(input, from, branch)| {
            let [conv, last] = *readers.of_value(from) else { return None };
            let begins = last == sum && matches!(graph.node(conv).op, Op::Conv { .. });
            let ends = readers.only(branch) == Some(sum)
                && matches!(graph.node(branch).op, Op::Conv { .. } | Op::BatchNorm { .. });
            (begins && ends).then_some(Shortcut { input, from, branch, conv })
        });
        found.into_iter().flatten().next()
    }

    /// That of the sum which a value ends the branch of.
    pub fn of_branch(graph: &Graph, readers: &Readers, branch: NodeId) -> Option<Shortcut> {
        let shortcut = Shortcut::of(graph, readers, readers.only(branch)?);
        shortcut.filter(|shortcut| shortcut.branch == branch)
    }
}
