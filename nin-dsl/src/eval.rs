//! The value of an expression: [`evaluate`] under a [`Scope`] of parameters.

use std::collections::BTreeMap;

use crate::ast::{Expr, ExprKind};
use crate::diagnostic::{Code, Diagnostic, list, nearest};
use crate::number::{ArithmeticError, Number, Operator};
use crate::span::Span;

/// The words that are values of some arguments and never numbers.
pub(crate) const VALUE_WORDS: &[&str] = &["ceil", "floor", "same"];

/// The parameters an expression may name: those of the model, or of the block it stands in.
#[derive(Debug, Default)]
pub(crate) struct Scope<'a> {
    /// The block they belong to; `None` for the model.
    block: Option<&'a str>,
    params: BTreeMap<&'a str, Entry>,
    /// Names in order, for messages.
    names: Vec<&'a str>,
}

#[derive(Debug)]
struct Entry {
    /// `None` if the parameter's own default was in error: what uses it is then not judged.
    value: Option<Number>,
    used: bool,
}

impl<'a> Scope<'a> {
    /// The scope of a block, still empty.
    pub(crate) fn of_block(name: &'a str) -> Scope<'a> {
        Scope { block: Some(name), ..Scope::default() }
    }

    pub(crate) fn define(&mut self, name: &'a str, value: Option<Number>) {
        self.names.push(name);
        self.params.insert(name, Entry { value, used: false });
    }

    pub(crate) fn is_used(&self, name: &str) -> bool {
        self.params.get(name).is_some_and(|entry| entry.used)
    }

    /// Marks the parameters an expression names as used, without judging it.
    pub(crate) fn mark_used(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Number(_) => {}
            ExprKind::Name(name) => {
                self.mark_nearest(name);
            }
            ExprKind::Several(items) => items.iter().for_each(|item| self.mark_used(item)),
            ExprKind::Negate(operand) => self.mark_used(operand),
            ExprKind::Arithmetic { first, rest } => {
                self.mark_used(first);
                rest.iter().for_each(|(_, operand)| self.mark_used(operand));
            }
        }
    }

    /// Marks the parameter of this name as used, or the one that must have been meant: one slip is one error.
    fn mark_nearest(&mut self, name: &str) -> Option<&'a str> {
        if let Some(entry) = self.params.get_mut(name) {
            entry.used = true;
            return None;
        }
        let near = nearest(name, self.names.iter().copied())?;
        if let Some(entry) = self.params.get_mut(near) {
            entry.used = true;
        }
        Some(near)
    }

    fn look_up(&mut self, name: &str, span: Span) -> Result<Option<Number>, Diagnostic> {
        if let Some(entry) = self.params.get_mut(name) {
            entry.used = true;
            return Ok(entry.value);
        }
        if VALUE_WORDS.contains(&name) {
            let message = format!("`{name}` is a word, not a number");
            return Err(Diagnostic::new(Code::WrongKind, message).label(span, "not a number"));
        }
        let near = self.mark_nearest(name);
        let names = || list(self.names.iter().copied(), "and");
        let help = match (near, self.block) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, Some(block)) if self.names.is_empty() => {
                format!("a block sees only its own parameters, and `{block}` has none")
            }
            (None, Some(block)) => {
                format!("a block sees only its own parameters, and `{block}` has {}", names())
            }
            (None, None) if self.names.is_empty() => {
                format!("give the model a parameter: `model NAME({name} = 1) < ... >`")
            }
            (None, None) => format!("the model has {}", names()),
        };
        let owner = if self.block.is_some() { "block" } else { "model" };
        Err(Diagnostic::new(Code::UnknownParameter, format!("there is no parameter `{name}`"))
            .label(span, format!("not a parameter of this {owner}"))
            .help(help))
    }
}

/// The value of `expr`. Every error in it goes to `sink`; `None` if there was one, now or in a parameter's default.
pub(crate) fn evaluate(
    expr: &Expr,
    scope: &mut Scope<'_>,
    sink: &mut Vec<Diagnostic>,
) -> Option<Number> {
    let result = match &expr.kind {
        ExprKind::Number(number) => Ok(Some(*number)),
        ExprKind::Name(name) => scope.look_up(name, expr.span),
        ExprKind::Several(items) => {
            scope.mark_used(expr);
            let message = format!("one number belongs here, not {}", items.len());
            Err(Diagnostic::new(Code::WrongKind, message).label(expr.span, "not a number"))
        }
        ExprKind::Negate(operand) => match evaluate(operand, scope, sink)?.negate() {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(arithmetic(error, expr.span, "the negation")),
        },
        ExprKind::Arithmetic { first, rest } => {
            let start = evaluate(first, scope, sink);
            fold(start, first.span, rest, scope, sink)
        }
    };
    result.unwrap_or_else(|diagnostic| {
        sink.push(diagnostic);
        None
    })
}

/// Applies the operators left to right. All operands are evaluated, so that each is judged and marked as used.
fn fold(
    start: Option<Number>,
    start_span: Span,
    rest: &[(Operator, Expr)],
    scope: &mut Scope<'_>,
    sink: &mut Vec<Diagnostic>,
) -> Result<Option<Number>, Diagnostic> {
    let mut result = Ok(start);
    for (operator, operand) in rest {
        let right = evaluate(operand, scope, sink);
        let (Ok(Some(a)), Some(b)) = (&result, right) else {
            result = result.map(|_| None);
            continue;
        };
        result = match a.apply(*operator, b) {
            Ok(value) => Ok(Some(value)),
            Err(error) => {
                let span = match error {
                    ArithmeticError::Overflow => start_span.to(operand.span),
                    ArithmeticError::DivisionByZero => operand.span,
                };
                Err(arithmetic(error, span, &format!("{a} {operator} {b}")))
            }
        };
    }
    result
}

fn arithmetic(error: ArithmeticError, span: Span, what: &str) -> Diagnostic {
    match error {
        ArithmeticError::Overflow => {
            Diagnostic::new(Code::Arithmetic, format!("{what} does not fit 64 bits"))
                .label(span, "overflows")
        }
        ArithmeticError::DivisionByZero => {
            Diagnostic::new(Code::Arithmetic, format!("{what} divides by zero"))
                .label(span, "this is zero")
        }
    }
}
