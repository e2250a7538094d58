//! [`Rivals`], the algorithms worth measuring beside the one that a plan took for a product.

use nin_dsl::graph::{Graph, NodeId};
use nin_dsl::shape::Shape;

use super::algorithm::{self, Algo, Prices, Product};
use super::{Plan, cut};

/// How many times the cost of the algorithm that was taken another may have: costs are not as wrong as that.
const HOPELESS: u64 = 2;

/// A product of a convolution, and the algorithms that may compute it fastest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rivals {
    /// The convolution.
    pub node: NodeId,
    /// The product.
    pub product: Product,
    /// Its layer, by the name that hints know it by.
    pub layer: String,
    /// The word for the algorithm that the plan took.
    pub taken: Algo,
    /// The words for others whose cost is near enough; at least one.
    pub others: Vec<Algo>,
}

impl Plan {
    /// The products that could be computed otherwise at about the same cost, in the order in which they are made: by a training
    /// step, if the plan has one.
    pub fn rivals(&self, graph: &Graph) -> Vec<Rivals> {
        let pass = self.training.as_ref().unwrap_or(&self.inference);
        let stages = pass.blocks.iter().flat_map(|planned| &planned.block.stages);
        let mut prices = Prices::of(graph, self.chunk);
        let rivals = stages.filter_map(|stage| {
            let conv = self.convs.iter().find(|conv| conv.node == stage.node)?;
            let product = cut::product(stage.op)?;
            // A vector is one product of the chunk's images, whatever it is told.
            if matches!(graph.node(stage.node).shape, Shape::Vector { .. }) {
                return None;
            }
            let choice = conv.choice(product);
            let all = algorithm::choices(&mut prices, &conv.geometry, product);
            let (taken, others): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|(_, other)| other.algorithm == choice.algorithm);
            let near = others
                .into_iter()
                .filter(|(_, other)| other.cost.total() <= HOPELESS * choice.cost.total());
            Some(Rivals {
                node: stage.node,
                product,
                layer: graph.layer(graph.node(stage.node).layer).name.clone(),
                taken: taken.first().expect("a plan takes one of the choices (a bug in nin)").0,
                others: near.map(|(word, _)| word).collect(),
            })
        });
        rivals.filter(|rivals| !rivals.others.is_empty()).collect()
    }
}
