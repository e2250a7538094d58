//! Single products of convolutions, by instruction set, and the blocks of a network: times of parts of the generated code for
//! one image on one thread. Criterion's elements are floating-point operations, so its `Gelem/s` are GFLOP/s, nominal.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::time::Duration;

use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group,
    criterion_main, measurement::WallTime,
};
use nin::ndarray::Array4;
use nin::train::{Recipe, init};
use nin::{Isa, Model, Options, PartTime, Purpose, Session};
use nin_dsl::graph::Op;
use nin_runtime::compiler::plan::Product;

/// A model's training session, and an image to feed it.
struct Bench {
    session: Session,
    image: Array4<f32>,
}

impl Bench {
    fn new(model: &Model, isa: Isa) -> Bench {
        let purpose = Purpose::Training;
        let options = Options { batch: 1, threads: 1, isa, purpose, ..Options::default() };
        let program = model.compile(&options).expect("the model compiles");
        let graph = model.graph();
        let session = program.session(&init(graph, &Recipe::default())).expect("there is memory");
        let input = graph.input();
        let shape = (1, input.channels(), input.height(), input.width());
        let pixel = |(_, c, y, x)| ((7 * c + 3 * y + x) % 17) as f32 / 8.0 - 1.0;
        Bench { session, image: Array4::from_shape_fn(shape, pixel) }
    }

    /// The median time of every part over a number of runs.
    fn parts(&mut self, runs: usize) -> Vec<PartTime> {
        let parts = self.session.profile_step(self.image.view(), &[0], runs);
        parts.expect("the image fits")
    }

    /// Measures the parts that `wanted` chooses.
    fn measure(
        &mut self,
        group: &mut BenchmarkGroup<'_, WallTime>,
        id: BenchmarkId,
        wanted: impl Fn(&PartTime) -> bool,
    ) {
        let chosen = self.parts(1).into_iter().filter(&wanted);
        let flops: u64 = chosen.map(|part| part.flops).sum();
        assert!(flops > 0, "a product of some part is wanted");
        group.throughput(Throughput::Elements(flops));
        group.bench_function(id, |bencher| {
            bencher.iter_custom(|runs| {
                let parts = self.parts(runs as usize).into_iter();
                let time: Duration = parts.filter(&wanted).map(|part| part.time).sum();
                time * runs as u32
            });
        });
    }
}

/// A group of benchmarks that each take a second or two.
fn group<'c>(criterion: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(800));
    group
}

/// Measures the products of a convolution, its arguments after those that make it `size x size` pixels of some channels.
fn conv(criterion: &mut Criterion, isa: Isa, name: &str, (from, size): (usize, usize), conv: &str) {
    let mut group = group(criterion, &format!("products-{isa}"));
    // Something must ask for the input's gradient, and pools part the convolutions' functions.
    let text = format!(
        "< input(1, {size}, {size}) conv({from}, kernel = 1) maxpool(1, stride = 1) \
         {conv} relu maxpool(1, stride = 1) gap softmax >"
    );
    let model = Model::from_text("product", &text, &[]).expect("the model is valid");
    let mut bench = Bench::new(&model, isa);
    let graph = model.graph();
    let mut convs = graph.ids().filter(|&id| matches!(graph.node(id).op, Op::Conv { .. }));
    let conv = convs.nth(1).expect("the text has two convolutions");
    for product in Product::ALL {
        // Transforms too, where it works in Winograd's domain.
        let wanted = |part: &PartTime| part.products.contains(&(conv, product));
        let id = BenchmarkId::new(product.word(), format!("{name} {size}px"));
        bench.measure(&mut group, id, wanted);
    }
}

/// A convolution `kernel x kernel` from some channels to others on `size x size` pixels; then one in groups, and two depthwise
/// ones of MobileNet's sizes.
fn products(criterion: &mut Criterion) {
    let convolutions =
        [(1, 16, 192, 192), (1, 16, 192, 160), (1, 16, 192, 10), (5, 16, 96, 192), (3, 8, 37, 37)];
    for isa in Isa::available() {
        for (kernel, size, from, to) in convolutions {
            let name = format!("{kernel}x{kernel} {from}-{to}");
            let text = format!("conv({to}, kernel = {kernel}, pad = same)");
            conv(criterion, isa, &name, (from, size), &text);
        }
        let grouped = "conv(128, groups = 4)";
        conv(criterion, isa, "3x3 128-128 in 4 groups", (128, 28), grouped);
        conv(criterion, isa, "depthwise 3x3 96", (96, 56), "depthwise");
        conv(criterion, isa, "depthwise 3x3 s2 144", (144, 56), "depthwise(stride = 2)");
    }
}

/// The blocks of a training step of the network that is compared with other systems, forward and backward.
fn blocks(criterion: &mut Criterion) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/models/nin-cifar10-caffe.nin");
    let model = Model::from_file(path, &[]).expect("the model is valid");
    let mut bench = Bench::new(&model, Isa::Auto);
    let multiply = bench.parts(1).into_iter().filter(|part| part.flops > 0);
    let mut names: Vec<String> = multiply.map(|part| part.name).collect();
    names.dedup();
    let mut group = group(criterion, "blocks");
    for name in names {
        bench.measure(&mut group, BenchmarkId::from_parameter(&name), |part| part.name == name);
    }
}

criterion_group!(benches, products, blocks);
criterion_main!(benches);
