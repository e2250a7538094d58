//! Datasets, weights, recipes and run folders through the command: what works end to end, and what each mistake is told.

mod bad_input;
mod bench;
mod own_data;
