//! Running a compiled model: [`Program`] is what was compiled, [`Session`] is a run of it with weights.

mod cgroup;
mod cores;
#[cfg(test)]
mod guarded_sessions;
pub(crate) mod memory;
mod pace;
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

pub use cgroup::Limits;
pub use cores::cores;
pub(crate) use cores::start;
pub use memory::zeroed_images;
pub(crate) use prepare::prepare;
pub use profile::PartTime;
pub(crate) use program::Inner;
pub use program::Program;
pub use session::{Session, StepOutcome, StepParams};
