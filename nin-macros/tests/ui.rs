//! What rustc says where a model in a macro is wrong.
//!
//! With `TRYBUILD=overwrite` in the environment the expectations are written anew.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use nin_dsl::{Source, parse, read};
use proc_macro2::TokenStream;

/// What both files of examples begin with: the part of `nin` that the macro names, and its own front.
const HEAD: &str = "// Written by ui.rs.
#![deny(deprecated)]

macro_rules! nin {
    ($($tokens:tt)*) => { nin_macros::nin! { $crate $($tokens)* } };
}

pub mod __private {
    pub use nin_dsl::Number;
    pub struct Model;
    pub type Error = ();
    pub fn model(_: &str, _: &str, _: &[(&str, Number)]) -> Result<Model, Error> {
        Ok(Model)
    }
}

fn main() {}
";

/// Every example of a mistake that is made of tokens, in a macro: those with an error, and those with warnings alone,
/// which rustc does not come to where there are errors.
fn examples() -> [(&'static str, String); 2] {
    let mut files = [("errors.rs", HEAD.to_owned()), ("warnings.rs", HEAD.to_owned())];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../nin-dsl/tests/errors");
    let entries = fs::read_dir(folder).expect("the examples");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "nin"));
    paths.sort();
    for path in paths {
        let name = path.file_stem().expect("a name").to_string_lossy().replace('-', "_");
        let text = fs::read_to_string(&path).expect("a text");
        let Ok(tokens) = text.parse::<TokenStream>() else { continue };
        // As the macro sees it, without comments.
        let source = Source::new("model", tokens.to_string());
        let file = match read(&source, &[]) {
            Ok((_, warnings)) if warnings.is_empty() => continue,
            Ok(_) => &mut files[1].1,
            Err(_) => &mut files[0].1,
        };
        let is_item = parse(&source).map_or(true, |model| model.head.is_some());
        let text = format!("nin! {{\n{text}}}");
        let written = if is_item {
            write!(file, "\nmod {name} {{\n{text}\n}}\n")
        } else {
            write!(file, "\nfn {name}() {{\nlet _ =\n{text};\n}}\n")
        };
        written.expect("a string takes any text");
    }
    files
}

#[test]
fn errors_stand_under_their_tokens() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui");
    let overwrite = std::env::var("TRYBUILD").is_ok_and(|how| how == "overwrite");
    for (name, text) in examples() {
        let file = folder.join(name);
        if overwrite {
            fs::write(&file, text).expect("written");
        } else {
            let there = fs::read_to_string(&file).expect("the examples");
            assert!(there == text, "{name} is not what ui.rs writes: see there");
        }
    }
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
