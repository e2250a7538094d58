//! Training: a [`Recipe`] says how, a [`Trainer`] does it, a [`RunFolder`] keeps what comes of it.
//!
//! The same model, data, recipe and plan give the same bits, at any number of threads and however often a run is
//! interrupted and resumed: the order of images is drawn from (seed, epoch), what is done to each from (seed, epoch, image),
//! dropout from (seed, step), and a checkpoint holds all the rest.

mod augment;
mod checkpoint;
mod claim;
mod diagnosis;
mod evaluate;
mod feed;
mod folder;
mod init;
mod random;
mod recipe;
mod report;
mod schedule;
mod trainer;

use std::io;
use std::path::PathBuf;

pub use augment::Augment;
pub use checkpoint::{Checkpoint, Info};
pub use diagnosis::{DEAD_EPOCHS, GUESSING};
pub use evaluate::{Answer, Evaluation, Evaluator};
pub use folder::{RunFolder, STATISTICS};
pub use init::init;
pub use recipe::{Init, LastLayer, LayerSettings, Recipe, RecipeError};
pub use report::{EpochReport, Event, Outcome, StepReport};
pub use schedule::{Plateau, Schedule};
pub use trainer::{Resumed, Trainer};

use crate::data::DataError;
use crate::error::Error;
use crate::model::ModelError;
use crate::weights::WeightsError;

/// Why training did not start or did not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The recipe cannot be followed.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A recipe's file is none that can be followed.
    #[error("{}:{error}", file.display())]
    RecipeFile {
        /// The file.
        file: PathBuf,
        /// Where and what is wrong in it.
        error: RecipeError,
    },
    /// The data does not fit the model.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model could not be compiled or run.
    #[error(transparent)]
    Run(#[from] Error),
    /// The text in a run folder is no model any more.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Weights could not be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A file of the run folder could not be read or written.
    #[error("{}: {error}", file.display())]
    Io {
        /// The file or folder.
        file: PathBuf,
        /// What the file system said.
        error: io::Error,
    },
    /// The folder holds a run already.
    #[error(
        "{} already holds a run: go on with it by `--resume {}`, or choose another folder",
        folder.display(), folder.display()
    )]
    Occupied {
        /// The folder.
        folder: PathBuf,
    },
    /// Another process trains in the folder.
    #[error(
        "{}: this run is under way in {}: wait for its end, or stop it and go on by `--resume`",
        folder.display(),
        process.map_or("another process".to_owned(), |process| format!("process {process}"))
    )]
    UnderWay {
        /// The folder.
        folder: PathBuf,
        /// The process, if the folder tells.
        process: Option<u32>,
    },
    /// A folder for a run holds a file that the run would write over.
    #[error("{} is there already, and a run would write over it: choose another folder", file.display())]
    Taken {
        /// The file.
        file: PathBuf,
    },
    /// The file system makes no folder for a run.
    #[error("{}: the run's folder cannot be made: {error}; choose another by `--out`", folder.display())]
    NoFolder {
        /// The folder.
        folder: PathBuf,
        /// What the file system said.
        error: io::Error,
    },
    /// Weights to start from that are of no use.
    #[error(
        "some of the weights to start from are not finite: their training diverged, or they are damaged"
    )]
    NotFinite,
    /// A checkpoint's metadata is missing or makes no sense.
    #[error("{}: not as a run of nin writes it: {problem}", file.display())]
    Checkpoint {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A run cannot go on as it began.
    #[error("{}: cannot be resumed: {problem}", folder.display())]
    Resume {
        /// The run folder.
        folder: PathBuf,
        /// What differs.
        problem: String,
    },
    /// The loss or a weight is not finite any more.
    #[error(
        "training diverged: after step {step} {what} is not finite; try a smaller learning rate \
         or a longer warm-up (the last checkpoint is kept)"
    )]
    Diverged {
        /// Steps done.
        step: u64,
        /// The loss, or the weights.
        what: &'static str,
    },
}
