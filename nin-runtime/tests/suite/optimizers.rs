//! Every optimizer's rule, and spread labels, as they are defined.

use ndarray::Array4;
use nin_dsl::graph::Graph;
use nin_runtime::Hyper;
use nin_runtime::compile::{Options, Purpose, compile};
use nin_runtime::compiler::optimizer::{Optimizer, Squares};
use nin_runtime::run::exec::{Session, StepParams};
use nin_runtime::weights::Weights;

use crate::data::Data;
use crate::models::graph;

const TEXT: &str = "< input(2, 6, 5) mlpconv(6, 5) maxpool(2) conv(7) relu gap fc(4) softmax >";
const IMAGES: usize = 7;
const STEPS: u64 = 5;

/// A graph, a session of it, and a batch.
fn start() -> (Graph, Session, Data) {
    let graph = graph(TEXT);
    let data = Data::draw(&graph, IMAGES, 5);
    let options =
        Options { batch: IMAGES, threads: 2, purpose: Purpose::Training, ..Options::default() };
    let session = compile(&graph, &options).expect("a program").session(&data.weights);
    (graph, session.expect("a session"), data)
}

fn wide(weights: &Weights) -> Vec<Vec<f64>> {
    let tensor =
        |tensor: &nin_runtime::weights::Tensor| tensor.values.iter().map(|&x| x.into()).collect();
    weights.tensors().iter().map(tensor).collect()
}

/// What an optimizer does to one number, `v` and `s` being what it keeps beside it.
fn rule(optimizer: Optimizer, hyper: Hyper, step: u64, g: f64, [w, v, s]: [f64; 3]) -> [f64; 3] {
    let [lr, momentum, decay] = [hyper.lr, hyper.momentum, hyper.decay].map(f64::from);
    let adam = |Squares { squares, epsilon }: Squares, g: f64, w: f64| {
        let (m, s) = (momentum * v + (1.0 - momentum) * g, squares * s + (1.0 - squares) * g * g);
        let t = (step + 1) as f64;
        let (mean, square) = (m / (1.0 - momentum.powf(t)), s / (1.0 - squares.powf(t)));
        [w - lr * mean / (square.sqrt() + epsilon), m, s]
    };
    let decayed = g + decay * w;
    match optimizer {
        Optimizer::Sgd => {
            let v = momentum * v + decayed;
            [w - lr * v, v, s]
        }
        Optimizer::Nesterov => {
            let v = momentum * v + decayed;
            [w - lr * (decayed + momentum * v), v, s]
        }
        Optimizer::Adam(squares) => adam(squares, decayed, w),
        Optimizer::AdamW(squares) => adam(squares, g, w - lr * decay * w),
    }
}

#[test]
fn every_rule_moves_weights_as_it_is_defined() {
    let squares = Squares { squares: 0.99, epsilon: 1e-5 };
    for optimizer in
        [Optimizer::Sgd, Optimizer::Nesterov, Optimizer::Adam(squares), Optimizer::AdamW(squares)]
    {
        let (graph, mut session, data) = start();
        let hyper: Vec<Hyper> = (0..graph.weights().len())
            .map(|weight| Hyper { lr: 0.02 + 0.01 * weight as f32, momentum: 0.75, decay: 0.125 })
            .collect();
        let mut kept: Vec<Vec<[f64; 3]>> = wide(&data.weights)
            .into_iter()
            .map(|values| values.into_iter().map(|w| [w, 0.0, 0.0]).collect())
            .collect();
        for step in 0..STEPS {
            let (_, gradients) = session.gradients(data.images.view(), &data.labels).unwrap();
            let params = StepParams { step, hyper: &hyper, optimizer, ..StepParams::default() };
            session.step(data.images.view(), &data.labels, &params).unwrap();
            for ((kept, gradient), &hyper) in kept.iter_mut().zip(wide(&gradients)).zip(&hyper) {
                for (kept, g) in kept.iter_mut().zip(gradient) {
                    *kept = rule(optimizer, hyper, step, g, *kept);
                }
            }
        }
        let squares = session.squares().unwrap();
        assert_eq!(squares.is_some(), !matches!(optimizer, Optimizer::Sgd | Optimizer::Nesterov));
        let found = [Some(session.weights()), Some(session.momentum().unwrap()), squares];
        for (part, found) in found.iter().enumerate() {
            for (expected, found) in kept.iter().zip(found.iter().flat_map(wide)) {
                for (expected, found) in expected.iter().map(|kept| kept[part]).zip(found) {
                    let apart = (expected - found).abs();
                    assert!(
                        apart < 2e-5 * expected.abs() + 2e-6,
                        "{optimizer:?} {part}: {found}, {expected}"
                    );
                }
            }
        }
    }
}

/// At the first step both running means are corrected to the gradient alone, so that a weight moves by the rate itself. What
/// corrects them is the share as it is rounded: close to 1, as given, it would be off by a hundredth of what is left of it.
#[test]
fn the_first_step_of_adam_is_the_rate() {
    const RATE: f32 = 0.25;
    let squares = Squares { squares: 0.999_99, epsilon: 0.0 };
    let (graph, mut session, data) = start();
    let hyper = vec![Hyper { lr: RATE, momentum: 0.9, decay: 0.0 }; graph.weights().len()];
    let (_, gradients) = session.gradients(data.images.view(), &data.labels).unwrap();
    let optimizer = Optimizer::Adam(squares);
    let params = StepParams { hyper: &hyper, optimizer, ..StepParams::default() };
    session.step(data.images.view(), &data.labels, &params).unwrap();
    let moved = wide(&data.weights).into_iter().zip(wide(&session.weights())).zip(wide(&gradients));
    let mut compared = 0;
    for ((before, after), gradients) in moved {
        for ((before, after), g) in before.iter().zip(after).zip(gradients) {
            // Squares of smaller ones are no normal floats.
            if g.abs() > 1e-12 {
                let found = (before - after) * g.signum();
                assert!((found - f64::from(RATE)).abs() < 1e-5, "{found} for {g:e}");
                compared += 1;
            }
        }
    }
    assert!(compared > 100);
}

/// The loss against a spread label is the mix of the losses against each class, and so is its gradient.
#[test]
fn spread_labels_mix_the_losses_of_all_classes() {
    const SMOOTHING: f32 = 0.2;
    const CLASSES: u32 = 4;
    let (graph, mut session, data) = start();
    let mut of = |images: &Array4<f32>, labels: &[u32]| {
        let (loss, gradients) = session.gradients(images.view(), labels).unwrap();
        (loss, wide(&gradients))
    };
    let share = f64::from(SMOOTHING);
    let (loss, gradients) = of(&data.images, &data.labels);
    let mut expected: Vec<Vec<f64>> =
        gradients.iter().map(|values| values.iter().map(|g| (1.0 - share) * g).collect()).collect();
    let mut expected_loss = (1.0 - share) * loss;
    for class in 0..CLASSES {
        let (loss, gradients) = of(&data.images, &[class; IMAGES]);
        expected_loss += share / f64::from(CLASSES) * loss;
        for (expected, g) in expected.iter_mut().flatten().zip(gradients.iter().flatten()) {
            *expected += share / f64::from(CLASSES) * g;
        }
    }
    // A step of rate 1 without momentum leaves the gradient as the difference.
    let hyper = vec![Hyper { lr: 1.0, momentum: 0.0, decay: 0.0 }; graph.weights().len()];
    let params = StepParams { hyper: &hyper, smoothing: SMOOTHING, ..StepParams::default() };
    let found = session.step(data.images.view(), &data.labels, &params).unwrap().loss;
    assert!((found - expected_loss).abs() < 1e-5 * expected_loss, "{found}, {expected_loss}");
    let momentum = wide(&session.momentum().unwrap());
    for (expected, found) in expected.iter().flatten().zip(momentum.iter().flatten()) {
        assert!((expected - found).abs() < 1e-5, "{found}, {expected}");
    }
}
