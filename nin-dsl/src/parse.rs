//! Text to [`ast::Model`]. The only file that names pest.

use pest::Parser;
use pest::error::{Error, ErrorVariant, InputLocation};
use pest::iterators::Pair;

use crate::ast::{self, ExprKind};
use crate::diagnostic::{Code, Diagnostic, join};
use crate::number::{Number, Operator, ParseNumberError};
use crate::span::{Source, Span};
use crate::{limits, scan};

use grammar::{Grammar, Rule};

mod grammar {
    #![allow(missing_docs, unreachable_pub)]

    #[derive(pest_derive::Parser)]
    #[grammar = "nin.pest"]
    pub(super) struct Grammar;
}

/// Reads a model. A bare chain is named after its source: `models/tiny.nin` is `tiny`.
///
/// # Errors
/// The first syntax error; there is at least one diagnostic.
pub fn parse(source: &Source) -> Result<ast::Model, Vec<Diagnostic>> {
    parse_model(source).map_err(|diagnostic| vec![diagnostic])
}

fn parse_model(source: &Source) -> Result<ast::Model, Diagnostic> {
    let text = &*source.text;
    if text.len() > limits::TEXT_BYTES {
        let message = format!("a text of {} bytes; at most {}", text.len(), limits::TEXT_BYTES);
        return Err(Diagnostic::new(Code::TooLarge, message));
    }
    scan::open_brackets(text, text.len())?;
    let mut file = Grammar::parse(Rule::file, text).map_err(|error| syntax_error(text, &error))?;
    let file = file.next().expect("a parse yields its rule (a bug in nin)");
    let mut models = file.into_inner().filter(|pair| pair.as_rule() != Rule::EOI);
    let Some(first) = models.next() else {
        let end = Span::new(text.len(), text.len());
        return Err(Diagnostic::new(Code::NotOneModel, "there is no model here")
            .label(end, "expected `model NAME < ... >` or `< ... >`"));
    };
    let first_span = span(&first);
    let model = match first.as_rule() {
        Rule::model => read_model(first)?,
        _ => read_bare_chain(first, &stem(&source.name))?,
    };
    match models.next() {
        None => Ok(model),
        Some(second) => Err(Diagnostic::new(Code::NotOneModel, "a second model in one text")
            .label(head_of(&second), "the second")
            .label(Span { end: first_span.start + 1, ..first_span }, "the first")
            .help("put it in a file of its own")),
    }
}

/// The part of a second model worth pointing at: all but its chain.
fn head_of(model: &Pair<'_, Rule>) -> Span {
    let span = span(model);
    let head = model.as_str().find('<').unwrap_or(0);
    Span { end: span.start + u32::try_from(head.max(1)).unwrap_or(1), ..span }
}

/// The file stem of a path, or the text itself where it is none.
fn stem(name: &str) -> String {
    let stem = std::path::Path::new(name).file_stem();
    stem.map_or_else(|| name.to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// From a pair's first token to its last. Its own end may lie beyond: the grammar skips blanks before it finds that an
/// optional part is absent.
fn span(pair: &Pair<'_, Rule>) -> Span {
    let start = pair.as_span().start();
    let mut last = pair.clone();
    while let Some(child) = last.clone().into_inner().next_back() {
        last = child;
    }
    Span::new(start, last.as_span().end())
}

fn name(pair: &Pair<'_, Rule>) -> ast::Name {
    ast::Name { text: pair.as_str().to_owned(), span: span(pair) }
}

/// The children that say something: punctuation has said its part by standing there.
fn children(pair: Pair<'_, Rule>) -> impl Iterator<Item = Pair<'_, Rule>> {
    pair.into_inner().filter(|child| {
        !matches!(
            child.as_rule(),
            Rule::open
                | Rule::close
                | Rule::chain_open
                | Rule::chain_close
                | Rule::comma
                | Rule::separator
                | Rule::assign
                | Rule::model_word
        )
    })
}

fn read_model(pair: Pair<'_, Rule>) -> Result<ast::Model, Diagnostic> {
    let whole = span(&pair);
    let mut head = ast::Head::default();
    let mut model_name = None;
    let mut layers = vec![];
    for child in children(pair) {
        match child.as_rule() {
            Rule::doc => head.docs.extend(doc_lines(child.as_str())),
            Rule::visibility => {
                let text = child.as_str().trim_end().to_owned();
                head.visibility = Some(ast::Visibility { text, span: span(&child) });
            }
            Rule::name => model_name = Some(name(&child)),
            Rule::params => {
                head.params = children(child).map(read_param).collect::<Result<_, _>>()?;
            }
            Rule::chain => layers = read_chain(child)?,
            other => unexpected(other),
        }
    }
    let name = model_name.expect("a model has a name (a bug in nin)");
    Ok(ast::Model { name, head: Some(head), layers, span: whole })
}

fn read_bare_chain(pair: Pair<'_, Rule>, name: &str) -> Result<ast::Model, Diagnostic> {
    let whole = span(&pair);
    let opening = Span { end: whole.start + 1, ..whole };
    let name = ast::Name { text: name.to_owned(), span: opening };
    Ok(ast::Model { name, head: None, layers: read_chain(pair)?, span: whole })
}

/// The lines of one doc comment, without its marks.
fn doc_lines(comment: &str) -> Vec<String> {
    let text = match comment.strip_prefix("///") {
        Some(line) => line,
        None => comment.trim_start_matches("/**").trim_end_matches("*/"),
    };
    text.lines().map(|line| line.trim_end_matches('\r').to_owned()).collect()
}

fn read_param(pair: Pair<'_, Rule>) -> Result<ast::Param, Diagnostic> {
    let mut parts = children(pair);
    let (param, default) = (next(&mut parts), next(&mut parts));
    Ok(ast::Param { name: name(&param), default: read_expr(default)? })
}

fn read_chain(pair: Pair<'_, Rule>) -> Result<Vec<ast::Call>, Diagnostic> {
    children(pair).map(read_call).collect()
}

fn read_call(pair: Pair<'_, Rule>) -> Result<ast::Call, Diagnostic> {
    let whole = span(&pair);
    let mut parts = children(pair);
    let word = name(&next(&mut parts));
    let args = match parts.next() {
        Some(args) => children(args).map(read_arg).collect::<Result<_, _>>()?,
        None => vec![],
    };
    Ok(ast::Call { word, args, span: whole })
}

fn read_arg(pair: Pair<'_, Rule>) -> Result<ast::Argument, Diagnostic> {
    let whole = span(&pair);
    let mut parts = children(pair);
    let first = next(&mut parts);
    let (name, value) = match parts.next() {
        Some(value) => (Some(name(&first)), value),
        None => (None, first),
    };
    Ok(ast::Argument { name, value: read_expr(value)?, span: whole })
}

/// Reads an `expr` or a `term`: operands with operators of one precedence between them.
fn read_expr(pair: Pair<'_, Rule>) -> Result<ast::Expr, Diagnostic> {
    let read_operand = |pair: Pair<'_, Rule>| match pair.as_rule() {
        Rule::term => read_expr(pair),
        _ => read_factor(pair),
    };
    let mut parts = children(pair);
    let first = read_operand(next(&mut parts))?;
    let mut rest = vec![];
    while let Some(operator) = parts.next() {
        let operator = match operator.as_str() {
            "+" => Operator::Add,
            "-" => Operator::Subtract,
            "*" => Operator::Multiply,
            _ => Operator::Divide,
        };
        rest.push((operator, read_operand(next(&mut parts))?));
    }
    let Some((_, last)) = rest.last() else { return Ok(first) };
    let span = first.span.to(last.span);
    Ok(ast::Expr { kind: ExprKind::Arithmetic { first: Box::new(first), rest }, span })
}

fn read_factor(pair: Pair<'_, Rule>) -> Result<ast::Expr, Diagnostic> {
    let whole = span(&pair);
    let mut parts = children(pair);
    let mut part = next(&mut parts);
    let negated = part.as_rule() == Rule::negation;
    if negated {
        part = next(&mut parts);
    }
    let inner = span(&part);
    let operand = match part.as_rule() {
        Rule::number => {
            // A negative number is one number, so that the smallest one can be written.
            let sign = if negated { "-" } else { "" };
            let kind = ExprKind::Number(read_number(&format!("{sign}{}", part.as_str()), whole)?);
            return Ok(ast::Expr { kind, span: whole });
        }
        Rule::name => ast::Expr { kind: ExprKind::Name(part.as_str().to_owned()), span: inner },
        _ => read_expr(part)?,
    };
    let kind = match operand {
        operand if negated => ExprKind::Negate(Box::new(operand)),
        operand => operand.kind,
    };
    Ok(ast::Expr { kind, span: whole })
}

fn read_number(text: &str, span: Span) -> Result<Number, Diagnostic> {
    text.parse().map_err(|error: ParseNumberError| {
        Diagnostic::new(Code::BadNumber, error.to_string()).label(span, "")
    })
}

fn next<'a>(parts: &mut impl Iterator<Item = Pair<'a, Rule>>) -> Pair<'a, Rule> {
    parts.next().expect("the grammar promises this part (a bug in nin)")
}

fn unexpected(rule: Rule) -> ! {
    unreachable!("the grammar has no {rule:?} here (a bug in nin)")
}

/// Says what stands at the place where the grammar could not go on, and what could have stood there.
fn syntax_error(text: &str, error: &Error<Rule>) -> Diagnostic {
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
            .label(place, "doc comments stand before `model`")
            .help("write `//` for an ordinary comment");
    }
    if starts_like_number(found) && expected.iter().any(|e| e == "a value" || e == "an argument") {
        return Diagnostic::new(Code::BadNumber, format!("`{found}` is not a number"))
            .label(place, "numbers are written 12, 0.5 or 1e-5");
    }
    if matches!(found, "block" | "repeat") {
        let message = format!("`{found}` is a reserved word and cannot be used yet");
        return Diagnostic::new(Code::Reserved, message).label(place, "reserved");
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
            Rule::layer | Rule::call => sure.push("a layer"),
            Rule::chain_open | Rule::chain => sure.push("`<`"),
            Rule::chain_close => sure.push("`>`"),
            Rule::name => sure.push("a name"),
            Rule::param => sure.push("a parameter"),
            Rule::arg => sure.push("an argument"),
            Rule::expr | Rule::term | Rule::factor | Rule::number => sure.push("a value"),
            Rule::comma => sure.push("`,`"),
            Rule::close => sure.push("`)`"),
            Rule::path => sure.push("a path"),
            Rule::file => sure.extend(["`model`", "`<`"]),
            Rule::model | Rule::model_word => sure.push("`model`"),
            Rule::EOI => sure.push("the end of the text"),
            Rule::open | Rule::args | Rule::params => possible.push("`(`"),
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
