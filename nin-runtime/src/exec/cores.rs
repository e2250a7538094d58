//! The threads that this process can have.

use std::fs;
use std::num::NonZero;
use std::thread;

use super::tally::Spins;
use super::threads::{Refused, Threads};
use crate::error::Error;

/// Cores that this process may use at the same time; at least one.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// A pool of `count` threads, the caller's among them.
///
/// # Errors
/// [`Error::Threads`] if the system starts no more.
pub(crate) fn start(count: usize) -> Result<Threads, Error> {
    let spins = if count <= 1 || count <= cores() { Spins::PATIENT } else { Spins::HASTY };
    Threads::new(count, spins).map_err(|Refused { started, reason }| Error::Threads {
        count,
        started,
        limit: most_threads(),
        reason,
    })
}

/// The most threads and processes that this process's user may have, where the system says.
fn most_threads() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max processes"))?;
    line.split_whitespace().next()?.parse().ok()
}
