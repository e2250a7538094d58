//! [`Pace`], by which a session chooses how many threads work on few images.
//!
//! Threads that share an image meet dozens of times in a millisecond. With a core each they are soonest done; while other
//! processes have the cores, a meeting takes as long as those please. How long calls took tells. Both ways compute the same bits.

/// How images are shared between threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Every image by all threads together.
    Together,
    /// All images by the caller alone.
    Alone,
    /// To each thread images of its own.
    Apart,
}

/// How long calls took, and what follows for the next.
///
/// After a call that would have been done sooner alone, calls go alone: until that has cost as much as it is there to save, if it costs
/// anything, and at most for some multiple of the time that was lost. So neither a moment's delay on a quiet machine nor an hour's
/// on a busy one costs much.
#[derive(Debug)]
pub(super) struct Pace {
    members: f64,
    /// Seconds of an image in calls that nothing came between.
    together: Option<f64>,
    alone: Option<f64>,
    /// Mean seconds of an image in the last calls together, of which none counts for more than [`OUTLIER`] allows.
    recent: Option<f64>,
    /// The same before the last one that took long: what calls alone are compared with.
    expected: Option<f64>,
    /// Seconds of calls together since one went alone.
    since_alone: f64,
    /// Calls together, as a multiple of the time that one alone takes at most, before one goes alone to be timed.
    trial: f64,
    /// Seconds of calls that are yet to go alone.
    rest: f64,
    /// What they may cost in comparison with calls together.
    allowance: f64,
    /// Seconds alone for each that was lost.
    factor: f64,
    /// Whether the other threads may have fallen asleep.
    asleep: bool,
    /// Seconds that were lost while they woke.
    waking: f64,
}

/// Seconds alone for each second that was lost, at first.
const FACTOR: f64 = 16.0;
/// The same, after tries that all went wrong.
const MOST: f64 = 1024.0;
/// Before the first trial, and before later ones.
const TRIALS: [f64; 2] = [2.0, 128.0];
/// By how much times may grow from call to call and still count as what is usual.
const DRIFT: f64 = 1.05;
/// How many times what is usual a call may count for among the recent ones, and how much the last one weighs among them.
const OUTLIER: f64 = 3.0;
const WEIGHT: f64 = 0.25;

impl Pace {
    /// Of `members` threads, which have a core each or not.
    pub(super) fn new(members: usize, crowded: bool) -> Pace {
        Pace {
            members: members as f64,
            together: None,
            alone: None,
            recent: None,
            expected: None,
            since_alone: 0.0,
            trial: TRIALS[0],
            // Threads without a core begin with a call alone.
            rest: if crowded { f64::MIN_POSITIVE } else { 0.0 },
            allowance: f64::INFINITY,
            factor: FACTOR,
            asleep: true,
            waking: 0.0,
        }
    }

    /// How the next call should go.
    pub(super) fn way(&self) -> Way {
        if self.rest > 0.0 { Way::Alone } else { Way::Together }
    }

    /// Takes note of a call.
    pub(super) fn took(&mut self, way: Way, images: usize, seconds: f64) {
        let image = seconds / images as f64;
        match way {
            Way::Together => {
                let usual = usual(self.together, image);
                self.together = Some(usual);
                self.since_alone += seconds;
                // Alone takes no longer than all threads' time.
                let alone = self.alone.unwrap_or(self.members * usual);
                let lost = seconds - alone * images as f64;
                if self.asleep {
                    // How long it takes to wake them says little of how long they take when awake.
                    (self.asleep, self.waking) = (false, lost.max(0.0));
                    return;
                }
                let counted = image.min(OUTLIER * usual);
                let before = self.recent.unwrap_or(usual);
                self.recent = Some(before + WEIGHT * (counted - before));
                self.expected = Some(before);
                if lost > 0.0 {
                    let lost = lost + self.waking;
                    (self.rest, self.allowance) = (self.factor * lost, lost);
                    self.factor = (2.0 * self.factor).min(MOST);
                    return;
                }
                (self.factor, self.waking) = (FACTOR, 0.0);
                if self.since_alone > self.trial * self.members * usual {
                    (self.rest, self.trial) = (f64::MIN_POSITIVE, TRIALS[1]);
                }
            }
            Way::Alone => {
                let usual = usual(self.alone, image);
                self.alone = Some(usual);
                self.since_alone = 0.0;
                self.asleep = true;
                self.rest -= seconds;
                if let Some(together) = self.expected.or(self.together) {
                    self.allowance -= (usual - together).max(0.0) * images as f64;
                }
                if self.allowance <= 0.0 {
                    self.rest = 0.0;
                }
            }
            // They meet once a call, however long it is.
            Way::Apart => {}
        }
    }
}

/// What is usual after one more time.
fn usual(before: Option<f64>, time: f64) -> f64 {
    before.map_or(time, |before| time.min(DRIFT * before))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls of one image on a machine, whose times together are `together(call)`; returns their mean time and the share that went
    /// alone.
    fn calls(members: usize, alone: f64, together: impl Fn(usize) -> f64) -> (f64, f64) {
        const CALLS: usize = 20_000;
        let mut pace = Pace::new(members, false);
        let (mut total, mut lonely) = (0.0, 0);
        for call in 0..CALLS {
            let way = pace.way();
            let time = match way {
                Way::Together => together(call),
                Way::Alone | Way::Apart => alone,
            };
            lonely += usize::from(way == Way::Alone);
            pace.took(way, 1, time);
            total += time;
        }
        (total / CALLS as f64, lonely as f64 / CALLS as f64)
    }

    #[test]
    fn a_quiet_machine_works_together() {
        for (members, alone) in [(2, 1.9), (8, 5.0), (64, 20.0)] {
            let (mean, lonely) = calls(members, alone, |_| 1.0);
            assert!(mean < 1.01, "{members}: {mean}");
            assert!((0.0..0.01).contains(&lonely), "{members}: {lonely}");
        }
    }

    #[test]
    fn meetings_that_take_long_are_rare() {
        for members in [2, 8] {
            for together in [2.0, 60.0, 300.0] {
                let (mean, lonely) = calls(members, 1.0, |_| together);
                assert!(mean < 1.5, "{members}, {together}: {mean}");
                assert!(lonely > 0.9, "{members}, {together}: {lonely}");
            }
        }
    }

    #[test]
    fn a_moments_delay_costs_little_more_than_itself() {
        for delay in [30.0, 1000.0] {
            let together = |call: usize| if call % 2000 == 1000 { delay } else { 1.0 };
            let (mean, _) = calls(8, 5.0, together);
            let least = 1.0 + delay / 2000.0;
            assert!(mean < 1.0 + 2.2 * (least - 1.0) + 0.01, "{delay}: {mean}");
        }
    }

    #[test]
    fn calls_that_now_and_then_take_long_are_no_worse_than_twice_as_long_as_alone() {
        for period in [2, 10, 50, 200] {
            let together = |call: usize| if call.is_multiple_of(period) { 100.0 } else { 0.6 };
            let (mean, _) = calls(2, 1.0, together);
            assert!(mean < 2.0, "{period}: {mean}");
        }
    }

    #[test]
    fn meetings_that_often_take_long_are_as_rare() {
        for (period, long) in [(2, 3.0), (2, 1.8), (3, 3.0), (1, 1.7)] {
            let together = |call: usize| if call.is_multiple_of(period) { long } else { 0.6 };
            let (mean, _) = calls(2, 1.0, together);
            assert!(mean < 1.15, "{long} every {period}: {mean}");
        }
    }

    #[test]
    fn a_machine_that_grows_quiet_works_together_again() {
        let mut pace = Pace::new(2, false);
        let mut together = 0;
        for call in 0..20_000 {
            let way = pace.way();
            let time = match way {
                Way::Together if call < 5000 => 50.0,
                Way::Together => 0.6,
                Way::Alone | Way::Apart => 1.0,
            };
            together += usize::from(call >= 15_000 && way == Way::Together);
            pace.took(way, 1, time);
        }
        assert!(together > 4900, "{together}");
    }

    #[test]
    fn threads_that_must_wake_first_are_still_worth_it() {
        for waking in [1.5, 3.0, 20.0] {
            let mut pace = Pace::new(2, false);
            let (mut total, mut is_awake) = (0.0, false);
            const CALLS: usize = 20_000;
            for call in 0..CALLS {
                let way = pace.way();
                let time = match way {
                    Way::Together if call == 100 => 300.0,
                    Way::Together if is_awake => 0.6,
                    Way::Together => waking,
                    Way::Alone | Way::Apart => 1.0,
                };
                is_awake = way == Way::Together;
                pace.took(way, 1, time);
                total += time;
            }
            let mean = total / CALLS as f64;
            assert!(mean < 0.6 * 1.03 + 0.015 * waking + 600.0 / CALLS as f64, "{waking}: {mean}");
        }
    }

    #[test]
    fn threads_without_cores_begin_alone() {
        let mut pace = Pace::new(8, true);
        assert_eq!(pace.way(), Way::Alone);
        pace.took(Way::Alone, 1, 1.0);
        for _ in 0..2 {
            assert_eq!(pace.way(), Way::Together);
            pace.took(Way::Together, 1, 20.0);
        }
        assert_eq!(pace.way(), Way::Alone);
    }
}
