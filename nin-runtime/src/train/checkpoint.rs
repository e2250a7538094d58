//! [`Checkpoint`], a run as it stands, and [`Info`], the words that travel with weights.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;

use nin_dsl::graph::Graph;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::diagnosis::Diagnosis;
use super::schedule::Plateau;
use super::{Recipe, STATISTICS, TrainError};
use crate::data::{Dataset, Digest, Normalisation, Preparation, Preprocessing};
use crate::weights::{Moments, Weights, WeightsFile, save};

/// Version of the metadata's keys and of what they mean.
const FORMAT_VERSION: u32 = 1;

/// What a weights file says about its weights. Files from elsewhere say nothing of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Info {
    /// The model's text, parameters resolved.
    pub model: Option<String>,
    /// Seed of the run.
    pub seed: Option<u64>,
    /// How the images the weights were trained on were normalised, if that was all that was done to them.
    pub normalisation: Option<Normalisation>,
    /// What else was done to them; the statistics are in [`STATISTICS`] beside the weights.
    ///
    /// [`STATISTICS`]: super::STATISTICS
    pub preprocessing: Option<Preprocessing>,
    /// Names of the classes, by output.
    pub classes: Option<Vec<String>>,
}

/// How far a run has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Progress {
    /// Steps done.
    pub(super) step: u64,
    /// Epochs done, evaluation included.
    pub(super) epoch: u32,
    /// Sum of the losses of the images seen in the epoch under way.
    pub(super) epoch_loss: f64,
    /// Of these, images recognised.
    pub(super) epoch_correct: u64,
    /// Images seen in the epoch under way.
    pub(super) epoch_images: u64,
    /// Best validation accuracy so far.
    pub(super) best: Option<f64>,
    /// What a schedule that watches accuracy has seen.
    pub(super) plateau: Plateau,
    /// What is known of the network's health.
    pub(super) diagnosis: Diagnosis,
}

/// Everything a run needs to go on to the same bits.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The weights.
    pub weights: Weights,
    /// Their momentum.
    pub momentum: Weights,
    /// The running means of their squared gradients, of optimizers that keep them.
    pub squares: Option<Weights>,
    /// Words about them.
    pub info: Info,
    pub(super) progress: Progress,
    /// What the run is trained on; checkpoints of earlier versions do not say it.
    pub(super) data: Option<Digest>,
}

impl Progress {
    /// Whether a run of so many epochs over so many images can stand there.
    pub(super) fn is_of(&self, epochs: u32, images: usize, batch: usize) -> bool {
        let (images, batch) = (images as u64, batch as u64);
        let first = u64::from(self.epoch) * images.div_ceil(batch);
        let seen = self.step.checked_sub(first).and_then(|steps| steps.checked_mul(batch));
        let Some(seen) = seen.map(|seen| seen.min(images)) else { return false };
        let over = self.epoch == epochs && seen == 0;
        (over || self.epoch < epochs)
            && self.step - first <= images.div_ceil(batch)
            && self.epoch_images == seen
            && self.epoch_correct <= seen
            && self.epoch_loss.is_finite()
    }
}

impl Info {
    /// Reads what a weights file says to whoever uses its weights in a model.
    ///
    /// # Errors
    /// A value that makes no sense or does not go with the model, and words of a later version of nin.
    pub fn read(path: &Path, file: &WeightsFile, graph: &Graph) -> Result<Info, TrainError> {
        let words = Words { path, metadata: &file.metadata };
        let version = words.parsed("format_version")?.unwrap_or(FORMAT_VERSION);
        if version != FORMAT_VERSION {
            return Err(words.wrong(format!(
                "its format version is {version}, and this nin reads version {FORMAT_VERSION}: use the nin that wrote it"
            )));
        }
        let info = Info {
            model: file.metadata.get("model").cloned(),
            seed: words.parsed("seed")?,
            normalisation: words.json("normalisation")?,
            preprocessing: words.json("preprocessing")?,
            classes: words.json("classes")?,
        };
        let (channels, outputs) = (graph.input().channels(), graph.output().elements());
        if let Some(Normalisation { mean, deviation }) = &info.normalisation
            && (mean.len(), deviation.len()) != (channels, channels)
        {
            return Err(words.wrong(format!(
                "its metadata normalises images by {} means and {} deviations, and the model reads {channels} channels",
                mean.len(),
                deviation.len()
            )));
        }
        if let Some(classes) = info.classes.as_ref().filter(|classes| classes.len() != outputs) {
            return Err(words.wrong(format!(
                "its metadata names {} classes, and the model has {outputs} outputs",
                classes.len()
            )));
        }
        Ok(info)
    }

    /// How images are to be prepared for the weights in `file`; `None` if the file does not say.
    ///
    /// # Errors
    /// Statistics beside the file that are missing or damaged.
    pub fn preparation(&self, file: &Path) -> Result<Option<Preparation>, TrainError> {
        let normalised = || self.normalisation.clone().map(Preparation::Normalised);
        let Some(asked) = self.preprocessing else { return Ok(normalised()) };
        let statistics = file.with_file_name(STATISTICS);
        let read = Preparation::read(&statistics, asked, &Normalisation::identity(1));
        Ok(Some(read?))
    }

    /// The name of each of a model's outputs: its number, where the file does not say it.
    pub fn class_names(&self, graph: &Graph) -> Vec<String> {
        let outputs = graph.output().elements();
        match &self.classes {
            Some(names) => names.clone(),
            None => (0..outputs).map(|class| class.to_string()).collect(),
        }
    }

    /// The same as metadata of a weights file.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let entries = [
            ("format_version", Some(FORMAT_VERSION.to_string())),
            ("model", self.model.clone()),
            ("seed", self.seed.map(|seed| seed.to_string())),
            ("normalisation", self.normalisation.as_ref().map(json)),
            ("preprocessing", self.preprocessing.as_ref().map(json)),
            ("classes", self.classes.as_ref().map(json)),
        ];
        let present = entries.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        present.collect()
    }
}

impl Checkpoint {
    /// Reads a checkpoint of a model.
    ///
    /// # Errors
    /// A file that cannot be read, holds another model's weights, or is no checkpoint.
    pub fn read(path: &Path, graph: &Graph) -> Result<Checkpoint, TrainError> {
        let file = WeightsFile::read(path)?;
        let words = Words { path, metadata: &file.metadata };
        let info = Info::read(path, &file, graph)?;
        let progress = Progress {
            step: words.needed("step")?,
            epoch: words.needed("epoch")?,
            epoch_loss: words.needed("epoch_loss")?,
            epoch_correct: words.needed("epoch_correct")?,
            epoch_images: words.needed("epoch_images")?,
            best: words.parsed("best_accuracy")?,
            plateau: words.json("plateau")?.unwrap_or_default(),
            diagnosis: words.json("diagnosis")?.unwrap_or_default(),
        };
        let data = words.json("data_digest")?;
        let (weights, momentum) = (file.weights(graph)?, file.momentum(graph)?);
        let squares = file.squares(graph)?;
        let momentum = momentum.ok_or_else(|| words.wrong("it holds no momentum".to_owned()))?;
        let all = [&weights, &momentum].into_iter().chain(&squares);
        if !all.into_iter().all(Weights::is_finite) {
            return Err(words.wrong("some of its numbers are not finite".to_owned()));
        }
        Ok(Checkpoint { weights, momentum, squares, info, progress, data })
    }

    /// What stands in the way of going on with a run that is described like this and trains on so many images.
    pub(super) fn differs(
        &self,
        info: &Info,
        data: &Dataset,
        (recipe, images): (&Recipe, usize),
    ) -> Option<String> {
        if (&self.info.model, self.info.seed) != (&info.model, info.seed) {
            return Some("its model or its recipe's seed was changed since it began".to_owned());
        }
        let restore = "give it the data it began with (`--data` says where they are now), or begin a new run from its \
                       weights (`--weights`)";
        if self.info.classes != info.classes {
            return Some(format!("the data is not what it was: other classes; {restore}"));
        }
        if let Some(changes) = self.data.as_ref().and_then(|was| was.changes(data.digest())) {
            return Some(format!("the data is not what it was: {changes}; {restore}"));
        }
        if self.info != *info {
            return Some(format!(
                "the data is not what it was: images with other means or deviations; {restore}"
            ));
        }
        if !self.progress.is_of(recipe.epochs, images, recipe.batch) {
            return Some(
                "its last checkpoint does not go with its recipe and data: one of them was changed since it began"
                    .to_owned(),
            );
        }
        None
    }

    /// Writes it; a file of this name is replaced whole or not at all.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn save(&self, path: &Path) -> Result<(), TrainError> {
        let mut metadata = self.info.metadata();
        let Progress { step, epoch, epoch_loss, epoch_correct, epoch_images, .. } = &self.progress;
        let Progress { best, plateau, diagnosis, .. } = &self.progress;
        let plateau = (*plateau != Plateau::default()).then(|| json(plateau));
        let diagnosis = (*diagnosis != Diagnosis::default()).then(|| json(diagnosis));
        // Debug prints a float so that it reads back to the same bits.
        let entries = [
            ("step", Some(step.to_string())),
            ("epoch", Some(epoch.to_string())),
            ("epoch_loss", Some(format!("{epoch_loss:?}"))),
            ("epoch_correct", Some(epoch_correct.to_string())),
            ("epoch_images", Some(epoch_images.to_string())),
            ("best_accuracy", best.map(|best| format!("{best:?}"))),
            ("plateau", plateau),
            ("diagnosis", diagnosis),
            ("data_digest", self.data.as_ref().map(json)),
        ];
        let present = entries.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        metadata.extend(present);
        let moments = Moments { momentum: Some(&self.momentum), squares: self.squares.as_ref() };
        Ok(save(path, self.weights.tensors(), moments, &metadata)?)
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain data is JSON")
}

/// A file's metadata with the file's name for messages.
struct Words<'a> {
    path: &'a Path,
    metadata: &'a BTreeMap<String, String>,
}

impl Words<'_> {
    fn wrong(&self, problem: String) -> TrainError {
        TrainError::Checkpoint { file: self.path.to_owned(), problem }
    }

    fn unreadable(&self, key: &str, text: &str, error: impl Display) -> TrainError {
        self.wrong(format!("its metadata has `{key}` = `{text}`: {error}"))
    }

    fn parsed<T: FromStr<Err: Display>>(&self, key: &str) -> Result<Option<T>, TrainError> {
        let parse = |text: &String| text.parse().map_err(|error| self.unreadable(key, text, error));
        self.metadata.get(key).map(parse).transpose()
    }

    fn needed<T: FromStr<Err: Display>>(&self, key: &str) -> Result<T, TrainError> {
        self.parsed(key)?.ok_or_else(|| self.wrong(format!("its metadata has no `{key}`")))
    }

    fn json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, TrainError> {
        let parse = |text: &String| {
            serde_json::from_str(text).map_err(|error| self.unreadable(key, text, error))
        };
        self.metadata.get(key).map(parse).transpose()
    }
}
