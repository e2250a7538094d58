//! [`Recipe`]: every setting of a training run, with its default, read from and written as TOML.

mod rules;
mod text;

use std::fs;
use std::path::Path;

use nin_dsl::diagnostic::nearest;
use nin_dsl::graph::Graph;
use nin_dsl::limits::TEXT_BYTES;
use serde::{Deserialize, Serialize};

use super::{Augment, Schedule, TrainError};
use crate::compiler::optimizer::Optimizer;
use crate::data::{Normalisation, Preprocessing, Spec, UnknownSpec};
use crate::file::read_text;
use rules::Rule;

/// The largest neighbourhood of local contrast normalisation.
const MAX_KERNEL: usize = 255;
/// The most zeros that are put on any side of an image.
const MAX_PAD: usize = 1024;

/// How to train. Settings that a file leaves out have their defaults; a run folder keeps all of them.
///
/// # Examples
/// ```
/// use nin::train::{Recipe, Schedule};
///
/// let recipe = Recipe::from_toml("epochs = 3\n[schedule]\nkind = \"constant\"\n")?;
/// let schedule = Schedule::Constant { warmup: 0.0 };
/// assert_eq!(recipe, Recipe { epochs: 3, schedule, ..Recipe::default() });
/// # Ok::<(), nin::train::RecipeError>(())
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
    /// Factor of the learning rate of biases.
    pub bias_lr: f64,
    /// Share of the momentum that stays from step to step; Adam's first beta.
    pub momentum: f64,
    /// Weight decay, of kernels only.
    pub weight_decay: f64,
    /// The longest the gradient of all weights together may be (its norm); a longer one is scaled down to it. `inf` lets
    /// any pass.
    pub clip: f64,
    /// Share of each label that is spread over all classes while training.
    pub label_smoothing: f64,
    /// How weights follow their gradients.
    pub optimizer: Optimizer,
    /// How training images are varied.
    pub augment: Augment,
    /// How images become the model's input.
    pub preprocessing: Preprocessing,
    /// How the learning rate changes over the run.
    pub schedule: Schedule,
    /// What kernels start as; biases start at zero.
    pub init: Init,
    /// How the layer that computes the outputs differs.
    pub last_layer: LastLayer,
    /// Constants to normalise pixels with, in place of the training images' own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalisation: Option<Normalisation>,
    /// Settings of single layers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerSettings>,
}

/// What is different about one convolution, `fc` or `batchnorm`. These settings go before those of the last layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerSettings {
    /// The name of its weights up to the last dot: `mlpconv1.cccp2` of `mlpconv1.cccp2.weight`.
    pub name: String,
    /// Factor of its learning rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// Factor, beside that one, of the learning rate of its biases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bias_lr: Option<f64>,
    /// Weight decay of its kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// Deviation of its kernel's first weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub std: Option<f64>,
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

/// How the layer that computes the outputs, a convolution or a fully connected layer, is started and moved.
///
/// Outputs that start large give gradients that kill the ReLUs before them. Where a ReLU follows the last convolution, as in the
/// paper, an output that is off at every pixel of every image has no gradient and never comes back; outputs that start
/// small and positive and move slowly do not get there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LastLayer {
    /// Factor of its first weights.
    pub weights: f64,
    /// Its first bias, if a ReLU follows; 0 otherwise.
    pub bias: f64,
    /// Factor of its learning rate, if a ReLU follows.
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
    /// A layer's settings are of a layer that the model does not have.
    #[error("`layers`: the model has no layer `{name}` with weights{}; there are {}", meant(.suggestion), .known.join(", "))]
    Layer {
        /// The layer.
        name: String,
        /// The layer that was perhaps meant.
        suggestion: Option<String>,
        /// Those that there are.
        known: Vec<String>,
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

fn meant(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map_or(String::new(), |name| format!(" (did you mean `{name}`?)"))
}

impl RecipeError {
    /// The setting at fault, with its table: `schedule.warmup`.
    fn setting(&self) -> Option<&'static str> {
        match self {
            RecipeError::Text { .. } => None,
            RecipeError::Range { name, .. } => Some(name),
            RecipeError::Layer { .. } => Some("layers"),
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
            bias_lr: 1.0,
            momentum: 0.9,
            weight_decay: 1e-4,
            clip: 5.0,
            label_smoothing: 0.0,
            optimizer: Optimizer::default(),
            augment: Augment::default(),
            preprocessing: Preprocessing::default(),
            schedule: Schedule::Cosine { warmup: 0.15 },
            init: Init::He,
            last_layer: LastLayer::default(),
            normalisation: None,
            layers: vec![],
        }
    }
}

impl Default for LastLayer {
    fn default() -> LastLayer {
        LastLayer { weights: 0.1, bias: 1.0, lr: 0.1 }
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
        let text = fs::File::open(file)
            .and_then(|open| read_text(open, TEXT_BYTES))
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
        if let Some(Rule { name, value, allowed, .. }) =
            self.rules().into_iter().find(|rule| !rule.holds)
        {
            return Err(RecipeError::Range { name, value, allowed });
        }
        let data = self.data.as_deref().map(str::parse::<Spec>).transpose();
        data.map(|_| ()).map_err(RecipeError::Data)
    }

    /// Whether a model has all of the layers that have settings of their own.
    ///
    /// # Errors
    /// The first that it does not have.
    pub fn check_layers(&self, graph: &Graph) -> Result<(), RecipeError> {
        let mut known: Vec<String> =
            graph.weights().iter().map(|weight| layer_of(&weight.name).to_owned()).collect();
        known.dedup();
        match self.layers.iter().find(|layer| !known.contains(&layer.name)) {
            None => Ok(()),
            Some(layer) => {
                let name = layer.name.clone();
                let suggestion =
                    nearest(&name, known.iter().map(String::as_str)).map(str::to_owned);
                let known = known.iter().map(|name| format!("`{name}`")).collect();
                Err(RecipeError::Layer { name, suggestion, known })
            }
        }
    }

    /// The settings of the layer that a weight belongs to, if it has any.
    pub(super) fn layer(&self, weight: &str) -> Option<&LayerSettings> {
        self.layers.iter().find(|layer| layer.name == layer_of(weight))
    }
}

/// The layer that a weight belongs to.
fn layer_of(weight: &str) -> &str {
    weight.rsplit_once('.').map_or(weight, |(layer, _)| layer)
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
}
