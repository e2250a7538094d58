//! The interpreter's gradients, of every op with respect to its operand and its weights, against central differences
//! in f64.

use ndarray::{Array4, ArrayD};
use nin_dsl::graph::Graph;
use nin_runtime::compiler::autodiff::{TensorId, TrainNode, TrainOp, differentiate};
use nin_runtime::oracle::{self, DropoutKey, Inputs};
use proptest::prelude::*;

use crate::models::{SMALL, classifiers, graph};
use crate::steady::Steady;
use crate::tally::Tally;
use crate::{close, step};

/// Step of a difference; its error is about the square of it, and rounding over it.
const STEP: f64 = 1e-6;
/// Of a gradient's scale.
const TOLERANCE: f64 = 1e-6;
/// Elements of one tensor that are checked; of a random model's.
const ELEMENTS: usize = 40;
const FEW_ELEMENTS: usize = 6;

/// Everything a loss is a function of.
#[derive(Clone)]
struct Point {
    weights: Vec<ArrayD<f64>>,
    images: Array4<f64>,
}

/// The loss around a point, with fixed labels and dropout masks.
struct Function<'a> {
    graph: &'a Graph,
    labels: &'a [u32],
    dropout: Option<DropoutKey>,
    /// Up to the loss.
    nodes: Vec<TrainNode>,
    /// Elements of one tensor that are checked.
    elements: usize,
}

impl Function<'_> {
    fn at(&self, point: &Point) -> f64 {
        let inputs = self.inputs(point);
        oracle::run(self.graph, &self.nodes, inputs)[&TensorId::Loss].sum()
    }

    fn inputs<'a>(&'a self, point: &'a Point) -> Inputs<'a, f64> {
        Inputs {
            weights: &point.weights,
            images: point.images.view(),
            labels: self.labels,
            dropout: self.dropout,
        }
    }

    /// Compares a gradient with differences at some of its elements; `place` is the element in a point.
    fn check(
        &self,
        what: &str,
        point: &Point,
        grad: &ArrayD<f64>,
        mut place: impl FnMut(&mut Point, usize) -> &mut f64,
    ) -> Result<(), String> {
        let mut point = point.clone();
        let scale = close::scale(grad);
        for index in (0..grad.len()).step_by(grad.len().div_ceil(self.elements)) {
            let before = *place(&mut point, index);
            *place(&mut point, index) = before + STEP;
            let above = self.at(&point);
            *place(&mut point, index) = before - STEP;
            let below = self.at(&point);
            *place(&mut point, index) = before;
            let difference = (above - below) / (2.0 * STEP);
            let found = *grad.iter().nth(index).expect("an index of the gradient");
            // A gradient of nearly nothing is lost in the rounding of the loss, or of the logits that it is the difference of.
            let rounding = 8.0 * f64::EPSILON * above.abs().max(1.0) / STEP;
            if (found - difference).abs() > TOLERANCE * scale.max(1e-3) + rounding {
                return Err(format!("{what}[{index}]: {found:e}, differences say {difference:e}"));
            }
        }
        Ok(())
    }
}

/// Checks the gradient of the images and of every weight; `Ok(false)` if no comparable data were drawn.
fn check(text: &str, images: usize, seed: u64, elements: usize) -> Result<bool, String> {
    let graph = graph(text);
    let dropout = Some(DropoutKey { seed, step: 3 });
    let Some(Steady { data, .. }) = Steady::draw(&graph, images, seed, dropout) else {
        return Ok(false);
    };
    let mut nodes = differentiate(&graph).nodes;
    nodes.truncate(1 + nodes.iter().position(|node| node.op == TrainOp::CrossEntropy).unwrap());
    let function = Function { graph: &graph, labels: &data.labels, dropout, nodes, elements };
    let point =
        Point { weights: oracle::arrays(&data.weights), images: data.images.mapv(f64::from) };
    let values = oracle::run(&graph, &step::down_to_images(&graph), function.inputs(&point));
    let trained = graph.weight_ids().filter(|&id| graph.weight(id).role.is_trained());
    for id in trained {
        let index = id.index();
        let grad = &values[&TensorId::WeightGrad(id)];
        function.check(&graph.weight(id).name, &point, grad, |point, element| {
            point.weights[index].iter_mut().nth(element).expect("an element of the weight")
        })?;
    }
    let input = graph.ids().next().expect("an input");
    function.check("images", &point, &values[&TensorId::Grad(input)], |point, element| {
        point.images.iter_mut().nth(element).expect("an element of the images")
    })?;
    Ok(true)
}

fn check_all(texts: &[&str]) {
    for (seed, text) in texts.iter().enumerate() {
        let checked =
            check(text, 2, seed as u64, ELEMENTS).unwrap_or_else(|what| panic!("{text}\n{what}"));
        assert!(checked, "{text}\nno draw is comparable");
    }
}

#[test]
fn convolutions() {
    check_all(&[
        "< input(2, 5, 7) conv(3) gap >",
        "< input(2, 5, 7) conv(3, bias = 0) gap softmax >",
        "< input(3, 7, 4) conv(4, kernel = 1) fc(3) >",
        "< input(1, 9, 6) conv(2, kernel = 5, stride = 2) fc(3) >",
        "< input(2, 8, 11) conv(3, kernel = 4, stride = 3, pad = 2) fc(2) >",
        "< input(2, 7, 7) conv(2, kernel = 7, pad = 0) gap >",
        "< input(2, 3, 4) conv(2, kernel = 3, pad = 5) fc(3) >",
        "< input(1, 12, 13) conv(2, kernel = 11, stride = 2, pad = 4) fc(2) >",
        "< input(2, 5, 5) conv(2, kernel = 1, stride = 3, pad = 1) fc(2) >",
        "< input(2, 6, 5) conv(3, kernel = 2, pad = 0) conv(2, kernel = 3) gap >",
    ]);
}

#[test]
fn convolutions_in_groups() {
    check_all(&[
        "< input(4, 5, 6) conv(6, groups = 2) gap >",
        "< input(6, 5, 4) conv(9, kernel = 1, groups = 3, bias = 0) fc(3) >",
        "< input(3, 6, 7) depthwise gap >",
        "< input(3, 9, 8) depthwise(5, stride = 2, bias = 0) relu fc(2) >",
        "< input(2, 6, 5) conv(3) depthwise(multiplier = 3) fc(2) >",
        "< input(3, 4, 5) depthwise(1) relu conv(4, kernel = 1) relu depthwise((4, 5), pad = 0) gap >",
        "< input(4, 7, 7) conv(4, groups = 4, dilation = 2, stride = 2) conv(8, groups = 2) gap softmax >",
    ]);
}

#[test]
fn oblong_and_dilated_windows() {
    check_all(&[
        "< input(2, 5, 9) conv(3, kernel = (1, 7)) conv(2, kernel = (5, 1), pad = (2, 0)) gap >",
        "< input(2, 9, 8) conv(3, kernel = (2, 3), stride = (3, 1), pad = (0, 2)) fc(2) >",
        "< input(2, 6, 7) conv(3, pad = (2, 0, 0, 3)) conv(2, stride = (1, 2), pad = (0, 1, 2, 0)) fc(3) >",
        "< input(2, 9, 9) conv(3, dilation = 2) conv(2, dilation = (3, 1), pad = (3, 0)) gap >",
        "< input(2, 13, 11) conv(2, stride = 2, dilation = 4) conv(2, stride = (3, 2), dilation = (2, 6)) fc(2) >",
        "< input(2, 10, 9) depthwise((3, 2), stride = (2, 3), pad = (1, 0, 2, 1), dilation = (2, 3)) fc(2) >",
        "< input(2, 8, 9) maxpool((2, 3), stride = (1, 2), pad = (1, 0, 0, 1), round = ceil) fc(2) >",
    ]);
}

#[test]
fn rectifiers() {
    check_all(&[
        "< input(2, 4, 5) relu gap >",
        "< input(2, 4, 5) conv(3) relu fc(3) >",
        "< input(2, 4, 5) relu relu conv(3) relu relu gap >",
        "< input(2, 5, 5) mlpconv(4, 3, 3) gap softmax >",
        "< input(2, 5, 5) mlpconv(4, kernel = 5, stride = 2) mlpconv(3, 3) gap softmax >",
        "< input(3, 2, 2) gap relu fc(4) relu fc(3) softmax >",
    ]);
}

/// Runs of ops that work in place, whose masks are all taken from what the last of them leaves.
#[test]
fn leaky_rectifiers() {
    check_all(&[
        "< input(2, 4, 5) leaky_relu gap >",
        "< input(2, 4, 5) conv(3) leaky_relu(0.3) fc(3) >",
        "< input(2, 4, 5) conv(3) leaky_relu(0) fc(3) >",
        "< input(2, 4, 5) conv(3) leaky_relu(2.5) maxpool(2, round = ceil) fc(3) >",
        "< input(2, 4, 5) conv(3) leaky_relu(0.2) leaky_relu(0.3) conv(3) leaky_relu relu gap >",
        "< input(2, 4, 5) conv(3) relu leaky_relu(0.5) dropout(0.4) conv(4) gap softmax >",
        "< input(2, 4, 5) conv(3) dropout(0.4) leaky_relu(0.5) dropout(0.3) conv(4) gap >",
        "< input(3, 2, 2) gap leaky_relu(0.3) fc(4) leaky_relu(0.1) fc(3) softmax >",
    ]);
}

/// Beside what works in place, which must leave the values that gradients are made of.
#[test]
fn exponential_rectifiers() {
    check_all(&[
        "< input(2, 4, 5) elu gap >",
        "< input(2, 4, 5) conv(3) elu(0.3) fc(3) >",
        "< input(2, 4, 5) conv(3) elu(0) fc(3) >",
        "< input(2, 4, 5) conv(3) elu(2.5) maxpool(2, round = ceil) fc(3) >",
        "< input(2, 4, 5) conv(3) elu(0.7) elu conv(3) elu relu conv(3) relu elu gap >",
        "< input(2, 4, 5) conv(3) elu leaky_relu(0.5) conv(3) leaky_relu(0.5) elu(0.4) gap >",
        "< input(2, 4, 5) conv(3) elu(1.5) dropout(0.4) conv(4) dropout(0.4) elu gap softmax >",
        "< input(2, 4, 5) conv(3) elu batchnorm elu conv(3) batchnorm elu dropout(0.3) gap >",
        "< input(3, 2, 2) gap elu(0.3) fc(4) elu dropout(0.2) elu fc(3) elu softmax >",
    ]);
}

/// Alone, after a convolution, before a pool, twice in a row, beside what works in place, on maps and on vectors, in branches.
#[test]
fn activations() {
    for word in [
        "relu6",
        "sigmoid",
        "tanh",
        "silu",
        "gelu",
        "hard_sigmoid",
        "hard_swish",
        "prelu",
        "scale(-0.7)",
    ] {
        check_all(&[
            &format!("< input(2, 4, 5) {word} gap >"),
            &format!("< input(2, 4, 5) conv(3) scale(4.0) {word} fc(3) >"),
            &format!("< input(2, 4, 5) conv(3) {word} maxpool(2, round = ceil) fc(3) >"),
            &format!("< input(2, 4, 5) conv(3) {word} {word} conv(3) relu {word} relu gap >"),
            &format!(
                "< input(2, 4, 5) conv(3) leaky_relu(0.5) {word} elu(0.7) conv(3) elu {word} gap >"
            ),
            &format!(
                "< input(2, 4, 5) conv(3) dropout(0.4) {word} dropout(0.3) conv(4) gap softmax >"
            ),
            &format!("< input(2, 4, 5) conv(3) batchnorm {word} conv(3) {word} batchnorm gap >"),
            &format!("< input(2, 4, 5) conv(3) add < {word} > < conv(3) {word} > {word} gap >"),
            &format!(
                "< input(2, 4, 5) conv(3) concat < {word} > < relu {word} > mul < > < gap {word} > gap >"
            ),
            &format!(
                "< input(3, 2, 2) gap {word} fc(4) {word} dropout(0.2) fc(3) {word} softmax >"
            ),
        ]);
    }
    check_all(&[
        "< input(2, 4, 5) conv(3) scale(0) fc(3) >",
        "< input(2, 4, 5) conv(3) relu scale(2.0) tanh scale(0.5) sigmoid scale(-1) prelu gap >",
    ]);
}

#[test]
fn pools() {
    for word in ["maxpool", "avgpool"] {
        let counted =
            if word == "avgpool" { "3, stride = 2, pad = 1, count = window" } else { "4" };
        for window in [
            counted,
            "(1, 3), stride = (2, 1), pad = (0, 1)",
            "(3, 2), stride = 2, pad = (1, 0, 0, 1), round = ceil",
            "2",
            "1, stride = 2",
            "3, stride = 2, round = ceil",
            "3, stride = 2, round = floor",
            "3, stride = 1, pad = 1",
            "2, stride = 3, round = ceil",
            "5, stride = 2, pad = 2, round = ceil",
            "2, stride = 2, pad = 1, round = ceil",
        ] {
            check_all(&[
                &format!("< input(3, 5, 8) {word}({window}) gap >"),
                &format!("< input(1, 7, 5) conv(3) {word}({window}) fc(3) >"),
                &format!("< input(1, 7, 6) mlpconv(3, 3) {word}({window}) relu fc(3) softmax >"),
            ]);
        }
    }
    check_all(&[
        "< input(2, 9, 9) maxpool(3, stride = 2) maxpool(2, stride = 1) gap >",
        "< input(2, 9, 9) avgpool(3, stride = 2) maxpool(2, stride = 1) avgpool(2, stride = 1) gap >",
        "< input(2, 1, 9) maxpool(3, stride = 2, pad = 1) fc(3) >",
        "< input(2, 6, 5) avgpool(3, stride = 2, pad = 1, round = ceil, count = window) fc(3) >",
        "< input(2, 4, 4) avgpool(2, stride = 3, pad = (1, 0, 1, 1), round = ceil, count = window) fc(2) >",
    ]);
}

#[test]
fn global_average() {
    check_all(&[
        "< input(3, 5, 7) gap >",
        "< input(3, 1, 1) gap softmax >",
        "< input(2, 4, 3) conv(4) gap fc(3) softmax >",
    ]);
}

#[test]
fn global_maximum() {
    check_all(&[
        "< input(3, 5, 7) gmp >",
        "< input(3, 1, 1) gmp softmax >",
        "< input(2, 4, 3) conv(4) gmp fc(3) softmax >",
        "< input(2, 4, 5) conv(9) relu gmp relu fc(3) >",
        "< input(2, 4, 5) conv(4) elu gmp dropout(0.4) elu fc(3) >",
        "< input(2, 5, 5) mlpconv(4, 4) dropout(0.3) gmp batchnorm softmax >",
        "< input(2, 4, 5) conv(4) relu mul < > < gmp fc(4) > < > add < gmp > < gap > fc(3) >",
        "< input(2, 4, 5) conv(4) concat < gmp > < gap > < maxpool(2) gmp > fc(3) >",
    ]);
}

#[test]
fn fully_connected() {
    check_all(&[
        "< input(3, 4, 5) fc(4) >",
        "< input(3, 4, 5) fc(4, bias = 0) softmax >",
        "< input(3, 4, 5) fc(6) relu fc(3) softmax >",
        "< input(2, 4, 5) gap fc(6) fc(3) >",
    ]);
}

#[test]
fn dropouts() {
    check_all(&[
        "< input(3, 4, 5) dropout(0.5) gap >",
        "< input(3, 4, 5) conv(4) dropout(0.3) fc(4) dropout(0.5) fc(3) softmax >",
        "< input(2, 5, 5) mlpconv(4, 4) dropout(0.5) dropout(0.2) maxpool(2) dropout(0.5) conv(3) gap >",
        "< input(2, 4, 4) conv(3) dropout(0.4) relu maxpool(3, stride = 1) gap dropout(0.2) relu fc(2) >",
        "< input(2, 4, 4) conv(3) dropout(0) gap >",
    ]);
}

/// Beside what works in place, on maps and on vectors.
#[test]
fn batch_normalisations() {
    check_all(&[
        "< input(2, 4, 5) batchnorm gap >",
        "< input(2, 4, 5) batchnorm(eps = 0.1) fc(3) >",
        "< input(2, 4, 5) conv(3) batchnorm relu conv(3) gap softmax >",
        "< input(2, 4, 5) conv(3, bias = 0) relu batchnorm maxpool(2) dropout(0.4) fc(3) >",
        "< input(2, 5, 5) mlpconv(4, 4) batchnorm mlpconv(3, 3) batchnorm gap softmax >",
        "< input(2, 4, 5) conv(3) batchnorm batchnorm(eps = 1e-2) leaky_relu(0.2) avgpool(2) gap >",
        "< input(3, 3, 3) gap fc(4) batchnorm relu fc(4) batchnorm dropout(0.3) fc(3) softmax >",
        "< input(2, 4, 5) dropout(0.4) conv(4) dropout(0.3) batchnorm relu gap batchnorm >",
    ]);
}

/// Of groups of images: of one size, which go through the net one after the other, and of several, some of them of the whole
/// batch. Of seven images a last group is whole, a part, joined to the one before it, alone, or all there is.
#[test]
fn ghost_batch_normalisations() {
    for (seed, text) in [
        "< input(2, 3, 4) batchnorm(ghost = 2) gap >",
        "< input(2, 3, 4) conv(3) batchnorm(ghost = 3) relu conv(3) batchnorm(ghost = 3) gap softmax >",
        "< input(2, 3, 4) conv(3, bias = 0) batchnorm(0.1, ghost = 4) fc(4) batchnorm(ghost = 4) elu fc(3) >",
        "< input(2, 3, 4) conv(3) batchnorm(ghost = 5) maxpool(2) dropout(0.4) gap batchnorm(ghost = 5) >",
        "< input(2, 3, 4) conv(3) batchnorm(ghost = 9) relu fc(3) >",
        "< input(2, 3, 4) conv(3) batchnorm(ghost = 2) conv(3) batchnorm(ghost = 3) relu gap batchnorm fc(3) >",
        "< input(2, 3, 4) conv(3) batchnorm relu add < conv(3) batchnorm(ghost = 3) > < > relu gap >",
        "< input(2, 3, 4) conv(3) relu add < conv(3) batchnorm(ghost = 2) > < batchnorm(ghost = 2) > relu gap >",
    ]
    .into_iter()
    .enumerate()
    {
        let checked = check(text, 7, seed as u64, ELEMENTS).unwrap_or_else(|what| panic!("{text}\n{what}"));
        assert!(checked, "{text}\nno draw is comparable");
    }
}

/// Windows of one channel, of some, of more than there are, and so wide that their sums are made of sums; powers of roots and
/// others.
#[test]
fn response_normalisations() {
    check_all(&[
        "< input(7, 2, 3) lrn gap >",
        "< input(2, 4, 5) conv(9) lrn(3, alpha = 2.0) gap softmax >",
        "< input(2, 4, 5) conv(6) relu lrn(alpha = 1.0, beta = 0.5, k = 2) fc(3) >",
        "< input(2, 4, 5) conv(6) lrn(1, alpha = 1.0, beta = 0.6) maxpool(2) lrn(99, alpha = 3.0, beta = 1.3) fc(3) >",
        "< input(2, 3, 2) conv(40) lrn(19, alpha = 5.0) relu conv(3) gap >",
        "< input(2, 3, 2) conv(21) lrn(41, alpha = 5.0, beta = 1.0) dropout(0.3) gap >",
        "< input(2, 4, 5) conv(5) lrn(alpha = 0) lrn(beta = 0) lrn(alpha = 1.0, beta = 4.25, k = 0.3) fc(3) >",
        "< input(2, 4, 5) conv(3) relu add < lrn(3, alpha = 1.0) > < conv(3) lrn(alpha = 2.0) > < > elu gap >",
        "< input(2, 4, 5) conv(3) concat < lrn(3, alpha = 1.0) relu > < conv(5) batchnorm lrn > < > lrn(3, alpha = 2.0) gap >",
    ]);
}

/// On maps and on vectors, of identities, of one value read twice and three times, beside what works in place.
#[test]
fn sums() {
    check_all(&[
        "< input(2, 4, 5) add < > < > gap >",
        "< input(2, 4, 5) conv(3) add < conv(3) > < > gap softmax >",
        "< input(2, 4, 5) conv(3) relu add < conv(3) relu conv(3) > < > relu conv(2) gap >",
        "< input(2, 4, 5) conv(3) add < relu > < elu > < leaky_relu(0.2) > gap >",
        "< input(2, 4, 5) conv(3) relu add < > < > < conv(3) > < maxpool(3, stride = 1, pad = 1) > fc(3) >",
        "< input(2, 4, 5) conv(3) add < batchnorm relu conv(3) batchnorm > < conv(3, kernel = 1) batchnorm > relu gap >",
        "< input(2, 4, 5) conv(4) dropout(0.4) add < dropout(0.3) conv(4) dropout(0.2) > < dropout(0.5) > fc(3) >",
        "< input(2, 6, 5) conv(3) add < conv(3, stride = 2) > < avgpool(2, stride = 2, round = ceil) > gap >",
        "< input(2, 4, 5) gap fc(4) add < fc(4) relu fc(4) > < > < relu > fc(3) softmax >",
        "< input(2, 4, 5) conv(3) add < add < conv(3) > < > relu > < add < > < conv(3) > > gap >",
    ]);
}

#[test]
fn concatenations() {
    check_all(&[
        "< input(2, 4, 5) concat < > < > gap >",
        "< input(2, 4, 5) conv(3) relu concat < conv(2, kernel = 1) relu > < conv(3) relu > gap softmax >",
        "< input(2, 4, 5) conv(3) concat < > < batchnorm relu conv(2) > concat < > < batchnorm relu conv(2) > gap >",
        "< input(2, 4, 5) conv(3) relu concat < maxpool(3, stride = 1, pad = 1) > < > < avgpool(3, stride = 1, pad = 1) > conv(2) gap >",
        "< input(2, 4, 5) conv(3) concat < relu > < elu(0.7) dropout(0.3) > < > dropout(0.4) fc(3) >",
        "< input(2, 4, 5) conv(3) relu concat < > < > < conv(2, kernel = 1) concat < > < relu > > < > gap >",
        "< input(2, 4, 5) conv(3) relu add < fc(3) > < concat < > < conv(2) > leaky_relu(0.1) gap fc(3) > softmax >",
        "< input(2, 4, 5) conv(3) relu concat < gap > < maxpool(2) gap > < fc(2) > relu fc(3) >",
        "< input(2, 4, 5) concat < conv(2) concat < > < conv(2) relu > > < conv(3) > batchnorm relu gap >",
    ]);
}

/// Of equal shapes, and by a number a channel.
#[test]
fn products() {
    check_all(&[
        "< input(2, 4, 5) mul < > < > gap >",
        "< input(2, 4, 5) conv(3) mul < relu > < conv(3) > < > gap softmax >",
        "< input(2, 4, 5) conv(4) relu mul < > < gap fc(2) relu fc(4) > conv(3) relu gap >",
        "< input(2, 4, 5) conv(4) mul < gap relu > < conv(4) batchnorm relu > < gap fc(4) > gap >",
        "< input(2, 4, 4) conv(4) mul < > < avgpool(4) conv(4, kernel = 1) > dropout(0.4) fc(3) >",
        "< input(2, 4, 5) gap fc(4) mul < > < fc(4) elu > < relu > fc(3) >",
        "< input(2, 4, 5) conv(3) relu add < mul < > < gap fc(3) > > < > relu gap >",
    ]);
}

#[test]
fn graphs() {
    let config = ProptestConfig {
        cases: 48,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(1),
        ..ProptestConfig::default()
    };
    let cases = Tally::default();
    proptest!(config, |(text in classifiers(SMALL), seed in 0..1000u64)| {
        match check(&text, 1, seed, FEW_ELEMENTS) {
            Ok(checked) => cases.count(checked),
            Err(what) => prop_assert!(false, "{text}\n{what}"),
        }
    });
    cases.assert("cases", 90);
}
