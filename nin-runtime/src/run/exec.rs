//! Running a compiled model: [`Program`] is what was compiled, [`Session`] is a run of it with weights.

#[cfg(test)]
mod guarded_sessions;
mod pace;
mod pool;
mod prepare;
mod profile;
mod program;
mod session;
mod sync;
pub(crate) mod tally;
pub(crate) mod team;
#[cfg(test)]
mod tests;
pub(crate) mod threads;

pub(crate) use pool::start;
pub(crate) use prepare::prepare;
pub use profile::PartTime;
pub(crate) use program::Inner;
pub use program::{CompileTimes, Program};
pub use session::{Session, StepOutcome, StepParams};
