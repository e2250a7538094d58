//! The nin language: text in, checked [`graph::Graph`] out.
//!
//! No IO, no unsafe code, and no panic on any input. The `nin!` macro and the runtime both read models through here, so
//! a model means the same through either.

pub mod ast;
mod check;
mod code;
pub mod diagnostic;
mod eval;
pub mod format;
pub mod graph;
pub mod layer;
pub mod limits;
mod number;
mod parse;
mod scan;
pub mod shape;
pub mod span;

pub use crate::check::{check, defaults};
pub use crate::diagnostic::{Code, Diagnostic, Severity};
pub use crate::graph::Graph;
pub use crate::number::{ArithmeticError, Number, Operator, ParseNumberError};
pub use crate::parse::parse;
pub use crate::shape::Shape;
pub use crate::span::{Source, Span};

/// [`parse`] and [`check`] in one: the graph, and the warnings.
///
/// # Errors
/// All diagnostics, at least one of them an error.
pub fn read(
    source: &Source,
    overrides: &[(String, Number)],
) -> Result<(Graph, Vec<Diagnostic>), Vec<Diagnostic>> {
    let model = parse(source)?;
    match check(&model, overrides) {
        (Some(graph), warnings) => Ok((graph, warnings)),
        (None, diagnostics) => Err(diagnostics),
    }
}
