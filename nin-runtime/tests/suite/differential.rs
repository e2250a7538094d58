//! Generated code against the interpreter in f64, on random models: outputs, losses, gradients, training steps.

use ndarray::{Array4, ArrayD};
use nin_dsl::graph::Graph;
use nin_runtime::Hyper;
use nin_runtime::compile::Purpose;
use nin_runtime::compiler::plan::{Algo, Depth};
use nin_runtime::compiler::{Isa, dropout};
use nin_runtime::oracle::{self, Inputs};
use nin_runtime::run::exec::StepParams;
use proptest::prelude::*;

use crate::close::{self, Expected, Judged, TOLERANCE, check_loss};
use crate::data::Data;
use crate::models::{LARGE, SMALL, TINY, classifiers, graph, map_makers};
use crate::settings::{Setting, config, fail, large_settings, most_compare, settings};
use crate::steady::{MANY_RUNS, Steady};

/// Compares the output of a forward pass.
fn check_forward(text: &str, setting: Setting, purpose: Purpose) -> Result<(), String> {
    let graph = graph(text);
    let data = Data::draw(&graph, setting.images, setting.seed);
    let output = setting.session(&graph, purpose, &data.weights).forward(data.images.view());
    let output = output.expect("an output").mapv(f64::from);
    let weights = oracle::arrays(&data.weights);
    let expected = oracle::forward(&graph, &weights, data.images.mapv(f64::from).view());
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
            let mut session = alone(isa).session(&graph, Purpose::Inference, &data.weights);
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

/// An activation beside what it is in float64, and by how many units in the last place it may stray.
struct Exact {
    word: &'static str,
    of: fn(f64) -> f64,
    units: f64,
    /// Below what distance from it digits are not counted: the least normal float, or what is lost at the end of a range.
    least: f64,
}

const EXACT: [Exact; 8] = [
    Exact { word: "relu6", of: |x| x.clamp(0.0, 6.0), units: 0.0, least: 0.0 },
    Exact { word: "sigmoid", of: sigmoid, units: 2.5, least: 1.2e-38 },
    Exact { word: "tanh", of: f64::tanh, units: 1.5, least: 0.0 },
    Exact { word: "silu", of: |x| x * sigmoid(x), units: 2.5, least: 6e-37 },
    Exact {
        word: "gelu",
        of: |x| x * libm::erfc(-x / f64::sqrt(2.0)) / 2.0,
        units: 7.0,
        least: 1.2e-38,
    },
    Exact { word: "hard_sigmoid", of: hard_sigmoid, units: 1.5, least: 0.0 },
    Exact { word: "hard_swish", of: |x| x * hard_sigmoid(x), units: 2.0, least: 0.0 },
    Exact { word: "scale(-0.75)", of: |x| -0.75 * x, units: 0.5, least: 0.0 },
];

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn hard_sigmoid(x: f64) -> f64 {
    (x + 3.0).clamp(0.0, 6.0) / 6.0
}

impl Exact {
    /// How many units in the last place a value strays.
    fn strays(&self, x: f32, y: f32) -> f64 {
        let exact = (self.of)(f64::from(x));
        let error = (f64::from(y) - exact).abs();
        if error <= self.least {
            return 0.0;
        }
        let magnitude = (exact.abs() as f32).max(f32::MIN_POSITIVE);
        error / (f64::from(magnitude.next_up()) - f64::from(magnitude))
    }
}

/// Each number by itself, four at a time and one at a time, from 2^-30 to 2^7; on every instruction set that multiplies and adds
/// in one, to the same bits. At the ends of all numbers they are what they tend to.
#[test]
fn activations_are_exact_to_their_last_digits() {
    const SHAPE: (usize, usize, usize, usize) = (16, 1, 1, 4099);
    let spread = |sign: f32| {
        Array4::from_shape_fn(SHAPE, |at| {
            let share = (at.0 + SHAPE.0 * at.3) as f32 / (SHAPE.0 * SHAPE.3) as f32;
            sign * f32::exp2(37.0 * share - 30.0)
        })
    };
    let numbers = [spread(1.0), spread(-1.0)];
    for exact in &EXACT {
        let graph = graph(&format!("< input(1, 1, 4099) {} >", exact.word));
        let data = Data::draw(&graph, 1, 0);
        let mut bits: Vec<Vec<u32>> = Vec::new();
        for isa in Isa::available() {
            let setting = Setting { batch: 16, images: 16, ..alone(isa) };
            let mut session = setting.session(&graph, Purpose::Inference, &data.weights);
            let mut own = Vec::new();
            for x in &numbers {
                let output = session.forward(x.view()).expect("an output");
                let strays = x.iter().zip(&output).map(|(&x, &y)| (exact.strays(x, y), x));
                let (worst, at) = strays.fold((0.0, 0.0), |a, b| if b.0 > a.0 { b } else { a });
                assert!(worst <= exact.units, "{isa}: {}({at:e}) strays {worst}", exact.word);
                own.extend(output.iter().map(|y| y.to_bits()));
            }
            check_ends(exact, &mut session, isa);
            if isa != Isa::Portable {
                bits.push(own);
            }
        }
        assert!(bits.windows(2).all(|pair| pair[0] == pair[1]), "{}", exact.word);
    }
}

/// Zeros, infinities, what is as large as can be, and NaN.
fn check_ends(exact: &Exact, session: &mut nin_runtime::run::exec::Session, isa: Isa) {
    let ends = [0.0, -0.0, f32::MIN, f32::MAX, f32::NEG_INFINITY, f32::INFINITY, f32::NAN];
    let mut x = Array4::zeros((1, 1, 1, 4099));
    x.iter_mut().zip(ends).for_each(|(x, end)| *x = end);
    let output = session.forward(x.view()).expect("an output");
    for (&end, &y) in ends.iter().zip(&output) {
        // The limit of what is a product of infinity and zero.
        let wanted = match exact.word {
            "silu" | "gelu" | "hard_swish" if end <= f32::MIN => 0.0,
            _ => (exact.of)(f64::from(end)),
        };
        let same = y == wanted as f32 || y.is_nan() && wanted.is_nan();
        assert!(same, "{isa}: {}({end:e}) is {y:e}", exact.word);
    }
}

/// Numbers of one image for every instruction set: nothing is left to chance.
fn alone(isa: Isa) -> Setting {
    let (algo, depth) = (Algo::Auto, Depth::Auto);
    Setting { batch: 1, images: 1, threads: 1, isa, algo, depth, seed: 0 }
}

/// Tiles clip what they have summed, of every width; so do the transforms that bring a map back from Winograd's domain.
#[test]
fn a_convolution_is_clipped_where_it_is_made() {
    for (channels, kernel, algo) in
        [(1, 1, Algo::Direct), (13, 1, Algo::Direct), (37, 3, Algo::Winograd)]
    {
        let head = format!("< input(1, 9, 11) conv({channels}, kernel = {kernel})");
        let [clipped, plain] = [" relu6 >", " >"].map(|end| graph(&(head.clone() + end)));
        let data = Data::draw(&clipped, 2, 3);
        let mut images = data.images.mapv(|x| 30.0 * x);
        (images[[0, 0, 0, 0]], images[[0, 0, 4, 5]]) = (f32::NAN, f32::INFINITY);
        for isa in Isa::available() {
            let setting = Setting { algo, images: 2, batch: 2, ..alone(isa) };
            let [clipped, plain] = [&clipped, &plain].map(|graph| {
                let mut session = setting.session(graph, Purpose::Inference, &data.weights);
                session.forward(images.view()).expect("an output")
            });
            let wanted = plain.mapv(|x| if x.is_nan() { x } else { x.clamp(0.0, 6.0) });
            assert!(wanted.iter().filter(|&&x| x == 6.0).count() > 10, "{isa}: little is clipped");
            let alike = |(a, b): (&f32, &f32)| a == b || a.is_nan() && b.is_nan();
            assert!(clipped.iter().zip(&wanted).all(alike), "{isa}: {channels} channels");
        }
    }
}

/// Each number by itself, not relative to the largest, as an ELU's; powers that are roots, and others.
#[test]
fn a_power_is_exact_to_its_last_bits() {
    const WIDTH: usize = 1027;
    for beta in [0.25, 0.5, 0.75, 1.0, 1.75, 4.0, 0.1, 0.9, 2.3, 7.5] {
        let graph =
            graph(&format!("< input(1, 1, 1027) lrn(1, alpha = 1, beta = {beta}, k = 1e-12) >"));
        let data = Data::draw(&graph, 1, 0);
        // Squares from 2^-44, where k rules, to 2^40; the results are normal floats.
        let x = Array4::from_shape_fn((1, 1, 1, WIDTH), |at| {
            f32::exp2(-22.0 + 42.0 * at.3 as f32 / WIDTH as f32)
        });
        for isa in Isa::available() {
            let mut session = alone(isa).session(&graph, Purpose::Inference, &data.weights);
            let output = session.forward(x.view()).expect("an output");
            for (&x, &y) in x.iter().zip(&output) {
                let sum = 1e-12 + f64::from(x) * f64::from(x);
                let exact = f64::from(x) / sum.powf(beta);
                // Products of roots come near the ends of what floats can hold before their inverse does.
                let normal = (1e-35..1e35).contains(&sum.powf(beta));
                let log = if (4.0 * beta).fract() == 0.0 && beta <= 4.0 {
                    0.0
                } else {
                    beta * sum.ln().abs()
                };
                let error = (f64::from(y) - exact).abs() / exact;
                // What the sum itself is off by goes to the power, too.
                let allowed = 1e-6 + 1e-7 * beta + 2e-7 * log;
                assert!(
                    error <= allowed || !normal,
                    "{isa}: {x:e} by {beta}: {y:e} instead of {exact:e}"
                );
            }
        }
    }
}

/// Random models are compared where no two maxima are close. Here all are equal: a kernel of zeros leaves the bias. Where
/// that is minus infinity nothing is larger either, and the first pixel of each window, not of the map, takes the gradient.
#[test]
fn the_first_of_equal_maxima_takes_the_gradient() {
    // Each of two windows has half of the gradient; they begin with pixels 0 and 2 of the first row.
    first_of_equals("maxpool(2) gap", (1.0 + 4.0) / 2.0);
    first_of_equals("gmp", 1.0);
}

/// `share` is what the gradient meets of the image's pixels, which are powers of two.
fn first_of_equals(pools: &str, share: f64) {
    let graph = graph(&format!("< input(1, 2, 4) conv(7, kernel = 1) {pools} >"));
    let mut data = Data::draw(&graph, 1, 0);
    data.images = Array4::from_shape_fn((1, 1, 2, 4), |at| (1 << (4 * at.2 + at.3)) as f32);
    // A channel of a vector, and one of the rest.
    for (isa, label) in Isa::available().flat_map(|isa| [(isa, 1), (isa, 6)]) {
        for level in [1.0, f32::NEG_INFINITY] {
            let mut values = data.weights.values_mut();
            values.next().expect("a kernel").fill(0.0);
            let bias = values.next().expect("a bias");
            bias.fill(0.0);
            bias[label] = level;
            drop(values);
            let mut session = alone(isa).session(&graph, Purpose::Training, &data.weights);
            let (_, found) =
                session.gradients(data.images.view(), &[label as u32]).expect("gradients");
            let probability = if level == 1.0 { 1.0 / (1.0 + 6.0 * f64::exp(-1.0)) } else { 0.0 };
            let expected = (probability - 1.0) * share;
            let found = f64::from(found.tensors()[0].values[label]);
            assert!(
                (found - expected).abs() < 1e-5,
                "{pools}, {isa}, {level}: {found} for {expected}"
            );
        }
    }
}

/// A hash that is the threshold survives. It is one in sixteen millions, so the probability is made for it.
#[test]
fn dropout_keeps_what_is_at_the_threshold() {
    const ELEMENTS: u32 = 7;
    let (seed, step) = (3, 5);
    let key = dropout::image_key(dropout::layer_key(seed, step, 0), 0);
    for (isa, at) in Isa::available().flat_map(|isa| [(isa, 1), (isa, 6)]) {
        // The largest threshold at which the element survives is its hash.
        let hash = (0..dropout::BITS).rev().fold(0, |hash, bit| {
            let larger = hash | 1 << bit;
            if dropout::keeps(key, at, larger) { larger } else { hash }
        });
        let text = format!("< input(7, 1, 1) dropout({hash} / 16777216.0) fc(2, bias = 0) >");
        let graph = graph(&text);
        let data = Data::draw(&graph, 1, 1);
        let mut session = alone(isa).session(&graph, Purpose::Training, &data.weights);
        let hyper = [Hyper { lr: 1.0, momentum: 0.0, decay: 0.0 }];
        let params = StepParams { step, seed, hyper: &hyper, ..StepParams::default() };
        let images = Array4::ones((1, 7, 1, 1));
        session.step(images.view(), &[0], &params).expect("a step");
        // The momentum is the gradient, which is zero of what was dropped.
        let gradient = session.momentum().expect("a program for training");
        for element in 0..ELEMENTS {
            let kept = gradient.tensors()[0].values[element as usize] != 0.0;
            assert_eq!(kept, dropout::keeps(key, element, hash), "{isa}: {text}, {element}");
        }
    }
}

/// Powers of logits themselves would be infinite, or all zero.
#[test]
fn a_softmax_takes_logits_of_any_size() {
    let graph = graph("< input(2, 1, 1) gap softmax >");
    let data = Data::draw(&graph, 1, 0);
    for isa in Isa::available() {
        let mut session = alone(isa).session(&graph, Purpose::Inference, &data.weights);
        for (logits, expected) in [
            ([1000.0, 1000.0], [0.5, 0.5]),
            ([-1000.0, -1000.0], [0.5, 0.5]),
            ([1000.0, 0.0], [1.0, 0.0]),
        ] {
            let images = Array4::from_shape_vec((1, 2, 1, 1), logits.to_vec()).unwrap();
            let found = session.forward(images.view()).expect("an output");
            let apart =
                found.iter().zip(expected).map(|(found, expected)| (found - expected).abs());
            assert!(apart.fold(0.0, f32::max) < 1e-6, "{isa}: {found} of {logits:?}");
        }
    }
}

/// Compares loss and gradients; `Ok(false)` if no draw is comparable.
fn check_gradients(text: &str, setting: Setting, judged: &Judged) -> Result<bool, String> {
    let graph = graph(text);
    match Steady::draw(&graph, setting.images, setting.seed, None) {
        Some(steady) => compare_gradients(&graph, setting, &steady, judged),
        None => Ok(false),
    }
}

fn compare_gradients(
    graph: &Graph,
    setting: Setting,
    steady: &Steady,
    judged: &Judged,
) -> Result<bool, String> {
    let Some(expected) = steady.expected(graph) else { return Ok(false) };
    let Steady { data, exact } = steady;
    let mut session = setting.session(graph, Purpose::Training, &data.weights);
    let (loss, gradients) = session.gradients(data.images.view(), &data.labels).expect("gradients");
    check_loss(loss, exact.loss)?;
    let judge = |by: &Expected| by.check(graph, "gradient of", &gradients, judged);
    judge(&expected).or_else(|_| {
        // What more runs do not find steady is not compared.
        steady.expected_by(graph, MANY_RUNS).map_or(Ok(()), |again| judge(&again))
    })?;
    Ok(true)
}

/// What batch normalisations in a row make of a map without differences is rounding alone, of any size: the interpreter,
/// disturbed, strays from zero as far as generated code does.
#[test]
fn a_map_without_differences_is_judged_by_what_rounding_makes_of_it() {
    let graph = graph("< input(3, 6, 5) repeat(3) < batchnorm > conv(4) gap softmax >");
    let mut data = Data::draw(&graph, 9, 1);
    data.images = Array4::from_shape_fn(data.images.dim(), |at| 0.3 + 0.1 * at.1 as f32);
    let (weights, images) = (oracle::arrays(&data.weights), data.images.mapv(f64::from));
    let inputs =
        Inputs { weights: &weights, images: images.view(), labels: &data.labels, dropout: None };
    let exact = oracle::loss_and_gradients(&graph, inputs);
    let steady = Steady { data, exact };
    for (isa, algo) in Isa::available().flat_map(|isa| Algo::ALL.map(|algo| (isa, algo))) {
        let setting = Setting { batch: 9, images: 9, algo, ..alone(isa) };
        let judged = Judged::default();
        let compared = compare_gradients(&graph, setting, &steady, &judged);
        let [own, all] = judged.counts();
        assert_eq!(compared, Ok(true), "{isa} {algo}");
        assert!(own < all, "{own} of {all} gradients are more than rounding");
    }
}

/// What convolutions, normalisations and pools read and write, and their masks and addends, each among channels of its own map:
/// vectors of whole, half and single lanes.
const VIEWS: [&str; 6] = [
    // A mask that is a part, on a gradient that is none.
    "< input(3, 7, 9) conv(21) relu add < concat < > < conv(3) > conv(6) > < conv(6) > gap fc(3) softmax >",
    "< input(3, 7, 9) conv(21) relu add < concat < > < conv(3) > conv(6) > < conv(6, kernel = 1) > gap fc(3) softmax >",
    // A part that is added.
    "< input(3, 7, 9) conv(37) relu add < concat < > < conv(3) > conv(37) > < > relu gap fc(3) softmax >",
    "< input(3, 7, 9) conv(5) relu add < concat < > < conv(3) > conv(5, kernel = 1) batchnorm > < > relu gap fc(3) softmax >",
    // Sums, pools and strides in parts.
    "< input(3, 7, 9) conv(4) concat < add < conv(21) > < conv(21) > relu > < maxpool(3, stride = 1, pad = 1) > conv(6, stride = 2) gap fc(3) softmax >",
    "< input(3, 8, 8) conv(4) relu concat < avgpool(2) dropout(0) > < conv(5, stride = 2) elu(0.5) > < conv(2, kernel = 2, stride = 2, pad = 0) leaky_relu(0.1) > mul < > < gap > batchnorm gap fc(3) softmax >",
];

#[test]
fn views_are_walked_by_pitches_of_their_own() {
    for text in VIEWS {
        for (isa, algo) in Isa::available().flat_map(|isa| Algo::ALL.map(|algo| (isa, algo))) {
            let setting = Setting { batch: 5, images: 4, threads: 2, algo, seed: 5, ..alone(isa) };
            for purpose in [Purpose::Inference, Purpose::Training] {
                let checked = check_forward(text, setting, purpose);
                assert_eq!(checked, Ok(()), "{text} {isa} {algo}");
            }
            let compared = check_gradients(text, setting, &Judged::default());
            assert_eq!(compared, Ok(true), "{text} {isa} {algo}");
        }
    }
}

#[test]
fn losses_and_gradients_are_the_interpreters() {
    most_compare(1, classifiers(SMALL), settings(9), check_gradients);
}

#[test]
fn large_maps_are_the_interpreters() {
    proptest!(config(16), |(text in map_makers(LARGE), setting in settings(5))| {
        check_forward(&text, setting, Purpose::Inference).map_err(fail(&text))?;
    });
}

#[test]
fn large_gradients_are_the_interpreters() {
    most_compare(16, classifiers(LARGE), settings(2), check_gradients);
}

#[test]
fn outputs_of_large_batches_are_the_interpreters() {
    proptest!(config(8), |(text in classifiers(TINY), setting in large_settings(), training in any::<bool>())| {
        let purpose = if training { Purpose::Training } else { Purpose::Inference };
        check_forward(&text, setting, purpose).map_err(fail(&text))?;
    });
}

#[test]
fn gradients_of_large_batches_are_the_interpreters() {
    most_compare(4, classifiers(TINY), large_settings(), check_gradients);
}
