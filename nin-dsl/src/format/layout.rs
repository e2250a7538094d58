//! The canonical layout of a model's [`Token`]s: a layer a line, four spaces deep, lists on one line where they fit.
//!
//! It is a function of the tokens, of which comments stand on a line of their own and which lines a blank one precedes;
//! all of that survives it, so that a text laid out is laid out for good.

/// A piece of a model's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    /// Whether it begins a line. A comment never does by itself.
    pub(crate) starts: bool,
    /// Line breaks between it and the token before it.
    pub(crate) newlines: usize,
}

/// What the layout must know of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A word, a number, an operator.
    Text,
    /// `-` before an operand.
    Negation,
    /// `(` of a list of arguments or parameters.
    ListOpen,
    /// Its `)`.
    ListClose,
    /// `,` in a list.
    Comma,
    /// `(` in an expression.
    GroupOpen,
    /// Its `)`.
    GroupClose,
    /// `<`.
    ChainOpen,
    /// `>`.
    ChainClose,
    /// A doc comment.
    Doc,
    /// `// ...` or `/* ... */`.
    Comment,
}

/// Columns a line has before its list is broken.
const WIDTH: usize = 100;
const INDENT: usize = 4;

impl Token {
    /// A token that nothing is known of but itself.
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Token {
        Token { kind, text: text.into(), starts: false, newlines: 0 }
    }

    fn is_comment(&self) -> bool {
        self.kind == Kind::Comment
    }

    /// What follows must stand on another line.
    fn ends_line(&self) -> bool {
        self.is_comment() && self.text.starts_with("//")
    }
}

/// Lays tokens out.
pub(crate) fn layout(tokens: Vec<Token>) -> String {
    let mut out = Writer::default();
    for (i, line) in lines(normalised(tokens)).iter().enumerate() {
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
            && !matches!(token.kind, Kind::ChainClose | Kind::Doc)
    }
}

/// Cuts tokens into lines.
fn lines(tokens: Vec<Token>) -> Vec<Line> {
    let mut lines: Vec<Line> = vec![];
    let mut depth = 0;
    // Whether a comment stands between lines follows from the next token that is none.
    let mut between = vec![true; tokens.len() + 1];
    for (i, token) in tokens.iter().enumerate().rev() {
        between[i] = if token.is_comment() { between[i + 1] } else { token.starts };
    }
    for (token, between) in tokens.into_iter().zip(between) {
        let (opens, closes) = (token.kind == Kind::ChainOpen, token.kind == Kind::ChainClose);
        depth -= usize::from(closes);
        let goes_on = match lines.last() {
            None => false,
            Some(_) if !between => true,
            Some(_) if token.is_comment() => token.newlines == 0,
            Some(line) => line.leads(&token),
        };
        match lines.last_mut() {
            Some(line) if goes_on => line.tokens.push(token),
            before => {
                let blank = before.is_some_and(|line| blank_between(line, &token));
                lines.push(Line { depth, blank, tokens: vec![token] });
            }
        }
        depth += usize::from(opens);
    }
    lines
}

/// Whether a blank line stands between a line and the one that a token begins: between definitions always, at the ends
/// of a chain and after doc comments never, elsewhere where one was written.
fn blank_between(line: &Line, token: &Token) -> bool {
    match line.last_code() {
        Some(Kind::ChainClose) if line.depth == 0 => true,
        Some(Kind::ChainOpen | Kind::Doc) => false,
        _ => token.newlines > 1 && token.kind != Kind::ChainClose,
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
    let before = !matches!(next, Kind::ListOpen | Kind::ListClose | Kind::GroupClose | Kind::Comma);
    after && before
}

fn write_line(out: &mut Writer, line: &Line) {
    let indent = INDENT * line.depth;
    out.indent(indent);
    let tokens = line.tokens.as_slice();
    let broken = has_inner_line_comment(tokens) || indent + width(tokens) > WIDTH;
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
