//! Models as text again: the canonical print of a [`Model`], which reads back as the same model, and [`source`], which
//! lays out a text as it was written.

mod layout;

use std::fmt;

use crate::ast::{Argument, Call, Expr, ExprKind, Item, Model, Param, Slot, Visibility};
use crate::diagnostic::Diagnostic;
use crate::number::{Number, Operator};
use crate::span::Source;
use crate::token::{Kind, Token};
use crate::{check, parse};

use layout::layout;

/// A text in canonical layout: a layer a line, four spaces deep. Comments, numbers and expressions stay as they were
/// written, and so does the model; to lay out the result changes nothing.
///
/// # Errors
/// If the text is no model; the checker is not asked.
pub fn source(source: &Source) -> Result<String, Vec<Diagnostic>> {
    parse(source)?;
    let tokens = parse::tokens(source).map_err(|diagnostic| vec![diagnostic])?;
    Ok(layout(tokens))
}

/// The model with each parameter's default replaced by the value it takes under `overrides`: a text of its own for one
/// variant, which checks to the same graph without them.
///
/// # Errors
/// If an override fits no parameter.
pub fn resolved(model: &Model, overrides: &[(String, Number)]) -> Result<Model, Vec<Diagnostic>> {
    let (graph, diagnostics) = check(model, overrides);
    let graph = graph.ok_or(diagnostics)?;
    let mut model = model.clone();
    let params = model.head.iter_mut().flat_map(|head| &mut head.params);
    for (param, (_, value)) in params.zip(graph.params()) {
        param.default.kind = ExprKind::Number(*value);
    }
    Ok(model)
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tokens = Tokens::default();
        for block in &self.blocks {
            tokens.head(&block.docs, block.visibility.as_ref(), ["block", &block.name.text]);
            tokens.list(&block.slots);
            tokens.chain(&block.chain);
        }
        if let Some(head) = &self.head {
            tokens.head(&head.docs, head.visibility.as_ref(), ["model", &self.name.text]);
            tokens.list(&head.params);
        } else {
            tokens.begin();
        }
        tokens.chain(&self.chain);
        f.write_str(&layout(tokens.tokens))
    }
}

/// What is printed of a model that has no comments and no layout of its own.
#[derive(Default)]
struct Tokens {
    tokens: Vec<Token>,
    /// The next token begins a line.
    starts: bool,
}

impl Tokens {
    fn begin(&mut self) {
        self.starts = true;
    }

    fn push(&mut self, kind: Kind, text: impl Into<String>) {
        let starts = std::mem::take(&mut self.starts);
        self.tokens.push(Token { starts, ..Token::new(kind, text) });
    }

    fn head(&mut self, docs: &[String], visibility: Option<&Visibility>, words: [&str; 2]) {
        for line in docs {
            self.begin();
            self.push(Kind::Doc, format!("///{}", line.trim_end()));
        }
        self.begin();
        if let Some(visibility) = visibility {
            self.push(Kind::Text, &visibility.text);
        }
        words.into_iter().for_each(|word| self.push(Kind::Text, word));
    }

    fn list<T: fmt::Display>(&mut self, items: &[T]) {
        self.push(Kind::ListOpen, "(");
        for item in items {
            self.push(Kind::Text, item.to_string());
            self.push(Kind::Comma, ",");
        }
        self.push(Kind::ListClose, ")");
    }

    fn chain(&mut self, chain: &[Item]) {
        self.push(Kind::ChainOpen, "<");
        self.items(chain);
        self.begin();
        self.push(Kind::ChainClose, ">");
    }

    fn items(&mut self, chain: &[Item]) {
        for item in chain {
            self.begin();
            match item {
                Item::Call(call) => {
                    self.push(Kind::Text, &call.word.text);
                    self.list(&call.args);
                    call.branches.iter().for_each(|branch| self.branch(&branch.chain));
                }
                Item::Repeat(repeat) => {
                    self.push(Kind::Text, "repeat");
                    self.list(std::slice::from_ref(&repeat.count));
                    self.chain(&repeat.chain);
                }
            }
        }
    }

    fn branch(&mut self, chain: &[Item]) {
        self.begin();
        self.push(Kind::BranchOpen, "<");
        self.items(chain);
        self.begin();
        self.push(Kind::BranchClose, ">");
    }
}

impl fmt::Display for Call {
    /// Without its branches.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word.text)?;
        for (i, argument) in self.args.iter().enumerate() {
            write!(f, "{}{argument}", if i == 0 { "(" } else { ", " })?;
        }
        f.write_str(if self.args.is_empty() { "" } else { ")" })
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.default {
            Some(default) => write!(f, "{} = {default}", self.name.text),
            None => f.write_str(&self.name.text),
        }
    }
}

impl fmt::Display for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.name.text, self.default)
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} = {}", name.text, self.value),
            None => write!(f, "{}", self.value),
        }
    }
}

impl fmt::Display for Expr {
    /// With no more parentheses than it needs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Number(number) => write!(f, "{number}"),
            ExprKind::Name(name) => f.write_str(name),
            ExprKind::Several(items) => {
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if i == 0 { "(" } else { ", " })?;
                }
                f.write_str(")")
            }
            // `-1` is a number, not the negation of one.
            ExprKind::Negate(operand) if matches!(operand.kind, ExprKind::Number(_)) => {
                write!(f, "-({operand})")
            }
            ExprKind::Negate(operand) => {
                f.write_str("-")?;
                operand.fmt_inside(f, Precedence::Factor)
            }
            ExprKind::Arithmetic { first, rest } => {
                let around = self.precedence();
                first.fmt_inside(f, around)?;
                for (operator, operand) in rest {
                    write!(f, " {operator} ")?;
                    operand.fmt_inside(f, around)?;
                }
                Ok(())
            }
        }
    }
}

/// How tightly an expression holds together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Precedence {
    Sum,
    Product,
    /// A negation, or a negative number, which reads back as one.
    Factor,
    Atom,
}

impl Expr {
    fn precedence(&self) -> Precedence {
        match &self.kind {
            ExprKind::Number(number) if number.as_f64().is_sign_negative() => Precedence::Factor,
            ExprKind::Number(_) | ExprKind::Name(_) | ExprKind::Several(_) => Precedence::Atom,
            ExprKind::Negate(_) => Precedence::Factor,
            ExprKind::Arithmetic { rest, .. } => match rest.first() {
                Some((Operator::Multiply | Operator::Divide, _)) => Precedence::Product,
                _ => Precedence::Sum,
            },
        }
    }

    /// Prints inside an expression of precedence `around`, whose operands must hold tighter.
    fn fmt_inside(&self, f: &mut fmt::Formatter<'_>, around: Precedence) -> fmt::Result {
        if self.precedence() > around { write!(f, "{self}") } else { write!(f, "({self})") }
    }
}
