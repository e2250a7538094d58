//! The struct a model with a head becomes.

use nin_dsl::{Graph, Number, ast};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};

use super::Facade;

/// What is known of a model.
pub(super) struct KnownModel<'g> {
    params: Vec<(String, Number)>,
    /// `None` if the model has errors.
    graph: Option<&'g Graph>,
}

impl<'g> KnownModel<'g> {
    /// A model that passed.
    pub(super) fn of(graph: &'g Graph) -> KnownModel<'g> {
        KnownModel { params: graph.params().to_vec(), graph: Some(graph) }
    }

    /// A model with errors.
    pub(super) fn not(model: &ast::Model) -> KnownModel<'static> {
        KnownModel { params: nin_dsl::defaults(model), graph: None }
    }
}

/// The struct with its fields, defaults, constants and `model`. Of a model with errors all of it compiles and nothing is
/// true: rustc never gets to run it. There is none if the model's name can be none in Rust, which is an error of its own.
pub(super) fn item(
    facade: &Facade,
    model: &ast::Model,
    text: &TokenStream,
    name_span: Span,
    known: KnownModel<'_>,
) -> Option<TokenStream> {
    let head = model.head.as_ref()?;
    let docs = &head.docs;
    let visibility: TokenStream = match &head.visibility {
        Some(visibility) => visibility.text.parse().expect("`pub` as Rust reads it (a bug in nin)"),
        None => TokenStream::new(),
    };
    let name = identifier(&model.name.text, name_span)?;
    let private = facade.private();
    let fields: Vec<Field> = known
        .params
        .iter()
        .filter_map(|(name, default)| Field::new(facade, name, *default, name_span))
        .collect();
    let declarations = fields.iter().map(|field| &field.declaration);
    let defaults = fields.iter().map(|field| &field.default);
    let (body, default) = match fields.as_slice() {
        [] => (quote!(;), quote!(#name)),
        _ => (quote!({ #(#declarations,)* }), quote!(#name { #(#defaults,)* })),
    };
    let constants = constants(known.graph);
    let made = match known.graph {
        Some(_) => {
            let name_text = &model.name.text;
            let values = fields.iter().map(|field| &field.value);
            quote!(#private::model(#name_text, Self::TEXT, &[#(#values),*]))
        }
        None => quote!(::core::unreachable!()),
    };
    Some(quote! {
        #(#[doc = #docs])*
        #[allow(dead_code, non_camel_case_types, non_snake_case)]
        #[derive(
            ::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug, ::core::cmp::PartialEq
        )]
        #visibility struct #name #body

        impl ::core::default::Default for #name {
            fn default() -> Self {
                #default
            }
        }

        #[allow(dead_code)]
        impl #name {
            /// The model's text.
            pub const TEXT: &'static ::core::primitive::str = #text;
            #constants

            /// The model with these parameters.
            ///
            /// # Errors
            /// If they do not make a valid model.
            pub fn model(
                &self,
            ) -> ::core::result::Result<#private::Model, #private::Error> {
                #made
            }
        }
    })
}

/// Raw, since a model or a parameter may have any name, a keyword of Rust's too; but a few can be none even so.
fn identifier(name: &str, span: Span) -> Option<Ident> {
    (!ast::NO_IDENTIFIERS.contains(&name)).then(|| Ident::new_raw(name, span))
}

/// A parameter's parts in Rust.
struct Field {
    declaration: TokenStream,
    default: TokenStream,
    /// What is passed to the runtime.
    value: TokenStream,
}

impl Field {
    fn new(facade: &Facade, name: &str, default: Number, span: Span) -> Option<Field> {
        let private = facade.private();
        let identifier = identifier(name, span)?;
        let doc = format!("The parameter `{name}`; {default} by default.");
        let (kind, variant, literal) = match default {
            Number::Whole(n) => {
                (quote!(::core::primitive::i64), quote!(Whole), n.into_token_stream())
            }
            Number::Real(x) => {
                (quote!(::core::primitive::f64), quote!(Real), x.into_token_stream())
            }
        };
        Some(Field {
            declaration: quote!(#[doc = #doc] pub #identifier: #kind),
            default: quote!(#identifier: #literal),
            value: quote!((#name, #private::Number::#variant(self.#identifier))),
        })
    }
}

/// What is known of the default variant. Of a model with errors nothing is, and it is taken to be a classifier.
fn constants(graph: Option<&Graph>) -> TokenStream {
    let (input, output) =
        graph.map_or((vec![0; 3], vec![0]), |graph| (graph.input().dims(), graph.output().dims()));
    let rank = output.len();
    let params = graph.map_or(0, Graph::params_total);
    let macs = graph.map_or(0, Graph::macs_total);
    let last = graph.and_then(|graph| graph.layers().last());
    let [rows, columns] = last.map_or([0; 2], |layer| layer.facts.receptive_field);
    let receptive_field = rows.max(columns);
    quote! {
        /// Channels, height and width of an image.
        pub const INPUT: [::core::primitive::usize; 3] = [#(#input),*];
        /// The shape of one image's output: classes, or channels, height and width.
        pub const OUTPUT: [::core::primitive::usize; #rank] = [#(#output),*];
        /// Trainable numbers.
        pub const PARAMS: ::core::primitive::u64 = #params;
        /// Multiply-accumulates for one image.
        pub const MACS: ::core::primitive::u64 = #macs;
        /// Side of the least square around the input pixels that one output sees, not clipped to the input.
        pub const RECEPTIVE_FIELD: ::core::primitive::u64 = #receptive_field;
    }
}
