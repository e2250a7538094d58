//! [`Recipe`]: every setting of a training run, with its default, read from and written as TOML.

mod text;

use std::f64::consts::PI;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::TrainError;
use crate::compile::MAX_BATCH;
use crate::data::{Normalisation, Spec, UnknownSpec};

/// How to train. Settings that a file leaves out have their defaults; a run folder keeps all of them.
///
/// # Examples
/// ```
/// use nin_runtime::train::{Recipe, Schedule};
///
/// let recipe = Recipe::from_toml("epochs = 3\n[schedule]\nkind = \"constant\"\n")?;
/// assert_eq!(recipe, Recipe { epochs: 3, schedule: Schedule::Constant, ..Recipe::default() });
/// # Ok::<(), nin_runtime::train::RecipeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// The dataset as `--data` has it, for the command line; the library is given its dataset as a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The file of the weights to start from in place of fresh ones, for the command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// How often every training image is seen.
    pub epochs: u32,
    /// Images a step; the last step of an epoch has what is left.
    pub batch: usize,
    /// Determines initial weights, the images' order and dropout.
    pub seed: u64,
    /// Share of the training images held back to choose `best.safetensors` by.
    pub validation: f64,
    /// Learning rate, before schedule and layer factors.
    pub lr: f64,
    /// Share of the momentum that stays from step to step.
    pub momentum: f64,
    /// Weight decay, of kernels only.
    pub weight_decay: f64,
    /// The longest the gradient of all weights together may be (its norm); a longer one is scaled down to it. `inf` lets
    /// any pass.
    pub clip: f64,
    /// How the learning rate changes over the run.
    pub schedule: Schedule,
    /// What kernels start as; biases start at zero.
    pub init: Init,
    /// How the last convolution differs where a ReLU follows it.
    pub last_layer: LastLayer,
    /// Constants to normalise pixels with, in place of the training images' own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalisation: Option<Normalisation>,
}

/// The learning rate's factor over a run. It is scaled to the number of steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// 1 all the time.
    Constant,
    /// Rises in a line over the first steps, then falls as half a cosine, to 0 at the end.
    Cosine {
        /// Share of the steps on which it rises.
        warmup: f64,
    },
}

/// The distribution of a kernel's first weights, each normal with mean 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Init {
    /// Variance 2 / fan-in, which keeps the scale of activations through ReLUs (He et al., 2015).
    He,
    /// The same deviation everywhere.
    Gaussian {
        /// The deviation.
        std: f64,
    },
}

/// How the model's last convolution is started and moved where a ReLU follows it, as in the paper.
///
/// An output whose ReLU is off at every pixel of every image has no gradient and never comes back. Outputs that start
/// small and positive and move slowly do not get there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LastLayer {
    /// Factor of its first weights.
    pub weights: f64,
    /// Its first bias.
    pub bias: f64,
    /// Factor of its learning rate.
    pub lr: f64,
}

/// Settings that cannot be followed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RecipeError {
    /// A text is no recipe, or a setting in it is out of range.
    #[error("{line}:{column}: {problem}")]
    Text {
        /// Line of the mistake, from 1.
        line: usize,
        /// Its column, from 1.
        column: usize,
        /// What is wrong there.
        problem: String,
    },
    /// A number is out of range.
    #[error("`{name}` is {value}; it must be {allowed}")]
    Range {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it can be.
        allowed: &'static str,
    },
    /// The dataset's name is none.
    #[error("`data`: {0}")]
    Data(UnknownSpec),
    /// A share of the training images is none or all of them.
    #[error(
        "`validation` is {share}, which holds back {held_back} of {images} training images: some must be left on both \
         sides"
    )]
    Division {
        /// The share.
        share: f64,
        /// Images of this share.
        held_back: usize,
        /// All training images.
        images: usize,
    },
}

impl RecipeError {
    /// The setting at fault, with its table: `schedule.warmup`.
    fn setting(&self) -> Option<&'static str> {
        match self {
            RecipeError::Text { .. } => None,
            RecipeError::Range { name, .. } => Some(name),
            RecipeError::Data(_) => Some("data"),
            RecipeError::Division { .. } => Some("validation"),
        }
    }
}

impl Default for Recipe {
    fn default() -> Recipe {
        Recipe {
            data: None,
            weights: None,
            epochs: 10,
            batch: 128,
            seed: 1,
            validation: 0.0,
            lr: 0.1,
            momentum: 0.9,
            weight_decay: 1e-4,
            clip: 5.0,
            schedule: Schedule::Cosine { warmup: 0.15 },
            init: Init::He,
            last_layer: LastLayer::default(),
            normalisation: None,
        }
    }
}

impl Default for LastLayer {
    fn default() -> LastLayer {
        LastLayer { weights: 0.1, bias: 1.0, lr: 0.1 }
    }
}

impl Schedule {
    /// The factor at `step` (from 0) of `steps`.
    pub fn factor(self, step: u64, steps: u64) -> f64 {
        match self {
            Schedule::Constant => 1.0,
            Schedule::Cosine { warmup } => {
                let (done, warmup) = ((step + 1) as f64, (warmup * steps as f64).round());
                if done <= warmup {
                    done / warmup
                } else {
                    let share = (step as f64 - warmup) / (steps as f64 - warmup);
                    0.5 + 0.5 * (PI * share).cos()
                }
            }
        }
    }
}

impl Recipe {
    /// Reads a recipe; settings that are not there have their defaults.
    ///
    /// # Errors
    /// [`RecipeError::Text`] for text that is no TOML, a setting that does not exist, and a value of another kind or out
    /// of range.
    pub fn from_toml(text: &str) -> Result<Recipe, RecipeError> {
        text::read(text)
    }

    /// Reads a recipe's file.
    ///
    /// # Errors
    /// A file that cannot be read, and as [`Recipe::from_toml`].
    pub fn from_file(file: &Path) -> Result<Recipe, TrainError> {
        let text = fs::read_to_string(file)
            .map_err(|error| TrainError::Io { file: file.to_owned(), error })?;
        Recipe::from_toml(&text)
            .map_err(|error| TrainError::RecipeFile { file: file.to_owned(), error })
    }

    /// Every setting, defaults included.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a checked recipe can be written (a bug in nin)")
    }

    /// Whether every number is in its range and the dataset is one that nin knows.
    ///
    /// # Errors
    /// The first setting that is not.
    pub fn check(&self) -> Result<(), RecipeError> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let share = |x: f64| (0.0..1.0).contains(&x);
        let warmup = match self.schedule {
            Schedule::Constant => 0.0,
            Schedule::Cosine { warmup } => warmup,
        };
        let deviation = match self.init {
            Init::He => 1.0,
            Init::Gaussian { std } => std,
        };
        let LastLayer { weights, bias, lr } = self.last_layer;
        let rules = [
            ("epochs", f64::from(self.epochs), self.epochs >= 1, "at least 1"),
            (
                "batch",
                self.batch as f64,
                (1..=MAX_BATCH).contains(&self.batch),
                "from 1 to 1,048,576",
            ),
            // TOML's whole numbers end there.
            ("seed", self.seed as f64, self.seed < 1 << 63, "below 2^63"),
            ("validation", self.validation, share(self.validation), "from 0 to below 1"),
            ("lr", self.lr, positive(self.lr), "above 0"),
            ("momentum", self.momentum, share(self.momentum), "from 0 to below 1"),
            ("weight_decay", self.weight_decay, share(self.weight_decay), "from 0 to below 1"),
            ("clip", self.clip, self.clip > 0.0, "above 0; `inf` for none"),
            ("schedule.warmup", warmup, share(warmup), "from 0 to below 1"),
            ("init.std", deviation, positive(deviation), "above 0"),
            ("last_layer.weights", weights, positive(weights), "above 0"),
            ("last_layer.bias", bias, bias.is_finite(), "finite"),
            ("last_layer.lr", lr, positive(lr), "above 0"),
        ];
        if let Some((name, value, _, allowed)) = rules.into_iter().find(|&(_, _, holds, _)| !holds)
        {
            return Err(RecipeError::Range { name, value, allowed });
        }
        let data = self.data.as_deref().map(str::parse::<Spec>).transpose();
        data.map(|_| ()).map_err(RecipeError::Data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_has_its_default_and_that_is_in_range() {
        assert_eq!(Recipe::from_toml(""), Ok(Recipe::default()));
        assert_eq!(Recipe::default().check(), Ok(()));
        let error = Recipe { momentum: 1.0, ..Recipe::default() }.check().unwrap_err();
        assert_eq!(error.to_string(), "`momentum` is 1; it must be from 0 to below 1");
    }

    #[test]
    fn the_cosine_rises_and_falls_to_the_end() {
        let schedule = Schedule::Cosine { warmup: 0.25 };
        let factors: Vec<f64> = (0..8).map(|step| schedule.factor(step, 8)).collect();
        assert_eq!(factors[..3], [0.5, 1.0, 1.0]);
        assert!(factors[2..].is_sorted_by(|a, b| a > b), "{factors:?}");
        assert!((0.0..0.1).contains(&factors[7]));
        // A run of one step does not divide by zero.
        assert_eq!(schedule.factor(0, 1), 1.0);
    }
}
