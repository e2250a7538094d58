//! The sizes beyond which a model is refused.
//!
//! They keep every product in the checker inside 64 bits and every walk over a model short, whatever the text says.

/// Numbers in one activation of one image, and the largest whole argument.
pub const ACTIVATION_ELEMENTS: u64 = 1 << 28;
/// Trainable numbers of a model.
pub const PARAMETERS: u64 = 1 << 28;
/// Layers of a model.
pub const LAYERS: usize = 10_000;
/// Parentheses or comments inside one another.
pub const NESTING: usize = 64;
/// Parameters in a model's head.
pub const MODEL_PARAMETERS: usize = 256;
/// Bytes of a model's text.
pub const TEXT_BYTES: usize = 4 << 20;
