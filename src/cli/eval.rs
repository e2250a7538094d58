//! `nin eval`: accuracy, loss and confusion on a dataset.

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::ensure;
use clap::{ValueEnum, ValueHint};
use nin::Purpose;
use nin::data::{Preparation, Spec};
use nin::train::{Evaluation, Evaluator};
use serde_json::json;

use super::amounts::grouped;
use super::help::examples;
use super::options::{MachineArgs, ModelArgs, PerfArgs, batch, read_weights};
use super::terminal::Terminal;
use super::train::load;
use super::visible::visible;

#[derive(clap::Args)]
#[command(after_help = examples(&[
    ("On images that training has not seen", "nin eval models/digits.nin --data mnist-10k \\\n    --weights runs/Digits-1/last.safetensors"),
    ("On those it has, for a program to read", "nin eval models/digits.nin --data mnist-10k --split train --json \\\n    --weights runs/Digits-1/last.safetensors"),
]))]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The model's weights.
    #[arg(long, value_name = "W.safetensors", value_hint = ValueHint::FilePath)]
    weights: PathBuf,
    /// The dataset: `mnist-10k`, or a kind and a folder: `mnist:DIR`, `cifar10:DIR`, `cifar100:DIR`, `svhn:DIR`; your own
    /// as `images:DIR` or `npy:DIR`.
    #[arg(long, value_name = "DATA")]
    data: Spec,
    /// Which of its images.
    #[arg(long, value_name = "SPLIT", value_enum, default_value_t)]
    split: Which,
    /// Images a call.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = batch(), allow_negative_numbers = true)]
    batch: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) machine: MachineArgs,
    #[command(flatten)]
    perf: PerfArgs,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Which {
    /// The images it was trained on.
    Train,
    /// The images held back.
    #[default]
    Test,
}

pub(crate) fn eval(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let model = args.model.load(terminal)?;
    let (weights, info) = read_weights(&args.weights, model.graph(), terminal)?;
    let data = load(&args.data, terminal)?;
    data.check(model.graph())?;
    let split = match args.split {
        Which::Train => data.train(),
        Which::Test => data.test(),
    };
    let preparation = match info.preparation(&args.weights)? {
        Some(preparation) => preparation,
        None => {
            terminal.note(format_args!(
                "{} does not say how its images were normalised; those of {} are normalised by themselves",
                args.weights.display(),
                data.name()
            ));
            Preparation::Normalised(data.normalisation().clone())
        }
    };
    preparation.check(data.shape())?;
    let known = info.classes.iter().flatten().zip(data.classes());
    if let Some((number, (known, found))) = known.enumerate().find(|(_, (a, b))| a != b) {
        terminal.warn(format_args!(
            "class {number} is `{known}` to the weights and `{found}` in {}: classes are compared by their numbers",
            data.name()
        ));
    }
    let machine = args.machine.machine(&model, Purpose::Inference)?;
    let mut evaluator = Evaluator::new(model.graph(), &weights, args.batch, &machine)?;
    args.perf.write(evaluator.program(), terminal)?;
    let all: Vec<u32> = (0..).take(split.len()).collect();
    let evaluation = evaluator.evaluate(split, &all, &preparation)?;
    ensure!(
        evaluation.loss.is_finite(),
        "the loss is not finite: the model's outputs overflow with the weights of {}",
        args.weights.display()
    );
    let mut out = terminal.results();
    if args.json {
        let object = json!({
            "accuracy": evaluation.accuracy(),
            "loss": evaluation.loss,
            "images": evaluation.images,
            "confusion": evaluation.confusion,
            "per_class": evaluation.per_class(),
        });
        writeln!(out, "{object}")?;
    } else {
        let classes: Vec<Cow<'_, str>> = data.classes().iter().map(|name| visible(name)).collect();
        table(&mut out, &evaluation, &classes)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The figures, and the confusion matrix while it fits a screen; of more classes the accuracy of each.
fn table(
    out: &mut impl Write,
    evaluation: &Evaluation,
    classes: &[Cow<'_, str>],
) -> io::Result<()> {
    const SCREEN: usize = 20;
    let (accuracy, images) = (100.0 * evaluation.accuracy(), grouped(evaluation.images as u64));
    writeln!(out, "accuracy {accuracy:.2} %, loss {:.4}, {images} images", evaluation.loss)?;
    if classes.len() > SCREEN {
        let width = classes.iter().map(|class| class.chars().count()).max().unwrap_or(0);
        writeln!(out)?;
        for (class, share) in classes.iter().zip(evaluation.per_class()) {
            writeln!(out, "{class:width$}  {:6.2} %", 100.0 * share)?;
        }
        return Ok(());
    }
    let counts = evaluation.confusion.iter().flatten().map(u64::to_string);
    let width = counts.chain(classes.iter().map(|name| name.to_string()));
    let width = width.map(|text| text.chars().count()).max();
    let width = width.unwrap_or(1);
    write!(out, "\n{:>width$} ", "")?;
    for class in classes {
        write!(out, " {class:>width$}")?;
    }
    writeln!(out, "  <- predicted")?;
    for ((class, row), share) in
        classes.iter().zip(&evaluation.confusion).zip(evaluation.per_class())
    {
        write!(out, "{class:>width$} ")?;
        for count in row {
            write!(out, " {count:>width$}")?;
        }
        writeln!(out, "  {:6.2} %", 100.0 * share)?;
    }
    Ok(())
}
