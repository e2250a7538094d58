//! The tiles that take maxima.

use nin_dsl::graph::{Graph, NodeId, Op};
use nin_dsl::shape::Window;

use crate::compiler::geometry::ConvGeometry;
use crate::compiler::kernel::{Registers, TileShape};

/// A pool that takes maxima: the walk of a depthwise convolution, without weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolPlan {
    /// The node.
    pub node: NodeId,
    /// Its geometry.
    pub geometry: ConvGeometry,
    /// Its tile.
    pub tile: TileShape,
}

/// Vectors of maxima of a tile at most: enough to keep a core busy, and beside them a comparison needs registers of its own.
const MOST: usize = 16;

/// Plans every pool that takes maxima.
pub(super) fn pools(graph: &Graph, registers: &Registers) -> Vec<PoolPlan> {
    let of = |node: NodeId| {
        let input = graph.node(*graph.node(node).inputs.first()?).shape;
        let size = (input.height(), input.width());
        let window = match graph.node(node).op {
            Op::MaxPool { window, .. } => window,
            Op::GlobalMaxPool => Window::whole(size),
            Op::Input
            | Op::Conv { .. }
            | Op::Relu
            | Op::Activation(_)
            | Op::PRelu { .. }
            | Op::AvgPool { .. }
            | Op::GlobalAvgPool
            | Op::Dropout { .. }
            | Op::BatchNorm { .. }
            | Op::Lrn { .. }
            | Op::Softmax
            | Op::Add
            | Op::Concat
            | Op::Mul => return None,
        };
        let shape = graph.node(node).shape;
        let (output, cout) = ((shape.height(), shape.width()), shape.channels());
        let geometry =
            ConvGeometry { input: size, output, window, cin: 1, cout, groups: 1, depthwise: true };
        let TileShape { rows, cols } = registers.shape(output.1, cout);
        let rows = rows.min(MOST / cols.div_ceil(registers.lanes)).max(1);
        Some(PoolPlan { node, geometry, tile: TileShape { rows, cols } })
    };
    graph.ids().filter_map(of).collect()
}
