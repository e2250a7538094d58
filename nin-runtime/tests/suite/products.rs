//! The three products of one convolution, each by itself, beside the interpreter in f64.
//!
//! The model is a 1x1 convolution of a unit matrix, so that its kernel *is* the map (before its bias) that the
//! convolution in question reads, and the gradient of that kernel is the map's gradient. After the convolution a head with
//! small weights makes the gradient of its output, nearly the same whatever that output is.

use ndarray::{Array4, ArrayD};
use nin_dsl::graph::{Graph, NodeId, Op, WeightId};
use nin_runtime::compile::{Options, Purpose, compile};
use nin_runtime::compiler::Isa;
use nin_runtime::compiler::autodiff::TensorId;
use nin_runtime::compiler::plan::{Algo, Algorithm, Product};
use nin_runtime::oracle::{self, Inputs};
use nin_runtime::weights::Weights;

use crate::models::graph;

/// Root mean square error relative to that of the result, at most: sizes beyond it do not exist.
pub(crate) const BOUND: f64 = 2e-5;
/// Classes of the head.
pub(crate) const CLASSES: usize = 5;

/// The three products.
pub(crate) const NAMES: [&str; 3] = ["forward", "input gradient", "kernel gradient"];

/// The model of a convolution over maps `[C, H, W]` of so many images; `between` is what is between the two.
pub(crate) fn model(images: usize, map: [usize; 3], between: &str, conv: &str) -> Graph {
    let [channels, height, width] = map;
    let units = images * height * width;
    graph(&format!(
        "< input({units}, {height}, {width}) conv({channels}, kernel = 1) {between} {conv} fc({CLASSES}) >"
    ))
}

/// The nodes of the convolution in question, its kernel and that of the 1x1 convolution before it.
pub(crate) struct Places {
    pub(crate) conv: NodeId,
    pub(crate) kernel: WeightId,
    pub(crate) map: WeightId,
}

pub(crate) fn places(graph: &Graph) -> Places {
    let convs = graph.ids().filter_map(|id| match graph.node(id).op {
        Op::Conv { weight, .. } => Some((id, weight)),
        _ => None,
    });
    let convs: Vec<_> = convs.collect();
    Places { conv: convs[1].0, kernel: convs[1].1, map: convs[0].1 }
}

/// Image `i` is one in channel `i p + q` at pixel `q` of `p`, and zero elsewhere.
pub(crate) fn unit_images(graph: &Graph, images: usize) -> Array4<f32> {
    let input = graph.input();
    let (units, height, width) = (input.channels(), input.height(), input.width());
    Array4::from_shape_fn((images, units, height, width), |(image, channel, y, x)| {
        f32::from(u8::from(channel == (image * height + y) * width + x))
    })
}

/// Root mean square and largest error, relative to the root mean square of what was expected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strayed {
    pub(crate) rms: f64,
    pub(crate) max: f64,
}

pub(crate) fn strayed(found: &ArrayD<f32>, expected: &ArrayD<f64>) -> Strayed {
    assert_eq!(found.shape(), expected.shape());
    let errors =
        || found.iter().zip(expected).map(|(&found, expected)| f64::from(found) - expected);
    let rms = |values: &mut dyn Iterator<Item = f64>| {
        (values.map(|x| x * x).sum::<f64>() / expected.len() as f64).sqrt()
    };
    let scale = rms(&mut expected.iter().copied()).max(f64::MIN_POSITIVE);
    let max = errors().fold(0.0, |most: f64, error| most.max(error.abs()));
    Strayed { rms: rms(&mut errors()) / scale, max: max / scale }
}

/// A model and what the interpreter makes of it: the convolution's output, its input's gradient (as that of the kernel before
/// it) and its kernel's gradient.
pub(crate) struct Expected {
    graph: Graph,
    weights: Weights,
    images: Array4<f32>,
    labels: Vec<u32>,
    products: [ArrayD<f64>; 3],
}

impl Expected {
    pub(crate) fn of(graph: Graph, weights: Weights, labels: Vec<u32>) -> Expected {
        let images = unit_images(&graph, labels.len());
        let (wide, arrays) = (images.mapv(f64::from), oracle::arrays(&weights));
        let inputs =
            Inputs { weights: &arrays, images: wide.view(), labels: &labels, dropout: None };
        let mut done = oracle::loss_and_gradients(&graph, inputs);
        let Places { conv, kernel, map } = places(&graph);
        let output = done.values.remove(&TensorId::Value(conv)).expect("it is evaluated");
        let products =
            [output, done.gradients[map.index()].clone(), done.gradients[kernel.index()].clone()];
        Expected { graph, weights, images, labels, products }
    }
}

/// How far a program's three products are from the interpreter's.
pub(crate) fn errors(expected: &Expected, isa: Isa, algo: Algo) -> [Strayed; 3] {
    let Expected { graph, weights, images, labels, products } = expected;
    let batch = labels.len();
    let purpose = Purpose::Training;
    let options = Options { batch, threads: 1, isa, purpose, algo: algo.into() };
    let program = compile(graph, &options).expect("a program");
    let Places { conv, kernel, map } = places(graph);
    let plan = program.plan().convs.iter().find(|plan| plan.node == conv).expect("it is planned");
    if let Algo::Outputs(outputs) = algo {
        for choice in [
            plan.choice(Product::Forward),
            plan.choice(Product::InputGrad),
            plan.choice(Product::KernelGrad),
        ] {
            let size = match choice.algorithm {
                Algorithm::Winograd(winograd) => Some(winograd.size.outputs),
                Algorithm::Direct => None,
            };
            assert_eq!(size, Some(outputs), "the size that was asked for");
        }
    }
    let mut session = program.session(weights).expect("a session");
    let (_, gradients) = session.gradients(images.view(), labels).expect("gradients");
    let gradients = oracle::arrays::<f32>(&gradients);
    let [output, input_grad, kernel_grad] = products;
    // A program for the map alone: what follows the convolution is another program's.
    let head = NodeId(conv.0 + 1);
    assert!(matches!(graph.node(head).op, Op::Conv { .. }));
    let map_graph = graph.first_layers(graph.layers().len() - 1);
    let purpose = Purpose::Inference;
    let program =
        compile(&map_graph, &Options { batch, threads: 1, isa, purpose, algo: algo.into() });
    let mut map_weights = Weights::zeros(&map_graph);
    for (values, tensor) in map_weights.values_mut().zip(weights.tensors()) {
        values.copy_from_slice(&tensor.values);
    }
    let mut session = program.expect("a program").session(&map_weights).expect("a session");
    let found = session.forward(images.view()).expect("an output").to_owned();
    [
        strayed(&found, output),
        strayed(&gradients[map.index()], input_grad),
        strayed(&gradients[kernel.index()], kernel_grad),
    ]
}
