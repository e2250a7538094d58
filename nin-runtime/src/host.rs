//! What the machine lends this process: cores, memory and threads, within the limits of its control groups.

pub(crate) mod cgroup;
mod cores;
pub(crate) mod memory;
pub(crate) mod parallel;

pub use cgroup::Limits;
pub use cores::cores;
pub(crate) use cores::most_threads;
pub use memory::zeroed_images;
