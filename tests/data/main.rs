//! Datasets, weights, recipes and run folders through the command: what works end to end, and what each mistake is told.

mod bad_input;
mod bench;
mod bombs;
#[path = "../common/mod.rs"]
mod common;
mod names;
mod own_data;
mod recipes;
mod runs;
