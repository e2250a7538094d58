//! Training steps of generated code against the interpreter in f64, on random models: forward with dropout, backward, the
//! update and running statistics, twice.

use std::ops::Range;

use ndarray::{ArrayD, ArrayView2, Axis, s};
use nin_dsl::graph::Graph;
use nin_runtime::Hyper;
use nin_runtime::compile::Purpose;
use nin_runtime::compiler::autodiff::TensorId;
use nin_runtime::oracle::{self, Differentiated, DropoutKey, Inputs, Values};
use nin_runtime::run::exec::StepParams;

use crate::close::{self, Expected, Judged, check_loss};
use crate::data::Data;
use crate::models::{SMALL, TINY, classifiers, graph};
use crate::settings::{Setting, large_settings, most_compare, settings};
use crate::sgd;
use crate::steady::{MARGIN, RUNS, Steady, is_steady, noise};

/// How often data are drawn of which both steps are to be comparable.
const DRAWS: u64 = 3;

/// A setting for each weight, all different.
fn hyper(graph: &Graph) -> Vec<Hyper> {
    let one = |index| {
        let k = (index % 5) as f32;
        Hyper { lr: 0.02 + 0.01 * k, momentum: 0.9 - 0.1 * k, decay: 0.01 * k }
    };
    (0..graph.weights().len()).map(one).collect()
}

/// Images whose largest logit is their label's, the first of equals; `None` if two logits are too close to tell.
fn correct(graph: &Graph, values: &Values<f64>, labels: &[u32]) -> Option<usize> {
    let logits = &values[&TensorId::Value(graph.logits())];
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
/// Images of the second step at most: a batch after the whole one that has fewer.
const FEW: usize = 9;

/// Two steps: the first on all images, the second on the first few.
struct Steps<'a> {
    graph: &'a Graph,
    hyper: &'a [Hyper],
    data: &'a Data,
    seed: u64,
}

/// What the interpreter makes of two steps.
struct Taken {
    steps: Vec<Differentiated<f64>>,
    weights: Vec<ArrayD<f64>>,
    momentum: Vec<ArrayD<f64>>,
}

impl Steps<'_> {
    /// Images of each step.
    fn images(&self) -> [usize; 2] {
        let all = self.data.labels.len();
        [all, all.min(FEW)]
    }

    /// Takes both, each differentiated as `differentiate` says, which gets its number; `None` if it gives up.
    fn take(
        &self,
        mut differentiate: impl FnMut(usize, Inputs<'_, f64>) -> Option<Differentiated<f64>>,
    ) -> Option<Taken> {
        let Steps { graph, hyper, data, seed } = *self;
        let mut weights = oracle::arrays(&data.weights);
        let zeros = weights.iter().map(|weight: &ArrayD<f64>| ArrayD::zeros(weight.raw_dim()));
        let mut momentum: Vec<ArrayD<f64>> = zeros.collect();
        let images = data.images.mapv(f64::from);
        let mut steps = Vec::new();
        for (number, count) in self.images().into_iter().enumerate() {
            let found = differentiate(
                number,
                Inputs {
                    weights: &weights,
                    images: images.slice(s![..count, .., .., ..]),
                    labels: &data.labels[..count],
                    dropout: Some(DropoutKey { seed, step: 7 + number as u64 }),
                },
            )?;
            let mut gradients = found.gradients.clone();
            if number == 0 {
                sgd::clip(&mut gradients, f64::from(CLIP));
            }
            sgd::step(graph, &mut weights, &mut momentum, &gradients, hyper);
            oracle::track(graph, &mut weights, &found.values);
            steps.push(found);
        }
        Some(Taken { steps, weights, momentum })
    }

    /// Both steps, if both are comparable.
    fn exact(&self) -> Option<Taken> {
        self.take(|_, inputs| {
            let exact = oracle::loss_and_gradients(self.graph, inputs);
            is_steady(self.graph, inputs, &exact).then_some(exact)
        })
    }

    /// What is expected of the weights and of their momentum.
    fn expected(&self, exact: &Taken) -> Option<[Expected; 2]> {
        let count = exact.weights.len();
        let numbers = [&exact.weights[..], &exact.momentum[..]].concat();
        let noise = noise(&numbers, RUNS, |rounding| {
            let taken = self.take(|number, inputs| {
                rounding.differentiate(self.graph, inputs, &exact.steps[number])
            })?;
            Some([taken.weights, taken.momentum].concat())
        })?;
        let part = |range: Range<usize>| Expected {
            numbers: numbers[range.clone()].to_vec(),
            noise: noise[range].to_vec(),
        };
        Some([part(0..count), part(count..2 * count)])
    }
}

/// A second step that cannot be compared, since the first one left weights by which it is close to a switch, says nothing of
/// other data.
fn check_steps(text: &str, setting: Setting, judged: &Judged) -> Result<bool, String> {
    for draw in 0..DRAWS {
        if check_drawn(text, Setting { seed: setting.seed + draw, ..setting }, judged)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn check_drawn(text: &str, setting: Setting, judged: &Judged) -> Result<bool, String> {
    let graph = graph(text);
    let hyper = hyper(&graph);
    let seed = setting.seed;
    let dropout = Some(DropoutKey { seed, step: 7 });
    let Some(Steady { data, .. }) = Steady::draw(&graph, setting.images, seed, dropout) else {
        return Ok(false);
    };
    let steps = Steps { graph: &graph, hyper: &hyper, data: &data, seed };
    let Some(exact) = steps.exact() else { return Ok(false) };
    let Some([weights, momentum]) = steps.expected(&exact) else { return Ok(false) };
    let mut session = setting.session(&graph, Purpose::Training, &data.weights);
    for ((step, count), reference) in (7..).zip(steps.images()).zip(&exact.steps) {
        let clip = (step == 7).then_some(CLIP);
        let params = StepParams { step, seed, hyper: &hyper, clip, ..StepParams::default() };
        let (images, labels) = (data.images.slice(s![..count, .., .., ..]), &data.labels[..count]);
        let outcome = session.step(images, labels, &params).expect("a step");
        check_loss(outcome.loss, reference.loss)?;
        if let Some(correct) = correct(&graph, &reference.values, labels)
            && correct != outcome.correct
        {
            return Err(format!("{} correct instead of {correct}", outcome.correct));
        }
    }
    let found = session.momentum().expect("a program for training");
    momentum.check(&graph, "momentum of", &found, judged)?;
    weights.check(&graph, "weight", &session.weights(), judged)?;
    Ok(true)
}

#[test]
fn training_steps_are_the_interpreters() {
    most_compare(4, classifiers(SMALL), settings(9), check_steps);
}

#[test]
fn training_steps_of_large_batches_are_the_interpreters() {
    most_compare(8, classifiers(TINY), large_settings(), check_steps);
}
