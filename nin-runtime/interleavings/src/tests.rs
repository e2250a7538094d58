//! What is tried.

use std::panic::{AssertUnwindSafe, catch_unwind};

use loom::cell::UnsafeCell;
use loom::model::Builder;
use loom::sync::Arc;
use loom::thread;

use crate::tally::{Spins, Tally};
use crate::team::Barrier;
use crate::threads::Threads;

/// Tries every order with at most so many changes of thread at points where no thread has to wait. Nearly all mistakes show
/// with two.
fn try_all(preemptions: usize, events: impl Fn() + Send + Sync + 'static) {
    let mut model = Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(events);
}

/// A number that whoever reads or writes it must have to itself: loom tells if not.
struct Plain(UnsafeCell<u64>);

// The lint's reason to deny unsafe code does not hold here: that is what is tested.
#[allow(unsafe_code)]
mod plain {
    use super::{Plain, UnsafeCell};

    // SAFETY: loom checks each access.
    unsafe impl Sync for Plain {}

    impl Plain {
        pub(super) fn new() -> Plain {
            Plain(UnsafeCell::new(0))
        }

        pub(super) fn get(&self) -> u64 {
            // SAFETY: loom checks that nobody writes meanwhile.
            self.0.with(|value| unsafe { *value })
        }

        pub(super) fn set(&self, to: u64) {
            // SAFETY: loom checks that nobody reads or writes meanwhile.
            self.0.with_mut(|value| unsafe { *value = to });
        }
    }
}

/// Sleeps at once, and spins for a turn.
const MANNERS: [Spins; 2] = [Spins(0), Spins(1)];

#[test]
fn who_waits_sees_what_was_written_before_the_addition() {
    for spins in MANNERS {
        try_all(3, move || {
            let shared = Arc::new((Tally::new(), Plain::new()));
            let other = Arc::clone(&shared);
            let writer = thread::spawn(move || {
                other.1.set(7);
                other.0.add(1, |_| true);
            });
            shared.0.wait_for(1, spins);
            assert_eq!(shared.1.get(), 7);
            writer.join().unwrap();
        });
    }
}

#[test]
fn nobody_sleeps_for_ever() {
    try_all(3, || {
        let tally = Arc::new(Tally::new());
        let sleepers = [1, 2].map(|number| {
            let tally = Arc::clone(&tally);
            thread::spawn(move || tally.wait_for(number, Spins(0)))
        });
        tally.add(1, |sum| sum >= 1);
        tally.add(1, |sum| sum >= 1);
        for sleeper in sleepers {
            sleeper.join().unwrap();
        }
    });
}

/// Members write in turns what all read.
#[test]
fn members_of_a_team_see_what_the_others_wrote() {
    for spins in MANNERS {
        try_all(2, move || {
            let team = Arc::new((Barrier::new(2), [Plain::new(), Plain::new()]));
            let life = move |team: &(Barrier, [Plain; 2]), number: usize| {
                let (barrier, values) = team;
                let member = barrier.member(spins);
                for round in 1..=2 {
                    values[number].set(round);
                    member.wait();
                    assert_eq!(values[1 - number].get(), round);
                    member.wait();
                }
            };
            let other = Arc::clone(&team);
            let other = thread::spawn(move || life(&other, 1));
            life(&team, 0);
            other.join().unwrap();
        });
    }
}

#[test]
fn three_members_meet() {
    try_all(2, || {
        let team = Arc::new((Barrier::new(3), [Plain::new(), Plain::new(), Plain::new()]));
        let life = |team: &(Barrier, [Plain; 3]), number: usize| {
            let (barrier, values) = team;
            values[number].set(1);
            barrier.member(Spins(0)).wait();
            assert!(values.iter().all(|value| value.get() == 1));
        };
        let others = [1, 2].map(|number| {
            let team = Arc::clone(&team);
            thread::spawn(move || life(&team, number))
        });
        life(&team, 0);
        for other in others {
            other.join().unwrap();
        }
    });
}

/// Runs of a pool, each of which reads what the one before left.
#[test]
fn runs_of_a_pool_follow_each_other() {
    for spins in MANNERS {
        try_all(2, move || {
            let mut threads = Threads::new(2, spins).unwrap();
            let values = [Plain::new(), Plain::new()];
            for round in 1..=2 {
                threads.run(2, |lane| values[lane].set(values[lane].get() + 1)).unwrap();
                // The caller reads all, and what it writes the next run reads, whichever lane it is.
                let seen = values.each_ref().map(Plain::get);
                assert_eq!(seen, [round; 2]);
                values.iter().for_each(|value| value.set(round));
            }
        });
    }
}

#[test]
fn two_workers_are_waited_for() {
    try_all(2, || {
        let mut threads = Threads::new(3, Spins(0)).unwrap();
        let values = [Plain::new(), Plain::new(), Plain::new()];
        threads.run(3, |lane| values[lane].set(1)).unwrap();
        assert!(values.iter().all(|value| value.get() == 1));
    });
}

#[test]
fn a_workers_panic_is_the_callers() {
    try_all(2, || {
        let mut threads = Threads::new(2, Spins(0)).unwrap();
        for culprit in [1, 0] {
            let run = catch_unwind(AssertUnwindSafe(|| {
                threads.run(2, |lane| {
                    if lane == culprit {
                        std::panic::resume_unwind(Box::new("a test's panic"));
                    }
                })
            }));
            assert!(run.is_err());
        }
    });
}
