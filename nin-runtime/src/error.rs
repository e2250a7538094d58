//! What can go wrong between a checked graph and numbers, through no bug of nin's.

/// An error of the runtime.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no code generator for this CPU.
    #[error("nin cannot generate code for this machine: {reason}")]
    Target {
        /// What Cranelift said.
        reason: String,
    },
    /// The code generator gave up on a function.
    #[error("nin could not generate code for `{kernel}`: {reason}")]
    Codegen {
        /// The function.
        kernel: String,
        /// What Cranelift said.
        reason: String,
    },
    /// The operating system gave no memory for code.
    #[error("no memory for {bytes} bytes of machine code: {reason}")]
    CodeMemory {
        /// Bytes asked for.
        bytes: usize,
        /// What the system said.
        reason: String,
    },
}
