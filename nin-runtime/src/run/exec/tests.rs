//! How threads meet, at full speed; `interleavings` tries every order of what they do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::tally::{Spins, Tally};
use super::team::Barrier;
use super::threads::Threads;

/// Threads that sleep at once, that soon sleep, and that hardly ever do.
const MANNERS: [Spins; 3] = [Spins(0), Spins::HASTY, Spins::PATIENT];

#[test]
fn a_tally_wakes_whoever_waits_for_less() {
    for spins in MANNERS {
        let tally = Tally::new();
        thread::scope(|scope| {
            for number in 0..=4 {
                let tally = &tally;
                scope.spawn(move || assert!(tally.wait_for(number, spins) >= number));
            }
            for _ in 0..4 {
                thread::sleep(Duration::from_micros(300));
                tally.add(1, |_| true);
            }
        });
    }
}

#[test]
fn nobody_is_a_round_ahead() {
    const ROUNDS: u64 = 1000;
    for spins in MANNERS {
        let (barrier, sum) = (Barrier::new(3), AtomicU64::new(0));
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let member = barrier.member(spins);
                    for round in 0..ROUNDS {
                        sum.fetch_add(1, Ordering::Relaxed);
                        member.wait();
                        assert_eq!(sum.load(Ordering::Relaxed), 3 * (round + 1));
                        member.wait();
                    }
                });
            }
        });
    }
}

#[test]
fn who_panics_is_not_waited_for() {
    for spins in MANNERS {
        let barrier = Barrier::new(3);
        let panics = |is_culprit: bool| {
            let life = || {
                let member = barrier.member(spins);
                member.wait();
                assert!(!is_culprit, "a test's panic");
                member.wait();
            };
            catch_unwind(AssertUnwindSafe(life)).is_err()
        };
        thread::scope(|scope| {
            let lives =
                [true, false, false].map(|is_culprit| scope.spawn(move || panics(is_culprit)));
            assert_eq!(lives.map(|life| life.join().unwrap()), [true; 3]);
        });
    }
}

#[test]
fn every_lane_runs_once_a_run() {
    for (spins, count) in MANNERS.into_iter().flat_map(|spins| (1..=4).map(move |n| (spins, n))) {
        let mut threads = Threads::new(count, spins).unwrap();
        for lanes in (0..=count).cycle().take(300) {
            let ran: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
            let count_up = |lane: usize| {
                ran[lane].fetch_add(1, Ordering::Relaxed);
            };
            threads.run(lanes, count_up).unwrap();
            let ran: Vec<usize> = ran.into_iter().map(AtomicUsize::into_inner).collect();
            let expected: Vec<usize> = (0..count).map(|lane| usize::from(lane < lanes)).collect();
            assert_eq!(ran, expected);
        }
    }
}

#[test]
fn a_panic_is_the_callers_and_the_pool_goes_on() {
    for spins in MANNERS {
        let mut threads = Threads::new(3, spins).unwrap();
        for culprit in 0..3 {
            let run = catch_unwind(AssertUnwindSafe(|| {
                threads.run(3, |lane| assert_ne!(lane, culprit, "a test's panic"))
            }));
            assert!(run.is_err());
            let ran = AtomicUsize::new(0);
            let count_up = |_: usize| {
                ran.fetch_add(1, Ordering::Relaxed);
            };
            threads.run(3, count_up).unwrap();
            assert_eq!(ran.into_inner(), 3);
        }
    }
}
