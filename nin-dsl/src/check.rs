//! [`ast::Model`] and parameters to [`Graph`] and diagnostics: names, values, shapes and limits.
//!
//! All errors are reported together. After one, the shape of what follows may be unknown, but whether it is a map or a
//! vector usually is not, and what can be judged by that is judged.

use std::collections::BTreeMap;

use crate::ast;
use crate::diagnostic::{Code, Diagnostic, list, nearest};
use crate::eval::{Scope, VALUE_WORDS, evaluate};
use crate::graph::{BuildError, Builder, Graph, Number, Op};
use crate::layer::{self, Args, Layer, Takes, Yields};
use crate::limits;
use crate::shape::{Round, Shape};
use crate::span::Span;

/// Checks a model whose parameters take the values in `overrides` in place of their defaults.
///
/// The graph is there exactly if no diagnostic is an error. Diagnostics are in the order of the text.
pub fn check(
    model: &ast::Model,
    overrides: &[(String, Number)],
) -> (Option<Graph>, Vec<Diagnostic>) {
    let mut sink = vec![];
    let graph = match over_limits(model) {
        Some(diagnostic) => {
            sink.push(diagnostic);
            None
        }
        None => check_model(model, overrides, &mut sink),
    };
    sink.sort_by_key(Diagnostic::span);
    let failed = sink.iter().any(|diagnostic| diagnostic.code.severity() == crate::Severity::Error);
    (graph.filter(|_| !failed), sink)
}

/// Counts that would make the rest of the checker slow are refused before it starts.
fn over_limits(model: &ast::Model) -> Option<Diagnostic> {
    let error = |what: String, span, limit: usize| {
        Diagnostic::new(Code::TooLarge, format!("{what}; the limit is {limit}"))
            .label(span, format!("number {}", limit + 1))
    };
    let (layers, params) = (&model.layers, model.params());
    if let Some(call) = layers.get(limits::LAYERS) {
        return Some(error(format!("{} layers", layers.len()), call.word.span, limits::LAYERS));
    }
    let param = params.get(limits::MODEL_PARAMETERS)?;
    let what = format!("{} parameters in a model's head", params.len());
    Some(error(what, param.name.span, limits::MODEL_PARAMETERS))
}

fn check_model(
    model: &ast::Model,
    overrides: &[(String, Number)],
    sink: &mut Vec<Diagnostic>,
) -> Option<Graph> {
    if model.head.is_some() {
        sink.extend(reserved(&model.name, "model"));
    }
    let params = parameters(model, overrides, sink);
    let mut scope = Scope::default();
    for (param, value) in &params {
        scope.define(&param.name.text, *value);
    }
    let known: Option<Vec<(String, Number)>> = params
        .iter()
        .map(|(param, value)| value.map(|value| (param.name.text.clone(), value)))
        .collect();
    let build = Builder::new(model.name.text.clone(), known.unwrap_or_default());
    let graph = check_chain(model, build, &mut scope, sink);
    for (param, _) in &params {
        if !is_taken(&param.name.text) && !scope.is_used(&param.name.text) {
            let message = format!("the parameter `{}` is never used", param.name.text);
            sink.push(
                Diagnostic::new(Code::UnusedParameter, message)
                    .label(param.name.span, "never used")
                    .help("use it in the chain, or remove it"),
            );
        }
    }
    graph
}

/// An error if a word that means something already is given a meaning.
fn reserved(name: &ast::Name, what: &str) -> Option<Diagnostic> {
    let text = name.text.as_str();
    is_taken(text).then(|| {
        let message = format!("`{text}` is reserved and cannot name a {what}");
        Diagnostic::new(Code::Reserved, message).label(name.span, "choose another name")
    })
}

fn is_taken(name: &str) -> bool {
    /// A parameter is a field in Rust, and these can be none, not even as raw identifiers.
    const NO_IDENTIFIER: &[&str] = &["_", "self", "Self", "super", "crate"];
    let reserved = [layer::RESERVED, VALUE_WORDS, NO_IDENTIFIER];
    layer::find(name).is_some() || reserved.iter().any(|words| words.contains(&name))
}

/// The parameters with their values; `None` for one whose value is in error. Of two with one name the first counts.
fn parameters<'m>(
    model: &'m ast::Model,
    overrides: &[(String, Number)],
    sink: &mut Vec<Diagnostic>,
) -> Vec<(&'m ast::Param, Option<Number>)> {
    let mut params: Vec<(&ast::Param, Option<Number>)> = vec![];
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for param in model.params() {
        sink.extend(reserved(&param.name, "parameter"));
        let default = constant(&param.default, sink);
        if let Some(&first) = places.get(param.name.text.as_str()) {
            let message = format!("two parameters are called `{}`", param.name.text);
            sink.push(
                Diagnostic::new(Code::DuplicateParameter, message)
                    .label(param.name.span, "the second")
                    .label(params[first].0.name.span, "the first"),
            );
            continue;
        }
        places.insert(&param.name.text, params.len());
        params.push((param, default));
    }
    for (name, value) in overrides {
        match places.get(name.as_str()) {
            Some(&place) => {
                let (param, current) = params[place];
                params[place].1 = overridden(param, current, *value, sink);
            }
            None => sink.push(unknown_override(model, name)),
        }
    }
    params
}

/// A default: arithmetic over numbers alone.
fn constant(expr: &ast::Expr, sink: &mut Vec<Diagnostic>) -> Option<Number> {
    match first_name(expr) {
        None => evaluate(expr, &mut Scope::default(), sink),
        Some((name, span)) => {
            let message = format!("a default is a constant and cannot use `{name}`");
            sink.push(
                Diagnostic::new(Code::DefaultNotConstant, message).label(span, "not a number"),
            );
            None
        }
    }
}

/// The leftmost name in an expression.
fn first_name(expr: &ast::Expr) -> Option<(&str, Span)> {
    match &expr.kind {
        ast::ExprKind::Number(_) => None,
        ast::ExprKind::Name(name) => Some((name, expr.span)),
        ast::ExprKind::Negate(operand) => first_name(operand),
        ast::ExprKind::Arithmetic { first, rest } => {
            first_name(first).or_else(|| rest.iter().find_map(|(_, operand)| first_name(operand)))
        }
    }
}

/// The value of a parameter that is given one: whole or real as its default is.
fn overridden(
    param: &ast::Param,
    default: Option<Number>,
    value: Number,
    sink: &mut Vec<Diagnostic>,
) -> Option<Number> {
    match (default?, value) {
        (_, Number::Real(real)) if !real.is_finite() => {
            let message =
                format!("the parameter `{}` is {real}; it must be finite", param.name.text);
            sink.push(
                Diagnostic::new(Code::OutOfRange, message).label(param.name.span, "must be finite"),
            );
            None
        }
        (Number::Real(_), value) => Some(Number::Real(value.as_f64())),
        (Number::Whole(_), Number::Whole(_)) => Some(value),
        (Number::Whole(default), Number::Real(real)) => {
            let name = &param.name.text;
            let message = format!("the parameter `{name}` is whole and cannot be {real:?}");
            let diagnostic = Diagnostic::new(Code::WrongKind, message)
                .label(param.default.span, "a whole default makes it whole")
                .help(format!("write `{name} = {default}.0` in the model to make it real"));
            sink.push(diagnostic);
            None
        }
    }
}

fn unknown_override(model: &ast::Model, name: &str) -> Diagnostic {
    let names = || model.params().iter().map(|param| param.name.text.as_str());
    let help = match nearest(name, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if model.params().is_empty() => {
            format!("the model has no parameters: begin it with `model NAME({name} = 1) <`")
        }
        None => format!("its parameters are {}", list(names(), "and")),
    };
    let message = format!("the model `{}` has no parameter `{name}`", model.name.text);
    Diagnostic::new(Code::UnknownOverride, message)
        .label(model.name.span, format!("no parameter `{name}` here"))
        .help(help)
}

/// What is known of the shape between two layers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flow {
    /// All of it: the builder has it.
    Shape(Shape),
    /// A map of unknown size.
    Map,
    /// A vector of unknown size.
    Vector,
    /// Nothing, before the input or after an unknown layer.
    Unknown,
}

impl Flow {
    fn is_map(self) -> bool {
        matches!(self, Flow::Map | Flow::Shape(Shape::Map { .. }))
    }

    fn is_vector(self) -> bool {
        matches!(self, Flow::Vector | Flow::Shape(Shape::Vector { .. }))
    }

    /// What a layer in error leaves.
    fn after(self, yields: Yields) -> Flow {
        match yields {
            Yields::Same => self,
            Yields::Map => Flow::Map,
            Yields::Vector | Yields::End => Flow::Vector,
        }
    }
}

/// Where a chain has got to.
struct Chain<'m> {
    flow: Flow,
    input: Option<&'m ast::Call>,
    /// The layer that removed height and width.
    flattened: Option<&'m ast::Call>,
}

fn check_chain(
    model: &ast::Model,
    mut build: Builder,
    scope: &mut Scope<'_>,
    sink: &mut Vec<Diagnostic>,
) -> Option<Graph> {
    sink.extend(no_input(model));
    sink.extend(after_end(model));
    let end = end_of(model).map_or(model.layers.len(), |end| end + 1);
    let mut chain = Chain { flow: Flow::Unknown, input: None, flattened: None };
    for (i, call) in model.layers.iter().enumerate() {
        let Some(layer) = layer::find(&call.word.text) else {
            call.args.iter().for_each(|argument| scope.mark_used(&argument.value));
            sink.push(unknown_layer(call));
            chain.flow = Flow::Unknown;
            continue;
        };
        let args = layer::args::bind(layer, call, scope, sink);
        if i >= end {
            continue;
        }
        if let Some(diagnostic) = misplaced(layer, call, &chain) {
            // The layer is taken to be the mistake: what follows is judged as if it were not there.
            sink.push(diagnostic);
            continue;
        }
        chain.flow = match args {
            Some(args) => lower(layer, call, &args, chain.flow, &mut build, sink),
            None => chain.flow.after(layer.yields),
        };
        match (layer.takes, layer.yields) {
            (Takes::Nothing, _) => chain.input = Some(call),
            (_, Yields::Vector) => chain.flattened = Some(call),
            _ => {}
        }
    }
    if !matches!(chain.flow, Flow::Shape(_)) {
        return None;
    }
    let graph = build.finish();
    sink.extend(dropout_last(&graph));
    Some(graph)
}

/// Appends a layer's ops, if the shape it reads is known, and says what it leaves.
fn lower(
    layer: &'static Layer,
    call: &ast::Call,
    args: &Args,
    flow: Flow,
    build: &mut Builder,
    sink: &mut Vec<Diagnostic>,
) -> Flow {
    if layer.takes != Takes::Nothing && !matches!(flow, Flow::Shape(_)) {
        return flow.after(layer.yields);
    }
    let input = build.shape();
    build.begin_layer(layer.word, args.resolved(), call.span);
    if let Err(error) = (layer.lower)(args, build) {
        sink.push(refused(&error, call, args));
        return flow.after(layer.yields);
    }
    if args.written("ceil").is_none() {
        sink.extend(build.last_op().and_then(|op| dropped_pixels(op, input, call)));
    }
    Flow::Shape(build.shape())
}

/// Where the layer that ends a model stands, if there is one.
fn end_of(model: &ast::Model) -> Option<usize> {
    model.layers.iter().position(|call| {
        layer::find(&call.word.text).is_some_and(|layer| layer.yields == Yields::End)
    })
}

fn is_input(call: &ast::Call) -> bool {
    layer::find(&call.word.text).is_some_and(|layer| layer.takes == Takes::Nothing)
}

fn no_input(model: &ast::Model) -> Option<Diagnostic> {
    let example = "begin with the shape of an image, such as `input(3, 32, 32)`";
    let Some(first) = model.layers.first() else {
        return Some(
            Diagnostic::new(Code::NoInput, "a model without layers")
                .label(model.span, "no layers")
                .help(example),
        );
    };
    if is_input(first) {
        return None;
    }
    let word = &first.word.text;
    let message = format!("a model begins with `input`, not with `{word}`");
    let diagnostic =
        Diagnostic::new(Code::NoInput, message).label(first.word.span, "`input` must come before");
    Some(match model.layers.iter().find(|call| is_input(call)) {
        Some(input) => diagnostic.label(input.span, "put this first"),
        None => diagnostic.help(example),
    })
}

fn after_end(model: &ast::Model) -> Option<Diagnostic> {
    let end = end_of(model)?;
    let (last, next) = (&model.layers[end], model.layers.get(end + 1)?);
    let (last_word, next_word) = (&last.word.text, &next.word.text);
    Some(
        Diagnostic::new(Code::AfterSoftmax, format!("`{next_word}` after `{last_word}`"))
            .label(next.span, "nothing may follow")
            .label(last.word.span, format!("`{last_word}` ends the model")),
    )
}

fn unknown_layer(call: &ast::Call) -> Diagnostic {
    let word = call.word.text.as_str();
    if layer::RESERVED.contains(&word) {
        return Diagnostic::new(
            Code::Reserved,
            format!("`{word}` is reserved and cannot be used yet"),
        )
        .label(call.word.span, "reserved");
    }
    let plain = layer::plain(word);
    let diagnostic = Diagnostic::new(Code::UnknownLayer, format!("there is no layer `{word}`"))
        .label(call.word.span, "not a layer");
    if let Some((_, why)) = layer::NEEDLESS.iter().find(|(needless, _)| *needless == plain) {
        return diagnostic.help(*why);
    }
    let is = |layer: &&&Layer| layer.word == plain || layer.also.contains(&plain.as_str());
    let words = || layer::LAYERS.iter().map(|layer| layer.word);
    let meant = layer::LAYERS.iter().find(is).map(|layer| layer.word).or(nearest(word, words()));
    diagnostic.help(match meant {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("the layers are {}", list(words(), "and")),
    })
}

/// An error if the layer cannot stand where it does, whatever its arguments.
fn misplaced(layer: &Layer, call: &ast::Call, chain: &Chain<'_>) -> Option<Diagnostic> {
    let word = layer.word;
    match layer.takes {
        Takes::Nothing => chain.input.map(|first| {
            Diagnostic::new(Code::SecondInput, "a second `input`")
                .label(call.span, "a model reads one input")
                .label(first.span, "the first")
        }),
        Takes::Map if chain.flow.is_vector() => {
            let (what, label) = match chain.flow {
                Flow::Shape(shape) => (format!("{shape} features"), format!("{shape} features")),
                _ => ("a vector".to_owned(), "a vector".to_owned()),
            };
            let message = format!("`{word}` needs height and width, but gets {what}");
            let diagnostic = Diagnostic::new(Code::SpatialOnVector, message)
                .label(call.span, "slides over height and width");
            Some(match chain.flattened {
                Some(by) => diagnostic
                    .label(by.span, format!("leaves {label}"))
                    .help(format!("put `{word}` before `{}`", by.word.text)),
                None => diagnostic,
            })
        }
        Takes::Vector if chain.flow.is_map() => {
            let what = match chain.flow {
                Flow::Shape(shape) => format!("a map of {shape}"),
                _ => "a map".to_owned(),
            };
            let message = format!("`{word}` needs a score for each class, but gets {what}");
            let help = "reduce the map before it: `gap` averages each channel, `fc(classes)` \
                        flattens and multiplies";
            Some(
                Diagnostic::new(Code::SoftmaxOnMap, message)
                    .label(call.span, format!("reads {what}"))
                    .help(help),
            )
        }
        Takes::Map | Takes::Vector | Takes::Any => None,
    }
}

/// The diagnostic of an op that the builder refused.
fn refused(error: &BuildError, call: &ast::Call, args: &Args) -> Diagnostic {
    let message = error.to_string();
    match error {
        BuildError::NoWindow { input, .. } => {
            let span = args.written("kernel").unwrap_or(call.span);
            Diagnostic::new(Code::WindowTooLarge, message)
                .label(span, format!("the input here is {input}"))
                .help("use a smaller kernel or more padding, or pool less before it")
        }
        BuildError::Activation { .. } | BuildError::Parameters { .. } => {
            Diagnostic::new(Code::TooLarge, message).label(call.span, "too large")
        }
    }
}

/// A warning if a pool leaves rows or columns of real pixels unread.
fn dropped_pixels(op: Op, input: Shape, call: &ast::Call) -> Option<Diagnostic> {
    let window = match op {
        Op::MaxPool { window, round: Round::Floor }
        | Op::AvgPool { window, round: Round::Floor } => window,
        _ => return None,
    };
    // The last rows of the padded input are padding: only what exceeds it is lost.
    let dropped = |size: usize, kernel: usize| {
        ((size + 2 * window.pad - kernel) % window.stride).saturating_sub(window.pad)
    };
    let rows = dropped(input.height(), window.kernel.0);
    let columns = dropped(input.width(), window.kernel.1);
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let lost = match (rows, columns) {
        (0, 0) => return None,
        (rows, 0) => count(rows, "row"),
        (0, columns) => count(columns, "column"),
        (rows, columns) => format!("{} and {}", count(rows, "row"), count(columns, "column")),
    };
    let (word, (h, w)) = (&call.word.text, (input.height(), input.width()));
    Some(
        Diagnostic::new(Code::DroppedPixels, format!("`{word}` drops {lost} of its {h}x{w} input"))
            .label(call.span, "rounds down")
            .help("write `round = ceil` to keep them, or `round = floor` if this is meant"),
    )
}

fn dropout_last(graph: &Graph) -> Option<Diagnostic> {
    let (node, layer) = (graph.nodes.last()?, graph.layers.last()?);
    matches!(node.op, Op::Dropout { .. }).then(|| {
        Diagnostic::new(Code::DropoutLast, format!("`{}` is the last layer", layer.word))
            .label(layer.span, "zeroes the model's own scores in training")
            .help("put it before the last convolution or `fc`")
    })
}
