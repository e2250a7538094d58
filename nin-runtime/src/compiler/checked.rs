//! [`Checked`], the ticket by which a graph is fused and planned.

use nin_dsl::graph::{Graph, Readers};

/// A graph that keeps its invariants, and who reads each of its values.
#[derive(Clone, Debug)]
pub struct Checked<'g> {
    graph: &'g Graph,
    readers: Readers,
}

impl<'g> Checked<'g> {
    /// A graph and its readers; its invariants are checked where assertions are on.
    ///
    /// # Panics
    /// On a violation, which is a bug in nin.
    pub fn of(graph: &'g Graph) -> Checked<'g> {
        if cfg!(debug_assertions) {
            graph.verify();
        }
        Checked { graph, readers: Readers::of(graph) }
    }

    /// The graph.
    pub fn graph(&self) -> &'g Graph {
        self.graph
    }

    /// Who reads its values.
    pub fn readers(&self) -> &Readers {
        &self.readers
    }
}
