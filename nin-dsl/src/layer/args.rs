//! [`bind`]: the arguments of a call, matched to those of its layer, evaluated, completed and judged.

mod judge;

use super::{Arg, Default, Kind, LayerSpec};
use crate::ast;
use crate::diagnostic::{Code, Diagnostic, list, nearest};
use crate::eval::Scope;
use crate::graph::{self, Number};
use crate::shape::{Count, Round, Slide, Window};
use crate::span::Span;
use judge::{Judge, flag, four, pair, size};

/// The resolved arguments of one call: every one of its layer's, in order, each in range.
#[derive(Debug)]
pub(crate) struct Args(Vec<Bound>);

#[derive(Debug)]
struct Bound {
    arg: &'static Arg,
    value: graph::ArgValue,
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
            graph::ArgValue::Number(number) => number,
            graph::ArgValue::List(_) => panic!("`{key}` is a list (a bug in nin)"),
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
            graph::ArgValue::List(list) => list.iter().map(|&n| size(n)).collect(),
            graph::ArgValue::Number(_) => panic!("`channels` is a number (a bug in nin)"),
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
    pub(crate) fn resolved(&self) -> Vec<(&'static str, graph::ArgValue)> {
        self.0.iter().map(|bound| (bound.arg.key, bound.value.clone())).collect()
    }
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
    fn of(layer: &'static LayerSpec) -> Signature<'static> {
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
    layer: &'static LayerSpec,
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
) -> Option<graph::ArgValue> {
    match default {
        Default::Required => None,
        Default::Whole(n) => Some(graph::ArgValue::Number(Number::Whole(n))),
        Default::Real(x) => Some(graph::ArgValue::Number(Number::Real(x))),
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
