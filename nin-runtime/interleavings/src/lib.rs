//! Every order in which the threads of a session can meet, tried by loom on the very code that runs: `sync` below takes the place of
//! `run/exec/sync.rs`.
//!
//! Where an ordering is weaker than it must be, loom finds an order of events in which a value is seen too early, or in which a
//! thread sleeps for ever.
#![cfg(test)]
#![allow(dead_code, reason = "the runtime uses the rest")]

#[path = "../../src/run/exec/tally.rs"]
mod tally;
#[path = "../../src/run/exec/team.rs"]
mod team;
#[path = "../../src/run/exec/threads.rs"]
mod threads;

/// loom's threads.
mod sync {
    pub(super) use loom::cell::UnsafeCell;
    pub(super) use loom::hint::spin_loop;
    pub(super) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    pub(super) use loom::sync::{Arc, Condvar, Mutex};
    pub(super) use loom::thread::{Builder, JoinHandle};
}

mod tests;
