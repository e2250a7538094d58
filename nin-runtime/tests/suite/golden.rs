//! Generated code against what PyTorch computed in float64: stored cases, written by `tests/oracle`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ndarray::{Array4, ArrayD, Ix4, IxDyn};
use nin_dsl::graph::Graph;
use nin_runtime::Hyper;
use nin_runtime::compile::{Options, Purpose, compile};
use nin_runtime::compiler::Isa;
use nin_runtime::compiler::plan::Algo;
use nin_runtime::run::exec::StepParams;
use nin_runtime::weights::{Tensor, Weights};
use safetensors::SafeTensors;
use serde::Deserialize;

use crate::close;
use crate::models::graph;

/// Of a tensor's scale.
const TOLERANCE: f64 = 1e-4;
/// What `SETTINGS` in `tests/oracle/golden.py` says of the steps.
const MOMENTUM: f32 = 0.9;
/// The same, of kernels.
const DECAY: f32 = 0.01;

/// What a stored file's metadata says in JSON.
#[derive(Deserialize)]
struct Words {
    text: String,
    labels: Vec<u32>,
    loss: f64,
    /// The loss before each of some training steps on this batch, and its rate; none of a model with dropout.
    #[serde(default)]
    steps: Vec<(f64, f32)>,
}

/// A stored file.
struct Case {
    words: Words,
    /// `images`, `output`, `weights/NAME` and `gradients/NAME`.
    tensors: BTreeMap<String, ArrayD<f32>>,
}

impl Case {
    fn read(file: &Path) -> Case {
        let bytes = fs::read(file).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let words = serde_json::from_str(&header.metadata().as_ref().unwrap()["case"]).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = file.iter().map(|(name, view)| {
            let numbers = view.data().as_chunks::<4>().0.iter().map(|&x| f32::from_le_bytes(x));
            let array = ArrayD::from_shape_vec(IxDyn(view.shape()), numbers.collect()).unwrap();
            (name.to_owned(), array)
        });
        Case { words, tensors: tensors.collect() }
    }

    fn images(&self) -> Array4<f32> {
        self.tensors["images"].clone().into_dimensionality::<Ix4>().unwrap()
    }

    /// The tensors whose names begin with a prefix, without it.
    fn group<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a ArrayD<f32>)> {
        let tensors = self.tensors.iter();
        tensors.filter_map(move |(name, array)| Some((name.strip_prefix(prefix)?, array)))
    }

    fn weights(&self, graph: &Graph) -> Weights {
        let tensors = self.group("weights/").map(|(name, array)| Tensor {
            name: name.to_owned(),
            dims: array.shape().to_vec(),
            values: array.iter().copied().collect(),
        });
        Weights::from_tensors(graph, tensors).expect("weights that fit")
    }

    fn check(&self, isa: Isa, threads: usize) -> Result<(), String> {
        let graph = graph(&self.words.text);
        let weights = self.weights(&graph);
        let images = self.images();
        for purpose in [Purpose::Inference, Purpose::Training] {
            let options =
                Options { batch: images.dim().0, threads, isa, purpose, algo: Algo::Direct.into() };
            let program = compile(&graph, &options).expect("a program");
            let mut session = program.session(&weights).expect("a session");
            let output = session.forward(images.view()).expect("an output");
            let expected = self.tensors["output"].mapv(f64::from);
            close::check("output", &output.mapv(f64::from), &expected, TOLERANCE)?;
            if purpose == Purpose::Training {
                let labels = &self.words.labels;
                let (loss, found) = session.gradients(images.view(), labels).expect("gradients");
                self.check_step(loss, &found)?;
            }
        }
        Ok(())
    }

    /// Takes the stored steps: every loss tells of all updates before it.
    fn check_steps(&self, isa: Isa, algo: Algo) -> Result<(), String> {
        let graph = graph(&self.words.text);
        let images = self.images();
        let options = Options {
            batch: images.dim().0,
            threads: 2,
            isa,
            purpose: Purpose::Training,
            algo: algo.into(),
        };
        let program = compile(&graph, &options).expect("a program");
        let mut session = program.session(&self.weights(&graph)).expect("a session");
        for (step, &(expected, lr)) in self.words.steps.iter().enumerate() {
            let settings = graph.weights().iter().map(|weight| {
                let decay = if weight.dims.len() > 1 { DECAY } else { 0.0 };
                Hyper { lr, momentum: MOMENTUM, decay }
            });
            let hyper: Vec<Hyper> = settings.collect();
            let params = StepParams { step: step as u64, hyper: &hyper, ..StepParams::default() };
            let outcome = session.step(images.view(), &self.words.labels, &params);
            let found = outcome.expect("a step").loss;
            let off = (found / expected - 1.0).abs();
            if off.is_nan() || off > TOLERANCE {
                return Err(format!("loss after {step} steps: {found} instead of {expected}"));
            }
        }
        Ok(())
    }

    fn check_step(&self, loss: f64, found: &Weights) -> Result<(), String> {
        let scalar = |x| ArrayD::from_elem(IxDyn(&[]), x);
        close::check("loss", &scalar(loss), &scalar(self.words.loss), TOLERANCE)?;
        for (name, expected) in self.group("gradients/") {
            let found = found.get(name).ok_or(format!("no gradient of {name}"))?;
            let values = found.values.iter().map(|&x| f64::from(x)).collect();
            let found = ArrayD::from_shape_vec(IxDyn(&found.dims), values).unwrap();
            close::check(
                &format!("gradient of {name}"),
                &found,
                &expected.mapv(f64::from),
                TOLERANCE,
            )?;
        }
        Ok(())
    }
}

/// Every stored file, with its name.
fn cases() -> Vec<(String, Case)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/golden");
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files.iter().map(|file| (file.display().to_string(), Case::read(file))).collect()
}

#[test]
fn generated_code_is_pytorchs() {
    for (file, case) in cases() {
        for isa in Isa::available() {
            for threads in [1, 2] {
                let checked = case.check(isa, threads);
                checked.unwrap_or_else(|error| panic!("{file}, {isa}: {error}"));
            }
        }
    }
}

#[test]
fn losses_of_training_steps_are_pytorchs() {
    let cases: Vec<_> =
        cases().into_iter().filter(|(_, case)| !case.words.steps.is_empty()).collect();
    assert!(cases.len() >= 3);
    for (file, case) in cases {
        assert!(case.words.steps.len() > 20);
        for isa in Isa::available() {
            for algo in [Algo::Direct, Algo::Auto, Algo::Winograd] {
                let checked = case.check_steps(isa, algo);
                checked.unwrap_or_else(|error| panic!("{file}, {isa}, {algo}: {error}"));
            }
        }
    }
}
