//! [`Runner`]: one input after the other through a target, each with what it costs.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use cpu_time::ThreadTime;

use crate::limits::Limits;
use crate::targets::{Check, Target};

/// How an input broke a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The reader panicked.
    Panic(String),
    /// What came out of it is not what was promised.
    Broken(String),
    /// It took so long.
    Time(Duration),
    /// It held so many bytes.
    Memory(u64),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Panic(message) => write!(f, "panics: {message}"),
            Finding::Broken(promise) => write!(f, "{promise}"),
            Finding::Time(taken) => write!(f, "takes {taken:?}"),
            Finding::Memory(bytes) => write!(f, "holds {} MiB", bytes >> 20),
        }
    }
}

/// A target at work.
pub struct Runner {
    check: Check,
    limits: Limits,
}

impl Runner {
    /// Prepares a target.
    pub fn new(target: &Target) -> Runner {
        Runner { check: (target.prepare)(), limits: target.limits }
    }

    /// Whether the promise holds for an input.
    ///
    /// # Errors
    /// How it does not.
    pub fn run(&mut self, bytes: &[u8]) -> Result<(), Finding> {
        let started = ThreadTime::now();
        let mut outcome = Ok(Ok(()));
        let cost = allocation_counter::measure(|| {
            outcome = catch_unwind(AssertUnwindSafe(|| (self.check)(bytes)));
        });
        let taken = started.elapsed();
        let warranted = self.limits.memory + self.limits.expansion * bytes.len() as u64;
        match outcome {
            Err(panic) => Err(Finding::Panic(message(&*panic))),
            Ok(Err(broken)) => Err(Finding::Broken(broken)),
            Ok(Ok(())) if taken > self.limits.time => Err(Finding::Time(taken)),
            Ok(Ok(())) if cost.bytes_max > warranted => Err(Finding::Memory(cost.bytes_max)),
            Ok(Ok(())) => Ok(()),
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
