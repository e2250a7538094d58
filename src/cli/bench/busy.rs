//! [`Busy`], whether a machine did something else while calls were timed: figures of a busy machine say little, and must not look
//! like others.

use std::fs;

use nin_runtime::host::cores;
use serde_json::{Value, json};

use crate::cli::amounts::threads;

/// Share of their time that threads may stand ready and wait for a processor on a machine that is quiet.
const MOST_WAITED: f64 = 0.05;
/// How many times the best call the median one takes on a machine that is quiet, at most.
const MOST_SLOWED: f64 = 1.5;

/// What the system says that the threads of this process came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Scheduled {
    /// Nanoseconds on a processor.
    ran: u64,
    /// Nanoseconds ready to run, without a processor.
    waited: u64,
    /// How often a thread had to leave its processor to another.
    preempted: u64,
}

impl Scheduled {
    /// The sums over all threads so far; `None` where the system does not tell.
    fn now() -> Option<Scheduled> {
        let mut all = Scheduled::default();
        for thread in fs::read_dir("/proc/self/task").ok()? {
            let folder = thread.ok()?.path();
            let read = |file: &str| fs::read_to_string(folder.join(file));
            // A thread may end while this looks.
            let (Ok(times), Ok(status)) = (read("schedstat"), read("status")) else { continue };
            let one = Scheduled::of(&times, &status)?;
            all.ran += one.ran;
            all.waited += one.waited;
            all.preempted += one.preempted;
        }
        Some(all)
    }

    /// A thread's `schedstat` and `status`.
    fn of(times: &str, status: &str) -> Option<Scheduled> {
        let mut numbers = times.split_whitespace().map(|word| word.parse().ok());
        let (ran, waited) = (numbers.next()??, numbers.next()??);
        let line = status.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"));
        Some(Scheduled { ran, waited, preempted: line?.trim().parse().ok()? })
    }

    fn since(self, before: Scheduled) -> Scheduled {
        Scheduled {
            ran: self.ran.saturating_sub(before.ran),
            waited: self.waited.saturating_sub(before.waited),
            preempted: self.preempted.saturating_sub(before.preempted),
        }
    }

    /// The share of their time that threads waited for a processor.
    fn waited_share(self) -> f64 {
        self.waited as f64 / ((self.ran + self.waited) as f64).max(1.0)
    }
}

/// Begun before calls are timed.
pub(super) struct Watch {
    before: Option<Scheduled>,
}

impl Watch {
    pub(super) fn begin() -> Watch {
        Watch { before: Scheduled::now() }
    }

    /// After the calls, of which the median took so many times as long as the best.
    pub(super) fn end(&self, slowed: f64) -> Busy {
        let during = self.before.zip(Scheduled::now()).map(|(before, now)| now.since(before));
        Busy { during, slowed }
    }
}

/// What was seen of everything else that ran.
#[derive(Clone, Copy, Debug)]
pub(super) struct Busy {
    during: Option<Scheduled>,
    /// The median call's time, by the best's.
    slowed: f64,
}

impl Busy {
    /// Why the figures say little, if they do: of calls by so many threads.
    pub(super) fn why(self, count: usize) -> Option<String> {
        let waited = self.during.map(|during| (during.waited_share(), during.preempted));
        let waited = waited.filter(|&(share, _)| share > MOST_WAITED).map(|(share, preempted)| {
            let share = 100.0 * share;
            format!("threads waited {share:.0} % of their time for a processor ({preempted} times taken from one)")
        });
        let slowed = (self.slowed > MOST_SLOWED)
            .then(|| format!("the median call took {:.1} times the best", self.slowed));
        let seen: Vec<String> = waited.into_iter().chain(slowed).collect();
        if seen.is_empty() {
            return None;
        }
        let processors = cores();
        let cause = match count > processors {
            true => format!("{} had {processors} to run on", threads(count)),
            false => "something else ran too".to_owned(),
        };
        Some(format!("{cause}: {}", seen.join("; ")))
    }

    /// Adds its members to an object.
    pub(super) fn tell(self, count: usize, object: &mut Value) {
        object["waited_percent"] = json!(self.during.map(|during| 100.0 * during.waited_share()));
        object["preempted"] = json!(self.during.map(|during| during.preempted));
        object["busy"] = json!(self.why(count).is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(ran: u64, waited: u64, slowed: f64) -> Option<String> {
        Busy { during: Some(Scheduled { ran, waited, preempted: 7 }), slowed }.why(1)
    }

    #[test]
    fn a_quiet_machine_is_not_called_busy() {
        assert_eq!(busy(1000, 10, 1.02), None);
        assert_eq!(Busy { during: None, slowed: 1.1 }.why(1), None);
    }

    #[test]
    fn waiting_and_slow_calls_are_told_with_their_figures() {
        let waited = busy(650, 350, 1.02).unwrap();
        assert!(waited.contains("waited 35 %") && waited.contains("7 times taken"), "{waited}");
        assert!(!waited.contains("median"), "{waited}");
        let slowed = busy(1000, 0, 10.4).unwrap();
        assert!(slowed.contains("10.4 times the best") && !slowed.contains("waited"), "{slowed}");
        // Where the system does not tell, calls still do.
        assert!(Busy { during: None, slowed: 10.4 }.why(1).is_some());
        let many = Busy { during: None, slowed: 3.0 }.why(100_000).unwrap();
        assert!(many.starts_with("100000 threads had "), "{many}");
    }

    #[test]
    fn what_the_system_writes_is_read() {
        let status = "Name:\tnin\nvoluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t12\n";
        let read = Scheduled::of("5000 700 42\n", status);
        assert_eq!(read, Some(Scheduled { ran: 5000, waited: 700, preempted: 12 }));
        assert_eq!(Scheduled::of("", status), None);
        if cfg!(target_os = "linux") {
            let now = Scheduled::now().unwrap();
            assert!(now.ran > 0, "{now:?}");
        }
    }
}
