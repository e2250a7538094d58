//! The sizes beyond which a model is refused.
//!
//! They keep every product in the checker inside 64 bits and every walk over a model short, whatever the text says.

/// Numbers in one activation of one image, and the largest whole argument.
pub const ACTIVATION_ELEMENTS: u64 = 1 << 28;
/// Trainable numbers of a model.
pub const PARAMETERS: u64 = 1 << 28;
/// Layers of a model, after blocks and repetitions are expanded.
pub const LAYERS: usize = 10_000;
/// Uses of blocks, and repetitions, that a model expands.
pub const EXPANSIONS: usize = 10_000;
/// Brackets or comments inside one another; also blocks and repetitions, as they expand.
pub const NESTING: usize = 64;
/// Parameters of a model or a block.
pub const PARAMETERS_OF_ONE: usize = 256;
/// Blocks of a text.
pub const BLOCKS: usize = 1_000;
/// Bytes of a name.
pub const NAME_BYTES: usize = 128;
/// Bytes of a model's text.
pub const TEXT_BYTES: usize = 4 << 20;
/// The least `eps` of a batch normalisation, and `k` of a local response normalisation: a smaller one is lost beside any
/// variance, and its root grows without use.
pub const LEAST_EPS: f64 = 1e-12;
