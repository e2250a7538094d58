//! `nin train --resume`: on with a run that was stopped, to the bits it would have ended in.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use nin::train::{Resumed, RunFolder};

use nin::Machine;
use nin::{Isa, Model, Purpose, Trainer};

use super::super::options::{Usage, kept_data};
use super::super::signals::Stop;
use super::super::terminal::Terminal;
use super::{Args, Dead, Place, go, load};

pub(super) fn resume(
    args: &Args,
    folder: &Path,
    model: Option<Model>,
    terminal: &Terminal,
) -> anyhow::Result<ExitCode> {
    if let Some(epochs) = args.epochs {
        let longer = longer(folder, &epochs.to_string());
        return Err(Usage(format!(
            "`--epochs` cannot be used with `--resume`: a run's schedule is made for its epochs. To train on, begin a new \
             run from its weights: {longer}"
        ))
        .into());
    }
    let folder = RunFolder::open(folder)?;
    folder.check_free()?;
    let model = unchanged(&folder, model)?;
    let (isa, algo) = folder.made_with()?;
    let replanned = replanned(isa, args.machine.isa, &folder)?;
    let given = args.machine.algos(&model, Purpose::Training)?;
    if given.is_some_and(|given| given != algo) {
        let problem = format!("the run began with `--algo {algo}` and can only go on with it");
        return Err(Usage(problem).into());
    }
    let kept = folder.recipe()?.data;
    let moved = args.data.as_ref().map(kept_data).transpose()?;
    let named = moved.clone().or_else(|| kept.clone()).context(
        "the run was started from Rust; go on with it there, or name the same data by `--data`",
    )?;
    let data = load(&named.parse()?, terminal).with_context(|| match &moved {
        Some(_) => "the data cannot be read".to_owned(),
        None => format!(
            "the run's data cannot be read (if they were moved, say where they are: `nin train --resume {} --data ...`)",
            folder.path().display()
        ),
    })?;
    let threads = args.machine.threads();
    let mut trainer = match replanned {
        None => Trainer::resume(folder, &data, threads)?,
        Some(isa) => Trainer::resume_replanned(folder, &data, threads, isa)?,
    };
    if let Some(data) = moved.filter(|data| Some(data) != kept.as_ref()) {
        trainer.rename_data(&data)?;
    }
    warn(&trainer, terminal);
    args.perf.write(trainer.program(), terminal)?;
    let machine = Machine { threads, isa: trainer.program().isa(), algo };
    let place = Place { model: &model, data: &data, machine };
    let stop = Stop::on_signals(*terminal)?;
    match go(&mut trainer, place, Dead::Train, &stop, terminal)? {
        Some(code) => Ok(code),
        None => unreachable!("only runs that may be given up are (a bug in nin)"),
    }
}

/// How to train on where a run has ended.
pub(super) fn longer(run: &Path, epochs: &str) -> String {
    let path = run.display();
    format!(
        "nin train {path}/model.nin --recipe {path}/recipe.toml --weights {path}/last.safetensors --epochs {epochs}"
    )
}

/// The instruction set to plan anew for, if that is wished.
fn replanned(began: Isa, given: Option<Isa>, folder: &RunFolder) -> anyhow::Result<Option<Isa>> {
    let way_out = format!(
        "`nin train --resume {} --isa auto` goes on with what this CPU has, in other bits from there on",
        folder.path().display()
    );
    match given {
        Some(Isa::Auto) => Ok(Some(Isa::Auto)),
        Some(other) if other != began => Err(Usage(format!(
            "the run began with `--isa {began}` and goes on to its bits with that alone; {way_out}"
        ))
        .into()),
        Some(_) | None if began.is_available() => Ok(None),
        Some(_) | None => Err(lacking(began, &way_out)),
    }
}

fn lacking(began: Isa, way_out: &str) -> anyhow::Error {
    anyhow::anyhow!("the run began with `--isa {began}`, which this CPU does not have: {way_out}")
}

/// What sets the rest of a run apart from what it would have been.
fn warn(trainer: &Trainer<'_>, terminal: &Terminal) {
    let Some(Resumed { knows_data, replanned }) = trainer.resumed() else { return };
    if replanned {
        terminal.warn(format_args!(
            "the run has another plan from step {} on, for {}: it ends in other bits than it would have",
            trainer.step() + 1,
            trainer.program().isa()
        ));
    }
    if !knows_data {
        terminal.warn(
            "the run is of an earlier version of nin, which did not keep what data it began with: whether they are still the \
             same is not known",
        );
    }
}

/// The run's model, which a model that was given must be.
fn unchanged(folder: &RunFolder, given: Option<Model>) -> anyhow::Result<Model> {
    let model = folder.model()?;
    let same = |given: &Model| {
        let (a, b) = (given.graph(), model.graph());
        a.nodes() == b.nodes() && a.weights() == b.weights()
    };
    match given {
        Some(given) if !same(&given) => anyhow::bail!(
            "{} is another model than that of the run in {} (see its model.nin): resume without naming a model, or start \
             a new run",
            given.source().name,
            folder.path().display()
        ),
        _ => Ok(model),
    }
}
