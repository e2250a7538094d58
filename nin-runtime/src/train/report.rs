//! What a run tells as it goes on: [`Event`]s, and its [`Outcome`].

use super::Evaluation;
#[cfg(doc)]
use super::{DEAD_EPOCHS, GUESSING};

/// What happens in a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A step was taken.
    Step(StepReport),
    /// An epoch is over and its weights are evaluated and saved.
    Epoch(EpochReport),
}

/// A step that was taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Steps done, this one included.
    pub step: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// Epoch under way, from 1.
    pub epoch: u32,
    /// Images of this step.
    pub images: usize,
    /// Mean loss of the step's images, before its update.
    pub loss: f64,
    /// Mean loss of the epoch's images so far.
    pub epoch_loss: f64,
    /// Accuracy on the epoch's images so far.
    pub epoch_accuracy: f64,
    /// Learning rate, before layer factors.
    pub lr: f64,
    /// Speed of this step.
    pub images_per_s: f64,
    /// Whether the loss has now been that of answering every class alike, ln(classes), for [`GUESSING`] steps on end. It is
    /// told once: the network is probably dead, and begins to learn late or never.
    pub guessing: bool,
}

/// An epoch that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochReport {
    /// Epochs done, this one included.
    pub epoch: u32,
    /// Mean loss of the training images, each at its step.
    pub train_loss: f64,
    /// Accuracy on the training images, each at its step.
    pub train_accuracy: f64,
    /// On the validation images, if any.
    pub validation: Option<Evaluation>,
    /// On the test images.
    pub test: Evaluation,
    /// Time since the epoch began or was resumed, evaluation included.
    pub seconds: f64,
    /// Whether every test image has now got the same answer for [`DEAD_EPOCHS`] on end. It is told once, unless
    /// [`StepReport::guessing`] told it: a layer is probably dead, and biases behind it keep the loss off ln(classes).
    pub guessing: bool,
    /// Whether there have now been [dead outputs](Evaluation::dead) for [`DEAD_EPOCHS`] on end. It is told once: their classes
    /// will probably never be answered.
    pub stays_dead: bool,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All epochs are done.
    Finished,
    /// The callback asked to stop; the run can be resumed.
    Stopped,
}
