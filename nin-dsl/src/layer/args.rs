//! [`bind`]: the arguments of a call, matched to those of its layer, evaluated, completed and judged.

use super::{Arg, Default, Kind, Layer};
use crate::ast;
use crate::diagnostic::{Code, Diagnostic, list, nearest};
use crate::eval::{Scope, VALUE_WORDS, evaluate};
use crate::graph::{self, Number};
use crate::limits;
use crate::shape::{Count, Round, Slide, Window};
use crate::span::Span;

/// The resolved arguments of one call: every one of its layer's, in order, each in range.
#[derive(Debug)]
pub(crate) struct Args(Vec<Bound>);

#[derive(Debug)]
struct Bound {
    arg: &'static Arg,
    value: graph::Arg,
    /// Where it was written, if it was.
    written: Option<Span>,
}

impl Args {
    fn bound(&self, key: &str) -> &Bound {
        let bound = self.0.iter().find(|bound| bound.arg.key == key);
        bound.unwrap_or_else(|| panic!("the layer has no argument `{key}` (a bug in nin)"))
    }

    fn number(&self, key: &str) -> Number {
        match self.bound(key).value {
            graph::Arg::Number(number) => number,
            graph::Arg::List(_) => panic!("`{key}` is a list (a bug in nin)"),
        }
    }

    /// A whole number from 0.
    pub(crate) fn size(&self, key: &str) -> usize {
        match self.number(key) {
            Number::Whole(n) => size(n),
            Number::Real(x) => panic!("`{key}` is {x}, not whole (a bug in nin)"),
        }
    }

    /// A real number.
    pub(crate) fn real(&self, key: &str) -> f64 {
        self.number(key).as_f64()
    }

    /// An argument of 0 or 1.
    pub(crate) fn switch(&self, key: &str) -> bool {
        self.size(key) == 1
    }

    /// The channel counts.
    pub(crate) fn channels(&self) -> Vec<usize> {
        match &self.bound("channels").value {
            graph::Arg::List(list) => list.iter().map(|&n| size(n)).collect(),
            graph::Arg::Number(_) => panic!("`channels` is a number (a bug in nin)"),
        }
    }

    /// Kernel, stride, padding and dilation, if the layer has one.
    pub(crate) fn window(&self) -> Window {
        let [kernel, stride] = ["kernel", "stride"].map(|key| pair(&self.bound(key).value));
        let dilation = self.0.iter().find(|bound| bound.arg.key == "dilation");
        let dilation = dilation.map_or([1; 2], |bound| pair(&bound.value));
        let [top, left, bottom, right] = four(&self.bound("pad").value);
        let axis = |axis: usize, pad: [usize; 2]| Slide {
            kernel: kernel[axis],
            stride: stride[axis],
            pad,
            dilation: dilation[axis],
        };
        Window { y: axis(0, [top, bottom]), x: axis(1, [left, right]) }
    }

    /// What a mean's sum is divided by.
    pub(crate) fn count(&self) -> Count {
        if self.switch("count") { Count::Window } else { Count::Real }
    }

    /// How the output size is rounded.
    pub(crate) fn round(&self) -> Round {
        if self.switch("ceil") { Round::Ceil } else { Round::Floor }
    }

    /// Where the argument was written, if the layer has it and it was.
    pub(crate) fn written(&self, key: &str) -> Option<Span> {
        self.0.iter().find(|bound| bound.arg.key == key)?.written
    }

    /// Keys and values, for [`graph::Layer::args`].
    pub(crate) fn resolved(&self) -> Vec<(&'static str, graph::Arg)> {
        self.0.iter().map(|bound| (bound.arg.key, bound.value.clone())).collect()
    }
}

/// One number for each axis: vertical, horizontal.
fn pair(arg: &graph::Arg) -> [usize; 2] {
    let [vertical, horizontal, ..] = four(arg);
    [vertical, horizontal]
}

/// One number for each side: top, left, bottom, right.
fn four(arg: &graph::Arg) -> [usize; 4] {
    match arg {
        graph::Arg::Number(Number::Whole(n)) => [size(*n); 4],
        graph::Arg::List(list) => match list[..] {
            [vertical, horizontal] => [vertical, horizontal, vertical, horizontal].map(size),
            [top, left, bottom, right] => [top, left, bottom, right].map(size),
            _ => panic!("{list:?} are no sides (a bug in nin)"),
        },
        graph::Arg::Number(Number::Real(x)) => panic!("{x} is not whole (a bug in nin)"),
    }
}

/// Numbers for axes or sides, no more of them than differ.
fn sides(numbers: &[i64]) -> graph::Arg {
    match *numbers {
        [all] => whole_arg(all),
        [top, left, bottom, right] if (top, left) == (bottom, right) => sides(&[top, left]),
        [vertical, horizontal] if vertical == horizontal => whole_arg(vertical),
        _ => graph::Arg::List(numbers.to_vec()),
    }
}

fn size(n: i64) -> usize {
    usize::try_from(n).expect("the argument's kind keeps it from 0 (a bug in nin)")
}

/// What a call may be given: the arguments of a layer or the parameters of a block.
#[derive(Debug)]
pub(crate) struct Signature<'a> {
    /// The layer's word or the block's name.
    pub(crate) word: &'a str,
    /// In order of position.
    pub(crate) formals: Vec<Formal<'a>>,
    /// All arguments without a name belong to the first.
    pub(crate) takes_list: bool,
}

/// One argument's names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Formal<'a> {
    /// Its name in a model.
    pub(crate) name: &'a str,
    /// Another name it may have there.
    pub(crate) key: &'a str,
    /// What other systems call it.
    pub(crate) also: &'a [&'a str],
}

impl Signature<'static> {
    fn of(layer: &'static Layer) -> Signature<'static> {
        let formal = |arg: &Arg| Formal { name: arg.name, key: arg.key, also: arg.also };
        Signature {
            word: layer.word,
            formals: layer.args.iter().map(formal).collect(),
            takes_list: layer.args.first().is_some_and(|arg| arg.kind == Kind::ChannelList),
        }
    }
}

/// Resolves the arguments of `call`. Every error goes to `sink`; `None` if there was one.
pub(crate) fn bind(
    layer: &'static Layer,
    call: &ast::Call,
    scope: &mut Scope<'_>,
    sink: &mut Vec<Diagnostic>,
) -> Option<Args> {
    let errors_before = sink.len();
    let slots = assign(&Signature::of(layer), call, scope, sink);
    let mut resolved: Vec<Bound> = Vec::with_capacity(layer.args.len());
    let mut missing = vec![];
    // How much padding there may be, or is, depends on the rest of the window.
    let is_padding = |arg: &Arg| matches!(arg.kind, Kind::Padding | Kind::PoolPadding);
    let args = || layer.args.iter().zip(&slots);
    let (last, first): (Vec<_>, Vec<_>) = args().partition(|(arg, _)| is_padding(arg));
    for (arg, written) in first.into_iter().chain(last) {
        let earlier = &resolved;
        let mut judge = Judge { word: layer.word, arg, call, earlier, scope, sink };
        let value = match (written.as_slice(), arg.default) {
            ([], Default::Required) => {
                missing.push(arg);
                None
            }
            ([], default) => default_value(&mut judge, default, &resolved),
            (written, _) => judge.written(written),
        };
        if let Some(value) = value {
            let ends = written.first().zip(written.last());
            let span = ends.map(|(first, last)| first.span.to(last.span));
            resolved.push(Bound { arg, value, written: span });
        }
    }
    if !missing.is_empty() && sink.len() == errors_before {
        let docs: Vec<&str> = missing.iter().map(|arg| arg.doc).collect();
        let names = missing.iter().map(|arg| arg.name);
        sink.push(missing_arguments(
            call,
            names,
            &docs.join(", "),
            &format!("`{}`", layer.usage()),
        ));
    }
    let place = |bound: &Bound| layer.args.iter().position(|arg| arg.key == bound.arg.key);
    resolved.sort_by_key(place);
    (sink.len() == errors_before && resolved.len() == layer.args.len()).then_some(Args(resolved))
}

/// Which written arguments belong to each of the signature's. What belongs to none is reported.
pub(crate) fn assign<'c>(
    signature: &Signature<'_>,
    call: &'c ast::Call,
    scope: &mut Scope<'_>,
    sink: &mut Vec<Diagnostic>,
) -> Vec<Vec<&'c ast::Argument>> {
    let formals = &signature.formals;
    let mut slots = vec![vec![]; formals.len()];
    let (mut position, mut first_named, mut surplus) = (0, None, vec![]);
    for argument in &call.args {
        let error = match &argument.name {
            None if first_named.is_some() => positional_after_named(argument, first_named),
            None if signature.takes_list => {
                slots[0].push(argument);
                continue;
            }
            None if position < slots.len() => {
                slots[position].push(argument);
                position += 1;
                continue;
            }
            None => {
                surplus.push(argument);
                scope.mark_used(&argument.value);
                continue;
            }
            Some(name) => {
                first_named = first_named.or(Some(argument.span));
                let is = |formal: &Formal<'_>| [formal.name, formal.key].contains(&&*name.text);
                match formals.iter().position(is) {
                    Some(slot) if slots[slot].is_empty() => {
                        slots[slot].push(argument);
                        continue;
                    }
                    Some(slot) => duplicate(formals[slot].name, argument, slots[slot][0]),
                    None => unknown_argument(signature, name),
                }
            }
        };
        scope.mark_used(&argument.value);
        sink.push(error);
    }
    if let (Some(first), Some(last)) = (surplus.first(), surplus.last()) {
        sink.push(too_many(signature, call, first.span.to(last.span)));
    }
    slots
}

fn default_value(
    judge: &mut Judge<'_, '_>,
    default: Default,
    earlier: &[Bound],
) -> Option<graph::Arg> {
    match default {
        Default::Required => None,
        Default::Whole(n) => Some(graph::Arg::Number(Number::Whole(n))),
        Default::Real(x) => Some(graph::Arg::Number(Number::Real(x))),
        Default::Word("same") => {
            let kernel = judge.earlier("kernel")?;
            judge.same(kernel.written.unwrap_or(judge.call.word.span))
        }
        Default::Word(word) => Some(flag(word == "ceil")),
        Default::Of(key) => {
            earlier.iter().find(|bound| bound.arg.key == key).map(|bound| bound.value.clone())
        }
    }
}

fn flag(on: bool) -> graph::Arg {
    graph::Arg::Number(Number::Whole(i64::from(on)))
}

/// Turns what was written for one argument into its value.
struct Judge<'a, 's> {
    word: &'static str,
    arg: &'static Arg,
    call: &'a ast::Call,
    /// What is known by now of the layer's other arguments.
    earlier: &'a [Bound],
    scope: &'a mut Scope<'s>,
    sink: &'a mut Vec<Diagnostic>,
}

impl Judge<'_, '_> {
    fn written(&mut self, written: &[&ast::Argument]) -> Option<graph::Arg> {
        let expr = &written.first()?.value;
        match self.arg.kind {
            Kind::Channels | Kind::ChannelList => {
                // All are judged before the first failure counts.
                let all: Vec<_> = written.iter().map(|arg| self.whole(&arg.value, 1)).collect();
                all.into_iter().collect::<Option<_>>().map(graph::Arg::List)
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
    ) -> Option<graph::Arg> {
        if let ast::ExprKind::Several(items) = &expr.kind {
            self.scope.mark_used(expr);
            return self.wrong_kind(expr.span, "one number", Some(items.len().to_string()));
        }
        let number = evaluate(expr, self.scope, self.sink)?;
        if !fits(number.as_f64()) {
            return self.out_of_range(expr.span, number, range);
        }
        Some(graph::Arg::Number(Number::Real(number.as_f64())))
    }

    /// `pad = same`, blamed on `span`. Without a known kernel there is nothing to say.
    fn same(&mut self, span: Span) -> Option<graph::Arg> {
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
    fn earlier(&self, key: &str) -> Option<&'_ Bound> {
        self.earlier.iter().find(|bound| bound.arg.key == key)
    }

    fn pool_padding(&mut self, pads: &[i64], expr: &ast::Expr) -> Option<graph::Arg> {
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

fn whole_arg(n: i64) -> graph::Arg {
    graph::Arg::Number(Number::Whole(n))
}

/// The value word an expression is, if it is one.
fn word(expr: &ast::Expr) -> Option<&str> {
    match &expr.kind {
        ast::ExprKind::Name(name) if VALUE_WORDS.contains(&name.as_str()) => Some(name),
        _ => None,
    }
}

fn positional_after_named(argument: &ast::Argument, named: Option<Span>) -> Diagnostic {
    let message = "an argument without a name after one with a name";
    let diagnostic = Diagnostic::new(Code::PositionalAfterNamed, message)
        .label(argument.span, "give it a name, or put it first");
    match named {
        Some(span) => diagnostic.label(span, "the first one with a name"),
        None => diagnostic,
    }
}

fn duplicate(name: &str, second: &ast::Argument, first: &ast::Argument) -> Diagnostic {
    Diagnostic::new(Code::DuplicateArgument, format!("`{name}` is given twice"))
        .label(second.span, "the second")
        .label(first.span, "the first")
}

fn unknown_argument(signature: &Signature<'_>, name: &ast::Name) -> Diagnostic {
    let Signature { word, formals, .. } = signature;
    let plain = super::plain(&name.text);
    let foreign = formals.iter().find(|formal| formal.also.contains(&plain.as_str()));
    let names = || formals.iter().map(|formal| formal.name);
    let help = match foreign.map(|formal| formal.name).or_else(|| nearest(&name.text, names())) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if formals.is_empty() => format!("`{word}` takes no arguments"),
        None => format!("the arguments of `{word}` are {}", list(names(), "and")),
    };
    let message = format!("`{word}` has no argument `{}`", name.text);
    Diagnostic::new(Code::UnknownArgument, message).label(name.span, "no such argument").help(help)
}

fn too_many(signature: &Signature<'_>, call: &ast::Call, surplus: Span) -> Diagnostic {
    let word = signature.word;
    let given = call.args.iter().filter(|argument| argument.name.is_none()).count();
    let given = if given == 1 { "1 is given".to_owned() } else { format!("{given} are given") };
    let message = match signature.formals.len() {
        0 => format!("`{word}` takes no arguments, but {given}"),
        1 => format!("`{word}` takes one argument, but {given}"),
        most => format!("`{word}` takes at most {most} arguments, but {given}"),
    };
    Diagnostic::new(Code::TooManyArguments, message).label(surplus, "too many")
}

/// Arguments without a default that a call does not give. `what` says what is missing, `usage` how to write the call.
pub(crate) fn missing_arguments<'a>(
    call: &ast::Call,
    names: impl Iterator<Item = &'a str>,
    what: &str,
    usage: &str,
) -> Diagnostic {
    let message = format!("`{}` needs {}", call.word.text, list(names, "and"));
    Diagnostic::new(Code::MissingArgument, message)
        .label(call.span, format!("missing: {what}"))
        .help(format!("write {usage}"))
}
