//! Machine code in this process: `jit` maps it and calls it, [`exec`] runs a model with it, [`peak`] measures what the machine
//! could do at best.

pub mod exec;
pub(crate) mod jit;
pub mod peak;
