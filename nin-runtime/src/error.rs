//! What can go wrong between a checked graph and numbers, through no bug of nin's.

use std::io;

/// An error of the runtime.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no code generator for this CPU.
    #[error("nin cannot generate this code: {reason}")]
    Target {
        /// What Cranelift said.
        reason: String,
    },
    /// A platform that there is not, or that nin makes no libraries for.
    #[error("nin cannot compile for `{name}`: {reason}")]
    Platform {
        /// Its name.
        name: String,
        /// What stands in the way.
        reason: String,
    },
    /// A name that functions of C cannot begin with.
    #[error(
        "`{name}` is no name that functions of C can begin with: take letters of ASCII, digits and underscores, no digit first"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// A file of a form that the platform does not have, or that nin does not write.
    #[error("nin cannot write this file: {reason}")]
    Format {
        /// What stands in the way.
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
    /// The operating system lets this process execute nothing that it made itself.
    #[error(
        "the system lets this process execute no code that it made itself ({reason}): allow memory to become executable, which a service's MemoryDenyWriteExecute or a sandbox may forbid, or make a library elsewhere (`nin compile`), which needs none to run"
    )]
    Execution {
        /// What the system said.
        reason: String,
    },
    /// The operating system gave no memory for tensors.
    #[error(
        "no memory for tensors of {} MiB: take a smaller batch or fewer threads, or make the model smaller",
        bytes.div_ceil(1 << 20)
    )]
    Memory {
        /// Bytes asked for.
        bytes: usize,
    },
    /// The operating system started no more threads.
    #[error(
        "could not have {count} threads, only {started}: {reason}{}; take `--threads {started}`, or raise the limit",
        limits(limit)
    )]
    Threads {
        /// Threads asked for, the caller's among them.
        count: usize,
        /// Threads there were, the caller's among them.
        started: usize,
        /// The most threads and processes that are allowed here, where the system says.
        limit: Option<u64>,
        /// What the system said.
        reason: io::Error,
    },
    /// This process is a fork of the one that started the session, and `fork` copies no threads but the caller's.
    #[error(
        "this session's threads are in process {process}, which this one is a fork of: take `Session::fork` to have a session \
         with threads of its own here, or compile for one thread"
    )]
    Forked {
        /// The process that started the session.
        process: u32,
    },
    /// An option is out of range.
    #[error("{name} is {value}; it can be from 1 to {most}")]
    Options {
        /// The option.
        name: &'static str,
        /// Its value.
        value: usize,
        /// Its largest value.
        most: usize,
    },
    /// A choice of algorithms that does not fit the model.
    #[error("algorithm {0}")]
    Algo(#[from] crate::compiler::plan::HintError),
    /// A model to be trained must end in a vector of logits.
    #[error(
        "the model ends in a map of shape {output:?}; to be trained it must end in a vector: end it in `gap` or `fc(classes)`"
    )]
    NotClassifier {
        /// The model's output, `[c, h, w]`.
        output: Vec<usize>,
    },
    /// A batch normalisation of a model to be trained would take mean and variance of one number.
    #[error(
        "`{layer}` gets one number a channel from a batch of one image, and one number has no variance: train with batches of 2 images or more"
    )]
    LoneNumber {
        /// The layer.
        layer: String,
    },
    /// The program has no training code.
    #[error("the program was compiled for inference; compile it for training")]
    NotTrainable,
    /// Images of another shape than the model reads, or too many or none of them.
    #[error(
        "images of shape {found:?}; the program reads [N, {}] with N from 1 to {batch}",
        list(expected)
    )]
    Images {
        /// Shape of the images.
        found: Vec<usize>,
        /// Shape of the model's input, `[C, H, W]`.
        expected: Vec<usize>,
        /// The planned batch.
        batch: usize,
    },
    /// Labels that do not fit the images or the model.
    #[error("labels do not fit: {reason}")]
    Labels {
        /// What does not fit.
        reason: String,
    },
    /// Optimizer settings that are not one for each weight.
    #[error("{found} optimizer settings for {expected} weights")]
    Hyper {
        /// Settings given.
        found: usize,
        /// Weights of the model.
        expected: usize,
    },
    /// Weights of another model.
    #[error("the weights do not fit the model: {0}")]
    Weights(#[from] crate::weights::Mismatch),
}

/// What is known of a limit of threads.
fn limits(limit: &Option<u64>) -> String {
    limit.map_or_else(String::new, |limit| {
        format!(" (this process's control groups or user may have {limit} threads and processes)")
    })
}

/// `1, 28, 28`.
fn list(dims: &[usize]) -> String {
    let dims: Vec<String> = dims.iter().map(usize::to_string).collect();
    dims.join(", ")
}
