//! Steps through the C interface: the weights, momentum, losses and hits of a session's, bit for bit.

use std::ffi::{c_int, c_void};
use std::fs;

use nin_dsl::graph::Graph;
use nin_runtime::Hyper;
use nin_runtime::compile::{Options, Purpose, compile};
use nin_runtime::compiler::Isa;
use nin_runtime::compiler::plan::Algos;
use nin_runtime::error::Error;
use nin_runtime::export::{About, Contents, Library};
use nin_runtime::run::exec::{Session, StepParams};
use nin_runtime::weights::Weights;

use super::guarded::{Guarded, Side, UNWRITTEN};
use super::{SMALL, choices, given, given_tensors, options, places, shipped};
use crate::data::Data;
use crate::models::graph;

/// Its slices are of three chunks, the last of one image.
const BATCH: usize = 129;
const SEED: u64 = 11;

/// `NAME_rates`.
#[repr(C)]
pub(super) struct Rates {
    pub(super) rate: f32,
    pub(super) momentum: f32,
    pub(super) decay: f32,
}

/// `NAME_settings`.
#[repr(C)]
pub(super) struct Settings {
    pub(super) rates: *const Rates,
    pub(super) seed: u64,
    pub(super) step: u64,
    pub(super) clip: f32,
}

pub(super) type Load =
    unsafe extern "C" fn(*mut c_void, *const *const f32, *const *const f32, *mut c_void);
type Save = unsafe extern "C" fn(*const c_void, *const *mut f32, *const *mut f32);
pub(super) type Forward = super::ForwardPassed;
pub(super) type Step = unsafe extern "C" fn(
    *mut c_void,
    *const f32,
    *const u32,
    usize,
    *const Settings,
    *mut f32,
    *mut u32,
    *mut c_void,
) -> c_int;

/// A training in a loaded library, and memory with a closed page at one side of it.
struct Training {
    library: libloading::Library,
    side: Side,
    state: Guarded,
    workspace: Guarded,
}

/// A step's losses and hits.
type Outcome = (Vec<f32>, Vec<u32>);

impl Training {
    /// Compiles, loads and begins with weights, and momentum or none.
    fn begin(
        graph: &Graph,
        (isas, algo): (&[Isa], &Algos),
        weights: &Weights,
        momentum: Option<&Weights>,
        side: Side,
    ) -> Training {
        let options = options(isas, BATCH, algo);
        let library = Library::compile(graph, Contents::Training, &About::default(), &options);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("net.so");
        fs::write(&file, library.unwrap().shared_library().unwrap()).unwrap();
        let weights = given_tensors(weights, side);
        let momentum = momentum.map(|momentum| given_tensors(momentum, side));
        // SAFETY: as in `by_library`.
        unsafe {
            let library = libloading::Library::new(&file).unwrap();
            let memory = |name: &str| {
                let bytes = library.get::<unsafe extern "C" fn() -> usize>(name).expect(name);
                Guarded::new(bytes(), side, UNWRITTEN)
            };
            let (mut state, mut workspace) =
                (memory("net_state_bytes"), memory("net_workspace_bytes"));
            let momentum = momentum.as_deref().map(places);
            let momentum = momentum.as_ref().map_or(std::ptr::null(), |tensors| tensors.as_ptr());
            let load = library.get::<Load>("net_load").unwrap();
            let (tensors, room) = (places(&weights), workspace.as_mut_ptr().cast());
            load(state.as_mut_ptr().cast(), tensors.as_ptr(), momentum, room);
            Training { library, side, state, workspace }
        }
    }

    fn step(
        &mut self,
        data: &Data,
        n: usize,
        labels: &[u32],
        params: &StepParams<'_>,
    ) -> Result<Outcome, ()> {
        // Three numbers of each tensor are its [`Rates`].
        let rates = params.hyper.iter().flat_map(|hyper| [hyper.lr, hyper.momentum, hyper.decay]);
        let rates = given(&rates.collect::<Vec<f32>>(), self.side);
        let (seed, step) = (params.seed, params.step);
        let clip = params.clip.unwrap_or(0.0);
        let settings = Settings { rates: rates.as_ptr().cast(), seed, step, clip };
        let numbers = n * data.images.len() / data.images.dim().0;
        let images = data.images.as_slice().unwrap();
        let images = given(&images[..numbers.min(images.len())], self.side);
        let labels = Guarded::copy(labels, self.side);
        let mut losses = Guarded::new(4 * n, self.side, UNWRITTEN);
        let mut correct = Guarded::new(4 * n, self.side, UNWRITTEN);
        // SAFETY: as in `by_library`.
        let returned = unsafe {
            self.library.get::<Step>("net_step").unwrap()(
                self.state.as_mut_ptr().cast(),
                images.as_ptr().cast(),
                labels.as_ptr().cast(),
                n,
                &raw const settings,
                losses.as_mut_ptr().cast(),
                correct.as_mut_ptr().cast(),
                self.workspace.as_mut_ptr().cast(),
            )
        };
        let losses = losses.words().iter().map(|&bits| f32::from_bits(bits)).collect();
        if returned == 0 { Ok((losses, correct.words().to_vec())) } else { Err(()) }
    }

    /// Weights and momentum.
    fn save(&self, graph: &Graph) -> [Weights; 2] {
        let mut saved = [(); 2].map(|()| given_tensors(&Weights::zeros(graph), self.side));
        let pointers = saved.each_mut().map(|tensors| -> Vec<*mut f32> {
            tensors.iter_mut().map(|tensor| tensor.as_mut_ptr().cast()).collect()
        });
        // SAFETY: as in `by_library`.
        unsafe {
            let save = self.library.get::<Save>("net_save").unwrap();
            save(self.state.as_ptr().cast(), pointers[0].as_ptr(), pointers[1].as_ptr());
        }
        saved.map(|tensors| {
            let mut weights = Weights::zeros(graph);
            for (values, tensor) in weights.values_mut().zip(&tensors) {
                let floats = tensor.words().iter().map(|&bits| f32::from_bits(bits));
                values.copy_from_slice(&floats.collect::<Vec<f32>>());
            }
            weights
        })
    }

    fn forward(&mut self, graph: &Graph, data: &Data) -> Vec<f32> {
        let images = given(data.images.as_slice().unwrap(), self.side);
        let mut results = Guarded::new(4 * BATCH * graph.output().elements(), self.side, UNWRITTEN);
        // SAFETY: as in `by_library`.
        unsafe {
            self.library.get::<Forward>("net_forward").unwrap()(
                images.as_ptr().cast(),
                results.as_mut_ptr().cast(),
                BATCH,
                self.state.as_ptr().cast(),
                self.workspace.as_mut_ptr().cast(),
            );
        }
        results.words().iter().map(|&bits| f32::from_bits(bits)).collect()
    }
}

fn session(graph: &Graph, isa: Isa, algo: &Algos, weights: &Weights) -> Session {
    let (purpose, algo) = (Purpose::Training, algo.clone());
    let options = Options { batch: BATCH, threads: 2, isa, purpose, algo };
    compile(graph, &options).unwrap().session(weights).unwrap()
}

fn hyper(graph: &Graph) -> Vec<Hyper> {
    let of_tensor = |index| Hyper { lr: 0.05 + 0.01 * index as f32, momentum: 0.9, decay: 1e-3 };
    (0..graph.weights().len()).map(of_tensor).collect()
}

fn bits(weights: &Weights) -> Vec<Vec<u32>> {
    let of_tensor =
        |tensor: &nin_runtime::weights::Tensor| tensor.values.iter().map(|x| x.to_bits()).collect();
    weights.tensors().iter().map(of_tensor).collect()
}

/// Steps with whole and partial batches, clipped and not.
fn agree(name: &str, graph: &Graph, isa: Isa, isas: &[Isa], algo: &Algos) {
    Side::ALL.into_iter().for_each(|side| agree_at(side, name, graph, isa, (isas, algo)));
}

fn agree_at(side: Side, name: &str, graph: &Graph, isa: Isa, (isas, algo): (&[Isa], &Algos)) {
    let data = Data::draw(graph, BATCH, 12);
    let mut session = session(graph, isa, algo, &data.weights);
    let mut training = Training::begin(graph, (isas, algo), &data.weights, None, side);
    let hyper = hyper(graph);
    for (step, (n, clip)) in
        [(BATCH, None), (70, Some(0.05)), (1, Some(1e9))].into_iter().enumerate()
    {
        let params = StepParams {
            step: step as u64,
            seed: SEED,
            hyper: &hyper,
            clip,
            ..StepParams::default()
        };
        let images = data.images.slice(ndarray::s![..n, .., .., ..]);
        let labels = &data.labels[..n];
        let expected = session.step(images, labels, &params).unwrap();
        let (losses, correct) = training.step(&data, n, labels, &params).unwrap();
        let loss = losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / n as f64;
        assert_eq!(loss.to_bits(), expected.loss.to_bits(), "{name} {isa} {algo}, step {step}");
        assert_eq!(correct.iter().sum::<u32>() as usize, expected.correct, "{name} {isa} {algo}");
        let [weights, momentum] = training.save(graph);
        assert!(bits(&weights) == bits(&session.weights()), "{name} {isa} {algo}, step {step}");
        assert!(
            bits(&momentum) == bits(&session.momentum().unwrap()),
            "{name} {isa} {algo}, step {step}"
        );
    }
    let expected = session.forward(data.images.view()).unwrap();
    let found = training.forward(graph, &data);
    assert!(
        found.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits()),
        "{name} {isa} {algo}"
    );
}

#[test]
fn steps_of_libraries_are_those_of_sessions() {
    let joined = "< input(2, 6, 5) conv(6) batchnorm relu add < conv(6) dropout(0.3) > < > < conv(6) batchnorm > relu
        concat < conv(3) elu > < > mul < > < gap fc(9) > fc(3) >";
    let dropping = "< input(1, 9, 14) conv(6, kernel = 4, stride = 2, pad = 1, bias = 0) relu maxpool(2, stride = 1)
        dropout(0.2) fc(20) elu dropout(0.5) fc(5) softmax >";
    // On a vector and on a map of one pixel, where one image leaves running statistics as they are.
    let normalising =
        "< input(2, 5, 5) conv(6, kernel = 5, pad = 0) batchnorm relu fc(20) batchnorm fc(3) >";
    // Groups that are chunks, the last of one image more, and groups of several sizes.
    let grouping = "< input(2, 6, 5) conv(9) batchnorm(ghost = 8) relu add < conv(9) batchnorm(ghost = 8) > < > gap
        batchnorm(ghost = 8) fc(3) >";
    let apart = "< input(2, 4, 5) batchnorm(ghost = 2) conv(6) lrn(3, alpha = 1.0) batchnorm(ghost = 10) relu gmp batchnorm fc(3) >";
    let auto = Algos::default();
    for isa in Isa::available() {
        agree("grouping", &graph(grouping), isa, &[isa], &auto);
        agree("apart", &graph(apart), isa, &[isa], &auto);
        agree("normalising", &graph(normalising), isa, &[isa], &auto);
        agree("small", &graph(SMALL), isa, &[isa], &auto);
        agree("dropping", &graph(dropping), isa, &[isa], &auto);
        agree("joined", &graph(joined), isa, &[isa], &auto);
    }
    let best = Isa::available().last().unwrap();
    for algo in choices().iter().chain([&auto]) {
        agree("digits", &shipped("digits.nin"), best, &[best], algo);
    }
    if best == Isa::Avx512 {
        let isas = [Isa::Portable, Isa::Avx2, Isa::Avx512];
        agree("dispatching", &shipped("digits.nin"), best, &isas, &auto);
    }
}

#[test]
fn a_training_goes_on_where_another_stopped() {
    let graph = graph(SMALL);
    let data = Data::draw(&graph, BATCH, 13);
    let hyper = hyper(&graph);
    let step = |training: &mut Training, step| {
        let params = StepParams { step, seed: SEED, hyper: &hyper, ..StepParams::default() };
        training.step(&data, BATCH, &data.labels, &params).unwrap();
    };
    let code = (&[Isa::Portable][..], &Algos::default());
    let mut whole = Training::begin(&graph, code, &data.weights, None, Side::Last);
    step(&mut whole, 0);
    let [weights, momentum] = whole.save(&graph);
    let mut resumed = Training::begin(&graph, code, &weights, Some(&momentum), Side::Last);
    step(&mut whole, 1);
    step(&mut resumed, 1);
    assert!(whole.save(&graph).map(|w| bits(&w)) == resumed.save(&graph).map(|w| bits(&w)));
}

#[test]
fn a_step_that_makes_no_sense_changes_nothing() {
    let graph = graph(SMALL);
    let data = Data::draw(&graph, BATCH, 14);
    let code = (&[Isa::Portable][..], &Algos::default());
    let mut training = Training::begin(&graph, code, &data.weights, None, Side::Last);
    let before = training.save(&graph).map(|weights| bits(&weights));
    let hyper = hyper(&graph);
    let params = StepParams { seed: SEED, hyper: &hyper, ..StepParams::default() };
    let many = vec![0; BATCH + 1];
    assert!(training.step(&data, 0, &data.labels, &params).is_err());
    assert!(training.step(&data, BATCH + 1, &many, &params).is_err());
    assert!(training.step(&data, 2, &[0, 4], &params).is_err());
    assert!(training.step(&data, 2, &[u32::MAX, 0], &params).is_err());
    assert!(training.save(&graph).map(|weights| bits(&weights)) == before);
}

#[test]
fn a_model_that_yields_maps_is_not_trained() {
    let graph = graph("< input(2, 7, 9) conv(7) >");
    let options = options(&[Isa::Portable], BATCH, &Algos::default());
    let compiled = Library::compile(&graph, Contents::Training, &About::default(), &options);
    assert!(matches!(compiled.err(), Some(Error::NotClassifier { .. })));
}
