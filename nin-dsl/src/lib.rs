//! The nin language: text in, checked [`graph::Graph`] out.
//!
//! No IO, no unsafe code, and no panic on any input. The `nin!` macro and the runtime both read models through here, so
//! a model means the same through either.

pub mod graph;
pub mod shape;
pub mod span;
