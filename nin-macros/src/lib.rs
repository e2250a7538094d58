//! `nin!`: models checked while Rust compiles. Use it through the crate `nin`, which documents it.
//!
//! A linter with a text at its end: the macro lays its tokens out as text, reads and checks it as the `nin` command
//! would, reports what is wrong under the tokens it is wrong at, and leaves the text to the runtime, which reads it
//! again. No compiler is linked here.

#[cfg(test)]
mod doors;
mod expand;
mod token_text;

use proc_macro::TokenStream;

/// What the facade's `nin!` passes its tokens on to, after the facade's own path: a model, or the path of a file that holds
/// one.
#[proc_macro]
pub fn nin(tokens: TokenStream) -> TokenStream {
    expand::nin(tokens.into()).into()
}
