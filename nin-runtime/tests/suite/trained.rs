//! Trained weights on real digits against the interpreter in f64, by every algorithm: each convolution's products with the
//! numbers that they meet in the net, and whole nets.
//!
//! Between the products of a net lie ReLUs and maxima, and a value next to a switch may round to the other side of it,
//! with a gradient that comes or goes as a whole. One convolution by itself has no switch; a whole net is given images
//! whose values keep away from all of them.

use std::ops::ControlFlow;

use ndarray::{Array4, ArrayD, Axis, Ix4};
use nin_dsl::graph::{Graph, NodeId, Op, WeightId};
use nin_runtime::compile::{Options, Purpose, compile};
use nin_runtime::compiler::Isa;
use nin_runtime::compiler::autodiff::TensorId;
use nin_runtime::compiler::plan::Algo;
use nin_runtime::data::{Preparation, Spec};
use nin_runtime::model::Model;
use nin_runtime::oracle::{self, Differentiated, Inputs, switch_margin};
use nin_runtime::train::{Recipe, Trainer};

use nin_runtime::compile::Machine;
use nin_runtime::compiler::winograd::Size;
use nin_runtime::weights::Weights;

use crate::products::{self, BOUND, Expected, Strayed, strayed};

/// `models/digits.nin`, narrower, with kernels of this side.
fn text(kernel: usize) -> String {
    include_str!("../../../models/digits.nin")
        .replace("width = 20", "width = 8")
        .replace("kernel = 5", &format!("kernel = {kernel}, pad = {}", kernel / 2))
}

/// A net after an epoch, and test images.
struct Trained {
    graph: Graph,
    weights: Weights,
    images: Array4<f32>,
    labels: Vec<u32>,
}

impl Trained {
    /// Trains on the digits that come with nin.
    fn new(kernel: usize) -> Trained {
        let data = "mnist-10k".parse::<Spec>().unwrap().load().unwrap();
        let model = Model::from_text("digits", &text(kernel), &[]).unwrap();
        let recipe = Recipe { epochs: 1, batch: 16, ..Recipe::default() };
        // The same weights on every machine.
        let machine = Machine { threads: 2, isa: Isa::Portable, ..Machine::default() };
        let mut trainer = Trainer::with_machine(&model, &data, recipe, machine).unwrap();
        trainer.run(|_| ControlFlow::Continue(())).unwrap();
        let weights = trainer.weights();
        let preparation = Preparation::Normalised(data.normalisation().clone());
        let (_, channels, height, width) = data.test().images().dims();
        let mut batch = Array4::zeros((IMAGES, channels, height, width));
        let mut labels = vec![];
        let indices: Vec<u32> = (0..IMAGES as u32).collect();
        data.test().gather(&indices, &preparation, &mut batch, &mut labels);
        let trained = Trained { graph: model.graph().clone(), weights, images: batch, labels };
        assert!(trained.right() * 2 > IMAGES, "it has learnt");
        trained
    }

    /// How many images it recognises.
    fn right(&self) -> usize {
        let options = Options { batch: self.labels.len(), ..Options::default() };
        let program = compile(&self.graph, &options).expect("a program");
        let mut session = program.session(&self.weights).expect("a session");
        let output = session.forward(self.images.view()).expect("an output");
        let answers = output.outer_iter().zip(&self.labels);
        answers.filter(|(row, label)| row.iter().all(|&x| x <= row[**label as usize])).count()
    }

    /// The same with some of its images.
    fn of(&self, images: &[usize]) -> (Array4<f32>, Vec<u32>) {
        let labels = images.iter().map(|&image| self.labels[image]).collect();
        (self.images.select(Axis(0), images), labels)
    }

    /// What the interpreter makes of images.
    fn differentiate(&self, images: &Array4<f32>, labels: &[u32]) -> Differentiated<f64> {
        let (wide, weights) = (images.mapv(f64::from), oracle::arrays(&self.weights));
        let inputs = Inputs { weights: &weights, images: wide.view(), labels, dropout: None };
        oracle::loss_and_gradients(&self.graph, inputs)
    }
}

/// How far from its switches an image must be at least, relative to the largest magnitude of the tensor they are in.
const MARGIN: f64 = 2e-6;
/// Test images to choose from.
const IMAGES: usize = 64;
/// Images that whole nets are given.
const FEW: usize = 4;
/// Scores that stay near softmax's middle.
const SMALL: f64 = 1e-3;

/// The images that keep farthest away from all switches.
fn steady(trained: &Trained) -> Vec<usize> {
    let margin = |image: usize| {
        let (images, labels) = trained.of(&[image]);
        switch_margin(&trained.graph, &trained.differentiate(&images, &labels).values)
    };
    let mut images: Vec<(f64, usize)> = (0..IMAGES).map(|image| (margin(image), image)).collect();
    images.sort_by(|a, b| b.0.total_cmp(&a.0));
    images.truncate(FEW);
    assert!(images[FEW - 1].0 > MARGIN, "no image keeps away from switches: {images:?}");
    images.into_iter().map(|(_, image)| image).collect()
}

/// The outputs and all gradients of a net, as far as they stray.
fn whole(trained: &Trained, algo: Algo, isa: Isa, images: &[usize]) -> Vec<(String, Strayed)> {
    let (batch, labels) = trained.of(images);
    let expected = trained.differentiate(&batch, &labels);
    let output = oracle::forward(
        &trained.graph,
        &oracle::arrays(&trained.weights),
        batch.mapv(f64::from).view(),
    );
    let purpose = Purpose::Training;
    let options = Options { batch: images.len(), threads: 2, isa, purpose, algo: algo.into() };
    let program = compile(&trained.graph, &options).expect("a program");
    let mut session = program.session(&trained.weights).expect("a session");
    let found = session.forward(batch.view()).expect("an output");
    let mut all = vec![("output".to_owned(), strayed(&found, &output))];
    let (_, gradients) = session.gradients(batch.view(), &labels).expect("gradients");
    let gradients = oracle::arrays::<f32>(&gradients);
    for ((weight, found), expected) in
        trained.graph.weights().iter().zip(&gradients).zip(&expected.gradients)
    {
        all.push((format!("gradient of {}", weight.name), strayed(found, expected)));
    }
    all
}

/// Every algorithm and instruction set; what is beyond the bound.
fn check_whole(trained: &Trained, kernel: usize) -> Vec<String> {
    let images = steady(trained);
    let sizes = Size::all(kernel).map(|size| Algo::Outputs(size.outputs));
    let mut failures = vec![];
    for algo in [Algo::Direct, Algo::Auto].into_iter().chain(sizes) {
        for isa in Isa::available() {
            for (what, Strayed { rms, max }) in whole(trained, algo, isa, &images) {
                if rms.is_nan() || rms > BOUND {
                    failures.push(format!("{algo} on {isa}, {what}: {rms:e} rms, {max:e} at most"));
                }
            }
        }
    }
    failures
}

/// A convolution of a net, its operand and what it reads.
struct Layer {
    conv: NodeId,
    weight: WeightId,
    bias: WeightId,
    pad: usize,
}

/// The convolutions of a net that see more than a pixel, but for the first: nobody asks for the gradient of the images.
fn layers(graph: &Graph) -> Vec<Layer> {
    let layers = graph.ids().filter_map(|conv| match graph.node(conv).op {
        Op::Conv { window, weight, bias: Some(bias), .. } if window.taps() > 1 => {
            Some(Layer { conv, weight, bias, pad: window.y.pad[0] })
        }
        _ => None,
    });
    layers.skip(1).collect()
}

/// A convolution of a net by itself: its map, kernel and bias, and a head that gives its output the gradient it has there,
/// but for its size.
fn alone(trained: &Trained, layer: &Layer, done: &Differentiated<f64>) -> Expected {
    let operand = trained.graph.operand(layer.conv);
    let map: Array4<f64> = values(&done.values[&TensorId::Value(operand)]);
    let (_, channels, height, width) = map.dim();
    let kernel = trained.graph.weight(layer.weight);
    let (outputs, side) = (kernel.dims[0], kernel.dims[2]);
    let conv = format!("conv({outputs}, kernel = {side}, pad = {})", layer.pad);
    let graph = products::model(1, [channels, height, width], "", &conv);
    let grad = &done.values[&TensorId::Grad(layer.conv)];
    let output = &done.values[&TensorId::Value(layer.conv)];
    let norm = |x: &ArrayD<f64>| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let scale = SMALL / (norm(grad) * norm(output));
    let row = grad.iter().map(|&x| (scale * x) as f32);
    let places = products::places(&graph);
    let tensors = trained.weights.tensors();
    let mut weights = Weights::zeros(&graph);
    let ids: Vec<WeightId> = graph.weight_ids().collect();
    for (id, numbers) in ids.into_iter().zip(weights.values_mut()) {
        let weight = graph.weight(id);
        match () {
            // `[C, H W]`, as the map lies.
            () if id == places.map => {
                numbers.iter_mut().zip(&map).for_each(|(x, &value)| *x = value as f32);
            }
            () if id == places.kernel => {
                numbers.copy_from_slice(&tensors[layer.weight.index()].values);
            }
            () if weight.node == places.conv => {
                numbers.copy_from_slice(&tensors[layer.bias.index()].values);
            }
            // The head: scores of either sign.
            () if weight.dims.len() > 1 => {
                let (first, others) = numbers.split_at_mut(grad.len());
                for ((x, y), value) in first.iter_mut().zip(others).zip(row.clone()) {
                    (*x, *y) = (-value, value);
                }
            }
            () => {}
        }
    }
    Expected::of(graph, weights, vec![0])
}

fn values(array: &ArrayD<f64>) -> Array4<f64> {
    array.clone().into_dimensionality::<Ix4>().expect("a map")
}

/// Every size; what is beyond the bound.
fn check_layers(trained: &Trained, kernel: usize) -> Vec<String> {
    let (images, labels) = trained.of(&[0]);
    let done = trained.differentiate(&images, &labels);
    let mut failures = vec![];
    for layer in layers(&trained.graph) {
        let expected = alone(trained, &layer, &done);
        for size in Size::all(kernel) {
            let errors = products::errors(&expected, Isa::Auto, Algo::Outputs(size.outputs));
            for (what, Strayed { rms, max }) in products::NAMES.into_iter().zip(errors) {
                if rms.is_nan() || rms > BOUND {
                    failures.push(format!(
                        "{}, {size}, {what}: {rms:e} rms, {max:e} at most",
                        layer.conv
                    ));
                }
            }
        }
    }
    failures
}

/// What is beyond the bound, layer by layer.
fn check(trained: &Trained, kernel: usize) {
    assert_eq!(layers(&trained.graph).len(), 2);
    let failures = check_layers(trained, kernel);
    assert!(failures.is_empty(), "{kernel}x{kernel}:\n{}", failures.join("\n"));
}

#[test]
fn layers_and_whole_digits_are_within_the_bound() {
    let trained = Trained::new(5);
    check(&trained, 5);
    let failures = check_whole(&trained, 5);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn layers_with_every_other_kernel_are_within_the_bound() {
    for kernel in [2, 3, 4, 6, 7] {
        check(&Trained::new(kernel), kernel);
    }
    assert!(Size::all(8).next().is_none(), "there is no further size");
}
