//! [`Limits`], what one input may cost.

use std::time::Duration;

/// What one input may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Processor time of the thread: a busy machine finds nothing.
    pub time: Duration,
    /// Bytes held at once beyond what the input's size warrants.
    pub memory: u64,
    /// Bytes that a byte of input warrants: a text becomes a tree of places and names.
    pub expansion: u64,
}

impl Limits {
    /// Of a reader.
    pub const READER: Limits =
        Limits { time: Duration::from_secs(1), memory: 24 << 20, expansion: 256 };
    /// Of what compiles and runs a model.
    pub const EXECUTION: Limits =
        Limits { time: Duration::from_secs(60), memory: 4 << 30, expansion: 256 };
    /// Of a reader of what deflate packed, which unpacks to at most 1032 times as many bytes, kept in two forms.
    pub const UNPACKED: Limits =
        Limits { time: Duration::from_secs(1), memory: 16 << 20, expansion: 4 * 1032 };
}
