//! `docs/language.md` says what the tables of the language say, and its examples are models.
//!
//! With `UPDATE_DOCS=1` in the environment the generated parts are written anew.

use std::fmt::Write as _;
use std::fs;

use nin_dsl::layer::{Arg, Default, Kind, LAYERS, LayerSpec, Takes, Yields};
use nin_dsl::{Code, Number, Source, format, limits, read};

const TEXT: &str = include_str!("../../docs/language.md");
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/language.md");

fn takes(takes: Takes) -> &'static str {
    match takes {
        Takes::Nothing => "Comes first",
        Takes::Map => "Reads a map",
        Takes::Vector => "Reads a vector",
        Takes::Any => "Reads a map or a vector",
        Takes::Branches(_) => "Joins two branches or more",
    }
}

fn yields(yields: Yields) -> &'static str {
    match yields {
        Yields::Same => "the same shape",
        Yields::Map => "a map",
        Yields::Vector => "a vector",
        Yields::End => "a vector, which no layer may follow",
        Yields::Joined => "a map if any of them leaves one, else a vector",
    }
}

fn values(kind: Kind) -> &'static str {
    match kind {
        Kind::Channels | Kind::Positive => "whole, at least 1",
        Kind::ChannelList => "one or more, whole, at least 1",
        Kind::Sides => "whole, at least 1; one, or (vertical, horizontal)",
        Kind::Padding => {
            "whole, at least 0; one, (vertical, horizontal) or (top, left, bottom, right); or `same`"
        }
        Kind::PoolPadding => {
            "whole, from 0 to half the kernel; one, (vertical, horizontal) or (top, left, bottom, right)"
        }
        Kind::Rounding => "`floor` or `ceil`",
        Kind::Counting => "`real` or `window`",
        Kind::Switch => "0 or 1",
        Kind::Probability => "at least 0, below 1",
        Kind::Real => "any number",
        Kind::NonNegative => "at least 0",
        Kind::Eps => "from 1e-12 to 1",
        Kind::Group => "0, or whole, at least 2",
        Kind::Odd => "whole, odd",
        Kind::Start => "at least 1e-12",
        Kind::Share => "from 0 to 1",
    }
}

fn default(arg: &Arg) -> String {
    match arg.default {
        Default::Required => "required".to_owned(),
        Default::Whole(n) => n.to_string(),
        Default::Real(x) => Number::Real(x).to_string(),
        Default::Word(word) => format!("`{word}`"),
        Default::Of(key) => format!("the {key}"),
    }
}

fn layers() -> String {
    let mut text = String::new();
    for layer in LAYERS {
        let LayerSpec { summary, args, takes: from, yields: to, .. } = layer;
        let usage = layer.usage();
        writeln!(text, "### `{usage}`\n\n{summary}").expect("writing to a string");
        writeln!(text, "{} and leaves {}.\n", takes(*from), yields(*to))
            .expect("writing to a string");
        if !args.is_empty() {
            text += "| argument | default | values | |\n|---|---|---|---|\n";
        }
        for arg in *args {
            let (default, values) = (default(arg), values(arg.kind));
            writeln!(text, "| `{}` | {default} | {values} | {} |", arg.name, arg.doc)
                .expect("writing to a string");
        }
        text += if args.is_empty() { "" } else { "\n" };
    }
    text
}

fn limits() -> String {
    let rows = [
        (
            "numbers in one activation of one image, and the largest argument",
            limits::ACTIVATION_ELEMENTS,
        ),
        ("trainable numbers", limits::PARAMETERS),
        ("layers", limits::LAYERS as u64),
        ("uses of blocks, repetitions and branches", limits::EXPANSIONS as u64),
        (
            "brackets or comments, and blocks, repetitions or branches, inside one another",
            limits::NESTING as u64,
        ),
        ("parameters of a model or a block", limits::PARAMETERS_OF_ONE as u64),
        ("blocks of a text", limits::BLOCKS as u64),
        ("bytes of a name", limits::NAME_BYTES as u64),
        ("bytes of a text", limits::TEXT_BYTES as u64),
    ];
    let row = |(what, most): (&str, u64)| format!("| {what} | {most} |\n");
    format!("| what | at most |\n|---|---|\n{}\n", rows.map(row).concat())
}

fn codes() -> String {
    let row = |code: &Code| format!("| {code} | {} | {} |\n", code.severity(), code.title());
    let rows: String = Code::ALL.iter().map(row).collect();
    format!("| code | | |\n|---|---|---|\n{rows}\n")
}

/// The file with the part between a mark and the next end replaced.
fn replaced(text: &str, mark: &str, part: &str) -> String {
    let mark = format!("<!-- {mark} -->\n");
    let start = text.find(&mark).unwrap_or_else(|| panic!("no {mark}")) + mark.len();
    let end = start + text[start..].find("<!-- end -->").expect("an end");
    format!("{}\n{part}{}", &text[..start], &text[end..])
}

#[test]
fn the_reference_is_up_to_date() {
    let parts = [("layers", layers()), ("limits", limits()), ("codes", codes())];
    let generated =
        parts.iter().fold(TEXT.to_owned(), |text, (mark, part)| replaced(&text, mark, part));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(FILE, &generated).expect("the reference is written");
    } else {
        assert!(
            TEXT == generated,
            "docs/language.md is stale: run with UPDATE_DOCS=1 to write it anew"
        );
    }
}

#[test]
fn the_examples_are_models() {
    let examples: Vec<&str> = TEXT.split("```nin\n").skip(1).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let (example, _) = example.split_once("```").expect("an example ends");
        let source = Source::new("example.nin", example);
        let (_, warnings) =
            read(&source, &[]).unwrap_or_else(|errors| panic!("{example}\n{errors:?}"));
        assert_eq!(warnings, []);
        assert_eq!(format::source(&source).expect("it parses"), example);
    }
}
