//! The nin language: text in, checked [`graph::Graph`] out.
//!
//! No IO, no unsafe code, and no panic on any input. The `nin!` macro and the runtime both read models through here, so
//! a model means the same through either.
//!
//! ```
//! use nin_dsl::{Number, Source, read};
//!
//! let text = "model Small(width = 16) < input(1, 28, 28) mlpconv(width, 10, kernel = 5) gap softmax >";
//! let source = Source::new("small.nin", text);
//! let (graph, warnings) = read(&source, &[("width".to_owned(), Number::Whole(8))]).unwrap();
//! assert_eq!(graph.params_total(), 8 * 25 + 8 + 10 * 8 + 10);
//! assert!(warnings.is_empty());
//!
//! // What is wrong has a code, a place and, where one is known, a way out.
//! let source = Source::new("slip.nin", "< input(1, 28, 28) maxpol(2) gap >");
//! let errors = read(&source, &[]).unwrap_err();
//! assert_eq!(errors[0].code.number(), "N010");
//! assert_eq!(source.location(errors[0].span().unwrap()).column, 20);
//! ```
//!
//! [`parse`] yields an [`ast::Model`], [`check()`] a [`Graph`] of it and [`Diagnostic`]s; [`layer`] lists the words of the
//! language, and [`mod@format`] lays texts out.

pub mod ast;
mod check;
mod code;
pub mod diagnostic;
mod eval;
mod excerpt;
pub mod format;
pub mod graph;
pub mod layer;
pub mod limits;
mod number;
mod parse;
mod scan;
pub mod shape;
pub mod span;
mod token;

pub use crate::check::{check, defaults};
pub use crate::diagnostic::{Code, Diagnostic, Severity};
pub use crate::excerpt::{excerpt, printable};
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
