//! `nin run`: arrays in, arrays out, and gradients; for whoever checks nin against another system.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use nin::data::npy::{self, Array, Expected};
use nin::ndarray::{Array4, ArrayD, Axis, Ix4, s};
use nin::{Model, Options, Purpose, weights};

use super::options::{MachineArgs, ModelArgs, read_weights};
use super::terminal::Terminal;

/// Images a call where there is no gradient to sum over all of them.
const BATCH: usize = 128;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The model's weights.
    #[arg(long, value_name = "W.safetensors")]
    weights: PathBuf,
    /// Images: float32 [N, C, H, W], used as they are.
    #[arg(long, value_name = "X.npy")]
    input: PathBuf,
    /// Where to write the results: float32 [N, ...].
    #[arg(short, long, value_name = "Y.npy")]
    output: PathBuf,
    /// The images' classes: int64 [N]. The mean loss over them goes to standard output: that of a training step, with
    /// dropout off.
    #[arg(long, value_name = "L.npy")]
    labels: Option<PathBuf>,
    /// Where to write the gradient of that loss for every weight.
    #[arg(long, value_name = "G.safetensors", requires = "labels")]
    grads: Option<PathBuf>,
    #[command(flatten)]
    machine: MachineArgs,
}

pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let model = args.model.load(terminal)?;
    let (weights, _) = read_weights(&args.weights, model.graph())?;
    let images = images(&args.input, &model)?;
    let count = images.len_of(Axis(0));
    let labels = args.labels.as_deref().map(|file| labels(file, count, &model)).transpose()?;
    let machine = args.machine.machine();
    let (batch, purpose) = match labels {
        // A gradient is that of the mean over all images.
        Some(_) => (count, Purpose::Training),
        None => (count.min(BATCH), Purpose::Inference),
    };
    let options = Options { batch, threads: machine.threads, isa: machine.isa, purpose };
    let mut session = model.compile(&options)?.session(&weights)?;
    let mut results = vec![];
    for chunk in images.axis_chunks_iter(Axis(0), batch) {
        results.extend(session.forward(chunk)?.iter().copied());
    }
    let dims: Vec<usize> = [count].into_iter().chain(model.graph().output().dims()).collect();
    let results = ArrayD::from_shape_vec(dims, results).expect("every image has a result");
    ndarray_npy::write_npy(&args.output, &results)
        .with_context(|| format!("{}: cannot be written", args.output.display()))?;
    if let Some(labels) = labels {
        let (loss, gradients) = session.gradients(images.slice(s![.., .., .., ..]), &labels)?;
        if let Some(file) = &args.grads {
            weights::save(file, gradients.trained(), None, &std::collections::BTreeMap::new())?;
        }
        let mut out = terminal.results();
        writeln!(out, "{loss}")?;
        out.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Images the model reads.
fn images(file: &Path, model: &Model) -> anyhow::Result<Array4<f32>> {
    const EXPECTED: Expected = Expected { what: "float32 images [N, C, H, W]", dtype: "float32" };
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
