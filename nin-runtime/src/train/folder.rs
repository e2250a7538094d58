//! [`RunFolder`]: the files of a run, and [`Recorder`], which writes them as it goes on.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::TrainError;
use super::checkpoint::{Checkpoint, Progress};
use super::claim::{self, Claim};
use super::recipe::Recipe;
use crate::compiler::Isa;
use crate::compiler::plan::Algos;
use crate::data::Preparation;
use crate::file::{self, write_atomically};
use crate::model::Model;

/// How long a line may wait before those who follow the file see it.
const FLUSH: Duration = Duration::from_secs(1);
const MODEL: &str = "model.nin";
const RECIPE: &str = "recipe.toml";
const PLAN: &str = "plan.txt";
const METRICS: &str = "metrics.jsonl";
/// Statistics of the training images, where preprocessing needs more than words.
pub const STATISTICS: &str = "statistics.safetensors";
const REPORT: &str = "report.html";
const LAST: &str = "last.safetensors";
const BEST: &str = "best.safetensors";
/// Every file of a run.
const FILES: [&str; 8] = [MODEL, RECIPE, PLAN, METRICS, STATISTICS, REPORT, LAST, BEST];
/// Bytes of a text of a run: metrics of ten million steps.
const MOST_BYTES: u64 = 1 << 30;
/// Begins the plan's first line, before the instruction set.
pub(super) const ISA: &str = "isa ";
/// Between the instruction set and the choice of algorithms.
pub(super) const ALGO: &str = ", algo ";

/// A folder that holds a run: `model.nin`, `recipe.toml`, `plan.txt`, `metrics.jsonl`, `last.safetensors`,
/// `best.safetensors`, and `statistics.safetensors` of some kinds of preprocessing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

/// What a run's folder says of how it began.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Beginning<'a> {
    /// The model's text, parameters resolved.
    pub(super) model: &'a str,
    pub(super) recipe: &'a Recipe,
    /// The plan of a training step.
    pub(super) plan: &'a str,
    /// How images are prepared.
    pub(super) preparation: &'a Preparation,
}

/// A line of `metrics.jsonl` about a step.
#[derive(Serialize)]
pub(super) struct StepLine {
    /// Steps done.
    pub(super) step: u64,
    /// Epoch under way, from 1.
    pub(super) epoch: u32,
    /// Mean loss of the step's images.
    pub(super) loss: f64,
    pub(super) lr: f64,
    pub(super) images_per_s: f64,
}

/// A line of `metrics.jsonl` about an epoch.
#[derive(Serialize)]
pub(super) struct EpochLine {
    /// Epochs done.
    pub(super) epoch: u32,
    pub(super) train_loss: f64,
    pub(super) train_accuracy: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) val_accuracy: Option<f64>,
    pub(super) test_loss: f64,
    pub(super) test_accuracy: f64,
    pub(super) seconds: f64,
}

/// As much of any line as tells when it was written.
#[derive(Deserialize)]
struct AnyLine {
    step: Option<u64>,
    epoch: u32,
}

impl RunFolder {
    /// Whether a run can begin in a folder, which need not be there yet: no file of it would be written over, but for those
    /// of a run that was stopped before its first checkpoint.
    ///
    /// # Errors
    /// [`TrainError::UnderWay`] if another process trains in it, [`TrainError::Occupied`] if it holds a run already,
    /// [`TrainError::Taken`] if it holds a file of such a name.
    pub fn check_vacant(path: impl Into<PathBuf>) -> Result<(), TrainError> {
        let folder = RunFolder { path: path.into() };
        claim::check_free(&folder.path)?;
        folder.check_no_run(claim::is_setting_up(&folder.path))
    }

    fn check_no_run(&self, setting_up: bool) -> Result<(), TrainError> {
        if self.lacks().is_none() {
            return Err(TrainError::Occupied { folder: self.path.clone() });
        }
        if setting_up {
            return Ok(());
        }
        match FILES.into_iter().map(|name| self.file(name)).find(|file| file.exists()) {
            Some(file) => Err(TrainError::Taken { file }),
            None => Ok(()),
        }
    }

    /// A folder for a new run, made if it is not there.
    ///
    /// # Errors
    /// As [`RunFolder::check_vacant`], and those of the file system.
    pub fn create(path: impl Into<PathBuf>) -> Result<RunFolder, TrainError> {
        let folder = RunFolder { path: path.into() };
        RunFolder::check_vacant(&folder.path)?;
        match fs::create_dir_all(&folder.path) {
            Ok(()) => Ok(folder),
            Err(error) => Err(TrainError::NoFolder { folder: folder.path, error }),
        }
    }

    /// Takes the run's files away and leaves the folder, for another run.
    ///
    /// # Errors
    /// [`TrainError::UnderWay`] if a process trains in it, and those of the file system.
    pub fn clear(&self) -> Result<(), TrainError> {
        let _claim = Claim::take(&self.path)?;
        self.remove_files()
    }

    fn remove_files(&self) -> Result<(), TrainError> {
        for file in FILES.map(|name| self.file(name)).into_iter().filter(|file| file.exists()) {
            fs::remove_file(&file).map_err(|error| io_error(&file, error))?;
        }
        Ok(())
    }

    /// The folder of a run that was begun.
    ///
    /// # Errors
    /// [`TrainError::Resume`] if it does not hold what a run needs to go on.
    pub fn open(path: impl Into<PathBuf>) -> Result<RunFolder, TrainError> {
        let folder = RunFolder { path: path.into() };
        let problem = match folder.lacks() {
            None => return Ok(folder),
            Some(_) if !folder.path.is_dir() => "there is no such folder".to_owned(),
            Some(_) if claim::is_setting_up(&folder.path) => {
                "it was stopped before its first checkpoint; begin it again in the same folder"
                    .to_owned()
            }
            Some(name) => format!("there is no `{name}` in it"),
        };
        Err(TrainError::Resume { folder: folder.path, problem })
    }

    /// The first file that a run needs to go on and that is not there.
    fn lacks(&self) -> Option<&'static str> {
        [MODEL, RECIPE, PLAN, LAST].into_iter().find(|name| !self.file(name).is_file())
    }

    /// Whether no process trains in it now.
    ///
    /// # Errors
    /// [`TrainError::UnderWay`] if one does.
    pub fn check_free(&self) -> Result<(), TrainError> {
        claim::check_free(&self.path)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The latest checkpoint.
    pub fn last(&self) -> PathBuf {
        self.file(LAST)
    }

    /// The checkpoint with the highest validation accuracy; the latest one of a run without validation.
    pub fn best(&self) -> PathBuf {
        self.file(BEST)
    }

    /// Statistics of the training images; not there unless preprocessing needs them.
    pub fn statistics(&self) -> PathBuf {
        self.file(STATISTICS)
    }

    /// A line of JSON for every step and every epoch.
    pub fn metrics(&self) -> PathBuf {
        self.file(METRICS)
    }

    /// Where whoever draws a page about the run puts it.
    pub fn report(&self) -> PathBuf {
        self.file(REPORT)
    }

    /// The run's model.
    ///
    /// # Errors
    /// A text that cannot be read or is no model any more.
    pub fn model(&self) -> Result<Model, TrainError> {
        Ok(Model::from_file(self.file(MODEL), &[])?)
    }

    /// The run's recipe, complete.
    ///
    /// # Errors
    /// A file that cannot be read or is no recipe any more.
    pub fn recipe(&self) -> Result<Recipe, TrainError> {
        Recipe::from_file(&self.file(RECIPE))
    }

    /// The instruction set and the algorithms the run began with, which its bits depend on.
    ///
    /// # Errors
    /// A plan that cannot be read or does not name them.
    pub fn made_with(&self) -> Result<(Isa, Algos), TrainError> {
        let plan = self.plan()?;
        let words = plan.lines().next().and_then(|line| line.strip_prefix(ISA)?.split_once(ALGO));
        let made = words.and_then(|(isa, algo)| Some((isa.parse().ok()?, algo.parse().ok()?)));
        made.ok_or_else(|| TrainError::Resume {
            folder: self.path.clone(),
            problem: format!("`{PLAN}` does not begin with an instruction set and algorithms"),
        })
    }

    /// The instruction set and the plan the run began with, as text.
    pub(super) fn plan(&self) -> Result<String, TrainError> {
        Ok(String::from_utf8_lossy(&self.bytes(PLAN)?).into_owned())
    }

    /// The lines of [`RunFolder::metrics`]; none of a run that lost them, which has lost no more than a log. What a crash
    /// has spoilt of them is no JSON.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn read_metrics(&self) -> Result<String, TrainError> {
        let bytes = match self.bytes(METRICS) {
            Err(TrainError::Io { error, .. }) if error.kind() == ErrorKind::NotFound => vec![],
            bytes => bytes?,
        };
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, TrainError> {
        let file = self.file(name);
        file::read(&file, MOST_BYTES, "the most that a run writes of a text")
            .map_err(|error| io_error(&file, error))
    }

    fn write(&self, name: &str, text: &str) -> Result<(), TrainError> {
        let file = self.file(name);
        write_atomically(&file, text.as_bytes()).map_err(|error| io_error(&file, error))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// A run folder that is being written, by this process alone.
#[derive(Debug)]
pub(super) struct Recorder {
    folder: RunFolder,
    claim: Claim,
    metrics: BufWriter<File>,
    flushed: Instant,
}

impl Recorder {
    /// Writes how a run begins; [`Recorder::save`] completes it.
    pub(super) fn begin(folder: RunFolder, run: &Beginning<'_>) -> Result<Recorder, TrainError> {
        let mut claim = Claim::take(&folder.path)?;
        // Another process may have begun here since the folder was made.
        folder.check_no_run(claim.is_setting_up())?;
        claim.begin()?;
        folder.remove_files()?;
        let texts = [
            (MODEL, run.model.to_owned()),
            (RECIPE, run.recipe.to_toml()),
            (PLAN, run.plan.to_owned()),
            (METRICS, String::new()),
        ];
        for (name, text) in texts {
            folder.write(name, &text)?;
        }
        run.preparation.save(&folder.statistics())?;
        Recorder::open(folder, claim)
    }

    /// Goes on after a checkpoint: what `metrics.jsonl` says of later steps was lost with them and is cut off.
    pub(super) fn resume(
        folder: RunFolder,
        claim: Claim,
        progress: &Progress,
    ) -> Result<Recorder, TrainError> {
        let text = folder.read_metrics()?;
        let known = |line: &&str| match serde_json::from_str(line) {
            Ok(AnyLine { step: Some(step), .. }) => step <= progress.step,
            Ok(AnyLine { step: None, epoch }) => epoch <= progress.epoch,
            Err(_) => false,
        };
        let kept: String = text.lines().filter(known).map(|line| format!("{line}\n")).collect();
        folder.write(METRICS, &kept)?;
        Recorder::open(folder, claim)
    }

    /// Puts another plan in the place of the one the run began with.
    pub(super) fn replan(&self, plan: &str) -> Result<(), TrainError> {
        self.folder.write(PLAN, plan)
    }

    /// Puts another recipe in the place of the one the run began with.
    pub(super) fn rewrite(&self, recipe: &Recipe) -> Result<(), TrainError> {
        self.folder.write(RECIPE, &recipe.to_toml())
    }

    fn open(folder: RunFolder, claim: Claim) -> Result<Recorder, TrainError> {
        let file = folder.file(METRICS);
        let opened = OpenOptions::new().append(true).open(&file);
        let metrics = opened.map_err(|error| io_error(&file, error))?;
        let metrics = BufWriter::new(metrics);
        Ok(Recorder { folder, claim, metrics, flushed: Instant::now() })
    }

    pub(super) fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// Adds a line to the metrics.
    pub(super) fn line(&mut self, line: &impl Serialize) -> Result<(), TrainError> {
        let text = serde_json::to_string(line).expect("plain data is JSON");
        let written = writeln!(self.metrics, "{text}");
        let written = if self.flushed.elapsed() < FLUSH {
            written
        } else {
            self.flushed = Instant::now();
            written.and_then(|()| self.metrics.flush())
        };
        written.map_err(|error| io_error(&self.folder.file(METRICS), error))
    }

    /// Writes a checkpoint. The metrics go first: a crash in between leaves lines too many, which a resume cuts off.
    pub(super) fn save(&mut self, checkpoint: &Checkpoint, best: bool) -> Result<(), TrainError> {
        let flushed = self.metrics.flush().and_then(|()| self.metrics.get_ref().sync_data());
        flushed.map_err(|error| io_error(&self.folder.file(METRICS), error))?;
        if best {
            checkpoint.save(&self.folder.best())?;
        }
        checkpoint.save(&self.folder.last())?;
        self.claim.set_up()
    }
}

fn io_error(file: &Path, error: std::io::Error) -> TrainError {
    TrainError::Io { file: file.to_owned(), error }
}
