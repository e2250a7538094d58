//! The threads of a session, from a system that may refuse them.

use std::path::Path;

use super::tally::Spins;
use super::threads::{Forked, Refused, Threads};
use crate::error::Error;
use crate::host::{cores, most_threads};

/// A pool of `count` threads, the caller's among them.
///
/// # Errors
/// [`Error::Threads`] if the system starts no more.
pub(crate) fn start(count: usize) -> Result<Threads, Error> {
    let spins = if count <= 1 || count <= cores() { Spins::PATIENT } else { Spins::HASTY };
    Threads::new(count, spins).map_err(|Refused { started, reason }| Error::Threads {
        count,
        started,
        limit: most_threads(Path::new("/")),
        reason,
    })
}

impl From<Forked> for Error {
    fn from(Forked { process }: Forked) -> Error {
        Error::Forked { process }
    }
}
