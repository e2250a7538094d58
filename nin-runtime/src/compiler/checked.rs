//! [`Checked`], the ticket by which a graph is fused and planned.

use nin_dsl::graph::{Graph, NodeId, Readers};

use super::order;

/// A graph that keeps its invariants, who reads each of its values, and in which order inference evaluates them.
#[derive(Clone, Debug)]
pub struct Checked<'g> {
    graph: &'g Graph,
    readers: Readers,
    order: Vec<NodeId>,
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
        let readers = Readers::of(graph);
        let order = order::evaluation(graph, &readers);
        Checked { graph, readers, order }
    }

    /// The graph.
    pub fn graph(&self) -> &'g Graph {
        self.graph
    }

    /// Its nodes in the order in which inference evaluates them.
    pub fn order(&self) -> &[NodeId] {
        &self.order
    }

    /// Who reads its values.
    pub fn readers(&self) -> &Readers {
        &self.readers
    }
}
