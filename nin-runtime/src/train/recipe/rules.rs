//! The range of every setting that is a number.

use super::{Init, LastLayer, LayerSettings, MAX_KERNEL, MAX_PAD, Recipe};
use crate::compile::MAX_BATCH;
use crate::compiler::optimizer::{Optimizer, Squares};
use crate::data::Preprocessing;
use crate::train::{Augment, Schedule};

/// What a setting must be.
pub(super) struct Rule {
    /// The setting.
    pub(super) name: &'static str,
    /// What it is.
    pub(super) value: f64,
    /// Whether that is in its range.
    pub(super) holds: bool,
    /// The range, after "must be".
    pub(super) allowed: &'static str,
}

impl Rule {
    fn new(name: &'static str, value: f64, holds: bool, allowed: &'static str) -> Rule {
        Rule { name, value, holds, allowed }
    }

    fn positive(name: &'static str, value: f64) -> Rule {
        Rule::new(name, value, is_positive(value), "above 0")
    }

    /// A share of something that is never all of it.
    fn share(name: &'static str, value: f64) -> Rule {
        Rule::new(name, value, (0.0..1.0).contains(&value), "from 0 to below 1")
    }

    /// What something is multiplied by that must not grow.
    fn factor(name: &'static str, value: f64) -> Rule {
        Rule::new(name, value, value > 0.0 && value <= 1.0, "above 0 and at most 1")
    }
}

fn is_positive(x: f64) -> bool {
    x.is_finite() && x > 0.0
}

impl Recipe {
    /// The rules of all settings that it has, in the order of its text.
    pub(super) fn rules(&self) -> Vec<Rule> {
        let own = [
            Rule::new("epochs", f64::from(self.epochs), self.epochs >= 1, "at least 1"),
            Rule::new(
                "batch",
                self.batch as f64,
                (1..=MAX_BATCH).contains(&self.batch),
                "from 1 to 1,048,576",
            ),
            // TOML's whole numbers end there.
            Rule::new("seed", self.seed as f64, self.seed < 1 << 63, "below 2^63"),
            Rule::share("validation", self.validation),
            Rule::positive("lr", self.lr),
            Rule::positive("bias_lr", self.bias_lr),
            Rule::share("momentum", self.momentum),
            Rule::share("weight_decay", self.weight_decay),
            Rule::new("clip", self.clip, self.clip > 0.0, "above 0; `inf` for none"),
            Rule::share("label_smoothing", self.label_smoothing),
        ];
        let mut rules: Vec<Rule> = own.into();
        rules.extend(self.optimizer.rules());
        rules.extend(self.augment.rules());
        rules.extend(self.preprocessing.rules());
        rules.extend(self.schedule.rules());
        rules.extend(self.init.rules());
        rules.extend(self.last_layer.rules());
        rules.extend(self.layers.iter().flat_map(LayerSettings::rules));
        rules
    }
}

impl Optimizer {
    fn rules(&self) -> Vec<Rule> {
        match *self {
            Optimizer::Sgd | Optimizer::Nesterov => vec![],
            Optimizer::Adam(Squares { squares, epsilon })
            | Optimizer::AdamW(Squares { squares, epsilon }) => vec![
                Rule::share("optimizer.squares", squares),
                Rule::positive("optimizer.epsilon", epsilon),
            ],
        }
    }
}

impl Augment {
    fn rules(&self) -> [Rule; 1] {
        let pad = self.pad;
        [Rule::new("augment.pad", pad as f64, pad <= MAX_PAD, "from 0 to 1,024")]
    }
}

impl Preprocessing {
    fn rules(&self) -> Vec<Rule> {
        match *self {
            Preprocessing::Normalise => vec![],
            Preprocessing::Mean { scale } => vec![Rule::positive("preprocessing.scale", scale)],
            Preprocessing::Zca { scale, bias } => vec![
                Rule::positive("preprocessing.scale", scale),
                Rule::positive("preprocessing.bias", bias),
            ],
            Preprocessing::Lcn { kernel, threshold } => vec![
                Rule::new(
                    "preprocessing.kernel",
                    kernel as f64,
                    kernel % 2 == 1 && kernel <= MAX_KERNEL,
                    "an odd number below 256",
                ),
                Rule::positive("preprocessing.threshold", threshold),
            ],
        }
    }
}

impl Schedule {
    fn rules(&self) -> Vec<Rule> {
        let mut rules = match self {
            Schedule::Constant { .. } | Schedule::Cosine { .. } => vec![],
            Schedule::Step { parts, factor, .. } => {
                let wrong = parts.iter().copied().find(|&part| !is_positive(part));
                let sound = !parts.is_empty() && wrong.is_none();
                let allowed = "at least one number, each above 0";
                vec![
                    Rule::new("schedule.parts", wrong.unwrap_or(0.0), sound, allowed),
                    Rule::factor("schedule.factor", *factor),
                ]
            }
            Schedule::Plateau { factor, patience, .. } => vec![
                Rule::factor("schedule.factor", *factor),
                Rule::new("schedule.patience", f64::from(*patience), *patience >= 1, "at least 1"),
            ],
            Schedule::OneCycle { start, end, .. } => vec![
                Rule::factor("schedule.start", *start),
                Rule::new("schedule.end", *end, (0.0..=1.0).contains(end), "from 0 to 1"),
            ],
        };
        rules.push(Rule::share("schedule.warmup", self.warmup()));
        rules
    }
}

impl Init {
    fn rules(&self) -> Vec<Rule> {
        match *self {
            Init::He => vec![],
            Init::Gaussian { std } => vec![Rule::positive("init.std", std)],
        }
    }
}

impl LastLayer {
    fn rules(&self) -> [Rule; 3] {
        let LastLayer { weights, bias, lr } = *self;
        [
            Rule::positive("last_layer.weights", weights),
            Rule::new("last_layer.bias", bias, bias.is_finite(), "finite"),
            Rule::positive("last_layer.lr", lr),
        ]
    }
}

impl LayerSettings {
    fn rules(&self) -> Vec<Rule> {
        let LayerSettings { lr, bias_lr, weight_decay, std, .. } = *self;
        let positive = |name, value: Option<f64>| value.map(|value| Rule::positive(name, value));
        let rules = [
            positive("layers.lr", lr),
            positive("layers.bias_lr", bias_lr),
            weight_decay.map(|decay| Rule::share("layers.weight_decay", decay)),
            positive("layers.std", std),
        ];
        rules.into_iter().flatten().collect()
    }
}
