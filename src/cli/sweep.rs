//! `nin sweep`: trains every variant of one or more models with several seeds, and sets them side by side.

mod plot;

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::ValueHint;
use nin::data::Spec;
use nin::train::{Event, Outcome, Recipe, RunFolder};

use nin::Machine;
use nin::{Dataset, Model, Number, Purpose, Trainer};
use nin_runtime::file::write_atomically;
use serde_json::Value;

use super::INTERRUPTED;
use super::amounts::grouped;
use super::help::examples;
use super::options::{MODEL_OPTIONS, MachineArgs, ModelArgs, Usage, VariantArgs, kept_data, whole};
use super::progress::Progress;
use super::signals::Stop;
use super::terminal::Terminal;
use super::train::load;
use super::variants::{Axis, titled, variants};

/// Most seeds of a variant.
const MOST_SEEDS: u64 = 100;

#[derive(clap::Args)]
#[command(after_help = examples(&[
    ("Two widths, each from two seeds", "nin sweep models/digits.nin -D width=8,12 --seeds 2 --epochs 1 \\\n    --data mnist-10k --out runs/widths"),
    ("With a plot of their test errors", "nin sweep models/digits.nin -D width=8,12 --seeds 2 --epochs 1 \\\n    --data mnist-10k --out runs/widths --plot widths.svg"),
]))]
pub(crate) struct Args {
    /// The models' files.
    #[arg(value_name = "MODEL.nin", required = true, value_hint = ValueHint::FilePath)]
    models: Vec<PathBuf>,
    /// Values for a parameter that every model has; may be repeated.
    #[arg(short = 'D', value_name = "NAME=A,B,...", value_parser = Axis::parse, help_heading = MODEL_OPTIONS)]
    define: Vec<Axis>,
    /// The dataset: `mnist-10k`, or a kind and a folder: `mnist:DIR`, `cifar10:DIR`, `cifar100:DIR`, `svhn:DIR`; your own
    /// as `images:DIR` or `npy:DIR`.
    #[arg(long, value_name = "DATA")]
    data: Spec,
    /// Settings of every run.
    #[arg(long, value_name = "R.toml", value_hint = ValueHint::FilePath)]
    recipe: Option<PathBuf>,
    /// How often every training image is seen.
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1..=u64::from(u32::MAX)), allow_negative_numbers = true)]
    epochs: Option<u32>,
    /// How many seeds each variant is trained from: that of the recipe and the ones after it.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u64>(1..=MOST_SEEDS), allow_negative_numbers = true)]
    seeds: u64,
    /// Folder for the runs, a folder each; runs that are in it already are gone on with.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: PathBuf,
    /// Draw test errors over the epochs.
    #[arg(long, value_name = "PLOT.svg", value_hint = ValueHint::FilePath)]
    plot: Option<PathBuf>,
    #[command(flatten)]
    pub(super) machine: MachineArgs,
}

/// A model that is trained from several seeds.
struct Variant {
    title: String,
    model: Model,
    runs: Vec<Run>,
}

/// What came of a seed.
struct Run {
    /// Test error after each epoch, as a share.
    errors: Vec<f64>,
    seconds: f64,
}

pub(crate) fn sweep(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let mut all = models(args, terminal)?;
    let recipe = args.recipe.as_deref().map(Recipe::from_file).transpose()?.unwrap_or_default();
    let recipe = Recipe {
        data: Some(kept_data(&args.data)?),
        epochs: args.epochs.unwrap_or(recipe.epochs),
        ..recipe
    };
    recipe.check()?;
    let data = load(&args.data, terminal)?;
    for variant in &all {
        data.check(variant.model.graph())?;
        recipe.check_layers(variant.model.graph())?;
    }
    let stop = Stop::on_signals(*terminal)?;
    let total = all.len() as u64 * args.seeds;
    let machines = all.iter().map(|one| args.machine.machine(&one.model, Purpose::Training));
    let machines: Vec<Machine> = machines.collect::<anyhow::Result<_>>()?;
    let mut done = 0;
    for (variant, machine) in all.iter_mut().zip(&machines) {
        for seed in (0..args.seeds).map(|seed| recipe.seed.saturating_add(seed)) {
            if stop.is_asked() {
                return Ok(stopped(&stop, terminal));
            }
            done += 1;
            terminal.note(format_args!("{}, seed {seed} ({done} of {total})", variant.title));
            let recipe = Recipe { seed, ..recipe.clone() };
            let folder = args.out.join(format!("{}-seed{seed}", file_name(&variant.title)));
            terminal.detail(format_args!("run folder {}", folder.display()));
            match train(&folder, &variant.model, &data, recipe, machine.clone(), &stop, terminal)? {
                Some(run) => variant.runs.push(run),
                None => return Ok(stopped(&stop, terminal)),
            }
        }
    }
    if let Some(file) = &args.plot {
        let svg = plot::plot(data.name(), &all)?;
        write_atomically(file, svg.as_bytes()).with_context(|| file.display().to_string())?;
    }
    let mut out = terminal.results();
    table(&mut out, &all)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn stopped(stop: &Stop, terminal: &Terminal) -> ExitCode {
    stop.done();
    terminal.note("stopped; the same command goes on with it");
    ExitCode::from(INTERRUPTED)
}

/// Every variant of every model, titled by its model's name where there are several.
fn models(args: &Args, terminal: &Terminal) -> anyhow::Result<Vec<Variant>> {
    let mut all: Vec<Variant> = vec![];
    for file in &args.models {
        let variant = VariantArgs { define: vec![], deny_warnings: false };
        let args_of = ModelArgs { model: file.clone(), variant };
        for found in variants(&args_of, &args.define, terminal)? {
            let name = found.model.graph().name().to_owned();
            // What all variants have in common does not tell them apart.
            let told = args.define.iter().zip(&found.values);
            let told = told.filter(|(axis, _)| axis.values.len() > 1);
            let (axes, values): (Vec<Axis>, Vec<Number>) =
                told.map(|(axis, &value)| (axis.clone(), value)).unzip();
            let swept = titled(&axes, &values);
            let title = if swept.is_empty() { name } else { format!("{name} {swept}") };
            if all.iter().any(|other| other.title == title) {
                return Err(Usage(format!(
                    "there are two models `{title}`: give them other names"
                ))
                .into());
            }
            all.push(Variant { title, model: found.model, runs: vec![] });
        }
    }
    Ok(all)
}

/// `Gap width = 8` as the name of a folder: `Gap-width=8`.
fn file_name(title: &str) -> String {
    title.replace(" = ", "=").replace(", ", ",").replace(' ', "-")
}

/// Trains one run to its end, from where its folder has it; `None` if it was stopped.
fn train(
    folder: &Path,
    model: &Model,
    data: &Dataset,
    recipe: Recipe,
    machine: Machine,
    stop: &Stop,
    terminal: &Terminal,
) -> anyhow::Result<Option<Run>> {
    let mut trainer = match RunFolder::open(folder) {
        Ok(found) => {
            let kept = found.recipe()?;
            // Data may have been moved; whether they are the same, their digest says.
            let same = Recipe { data: recipe.data.clone(), ..kept.clone() } == recipe;
            if !same || found.model()?.resolved_text() != model.resolved_text() {
                bail!(
                    "{} holds a run of another model or recipe: choose another folder by `--out`",
                    folder.display()
                );
            }
            let mut trainer = Trainer::resume(found, data, machine.threads)?;
            if let Some(data) = recipe.data.filter(|data| Some(data) != kept.data.as_ref()) {
                trainer.rename_data(&data)?;
            }
            trainer
        }
        Err(_) => {
            let mut trainer = Trainer::with_machine(model, data, recipe, machine)?;
            trainer.record_in(RunFolder::create(folder)?)?;
            trainer
        }
    };
    let kept = trainer.folder().expect("every run of a sweep is kept").clone();
    let mut progress = Progress::new(terminal, &trainer);
    let outcome = trainer.run(|event: &Event| {
        progress.show(event, terminal);
        match stop.is_asked() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    progress.clear();
    match outcome? {
        Outcome::Stopped => Ok(None),
        Outcome::Finished => Ok(Some(read(&kept)?)),
    }
}

/// The lines about epochs of a run's metrics.
fn read(folder: &RunFolder) -> anyhow::Result<Run> {
    let text = folder.read_metrics()?;
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut run = Run { errors: vec![], seconds: 0.0 };
    for line in lines {
        if let (Some(accuracy), Some(seconds)) =
            (line["test_accuracy"].as_f64(), line["seconds"].as_f64())
        {
            run.errors.push(1.0 - accuracy);
            run.seconds += seconds;
        }
    }
    Ok(run)
}

/// Mean and deviation (of samples; 0 of one).
fn spread(numbers: &[f64]) -> (f64, f64) {
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let squares: f64 = numbers.iter().map(|x| (x - mean).powi(2)).sum();
    (mean, if numbers.len() > 1 { (squares / (count - 1.0)).sqrt() } else { 0.0 })
}

fn table(out: &mut impl Write, variants: &[Variant]) -> io::Result<()> {
    let width = variants.iter().map(|variant| variant.title.chars().count()).max();
    let width = width.unwrap_or(0).max("variant".len());
    writeln!(
        out,
        "{:width$}  {:>11}  {:>5}  {:>16}  {:>15}  {:>9}",
        "variant", "params", "seeds", "test error", "from - to", "s a run"
    )?;
    for Variant { title, model, runs } in variants {
        let errors: Vec<f64> =
            runs.iter().filter_map(|run| run.errors.last()).map(|error| 100.0 * error).collect();
        let (mean, deviation) = spread(&errors);
        let least = errors.iter().copied().fold(f64::INFINITY, f64::min);
        let most = errors.iter().copied().fold(0.0, f64::max);
        let seconds = runs.iter().map(|run| run.seconds).sum::<f64>() / runs.len() as f64;
        let error = format!("{mean:.2} ± {deviation:.2} %");
        let range = format!("{least:.2} - {most:.2} %");
        let params = grouped(model.graph().params_total());
        writeln!(
            out,
            "{title:width$}  {params:>11}  {:>5}  {error:>16}  {range:>15}  {seconds:>9.1}",
            runs.len()
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_is_that_of_samples() {
        assert_eq!(spread(&[3.0]), (3.0, 0.0));
        assert_eq!(spread(&[1.0, 2.0, 3.0]), (2.0, 1.0));
        assert_eq!(file_name("Gap width = 8, p = 0.5"), "Gap-width=8,p=0.5");
    }
}
