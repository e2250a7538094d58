//! [`Diagnosis`]: whether a network has died, by what its run has seen.

use serde::{Deserialize, Serialize};

use super::Evaluation;

/// Steps after which a loss of ln(classes) is told.
pub const GUESSING: u32 = 100;
/// Epochs on end after which the same answer to every test image, or an output that is zero on all of them, is told to last.
/// Healthy networks with fully connected heads can need one to begin.
pub const DEAD_EPOCHS: u32 = 3;
/// How near to ln(classes) a loss is that of guessing, as a share of it.
const NEAR: f64 = 1e-3;

/// What a run has seen of its network so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Diagnosis {
    /// Steps on end whose loss was that of guessing.
    guessed_steps: u32,
    /// Epochs on end after which every test image got the same answer.
    guessed_epochs: u32,
    /// Epochs on end after which some output was zero on every test image.
    dead_epochs: u32,
}

/// What is to be told after an epoch, each once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Every test image got the same answer for [`DEAD_EPOCHS`], and [`Diagnosis::after_step`] has not told it.
    pub(super) guessing: bool,
    /// There were dead outputs for [`DEAD_EPOCHS`].
    pub(super) stays_dead: bool,
}

impl Diagnosis {
    /// Takes a step's loss; whether it has now been that of guessing for [`GUESSING`] steps.
    pub(super) fn after_step(&mut self, loss: f64, classes: usize) -> bool {
        let guess = (classes as f64).ln();
        self.guessed_steps = on_end(self.guessed_steps, (loss - guess).abs() < NEAR * guess);
        self.guessed_steps == GUESSING
    }

    /// Takes an epoch's evaluation on the test images.
    pub(super) fn after_epoch(&mut self, test: &Evaluation) -> Verdict {
        self.guessed_epochs = on_end(self.guessed_epochs, test.is_guessing());
        self.dead_epochs = on_end(self.dead_epochs, !test.dead.is_empty());
        Verdict {
            guessing: self.guessed_epochs == DEAD_EPOCHS && self.guessed_steps < GUESSING,
            stays_dead: self.dead_epochs == DEAD_EPOCHS,
        }
    }
}

/// How often on end, once it happened again or did not.
fn on_end(times: u32, again: bool) -> u32 {
    if again { times.saturating_add(1) } else { 0 }
}
