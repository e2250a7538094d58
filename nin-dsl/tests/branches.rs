//! What models with branches become: shapes, names, who reads whom, facts and groups.

use nin_dsl::graph::{GroupKind, Layer, Op};
use nin_dsl::{Graph, Source, read};

fn graph(text: &str) -> Graph {
    let (graph, warnings) =
        read(&Source::new("m.nin", text), &[]).unwrap_or_else(|errors| panic!("{errors:?}"));
    assert_eq!(warnings, []);
    graph.verify();
    graph
}

fn layer<'g>(graph: &'g Graph, name: &str) -> &'g Layer {
    graph.layers().iter().find(|layer| layer.name == name).expect("a layer of this name")
}

/// Each layer with the names of those it reads and its output.
fn wiring(graph: &Graph) -> Vec<String> {
    let line = |layer: &Layer| {
        let inputs: Vec<&str> =
            layer.inputs.iter().map(|&id| graph.layer(id).name.as_str()).collect();
        format!("{}({}) {}", layer.name, inputs.join(", "), layer.output)
    };
    graph.layers().iter().map(line).collect()
}

#[test]
fn layers_are_numbered_in_the_order_of_the_text_and_joins_where_they_close() {
    let graph = graph(
        "< input(4, 8, 8) conv(4)
           add < conv(8) add < relu > < > > < concat < > < conv(4) > >
           add < > < >
           gap >",
    );
    assert_eq!(
        wiring(&graph),
        [
            "input1() 4x8x8",
            "conv1(input1) 4x8x8",
            "conv2(conv1) 8x8x8",
            "relu1(conv2) 8x8x8",
            "add1(relu1, conv2) 8x8x8",
            "conv3(conv1) 4x8x8",
            "concat1(conv1, conv3) 8x8x8",
            "add2(add1, concat1) 8x8x8",
            "add3(add2, add2) 8x8x8",
            "gap1(add3) 8",
        ]
    );
    assert_eq!(layer(&graph, "add2").input.to_string(), "4x8x8");
}

#[test]
fn products_scale_maps_by_channel() {
    let shapes = |join: &str| graph(&format!("< input(4, 6, 8) {join} >")).output().to_string();
    assert_eq!(shapes("mul < > < gap >"), "4x6x8");
    assert_eq!(shapes("mul < gap > < >"), "4x6x8");
    assert_eq!(shapes("mul < gap > < gap fc(4) >"), "4");
    assert_eq!(shapes("mul < gap > < conv(4, kernel = 1) maxpool(6, round = floor) >"), "4x1x1");
    assert_eq!(shapes("mul < conv(4) > < > < gap > < maxpool(6, round = floor) >"), "4x6x8");
    assert_eq!(shapes("concat < gap > < fc(7) > < gap >"), "15");
    assert_eq!(shapes("concat < > < conv(7) > < >"), "15x6x8");
    assert_eq!(shapes("repeat(3) < concat < > < > >"), "32x6x8");
}

#[test]
fn facts_of_a_join_are_its_outputs_and_its_branches() {
    let graph = graph(
        "< input(3, 12, 20) conv(4)
           concat < conv(4, kernel = 5, stride = 2) > < maxpool(2) relu > < conv(2, kernel = 1, stride = 2) >
           conv(6)
           mul < > < gap >
           conv(1) >",
    );
    let facts = |name: &str| layer(&graph, name).facts;
    let concat = facts("concat1");
    assert_eq!((concat.params, concat.macs, concat.activation_bytes), (0, 0, 4 * 10 * 6 * 10));
    assert_eq!(facts("conv1").receptive_field, [3; 2]);
    assert_eq!(facts("conv2").receptive_field, [7; 2]);
    assert_eq!(facts("maxpool1").receptive_field, [4; 2]);
    assert_eq!(facts("conv3").receptive_field, [3; 2]);
    assert_eq!(concat.receptive_field, [7; 2]);
    // Pixels are two apart after it.
    assert_eq!(facts("conv4").receptive_field, [11; 2]);
    assert_eq!(facts("gap1").receptive_field, [11 + 5 * 2, 11 + 9 * 2]);
    assert_eq!(facts("mul1").receptive_field, [21, 29]);
    assert_eq!(facts("conv5").receptive_field, [25, 33]);
    assert_eq!(facts("mul1").activation_bytes, 4 * 6 * 6 * 10);
}

#[test]
fn the_longest_step_of_the_branches_counts() {
    // One branch is a pixel of everything, its step still that of the map before it.
    let graph = graph("< input(3, 8, 8) mul < maxpool(8) > < maxpool(8, stride = 4) > conv(3) >");
    assert_eq!(layer(&graph, "conv1").facts.receptive_field, [8 + 2 * 8; 2]);
}

#[test]
fn branches_are_groups_beside_blocks_and_repetitions() {
    let graph = graph(
        "block pair(c) < add < conv(c) relu > < > >
         < input(4, 8, 8)
           repeat(2) < pair(4) >
           add < > < concat < repeat(1) < relu > > < repeat(2) < > > conv(4) > >",
    );
    let groups: Vec<String> =
        graph.groups().iter().map(|group| format!("{} {:?}", group.kind, group.layers)).collect();
    assert_eq!(
        groups,
        [
            "pass 1 of 2 1..4",
            "pair(4) 1..4",
            "branch 1 of 2 1..3",
            "pass 2 of 2 4..7",
            "pair(4) 4..7",
            "branch 1 of 2 4..6",
            "branch 2 of 2 7..10",
            "branch 1 of 2 7..8",
            "pass 1 of 1 7..8",
        ]
    );
    let joins: Vec<&str> = graph
        .groups()
        .iter()
        .filter_map(|group| match group.kind {
            GroupKind::Branch { join, .. } => Some(graph.layer(join).name.as_str()),
            GroupKind::Block(_) | GroupKind::Pass { .. } => None,
        })
        .collect();
    assert_eq!(joins, ["add1", "add2", "add3", "concat1"]);
}

#[test]
fn a_model_is_cut_where_one_value_leads_on() {
    let whole = graph(
        "block end < mul < > < gap fc(8) > gap fc(3) softmax >
         < input(3, 8, 8) conv(8) add < conv(8) > < > end >",
    );
    let maps = whole.feature_maps();
    maps.verify();
    assert_eq!(maps.layers().last().map(|layer| layer.name.as_str()), Some("mul1"));
    let bare = whole.without_softmax();
    assert_eq!(bare.logits(), whole.logits());
    // Up to what both branches read.
    let first = whole.first_layers(2);
    assert!(first.groups().is_empty());
    assert_eq!(first.output().to_string(), "8x8x8");
}

#[test]
fn a_branch_may_only_be_identities() {
    let graph = graph("< input(2, 3, 3) mul < > < > < repeat(2) < > > >");
    let last = graph.node(graph.result());
    assert_eq!((last.op, last.inputs.len()), (Op::Mul, 3));
    assert!(graph.groups().is_empty());
}

/// ResNet-20 for CIFAR-10 (He, Zhang, Ren & Sun, 2015) with shortcuts of 1x1 convolutions.
const RESNET: &str = "
block basic(c) < add < conv(c, bias = 0) batchnorm relu conv(c, bias = 0) batchnorm > < > relu >
block down(c)  < add < conv(c, stride = 2, bias = 0) batchnorm relu conv(c, bias = 0) batchnorm >
                     < conv(c, kernel = 1, stride = 2, bias = 0) batchnorm > relu >
model ResNet(width = 16, n = 3) <
    input(3, 32, 32)
    conv(width, bias = 0) batchnorm relu
    repeat(n) < basic(width) >
    down(2 * width) repeat(n - 1) < basic(2 * width) >
    down(4 * width) repeat(n - 1) < basic(4 * width) >
    gap fc(10) softmax
>";

#[test]
fn a_residual_network_has_the_papers_figures() {
    let graph = graph(RESNET);
    // 0.27 million in the paper, whose shortcuts have no parameters: here 16 * 32 + 32 * 64 and two normalisations.
    let shortcuts = 16 * 32 + 32 * 64 + 2 * (32 + 64);
    assert_eq!(graph.params_total(), 269_722 + shortcuts);
    assert_eq!(graph.layers().iter().filter(|layer| layer.word == "add").count(), 9);
    assert_eq!(graph.layers().iter().filter(|layer| layer.word == "conv").count(), 19 + 2);
    let add = layer(&graph, "add4");
    assert_eq!(
        (add.input.to_string(), add.output.to_string()),
        ("16x32x32".into(), "32x16x16".into())
    );
    assert_eq!(layer(&graph, "add3").facts.receptive_field, [3 + 6 * 2; 2]);
    // 10 classes on a pixel of 8x8 that are 4 apart.
    assert_eq!(graph.output().to_string(), "10");
}
