//! [`Schedule`]: how the learning rate changes over a run.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// The learning rate's factor over a run. It is scaled to the number of steps; where there is a `warmup`, a share of the
/// steps, the factor rises over it in a line from 0.
///
/// # Examples
/// ```
/// use nin::train::{Plateau, Schedule};
///
/// // The paper's: 200 epochs, 30 at a tenth, 30 at a hundredth.
/// let schedule = Schedule::Step { parts: vec![200.0, 30.0, 30.0], factor: 0.1, warmup: 0.0 };
/// let at = |epoch: u64| schedule.factor(epoch, 260, Plateau::default());
/// assert_eq!((at(0), at(199), at(200)), (1.0, 1.0, 0.1));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// 1 all the time.
    Constant {
        /// Share of the steps on which it rises.
        #[serde(default)]
        warmup: f64,
    },
    /// Falls by a factor from part to part of the run.
    Step {
        /// The parts' lengths beside each other: `[200, 30, 30]` of 26 epochs are 20, 3 and 3.
        parts: Vec<f64>,
        /// What each part but the first multiplies by.
        factor: f64,
        /// Share of the steps on which it rises.
        #[serde(default)]
        warmup: f64,
    },
    /// Falls by a factor whenever accuracy on the training images, each seen at its step, has stopped to rise.
    Plateau {
        /// What it is multiplied by then.
        factor: f64,
        /// Epochs without a better accuracy until then.
        patience: u32,
        /// Share of the steps on which it rises.
        #[serde(default)]
        warmup: f64,
    },
    /// Falls as half a cosine, to 0 at the end.
    Cosine {
        /// Share of the steps on which it rises.
        warmup: f64,
    },
    /// Rises as half a cosine, then falls as another (Smith, 2018).
    OneCycle {
        /// Share of the steps on which it rises.
        warmup: f64,
        /// Factor before the first step.
        start: f64,
        /// Factor after the last.
        end: f64,
    },
}

/// What a schedule that watches accuracy has seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plateau {
    /// The best accuracy of an epoch.
    best: f64,
    /// Epochs since it was reached, or since the last fall.
    stale: u32,
    /// How often the rate fell.
    falls: u32,
}

impl Schedule {
    /// Share of the steps on which the factor rises.
    pub fn warmup(&self) -> f64 {
        match self {
            Schedule::Constant { warmup }
            | Schedule::Step { warmup, .. }
            | Schedule::Plateau { warmup, .. }
            | Schedule::Cosine { warmup }
            | Schedule::OneCycle { warmup, .. } => *warmup,
        }
    }

    /// The factor at `step` (from 0) of `steps`, after what was seen of accuracy.
    pub fn factor(&self, step: u64, steps: u64, seen: Plateau) -> f64 {
        let warmup = (self.warmup() * steps as f64).round();
        let risen = ((step + 1) as f64 / warmup).min(1.0);
        // Of the steps after the warm-up.
        let share = ((step as f64 - warmup) / (steps as f64 - warmup)).max(0.0);
        let between =
            |from: f64, to: f64, share: f64| to + (from - to) * (0.5 + 0.5 * (PI * share).cos());
        match self {
            Schedule::Constant { .. } => risen,
            Schedule::Step { parts, factor, .. } => {
                let done = step as f64 / steps as f64 * parts.iter().sum::<f64>();
                let ends = parts.iter().scan(0.0, |end, part| {
                    *end += part;
                    Some(*end)
                });
                // A hair before an end is the end: shares of steps are rounded.
                let passed = ends.take(parts.len() - 1).filter(|end| done >= end - 1e-9).count();
                risen * factor.powi(i32::try_from(passed).unwrap_or(i32::MAX))
            }
            Schedule::Plateau { factor, .. } => {
                risen * factor.powi(i32::try_from(seen.falls).unwrap_or(i32::MAX))
            }
            Schedule::Cosine { .. } if risen < 1.0 => risen,
            Schedule::Cosine { .. } => between(1.0, 0.0, share),
            Schedule::OneCycle { start, .. } if risen < 1.0 => between(*start, 1.0, risen),
            Schedule::OneCycle { end, .. } => between(1.0, *end, share),
        }
    }

    /// Takes note of an epoch's accuracy on the training images, if the schedule watches it.
    pub(super) fn watch(&self, seen: Plateau, accuracy: f64) -> Plateau {
        let Schedule::Plateau { patience, .. } = *self else { return seen };
        if accuracy > seen.best {
            return Plateau { best: accuracy, stale: 0, ..seen };
        }
        match seen.stale + 1 {
            stale if stale >= patience => Plateau { stale: 0, falls: seen.falls + 1, ..seen },
            stale => Plateau { stale, ..seen },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(schedule: &Schedule, steps: u64) -> Vec<f64> {
        (0..steps).map(|step| schedule.factor(step, steps, Plateau::default())).collect()
    }

    #[test]
    fn the_cosine_rises_and_falls_to_the_end() {
        let schedule = Schedule::Cosine { warmup: 0.25 };
        let factors = factors(&schedule, 8);
        assert_eq!(factors[..3], [0.5, 1.0, 1.0]);
        assert!(factors[2..].is_sorted_by(|a, b| a > b), "{factors:?}");
        assert!((0.0..0.1).contains(&factors[7]));
        // A run of one step does not divide by zero.
        assert_eq!(schedule.factor(0, 1, Plateau::default()), 1.0);
    }

    #[test]
    fn steps_fall_where_the_parts_end() {
        let schedule =
            |warmup| Schedule::Step { parts: vec![200.0, 30.0, 30.0], factor: 0.1, warmup };
        // As many steps as epochs in the paper: 200 at the full rate, 30 at a tenth, 30 at a hundredth.
        let found = factors(&schedule(0.0), 260);
        for (step, factor) in found.iter().enumerate() {
            let expected = [1.0, 0.1, 0.01][usize::from(step >= 200) + usize::from(step >= 230)];
            assert!((factor / expected - 1.0).abs() < 1e-12, "{step}: {factor}");
        }
        assert_eq!(factors(&schedule(0.1), 20)[..3], [0.5, 1.0, 1.0]);
    }

    #[test]
    fn one_cycle_goes_up_and_down() {
        let schedule = Schedule::OneCycle { warmup: 0.3, start: 0.04, end: 1e-5 };
        let found = factors(&schedule, 100);
        assert!((0.04..0.05).contains(&found[0]), "{found:?}");
        assert!(found[..30].is_sorted_by(|a, b| a < b) && found[29] == 1.0);
        assert!(found[30..].is_sorted_by(|a, b| a > b) && found[99] < 1e-2);
    }

    #[test]
    fn a_plateau_is_an_accuracy_that_does_not_rise() {
        let schedule = Schedule::Plateau { factor: 0.1, patience: 2, warmup: 0.0 };
        let mut seen = Plateau::default();
        let accuracies = [0.5, 0.6, 0.6, 0.7, 0.7, 0.65, 0.69, 0.7, 0.8];
        let falls = accuracies.map(|accuracy| {
            seen = schedule.watch(seen, accuracy);
            seen.falls
        });
        assert_eq!(falls, [0, 0, 0, 0, 0, 1, 1, 2, 2]);
        assert!((schedule.factor(5, 10, seen) - 0.01).abs() < 1e-15);
    }
}
