//! [`Judge`]: what was written for an argument becomes its value, if it is one that the argument takes.

use super::{Arg, Bound, Kind};
use crate::ast;
use crate::diagnostic::{Code, Diagnostic};
use crate::eval::{Scope, VALUE_WORDS, evaluate};
use crate::graph::{self, Number};
use crate::limits;
use crate::span::Span;

/// Turns what was written for one argument into its value.
pub(super) struct Judge<'a, 's> {
    pub(super) word: &'static str,
    pub(super) arg: &'static Arg,
    pub(super) call: &'a ast::Call,
    /// What is known by now of the layer's other arguments.
    pub(super) earlier: &'a [Bound],
    pub(super) scope: &'a mut Scope<'s>,
    pub(super) sink: &'a mut Vec<Diagnostic>,
}

impl Judge<'_, '_> {
    pub(super) fn written(&mut self, written: &[&ast::Argument]) -> Option<graph::ArgValue> {
        let expr = &written.first()?.value;
        match self.arg.kind {
            Kind::Channels | Kind::ChannelList => {
                // All are judged before the first failure counts.
                let all: Vec<_> = written.iter().map(|arg| self.whole(&arg.value, 1)).collect();
                all.into_iter().collect::<Option<_>>().map(graph::ArgValue::List)
            }
            Kind::Positive => self.whole(expr, 1).map(whole_arg),
            Kind::Sides => self.sides(expr, (1, &[2])).map(|numbers| sides(&numbers)),
            Kind::Padding if word(expr) == Some("same") => self.same(expr.span),
            Kind::Padding => self.sides(expr, (0, &[2, 4])).map(|numbers| sides(&numbers)),
            Kind::PoolPadding => {
                let pads = self.sides(expr, (0, &[2, 4]))?;
                self.pool_padding(&pads, expr)
            }
            Kind::Rounding => match word(expr) {
                Some(word @ ("floor" | "ceil")) => Some(flag(word == "ceil")),
                _ => {
                    self.scope.mark_used(expr);
                    self.wrong_kind(expr.span, "`floor` or `ceil`", None)
                }
            },
            Kind::Counting => match &expr.kind {
                ast::ExprKind::Name(word) if word == "real" || word == "window" => {
                    Some(flag(word == "window"))
                }
                _ => {
                    self.scope.mark_used(expr);
                    self.wrong_kind(expr.span, "`real` or `window`", None)
                }
            },
            Kind::Switch => {
                let n = self.whole(expr, 0)?;
                if n > 1 {
                    return self.out_of_range(expr.span, Number::Whole(n), "0 or 1");
                }
                Some(whole_arg(n))
            }
            Kind::Probability => {
                self.real(expr, |p| (0.0..1.0).contains(&p), "at least 0 and below 1")
            }
            Kind::Real => {
                let most = limits::ACTIVATION_ELEMENTS;
                let range = format!("at least -{most} and at most {most}");
                self.real(expr, |x| x.abs() <= most as f64, &range)
            }
            Kind::NonNegative => {
                let most = limits::ACTIVATION_ELEMENTS;
                let range = format!("at least 0 and at most {most}");
                self.real(expr, |x| (0.0..=most as f64).contains(&x), &range)
            }
            Kind::Eps => {
                let range = format!("at least {:e} and at most 1", limits::LEAST_EPS);
                self.real(expr, |x| (limits::LEAST_EPS..=1.0).contains(&x), &range)
            }
            Kind::Group => {
                let n = self.whole(expr, 0)?;
                if n == 1 {
                    let range = "0, for the whole batch, or at least 2";
                    return self.out_of_range(expr.span, Number::Whole(n), range);
                }
                Some(whole_arg(n))
            }
            Kind::Odd => {
                let n = self.whole(expr, 1)?;
                if n % 2 == 0 {
                    let range = format!("odd, such as {}", n + 1);
                    return self.out_of_range(expr.span, Number::Whole(n), &range);
                }
                Some(whole_arg(n))
            }
            Kind::Start => {
                let (least, most) = (limits::LEAST_EPS, limits::ACTIVATION_ELEMENTS);
                let range = format!("at least {least:e} and at most {most}");
                self.real(expr, |x| (least..=most as f64).contains(&x), &range)
            }
            Kind::Share => {
                self.real(expr, |x| (0.0..=1.0).contains(&x), "at least 0 and at most 1")
            }
        }
    }

    /// A whole number of at least `least`, or as many of them as one of `counts` says.
    fn sides(&mut self, expr: &ast::Expr, (least, counts): (i64, &[usize])) -> Option<Vec<i64>> {
        let ast::ExprKind::Several(items) = &expr.kind else {
            return self.whole(expr, least).map(|number| vec![number]);
        };
        if !counts.contains(&items.len()) {
            self.scope.mark_used(expr);
            let wanted = match counts {
                [_] => "one number or two, `(vertical, horizontal)`",
                _ => {
                    "one number, two, `(vertical, horizontal)`, or four, `(top, left, bottom, right)`"
                }
            };
            return self.wrong_kind(expr.span, wanted, Some(items.len().to_string()));
        }
        // All are judged before the first failure counts.
        let numbers: Vec<_> = items.iter().map(|item| self.whole(item, least)).collect();
        numbers.into_iter().collect()
    }

    /// A whole number of at least `least`.
    fn whole(&mut self, expr: &ast::Expr, least: i64) -> Option<i64> {
        if let Some(word) = word(expr) {
            return self.wrong_kind(expr.span, "a number", Some(format!("`{word}`")));
        }
        if let ast::ExprKind::Several(items) = &expr.kind {
            self.scope.mark_used(expr);
            return self.wrong_kind(expr.span, "one number", Some(items.len().to_string()));
        }
        let most = limits::ACTIVATION_ELEMENTS.cast_signed();
        match evaluate(expr, self.scope, self.sink)? {
            Number::Whole(n) if n < least => {
                self.out_of_range(expr.span, Number::Whole(n), &format!("at least {least}"))
            }
            Number::Whole(n) if n > most => {
                self.out_of_range(expr.span, Number::Whole(n), &format!("at most {most}"))
            }
            Number::Whole(n) => Some(n),
            real @ Number::Real(_) => {
                self.wrong_kind(expr.span, "a whole number", Some(real.to_string()))
            }
        }
    }

    /// A real number in a range.
    fn real(
        &mut self,
        expr: &ast::Expr,
        fits: impl Fn(f64) -> bool,
        range: &str,
    ) -> Option<graph::ArgValue> {
        if let ast::ExprKind::Several(items) = &expr.kind {
            self.scope.mark_used(expr);
            return self.wrong_kind(expr.span, "one number", Some(items.len().to_string()));
        }
        let number = evaluate(expr, self.scope, self.sink)?;
        if !fits(number.as_f64()) {
            return self.out_of_range(expr.span, number, range);
        }
        Some(graph::ArgValue::Number(Number::Real(number.as_f64())))
    }

    /// `pad = same`, blamed on `span`. Without a known kernel there is nothing to say.
    pub(super) fn same(&mut self, span: Span) -> Option<graph::ArgValue> {
        let kernel = pair(&self.earlier("kernel")?.value);
        let dilation = self.earlier("dilation").map_or([1; 2], |bound| pair(&bound.value));
        let Some(&even) = kernel.iter().find(|&kernel| kernel % 2 == 0) else {
            let pads = [0, 1].map(|axis| dilation[axis] * (kernel[axis] - 1) / 2);
            return Some(sides(&pads.map(|pad| pad as i64)));
        };
        let [ky, kx] = kernel;
        let (shown, odd) = match ky == kx {
            true => (ky.to_string(), (ky + 1).to_string()),
            false => (format!("({ky}, {kx})"), format!("({}, {})", ky | 1, kx | 1)),
        };
        let message = format!("`pad = same` needs an odd kernel, not {shown}");
        let diagnostic = Diagnostic::new(Code::EvenSame, message)
            .label(span, format!("(kernel - 1) / 2 = ({even} - 1) / 2 is not whole"))
            .help(format!("use `kernel = {odd}`, or give the padding as a number"));
        self.sink.push(diagnostic);
        None
    }

    /// What is known of another argument.
    pub(super) fn earlier(&self, key: &str) -> Option<&'_ Bound> {
        self.earlier.iter().find(|bound| bound.arg.key == key)
    }

    fn pool_padding(&mut self, pads: &[i64], expr: &ast::Expr) -> Option<graph::ArgValue> {
        let kernel = pair(&self.earlier("kernel")?.value);
        for (number, &pad) in pads.iter().enumerate() {
            let axes = if pads.len() == 1 { &kernel[..] } else { &kernel[number % 2..][..1] };
            let side = *axes.iter().min().expect("a kernel has sides (a bug in nin)");
            if pad > (side / 2) as i64 {
                let span = match &expr.kind {
                    ast::ExprKind::Several(items) => items[number].span,
                    _ => expr.span,
                };
                let range = format!("at most half the kernel, {side} / 2 = {}", side / 2);
                return self.out_of_range(span, Number::Whole(pad), &range);
            }
        }
        Some(sides(pads))
    }

    fn out_of_range<T>(&mut self, span: Span, value: Number, range: &str) -> Option<T> {
        let (word, name) = (self.word, self.arg.name);
        let message = format!("`{name}` of `{word}` is {value}; it must be {range}");
        let label = format!("must be {range}");
        self.sink.push(Diagnostic::new(Code::OutOfRange, message).label(span, label));
        None
    }

    fn wrong_kind<T>(&mut self, span: Span, wanted: &str, got: Option<String>) -> Option<T> {
        let (word, name) = (self.word, self.arg.name);
        let but = got.map_or(String::new(), |got| format!(", not {got}"));
        let message = format!("`{name}` of `{word}` is {wanted}{but}");
        let diagnostic =
            Diagnostic::new(Code::WrongKind, message).label(span, format!("expected {wanted}"));
        self.sink.push(diagnostic);
        None
    }
}

fn whole_arg(n: i64) -> graph::ArgValue {
    graph::ArgValue::Number(Number::Whole(n))
}

/// The value word an expression is, if it is one.
fn word(expr: &ast::Expr) -> Option<&str> {
    match &expr.kind {
        ast::ExprKind::Name(name) if VALUE_WORDS.contains(&name.as_str()) => Some(name),
        _ => None,
    }
}

/// One number for each axis: vertical, horizontal.
pub(super) fn pair(arg: &graph::ArgValue) -> [usize; 2] {
    let [vertical, horizontal, ..] = four(arg);
    [vertical, horizontal]
}

/// One number for each side: top, left, bottom, right.
pub(super) fn four(arg: &graph::ArgValue) -> [usize; 4] {
    match arg {
        graph::ArgValue::Number(Number::Whole(n)) => [size(*n); 4],
        graph::ArgValue::List(list) => match list[..] {
            [vertical, horizontal] => [vertical, horizontal, vertical, horizontal].map(size),
            [top, left, bottom, right] => [top, left, bottom, right].map(size),
            _ => panic!("{list:?} are no sides (a bug in nin)"),
        },
        graph::ArgValue::Number(Number::Real(x)) => panic!("{x} is not whole (a bug in nin)"),
    }
}

/// Numbers for axes or sides, no more of them than differ.
fn sides(numbers: &[i64]) -> graph::ArgValue {
    match *numbers {
        [all] => whole_arg(all),
        [top, left, bottom, right] if (top, left) == (bottom, right) => sides(&[top, left]),
        [vertical, horizontal] if vertical == horizontal => whole_arg(vertical),
        _ => graph::ArgValue::List(numbers.to_vec()),
    }
}

pub(super) fn size(n: i64) -> usize {
    usize::try_from(n).expect("the argument's kind keeps it from 0 (a bug in nin)")
}

pub(super) fn flag(on: bool) -> graph::ArgValue {
    graph::ArgValue::Number(Number::Whole(i64::from(on)))
}
