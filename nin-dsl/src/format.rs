//! The canonical print of a [`Model`]: one layer a line, four spaces deep. It reads back as the same model.

use std::fmt;

use crate::ast::{Argument, Block, Call, Expr, ExprKind, Item, Model, Param, Slot, Visibility};
use crate::check;
use crate::diagnostic::Diagnostic;
use crate::number::{Number, Operator};

const INDENT: &str = "    ";

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
        for block in &self.blocks {
            writeln!(f, "{block}")?;
        }
        if let Some(head) = &self.head {
            introduce(f, &head.docs, head.visibility.as_ref())?;
            write!(f, "model {}", self.name.text)?;
            comma_separated(f, &head.params)?;
            f.write_str(" ")?;
        }
        write_chain(f, &self.chain, 0)
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        introduce(f, &self.docs, self.visibility.as_ref())?;
        write!(f, "block {}", self.name.text)?;
        comma_separated(f, &self.slots)?;
        f.write_str(" ")?;
        write_chain(f, &self.chain, 0)
    }
}

fn introduce(
    f: &mut fmt::Formatter<'_>,
    docs: &[String],
    visibility: Option<&Visibility>,
) -> fmt::Result {
    docs.iter().try_for_each(|line| writeln!(f, "///{line}"))?;
    visibility.map_or(Ok(()), |visibility| write!(f, "{} ", visibility.text))
}

/// A chain that begins on the current line and ends with a line of its own.
fn write_chain(f: &mut fmt::Formatter<'_>, chain: &[Item], depth: usize) -> fmt::Result {
    f.write_str("<\n")?;
    for item in chain {
        f.write_str(&INDENT.repeat(depth + 1))?;
        match item {
            Item::Call(call) => writeln!(f, "{call}")?,
            Item::Repeat(repeat) => {
                write!(f, "repeat({}) ", repeat.count)?;
                write_chain(f, &repeat.chain, depth + 1)?;
            }
        }
    }
    writeln!(f, "{}>", INDENT.repeat(depth))
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.default {
            Some(default) => write!(f, "{} = {default}", self.name.text),
            None => f.write_str(&self.name.text),
        }
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
