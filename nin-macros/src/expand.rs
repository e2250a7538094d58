//! What the macro becomes.
//!
//! The facade, the crate `nin` under whatever name, passes itself with the tokens:
//!
//! ```text
//! macro_rules! nin {
//!     ($($tokens:tt)*) => { $crate::__private::nin! { $crate $($tokens)* } };
//! }
//! ```
//!
//! and provides, in `__private`:
//!
//! ```text
//! pub use nin_dsl::Number;
//! pub use nin_macros::nin;
//! pub use crate::{Error, Model};
//! pub fn model(name: &str, text: &str, params: &[(&str, Number)]) -> Result<Model, Error>;
//! ```
//!
//! `name` names a bare chain; `params` override defaults. A model with a head becomes, with `nin` for the facade,
//!
//! ```text
//! pub struct Small { pub width: i64 }     // `i64` or `f64`, as the default is; a unit struct without parameters
//! impl Default for Small { ... }          // the defaults
//! impl Small {
//!     pub const TEXT: &'static str;
//!     pub const INPUT: [usize; 3];        // the rest describe the default variant
//!     pub const OUTPUT: [usize; 1];       // 3 for a map
//!     pub const PARAMS: u64;
//!     pub const MACS: u64;
//!     pub const RECEPTIVE_FIELD: u64;
//!     pub fn model(&self) -> Result<nin::__private::Model, nin::__private::Error>;
//! }
//! ```
//!
//! and a bare chain the expression `nin::__private::model("model", TEXT, &[])`, unwrapped. A model may have the name of
//! anything, of a primitive type too, so every other name is written as a path from a crate.
//!
//! A model with errors becomes the same struct as far as it is known, beside the errors, so that what uses it adds none.

// With its path, so that `fuzz/` can take this file in.
#[path = "expand/item.rs"]
mod item;

use std::path::Path;

use nin_dsl::{Diagnostic, Severity, Source, ast};
use proc_macro2::{Delimiter, Group, Literal, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};

use crate::token_text::TokenText;
use item::{KnownModel, item};

/// The macro.
pub(crate) fn nin(tokens: TokenStream) -> TokenStream {
    let mut trees = tokens.into_iter();
    let facade = Facade(trees.next().expect("the facade passes itself (a bug in nin)"));
    let rest: Vec<TokenTree> = trees.collect();
    match rest.as_slice() {
        [TokenTree::Literal(literal)] => match syn::Lit::new(literal.clone()) {
            syn::Lit::Str(path) => file(&facade, &path.value(), literal.span()),
            _ => text(&facade, rest.into_iter().collect()),
        },
        _ => text(&facade, rest.into_iter().collect()),
    }
}

/// The crate whose macro was called, by the name that leads to it from wherever that was.
struct Facade(TokenTree);

impl Facade {
    /// What it provides for expansions.
    fn private(&self) -> TokenStream {
        let facade = &self.0;
        quote!(#facade::__private)
    }
}

/// A model as it was written in the macro.
fn text(facade: &Facade, tokens: TokenStream) -> TokenStream {
    let layout = TokenText::new(tokens.clone());
    let source = Source::new("model", layout.text.as_str());
    let report = |diagnostic: &Diagnostic| Report {
        severity: diagnostic.severity,
        place: match diagnostic.span() {
            Some(span) => layout.ends(span),
            None => (Span::call_site(), Span::call_site()),
        },
        message: format!(
            "{} [{}]{}",
            diagnostic.message,
            diagnostic.code,
            diagnostic.remarks(&source)
        ),
    };
    match nin_dsl::parse(&source) {
        Ok(model) => {
            let name_span = layout.ends(model.name.span).0;
            let text = Literal::string(&model.to_string()).into_token_stream();
            expansion(facade, &model, &text, name_span, report)
        }
        Err(diagnostics) => {
            let reports: Vec<Report> = diagnostics.iter().map(report).collect();
            let errors = Report::tokens(&reports);
            let rest = head(tokens).map(|(model, name_span)| {
                item(facade, &model, &quote!(""), name_span, KnownModel::not(&model))
            });
            quote!(#errors #rest)
        }
    }
}

/// A model in a file.
fn file(facade: &Facade, path: &str, at: Span) -> TokenStream {
    // Cargo sets it for every crate it builds; elsewhere paths are relative to where the compiler runs.
    let full = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join(path);
    let source = match std::fs::read_to_string(&full) {
        Ok(text) => Source::new(path, text),
        Err(error) => {
            let message =
                format!("cannot read `{path}`: {error}\nhelp: a path is relative to Cargo.toml");
            return Report::tokens(&[Report::error(at, message)]);
        }
    };
    let report = |diagnostic: &Diagnostic| Report {
        severity: diagnostic.severity,
        place: (at, at),
        message: format!("{}:{}", source.name, diagnostic.brief(&source)),
    };
    match nin_dsl::parse(&source) {
        Ok(model) => {
            // The compiler itself reads the file too, so that cargo builds again when it changes.
            let full = full.to_string_lossy();
            expansion(facade, &model, &quote!(::core::include_str!(#full)), at, report)
        }
        Err(diagnostics) => Report::tokens(&diagnostics.iter().map(report).collect::<Vec<_>>()),
    }
}

/// What a model becomes: a struct if it has a head, an expression if it is a bare chain, and what there is to say.
fn expansion(
    facade: &Facade,
    model: &ast::Model,
    text: &TokenStream,
    name_span: Span,
    report: impl Fn(&Diagnostic) -> Report,
) -> TokenStream {
    let (graph, diagnostics) = nin_dsl::check(model, &[]);
    let reports: Vec<Report> = diagnostics.iter().map(report).collect();
    let told = Report::tokens(&reports);
    match (&model.head, &graph) {
        (Some(_), Some(graph)) => {
            let item = item(facade, model, text, name_span, KnownModel::of(graph));
            quote!(#item #told)
        }
        (Some(_), None) => {
            let item = item(facade, model, text, name_span, KnownModel::not(model));
            quote!(#item #told)
        }
        (None, Some(_)) => {
            let (private, name) = (facade.private(), &model.name.text);
            quote!({
                #told
                #private::model(#name, #text, &[])
                    .expect("the macro has checked this model (a bug in nin)")
            })
        }
        // An expression too, of no type since it ends in an error.
        (None, None) => match reports.as_slice() {
            [_] => told,
            _ => quote!({ #told }),
        },
    }
}

/// The model of tokens that do not parse, if its head does, without its chain; and where its name stands.
fn head(tokens: TokenStream) -> Option<(ast::Model, Span)> {
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    let is_word = |tree: &TokenTree, word| matches!(tree, TokenTree::Ident(ident) if ident == word);
    let model = trees.iter().position(|tree| is_word(tree, "model"))?;
    let public = trees[..model].iter().rposition(|tree| is_word(tree, "pub"));
    // `pub` or `pub(...)`, unless it is that of something else.
    let start = public.filter(|public| model - public <= 2).unwrap_or(model);
    // With its parameters, or without them if it is those that do not parse.
    [model + 3, model + 2].into_iter().find_map(|end| {
        let head = trees.get(start..end)?.iter().cloned();
        let layout = TokenText::new(head.chain(quote!(< >)).collect());
        let read = nin_dsl::parse(&Source::new("model", layout.text.as_str())).ok()?;
        let span = layout.ends(read.name.span).0;
        Some((read, span))
    })
}

/// A diagnostic on its way to rustc.
struct Report {
    severity: Severity,
    /// The first and the last token it is about.
    place: (Span, Span),
    message: String,
}

impl Report {
    fn error(at: Span, message: String) -> Report {
        Report { severity: Severity::Error, place: (at, at), message }
    }

    /// Items that make rustc say it all, warnings first; the last of several errors may end a block as its value.
    fn tokens(reports: &[Report]) -> TokenStream {
        let of = |severity| reports.iter().filter(move |report| report.severity == severity);
        let (warnings, errors) = (of(Severity::Warning), of(Severity::Error));
        warnings.map(deprecated).chain(errors.map(compile_error)).collect()
    }
}

/// An error of rustc's, under its tokens from first to last.
fn compile_error(Report { place: (first, last), message, .. }: &Report) -> TokenStream {
    let mut body = Group::new(Delimiter::Brace, Literal::string(message).into_token_stream());
    body.set_span(*last);
    let mut tokens = quote_spanned!(*first=> ::core::compile_error!);
    tokens.extend([TokenTree::Group(body)]);
    tokens
}

/// A warning of rustc's, which a macro can give only by using something deprecated.
fn deprecated(Report { place: (at, _), message, .. }: &Report) -> TokenStream {
    quote_spanned! {*at=>
        const _: () = {
            #[deprecated(note = #message)]
            const WARNING: () = ();
            WARNING
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_in_a_file_name_the_place_in_it() {
        let tokens = nin(quote!(nin "tests/faulty.nin")).to_string();
        assert_eq!(tokens.matches("compile_error").count(), 2, "{tokens}");
        for part in ["tests/faulty.nin:4:5: error[N010]", "did you mean `conv`?", "faulty.nin:6:5"]
        {
            assert!(tokens.contains(part), "{part} in {tokens}");
        }
    }
}
