//! What no input may do to nin: panic, take long, take memory that its size does not warrant, or be read as something else
//! the second time.
//!
//! A [`Target`] is a promise about any bytes, and [`TARGETS`] is the list of them. [`Runner`] holds one to its promise:
//! over its corpus and some mutations in `cargo test` (`tests/replay.rs`), over many more in a campaign (`src/main.rs`), and
//! with coverage as a guide (`src/bin/guided.rs`).

mod limits;
mod mutate;
mod runner;
mod seeds;
mod targets;

// What the macro does with tokens, which a crate of macros cannot export.
#[allow(dead_code, reason = "the macro uses the rest")]
#[path = "../../nin-macros/src/expand.rs"]
mod expand;
#[path = "../../nin-macros/src/token_text.rs"]
mod token_text;

// What the compiler's suite draws and compares, which knows how far two executors may be apart.
#[allow(dead_code, reason = "the suite uses the rest")]
#[path = "../../nin-runtime/tests/suite/close.rs"]
mod close;
#[allow(dead_code, reason = "the suite uses the rest")]
#[path = "../../nin-runtime/tests/suite/data.rs"]
mod data;
#[allow(dead_code, reason = "the suite uses the rest")]
#[path = "../../nin-runtime/tests/suite/models.rs"]
mod models;
#[allow(dead_code, reason = "the suite uses the rest")]
#[path = "../../nin-runtime/tests/suite/steady.rs"]
mod steady;
#[allow(dead_code, reason = "the suite uses the rest")]
#[path = "../../nin-runtime/tests/suite/tally.rs"]
mod tally;

pub use limits::Limits;
pub use mutate::Mutator;
pub use runner::{Finding, Runner};
pub use seeds::{repository, seeds};
pub use targets::{Check, TARGETS, Target, named};
