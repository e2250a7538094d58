//! Where branches begin and end in the table of layers: written as the language writes them, `<` before the first layer of a
//! branch and `>` after its last. A branch without layers has a row of its own.

use std::mem::replace;
use std::ops::Range;

use nin::Graph;
use nin_dsl::graph::{GroupKind, Layer, LayerId};

/// A row of the table.
#[derive(Debug)]
pub(super) struct Entry<'g> {
    /// A layer's name, as deep as the branches it stands in.
    pub(super) label: String,
    /// `None` for a branch without layers.
    pub(super) layer: Option<&'g Layer>,
}

/// A branch whose layers are being listed.
struct Open {
    join: LayerId,
    number: usize,
    end: usize,
    /// Whether a row has shown its beginning.
    shown: bool,
}

/// All rows in order: a join after its branches.
pub(super) fn entries(graph: &Graph) -> Vec<Entry<'_>> {
    let mut branches = graph.groups().iter().filter_map(|group| match group.kind {
        GroupKind::Branch { number, join, .. } => Some((number, join, &group.layers)),
        GroupKind::Block(_) | GroupKind::Pass { .. } => None,
    });
    let mut next = branches.next();
    // Branches around the place, from the outside in, and the last of each join that is not yet reached.
    let (mut open, mut ended): (Vec<Open>, Vec<(LayerId, usize)>) = (vec![], vec![]);
    let mut entries = vec![];
    for (at, layer) in graph.layers().iter().enumerate() {
        while let Some((number, join, layers)) = next.filter(|(_, _, layers)| layers.start == at) {
            let before = ended.pop_if(|(other, _)| *other == join).map_or(0, |(_, last)| last);
            identities(&mut entries, &mut open, before + 1..number);
            open.push(Open { join, number, end: layers.end, shown: false });
            next = branches.next();
        }
        if layer.inputs.len() > 1 {
            let of = |(join, _): &mut (LayerId, usize)| join.index() == at;
            let last = ended.pop_if(of).map_or(0, |(_, last)| last);
            identities(&mut entries, &mut open, last + 1..layer.inputs.len() + 1);
        }
        let mut label = depth(&mut open) + &layer.name;
        while let Some(branch) = open.pop_if(|branch| branch.end == at + 1) {
            label += " >";
            ended.push((branch.join, branch.number));
        }
        entries.push(Entry { label, layer: Some(layer) });
    }
    entries
}

/// A row for each of these branches, which have no layers.
fn identities(entries: &mut Vec<Entry<'_>>, open: &mut [Open], numbers: Range<usize>) {
    for _ in numbers {
        entries.push(Entry { label: depth(open) + "< >", layer: None });
    }
}

/// The signs of the branches that begin here, and room below those that have begun.
fn depth(open: &mut [Open]) -> String {
    let sign = |branch: &mut Open| match replace(&mut branch.shown, true) {
        true => "  ",
        false => "< ",
    };
    open.iter_mut().map(sign).collect()
}

#[cfg(test)]
mod tests {
    use nin::Model;

    use super::*;

    fn labels(text: &str) -> Vec<String> {
        let model = Model::from_text("m", text, &[]).expect("a model");
        entries(model.graph()).into_iter().map(|entry| entry.label).collect()
    }

    #[test]
    fn branches_stand_as_they_are_written() {
        let sum = add_with(&["conv(2) relu", "", "conv(2)", ""]);
        let expected =
            ["input1", "< conv1", "  relu1 >", "< >", "< conv2 >", "< >", "add1", "gap1"];
        assert_eq!(labels(&sum), expected);
    }

    /// Branches over two channels.
    fn add_with(branches: &[&str]) -> String {
        let branches: String = branches.iter().map(|branch| format!("< {branch} > ")).collect();
        format!("< input(2, 4, 4) add {branches} gap >")
    }

    #[test]
    fn joins_nest() {
        let text = add_with(&["add < add < relu > < relu > elu > < > elu", "mul < > < >"]);
        let expected = [
            "input1",
            "< < < relu1 >",
            "    < relu2 >",
            "    add1",
            "    elu1 >",
            "  < >",
            "  add2",
            "  elu2 >",
            "< < >",
            "  < >",
            "  mul1 >",
            "add3",
            "gap1",
        ];
        assert_eq!(labels(&text), expected);
    }
}
