//! [`Barrier`], where the threads that share one image wait for each other.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::spin::Spin;

/// Lets nobody through before all are there. It spins: who shares an image meets dozens of times in a millisecond.
pub(crate) struct Barrier {
    members: usize,
    /// Members that have come, over all rounds.
    came: AtomicUsize,
}

impl Barrier {
    /// A barrier for so many threads.
    pub(crate) fn new(members: usize) -> Barrier {
        Barrier { members, came: AtomicUsize::new(0) }
    }

    /// Waits until every member has come as often as this one. What members wrote before is seen by all after.
    pub(crate) fn wait(&self) {
        let number = self.came.fetch_add(1, Ordering::AcqRel);
        let all = (number / self.members + 1) * self.members;
        let mut spin = Spin::new();
        while self.came.load(Ordering::Acquire) < all {
            spin.turn();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn nobody_is_a_round_ahead() {
        const ROUNDS: u64 = 2000;
        let (barrier, sum) = (Barrier::new(3), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for round in 0..ROUNDS {
                        sum.fetch_add(1, Ordering::Relaxed);
                        barrier.wait();
                        assert_eq!(sum.load(Ordering::Relaxed), 3 * (round + 1));
                        barrier.wait();
                    }
                });
            }
        });
    }
}
