//! The canonical layout of a model's [`Token`]s: a layer a line, four spaces deep, lists on one line where they fit, and
//! branches as [`branches`] has them.
//!
//! It is a function of the tokens, of which comments stand on a line of their own and which lines a blank one precedes;
//! all of that survives it, so that a text laid out is laid out for good.

mod branches;

use crate::token::{Kind, Token};
use branches::place_branches;

/// Columns a line has before its list or its branch is broken.
const WIDTH: usize = 100;
const INDENT: usize = 4;

/// Lays tokens out.
pub(crate) fn layout(tokens: Vec<Token>) -> String {
    let mut out = Writer::default();
    let mut tokens = normalised(tokens);
    place_branches(&mut tokens);
    for (i, line) in lines(tokens).iter().enumerate() {
        if i > 0 {
            out.text.push_str(if line.blank { "\n\n" } else { "\n" });
        }
        write_line(&mut out, line);
    }
    out.text.push('\n');
    out.text
}

/// Drops the last comma of a list and lists of nothing, and moves what opens or goes on to before the line comments in
/// front of it, which it would otherwise have to follow on a line of its own.
fn normalised(tokens: Vec<Token>) -> Vec<Token> {
    let mut out: Vec<Token> = Vec::with_capacity(tokens.len());
    for token in tokens {
        let code = out.iter().rposition(|token| !token.is_comment());
        match (token.kind, code) {
            (Kind::ListClose, Some(last)) if out[last].kind == Kind::Comma => {
                out.remove(last);
                out.push(token);
            }
            (Kind::ListClose, Some(last))
                if out[last].kind == Kind::ListOpen && last + 1 == out.len() =>
            {
                out.pop();
            }
            (Kind::Comma | Kind::ChainOpen | Kind::ListOpen, Some(last))
                if !token.starts && out[last + 1..].iter().any(Token::ends_line) =>
            {
                out.insert(last + 1, token);
            }
            _ => out.push(token),
        }
    }
    // What has come to stand behind a line comment is below it.
    for i in 1..out.len() {
        if out[i - 1].ends_line() {
            out[i].newlines = out[i].newlines.max(1);
        }
    }
    out
}

/// A line before its list is broken.
struct Line {
    depth: usize,
    /// A blank line stands before it.
    blank: bool,
    tokens: Vec<Token>,
}

impl Line {
    fn last_code(&self) -> Option<Kind> {
        self.tokens.iter().rev().find(|token| !token.is_comment()).map(|token| token.kind)
    }

    /// Whether a token that begins a line stands behind the comments of this one all the same: `/* a */ relu`.
    fn leads(&self, token: &Token) -> bool {
        let comments = self.tokens.iter().all(Token::is_comment);
        let open = self.tokens.last().is_some_and(|last| !last.ends_line());
        comments
            && open
            && token.newlines == 0
            && !matches!(token.kind, Kind::ChainClose | Kind::BranchClose | Kind::Doc)
    }
}

/// Cuts tokens into lines.
fn lines(tokens: Vec<Token>) -> Vec<Line> {
    let mut lines: Vec<Line> = vec![];
    let mut depth = 0;
    // Whether a comment stands between lines follows from the next token that is none, and so does how deep before a branch.
    let mut next_code = vec![None; tokens.len() + 1];
    for (i, token) in tokens.iter().enumerate().rev() {
        let code = (token.kind, token.starts);
        next_code[i] = if token.is_comment() { next_code[i + 1] } else { Some(code) };
    }
    for (token, next_code) in tokens.into_iter().zip(next_code) {
        let (own, after) = depths(depth, token.kind, next_code.map(|(kind, _)| kind));
        let goes_on = match lines.last() {
            None => false,
            Some(_) if next_code.is_some_and(|(_, starts)| !starts) => true,
            Some(_) if token.is_comment() => token.newlines == 0,
            Some(line) => line.leads(&token),
        };
        match lines.last_mut() {
            Some(line) if goes_on => line.tokens.push(token),
            last => {
                let blank = last.is_some_and(|line| blank_between(line, &token));
                lines.push(Line { depth: own, blank, tokens: vec![token] });
            }
        }
        depth = after;
    }
    lines
}

/// How deep the line of a token stands, and what comes after it. `next` is the kind of the token itself or, for a comment, of
/// the first that is none.
fn depths(depth: usize, kind: Kind, next: Option<Kind>) -> (usize, usize) {
    match kind {
        Kind::ChainOpen => (depth, depth + 1),
        Kind::ChainClose => (depth - 1, depth - 1),
        // A branch stands a step deeper than its word, and its layers one more.
        Kind::BranchOpen => (depth + 1, depth + 2),
        Kind::BranchClose => (depth - 1, depth - 2),
        Kind::Comment if next == Some(Kind::BranchOpen) => (depth + 1, depth),
        Kind::Text
        | Kind::Negation
        | Kind::ListOpen
        | Kind::ListClose
        | Kind::Comma
        | Kind::GroupOpen
        | Kind::GroupClose
        | Kind::GroupComma
        | Kind::Doc
        | Kind::Comment => (depth, depth),
    }
}

/// Whether a blank line stands between a line and the one that a token begins: between definitions always, at the ends
/// of a chain and after doc comments never, elsewhere where one was written.
fn blank_between(line: &Line, token: &Token) -> bool {
    match line.last_code() {
        Some(Kind::ChainClose) if line.depth == 0 => true,
        Some(Kind::ChainOpen | Kind::BranchOpen | Kind::Doc) => false,
        _ => {
            let mark =
                matches!(token.kind, Kind::ChainClose | Kind::BranchOpen | Kind::BranchClose);
            token.newlines > 1 && !mark
        }
    }
}

/// The text being laid out.
#[derive(Default)]
struct Writer {
    text: String,
    /// The token before, if it is on the same line.
    last: Option<Kind>,
}

impl Writer {
    fn indent(&mut self, columns: usize) {
        self.text.extend(std::iter::repeat_n(' ', columns));
        self.last = None;
    }

    fn newline(&mut self, columns: usize) {
        self.text.push('\n');
        self.indent(columns);
    }

    fn token(&mut self, kind: Kind, text: &str) {
        if self.last.is_some_and(|last| is_apart(last, kind) || text.starts_with("//")) {
            self.text.push(' ');
        }
        self.text.push_str(text);
        self.last = Some(kind);
    }
}

/// Whether a blank stands between two tokens.
fn is_apart(last: Kind, next: Kind) -> bool {
    let after = !matches!(last, Kind::ListOpen | Kind::GroupOpen | Kind::Negation);
    let closes = matches!(next, Kind::ListClose | Kind::GroupClose);
    let before = !closes && !matches!(next, Kind::ListOpen | Kind::Comma | Kind::GroupComma);
    after && before
}

fn write_line(out: &mut Writer, line: &Line) {
    let indent = INDENT * line.depth;
    out.indent(indent);
    let tokens = line.tokens.as_slice();
    // Branches on one line have been found to fit, but for what is said before them.
    let branched = tokens.iter().any(|token| token.kind == Kind::BranchOpen);
    let broken = has_inner_line_comment(tokens) || indent + width(tokens) > WIDTH;
    let broken = broken && !branched;
    let open = tokens.iter().position(|token| token.kind == Kind::ListOpen);
    let close = tokens.iter().rposition(|token| token.kind == Kind::ListClose);
    match (open, close) {
        (Some(open), Some(close)) if broken => {
            write_run(out, &tokens[..=open], indent + INDENT);
            write_list(out, &tokens[open + 1..close], indent + INDENT);
            out.newline(indent);
            write_run(out, &tokens[close..], indent + INDENT);
        }
        _ => write_run(out, tokens, indent + INDENT),
    }
}

/// A `//` with something after it.
fn has_inner_line_comment(tokens: &[Token]) -> bool {
    tokens.iter().rev().skip(1).any(Token::ends_line)
}

/// Columns of the tokens on one line, without the comments at its end.
fn width(tokens: &[Token]) -> usize {
    let end = tokens.iter().rposition(|token| !token.is_comment()).map_or(0, |last| last + 1);
    let mut line = Writer::default();
    tokens[..end].iter().for_each(|token| line.token(token.kind, &token.text));
    line.text.chars().count()
}

/// Tokens one after the other; after a line comment on the next line, `columns` deep.
fn write_run(out: &mut Writer, tokens: &[Token], columns: usize) {
    for (i, token) in tokens.iter().enumerate() {
        if i > 0 && tokens[i - 1].ends_line() {
            out.newline(columns);
        }
        out.token(token.kind, &token.text);
    }
}

/// What stands between the parentheses of a broken list, an entry a line.
fn write_list(out: &mut Writer, tokens: &[Token], columns: usize) {
    let last_code = tokens.iter().rposition(|token| !token.is_comment());
    // The next entry begins on a new line.
    let mut fresh = true;
    // This line holds comments alone so far.
    let mut bare = false;
    for (i, token) in tokens.iter().enumerate() {
        let next = tokens.get(i + 1);
        let next_is_below = next.is_none_or(|next| next.newlines > 0);
        if token.is_comment() {
            let trails = fresh && token.newlines == 0 && (token.ends_line() || next_is_below);
            if fresh && !trails {
                out.newline(columns);
                bare = true;
            }
            out.token(token.kind, &token.text);
            if bare {
                fresh = token.ends_line() || next_is_below;
            } else if !fresh && token.ends_line() && next.is_some() {
                out.newline(columns + INDENT);
            }
            continue;
        }
        if fresh {
            out.newline(columns);
        }
        out.token(token.kind, &token.text);
        (fresh, bare) = (token.kind == Kind::Comma, false);
        if last_code == Some(i) {
            out.token(Kind::Comma, ",");
            fresh = true;
        }
    }
}
