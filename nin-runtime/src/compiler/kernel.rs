//! [`Kernel`], plain data that names one machine function.

mod cost;
mod tile;

use std::fmt;

pub use cost::{Registers, TileShape};
pub use tile::{Elems, Epilogue, Group, InitialSum, Reduction, Scalar, Tile, Transform, overread};

/// A machine function's name: the key under which it is found, and what a profile calls it. Blocks, steps and strips that differ
/// only in where what they work on lies are one function, which has the name of the first of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// A register tile, shared by all that ask for the same.
    Tile(Tile),
    /// A transform of Winograd's algorithm, shared by all that ask for the same.
    Transform(Transform),
    /// A block of one of the plan's passes, over the images of a chunk.
    Block {
        /// The pass.
        pass: PassKind,
        /// Its number in the pass.
        index: usize,
    },
    /// A step of a block that walks image by image, over a range of rows of one image.
    Step {
        /// The pass.
        pass: PassKind,
        /// The block's number in the pass.
        block: usize,
        /// The step's number in the block.
        step: usize,
    },
    /// Takes a range of an owner's strips through the end of a step, if there is one, and rebuilds what is prepared of them.
    Strips {
        /// The owner, numbered as [`Plan::strip_groups`](crate::compiler::plan::Plan::strip_groups) has them.
        owner: usize,
    },
    /// Begins or ends a slice's sums of a kernel's gradient in Winograd's domain.
    Sums {
        /// The number of the convolution in the plan.
        conv: usize,
        /// Whether they are brought back to where the gradient is wanted; else they are cleared.
        ends: bool,
    },
    /// Makes what the next phase needs of a batch normalisation's sums of all slices.
    Gather {
        /// The phase that left them.
        phase: usize,
        /// Its number among what is gathered after the phase.
        number: usize,
    },
    /// Moves the running statistics of a batch normalisation.
    Track {
        /// Its number in the plan.
        norm: usize,
    },
    /// Takes one optimizer step over some columns of a matrix of weights.
    Follow {
        /// The optimizer's rule.
        rule: Update,
    },
    /// A function that Rust calls.
    Entry(Entry),
    /// A function of the C interface of a library compiled ahead.
    Export(Export),
    /// What no intermediate code can say.
    Intrinsic(Intrinsic),
    /// No code, but the table of offsets that blocks, steps and strips read.
    Offsets,
}

/// The passes of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PassKind {
    /// Forward with dropout off.
    Inference,
    /// Forward, loss and backward.
    Training,
}

/// The functions that Rust calls, all with one signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// Rebuilds what is prepared of a range of strips.
    Prepare,
    /// Carries a range of images through the net.
    Infer,
    /// Runs one part of a pass, numbered as [`Pass::parts`](crate::compiler::plan::Pass) has them, over a range of rows of one
    /// image.
    Part {
        /// The pass.
        pass: PassKind,
    },
    /// Carries a range of images, one slice, through a phase of forward and backward and leaves the slice's sums.
    Train {
        /// The phase.
        phase: usize,
    },
    /// Makes what the next phase needs of the sums of all slices.
    Gather {
        /// The phase that left them.
        phase: usize,
    },
    /// Sums the slices' gradients over a range of floats: for whoever asks for the gradients themselves, or for their norm.
    Reduce,
    /// Sums the slices' gradients over a range of strips, unless that is done, takes one optimizer step and rebuilds what is
    /// prepared.
    Update {
        /// The optimizer's rule.
        rule: Update,
    },
    /// Moves the running statistics of every batch normalisation.
    Track,
}

/// How a weight follows its gradient. See [`Optimizer`](crate::compiler::optimizer::Optimizer).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Update {
    /// By a running sum of gradients.
    Momentum,
    /// By the gradient and the running sum after it.
    Nesterov,
    /// By a running mean of gradients over the root of one of their squares.
    Adam,
}

impl Update {
    /// Every rule.
    pub const ALL: [Update; 3] = [Update::Momentum, Update::Nesterov, Update::Adam];
}

impl fmt::Display for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Update::Momentum => "momentum",
            Update::Nesterov => "nesterov",
            Update::Adam => "adam",
        })
    }
}

/// The functions of a library's C interface. What each takes and returns is in `codegen::front`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Export {
    /// Carries images to their results.
    Forward(Prepared),
    /// Makes prepared weights of weights as files hold them.
    Prepare,
    /// Begins a training with weights, and perhaps momentum, as files hold them.
    Load,
    /// Takes one training step.
    Step,
    /// Lays weights, and perhaps momentum, out as files hold them.
    Save,
    /// Whether this CPU runs the library.
    Supported,
    /// The number of the fastest instruction set that this CPU has, asked once; not for callers.
    Level,
    /// A size that callers reserve.
    Size(Memory),
    /// A constant text or table.
    Constant(Constant),
    /// The name of a class.
    ClassName,
}

/// Where a library's prepared weights are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prepared {
    /// Among its constants.
    Embedded,
    /// Where each call says.
    Passed,
    /// In the state of a training.
    State,
}

/// The memory whose size in bytes a library tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Memory {
    /// Memory that a call works in.
    Workspace,
    /// Prepared weights.
    Prepared,
    /// The state of a training.
    State,
}

/// The constants of a library's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Constant {
    /// The version of nin, a text.
    Version,
    /// What is subtracted from each channel.
    Mean,
    /// What each channel is then divided by.
    Deviation,
}

/// Functions written in machine code, for registers that no intermediate code knows. They keep to System V's convention
/// on x86-64 and to the platform's elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Intrinsic {
    /// Sets flush-to-zero, of results and of operands, and returns the setting before.
    Flush,
    /// Restores a setting.
    Restore,
    /// Asks the CPU and what the system keeps of it for the best level, as `codegen::level` numbers them; 0 if it has none.
    Detect,
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kernel::Tile(tile) => tile.fmt(f),
            Kernel::Transform(transform) => transform.fmt(f),
            Kernel::Block { pass, index } => write!(f, "{pass} block {index}"),
            Kernel::Step { pass, block, step } => write!(f, "{pass} block {block} step {step}"),
            Kernel::Sums { conv, ends: false } => write!(f, "clear sums of {conv}"),
            Kernel::Sums { conv, ends: true } => write!(f, "sums of {conv} brought back"),
            Kernel::Gather { phase, number } => write!(f, "gather {number} after phase {phase}"),
            Kernel::Track { norm } => write!(f, "track {norm}"),
            Kernel::Strips { owner } => write!(f, "strips of {owner}"),
            Kernel::Follow { rule } => write!(f, "follow by {rule}"),
            Kernel::Entry(entry) => write!(f, "entry {entry}"),
            Kernel::Export(export) => export.fmt(f),
            Kernel::Intrinsic(intrinsic) => intrinsic.fmt(f),
            Kernel::Offsets => f.write_str("offsets"),
        }
    }
}

impl fmt::Display for PassKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PassKind::Inference => "infer",
            PassKind::Training => "train",
        })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Prepare => f.write_str("prepare"),
            Entry::Infer => f.write_str("infer"),
            Entry::Part { pass } => write!(f, "{pass} part"),
            Entry::Train { phase } => write!(f, "train phase {phase}"),
            Entry::Gather { phase } => write!(f, "gather after phase {phase}"),
            Entry::Reduce => f.write_str("reduce"),
            Entry::Update { rule } => write!(f, "update by {rule}"),
            Entry::Track => f.write_str("track"),
        }
    }
}

impl fmt::Display for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Export::Forward(_) => "forward",
            Export::Prepare => "prepare",
            Export::Load => "load",
            Export::Step => "step",
            Export::Save => "save",
            Export::Supported => "supported",
            Export::Level => "level",
            Export::Size(Memory::Workspace) => "workspace_bytes",
            Export::Size(Memory::Prepared) => "prepared_bytes",
            Export::Size(Memory::State) => "state_bytes",
            Export::Constant(Constant::Version) => "version",
            Export::Constant(Constant::Mean) => "mean",
            Export::Constant(Constant::Deviation) => "deviation",
            Export::ClassName => "class_name",
        })
    }
}

impl fmt::Display for Intrinsic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Intrinsic::Flush => "flush denormals",
            Intrinsic::Restore => "restore control",
            Intrinsic::Detect => "detect",
        })
    }
}
