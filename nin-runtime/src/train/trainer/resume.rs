//! Going on with a run that was stopped.

use super::{Trainer, check, normalisation, plan_text};
use crate::compiler::Isa;
use crate::data::{Dataset, Preparation};
use crate::train::checkpoint::Checkpoint;
use crate::train::claim::Claim;
use crate::train::folder::Recorder;
use crate::train::{RunFolder, TrainError};

use crate::compile::Machine;

/// How a run goes on, beside what it began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// Whether its last checkpoint says what data it is of, which was then compared. Those of earlier versions do not.
    pub knows_data: bool,
    /// Whether it has another plan from here on, and so ends in other bits than without the interruption.
    pub replanned: bool,
}

impl<'d> Trainer<'d> {
    /// Goes on with the run in a folder, from its latest checkpoint to the bits of an uninterrupted run: with the
    /// instruction set it began with, on any number of threads.
    ///
    /// # Errors
    /// A folder without a run or with one that is under way, other data than the run's, a CPU without the instruction set,
    /// or a plan that this version of nin would make differently.
    pub fn resume(
        folder: RunFolder,
        data: &'d Dataset,
        threads: usize,
    ) -> Result<Trainer<'d>, TrainError> {
        Trainer::resumed_on(folder, data, threads, None)
    }

    /// Goes on with the run in a folder by a plan that is made anew: on a CPU without the instruction set it began with, or
    /// with another version of nin. If that is another plan, it ends in other bits than an uninterrupted run, and the folder
    /// keeps the new plan.
    ///
    /// # Errors
    /// As [`Trainer::resume`], but for the plan's.
    pub fn resume_replanned(
        folder: RunFolder,
        data: &'d Dataset,
        threads: usize,
        isa: Isa,
    ) -> Result<Trainer<'d>, TrainError> {
        Trainer::resumed_on(folder, data, threads, Some(isa))
    }

    fn resumed_on(
        folder: RunFolder,
        data: &'d Dataset,
        threads: usize,
        replanned: Option<Isa>,
    ) -> Result<Trainer<'d>, TrainError> {
        let claim = Claim::take(folder.path())?;
        let (model, recipe) = (folder.model()?, folder.recipe()?);
        let (isa, algo) = folder.made_with()?;
        let machine = Machine { threads, isa: replanned.unwrap_or(isa), algo };
        check(&model, data, &recipe)?;
        let normalisation = normalisation(data, &recipe)?;
        let preparation =
            Preparation::read(&folder.statistics(), recipe.preprocessing, &normalisation)?;
        let mut trainer = Trainer::prepared(&model, data, recipe, machine, preparation)?;
        let differs =
            |problem: String| TrainError::Resume { folder: folder.path().to_owned(), problem };
        let checkpoint = Checkpoint::read(&folder.last(), model.graph()).map_err(|error| {
            differs(format!("{error} (a new run can start from other weights: `--weights`)"))
        })?;
        let expected = (&trainer.recipe, trainer.train.len());
        if let Some(problem) = checkpoint.differs(&trainer.info, data, expected) {
            return Err(differs(problem));
        }
        let plan = plan_text(trainer.session.program());
        let is_other = !unnamed(&folder.plan()?).eq(unnamed(&plan));
        if is_other && replanned.is_none() {
            return Err(differs(
                "another version of nin has planned it, and this one would end in other bits: `--isa auto` goes on all the \
                 same, or a new run can start from its weights (`--weights`)"
                    .to_owned(),
            ));
        }
        trainer.session.set_weights(&checkpoint.weights)?;
        trainer.session.set_momentum(&checkpoint.momentum)?;
        if let Some(squares) = &checkpoint.squares {
            trainer.session.set_squares(squares)?;
        }
        trainer.progress = checkpoint.progress;
        trainer.resumed =
            Some(Resumed { knows_data: checkpoint.data.is_some(), replanned: is_other });
        let recorder = Recorder::resume(folder, claim, &trainer.progress)?;
        if is_other {
            recorder.replan(&plan)?;
        }
        trainer.recorder = Some(recorder);
        Ok(trainer)
    }

    /// How the run goes on, if it was resumed.
    pub fn resumed(&self) -> Option<Resumed> {
        self.resumed
    }

    /// Has the run's folder say that its data are named differently from now on.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn rename_data(&mut self, data: &str) -> Result<(), TrainError> {
        self.recipe.data = Some(data.to_owned());
        match &self.recorder {
            Some(recorder) => recorder.rewrite(&self.recipe),
            None => Ok(()),
        }
    }
}

/// A plan's lines but for the model's name: a model without one goes by its file's, and in a run's folder that is another.
fn unnamed(plan: &str) -> impl Iterator<Item = &str> {
    plan.lines().map(|line| match line.split_once(": batch ") {
        Some((title, rest)) if title.starts_with("plan ") => rest,
        _ => line,
    })
}
