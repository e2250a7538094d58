//! What is a part of what, and what is not.

use nin_dsl::graph::Activation;

use super::*;
use crate::model::Model;

/// A model's graph and places.
fn places(text: &str) -> (Graph, Places) {
    places_of(text, true)
}

/// The same of a program that trains, or of one that does not.
fn places_of(text: &str, training: bool) -> (Graph, Places) {
    let graph = Model::from_text("m.nin", text, &[]).unwrap().graph().clone();
    let places = Places::of(&Checked::of(&graph), training);
    (graph, places)
}

/// Of the inputs of a model's last concatenation, whether value and gradient lie in the concatenation's.
fn parts(text: &str) -> Vec<(bool, bool)> {
    let (graph, places) = places(text);
    let is_concat = |&id: &NodeId| graph.node(id).op == Op::Concat;
    let concat = graph.ids().rev().find(is_concat).expect("a concatenation");
    let lies = |input: usize, id: NodeId, tensor: fn(NodeId) -> TensorId| {
        let [part, whole] = [id, concat].map(|id| places.view(tensor(id)).expect("it has a place"));
        let first = graph.first_channel(concat, input);
        part == View { channel: whole.channel + first, ..whole }
    };
    let inputs = graph.node(concat).inputs.iter().enumerate();
    inputs
        .map(|(input, &id)| (lies(input, id, TensorId::Value), lies(input, id, TensorId::Grad)))
        .collect()
}

#[test]
fn branches_are_made_where_they_are_joined() {
    let text =
        "< input(2, 4, 4) concat < conv(3) relu > < conv(2) dropout(0.5) > < batchnorm > gap >";
    assert_eq!(parts(text), [(true, true); 3]);
}

/// As the parts of a dense block, whose first part is read by the layers of the second too.
#[test]
fn what_others_read_too_is_a_part() {
    let text = "< input(2, 4, 4) conv(3) concat < > < batchnorm relu conv(2) > gap >";
    assert_eq!(parts(text), [(true, true); 2]);
    let nested = "< input(2, 4, 4) conv(3) concat < > < batchnorm relu conv(2) > \
        concat < > < batchnorm relu conv(2) > gap >";
    assert_eq!(parts(nested), [(true, true); 2]);
    let (graph, places) = places(nested);
    let buffers = graph.ids().filter(|&id| {
        let view = places.view(TensorId::Value(id)).expect("it has a place");
        view.buffer == BufferKey::Value(id)
    });
    // The input's, the whole's, those of two normalisations and of the average.
    assert_eq!(buffers.count(), 5);
}

/// The gradient of a sum becomes that of both of its operands, and no other's that is made of it meanwhile.
#[test]
fn a_shortcut_has_its_gradient_where_the_sum_has_it() {
    let (graph, places) = places(
        "< input(2, 4, 4) conv(3) relu add < conv(3) batchnorm relu conv(3) batchnorm > < > gap >",
    );
    let view = |id: NodeId| places.view(TensorId::Grad(id)).expect("it has a place");
    let sum = graph.ids().find(|&id| graph.node(id).op == Op::Add).expect("a sum");
    let [branch, from] = graph.node(sum).inputs[..] else { panic!("a sum of two") };
    assert_eq!([view(branch), view(from)], [view(sum); 2]);
    let others = graph.ids().filter(|&id| id > from && id < branch);
    assert!(others.map(view).all(|other| other != view(sum)));
}

#[test]
fn what_is_joined_twice_is_copied_once() {
    let text = "< input(2, 4, 4) conv(3) relu concat < > < > gap >";
    assert_eq!(parts(text), [(true, true), (false, false)]);
    let text = "< input(2, 4, 4) conv(3) concat < conv(2) concat < > < relu > > < > gap >";
    assert_eq!(parts(text), [(true, true); 2]);
    // A sum of the second concatenation reads the part after it: the first to contribute to the gradient is the sum.
    let text = "< input(2, 4, 4) conv(3) add < concat < > < conv(3) > conv(3) > < > gap >";
    assert_eq!(parts(text), [(true, false), (true, true)]);
}

/// A window that is all of a map makes a vector of it.
#[test]
fn what_is_read_as_one_vector_has_no_gaps() {
    let text = "< input(2, 4, 4) conv(3) add < fc(2) > < concat < > < conv(2) > gap fc(2) > >";
    assert_eq!(parts(text), [(false, false), (true, true)]);
    let text = "< input(2, 4, 4) concat < conv(3) > < conv(2) > add < fc(2) > < fc(2) > >";
    assert_eq!(parts(text), [(true, true); 2]);
}

/// What works in place on a concatenation overwrites its parts: not if a rule computes with one of them, nor if others read one.
#[test]
fn parts_that_are_needed_are_not_overwritten() {
    let in_place = |text: &str| {
        let (graph, places) = places(text);
        let last = graph
            .ids()
            .find(|&id| matches!(graph.node(id).op, Op::Activation(Activation::LeakyRelu { .. })));
        let last = last.expect("a leaky ReLU");
        let view = |id| places.view(TensorId::Value(id));
        view(last) == view(graph.operand(last))
    };
    assert!(in_place("< input(2, 4, 4) concat < conv(3) relu > < conv(2) > leaky_relu(0.1) gap >"));
    assert!(!in_place("< input(2, 4, 4) concat < conv(3) elu > < conv(2) > leaky_relu(0.1) gap >"));
    assert!(!in_place(
        "< input(2, 4, 4) conv(2) concat < > < maxpool(3, stride = 1, pad = 1) > leaky_relu(0.1) gap >"
    ));
}

/// Whether a model's second node from the end lies where its operand does, in a program that trains and in one that does not.
fn in_place(text: &str) -> [bool; 2] {
    [true, false].map(|training| {
        let (graph, places) = places_of(text, training);
        let last = graph.ids().rev().nth(1).expect("three nodes");
        let view = |id| places.view(TensorId::Value(id));
        view(last) == view(graph.operand(last))
    })
}

#[test]
fn what_reads_its_operand_again_is_in_place_where_nothing_trains() {
    for word in ["silu", "gelu", "hard_swish", "prelu"] {
        assert_eq!(in_place(&format!("< input(2, 4, 4) conv(3) {word} gap >")), [false, true]);
    }
    for word in ["relu6", "sigmoid", "tanh", "hard_sigmoid", "scale(-0.5)"] {
        assert_eq!(in_place(&format!("< input(2, 4, 4) conv(3) {word} gap >")), [true; 2]);
        // A rule computes with the value.
        assert_eq!(in_place(&format!("< input(2, 4, 4) conv(3) tanh {word} gap >")), [false; 2]);
    }
}

/// A mask is taken from what the last of a run has left.
#[test]
fn what_changes_signs_leaves_masks_alone() {
    for (word, keeps) in [
        ("sigmoid", false),
        ("hard_sigmoid", false),
        ("scale(0.5)", false),
        ("scale(-2)", false),
        ("scale(2)", true),
        ("tanh", true),
        ("relu6", true),
    ] {
        for before in ["relu", "relu dropout(0.5)", "leaky_relu scale(3)"] {
            let text = format!("< input(2, 4, 4) conv(3) {before} {word} gap >");
            assert_eq!(in_place(&text), [keeps; 2], "{text}");
        }
    }
}
