//! [`Readers`], who reads each value of a graph.

use super::{Graph, NodeId};

/// The nodes that read each node's value, in evaluation order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readers {
    of: Vec<Vec<NodeId>>,
}

impl Readers {
    /// Those of a graph. A node that reads a value twice is there twice.
    pub fn of(graph: &Graph) -> Readers {
        let mut of = vec![vec![]; graph.nodes().len()];
        for id in graph.ids() {
            for input in &graph.node(id).inputs {
                of[input.index()].push(id);
            }
        }
        Readers { of }
    }

    /// The readers of a node's value.
    pub fn of_value(&self, id: NodeId) -> &[NodeId] {
        &self.of[id.index()]
    }

    /// The reader of a node's value, if there is exactly one.
    pub fn only(&self, id: NodeId) -> Option<NodeId> {
        match *self.of_value(id) {
            [reader] => Some(reader),
            _ => None,
        }
    }
}
