//! [`Trainer`]: the loop over epochs and steps.

mod resume;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use ndarray::s;
use nin_dsl::graph::Role;

pub use resume::Resumed;

use super::checkpoint::{Checkpoint, Info, Progress};
use super::diagnosis::Verdict;
use super::evaluate::{Evaluation, Evaluator};
use super::feed::{Batch, Feed};
use super::folder::{ALGO, Beginning, EpochLine, ISA, Recorder, RunFolder, StepLine};
use super::init::{OutputLayer, init};
use super::random::{Stream, shuffled};
use super::{EpochReport, Event, Outcome, Recipe, RecipeError, StepReport, TrainError};
use crate::Hyper;
use crate::compile::{self, Machine, Purpose};
use crate::data::{Dataset, Normalisation, Preparation, Preprocessing};
use crate::model::Model;
use crate::run::exec::{Program, Session, StepParams};
use crate::weights::Weights;

/// How much work a crash may cost where epochs are long.
const SAVE: Duration = Duration::from_secs(300);

/// A training run.
///
/// # Examples
/// ```
/// use std::ops::ControlFlow;
///
/// use nin::data::{Dataset, Split};
/// use nin::ndarray::Array4;
/// use nin::train::{Event, Recipe};
/// use nin::{Model, Trainer};
///
/// // Bright images are of class 1.
/// let split = |n: usize| {
///     let images = Array4::from_shape_fn((n, 1, 6, 6), |(n, ..)| (n % 2 * 200) as u8);
///     Split::new(images, (0..n as u32).map(|n| n % 2).collect())
/// };
/// let classes = vec!["dark".to_owned(), "bright".to_owned()];
/// let data = Dataset::new("halves", split(64)?, split(16)?, classes)?;
/// let text = "< input(1, 6, 6) conv(4) relu conv(2, kernel = 1) gap softmax >";
/// let model = Model::from_text("halves", text, &[])?;
/// let recipe = Recipe { epochs: 4, batch: 8, ..Recipe::default() };
/// let mut trainer = Trainer::new(&model, &data, recipe)?;
/// let mut accuracy = 0.0;
/// trainer.run(|event| {
///     if let Event::Epoch(report) = event {
///         accuracy = report.test.accuracy();
///     }
///     ControlFlow::Continue(())
/// })?;
/// assert_eq!(accuracy, 1.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Trainer<'d> {
    data: &'d Dataset,
    recipe: Recipe,
    info: Info,
    preparation: Preparation,
    session: Session,
    evaluator: Evaluator,
    /// Learning rate factor and weight decay of each weight.
    rates: Vec<(f64, f64)>,
    train: Vec<u32>,
    validation: Vec<u32>,
    progress: Progress,
    recorder: Option<Recorder>,
    saved: Instant,
    resumed: Option<Resumed>,
}

impl<'d> Trainer<'d> {
    /// Prepares a run from fresh weights on this machine's cores. Nothing is written to files.
    ///
    /// # Errors
    /// A recipe out of range, data that does not fit the model, or a model that cannot be compiled.
    pub fn new(
        model: &Model,
        data: &'d Dataset,
        recipe: Recipe,
    ) -> Result<Trainer<'d>, TrainError> {
        Trainer::with_machine(model, data, recipe, Machine::default())
    }

    /// As [`Trainer::new`], on so many threads and with this instruction set.
    ///
    /// # Errors
    /// As [`Trainer::new`].
    pub fn with_machine(
        model: &Model,
        data: &'d Dataset,
        recipe: Recipe,
        machine: Machine,
    ) -> Result<Trainer<'d>, TrainError> {
        check(model, data, &recipe)?;
        let (train, _) = divided(data.train().len(), &recipe)?;
        let normalisation = normalisation(data, &recipe)?;
        let preparation = recipe.preprocessing.fit(data.train(), &train, &normalisation)?;
        Trainer::prepared(model, data, recipe, machine, preparation)
    }

    /// A run whose images' statistics are known.
    fn prepared(
        model: &Model,
        data: &'d Dataset,
        recipe: Recipe,
        machine: Machine,
        preparation: Preparation,
    ) -> Result<Trainer<'d>, TrainError> {
        let graph = model.graph();
        preparation.check(data.shape())?;
        let (train, validation) = divided(data.train().len(), &recipe)?;
        compile::check_numbers(graph, recipe.batch.min(train.len()))?;
        let options = machine.options(recipe.batch, Purpose::Training);
        let weights = init(graph, &recipe);
        let mut session = model.compile(&options)?.session(&weights)?;
        session.reserve(recipe.optimizer)?;
        let evaluator = Evaluator::new(graph, &weights, recipe.batch, &machine)?;
        let slow = OutputLayer::of(graph).filter(|last| last.under_relu);
        let rate = |(id, weight): (_, &nin_dsl::graph::Weight)| {
            let own = recipe.layer(&weight.name);
            let is_slow = slow.is_some_and(|last| last.has(id));
            let usual = if is_slow { recipe.last_layer.lr } else { 1.0 };
            let factor = own.and_then(|layer| layer.lr).unwrap_or(usual);
            let bias = own.and_then(|layer| layer.bias_lr).unwrap_or(recipe.bias_lr);
            let decay = own.and_then(|layer| layer.weight_decay).unwrap_or(recipe.weight_decay);
            match weight.role {
                Role::Kernel => (factor, decay),
                Role::Bias => (factor * bias, 0.0),
                Role::Scale
                | Role::Shift
                | Role::Slope
                | Role::RunningMean
                | Role::RunningVariance => (factor, 0.0),
            }
        };
        let rates = graph.weight_ids().zip(graph.weights()).map(rate).collect();
        let info = Info {
            model: Some(model.resolved_text()),
            seed: Some(recipe.seed),
            normalisation: match &preparation {
                Preparation::Normalised(normalisation) => Some(normalisation.clone()),
                Preparation::Centred { .. }
                | Preparation::Whitened { .. }
                | Preparation::Local { .. } => None,
            },
            preprocessing: Some(recipe.preprocessing)
                .filter(|asked| *asked != Preprocessing::Normalise),
            classes: Some(data.classes().to_vec()),
        };
        let (progress, recorder) = (Progress::default(), None);
        Ok(Trainer {
            data,
            recipe,
            info,
            preparation,
            session,
            evaluator,
            rates,
            train,
            validation,
            progress,
            recorder,
            saved: Instant::now(),
            resumed: None,
        })
    }

    /// Starts from given weights in place of fresh ones.
    ///
    /// # Errors
    /// Weights of another model, and weights that are not finite.
    pub fn start_from(&mut self, weights: &Weights) -> Result<(), TrainError> {
        if !weights.is_finite() {
            return Err(TrainError::NotFinite);
        }
        Ok(self.session.set_weights(weights)?)
    }

    /// Keeps the run in a new folder, from its first checkpoint on.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn record_in(&mut self, folder: RunFolder) -> Result<(), TrainError> {
        let plan = plan_text(self.session.program());
        let model = self.info.model.clone().unwrap_or_default();
        let preparation = &self.preparation;
        let run = Beginning { model: &model, recipe: &self.recipe, plan: &plan, preparation };
        self.recorder = Some(Recorder::begin(folder, &run)?);
        self.save(true)
    }

    /// The recipe.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The folder the run is kept in.
    pub fn folder(&self) -> Option<&RunFolder> {
        self.recorder.as_ref().map(Recorder::folder)
    }

    /// The compiled model.
    pub fn program(&self) -> &Program {
        self.session.program()
    }

    /// The classes' names, by output.
    pub fn classes(&self) -> &[String] {
        self.data.classes()
    }

    /// Images a training epoch sees, and images held back to validate.
    pub fn images(&self) -> (usize, usize) {
        (self.train.len(), self.validation.len())
    }

    /// Steps done.
    pub fn step(&self) -> u64 {
        self.progress.step
    }

    /// Steps of the whole run.
    pub fn steps(&self) -> u64 {
        self.steps_per_epoch() * u64::from(self.recipe.epochs)
    }

    /// The weights as they are now.
    pub fn weights(&self) -> Weights {
        self.session.weights()
    }

    /// Trains to the last epoch, or until the callback breaks; then the run is saved and can be resumed.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] if the loss or a weight is not finite any more, and failures to write to the run folder.
    pub fn run(
        &mut self,
        mut on: impl FnMut(&Event) -> ControlFlow<()>,
    ) -> Result<Outcome, TrainError> {
        while self.progress.epoch < self.recipe.epochs {
            let start = Instant::now();
            if self.take_steps(&mut on)?.is_break() {
                self.save(self.validation.is_empty())?;
                return Ok(Outcome::Stopped);
            }
            let report = self.finish_epoch(start)?;
            let over = report.epoch == self.recipe.epochs;
            if on(&Event::Epoch(report)).is_break() && !over {
                return Ok(Outcome::Stopped);
            }
        }
        Ok(Outcome::Finished)
    }

    /// The steps left of the epoch under way.
    fn take_steps(
        &mut self,
        on: &mut impl FnMut(&Event) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, TrainError> {
        let Recipe { batch, seed, augment, .. } = self.recipe;
        let (data, preparation) = (self.data, self.preparation.clone());
        let epoch = self.progress.epoch;
        let order = shuffled(&self.train, seed, Stream::Order, epoch);
        let done = self.progress.step - u64::from(epoch) * self.steps_per_epoch();
        let batches = order.chunks(batch).skip(done as usize);
        let (split, preparation) = (data.train(), &preparation);
        let feed = Feed { split, preparation, augment, seed, epoch, batch };
        let mut start = Instant::now();
        feed.each(batches, |batch| {
            let report = self.take_step(batch, start)?;
            start = Instant::now();
            if self.saved.elapsed() >= SAVE {
                self.save(self.validation.is_empty())?;
            }
            Ok(on(&Event::Step(report)))
        })
    }

    /// One step, on a batch that was waited for since `start`.
    fn take_step(&mut self, batch: &Batch, start: Instant) -> Result<StepReport, TrainError> {
        let Recipe { seed, lr, momentum, clip, optimizer, label_smoothing, .. } = self.recipe;
        let (step, steps) = (self.progress.step, self.steps());
        let lr = lr * self.recipe.schedule.factor(step, steps, self.progress.plateau);
        let hyper = |&(factor, decay): &(f64, f64)| Hyper {
            lr: (lr * factor) as f32,
            momentum: momentum as f32,
            decay: decay as f32,
        };
        let hyper: Vec<Hyper> = self.rates.iter().map(hyper).collect();
        let clip = clip.is_finite().then_some(clip as f32);
        let smoothing = label_smoothing as f32;
        let params = StepParams { step, seed, hyper: &hyper, clip, optimizer, smoothing };
        let count = batch.labels.len();
        let images = batch.images.slice(s![..count, .., .., ..]);
        let outcome = self.session.step(images, &batch.labels, &params)?;
        let progress = &mut self.progress;
        progress.step += 1;
        if !outcome.loss.is_finite() {
            return Err(TrainError::Diverged { step: progress.step, what: "the loss" });
        }
        let guessing = progress.diagnosis.after_step(outcome.loss, self.data.classes().len());
        progress.epoch_loss += outcome.loss * count as f64;
        progress.epoch_correct += outcome.correct as u64;
        progress.epoch_images += count as u64;
        let report = StepReport {
            step: progress.step,
            steps,
            epoch: progress.epoch + 1,
            images: count,
            loss: outcome.loss,
            epoch_loss: progress.epoch_loss / progress.epoch_images as f64,
            epoch_accuracy: progress.epoch_correct as f64 / progress.epoch_images as f64,
            lr,
            images_per_s: count as f64 / start.elapsed().as_secs_f64(),
            guessing,
        };
        if let Some(recorder) = &mut self.recorder {
            let StepReport { step, epoch, loss, lr, images_per_s, .. } = report;
            recorder.line(&StepLine { step, epoch, loss, lr, images_per_s })?;
        }
        Ok(report)
    }

    /// Evaluates an epoch's weights and saves them.
    fn finish_epoch(&mut self, start: Instant) -> Result<EpochReport, TrainError> {
        self.evaluator.set_weights(&self.session.weights())?;
        let mut evaluate =
            |split, indices: &[u32]| self.evaluator.evaluate(split, indices, &self.preparation);
        let tested: Vec<u32> = (0..count(self.data.test().len())).collect();
        let test = evaluate(self.data.test(), &tested)?;
        let validated = !self.validation.is_empty();
        let validation = validated.then(|| evaluate(self.data.train(), &self.validation));
        let validation = validation.transpose()?;
        let Progress { epoch_loss, epoch_correct, epoch_images, best, .. } = self.progress;
        let accuracy = validation.as_ref().map(Evaluation::accuracy);
        let improved = !validated || accuracy > best;
        let train_accuracy = epoch_correct as f64 / epoch_images as f64;
        let plateau = self.recipe.schedule.watch(self.progress.plateau, train_accuracy);
        self.progress = Progress {
            plateau,
            step: self.progress.step,
            epoch: self.progress.epoch + 1,
            best: if improved { accuracy } else { best },
            diagnosis: self.progress.diagnosis,
            ..Progress::default()
        };
        let Verdict { guessing, stays_dead } = self.progress.diagnosis.after_epoch(&test);
        let report = EpochReport {
            epoch: self.progress.epoch,
            train_loss: epoch_loss / epoch_images as f64,
            train_accuracy,
            validation,
            test,
            seconds: start.elapsed().as_secs_f64(),
            guessing,
            stays_dead,
        };
        if let Some(recorder) = &mut self.recorder {
            recorder.line(&EpochLine {
                epoch: report.epoch,
                train_loss: report.train_loss,
                train_accuracy: report.train_accuracy,
                val_accuracy: accuracy,
                test_loss: report.test.loss,
                test_accuracy: report.test.accuracy(),
                seconds: report.seconds,
            })?;
        }
        self.save(improved)?;
        Ok(report)
    }

    /// Writes a checkpoint to the run folder, if there is one; weights that are not finite are never written.
    fn save(&mut self, best: bool) -> Result<(), TrainError> {
        self.saved = Instant::now();
        let weights = self.session.weights();
        if !weights.is_finite() {
            return Err(TrainError::Diverged { step: self.progress.step, what: "a weight" });
        }
        let Some(recorder) = &mut self.recorder else { return Ok(()) };
        let checkpoint = Checkpoint {
            weights,
            momentum: self.session.momentum()?,
            squares: self.session.squares()?,
            info: self.info.clone(),
            progress: self.progress.clone(),
            data: Some(self.data.digest().clone()),
        };
        recorder.save(&checkpoint, best)
    }

    fn steps_per_epoch(&self) -> u64 {
        self.train.len().div_ceil(self.recipe.batch) as u64
    }
}

/// The instruction set, the algorithms and the plan of a program, as a run folder keeps them.
fn plan_text(program: &Program) -> String {
    let plan = program.plan().display(program.graph());
    format!("{ISA}{}{ALGO}{}\n{plan}", program.isa(), program.algo())
}

/// Whether a recipe can be followed with a model and data.
fn check(model: &Model, data: &Dataset, recipe: &Recipe) -> Result<(), TrainError> {
    recipe.check()?;
    recipe.check_layers(model.graph())?;
    Ok(data.check(model.graph())?)
}

/// The recipe's constants, or the training images' own.
fn normalisation(data: &Dataset, recipe: &Recipe) -> Result<Normalisation, TrainError> {
    let given = recipe.normalisation.as_ref();
    let normalisation = given.unwrap_or_else(|| data.normalisation());
    normalisation.check(data.shape())?;
    Ok(normalisation.clone())
}

fn count(images: usize) -> u32 {
    u32::try_from(images).expect("fewer than 2^32 images")
}

/// Training and validation images: a share of a shuffled list is held back.
fn divided(images: usize, recipe: &Recipe) -> Result<(Vec<u32>, Vec<u32>), RecipeError> {
    let all: Vec<u32> = (0..count(images)).collect();
    if recipe.validation == 0.0 {
        return Ok((all, vec![]));
    }
    let held_back = (images as f64 * recipe.validation).round() as usize;
    if held_back == 0 || held_back == images {
        return Err(RecipeError::Division { share: recipe.validation, held_back, images });
    }
    let mut validation = shuffled(&all, recipe.seed, Stream::Validation, 0);
    let mut train = validation.split_off(held_back);
    validation.sort_unstable();
    train.sort_unstable();
    Ok((train, validation))
}
