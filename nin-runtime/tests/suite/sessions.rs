//! What programs and sessions promise whatever the model: the same bits however a call is made, no harm from odd
//! numbers, typed errors for wrong arguments, and lives of their own.

use ndarray::{Array4, ArrayD, s};
use nin_dsl::graph::Graph;
use nin_runtime::Hyper;
use nin_runtime::compile::{Options, Purpose, compile};
use nin_runtime::compiler::Isa;
use nin_runtime::error::Error;
use nin_runtime::oracle;
use nin_runtime::run::exec::{Program, Session, StepParams};
use nin_runtime::weights::Weights;

use crate::data::Data;
use crate::models::graph;

/// Models that between them have every op, blocks of both domains, maps of one band and of several, and odd numbers of
/// channels.
const MODELS: [&str; 14] = [
    "< input(3, 13, 11) mlpconv(10, 7, kernel = 5) maxpool(3, stride = 2, round = ceil) dropout(0.5)
       mlpconv(9, 12) avgpool(3, stride = 2, round = ceil) dropout(0.3) mlpconv(8, 10) gap softmax >",
    "< input(1, 9, 14) conv(6, kernel = 4, stride = 2, pad = 1, bias = 0) relu maxpool(2, stride = 1)
       dropout(0.2) fc(20) relu dropout(0.5) fc(5) softmax >",
    "< input(8, 6, 6) conv(16) conv(5, kernel = 1) relu relu gap relu fc(3) >",
    "< input(4, 8, 8) maxpool(2) avgpool(2) gap softmax >",
    "< input(3, 27, 26) mlpconv(32, 24) maxpool(3, stride = 2, round = ceil) conv(6, stride = 3) fc(4) >",
    "< input(3, 9, 10) batchnorm conv(11) batchnorm relu conv(8, kernel = 1) relu batchnorm maxpool(2) dropout(0.4)
       conv(7) gap batchnorm fc(9) batchnorm leaky_relu fc(4) softmax >",
    "< input(2, 7, 9) elu conv(7) elu(0.6) dropout(0.4) conv(5, kernel = 1) elu leaky_relu(0.2) maxpool(2) relu elu
       fc(6) elu(1.7) elu dropout(0.3) fc(3) >",
    "< input(3, 9, 10) conv(8, bias = 0) batchnorm relu
       add < conv(8, kernel = 1) batchnorm relu dropout(0.3) conv(8) batchnorm > < conv(8) relu > < > relu
       concat < maxpool(3, stride = 2, pad = 1) > < conv(5, stride = 2) elu > mul < > < gap fc(4) relu fc(13) > add < > < relu > gap fc(4) softmax >",
    "< input(5, 13, 10) conv(40, kernel = (3, 1), groups = 5, dilation = (2, 1)) relu depthwise(5, stride = (1, 2)) batchnorm relu
       add < conv(40, groups = 2) depthwise(bias = 0) > < > avgpool((2, 3), pad = 1, count = window, round = ceil)
       depthwise(multiplier = 2, dilation = 2) conv(20, kernel = 1, groups = 4) relu gap fc(4) softmax >",
    "< input(2, 7, 9) conv(7) batchnorm relu6 conv(5, kernel = 1) hard_swish add < conv(5) sigmoid > < > silu conv(6) relu scale(-0.5)
       maxpool(2) tanh dropout(0.3) gelu conv(9) prelu gap prelu fc(6) hard_sigmoid fc(5) silu relu6 fc(3) softmax >",
    "< input(3, 5, 6) prelu gelu concat < conv(7) relu tanh > < conv(6) relu sigmoid > < scale(2.0) gelu > conv(9) batchnorm silu
       hard_sigmoid avgpool(2) relu hard_swish scale(3.0) relu gap tanh scale(0.3) fc(4) gelu prelu >",
    "< input(2, 9, 7) conv(19) relu lrn(alpha = 1.0) mul < lrn(17, alpha = 2.0, beta = 0.6) > < gmp fc(19) relu > dropout(0.3) concat < gmp > < conv(21, stride = 2) gmp elu > fc(4) softmax >",
    "< input(3, 9, 10) conv(11) batchnorm(ghost = 8) relu add < conv(11) batchnorm(ghost = 8) > < > relu maxpool(2) dropout(0.4)
       gap batchnorm(ghost = 8) fc(9) batchnorm(ghost = 8) relu fc(4) softmax >",
    "< input(2, 7, 5) batchnorm(ghost = 2) conv(9) batchnorm(ghost = 3) relu conv(5) batchnorm gap batchnorm(ghost = 4) fc(3) >",
];

const BATCH: usize = 37;

fn program(graph: &Graph, threads: usize, purpose: Purpose) -> Program {
    let options = Options { batch: BATCH, threads, purpose, ..Options::default() };
    compile(graph, &options).expect("a program")
}

fn session(graph: &Graph, threads: usize, weights: &Weights) -> Session {
    session_on(Isa::Auto, graph, threads, weights)
}

fn session_on(isa: Isa, graph: &Graph, threads: usize, weights: &Weights) -> Session {
    session_of(BATCH, isa, graph, threads, weights)
}

fn session_of(batch: usize, isa: Isa, graph: &Graph, threads: usize, weights: &Weights) -> Session {
    let purpose = Purpose::Training;
    let options = Options { batch, threads, isa, purpose, ..Options::default() };
    compile(graph, &options).expect("a program").session(weights).expect("a session")
}

/// Every model with every instruction set.
fn models_and_isas() -> impl Iterator<Item = (&'static str, Isa)> {
    MODELS.into_iter().flat_map(|text| Isa::available().map(move |isa| (text, isa)))
}

fn hyper(graph: &Graph) -> Vec<Hyper> {
    vec![Hyper { lr: 0.1, momentum: 0.9, decay: 1e-3 }; graph.weights().len()]
}

fn bits<'a>(values: impl IntoIterator<Item = &'a f32>) -> Vec<u32> {
    values.into_iter().map(|x| x.to_bits()).collect()
}

fn weight_bits(weights: &Weights) -> Vec<Vec<u32>> {
    weights.tensors().iter().map(|tensor| bits(&tensor.values)).collect()
}

/// The bits of everything a session can be asked for: outputs, gradients, the losses of two steps and what they leave.
fn everything(session: &mut Session, data: &Data, images: usize) -> (Vec<Vec<u32>>, Vec<u64>) {
    let (view, labels) = (data.images.slice(s![..images, .., .., ..]), &data.labels[..images]);
    let mut all = vec![bits(&session.forward(view).expect("an output"))];
    let (loss, gradients) = session.gradients(view, labels).expect("gradients");
    let mut losses = vec![loss.to_bits()];
    all.extend(weight_bits(&gradients));
    let hyper = hyper(session.program().graph());
    for step in 0..2 {
        let params = StepParams { step, seed: 11, hyper: &hyper, ..StepParams::default() };
        let outcome = session.step(view, labels, &params).expect("a step");
        losses.extend([outcome.loss.to_bits(), outcome.correct as u64]);
    }
    all.extend(weight_bits(&session.weights()));
    all.extend(weight_bits(&session.momentum().expect("a program for training")));
    (all, losses)
}

#[test]
fn bits_do_not_depend_on_threads() {
    for (text, isa) in models_and_isas() {
        let graph = graph(text);
        let data = Data::draw(&graph, BATCH, 1);
        for images in [BATCH, 10, 1] {
            let one = everything(&mut session_on(isa, &graph, 1, &data.weights), &data, images);
            for threads in [2, 3] {
                let more =
                    everything(&mut session_on(isa, &graph, threads, &data.weights), &data, images);
                assert!(one == more, "{text}: {images} images, {isa}, {threads} threads");
            }
        }
    }
}

/// Windows that overlap, leave rows out, begin in padding and end in it, with what works in place between them, on a map that
/// another branch reads, and of a joined one.
const DEEP: &[&str] = &[
    "< input(3, 23, 17) conv(8, stride = 2) relu depthwise relu6 conv(5, kernel = 1) conv(9, kernel = 1) hard_swish
       depthwise(5, stride = 2) silu maxpool(3, stride = 2, round = ceil) gap fc(3) softmax >",
    "< input(2, 19, 12) conv(6, kernel = (3, 1), dilation = (4, 1), pad = (2, 0)) prelu avgpool(2, stride = 3) conv(4, kernel = 1, stride = 2) >",
    "< input(2, 15, 9) conv(5) relu add < conv(7) relu depthwise(5) maxpool(3, stride = 1, pad = 1) conv(5) > < > relu
       concat < conv(3) maxpool(2, stride = 1, pad = 1) > < depthwise(2, pad = 1) gelu conv(4) batchnorm tanh > maxpool((5, 1), stride = (1, 2)) >",
    "< input(4, 16, 8) conv(8, kernel = 2, stride = 2, pad = 0) conv(8, kernel = 1) relu maxpool(2) conv(6) leaky_relu(0.3) scale(0.5) gmp >",
];

#[test]
fn depth_first_changes_no_bit() {
    for (text, isa) in DEEP.iter().flat_map(|text| Isa::available().map(move |isa| (*text, isa))) {
        let graph = graph(text);
        let data = Data::draw(&graph, 5, 21);
        for purpose in [Purpose::Inference, Purpose::Training] {
            let outputs = |algo: &str, threads: usize, images: usize| {
                let algo = algo.parse().expect("a list of algorithms");
                let options = Options { batch: 5, threads, isa, purpose, algo };
                let program = compile(&graph, &options).expect("a program");
                let mut session = program.session(&data.weights).expect("a session");
                let images = data.images.slice(ndarray::s![..images, .., .., ..]);
                bits(&session.forward(images).expect("an output"))
            };
            if purpose == Purpose::Training && graph.output().pixels() > 1 {
                continue;
            }
            for (threads, images) in [(1, 5), (1, 1), (2, 1), (3, 1), (3, 5)] {
                let expected = outputs("direct,depth-first=never", threads, images);
                let found = outputs("direct,depth-first=always", threads, images);
                assert!(found == expected, "{text}: {images} images, {isa}, {threads} threads");
            }
        }
    }
}

/// Slices of several chunks, of which the last have one image or none.
#[test]
fn bits_of_large_batches_do_not_depend_on_threads() {
    for text in MODELS {
        let graph = graph(text);
        let data = Data::draw(&graph, 129, 14);
        for images in [129, 68] {
            let bits = |threads| {
                let mut session = session_of(129, Isa::Auto, &graph, threads, &data.weights);
                everything(&mut session, &data, images)
            };
            assert!(bits(1) == bits(3), "{text}: {images} images");
        }
    }
}

/// On a vector and on a map of one pixel: one number a channel has no variance.
#[test]
fn one_image_alone_moves_no_running_statistics() {
    let graph = graph(
        "< input(2, 5, 5) conv(6, kernel = 5, pad = 0) batchnorm relu gap fc(20) batchnorm fc(3) >",
    );
    let data = Data::draw(&graph, 4, 15);
    let hyper = hyper(&graph);
    let running = |weights: &Weights| -> Vec<Vec<u32>> {
        let all = graph.weights().iter().zip(weight_bits(weights));
        all.filter(|(weight, _)| !weight.role.is_trained()).map(|(_, bits)| bits).collect()
    };
    for (isa, threads) in Isa::available().flat_map(|isa| [(isa, 1), (isa, 2)]) {
        let mut session = session_of(4, isa, &graph, threads, &data.weights);
        let mut step = |images: usize| {
            let params = StepParams { hyper: &hyper, ..StepParams::default() };
            let view = data.images.slice(s![..images, .., .., ..]);
            let outcome = session.step(view, &data.labels[..images], &params).expect("a step");
            assert!(outcome.loss.is_finite());
            session.weights()
        };
        let after_one = step(1);
        assert_eq!(running(&after_one), running(&data.weights), "{isa}");
        assert_ne!(weight_bits(&after_one), weight_bits(&data.weights), "{isa}");
        let moved = running(&step(2));
        assert!(moved.iter().zip(running(&after_one)).all(|(a, b)| *a != b), "{isa}");
    }
}

#[test]
fn bits_do_not_depend_on_earlier_calls() {
    for (text, isa) in models_and_isas() {
        let graph = graph(text);
        let (data, other) = (Data::draw(&graph, BATCH, 2), Data::draw(&graph, BATCH, 3));
        let fresh = everything(&mut session_on(isa, &graph, 2, &data.weights), &data, 10);
        let mut used = session_on(isa, &graph, 2, &other.weights);
        everything(&mut used, &other, BATCH);
        let nans = Array4::from_elem(other.images.dim(), f32::NAN);
        everything(&mut used, &Data { images: nans, ..other }, BATCH);
        used.set_weights(&data.weights).expect("weights of the model");
        used.set_momentum(&Weights::zeros(&graph)).expect("momentum of the model");
        assert!(everything(&mut used, &data, 10) == fresh, "{text}: {isa}");
    }
}

#[test]
fn a_fork_goes_its_own_way() {
    let graph = graph(MODELS[0]);
    let data = Data::draw(&graph, BATCH, 4);
    let mut session = session(&graph, 2, &data.weights);
    let expected = everything(&mut session.fork().expect("a session"), &data, BATCH);
    assert!(
        weight_bits(&session.weights()) == weight_bits(&data.weights),
        "the fork's steps are its own"
    );
    assert!(everything(&mut session, &data, BATCH) == expected);
}

#[test]
fn training_and_inference_programs_agree() {
    for text in MODELS {
        let graph = graph(text);
        let data = Data::draw(&graph, BATCH, 5);
        let output = |purpose| {
            let session = program(&graph, 2, purpose).session(&data.weights);
            session.expect("a session").forward(data.images.view()).expect("an output")
        };
        let (a, b) = (output(Purpose::Inference), output(Purpose::Training));
        let distance = (&a - &b).iter().fold(0f32, |most, x| most.max(x.abs()));
        assert!(distance <= 1e-5, "{text}: {distance}");
    }
}

/// A dropout does nothing at inference, unless its value has a place of its own: an ELU's gradient reads the ELU's.
#[test]
fn what_copies_is_timed_and_what_does_nothing_is_not() {
    for (text, timed) in [
        ("< input(1, 6, 6) conv(4) dropout(0.5) gap >", false),
        ("< input(1, 6, 6) conv(4) elu dropout(0.5) gap >", true),
    ] {
        let graph = graph(text);
        let data = Data::draw(&graph, 4, 13);
        let parts = session(&graph, 1, &data.weights).profile_forward(data.images.view(), 1);
        let titles: Vec<String> = parts.expect("times").into_iter().map(|part| part.what).collect();
        assert_eq!(titles.contains(&"dropout1".to_owned()), timed, "{text}: {titles:?}");
    }
}

#[test]
fn images_can_lie_in_any_order() {
    let graph = graph(MODELS[0]);
    let data = Data::draw(&graph, 8, 6);
    let mut session = session(&graph, 1, &data.weights);
    let straight = session.forward(data.images.view()).expect("an output");
    // The same numbers, channels last in memory.
    let (n, c, h, w) = data.images.dim();
    let lying = data.images.view().permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned();
    let view = lying.view().permuted_axes([0, 3, 1, 2]);
    assert_eq!(view.dim(), (n, c, h, w));
    assert_eq!(bits(&session.forward(view).expect("an output")), bits(&straight));
}

#[test]
fn nan_reaches_what_the_interpreter_says() {
    for (text, isa) in models_and_isas() {
        let graph = graph(text);
        let mut data = Data::draw(&graph, 9, 7);
        let clean = session_on(isa, &graph, 2, &data.weights)
            .forward(data.images.view())
            .expect("an output");
        let (h, w) = (graph.input().height(), graph.input().width());
        data.images[[4, 0, h / 2, w / 2]] = f32::NAN;
        let found = session_on(isa, &graph, 2, &data.weights)
            .forward(data.images.view())
            .expect("an output");
        let expected: ArrayD<f64> = oracle::forward(
            &graph,
            &oracle::arrays(&data.weights),
            data.images.mapv(f64::from).view(),
        );
        for ((at, found), expected) in found.indexed_iter().zip(&expected) {
            assert_eq!(found.is_nan(), expected.is_nan(), "{text} at {at:?}: {isa}");
            if at[0] != 4 {
                assert_eq!(
                    found.to_bits(),
                    clean[&at].to_bits(),
                    "{text}: image {} is another's",
                    at[0]
                );
            }
        }
    }
}

#[test]
fn odd_numbers_do_no_harm() {
    let odd = [
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        f32::MIN,
        f32::MIN_POSITIVE / 8.0,
        -0.0,
        1.0,
    ];
    for (text, isa) in models_and_isas() {
        let graph = graph(text);
        let data = Data::draw(&graph, BATCH, 8);
        for stride in [1, 3, 7] {
            let mut strange = data.clone();
            for (index, x) in strange.images.iter_mut().enumerate().step_by(stride) {
                *x = odd[index / stride % odd.len()];
            }
            for values in strange.weights.values_mut() {
                let few = values.iter_mut().enumerate().skip(1).step_by(17 * stride);
                few.for_each(|(index, x)| *x = odd[index % odd.len()]);
            }
            everything(&mut session_on(isa, &graph, 2, &strange.weights), &strange, BATCH);
        }
    }
}

/// On CPUs whose setting nin knows: denormals that come in are zeros, and so are those that a product would leave, on
/// whichever thread.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[test]
fn denormals_are_flushed_and_the_callers_setting_comes_back() {
    let graph = graph("< input(1, 4, 4) conv(3) avgpool(2) gap >");
    let mut small = Weights::zeros(&graph);
    small.values_mut().flatten().for_each(|weight| *weight = 1e-20);
    small.values_mut().nth(1).expect("a bias").fill(0.0);
    let mut plain = small.clone();
    plain.values_mut().next().expect("a kernel").fill(1.0);
    for (isa, images) in Isa::available().flat_map(|isa| [(isa, 1), (isa, 5)]) {
        for (weights, pixel) in [(&small, 1e-20), (&plain, f32::MIN_POSITIVE / 4.0)] {
            let images = Array4::from_elem((images, 1, 4, 4), pixel);
            let mut session = session_on(isa, &graph, 2, weights);
            let output = session.forward(images.view()).expect("an output");
            assert!(output.iter().all(|&x| x == 0.0), "{isa}: {output}");
            assert!(std::hint::black_box(f32::MIN_POSITIVE) / 4.0 > 0.0);
        }
    }
}

#[test]
fn sessions_share_a_program_across_threads() {
    let graph = graph(MODELS[0]);
    let data = Data::draw(&graph, BATCH, 9);
    let program = program(&graph, 2, Purpose::Training);
    let alone = everything(&mut program.session(&data.weights).expect("a session"), &data, BATCH);
    std::thread::scope(|scope| {
        let run = || {
            let mut session = program.session(&data.weights).expect("a session");
            (0..3).for_each(|_| {
                session.set_weights(&data.weights).expect("weights of the model");
                session.set_momentum(&Weights::zeros(&graph)).expect("momentum of the model");
                assert!(everything(&mut session, &data, BATCH) == alone);
            });
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        for thread in threads {
            thread.join().expect("the same bits on every thread");
        }
    });
}

#[test]
fn code_lives_as_long_as_a_session() {
    let graph = graph(MODELS[1]);
    let data = Data::draw(&graph, BATCH, 10);
    let program = program(&graph, 2, Purpose::Training);
    let expected =
        everything(&mut program.session(&data.weights).expect("a session"), &data, BATCH);
    let mut session = program.clone().session(&data.weights).expect("a session");
    drop(program);
    // What would take the place of freed code.
    let others: Vec<Program> =
        MODELS.iter().map(|text| self::program(&self::graph(text), 1, Purpose::Training)).collect();
    assert!(everything(&mut session, &data, BATCH) == expected);
    drop(others);
    let mut session = std::thread::spawn(move || {
        session.forward(data.images.view()).expect("an output");
        session
    })
    .join()
    .expect("a session can move to another thread");
    session.set_weights(&Weights::zeros(&graph)).expect("weights of the model");
}

#[test]
fn wrong_arguments_are_typed_errors() {
    let graph = graph(MODELS[1]);
    let data = Data::draw(&graph, BATCH + 1, 11);
    let mut session = session(&graph, 1, &data.weights);
    let hyper = hyper(&graph);
    let params = StepParams { step: 0, seed: 0, hyper: &hyper, ..StepParams::default() };
    let few = data.images.slice(s![..2, .., .., ..]);

    let refused = |outcome: Result<ArrayD<f32>, Error>| match outcome {
        Err(error @ Error::Images { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let message = refused(session.forward(data.images.view()));
    assert!(message.contains("[38, 1, 9, 14]") && message.contains("37"), "{message}");
    refused(session.forward(Array4::zeros((0, 1, 9, 14)).view()));
    refused(session.forward(Array4::zeros((1, 1, 14, 9)).view()));
    refused(session.forward(Array4::zeros((1, 2, 9, 14)).view()));
    assert!(matches!(
        session.gradients(data.images.view(), &data.labels),
        Err(Error::Images { .. })
    ));

    let mut refused = |labels: &[u32]| match session.step(few, labels, &params) {
        Err(error @ Error::Labels { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(refused(&[0]).contains("1 labels for 2 images"));
    assert!(refused(&[4, 5]).contains("label 5"));
    assert!(refused(&[u32::MAX, 0]).contains("5 classes"));

    let other = Weights::zeros(&self::graph(MODELS[2]));
    assert!(matches!(session.set_weights(&other), Err(Error::Weights(_))));
    assert!(matches!(session.set_momentum(&other), Err(Error::Weights(_))));
    // Whatever was refused left no trace.
    let untouched = self::session(&graph, 1, &data.weights).forward(few).expect("an output");
    assert_eq!(bits(&session.forward(few).expect("an output")), bits(&untouched));
    let short = StepParams { hyper: &hyper[1..], ..params };
    assert!(matches!(
        session.step(few, &data.labels[..2], &short),
        Err(Error::Hyper { expected, found }) if expected == found + 1
    ));
}

#[test]
fn wrong_options_are_typed_errors() {
    let classifier = graph(MODELS[1]);
    let map = graph("< input(1, 4, 4) conv(2) >");
    let refused = |batch, threads| {
        let options = Options { batch, threads, ..Options::default() };
        matches!(compile(&classifier, &options), Err(Error::Options { .. }))
    };
    assert!(refused(0, 1) && refused(1, 0) && refused(usize::MAX, 1) && refused(1, usize::MAX));
    let options =
        Options { batch: 2, threads: 1, purpose: Purpose::Training, ..Options::default() };
    assert!(matches!(compile(&map, &options), Err(Error::NotClassifier { .. })));

    let lone = graph("< input(1, 4, 4) conv(2) gap batchnorm fc(2) batchnorm >");
    let of_batch = |batch, purpose| {
        compile(&lone, &Options { batch, threads: 1, purpose, ..Options::default() }).map(|_| ())
    };
    assert!(matches!(
        of_batch(1, Purpose::Training),
        Err(Error::LoneNumber { layer }) if layer == "batchnorm1"
    ));
    assert!(of_batch(2, Purpose::Training).is_ok() && of_batch(1, Purpose::Inference).is_ok());

    let program = program(&classifier, 1, Purpose::Inference);
    assert!(matches!(program.session(&Weights::zeros(&map)), Err(Error::Weights(_))));
    let data = Data::draw(&classifier, 2, 12);
    let mut session = program.session(&data.weights).expect("a session");
    let (images, labels) = (data.images.view(), &data.labels);
    let hyper = hyper(&classifier);
    let params = StepParams { step: 0, seed: 0, hyper: &hyper, ..StepParams::default() };
    assert!(matches!(session.step(images, labels, &params), Err(Error::NotTrainable)));
    assert!(matches!(session.gradients(images, labels), Err(Error::NotTrainable)));
    assert!(matches!(session.momentum(), Err(Error::NotTrainable)));
}
