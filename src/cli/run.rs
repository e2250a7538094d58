//! `nin run`: arrays in, arrays out, and gradients; for whoever checks nin against another system.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::ValueHint;
use ndarray_npy::WriteNpyExt as _;
use nin::Machine;
use nin::data::npy::{self, Array, Expected};
use nin::ndarray::{Array4, ArrayD, Axis, Ix4};
use nin::{Algo, Model, Purpose, weights};
use nin_runtime::file::write_atomically;

use super::help::examples;
use super::options::{MachineArgs, ModelArgs, PerfArgs, compiled, keeps_apart, read_weights};
use super::terminal::Terminal;

/// Images a call where there is no gradient to sum over all of them.
const BATCH: usize = 128;

#[derive(clap::Args)]
#[command(after_help = examples(&[
    ("Weights to begin with", "nin init models/digits.nin -o w.safetensors"),
    ("An image of zeros", "python3 -c \"import numpy as n; n.save('x', n.zeros((1,1,28,28), 'f4'))\""),
    ("Its probabilities", "nin run models/digits.nin --weights w.safetensors --input x.npy -o y.npy"),
]))]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The model's weights.
    #[arg(long, value_name = "W.safetensors", value_hint = ValueHint::FilePath)]
    weights: PathBuf,
    /// Images: float32 [N, C, H, W], used as they are.
    #[arg(long, value_name = "X.npy", value_hint = ValueHint::FilePath)]
    input: PathBuf,
    /// Where to write the results: float32 [N, ...].
    #[arg(short, long, value_name = "Y.npy", value_hint = ValueHint::FilePath)]
    output: PathBuf,
    /// The images' classes: int64 [N]. The mean loss over them goes to standard output: that of a training step, with
    /// dropout off.
    #[arg(long, value_name = "L.npy", value_hint = ValueHint::FilePath)]
    labels: Option<PathBuf>,
    /// Where to write the gradient of that loss for every weight.
    #[arg(long, value_name = "G.safetensors", requires = "labels", value_hint = ValueHint::FilePath)]
    grads: Option<PathBuf>,
    #[command(flatten)]
    pub(super) machine: MachineArgs,
    #[command(flatten)]
    perf: PerfArgs,
}

pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let inputs = [&args.model.model, &args.weights, &args.input].into_iter().chain(&args.labels);
    let inputs: Vec<&Path> = inputs.map(PathBuf::as_path).collect();
    keeps_apart(&args.output, &inputs)?;
    if let Some(file) = &args.grads {
        keeps_apart(file, &[&inputs[..], &[&*args.output]].concat())?;
    }
    let model = args.model.load(terminal)?;
    let (weights, _) = read_weights(&args.weights, model.graph(), terminal)?;
    let images = images(&args.input, &model)?;
    if images.iter().any(|pixel| !pixel.is_finite()) {
        terminal.warn(format_args!("{}: not all numbers are finite", args.input.display()));
    }
    let count = images.len_of(Axis(0));
    let labels = args.labels.as_deref().map(|file| labels(file, count, &model)).transpose()?;
    let (batch, purpose) = match labels {
        // A gradient is that of the mean over all images.
        Some(_) => (count, Purpose::Training),
        None => (count.min(BATCH), Purpose::Inference),
    };
    // Whoever runs arrays compares: with another system, or with another algorithm.
    let algo = args.machine.algos(&model, purpose)?.unwrap_or(Algo::Direct.into());
    let machine = Machine { threads: args.machine.threads(), isa: args.machine.isa(), algo };
    let program = model.compile(&machine.options(batch, purpose))?;
    compiled(&program, terminal);
    args.perf.write(&program, terminal)?;
    let mut session = program.session(&weights)?;
    let mut results = vec![];
    for chunk in images.axis_chunks_iter(Axis(0), batch) {
        results.extend(session.forward(chunk)?.iter().copied());
    }
    let dims: Vec<usize> = [count].into_iter().chain(model.graph().output().dims()).collect();
    let results = ArrayD::from_shape_vec(dims, results).expect("every image has a result");
    let gradients = labels.map(|labels| session.gradients(images.view(), &labels)).transpose()?;
    let mut npy = vec![];
    results.write_npy(&mut npy)?;
    write_atomically(&args.output, &npy).with_context(|| args.output.display().to_string())?;
    if let Some((loss, gradients)) = gradients {
        if let Some(file) = &args.grads {
            weights::save(
                file,
                gradients.trained(),
                weights::Moments::default(),
                &BTreeMap::new(),
            )?;
        }
        let mut out = terminal.results();
        writeln!(out, "{loss}")?;
        out.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Images the model reads.
fn images(file: &Path, model: &Model) -> anyhow::Result<Array4<f32>> {
    const EXPECTED: Expected =
        Expected { what: "float32 images [N, C, H, W]", dtype: "float32", levels: false };
    let array = match npy::read(file, EXPECTED)? {
        Array::F32(array) => array,
        other @ (Array::U8(_) | Array::I32(_) | Array::I64(_)) => {
            return Err(EXPECTED.but_found(file, other.dtype()).into());
        }
    };
    let (dims, input) = (array.shape().to_vec(), model.graph().input());
    let Ok(images) = array.into_dimensionality::<Ix4>() else {
        bail!("{}: expected {}, found an array of shape {dims:?}", file.display(), EXPECTED.what);
    };
    if dims[0] == 0 || dims[1..] != input.dims()[..] {
        let [c, h, w] = input.dims()[..] else { unreachable!("an input is a map") };
        bail!(
            "{}: the model reads [N, {c}, {h}, {w}] with N at least 1; the array is {dims:?}",
            file.display()
        );
    }
    Ok(images)
}

/// One class an image.
fn labels(file: &Path, count: usize, model: &Model) -> anyhow::Result<Vec<u32>> {
    let labels = npy::labels(file)?;
    if labels.len() != count {
        bail!(
            "{}: {} labels for {count} images: each image needs one",
            file.display(),
            labels.len()
        );
    }
    let classes = model.graph().output().elements();
    match labels.iter().position(|&label| label as usize >= classes) {
        Some(image) => bail!(
            "{}: image {image} has the label {}; the model has {classes} outputs, so labels are 0 to {}",
            file.display(),
            labels[image],
            classes - 1
        ),
        None => Ok(labels),
    }
}
