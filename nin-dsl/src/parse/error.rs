//! What is said where the grammar cannot go on.

use pest::error::{Error, ErrorVariant, InputLocation};

use super::grammar::Rule;
use crate::diagnostic::{Code, Diagnostic, join};
use crate::excerpt::{excerpt, is_printable, named};
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
    if let Some(foreign) = foreign_letter(text, at) {
        return foreign;
    }
    let found = token_at(text, at);
    let place = Span::new(at, at + found.len());
    if ["///", "//!", "/**", "/*!"].iter().any(|mark| found.starts_with(mark)) {
        return Diagnostic::new(Code::MisplacedDoc, "a doc comment that documents nothing")
            .label(place, "doc comments stand before `model` and `block`")
            .help("write `//` for an ordinary comment");
    }
    if starts_like_number(found) && expected.iter().any(|e| e == "a value" || e == "an argument") {
        return Diagnostic::new(Code::BadNumber, format!("`{}` is not a number", excerpt(found)))
            .label(place, "numbers are written 12, 0.5 or 1e-5");
    }
    if is_keyword(found) && expected.iter().any(|e| e == "a name" || e == "a parameter") {
        let message = format!("`{found}` is reserved and cannot be a name");
        return Diagnostic::new(Code::Reserved, message).label(place, "choose another name");
    }
    let shown = shown(found);
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
    if let Some(advice) = advice(found) {
        diagnostic = diagnostic.help(advice);
    }
    if found == "#" && text[..at].ends_with('r') {
        diagnostic = diagnostic.help("Rust's `r#` is for Rust alone: write the name without it");
    }
    if expected.iter().any(|e| e == "`<`") && found.starts_with(['{', '[']) {
        diagnostic = diagnostic.help("a chain stands between `<` and `>`");
    }
    if found == "<" && expected.iter().any(|e| e == "a layer") {
        diagnostic = diagnostic.help(match text[..at].trim_ascii_end().ends_with([',', ';']) {
            true => "neither `,` nor `;` stands before a branch",
            false => "a chain in a chain is a branch of the layer before it: `add < ... > < ... >`",
        });
    }
    if matches!(found, "block" | "model") && expected.iter().any(|e| e == "`>`") {
        diagnostic = diagnostic.help(format!("a `{found}` stands beside a chain, not in it"));
    }
    diagnostic
}

/// What is said of a word with a letter that names do not have, if there is one at a position.
fn foreign_letter(text: &str, at: usize) -> Option<Diagnostic> {
    let letter = text[at..].chars().next().filter(|&c| is_foreign(c))?;
    let start = text[..at]
        .rfind(|c: char| !is_word(c))
        .map_or(0, |before| before + text[before..].chars().next().map_or(0, char::len_utf8));
    let end = text[at..].find(|c: char| !is_word(c)).map_or(text.len(), |length| at + length);
    let message = format!("{} cannot stand in a name", named(letter));
    let diagnostic = Diagnostic::new(Code::Syntax, message)
        .label(Span::new(start, end), "names are made of a to z, A to Z, 0 to 9 and _");
    Some(diagnostic)
}

/// A letter or digit beyond ASCII, or a mark over one.
fn is_foreign(c: char) -> bool {
    !c.is_ascii() && is_word(c)
}

/// What people take for a part of a word. Combining marks are no letters, yet stand on them.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || matches!(c, '\u{300}'..='\u{36f}')
}

/// What was found, as a message names it.
fn shown(found: &str) -> String {
    let mut characters = found.chars();
    match (characters.next(), characters.next()) {
        (None, _) => "the end of the text".to_owned(),
        (Some(only), None) => named(only),
        _ => format!("`{}`", excerpt(found)),
    }
}

/// What to do about a character that is none of the language's.
fn advice(found: &str) -> Option<String> {
    let c = found.chars().next()?;
    Some(match c {
        '\r' => "save the text with the line ends of Unix or Windows".to_owned(),
        '\u{2010}'..='\u{2015}' | '\u{2212}' => "write `-`".to_owned(),
        // The wide forms of ASCII's characters.
        '\u{ff01}'..='\u{ff5e}' => {
            let narrow = char::from_u32(u32::from(c) - 0xff01 + 0x21)?;
            format!("write `{narrow}`")
        }
        c if c.is_whitespace() => "put an ordinary blank in its place".to_owned(),
        c if !is_printable(c) => "remove it".to_owned(),
        _ => return None,
    })
}

/// The word, number, comment mark or single character at a position; empty at the end.
fn token_at(text: &str, at: usize) -> &str {
    let rest = &text[at..];
    let word = is_word;
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
            Rule::chain_close | Rule::branch_close => sure.push("`>`"),
            Rule::name => sure.push("a name"),
            Rule::param | Rule::slot => sure.push("a parameter"),
            Rule::arg => sure.push("an argument"),
            Rule::value | Rule::several | Rule::expr | Rule::term | Rule::factor | Rule::number => {
                sure.push("a value");
            }
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
            Rule::branch | Rule::branch_open => {}
            Rule::separator | Rule::visibility | Rule::pub_word | Rule::doc => {}
            Rule::word | Rule::word_char | Rule::keyword | Rule::line_doc | Rule::block_doc => {}
            Rule::WHITESPACE | Rule::line_end | Rule::in_line => {}
            Rule::COMMENT | Rule::line_comment | Rule::nested => {}
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
