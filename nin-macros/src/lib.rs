//! `nin!` and `include!`: models checked while Rust compiles. Use them through the `nin` crate, which documents them.
//!
//! ```ignore
//! nin::nin! {
//!     pub model Small(width = 16) < input(1, 28, 28) mlpconv(width, 10, kernel = 5) gap softmax >
//! }
//! let model = Small { width: 8 }.model()?;
//! ```
//!
//! A linter with a text at its end: the macro lays its tokens out as text, reads and checks it as the `nin` command
//! would, reports what is wrong under the tokens it is wrong at, and leaves the text to the runtime, which reads it
//! again. No compiler is linked here.

#[cfg(test)]
mod doors;
mod expand;
mod token_text;

use proc_macro::TokenStream;

/// A model, written in Rust: an item (`nin! { pub model Name(width = 16) < ... > }`), which becomes a struct with a field
/// for each parameter, or an expression (`nin!(< ... >)`), which is a `Model`.
#[proc_macro]
pub fn nin(tokens: TokenStream) -> TokenStream {
    expand::nin(tokens.into()).into()
}

/// The same from a file, whose path is relative to the crate's `Cargo.toml`: `nin::include!("models/small.nin");`.
#[proc_macro]
pub fn include(tokens: TokenStream) -> TokenStream {
    expand::include(tokens.into()).into()
}
