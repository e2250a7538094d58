//! Faults from outside: kills at any moment, full disks, signals, two processes in one place. Whatever happens, no file is half
//! written, the message says what is wrong, and a run ends in the bits of an undisturbed one.
//!
//! `NIN_FAULTS=200` makes as many kills, and as many of the rest as go with them, as the closing figures of
//! `docs/reliability.md` are of; without it there are few.
#![cfg(unix)]

#[path = "../common/mod.rs"]
mod common;
mod disks;
mod kills;
mod os;
mod processes;
mod signals;
mod stage;
mod terminals;
