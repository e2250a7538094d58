//! The canonical print of a [`Model`]: one layer a line, four spaces deep. It reads back as the same model.

use std::fmt;

use crate::ast::{Argument, Call, Expr, ExprKind, Model, Param};
use crate::check;
use crate::diagnostic::Diagnostic;
use crate::number::{Number, Operator};

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
    for (param, (_, value)) in params.zip(graph.params) {
        param.default.kind = ExprKind::Number(value);
    }
    Ok(model)
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(head) = &self.head {
            for line in &head.docs {
                writeln!(f, "///{line}")?;
            }
            if let Some(visibility) = &head.visibility {
                write!(f, "{} ", visibility.text)?;
            }
            write!(f, "model {}", self.name.text)?;
            comma_separated(f, &head.params)?;
            f.write_str(" ")?;
        }
        f.write_str("<\n")?;
        for call in &self.layers {
            writeln!(f, "    {call}")?;
        }
        f.write_str(">\n")
    }
}

/// `(a, b)`, or nothing if there are none.
fn comma_separated<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if i == 0 { "(" } else { ", " })?;
    }
    f.write_str(if items.is_empty() { "" } else { ")" })
}

impl fmt::Display for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.name.text, self.default)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word.text)?;
        comma_separated(f, &self.args)
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
            ExprKind::Number(_) | ExprKind::Name(_) => Precedence::Atom,
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
