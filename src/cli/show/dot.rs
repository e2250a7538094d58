//! A graph in Graphviz's language: ops as boxes in the frames of their layers, blocks and repetitions, shapes on the edges.

use nin::Graph;

/// What holds for the whole picture.
const STYLE: &str = r##"  graph [fontname="Helvetica", fontsize=11, labeljust=l, color="#8c97a3"];
  node [fontname="Helvetica", fontsize=11, shape=box, style="rounded,filled", fillcolor="#eef3f9", color="#4a5561"];
  edge [fontname="Helvetica", fontsize=10, color="#4a5561", arrowsize=0.7];
"##;

/// Draws a graph.
pub(super) fn dot(graph: &Graph) -> String {
    let mut text = format!("digraph {} {{\n{STYLE}", quoted(&graph.name));
    let mut line = |line: &str| {
        text += line;
        text.push('\n');
    };
    // Where the groups that are open end, from the outside in.
    let mut ends = vec![];
    let mut groups = graph.groups.iter().enumerate().peekable();
    for (number, layer) in graph.layers.iter().enumerate() {
        while let Some((i, group)) = groups.next_if(|(_, group)| group.layers.start == number) {
            let label = quoted(&group.kind.to_string());
            line(&format!("  subgraph cluster_group{i} {{ style=dashed; label={label};"));
            ends.push(group.layers.end);
        }
        let label = quoted(&layer.name);
        line(&format!("  subgraph cluster_layer{number} {{ style=solid; label={label};"));
        for id in graph.ids().skip(layer.nodes.start).take(layer.nodes.len()) {
            line(&format!("    n{} [label={}];", id.0, quoted(&graph.describe(id))));
        }
        line("  }");
        while ends.pop_if(|end| *end == number + 1).is_some() {
            line("  }");
        }
    }
    for id in graph.ids() {
        let shape = graph.node(id).shape;
        let next = id.0 + 1;
        let to = if next as usize == graph.nodes.len() {
            "result".to_owned()
        } else {
            format!("n{next}")
        };
        line(&format!("  n{} -> {to} [label=\"  {shape}\"];", id.0));
    }
    line("  result [shape=none, style=\"\", label=\"\", width=0, height=0];");
    text + "}\n"
}

/// A string of Graphviz's.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}
