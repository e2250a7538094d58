//! A graph in Graphviz's language: ops in the frames of their layers, blocks, repetitions and branches, shapes on the edges.

use nin::Graph;

/// What holds for the whole picture.
const STYLE: &str = r##"  graph [fontname="Helvetica", fontsize=11, labeljust=l, color="#8c97a3"];
  node [fontname="Helvetica", fontsize=11, shape=box, style="rounded,filled", fillcolor="#eef3f9", color="#4a5561"];
  edge [fontname="Helvetica", fontsize=10, color="#4a5561", arrowsize=0.7];
"##;

/// Draws a graph.
pub(super) fn dot(graph: &Graph) -> String {
    let mut text = format!("digraph {} {{\n{STYLE}", quoted(graph.name()));
    let mut line = |line: &str| {
        text += line;
        text.push('\n');
    };
    // Where the groups that are open end, from the outside in.
    let mut ends = vec![];
    let mut groups = graph.groups().iter().enumerate().peekable();
    for (number, layer) in graph.layers().iter().enumerate() {
        while let Some((i, group)) = groups.next_if(|(_, group)| group.layers.start == number) {
            let label = quoted(&group.kind.to_string());
            line(&format!("  subgraph cluster_group{i} {{ style=dashed; label={label};"));
            ends.push(group.layers.end);
        }
        let label = quoted(&layer.name);
        line(&format!("  subgraph cluster_layer{number} {{ style=solid; label={label};"));
        for id in graph.ids().skip(layer.nodes.start).take(layer.nodes.len()) {
            let style = if graph.node(id).inputs.len() > 1 { ", shape=oval" } else { "" };
            line(&format!("    n{} [label={}{style}];", id.0, quoted(&graph.describe(id))));
        }
        line("  }");
        while ends.pop_if(|end| *end == number + 1).is_some() {
            line("  }");
        }
    }
    for id in graph.ids() {
        for &from in &graph.node(id).inputs {
            let shape = graph.node(from).shape;
            line(&format!("  n{} -> n{} [label=\"  {shape}\"];", from.0, id.0));
        }
    }
    let (result, shape) = (graph.result(), graph.output());
    line(&format!("  n{} -> result [label=\"  {shape}\"];", result.0));
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

#[cfg(test)]
mod tests {
    use nin::Model;

    use super::*;

    #[test]
    fn groups_nest_and_names_are_quoted() {
        let text = "block b(c) < conv(c) > < input(1, 8, 8) repeat(2) < b(3) relu > gap >";
        let model = Model::from_text("a \"b\" \\ c", text, &[]).expect("a model");
        let drawn = dot(model.graph());
        assert!(drawn.starts_with(r#"digraph "a \"b\" \\ c" {"#), "{drawn}");
        let shape: String = drawn.matches(['{', '}']).collect();
        // The input's layer, two passes with a block of one layer and another layer, and the last layer.
        assert_eq!(shape, format!("{{{{}}{}{{}}}}", "{{{}}{}}".repeat(2)));
        for label in ["pass 1 of 2", "pass 2 of 2", "b(3)", "conv2", "gap1", "  3x8x8", "  3"] {
            assert!(drawn.contains(&format!("label=\"{label}\"")), "{label} in {drawn}");
        }
    }

    #[test]
    fn a_join_reads_the_end_of_each_branch() {
        let text = "< input(2, 8, 8) add < relu conv(2) > < > < elu > gap >";
        let model = Model::from_text("m", text, &[]).expect("a model");
        let drawn = dot(model.graph());
        let edges = drawn.lines().filter(|line| line.contains("->"));
        let edges: Vec<&str> = edges.filter_map(|line| line.trim().split(" [").next()).collect();
        let before = ["n0 -> n1", "n1 -> n2", "n0 -> n3"];
        let sum = ["n2 -> n4", "n0 -> n4", "n3 -> n4"];
        let after = ["n4 -> n5", "n5 -> result"];
        assert_eq!(edges, [&before[..], &sum, &after].concat());
        assert!(drawn.contains("label=\"branch 3 of 3\""), "{drawn}");
    }
}
