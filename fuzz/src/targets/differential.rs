//! A model by every executor: the interpreter, and generated code for each instruction set on several threads.
//!
//! An input is a line of how the model is run and the model's text.

use std::fmt::Write as _;

use ndarray::ArrayD;
use nin_dsl::Source;
use nin_dsl::graph::Graph;
use nin_dsl::shape::Shape;
use nin_runtime::compile::{Options, Purpose, compile};
use nin_runtime::compiler::Isa;
use nin_runtime::compiler::plan::{Algo, Algos, Depth};
use nin_runtime::error::Error;
use nin_runtime::oracle;
use nin_runtime::run::exec::Session;
use nin_runtime::weights::Weights;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::Check;
use crate::close::{self, Expected, Judged, TOLERANCE};
use crate::data::Data;
use crate::models::{LARGE, SMALL, classifiers, map_makers};
use crate::steady::{MANY_RUNS, Steady};

/// A model that asks for more is not run.
const MOST_MACS: u64 = 3_000_000;
const MOST_ELEMENTS: usize = 64_000;
const MOST_BATCH: usize = 300;
const MOST_THREADS: usize = 8;
/// Multiply-accumulates of all images together, so that the interpreter is not waited for.
const MOST_WORK: u64 = 2_500_000;

/// How a model is run.
#[derive(Clone, Debug, PartialEq)]
struct Setting {
    /// Images the program is compiled for.
    batch: usize,
    /// Images it is given.
    images: usize,
    /// The second count of threads; the first is one.
    threads: usize,
    algo: Algos,
    seed: u64,
}

/// Batches of up to nine, and some around what is cut into chunks and slices.
fn settings() -> impl Strategy<Value = Setting> {
    let batch = prop_oneof![
        12 => 1..=9usize,
        1 => proptest::sample::select(vec![31, 32, 33, 64, 65, 127, 128, 129, 200, 300]),
    ];
    let sizes = batch.prop_flat_map(|batch| (Just(batch), 1..=batch, any::<bool>()));
    let algo = proptest::sample::select(Algo::ALL.to_vec());
    // Small models go depth first if they have to.
    let depth = prop_oneof![1 => Just(Depth::Auto), 2 => Just(Depth::Always)];
    let algo = (algo, depth).prop_map(|(algo, depth)| Algos { depth, ..algo.into() });
    (sizes, 2..=4usize, algo, 0..1u64 << 32).prop_map(
        |((batch, some, all), threads, algo, seed)| {
            let images = if all { batch } else { some };
            Setting { batch, images, threads, algo, seed }
        },
    )
}

/// Draws an input.
pub(super) fn generate(seed: u64) -> Vec<u8> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let models = prop_oneof![
        30 => classifiers(SMALL).boxed(),
        10 => map_makers(SMALL).boxed(),
        1 => classifiers(LARGE).boxed(),
        1 => map_makers(LARGE).boxed(),
    ];
    let drawn = (settings(), models).new_tree(&mut runner).expect("nothing is filtered");
    let (Setting { batch, images, threads, algo, seed }, model) = drawn.current();
    let mut text = String::new();
    writeln!(text, "batch={batch} images={images} threads={threads} algo={algo} seed={seed}")
        .expect("writing to a string");
    text.push_str(&model);
    text.push('\n');
    text.into_bytes()
}

fn parse(text: &str) -> Option<(Setting, Graph)> {
    let (line, model) = text.split_once('\n')?;
    let mut setting = Setting { batch: 1, images: 1, threads: 2, algo: Algos::default(), seed: 0 };
    for word in line.split_whitespace() {
        let (name, value) = word.split_once('=')?;
        match name {
            "batch" => setting.batch = value.parse().ok()?,
            "images" => setting.images = value.parse().ok()?,
            "threads" => setting.threads = value.parse().ok()?,
            "algo" => setting.algo = value.parse().ok()?,
            "seed" => setting.seed = value.parse().ok()?,
            _ => return None,
        }
    }
    let (graph, _) = nin_dsl::read(&Source::new("model.nin", model), &[]).ok()?;
    let largest = graph.nodes().iter().map(|node| node.shape.elements()).max()?;
    let fits = graph.macs_total() <= MOST_MACS
        && graph.params_total() <= MOST_MACS
        && largest <= MOST_ELEMENTS
        && (1..=MOST_BATCH).contains(&setting.batch)
        && (1..=setting.batch).contains(&setting.images)
        && (1..=MOST_THREADS).contains(&setting.threads);
    if !fits {
        return None;
    }
    let each = graph.macs_total().max(largest as u64);
    let most = usize::try_from(MOST_WORK / each).expect("below the most work").max(1);
    // A batch that is cut short is still one of its size.
    let images = setting.images.min(most);
    Some((Setting { images, ..setting }, graph))
}

/// Every executor finds the interpreter's numbers, and any number of threads the same bits.
pub(super) fn check() -> Check {
    Box::new(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        let Some((setting, graph)) = parse(&text) else { return Ok(()) };
        match graph.output() {
            Shape::Vector { .. } => gradients(&graph, &setting),
            Shape::Map { .. } => outputs(&graph, &setting),
        }
    })
}

/// Instruction sets and counts of threads: all of the first, and for one of them, which the seed chooses, several of the second.
fn executors(setting: &Setting) -> impl Iterator<Item = (Isa, Vec<usize>)> {
    let available = Isa::available().count() as u64;
    let several = (setting.seed % available) as usize;
    let threads = setting.threads;
    Isa::available().enumerate().map(move |(at, isa)| match at == several {
        true => (isa, vec![1, threads]),
        false => (isa, vec![1]),
    })
}

fn session(
    graph: &Graph,
    setting: &Setting,
    (isa, threads, purpose): (Isa, usize, Purpose),
    weights: &Weights,
) -> Result<Session, String> {
    let options = |batch| Options { batch, threads, isa, purpose, algo: setting.algo.clone() };
    let program = match compile(graph, &options(setting.batch)) {
        // One number has no variance: there is room for a second.
        Err(Error::LoneNumber { .. }) => compile(graph, &options(setting.batch + 1)),
        compiled => compiled,
    };
    let program = program.map_err(|error| format!("{isa}: {error}"))?;
    program.session(weights).map_err(|error| format!("{isa}: {error}"))
}

/// What a program for inference answers, on one thread and on several.
fn forward(
    graph: &Graph,
    setting: &Setting,
    executors: impl Iterator<Item = (Isa, Vec<usize>)>,
    data: &Data,
) -> Result<(), String> {
    let (weights, images) = (&data.weights, data.images.view());
    let expected = oracle::forward(graph, &oracle::arrays(weights), images.mapv(f64::from).view());
    for (isa, counts) in executors {
        let mut first: Option<ArrayD<f32>> = None;
        for threads in counts {
            let mut session = session(graph, setting, (isa, threads, Purpose::Inference), weights)?;
            let output = session.forward(images).map_err(|error| error.to_string())?;
            let what = format!("{isa}, {threads} threads: output");
            close::check(&what, &output.mapv(f64::from), &expected, TOLERANCE)?;
            let one = first.get_or_insert_with(|| output.clone());
            if !same_bits(&*one, &output) {
                return Err(format!("{isa}: other bits on {threads} threads"));
            }
        }
    }
    Ok(())
}

fn same_bits<'a>(
    one: impl IntoIterator<Item = &'a f32>,
    other: impl IntoIterator<Item = &'a f32>,
) -> bool {
    one.into_iter().map(|x| x.to_bits()).eq(other.into_iter().map(|x| x.to_bits()))
}

fn outputs(graph: &Graph, setting: &Setting) -> Result<(), String> {
    let data = Data::draw(graph, setting.images, setting.seed);
    forward(graph, setting, executors(setting), &data)
}

/// Outputs for inference on several threads, and loss and gradients of data that two executors must agree about.
fn gradients(graph: &Graph, setting: &Setting) -> Result<(), String> {
    let drawn = Steady::draw(graph, setting.images, setting.seed, None);
    let Some(steady) = drawn else { return outputs(graph, setting) };
    let Some(expected) = steady.expected(graph) else { return outputs(graph, setting) };
    let Steady { data, exact } = &steady;
    let several = executors(setting).filter(|(_, counts)| counts.len() > 1);
    forward(graph, setting, several, data)?;
    for (isa, counts) in executors(setting) {
        let mut first: Option<Weights> = None;
        for threads in counts {
            let what = format!("{isa}, {threads} threads");
            let mut session =
                session(graph, setting, (isa, threads, Purpose::Training), &data.weights)?;
            let (loss, gradients) = session
                .gradients(data.images.view(), &data.labels)
                .map_err(|error| format!("{what}: {error}"))?;
            close::check_loss(loss, exact.loss).map_err(|error| format!("{what}: {error}"))?;
            let name = format!("{what}: gradient of");
            let judge = |by: &Expected| by.check(graph, &name, &gradients, &Judged::default());
            judge(&expected).or_else(|_| {
                // What more runs do not find steady is not compared.
                steady.expected_by(graph, MANY_RUNS).map_or(Ok(()), |again| judge(&again))
            })?;
            let one = first.get_or_insert_with(|| gradients.clone());
            let numbers = |weights: &Weights| -> Vec<f32> {
                weights.tensors().iter().flat_map(|tensor| tensor.values.clone()).collect()
            };
            if !same_bits(&numbers(one), &numbers(&gradients)) {
                return Err(format!("{what}: other bits than on one"));
            }
        }
    }
    Ok(())
}
