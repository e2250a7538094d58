//! How long a forward call, a training step and compiling take, on one thread, so that a change of the code shows and not
//! what else the machine does.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::path::Path;
use std::time::Duration;

use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group,
    criterion_main, measurement::WallTime,
};
use nin::ndarray::Array4;
use nin::train::{Recipe, init};
use nin::{Hyper, Model, Options, Purpose, Session, StepParams};

const MODELS: [&str; 2] = ["digits", "nin-cifar10-caffe"];
const BATCHES: [usize; 3] = [1, 32, 128];

fn model(name: &str) -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    Model::from_file(folder.join(name).with_extension("nin"), &[]).expect("the model is valid")
}

fn options(batch: usize, purpose: Purpose) -> Options {
    Options { batch, threads: 1, purpose, ..Options::default() }
}

fn session(model: &Model, batch: usize, purpose: Purpose) -> Session {
    let program = model.compile(&options(batch, purpose)).expect("the model compiles");
    program.session(&init(model.graph(), &Recipe::default())).expect("there is memory")
}

/// Images with pixels of the size of normalised ones.
fn images(model: &Model, batch: usize) -> Array4<f32> {
    let input = model.graph().input();
    let shape = (batch, input.channels(), input.height(), input.width());
    Array4::from_shape_fn(shape, |(n, c, y, x)| ((n + 7 * c + 3 * y + x) % 17) as f32 / 8.0 - 1.0)
}

/// A group of slow benchmarks, some of a second a call.
fn group<'c>(criterion: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4));
    group
}

fn forward(criterion: &mut Criterion) {
    let mut group = group(criterion, "forward");
    for (name, batch) in MODELS.into_iter().flat_map(|name| BATCHES.map(|batch| (name, batch))) {
        let model = model(name);
        let mut session = session(&model, batch, Purpose::Inference);
        let images = images(&model, batch);
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::new(name, batch), |bencher| {
            bencher.iter(|| session.forward(images.view()).expect("the images fit"));
        });
    }
}

fn train(criterion: &mut Criterion) {
    let mut group = group(criterion, "train");
    for (name, batch) in MODELS.into_iter().flat_map(|name| BATCHES.map(|batch| (name, batch))) {
        let model = model(name);
        let mut session = session(&model, batch, Purpose::Training);
        let images = images(&model, batch);
        let labels: Vec<u32> = (0..batch).map(|image| (image % 10) as u32).collect();
        // Too small a rate to change what is computed.
        let hyper =
            vec![Hyper { lr: 1e-6, momentum: 0.9, decay: 1e-4 }; model.graph().weights().len()];
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::new(name, batch), |bencher| {
            let params = StepParams { seed: 1, hyper: &hyper, ..StepParams::default() };
            bencher.iter(|| session.step(images.view(), &labels, &params).expect("the batch fits"));
        });
    }
}

fn compile(criterion: &mut Criterion) {
    let mut group = group(criterion, "compile");
    for name in MODELS {
        let model = model(name);
        for (what, purpose) in [("infer", Purpose::Inference), ("train", Purpose::Training)] {
            group.bench_function(BenchmarkId::new(name, what), |bencher| {
                bencher.iter(|| model.compile(&options(128, purpose)).expect("the model compiles"));
            });
        }
    }
}

criterion_group!(benches, forward, train, compile);
criterion_main!(benches);
