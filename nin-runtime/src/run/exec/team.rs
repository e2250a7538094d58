//! [`Barrier`], where the threads that share one image wait for each other.

use super::tally::{Spins, Tally};

/// Lets nobody through before all are there.
pub(crate) struct Barrier {
    members: u64,
    /// Members that have come, over all rounds.
    came: Tally,
}

/// More than ever come, added when a member comes no more.
const BROKEN: u64 = 1 << 60;

/// One of those who meet at a barrier. If it panics, the others do not wait for it: they panic too.
pub(crate) struct Member<'a> {
    barrier: &'a Barrier,
    spins: Spins,
}

impl Barrier {
    /// A barrier for some threads.
    pub(crate) fn new(members: usize) -> Barrier {
        Barrier { members: members as u64, came: Tally::new() }
    }

    /// What one of the threads meets the others by.
    pub(crate) fn member(&self, spins: Spins) -> Member<'_> {
        Member { barrier: self, spins }
    }
}

impl Member<'_> {
    /// Waits until every member has come as often as this one. What members wrote before is seen by all after.
    ///
    /// # Panics
    /// If another member has panicked.
    pub(crate) fn wait(&self) {
        let Barrier { members, came } = self.barrier;
        let number = came.add(1, |sum| sum.is_multiple_of(*members));
        let all = number.next_multiple_of(*members);
        let found = if number == all { number } else { came.wait_for(all, self.spins) };
        assert!(found < BROKEN, "another thread panicked over the same image (a bug in nin)");
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.barrier.came.add(BROKEN, |_| true);
        }
    }
}
