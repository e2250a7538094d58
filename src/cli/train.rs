//! `nin train`: from a model and a dataset to weights, or on with a run that was stopped.

mod resume;

use std::io::{ErrorKind, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueHint;
use nin::data::{Preprocessing, Spec};
use nin::train::{Event, Outcome, Recipe, RunFolder, TrainError};

use nin::Machine;
use nin::{Dataset, Model, Purpose, Trainer};

use super::help::examples;
use super::options::{
    MachineArgs, PerfArgs, Usage, VariantArgs, batch, kept_data, kept_path, read_weights, seed,
    whole,
};
use super::progress::Progress;
use super::signals::Stop;
use super::terminal::Terminal;
use super::{INTERRUPTED, amounts, report};

/// Where runs go if not told otherwise.
const RUNS: &str = "runs";

#[derive(clap::Args)]
#[command(after_help = examples(&[
    ("Digits that ship inside nin, in under a minute", "nin train models/digits.nin --data mnist-10k"),
    ("Wider and longer, the best weights chosen on a tenth of the images", "nin train models/digits.nin -D width=32 --data mnist-10k --epochs 20 \\\n    --val 0.1"),
    ("Go on with a run that was stopped", "nin train --resume runs/Digits-1"),
]))]
pub(crate) struct Args {
    /// The model's file; with `--resume` it may be left out, and must be the run's model if it is not.
    #[arg(value_name = "MODEL.nin", required_unless_present = "resume", value_hint = ValueHint::FilePath)]
    model: Option<PathBuf>,
    #[command(flatten)]
    variant: VariantArgs,
    /// The dataset: `mnist-10k`, or a kind and a folder: `mnist:DIR`, `cifar10:DIR`, `cifar100:DIR`, `svhn:DIR`; your own
    /// as `images:DIR` or `npy:DIR`.
    #[arg(long, value_name = "DATA")]
    data: Option<Spec>,
    /// Settings to start from; other options override them.
    #[arg(long, value_name = "R.toml", value_hint = ValueHint::FilePath)]
    recipe: Option<PathBuf>,
    /// How often every training image is seen.
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1..=u64::from(u32::MAX)), allow_negative_numbers = true)]
    epochs: Option<u32>,
    /// Images a step.
    #[arg(long, value_name = "N", value_parser = batch(), allow_negative_numbers = true)]
    batch: Option<usize>,
    /// Learning rate.
    #[arg(long, value_name = "X", value_parser = positive, allow_negative_numbers = true)]
    lr: Option<f64>,
    /// Seed of initial weights, order and dropout.
    #[arg(long, value_name = "N", value_parser = seed(), allow_negative_numbers = true)]
    seed: Option<u64>,
    /// Begin again with the next seed, at most N times, if the loss is that of guessing for a hundred steps, or if for three
    /// epochs every test image gets the same answer or an output is zero on all of them.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole::<u32>(0..=1000), allow_negative_numbers = true)]
    reseed: u32,
    /// Share of the training images held back to choose the best weights by.
    #[arg(long, value_name = "FRACTION", value_parser = share, allow_negative_numbers = true)]
    val: Option<f64>,
    /// Start from these weights in place of fresh ones.
    #[arg(long, value_name = "W.safetensors", value_hint = ValueHint::FilePath)]
    weights: Option<PathBuf>,
    /// Folder to keep the run in [default: runs/<model>-<n>].
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: Option<PathBuf>,
    /// Go on with the run in this folder. Everything is taken from it; `--data` may say where its data are now, and
    /// `--isa auto` goes on with what this CPU has, in other bits from there on.
    #[arg(
        long,
        value_name = "DIR",
        value_hint = ValueHint::DirPath,
        conflicts_with_all = ["recipe", "batch", "lr", "seed", "reseed", "val", "weights", "out"]
    )]
    resume: Option<PathBuf>,
    #[command(flatten)]
    pub(super) machine: MachineArgs,
    #[command(flatten)]
    perf: PerfArgs,
}

/// A number above 0.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|x: &f64| x.is_finite() && *x > 0.0);
    number.ok_or_else(|| "expected a number above 0".to_owned())
}

/// A number between 0 and 1.
fn share(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|&x| 0.0 < x && x < 1.0);
    number.ok_or_else(|| {
        "expected a number above 0 and below 1; without `--val` no image is held back".to_owned()
    })
}

pub(crate) fn train(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    if args.model.is_none() && (args.variant.deny_warnings || !args.variant.define.is_empty()) {
        let problem = "`-D` and `--deny-warnings` are about a model's file, and none is named: the run's model is \
                       taken from its folder as it is";
        return Err(Usage(problem.to_owned()).into());
    }
    let given = args.model.as_deref();
    let model = given.map(|file| args.variant.load(file, terminal)).transpose()?;
    match (&args.resume, model) {
        (Some(folder), model) => resume::resume(args, folder, model, terminal),
        (None, Some(model)) => {
            let (recipe, data) = recipe(args)?;
            let machine = args.machine.machine(&model, Purpose::Training)?;
            if let Some(folder) = &args.out {
                RunFolder::check_vacant(folder)?;
            }
            let data = load(&data, terminal)?;
            let place = Place { model: &model, data: &data, machine };
            begin(args, place, recipe, terminal)
        }
        (None, None) => unreachable!("clap asks for a model or a run (a bug in nin)"),
    }
}

/// What a run is of, and on.
#[derive(Clone)]
struct Place<'a> {
    model: &'a Model,
    data: &'a Dataset,
    machine: Machine,
}

/// What to do with a network that only guesses, or has dead outputs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dead {
    /// Go on: it may wake.
    Train,
    /// Give it up.
    GiveUp,
}

/// New runs, with one seed after the other while networks die and more seeds are allowed.
fn begin(
    args: &Args,
    place: Place<'_>,
    recipe: Recipe,
    terminal: &Terminal,
) -> anyhow::Result<ExitCode> {
    let stop = Stop::on_signals(*terminal)?;
    let (mut recipe, mut folder) = (recipe, args.out.clone());
    for left in (0..=args.reseed).rev() {
        let seed = recipe.seed;
        let mut trainer = start(args, folder, place.clone(), recipe.clone(), terminal)?;
        args.perf.write(trainer.program(), terminal)?;
        let dead = if left > 0 { Dead::GiveUp } else { Dead::Train };
        if let Some(code) = go(&mut trainer, place.clone(), dead, &stop, terminal)? {
            return Ok(code);
        }
        let run = trainer.folder().expect("every run of the command is kept").clone();
        drop(trainer);
        run.clear()?;
        recipe.seed = seed.saturating_add(1);
        terminal.note(format_args!("given up; beginning again with seed {}", recipe.seed));
        folder = Some(run.path().to_owned());
    }
    unreachable!("the last seed's run is not given up (a bug in nin)")
}

/// Defaults, then the recipe's file, then the options; and the dataset.
fn recipe(args: &Args) -> anyhow::Result<(Recipe, Spec)> {
    let recipe = args.recipe.as_deref().map(Recipe::from_file).transpose()?.unwrap_or_default();
    let in_file = recipe.data.as_deref().map(str::parse::<Spec>).transpose()?;
    let data = args.data.clone().or(in_file);
    let data =
        data.ok_or_else(|| Usage("give the dataset, such as `--data mnist-10k`".to_owned()))?;
    let weights = args.weights.clone().or(recipe.weights.map(PathBuf::from));
    let recipe = Recipe {
        data: Some(kept_data(&data)?),
        weights: weights.as_deref().map(kept_path).transpose()?,
        epochs: args.epochs.unwrap_or(recipe.epochs),
        batch: args.batch.unwrap_or(recipe.batch),
        lr: args.lr.unwrap_or(recipe.lr),
        seed: args.seed.unwrap_or(recipe.seed),
        validation: args.val.unwrap_or(recipe.validation),
        ..recipe
    };
    recipe.check()?;
    Ok((recipe, data))
}

/// A new run in a new folder.
fn start<'d>(
    args: &Args,
    folder: Option<PathBuf>,
    place: Place<'d>,
    recipe: Recipe,
    terminal: &Terminal,
) -> anyhow::Result<Trainer<'d>> {
    let Place { model, data, machine } = place;
    // As it was given, if it was: that is how messages should name it.
    let given = args.weights.as_deref().or(recipe.weights.as_ref().map(Path::new));
    let given = given.map(|file| read_weights(file, model.graph(), terminal)).transpose()?;
    if matches!(recipe.preprocessing, Preprocessing::Zca { .. }) {
        terminal.note("measuring the training images' covariance, which can take minutes");
    }
    let mut trainer = Trainer::with_machine(model, data, recipe, machine)?;
    if let Some((weights, _)) = &given {
        trainer.start_from(weights)?;
    }
    let folder = match folder {
        Some(folder) => RunFolder::create(folder)?,
        None => RunFolder::create(new_folder(model.graph().name())?)?,
    };
    trainer.record_in(folder)?;
    Ok(trainer)
}

/// `runs/<model>-<n>` with the first number that is free.
fn new_folder(model: &str) -> Result<PathBuf, TrainError> {
    let failed = |folder: &Path, error| TrainError::NoFolder { folder: folder.to_owned(), error };
    std::fs::create_dir_all(RUNS).map_err(|error| failed(Path::new(RUNS), error))?;
    for number in 1.. {
        let folder = Path::new(RUNS).join(format!("{model}-{number}"));
        match std::fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(&folder, error)),
        }
    }
    unreachable!("there is always a free number")
}

/// Reads a dataset and says where results on it must not be reported.
pub(crate) fn load(spec: &Spec, terminal: &Terminal) -> anyhow::Result<Dataset> {
    let data = spec.load()?;
    if let Some(caution) = spec.caution() {
        terminal.note(format_args!("note: {caution}"));
    }
    for doubt in data.doubts() {
        terminal.warn(format_args!("{}: {doubt}", data.name()));
    }
    Ok(data)
}

/// Trains to the end or to Ctrl-C; `None` if a dead network was given up.
fn go(
    trainer: &mut Trainer<'_>,
    Place { model, data, machine }: Place<'_>,
    dead: Dead,
    stop: &Stop,
    terminal: &Terminal,
) -> anyhow::Result<Option<ExitCode>> {
    let folder = trainer.folder().expect("every run of the command is kept").clone();
    introduce(trainer, model, data, terminal);
    let mut progress = Progress::new(terminal, trainer);
    let (mut last, mut given_up) = (None, false);
    let outcome = trainer.run(|event| {
        progress.show(event, terminal);
        let is_dead = match event {
            Event::Epoch(report) => {
                last = Some(report.clone());
                report.guessing || report.stays_dead
            }
            Event::Step(report) => report.guessing,
        };
        given_up = is_dead && dead == Dead::GiveUp;
        if given_up || stop.is_asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.clear();
    let outcome = outcome?;
    if given_up {
        return Ok(None);
    }
    if outcome == Outcome::Stopped {
        stop.done();
        let (step, steps, path) = (trainer.step(), trainer.steps(), folder.path().display());
        terminal.note(format_args!(
            "stopped after step {step} of {steps}, all of it saved; go on with: nin train --resume {path}"
        ));
        return Ok(Some(ExitCode::from(INTERRUPTED)));
    }
    // A run is not lost for its picture.
    let report = report::write(&folder, model, data, machine)
        .inspect_err(|error| terminal.warn(format_args!("no report of the run: {error:#}")))
        .ok();
    let mut out = terminal.results();
    match last {
        Some(report) => writeln!(
            out,
            "test accuracy {:.2} % ({} images), loss {:.4}",
            100.0 * report.test.accuracy(),
            amounts::grouped(report.test.images as u64),
            report.test.loss
        )?,
        None => terminal.note(format_args!(
            "the run was finished already; to train on, begin a new run from its weights: {}",
            resume::longer(folder.path(), "N")
        )),
    }
    writeln!(out, "weights {}", folder.last().display())?;
    if trainer.images().1 > 0 {
        writeln!(out, "best on validation {}", folder.best().display())?;
    }
    if let Some(report) = report {
        writeln!(out, "report {}", report.display())?;
    }
    out.flush()?;
    Ok(Some(ExitCode::SUCCESS))
}

/// What is about to be done, and how.
fn introduce(trainer: &Trainer<'_>, model: &Model, data: &Dataset, terminal: &Terminal) {
    let (program, graph) = (trainer.program(), model.graph());
    let (train, validation) = trainer.images();
    let held_back = match validation {
        0 => String::new(),
        count => format!(", {} to validate", amounts::grouped(count as u64)),
    };
    terminal.note(format_args!(
        "{}: {} parameters, {} MACs an image; compiled in {:.0} ms for {} ({})",
        graph.name(),
        amounts::grouped(graph.params_total()),
        amounts::grouped(graph.macs_total()),
        program.compile_time().as_secs_f64() * 1e3,
        amounts::threads(program.threads()),
        program.isa()
    ));
    terminal.note(format_args!(
        "{}: {} images to train{held_back}, {} to test, {} classes",
        data.name(),
        amounts::grouped(train as u64),
        amounts::grouped(data.test().len() as u64),
        data.classes().len()
    ));
    for line in trainer.recipe().to_toml().lines().filter(|line| !line.is_empty()) {
        terminal.note(format_args!("  {line}"));
    }
    if let Some(folder) = trainer.folder() {
        terminal.note(format_args!("run folder {}", folder.path().display()));
    }
    terminal.detail(format_args!(
        "{} of machine code, {} of memory to work in",
        amounts::bytes(program.code_bytes() as u64),
        amounts::bytes(program.arena_bytes() as u64)
    ));
}
