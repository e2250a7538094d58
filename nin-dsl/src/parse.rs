//! Text to [`ast::Model`]. This module alone names pest.

mod error;
mod tokens;

use pest::Parser;
use pest::iterators::Pair;

use crate::ast::{self, ExprKind};
use crate::diagnostic::{Code, Diagnostic};
use crate::excerpt::printable;
use crate::number::{Number, Operator, ParseNumberError};
use crate::span::{Source, Span};
use crate::{limits, scan};

use grammar::{Grammar, Rule};
pub(crate) use tokens::tokens;

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

/// The whole text under the grammar.
fn syntax(source: &Source) -> Result<Pair<'_, Rule>, Diagnostic> {
    let text = &*source.text;
    if text.len() > limits::TEXT_BYTES {
        let message = format!("a text of {} bytes; at most {}", text.len(), limits::TEXT_BYTES);
        return Err(Diagnostic::new(Code::TooLarge, message));
    }
    scan::open_brackets(text, text.len())?;
    let mut file =
        Grammar::parse(Rule::file, text).map_err(|error| error::syntax_error(text, &error))?;
    Ok(file.next().expect("a parse yields its rule (a bug in nin)"))
}

fn parse_model(source: &Source) -> Result<ast::Model, Diagnostic> {
    let file = syntax(source)?;
    let mut blocks = vec![];
    let mut model: Option<ast::Model> = None;
    for pair in file.into_inner() {
        let read = match pair.as_rule() {
            Rule::definition => read_definition(pair)?,
            Rule::chain => Definition::Model(read_bare_chain(pair, &stem(&source.name))?),
            _ => continue,
        };
        match (read, &model) {
            (Definition::Block(block), _) => blocks.push(block),
            (Definition::Model(read), None) => model = Some(read),
            (Definition::Model(second), Some(first)) => {
                return Err(Diagnostic::new(Code::NotOneModel, "a second model in one text")
                    .label(second.name.span, "the second")
                    .label(first.name.span, "the first")
                    .help("put it in a file of its own"));
            }
        }
    }
    match model {
        Some(model) => Ok(ast::Model { blocks, ..model }),
        None => {
            let end = Span::new(source.text.len(), source.text.len());
            Err(Diagnostic::new(Code::NotOneModel, "there is no model here")
                .label(end, "expected `model NAME < ... >` or `< ... >`"))
        }
    }
}

/// What stands outside of chains.
enum Definition {
    Model(ast::Model),
    Block(ast::Block),
}

/// The file stem of a path, or the text itself where it is none. Names of files may hold what a terminal obeys.
fn stem(name: &str) -> String {
    let stem = std::path::Path::new(name).file_stem();
    let stem = stem.map_or(name.into(), |stem| stem.to_string_lossy());
    printable(&stem).into_owned()
}

/// From a pair's first token to its last. Its own end may lie beyond: the grammar skips blanks before it finds that an
/// optional part is absent.
fn span(pair: &Pair<'_, Rule>) -> Span {
    let start = pair.as_span().start();
    let mut last = pair.clone();
    while let Some(child) = last.clone().into_inner().rfind(|part| part.as_rule() != Rule::COMMENT)
    {
        last = child;
    }
    Span::new(start, last.as_span().end())
}

fn name(pair: &Pair<'_, Rule>) -> Result<ast::Name, Diagnostic> {
    let (text, span) = (pair.as_str(), span(pair));
    if text.len() > limits::NAME_BYTES {
        let message = format!("a name of {} bytes; at most {}", text.len(), limits::NAME_BYTES);
        return Err(Diagnostic::new(Code::TooLarge, message).label(span, "choose a shorter name"));
    }
    Ok(ast::Name { text: text.to_owned(), span })
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
                | Rule::branch_open
                | Rule::branch_close
                | Rule::comma
                | Rule::separator
                | Rule::assign
                | Rule::model_word
                | Rule::block_word
                | Rule::repeat_word
                | Rule::COMMENT
        )
    })
}

fn read_definition(pair: Pair<'_, Rule>) -> Result<Definition, Diagnostic> {
    let whole = span(&pair);
    let (mut docs, mut visibility) = (vec![], None);
    let mut parts = children(pair);
    loop {
        let part = next(&mut parts);
        match part.as_rule() {
            Rule::doc => docs.extend(doc_lines(part.as_str())),
            Rule::visibility => {
                let path = part.clone().into_inner().find(|part| part.as_rule() == Rule::path);
                let path = path.map(|path| format!("({})", path_text(path.as_str())));
                let text = format!("pub{}", path.unwrap_or_default());
                visibility = Some(ast::Visibility { text, span: span(&part) });
            }
            Rule::model => return read_model(part, docs, visibility, whole).map(Definition::Model),
            _ => return read_block(part, docs, visibility).map(Definition::Block),
        }
    }
}

fn read_model(
    pair: Pair<'_, Rule>,
    docs: Vec<String>,
    visibility: Option<ast::Visibility>,
    span: Span,
) -> Result<ast::Model, Diagnostic> {
    let mut parts = children(pair);
    let (name, mut part) = (name(&next(&mut parts))?, next(&mut parts));
    let mut params = vec![];
    if part.as_rule() == Rule::params {
        params = children(part).map(read_param).collect::<Result<_, _>>()?;
        part = next(&mut parts);
    }
    let head = ast::Head { docs, visibility, params };
    let chain = read_chain(part)?;
    Ok(ast::Model { name, head: Some(head), chain, span, blocks: vec![] })
}

fn read_block(
    pair: Pair<'_, Rule>,
    docs: Vec<String>,
    visibility: Option<ast::Visibility>,
) -> Result<ast::Block, Diagnostic> {
    let mut parts = children(pair);
    let (name, mut part) = (name(&next(&mut parts))?, next(&mut parts));
    let mut slots = vec![];
    if part.as_rule() == Rule::slots {
        slots = children(part).map(read_slot).collect::<Result<_, _>>()?;
        part = next(&mut parts);
    }
    Ok(ast::Block { docs, visibility, name, slots, chain: read_chain(part)? })
}

fn read_bare_chain(pair: Pair<'_, Rule>, name: &str) -> Result<ast::Model, Diagnostic> {
    let whole = span(&pair);
    let opening = Span { end: whole.start + 1, ..whole };
    let name = ast::Name { text: name.to_owned(), span: opening };
    Ok(ast::Model { name, head: None, chain: read_chain(pair)?, span: whole, blocks: vec![] })
}

/// A path of Rust's with no more blanks than it needs.
fn path_text(path: &str) -> String {
    let words: Vec<&str> = path.split_whitespace().collect();
    words.join(" ").replace(" ::", "::").replace(":: ", "::")
}

/// The lines of one doc comment, without its marks.
fn doc_lines(comment: &str) -> Vec<String> {
    // A line of its own is a line though nothing stands on it: between two others it parts them.
    if let Some(line) = comment.strip_prefix("///") {
        return vec![line.to_owned()];
    }
    let text = comment.trim_start_matches("/**").trim_end_matches("*/");
    text.lines().map(|line| line.trim_end_matches('\r').to_owned()).collect()
}

fn read_param(pair: Pair<'_, Rule>) -> Result<ast::Param, Diagnostic> {
    let mut parts = children(pair);
    let (param, default) = (next(&mut parts), next(&mut parts));
    Ok(ast::Param { name: name(&param)?, default: read_expr(default)? })
}

fn read_slot(pair: Pair<'_, Rule>) -> Result<ast::Slot, Diagnostic> {
    let mut parts = children(pair);
    let slot = name(&next(&mut parts))?;
    Ok(ast::Slot { name: slot, default: parts.next().map(read_expr).transpose()? })
}

fn read_chain(pair: Pair<'_, Rule>) -> Result<Vec<ast::Item>, Diagnostic> {
    let read_item = |pair: Pair<'_, Rule>| match pair.as_rule() {
        Rule::repeat => read_repeat(pair).map(ast::Item::Repeat),
        _ => read_call(pair).map(ast::Item::Call),
    };
    children(pair).map(read_item).collect()
}

fn read_repeat(pair: Pair<'_, Rule>) -> Result<ast::Repeat, Diagnostic> {
    let end = pair.clone().into_inner().find(|part| part.as_rule() == Rule::close);
    let whole = span(&pair);
    let head = end.map_or(whole, |end| Span { start: whole.start, ..span(&end) });
    let mut parts = children(pair);
    let (count, chain) = (next(&mut parts), next(&mut parts));
    Ok(ast::Repeat { count: read_expr(count)?, chain: read_chain(chain)?, span: head })
}

fn read_call(pair: Pair<'_, Rule>) -> Result<ast::Call, Diagnostic> {
    let mut parts = children(pair);
    let word = name(&next(&mut parts))?;
    let (mut head, mut args, mut branches) = (word.span, vec![], vec![]);
    for part in parts {
        if part.as_rule() == Rule::args {
            head = word.span.to(span(&part));
            args = children(part).map(read_arg).collect::<Result<_, _>>()?;
        } else {
            branches.push(read_branch(part)?);
        }
    }
    Ok(ast::Call { word, args, branches, span: head })
}

fn read_branch(pair: Pair<'_, Rule>) -> Result<ast::Branch, Diagnostic> {
    // Its last token is its own, so that its end is no other's.
    let (start, end) = (pair.as_span().start(), pair.as_span().end());
    Ok(ast::Branch { chain: read_chain(pair)?, span: Span::new(start, end) })
}

fn read_arg(pair: Pair<'_, Rule>) -> Result<ast::Argument, Diagnostic> {
    let whole = span(&pair);
    let mut parts = children(pair);
    let first = next(&mut parts);
    let (name, value) = match parts.next() {
        Some(value) => (Some(name(&first)?), value),
        None => (None, first),
    };
    Ok(ast::Argument { name, value: read_expr(value)?, span: whole })
}

/// Reads an `expr`, a `term`, operands with operators of one precedence between them, or `several` values.
fn read_expr(pair: Pair<'_, Rule>) -> Result<ast::Expr, Diagnostic> {
    if pair.as_rule() == Rule::several {
        let span = span(&pair);
        let items = children(pair).map(read_expr).collect::<Result<_, _>>()?;
        return Ok(ast::Expr { kind: ExprKind::Several(items), span });
    }
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
        Rule::name => ast::Expr { kind: ExprKind::Name(name(&part)?.text), span: inner },
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
