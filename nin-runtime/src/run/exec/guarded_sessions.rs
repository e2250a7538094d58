//! Sessions whose buffers lie between pages that nobody may touch: whoever reads or writes outside one ends the process. What
//! nobody has written is a signalling NaN, or zero: the bits of results are the same.

use ndarray::{Array4, ArrayView4};

use super::{Session, StepParams};
use crate::Hyper;
use crate::compile::{Options, Purpose, compile};
use crate::compiler::Isa;
use crate::compiler::optimizer::{Optimizer, Squares};
use crate::compiler::plan::{Algo, Algos, Depth};
use crate::host::memory::guarded::{Guarded, Side, UNWRITTEN};
use crate::host::memory::watched::within;
use crate::model::Model;
use crate::train::{Recipe, init};
use crate::weights::Weights;

/// Models that between them have every op and phase, maps of one band and of several, and numbers of channels that fill
/// vectors to every degree.
const MODELS: [&str; 16] = [
    "< input(3, 13, 11) mlpconv(10, 7, kernel = 5) maxpool(3, stride = 2, round = ceil) dropout(0.5)
       mlpconv(9, 12) avgpool(3, stride = 2, round = ceil) dropout(0.3) mlpconv(8, 10) gap softmax >",
    "< input(1, 9, 14) conv(6, kernel = 4, stride = 2, pad = 1, bias = 0) relu maxpool(2, stride = 1)
       dropout(0.2) fc(20) relu dropout(0.5) fc(5) softmax >",
    "< input(8, 6, 6) conv(16) conv(5, kernel = 1) relu relu gap relu fc(3) >",
    "< input(3, 27, 26) mlpconv(32, 24) maxpool(3, stride = 2, round = ceil) conv(6, stride = 3) fc(4) >",
    "< input(3, 9, 10) batchnorm conv(11) batchnorm relu conv(8, kernel = 1) relu batchnorm maxpool(2) dropout(0.4)
       conv(7) gap batchnorm fc(9) batchnorm leaky_relu fc(4) softmax >",
    "< input(2, 7, 9) elu conv(7) elu(0.6) dropout(0.4) conv(5, kernel = 1) elu leaky_relu(0.2) maxpool(2) relu elu
       fc(6) elu(1.7) elu dropout(0.3) fc(3) >",
    "< input(1, 4, 4) conv(1) conv(9) relu conv(17) conv(1, kernel = 1) relu conv(25) relu conv(33, stride = 2) gap fc(2) >",
    "< input(16, 20, 20) mlpconv(33, 16, kernel = 5) conv(17) relu conv(4, kernel = 1) gap softmax >",
    "< input(3, 9, 10) conv(8, bias = 0) batchnorm relu
       add < conv(8, kernel = 1) batchnorm relu dropout(0.3) conv(8) batchnorm > < conv(8) relu > < > relu
       concat < maxpool(3, stride = 2, pad = 1) > < conv(5, stride = 2) elu > mul < > < gap fc(4) relu fc(13) > add < > < relu > gap fc(4) softmax >",
    "< input(2, 7, 9) conv(7) batchnorm relu6 conv(5, kernel = 1) hard_swish add < conv(5) sigmoid > < > silu conv(6) relu scale(-0.5)
       maxpool(2) tanh dropout(0.3) gelu conv(9) prelu gap prelu fc(6) hard_sigmoid fc(5) silu relu6 fc(3) softmax >",
    "< input(3, 5, 6) prelu gelu concat < conv(7) relu tanh > < conv(6) relu sigmoid > < scale(2.0) gelu > conv(9) batchnorm silu
       hard_sigmoid avgpool(2) relu hard_swish scale(3.0) relu gap tanh scale(0.3) fc(4) gelu prelu >",
    "< input(2, 9, 7) conv(19) relu lrn(alpha = 1.0) mul < lrn(17, alpha = 2.0, beta = 0.6) > < gmp fc(19) relu > concat < gmp > < conv(21, stride = 2) gmp elu > fc(4) softmax >",
    "< input(3, 9, 10) conv(11) batchnorm(ghost = 8) relu add < conv(11) batchnorm(ghost = 8) > < > relu maxpool(2)
       gap batchnorm(ghost = 8) fc(9) batchnorm(ghost = 8) relu fc(4) softmax >",
    "< input(2, 7, 5) batchnorm(ghost = 2) conv(9) batchnorm(ghost = 3) relu conv(5) batchnorm gap batchnorm(ghost = 4) fc(3) >",
    "< input(5, 13, 10) conv(40, kernel = (3, 1), groups = 5, dilation = (2, 1)) relu depthwise(5, stride = (1, 2)) batchnorm relu
       add < conv(40, groups = 2) depthwise(bias = 0) > < > avgpool((2, 3), pad = 1, count = window, round = ceil)
       depthwise(multiplier = 2, dilation = 2) conv(20, kernel = 1, groups = 4) relu gap fc(4) softmax >",
    "< input(3, 9, 10) depthwise conv(37) depthwise(pad = (0, 2, 1, 0)) relu depthwise(2, pad = 0, stride = 2) concat < depthwise > < conv(36, groups = 1) depthwise(1) > gap >",
];

/// Two chunks in the first slices, and none in the last.
const BATCH: usize = 66;

/// What callers own, with a closed page at one side of it.
struct Batch {
    images: Guarded,
    dims: (usize, usize, usize, usize),
    labels: Guarded,
}

impl Batch {
    fn of(images: &Array4<f32>, classes: usize, side: Side) -> Batch {
        let bits: Vec<u32> = images.iter().map(|x| x.to_bits()).collect();
        let labels: Vec<u32> = (0..images.dim().0).map(|n| (n * 7 % classes) as u32).collect();
        let (images, labels, dims) =
            (Guarded::copy(&bits, side), Guarded::copy(&labels, side), images.dim());
        Batch { images, dims, labels }
    }

    fn first(&self, count: usize) -> (ArrayView4<'_, f32>, &[u32]) {
        let (_, c, h, w) = self.dims;
        let images = &bytemuck::cast_slice(self.images.words())[..count * c * h * w];
        let images = ArrayView4::from_shape((count, c, h, w), images).expect("so many images");
        (images, &self.labels.words()[..count])
    }
}

fn bits<'a>(values: impl IntoIterator<Item = &'a f32>) -> Vec<u32> {
    values.into_iter().map(|x| x.to_bits()).collect()
}

fn weight_bits(weights: &Weights) -> Vec<u32> {
    weights.tensors().iter().flat_map(|tensor| bits(&tensor.values)).collect()
}

/// The bits of everything that a session can be asked for.
fn everything(session: &mut Session, weights: &Weights, all: &Batch, one: &Batch) -> Vec<Vec<u32>> {
    let mut found = vec![];
    for batch in [all, one] {
        let (images, labels) = batch.first(batch.dims.0);
        found.push(bits(&session.forward(images).unwrap()));
        let (_, gradients) = session.gradients(images, labels).unwrap();
        found.push(weight_bits(&gradients));
    }
    let squares = Squares { squares: 0.99, epsilon: 1e-5 };
    let optimizers = [Optimizer::Sgd, Optimizer::Nesterov, Optimizer::Adam(squares)];
    let hyper = vec![Hyper { lr: 0.01, momentum: 0.9, decay: 1e-3 }; weights.tensors().len()];
    for (optimizer, clip) in optimizers.into_iter().zip([None, Some(0.1), None]) {
        for batch in [all, one] {
            let (images, labels) = batch.first(batch.dims.0);
            let params =
                StepParams { step: 3, seed: 5, hyper: &hyper, clip, optimizer, smoothing: 0.1 };
            session.step(images, labels, &params).unwrap();
        }
    }
    found.push(weight_bits(&session.weights()));
    found.push(weight_bits(&session.momentum().unwrap()));
    found.push(weight_bits(&session.squares().unwrap().unwrap()));
    let mut fork = session.fork().unwrap();
    fork.set_weights(weights).unwrap();
    found.push(bits(&fork.forward(one.first(1).0).unwrap()));
    found
}

#[test]
fn nothing_is_touched_outside_the_buffers_of_a_session() {
    for text in MODELS {
        let model = Model::from_text("m.nin", text, &[]).unwrap();
        let graph = model.graph();
        let weights = init(graph, &Recipe::default());
        let shape = graph.input();
        let dims = (BATCH, shape.channels(), shape.height(), shape.width());
        let number = |(n, c, y, x)| ((n * 31 + c * 17 + y * 11 + x * 5) % 32) as f32 / 16.0 - 1.0;
        let images = Array4::from_shape_fn(dims, number);
        let classes = graph.output().elements();
        for (isa, algo) in Isa::available().flat_map(|isa| Algo::ALL.map(|algo| (isa, algo))) {
            let purpose = Purpose::Training;
            // What is not transformed can go depth first.
            let depth = if algo == Algo::Direct { Depth::Always } else { Depth::Auto };
            let algo = Algos { depth, ..algo.into() };
            let options = Options { batch: BATCH, threads: 2, isa, purpose, algo: algo.clone() };
            let program = compile(graph, &options).unwrap();
            let run = |side: Side, fill: u32| {
                let all = Batch::of(&images, classes, side);
                let one = Batch::of(
                    &images.slice(ndarray::s![3..4, .., .., ..]).to_owned(),
                    classes,
                    side,
                );
                within(side, fill, || {
                    everything(&mut program.session(&weights).unwrap(), &weights, &all, &one)
                })
            };
            let expected = run(Side::Last, 0);
            for side in Side::ALL {
                assert!(run(side, UNWRITTEN) == expected, "{text}: {isa}, {algo}, {side:?}");
            }
        }
    }
}
