//! What the macros become.
//!
//! The facade provides, in `nin::__private`:
//!
//! ```text
//! pub use nin_dsl::Number;
//! pub use crate::{Error, Model};
//! pub fn model(name: &str, text: &str, params: &[(&str, Number)]) -> Result<Model, Error>;
//! ```
//!
//! `name` names a bare chain; `params` override defaults. A model with a head becomes
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
//! and a bare chain the expression `nin::__private::model("model", TEXT, &[])`, unwrapped.

use std::path::Path;

use nin_dsl::{Diagnostic, Graph, Number, Severity, Source, ast};
use proc_macro2::{Delimiter, Group, Ident, Literal, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};

use crate::token_text::TokenText;

/// `nin!`.
pub(crate) fn nin(tokens: TokenStream) -> TokenStream {
    let layout = TokenText::new(tokens);
    let source = Source::new("model", layout.text.as_str());
    let place = |diagnostic: &Diagnostic| match diagnostic.span() {
        Some(span) => layout.ends(span),
        None => (Span::call_site(), Span::call_site()),
    };
    let (is_expression, judged) = match nin_dsl::parse(&source) {
        Ok(model) => (model.head.is_none(), check(model)),
        Err(diagnostics) => (false, Err(diagnostics)),
    };
    match judged {
        Ok(read) => {
            let text = Literal::string(&read.model.to_string()).into_token_stream();
            let name_span = layout.ends(read.model.name.span).0;
            let warnings =
                read.warnings.iter().map(|warning| deprecated(place(warning).0, warning, &source));
            expansion(&read, &text, name_span, &warnings.collect())
        }
        Err(diagnostics) => {
            let errors: TokenStream = errors(&diagnostics)
                .map(|error| compile_error(place(error), &message(error, &source)))
                .collect();
            // Several are items beside one another, but an expression only as a block. Where no model could be read
            // there is one, which is either.
            if diagnostics.len() > 1 && is_expression { quote!({ #errors }) } else { errors }
        }
    }
}

/// `include!`.
pub(crate) fn include(tokens: TokenStream) -> TokenStream {
    let mut trees = tokens.into_iter();
    let (literal, at) = match (trees.next(), trees.next()) {
        (Some(TokenTree::Literal(literal)), None) => {
            (syn::Lit::new(literal.clone()), literal.span())
        }
        (first, second) => {
            let span = second.or(first).map_or_else(Span::call_site, |tree| tree.span());
            return compile_error((span, span), "expected one path, such as \"models/small.nin\"");
        }
    };
    let syn::Lit::Str(path) = literal else {
        return compile_error((at, at), "a path is a string, such as \"models/small.nin\"");
    };
    let path = path.value();
    // Cargo sets it for every crate it builds; elsewhere paths are relative to where the compiler runs.
    let full = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join(&path);
    let source = match std::fs::read_to_string(&full) {
        Ok(text) => Source::new(path, text),
        Err(error) => {
            let message =
                format!("cannot read `{path}`: {error}\nhelp: a path is relative to Cargo.toml");
            return compile_error((at, at), &message);
        }
    };
    match nin_dsl::parse(&source).and_then(check) {
        Ok(read) => {
            // The compiler itself reads the file too, so that cargo builds again when it changes.
            let full = full.to_string_lossy();
            let warnings = read.warnings.iter().map(|warning| deprecated(at, warning, &source));
            expansion(&read, &quote!(::core::include_str!(#full)), at, &warnings.collect())
        }
        Err(diagnostics) => errors(&diagnostics)
            .map(|error| format!("{}:{}", source.name, error.brief(&source)))
            .map(|message| compile_error((at, at), &message))
            .collect(),
    }
}

/// A model that passed.
struct Read {
    model: ast::Model,
    graph: Graph,
    warnings: Vec<Diagnostic>,
}

fn check(model: ast::Model) -> Result<Read, Vec<Diagnostic>> {
    match nin_dsl::check(&model, &[]) {
        (Some(graph), warnings) => Ok(Read { model, graph, warnings }),
        (None, diagnostics) => Err(diagnostics),
    }
}

/// A struct for a model with a head, an expression for a bare chain.
fn expansion(
    read: &Read,
    text: &TokenStream,
    name_span: Span,
    warnings: &TokenStream,
) -> TokenStream {
    match &read.model.head {
        Some(head) => {
            let item = item(read, head, text, name_span);
            quote!(#item #warnings)
        }
        None => {
            let name = &read.model.name.text;
            quote!({
                #warnings
                ::nin::__private::model(#name, #text, &[])
                    .expect("the macro has checked this model (a bug in nin)")
            })
        }
    }
}

fn item(read: &Read, head: &ast::Head, text: &TokenStream, name_span: Span) -> TokenStream {
    let Read { model, graph, .. } = read;
    let docs = &head.docs;
    let visibility: TokenStream = match &head.visibility {
        Some(visibility) => visibility.text.parse().expect("`pub` as Rust reads it (a bug in nin)"),
        None => TokenStream::new(),
    };
    // Raw, since a parameter may have any name, a keyword of Rust's too.
    let identifier = |name: &str, span| Ident::new_raw(name, span);
    let name = identifier(&model.name.text, name_span);
    let fields: Vec<Field> = graph
        .params
        .iter()
        .map(|(name, default)| Field::new(name, *default, &identifier(name, name_span)))
        .collect();
    let declarations = fields.iter().map(|field| &field.declaration);
    let defaults = fields.iter().map(|field| &field.default);
    let values = fields.iter().map(|field| &field.value);
    let (body, default) = match fields.as_slice() {
        [] => (quote!(;), quote!(#name)),
        _ => (quote!({ #(#declarations,)* }), quote!(#name { #(#defaults,)* })),
    };
    let name_text = &model.name.text;
    let constants = constants(graph);
    quote! {
        #(#[doc = #docs])*
        #[allow(dead_code, non_camel_case_types)]
        #[derive(Clone, Copy, Debug, PartialEq)]
        #visibility struct #name #body

        impl ::core::default::Default for #name {
            fn default() -> Self {
                #default
            }
        }

        #[allow(dead_code)]
        impl #name {
            /// The model's text.
            pub const TEXT: &'static str = #text;
            #constants

            /// The model with these parameters.
            ///
            /// # Errors
            /// If they do not make a valid model.
            pub fn model(
                &self,
            ) -> ::core::result::Result<::nin::__private::Model, ::nin::__private::Error> {
                ::nin::__private::model(#name_text, Self::TEXT, &[#(#values),*])
            }
        }
    }
}

/// A parameter's parts in Rust.
struct Field {
    declaration: TokenStream,
    default: TokenStream,
    /// What is passed to the runtime.
    value: TokenStream,
}

impl Field {
    fn new(name: &str, default: Number, identifier: &Ident) -> Field {
        let doc = format!("The parameter `{name}`; {default} by default.");
        let (kind, variant, literal) = match default {
            Number::Whole(n) => (quote!(i64), quote!(Whole), n.into_token_stream()),
            Number::Real(x) => (quote!(f64), quote!(Real), x.into_token_stream()),
        };
        Field {
            declaration: quote!(#[doc = #doc] pub #identifier: #kind),
            default: quote!(#identifier: #literal),
            value: quote!((#name, ::nin::__private::Number::#variant(self.#identifier))),
        }
    }
}

/// What is known of the default variant.
fn constants(graph: &Graph) -> TokenStream {
    let (input, output) = match (graph.nodes.first(), graph.nodes.last()) {
        (Some(first), Some(last)) => (first.shape.dims(), last.shape.dims()),
        _ => unreachable!("a graph has nodes (a bug in nin)"),
    };
    let rank = output.len();
    let (params, macs) = (graph.params_total(), graph.macs_total());
    let receptive_field = graph.layers.last().map_or(1, |layer| layer.facts.receptive_field);
    quote! {
        /// Channels, height and width of an image.
        pub const INPUT: [usize; 3] = [#(#input),*];
        /// The shape of one image's output: classes, or channels, height and width.
        pub const OUTPUT: [usize; #rank] = [#(#output),*];
        /// Trainable numbers.
        pub const PARAMS: u64 = #params;
        /// Multiply-accumulates for one image.
        pub const MACS: u64 = #macs;
        /// Side of the square of input pixels that one output sees, not clipped to the input.
        pub const RECEPTIVE_FIELD: u64 = #receptive_field;
    }
}

fn errors(diagnostics: &[Diagnostic]) -> impl Iterator<Item = &Diagnostic> {
    diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error)
}

/// All that a diagnostic says, for where rustc draws the place itself.
fn message(diagnostic: &Diagnostic, source: &Source) -> String {
    format!("{} [{}]{}", diagnostic.message, diagnostic.code, diagnostic.remarks(source))
}

/// An error of rustc's from the first span to the last.
fn compile_error((first, last): (Span, Span), message: &str) -> TokenStream {
    let mut body = Group::new(Delimiter::Brace, Literal::string(message).into_token_stream());
    body.set_span(last);
    let mut tokens = quote_spanned!(first=> ::core::compile_error!);
    tokens.extend([TokenTree::Group(body)]);
    tokens
}

/// A warning of rustc's, which a macro can give only by using something deprecated.
fn deprecated(at: Span, warning: &Diagnostic, source: &Source) -> TokenStream {
    let note = message(warning, source);
    quote_spanned! {at=>
        const _: () = {
            #[deprecated(note = #note)]
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
        let tokens = include(quote!("tests/faulty.nin")).to_string();
        assert_eq!(tokens.matches("compile_error").count(), 2, "{tokens}");
        for part in ["tests/faulty.nin:4:5: error[N010]", "did you mean `conv`?", "faulty.nin:6:5"]
        {
            assert!(tokens.contains(part), "{part} in {tokens}");
        }
    }
}
