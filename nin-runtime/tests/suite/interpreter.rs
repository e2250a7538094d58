//! The interpreter against numbers worked out by hand.

use ndarray::{Array4, ArrayD, array};
use nin_dsl::graph::{Graph, NodeId};
use nin_runtime::compiler::autodiff::TensorId;
use nin_runtime::compiler::dropout;
use nin_runtime::oracle::{self, DropoutKey, Inputs, Values};

use crate::models::graph;
use crate::step::down_to_images;

/// A model, its weights flat, and one image flat.
struct Case<'a> {
    text: &'a str,
    weights: &'a [&'a [f64]],
    image: &'a [f64],
}

const NINE: [f64; 9] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];

impl Case<'_> {
    fn arrays(&self) -> (Graph, Vec<ArrayD<f64>>, Array4<f64>) {
        let graph = graph(self.text);
        let given = graph.weights().iter().zip(self.weights);
        let weights = given.map(|(weight, values)| {
            ArrayD::from_shape_vec(weight.dims.clone(), values.to_vec()).expect("as many values")
        });
        let weights = weights.collect();
        let input = graph.input();
        let dims = (1, input.channels(), input.height(), input.width());
        let image = Array4::from_shape_vec(dims, self.image.to_vec()).expect("as many values");
        (graph, weights, image)
    }

    /// The output, flat.
    fn output(&self) -> Vec<f64> {
        let (graph, weights, image) = self.arrays();
        let output = oracle::forward(&graph, &weights, image.view());
        assert_eq!(output.shape()[1..], graph.output().dims());
        output.into_iter().collect()
    }

    /// All tensors of a step that takes `label` for right, the gradient of the image among them.
    fn step(&self, label: u32, dropout: Option<DropoutKey>) -> Values<f64> {
        let (graph, weights, image) = self.arrays();
        let inputs = Inputs { weights: &weights, images: image.view(), labels: &[label], dropout };
        oracle::run(&graph, &down_to_images(&graph), inputs)
    }
}

fn output(text: &str, image: &[f64]) -> Vec<f64> {
    Case { text, weights: &[], image }.output()
}

fn flat(values: &Values<f64>, tensor: TensorId) -> Vec<f64> {
    values[&tensor].iter().copied().collect()
}

#[test]
fn convolution_correlates() {
    let case = Case {
        text: "< input(1, 3, 3) conv(1, kernel = 2, pad = 0) >",
        weights: &[&[1.0, 2.0, 3.0, 4.0], &[0.5]],
        image: &NINE,
    };
    assert_eq!(case.output(), [37.5, 47.5, 67.5, 77.5]);
}

#[test]
fn convolution_pads_with_zeros_and_strides() {
    let case = Case {
        text: "< input(1, 3, 3) conv(1, stride = 2, bias = 0) >",
        weights: &[&[1.0; 9]],
        image: &NINE,
    };
    assert_eq!(case.output(), [12.0, 16.0, 24.0, 28.0]);
}

#[test]
fn kernels_are_out_in_row_column() {
    let case = Case {
        text: "< input(2, 1, 2) conv(2, kernel = 1) >",
        weights: &[&[1.0, 10.0, 100.0, 1000.0], &[0.0, 0.5]],
        image: &[1.0, 2.0, 3.0, 4.0],
    };
    assert_eq!(case.output(), [31.0, 42.0, 3100.5, 4200.5]);
}

#[test]
fn fc_flattens_channel_row_column() {
    let case = Case {
        text: "< input(2, 1, 2) fc(1) >",
        weights: &[&[1.0, 10.0, 100.0, 1000.0], &[0.25]],
        image: &[1.0, 2.0, 3.0, 4.0],
    };
    assert_eq!(case.output(), [4321.25]);
}

#[test]
fn mlpconv_ends_in_a_relu() {
    let case = Case {
        text: "< input(1, 1, 1) mlpconv(2, 2, kernel = 1) >",
        weights: &[&[1.0, -1.0], &[0.0, 0.0], &[1.0, 7.0, -1.0, 7.0], &[0.0, 0.0]],
        image: &[3.0],
    };
    assert_eq!(case.output(), [3.0, 0.0]);
}

#[test]
fn padding_neither_wins_a_maximum_nor_counts_in_a_mean() {
    let below = NINE.map(|x| -x);
    let pool = |word| format!("< input(1, 3, 3) {word}(2, pad = 1, round = floor) >");
    assert_eq!(output(&pool("maxpool"), &below), [-1.0, -2.0, -4.0, -5.0]);
    assert_eq!(output(&pool("avgpool"), &below), [-1.0, -2.5, -5.5, -7.0]);
}

#[test]
fn ceil_adds_a_clipped_window() {
    let pool = |word, round| format!("< input(1, 3, 3) {word}(2, round = {round}) >");
    assert_eq!(output(&pool("maxpool", "ceil"), &NINE), [5.0, 6.0, 8.0, 9.0]);
    assert_eq!(output(&pool("avgpool", "ceil"), &NINE), [3.0, 4.5, 7.5, 9.0]);
    assert_eq!(output(&pool("maxpool", "floor"), &NINE), [5.0]);
}

#[test]
fn relu_keeps_what_is_not_negative() {
    let values = output("< input(1, 1, 4) relu >", &[-1.0, 0.0, 2.0, f64::NAN]);
    assert_eq!(values[..3], [0.0, 0.0, 2.0]);
    assert!(values[3].is_nan());
}

#[test]
fn softmax_normalises_the_averages() {
    let image = [0.0, 0.0, 0.0, 2.0 * 3f64.ln()];
    let probabilities = output("< input(2, 1, 2) gap softmax >", &image);
    assert!((probabilities[0] - 0.25).abs() < 1e-15 && (probabilities[1] - 0.75).abs() < 1e-15);
    // Without the shift by the largest, this overflows.
    assert_eq!(output("< input(2, 1, 1) gap softmax >", &[1000.0, 1000.0]), [0.5, 0.5]);
}

#[test]
fn loss_is_the_mean_cross_entropy_of_the_logits() {
    let graph = graph("< input(2, 1, 1) gap softmax >");
    let images = array![[0.0, 3f64.ln()], [0.0, 0.0]].into_shape_with_order((2, 2, 1, 1)).unwrap();
    let inputs = Inputs { weights: &[], images: images.view(), labels: &[0, 1], dropout: None };
    let step = oracle::loss_and_gradients(&graph, inputs);
    assert!((step.loss - (4f64.ln() + 2f64.ln()) / 2.0).abs() < 1e-15);
    let grad = flat(&step.values, TensorId::Grad(NodeId(1)));
    let expected = [(0.25 - 1.0) / 2.0, 0.75 / 2.0, 0.25, -0.25];
    for (found, expected) in grad.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-15, "{grad:?}");
    }
}

/// The pixels of a 2 x 2 image that the gradient of its maximum reaches.
fn winners(image: [f64; 4]) -> Vec<usize> {
    let [of_pool, of_map] = ["maxpool(2)", "gmp"].map(|word| {
        let text = &format!("< input(1, 2, 2) {word} fc(2, bias = 0) >");
        let case = Case { text, weights: &[&[1.0, 0.0]], image: &image };
        let grad = flat(&case.step(0, None), TensorId::Grad(NodeId(0)));
        (0..4).filter(|&pixel| grad[pixel] != 0.0).collect::<Vec<_>>()
    });
    assert_eq!(of_pool, of_map);
    of_pool
}

#[test]
fn responses_are_normalised_by_the_channels_around() {
    let text = "< input(3, 1, 1) lrn(3, alpha = 3, beta = 1, k = 2) >";
    assert_eq!(output(text, &[1.0, 2.0, 3.0]), [1.0 / 7.0, 2.0 / 16.0, 3.0 / 15.0]);
    assert_eq!(
        output("< input(2, 1, 1) lrn(1, alpha = 1, beta = 0.5, k = 9) >", &[4.0, 0.0]),
        [0.8, 0.0]
    );
}

#[test]
fn first_maximum_in_row_order_takes_the_gradient() {
    assert_eq!(winners([1.0, 2.0, 3.0, 0.0]), [2]);
    assert_eq!(winners([0.0, 2.0, 2.0, 2.0]), [1]);
    assert_eq!(winners([f64::NEG_INFINITY; 4]), [0]);
}

#[test]
fn first_nan_wins_a_maximum() {
    assert_eq!(winners([1.0, f64::NAN, 9.0, f64::NAN]), [1]);
    assert!(output("< input(1, 1, 2) maxpool(1) gap >", &[1.0, f64::NAN])[0].is_nan());
    assert!(output("< input(1, 1, 2) gmp >", &[1.0, f64::NAN])[0].is_nan());
}

#[test]
fn overlapping_windows_add_up() {
    // Both windows' maximum is the middle pixel.
    let text = "< input(1, 1, 3) maxpool(2, stride = 1, pad = 1) gap fc(2, bias = 0) >";
    let case = Case { text, weights: &[&[1.0, 0.0]], image: &[1.0, 5.0, 1.0] };
    let values = case.step(0, None);
    let mean = flat(&values, TensorId::Grad(NodeId(2)))[0];
    // 2 x 4 windows, of which 2 x 2 hold the middle pixel.
    assert_eq!(flat(&values, TensorId::Grad(NodeId(0))), [mean / 4.0, mean / 2.0, mean / 4.0]);
}

#[test]
fn dropout_scales_what_its_mask_keeps_both_ways() {
    let text = "< input(2, 2, 3) dropout(0.5) fc(2, bias = 0) >";
    let weights: Vec<f64> = (0..24).map(|i| f64::from(i) - 11.5).collect();
    let image: Vec<f64> = (1..=12).map(f64::from).collect();
    let case = Case { text, weights: &[&weights], image: &image };
    let values = case.step(0, Some(DropoutKey { seed: 5, step: 9 }));
    let key = dropout::image_key(dropout::layer_key(5, 9, 0), 0);
    let factor = |c: u32, y: u32, x: u32| {
        let keeps = dropout::keeps(key, (y * 3 + x) * 2 + c, dropout::threshold(0.5));
        if keeps { 2.0 } else { 0.0 }
    };
    let channels = (0..2).flat_map(|c| (0..2).map(move |y| (c, y)));
    let factors: Vec<f64> = channels
        .flat_map(|(c, y)| (0..3).map(move |x| (c, y, x)))
        .map(|(c, y, x)| factor(c, y, x))
        .collect();
    assert!(factors.contains(&0.0) && factors.contains(&2.0), "{factors:?}");
    let times_factors = |values: Vec<f64>| -> Vec<f64> {
        values.iter().zip(&factors).map(|(value, factor)| value * factor).collect()
    };
    assert_eq!(flat(&values, TensorId::Value(NodeId(1))), times_factors(image.clone()));
    let grad = times_factors(flat(&values, TensorId::Grad(NodeId(1))));
    assert_eq!(flat(&values, TensorId::Grad(NodeId(0))), grad);
    assert_eq!(flat(&case.step(0, None), TensorId::Value(NodeId(1))), image);
}

#[test]
fn margin_is_the_closest_switch_of_its_tensor() {
    let margin = |text: &str, image: &[f64]| {
        let case = Case { text, weights: &[], image };
        oracle::switch_margin(&graph(text), &case.step(0, None))
    };
    assert_eq!(margin("< input(1, 1, 3) relu gap >", &[-4.0, 1.0, 2.0]), 0.25);
    assert_eq!(margin("< input(1, 2, 2) maxpool(2) gap >", &[8.0, 1.0, 8.0, 6.0]), 0.25);
    assert_eq!(margin("< input(1, 1, 2) relu relu gap >", &[-1.0, 1.0]), 1.0);
    assert_eq!(margin("< input(1, 1, 2) avgpool(1) gap >", &[-1.0, 1.0]), f64::INFINITY);
}
