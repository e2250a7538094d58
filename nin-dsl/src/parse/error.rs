//! What is said where the grammar cannot go on.

use pest::error::{Error, ErrorVariant, InputLocation};

use super::grammar::Rule;
use crate::diagnostic::{Code, Diagnostic, join};
use crate::scan;
use crate::span::Span;

/// Says what stands at the place where the grammar could not go on, and what could have stood there.
pub(super) fn syntax_error(text: &str, error: &Error<Rule>) -> Diagnostic {
    let at = match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
    };
    let expected = match &error.variant {
        ErrorVariant::ParsingError { positives, .. } => expectations(positives),
        // The parser stops by itself where the machine's stack runs out.
        ErrorVariant::CustomError { .. } => {
            return Diagnostic::new(Code::NestedTooDeep, "nesting too deep to parse")
                .label(Span::new(at, at), "");
        }
    };
    let found = token_at(text, at);
    let place = Span::new(at, at + found.len());
    if ["///", "//!", "/**", "/*!"].iter().any(|mark| found.starts_with(mark)) {
        return Diagnostic::new(Code::MisplacedDoc, "a doc comment that documents nothing")
            .label(place, "doc comments stand before `model` and `block`")
            .help("write `//` for an ordinary comment");
    }
    if starts_like_number(found) && expected.iter().any(|e| e == "a value" || e == "an argument") {
        return Diagnostic::new(Code::BadNumber, format!("`{found}` is not a number"))
            .label(place, "numbers are written 12, 0.5 or 1e-5");
    }
    if is_keyword(found) && expected.iter().any(|e| e == "a name" || e == "a parameter") {
        let message = format!("`{found}` is reserved and cannot be a name");
        return Diagnostic::new(Code::Reserved, message).label(place, "choose another name");
    }
    let shown = if found.is_empty() { "the end of the text".into() } else { format!("`{found}`") };
    let (message, label) = match join(&expected, "or") {
        none if none.is_empty() => (format!("unexpected {shown}"), "unexpected".to_owned()),
        some => (format!("expected {some}, found {shown}"), format!("expected {some}")),
    };
    let mut diagnostic = Diagnostic::new(Code::Syntax, message).label(place, label);
    if let Some(&open) = scan::open_brackets(text, at).unwrap_or_default().last() {
        let closes = if text[open..].starts_with('(') { "`)`" } else { "`>`" };
        if expected.iter().any(|e| e == closes) {
            diagnostic = diagnostic.label(Span::new(open, open + 1), "still open");
        }
    }
    if expected.iter().any(|e| e == "`<`") && found.starts_with(['{', '[']) {
        diagnostic = diagnostic.help("a chain stands between `<` and `>`");
    }
    if matches!(found, "block" | "model") && expected.iter().any(|e| e == "`>`") {
        diagnostic = diagnostic.help(format!("a `{found}` stands beside a chain, not in it"));
    }
    diagnostic
}

/// The word, number, comment mark or single character at a position; empty at the end.
fn token_at(text: &str, at: usize) -> &str {
    let rest = &text[at..];
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let length = match rest.chars().next() {
        None => 0,
        Some('/') if rest.starts_with("//") || rest.starts_with("/*") => {
            rest.chars().take(3).map(char::len_utf8).sum()
        }
        Some(_) if starts_like_number(rest) => {
            rest.find(|c: char| !word(c) && c != '.').unwrap_or(rest.len())
        }
        Some(c) if word(c) => rest.find(|c: char| !word(c)).unwrap_or(rest.len()),
        Some(c) => c.len_utf8(),
    };
    &rest[..length]
}

fn is_keyword(word: &str) -> bool {
    matches!(word, "model" | "block" | "repeat" | "pub")
}

/// A digit, or a point with a digit after it.
fn starts_like_number(text: &str) -> bool {
    text.strip_prefix('.').unwrap_or(text).starts_with(|c: char| c.is_ascii_digit())
}

/// What the grammar tried, as a person would say it, the likeliest first.
fn expectations(rules: &[Rule]) -> Vec<String> {
    // Things that may always follow say little: they are named only where nothing else could come.
    let (mut sure, mut possible): (Vec<&str>, Vec<&str>) = (vec![], vec![]);
    for rule in rules {
        match rule {
            Rule::layer | Rule::call | Rule::repeat | Rule::repeat_word => sure.push("a layer"),
            Rule::chain_open | Rule::chain => sure.push("`<`"),
            Rule::chain_close => sure.push("`>`"),
            Rule::name => sure.push("a name"),
            Rule::param | Rule::slot => sure.push("a parameter"),
            Rule::arg => sure.push("an argument"),
            Rule::expr | Rule::term | Rule::factor | Rule::number => sure.push("a value"),
            Rule::comma => sure.push("`,`"),
            Rule::close => sure.push("`)`"),
            Rule::path => sure.push("a path"),
            Rule::file => sure.extend(["`model`", "`block`", "`<`"]),
            Rule::definition => sure.extend(["`model`", "`block`"]),
            Rule::model | Rule::model_word => sure.push("`model`"),
            Rule::block | Rule::block_word => sure.push("`block`"),
            Rule::EOI => sure.push("the end of the text"),
            Rule::open | Rule::args | Rule::params | Rule::slots => possible.push("`(`"),
            Rule::assign => possible.push("`=`"),
            Rule::add_op | Rule::mul_op | Rule::negation => possible.push("an operator"),
            Rule::separator | Rule::visibility | Rule::pub_word | Rule::doc => {}
            Rule::word | Rule::word_char | Rule::keyword | Rule::line_doc | Rule::block_doc => {}
            Rule::WHITESPACE | Rule::COMMENT | Rule::line_comment | Rule::nested => {}
        }
    }
    let end = "the end of the text";
    if sure.contains(&end) {
        sure = vec![end];
    }
    let mut expected = if sure.is_empty() { possible } else { sure };
    // Rules are tried in their order, but what closes reads better last.
    expected.sort_by_key(|what| matches!(*what, "`>`" | "`)`"));
    let mut seen: Vec<&str> = vec![];
    expected.retain(|what| {
        !seen.contains(what) && {
            seen.push(what);
            true
        }
    });
    expected.into_iter().map(str::to_owned).collect()
}
