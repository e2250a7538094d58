//! [`Tally`], a number that threads wait for.

use super::sync::{AtomicU64, Condvar, Mutex, Ordering, spin_loop};

/// How many turns a thread waits with a busy core before it sleeps.
///
/// Who waits for a thread that is at work on a core of its own should spin about as long as a short part of a net takes: to sleep
/// and to be woken costs as much. Who waits for a thread that has no core keeps it from having one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spins(pub(crate) u32);

impl Spins {
    /// For threads that have a core each.
    pub(crate) const PATIENT: Spins = Spins(10_000);
    /// For more threads than there are cores.
    pub(crate) const HASTY: Spins = Spins(50);
}

/// A number that only grows. Who waits for it spins for a while, then sleeps.
///
/// One word holds the number and whether somebody may sleep: whichever comes first, an addition or a nap, the other sees it.
pub(crate) struct Tally {
    /// Twice the number, and one more while somebody may sleep.
    word: AtomicU64,
    /// Held from the decision to sleep until one does.
    bed: Mutex<()>,
    alarm: Condvar,
}

const ASLEEP: u64 = 1;
const ONE: u64 = 2;

impl Tally {
    /// Zero.
    pub(crate) fn new() -> Tally {
        Tally { word: AtomicU64::new(0), bed: Mutex::new(()), alarm: Condvar::new() }
    }

    /// Adds `count`, wakes all who sleep if `is_due` says so of the sum, and returns the sum. This thread now sees what others
    /// wrote before they added, and who waited for the sum sees what this one wrote.
    pub(crate) fn add(&self, count: u64, is_due: impl FnOnce(u64) -> bool) -> u64 {
        let before = self.word.fetch_add(count * ONE, Ordering::AcqRel);
        let sum = before / ONE + count;
        if before & ASLEEP != 0 && is_due(sum) {
            // Who saw the old number sleeps when the lock is had, or will see the new one.
            let bed = self.bed.lock().expect("nobody panics in bed");
            self.word.fetch_and(!ASLEEP, Ordering::Relaxed);
            self.alarm.notify_all();
            drop(bed);
        }
        sum
    }

    /// Waits until the number is at least `number`, and returns it.
    pub(crate) fn wait_for(&self, number: u64, spins: Spins) -> u64 {
        for _ in 0..=spins.0 {
            let found = self.word.load(Ordering::Acquire) / ONE;
            if found >= number {
                return found;
            }
            spin_loop();
        }
        self.sleep_until(number)
    }

    #[cold]
    fn sleep_until(&self, number: u64) -> u64 {
        let mut bed = self.bed.lock().expect("nobody panics in bed");
        loop {
            let found = self.word.fetch_or(ASLEEP, Ordering::Acquire) / ONE;
            if found >= number {
                return found;
            }
            bed = self.alarm.wait(bed).expect("nobody panics in bed");
        }
    }
}
