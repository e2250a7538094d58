//! How random cases are run: settings, and what their properties have in common.

use nin_dsl::graph::Graph;
use nin_runtime::compile::{Options, Purpose, compile};
use nin_runtime::compiler::Isa;
use nin_runtime::compiler::plan::{Algo, Algos, Depth};
use nin_runtime::error::Error;
use nin_runtime::run::exec::Session;
use nin_runtime::weights::Weights;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseError};

use crate::close::Judged;
use crate::tally::Tally;

/// Deterministic unless `PROPTEST_RNG_SEED` says otherwise; a multiple of the cases with `PROPTEST_CASES`.
pub(crate) fn config(share: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    let rng_seed = match config.rng_seed {
        RngSeed::Random => RngSeed::Fixed(0),
        fixed @ RngSeed::Fixed(_) => fixed,
    };
    ProptestConfig { cases: config.cases / share, failure_persistence: None, rng_seed, ..config }
}

/// How a case is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// Images the program is compiled for.
    pub(crate) batch: usize,
    /// Images it is given.
    pub(crate) images: usize,
    pub(crate) threads: usize,
    pub(crate) isa: Isa,
    pub(crate) algo: Algo,
    pub(crate) depth: Depth,
    pub(crate) seed: u64,
}

/// Batches up to `most` images, whole and partial.
pub(crate) fn settings(most: usize) -> impl Strategy<Value = Setting> {
    sized((1..=most).prop_flat_map(|batch| (Just(batch), 1..=batch)))
}

/// Batches whose slices are of several chunks, the last of which may have few images or one: beside 128, what `nin train`
/// takes unasked.
const LARGE_BATCHES: [usize; 6] = [65, 127, 128, 129, 200, 300];

/// The same of [`LARGE_BATCHES`].
pub(crate) fn large_settings() -> impl Strategy<Value = Setting> {
    let batch = proptest::sample::select(LARGE_BATCHES.to_vec());
    sized(batch.prop_flat_map(|batch| {
        let images = prop_oneof![2 => Just(batch), 1 => Just(batch - 1), 2 => 1..=batch];
        (Just(batch), images)
    }))
}

fn sized(sizes: impl Strategy<Value = (usize, usize)>) -> impl Strategy<Value = Setting> {
    let isa = proptest::sample::select(Isa::available().collect::<Vec<_>>());
    let algo = proptest::sample::select(Algo::ALL.to_vec());
    // Random models are small: of their own accord few go depth first.
    let depth = prop_oneof![1 => Just(Depth::Auto), 2 => Just(Depth::Always)];
    (sizes, 1..=3usize, isa, (algo, depth), 0..1u64 << 32).prop_map(
        |((batch, images), threads, isa, (algo, depth), seed)| Setting {
            batch,
            images,
            threads,
            isa,
            algo,
            depth,
            seed,
        },
    )
}

impl Setting {
    /// Its algorithms.
    pub(crate) fn algos(self) -> Algos {
        Algos { depth: self.depth, ..Algos::from(self.algo) }
    }

    /// A session of a model. A training that its batch normalisations refuse, with batches of one image, has room for two.
    pub(crate) fn session(self, graph: &Graph, purpose: Purpose, weights: &Weights) -> Session {
        let Setting { batch, threads, isa, .. } = self;
        let options = |batch| Options { batch, threads, isa, purpose, algo: self.algos() };
        let program = match compile(graph, &options(batch)) {
            Err(Error::LoneNumber { .. }) => compile(graph, &options(batch + 1)),
            compiled => compiled,
        };
        program.expect("a program").session(weights).expect("a session")
    }
}

/// The failure of a case, with its model.
pub(crate) fn fail(text: &str) -> impl Fn(String) -> TestCaseError {
    move |what| TestCaseError::fail(format!("{text}\n{what}"))
}

/// Checks a property on random cases; most of them must be compared, and most tensors by their own scale.
pub(crate) fn most_compare(
    share: u32,
    models: impl Strategy<Value = String> + 'static,
    settings: impl Strategy<Value = Setting> + 'static,
    check: impl Fn(&str, Setting, &Judged) -> Result<bool, String>,
) {
    let (cases, judged) = (Tally::default(), Judged::default());
    let (models, settings) = (models.boxed(), settings.boxed());
    proptest!(config(share), |(text in models, setting in settings)| {
        cases.count(check(&text, setting, &judged).map_err(fail(&text))?);
    });
    cases.assert("cases", 80);
    judged.assert();
}
