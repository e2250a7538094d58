//! Generated code against the interpreter in f64, on random models: outputs, losses, gradients, training steps.

use ndarray::{ArrayD, ArrayView2, Axis};
use nin_dsl::graph::Graph;
use nin_runtime::Hyper;
use nin_runtime::autodiff::Tensor;
use nin_runtime::codegen::Isa;
use nin_runtime::compile::{Options, Purpose, compile};
use nin_runtime::exec::{Session, StepParams};
use nin_runtime::interp::{self, Differentiated, DropoutKey, Values};
use nin_runtime::plan::Algo;
use nin_runtime::weights::Weights;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseError};

use crate::close;
use crate::data::{Data, MARGIN, differentiate_comparably};
use crate::models::{LARGE, SMALL, classifiers, graph, map_makers};
use crate::sgd;

/// Of a tensor's scale.
const TOLERANCE: f64 = 1e-4;

/// Deterministic unless `PROPTEST_RNG_SEED` says otherwise; a multiple of the cases with `PROPTEST_CASES`.
pub(crate) fn config(share: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    let rng_seed = match config.rng_seed {
        RngSeed::Random => RngSeed::Fixed(0),
        fixed @ RngSeed::Fixed(_) => fixed,
    };
    ProptestConfig { cases: config.cases / share, failure_persistence: None, rng_seed, ..config }
}

/// How a case is run.
#[derive(Clone, Copy, Debug)]
struct Setting {
    /// Images the program is compiled for.
    batch: usize,
    /// Images it is given.
    images: usize,
    threads: usize,
    isa: Isa,
    algo: Algo,
    seed: u64,
}

fn settings(most: usize) -> impl Strategy<Value = Setting> {
    let sizes = (1..=most).prop_flat_map(|batch| (Just(batch), 1..=batch));
    let isa = proptest::sample::select(Isa::available().collect::<Vec<_>>());
    let algo = proptest::sample::select(Algo::ALL.to_vec());
    (sizes, 1..=3usize, isa, algo, 0..1u64 << 32).prop_map(
        |((batch, images), threads, isa, algo, seed)| Setting {
            batch,
            images,
            threads,
            isa,
            algo,
            seed,
        },
    )
}

fn session(graph: &Graph, setting: Setting, purpose: Purpose, weights: &Weights) -> Session {
    let Setting { batch, threads, isa, algo, .. } = setting;
    let options = Options { batch, threads, isa, purpose, algo: algo.into() };
    let program = compile(graph, &options).expect("a program");
    program.session(weights).expect("a session")
}

fn fail(text: &str) -> impl Fn(String) -> TestCaseError {
    move |what| TestCaseError::fail(format!("{text}\n{what}"))
}

/// Compares the output of a forward pass.
fn check_forward(text: &str, setting: Setting, purpose: Purpose) -> Result<(), String> {
    let graph = graph(text);
    let data = Data::draw(&graph, setting.images, setting.seed);
    let output = session(&graph, setting, purpose, &data.weights).forward(data.images.view());
    let output = output.expect("an output").mapv(f64::from);
    let weights = interp::arrays(&data.weights);
    let expected = interp::forward(&graph, &weights, data.images.mapv(f64::from).view());
    close::check("output", &output, &expected, TOLERANCE)
}

#[test]
fn maps_are_the_interpreters() {
    proptest!(config(2), |(text in map_makers(SMALL), setting in settings(9))| {
        check_forward(&text, setting, Purpose::Inference).map_err(fail(&text))?;
    });
}

#[test]
fn outputs_are_the_interpreters() {
    proptest!(config(4), |(text in classifiers(SMALL), setting in settings(9), training in any::<bool>())| {
        let purpose = if training { Purpose::Training } else { Purpose::Inference };
        check_forward(&text, setting, purpose).map_err(fail(&text))?;
    });
}

/// Each number by itself, not relative to the largest: `exp(x) - 1` does not cancel where `x` is small. Four at a time and
/// one at a time, and on every instruction set that multiplies and adds in one, to the same bits.
#[test]
fn an_elu_is_exact_to_its_last_bits() {
    const WIDTH: usize = 4099;
    let graph = graph("< input(1, 1, 4099) elu(1.0) >");
    let data = Data::draw(&graph, 1, 0);
    let signs = [-1.0, 1.0];
    // From 2^-100 to 2^7, past where the exponential is no normal float.
    let magnitude = |index: usize| f32::exp2(-100.0 + 107.0 * index as f32 / WIDTH as f32);
    for sign in signs {
        let mut x = ndarray::Array4::from_shape_fn((1, 1, 1, WIDTH), |at| sign * magnitude(at.3));
        let odd = [0.0, -0.0, f32::NEG_INFINITY, f32::INFINITY, f32::MIN];
        x.iter_mut().zip(odd).for_each(|(x, odd)| *x = odd);
        let mut first: Option<ArrayD<f32>> = None;
        for isa in Isa::available() {
            let setting =
                Setting { batch: 1, images: 1, threads: 1, isa, algo: Algo::Auto, seed: 0 };
            let mut session = session(&graph, setting, Purpose::Inference, &data.weights);
            let output = session.forward(x.view()).expect("an output");
            for (&x, &y) in x.iter().zip(&output) {
                let exact = if x <= 0.0 { f64::from(x).exp_m1() } else { f64::from(x) };
                let error = (f64::from(y) - exact).abs();
                let close = error <= 3e-7 * exact.abs() || f64::from(y) == exact;
                assert!(close, "{isa}: elu({x:e}) is {y:e} instead of {exact:e}");
            }
            if isa == Isa::Portable {
                continue;
            }
            let same = first.get_or_insert_with(|| output.clone());
            assert!(same.iter().zip(&output).all(|(a, b)| a.to_bits() == b.to_bits()), "{isa}");
        }
    }
}

/// Compares numbers of every weight, made of `gradients`.
fn check_weights(
    graph: &Graph,
    what: &str,
    found: &Weights,
    expected: &[ArrayD<f64>],
    gradients: &[ArrayD<f64>],
) -> Result<(), String> {
    let found = interp::arrays(found);
    for ((weight, found), expected) in graph.weights.iter().zip(&found).zip(expected) {
        let what = format!("{what} {}", weight.name);
        let least_scale = close::least_scale(graph, weight, gradients);
        close::check_above(&what, found, expected, TOLERANCE, least_scale)?;
    }
    Ok(())
}

fn check_loss(found: f64, expected: f64) -> Result<(), String> {
    if (found - expected).abs() <= TOLERANCE * expected {
        Ok(())
    } else {
        Err(format!("loss {found:e} instead of {expected:e}"))
    }
}

/// Compares loss and gradients; `Ok(false)` if no draw is comparable.
fn check_gradients(text: &str, setting: Setting) -> Result<bool, String> {
    let graph = graph(text);
    let Some((data, expected)) = Data::draw_comparable(&graph, setting.images, setting.seed, None)
    else {
        return Ok(false);
    };
    let mut session = session(&graph, setting, Purpose::Training, &data.weights);
    let (loss, gradients) = session.gradients(data.images.view(), &data.labels).expect("gradients");
    check_loss(loss, expected.loss)?;
    let expected = &expected.gradients;
    check_weights(&graph, "gradient of", &gradients, expected, expected)?;
    Ok(true)
}

#[test]
fn losses_and_gradients_are_the_interpreters() {
    proptest!(config(1), |(text in classifiers(SMALL), setting in settings(9))| {
        prop_assume!(check_gradients(&text, setting).map_err(fail(&text))?);
    });
}

#[test]
fn large_maps_are_the_interpreters() {
    proptest!(config(16), |(text in map_makers(LARGE), setting in settings(5))| {
        check_forward(&text, setting, Purpose::Inference).map_err(fail(&text))?;
    });
}

#[test]
fn large_gradients_are_the_interpreters() {
    proptest!(config(16), |(text in classifiers(LARGE), setting in settings(2))| {
        prop_assume!(check_gradients(&text, setting).map_err(fail(&text))?);
    });
}

/// A setting for each weight, all different.
fn hyper(graph: &Graph) -> Vec<Hyper> {
    let one = |index| {
        let k = (index % 5) as f32;
        Hyper { lr: 0.02 + 0.01 * k, momentum: 0.9 - 0.1 * k, decay: 0.01 * k }
    };
    (0..graph.weights.len()).map(one).collect()
}

/// Images whose largest logit is their label's, the first of equals; `None` if two logits are too close to tell.
fn correct(graph: &Graph, values: &Values<f64>, labels: &[u32]) -> Option<usize> {
    let logits = &values[&Tensor::Value(graph.logits())];
    let logits: ArrayView2<'_, f64> = logits.view().into_dimensionality().expect("[N, classes]");
    let margin = MARGIN * close::scale(logits);
    let mut count = 0;
    for (row, &label) in logits.axis_iter(Axis(0)).zip(labels) {
        let best = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if row.iter().any(|&logit| logit != best && best - logit < margin) {
            return None;
        }
        count += usize::from(row.iter().position(|&logit| logit == best) == Some(label as usize));
    }
    Some(count)
}

/// The longest gradient of the first of two steps; the second is not clipped.
const CLIP: f32 = 0.5;

/// Two steps by the interpreter.
struct Steps {
    data: Data,
    steps: Vec<Differentiated<f64>>,
    weights: Vec<ArrayD<f64>>,
    momentum: Vec<ArrayD<f64>>,
}

/// Two steps that are both comparable, if such data were drawn.
fn two_steps(graph: &Graph, setting: Setting, hyper: &[Hyper]) -> Option<Steps> {
    let key = |step| DropoutKey { seed: setting.seed, step };
    let (data, first) = Data::draw_comparable(graph, setting.images, setting.seed, Some(key(7)))?;
    let mut weights = interp::arrays(&data.weights);
    let mut momentum: Vec<ArrayD<f64>> =
        weights.iter().map(|weight| ArrayD::zeros(weight.raw_dim())).collect();
    let mut clipped = first.gradients.clone();
    sgd::clip(&mut clipped, f64::from(CLIP));
    sgd::step(graph, &mut weights, &mut momentum, &clipped, hyper);
    interp::track(graph, &mut weights, &first.values);
    let images = data.images.mapv(f64::from);
    let inputs = interp::Inputs {
        weights: &weights,
        images: images.view(),
        labels: &data.labels,
        dropout: Some(key(8)),
    };
    let second = differentiate_comparably(graph, inputs)?;
    sgd::step(graph, &mut weights, &mut momentum, &second.gradients, hyper);
    interp::track(graph, &mut weights, &second.values);
    Some(Steps { data, steps: vec![first, second], weights, momentum })
}

fn check_steps(text: &str, setting: Setting) -> Result<bool, String> {
    let graph = graph(text);
    let hyper = hyper(&graph);
    let Some(expected) = two_steps(&graph, setting, &hyper) else { return Ok(false) };
    let Data { weights, images, labels } = &expected.data;
    let mut session = session(&graph, setting, Purpose::Training, weights);
    for (step, reference) in (7..).zip(&expected.steps) {
        let clip = (step == 7).then_some(CLIP);
        let params = StepParams { step, seed: setting.seed, hyper: &hyper, clip };
        let outcome = session.step(images.view(), labels, &params).expect("a step");
        check_loss(outcome.loss, reference.loss)?;
        if let Some(correct) = correct(&graph, &reference.values, labels)
            && correct != outcome.correct
        {
            return Err(format!("{} correct instead of {correct}", outcome.correct));
        }
    }
    let momentum = session.momentum().expect("a program for training");
    check_weights(&graph, "momentum of", &momentum, &expected.momentum, &expected.momentum)?;
    check_weights(&graph, "weight", &session.weights(), &expected.weights, &expected.momentum)?;
    Ok(true)
}

#[test]
fn training_steps_are_the_interpreters() {
    proptest!(config(4), |(text in classifiers(SMALL), setting in settings(9))| {
        prop_assume!(check_steps(&text, setting).map_err(fail(&text))?);
    });
}
