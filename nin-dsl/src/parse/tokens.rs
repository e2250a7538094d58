//! A text as [`Token`]s for the layout: what was written, comments included, with its line breaks.

use pest::iterators::Pair;

use super::grammar::Rule;
use super::{path_text, syntax};
use crate::diagnostic::Diagnostic;
use crate::span::Source;
use crate::token::{Kind, Token};

/// The tokens of a text that parses. What means nothing, such as `;` between layers, is left out.
///
/// # Errors
/// The first syntax error.
pub(crate) fn tokens(source: &Source) -> Result<Vec<Token>, Diagnostic> {
    let mut walk = Walk { text: &source.text, end: 0, starts: false, tokens: vec![] };
    walk.pair(syntax(source)?, Around::Definition);
    Ok(walk.tokens)
}

/// What a parenthesis belongs to.
#[derive(Clone, Copy)]
enum Around {
    /// A definition, whose parts are none.
    Definition,
    /// A list of arguments or parameters.
    List,
    /// A factor of an expression.
    Factor,
}

struct Walk<'t> {
    text: &'t str,
    /// Where the last token ended.
    end: usize,
    /// The next token that is no comment begins a line.
    starts: bool,
    tokens: Vec<Token>,
}

impl Walk<'_> {
    fn pair(&mut self, pair: Pair<'_, Rule>, around: Around) {
        let list = matches!(around, Around::List);
        match pair.as_rule() {
            Rule::COMMENT => self.push(&pair, Kind::Comment),
            Rule::doc => {
                self.starts = true;
                self.push(&pair, Kind::Doc);
                self.starts = true;
            }
            Rule::visibility => self.visibility(&pair),
            Rule::definition | Rule::call => {
                self.starts = true;
                self.children(pair, Around::Definition);
            }
            Rule::repeat => {
                self.starts = true;
                self.children(pair, Around::List);
            }
            Rule::args | Rule::params | Rule::slots => self.children(pair, Around::List),
            Rule::factor | Rule::several => self.children(pair, Around::Factor),
            Rule::file => self.file(pair),
            Rule::open => self.push(&pair, if list { Kind::ListOpen } else { Kind::GroupOpen }),
            Rule::close => self.push(&pair, if list { Kind::ListClose } else { Kind::GroupClose }),
            // Several numbers are one value, which stays on its line.
            Rule::comma if matches!(around, Around::Factor) => self.push(&pair, Kind::GroupComma),
            Rule::comma => self.push(&pair, Kind::Comma),
            Rule::chain_open => self.push(&pair, Kind::ChainOpen),
            Rule::chain_close => {
                self.starts = true;
                self.push(&pair, Kind::ChainClose);
            }
            Rule::branch_open => {
                self.starts = true;
                self.push(&pair, Kind::BranchOpen);
            }
            Rule::branch_close => {
                self.starts = true;
                self.push(&pair, Kind::BranchClose);
            }
            Rule::negation => self.push(&pair, Kind::Negation),
            Rule::separator | Rule::EOI => {}
            // The rules that hold others and the leaves that stand for themselves.
            _ if pair.clone().into_inner().next().is_some() => self.children(pair, around),
            _ => self.push(&pair, Kind::Text),
        }
    }

    fn children(&mut self, pair: Pair<'_, Rule>, around: Around) {
        pair.into_inner().for_each(|child| self.pair(child, around));
    }

    fn file(&mut self, pair: Pair<'_, Rule>) {
        for child in pair.into_inner() {
            // A bare chain begins with its own `<`.
            self.starts |= child.as_rule() == Rule::chain;
            self.pair(child, Around::Definition);
        }
    }

    /// `pub(...)` is one token; comments inside follow it.
    fn visibility(&mut self, pair: &Pair<'_, Rule>) {
        let (comments, parts): (Vec<_>, Vec<_>) =
            pair.clone().into_inner().partition(|part| part.as_rule() == Rule::COMMENT);
        if let Some(first) = parts.first() {
            self.push(first, Kind::Text);
        }
        let path = parts.iter().find(|part| part.as_rule() == Rule::path);
        if let (Some(path), Some(token)) = (path, self.tokens.last_mut()) {
            token.text += &format!("({})", path_text(path.as_str()));
        }
        let last = parts.last().map_or(0, |part| part.as_span().end());
        comments.iter().for_each(|comment| self.push(comment, Kind::Comment));
        self.end = self.end.max(last);
    }

    fn push(&mut self, pair: &Pair<'_, Rule>, kind: Kind) {
        let start = pair.as_span().start();
        let between = self.text.get(self.end..start).unwrap_or("");
        let starts = kind != Kind::Comment && std::mem::take(&mut self.starts);
        self.tokens.push(Token {
            kind,
            text: pair.as_str().trim_end().to_owned(),
            starts,
            newlines: between.matches('\n').count(),
        });
        self.end = pair.as_span().end();
    }
}
