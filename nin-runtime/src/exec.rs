//! Running a compiled model: [`Program`] is what was compiled, [`Session`] is a run of it with weights.

pub(crate) mod memory;
mod program;
mod session;
pub(crate) mod threads;

pub use memory::zeroed_images;
pub(crate) use program::Inner;
pub use program::Program;
pub use session::{Session, StepOutcome, StepParams};
