//! A network as a person would draw it: volumes with their shapes, what leads from one to the next on the arrows, branches
//! below one another, and frames around layers of several convolutions, blocks and repetitions. Pure SVG that needs nothing else and reads on light and on
//! dark screens; the same graph is the same text, everywhere, since all numbers in it come from sums and square roots.

mod chain;
mod join;
mod layout;
mod look;
mod measure;
mod page;
mod pen;
mod scene;
#[cfg(test)]
mod tests;

use nin::Graph;

/// Draws a graph.
pub(super) fn svg(graph: &Graph) -> String {
    let parts = scene::parts(graph);
    page::page(graph, &parts, &layout::place(&parts))
}
