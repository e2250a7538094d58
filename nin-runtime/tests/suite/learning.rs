//! A tiny network learns a tiny task, and generated code and the interpreter see the same losses on the way.

use ndarray::{Array4, ArrayD};
use nin_runtime::Hyper;
use nin_runtime::compile::{Options, Purpose, compile};
use nin_runtime::oracle::{self, DropoutKey, Inputs};
use nin_runtime::run::exec::StepParams;

use crate::data::Data;
use crate::models::graph;
use crate::sgd;

const IMAGES: usize = 24;
const STEPS: u64 = 40;

/// Bars on noise: across, down, or none.
fn task() -> (Array4<f32>, Vec<u32>) {
    let label = |n: usize| n % 3;
    let noise = |n: usize, y: usize, x: usize| ((n * 37 + y * 11 + x * 5) % 16) as f32 / 16.0 - 0.5;
    let pixel = |(n, _, y, x): (usize, usize, usize, usize)| {
        let place = n / 3 % 8;
        let on = match label(n) {
            0 => y == place,
            1 => x == place,
            _ => false,
        };
        noise(n, y, x) + if on { 1.0 } else { 0.0 }
    };
    (
        Array4::from_shape_fn((IMAGES, 1, 8, 8), pixel),
        (0..IMAGES).map(|n| label(n) as u32).collect(),
    )
}

#[test]
fn a_tiny_network_learns_with_the_interpreters_losses() {
    let text =
        "< input(1, 8, 8) mlpconv(8, 8) maxpool(2) dropout(0.1) mlpconv(8, 8) gap fc(3) softmax >";
    let graph = graph(text);
    let (images, labels) = task();
    let start = Data::draw(&graph, 1, 1).weights;
    let hyper = vec![Hyper { lr: 0.1, momentum: 0.9, decay: 1e-4 }; graph.weights().len()];
    let options =
        Options { batch: IMAGES, threads: 2, purpose: Purpose::Training, ..Options::default() };
    let mut session =
        compile(&graph, &options).expect("a program").session(&start).expect("a session");
    let mut weights = oracle::arrays(&start);
    let mut momentum: Vec<ArrayD<f64>> =
        weights.iter().map(|weight| ArrayD::zeros(weight.raw_dim())).collect();
    let wide = images.mapv(f64::from);
    let mut losses = Vec::new();
    for step in 0..STEPS {
        let params = StepParams { step, seed: 3, hyper: &hyper, ..StepParams::default() };
        let found = session.step(images.view(), &labels, &params).expect("a step").loss;
        let dropout = Some(DropoutKey { seed: 3, step });
        let inputs = Inputs { weights: &weights, images: wide.view(), labels: &labels, dropout };
        let expected = oracle::loss_and_gradients(&graph, inputs);
        sgd::step(&graph, &mut weights, &mut momentum, &expected.gradients, &hyper);
        // Rounding differences grow with every step.
        let tolerance = 1e-5 * 1.2f64.powi(step as i32);
        let distance = (found - expected.loss).abs();
        assert!(distance < tolerance, "step {step}: {found} instead of {}", expected.loss);
        losses.push(found);
    }
    assert!(losses[0] > 0.8, "{losses:?}");
    assert!(losses[losses.len() - 1] < losses[0] / 4.0, "{losses:?}");
}
