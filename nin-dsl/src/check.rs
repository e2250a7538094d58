//! [`ast::Model`] and parameters to [`Graph`] and diagnostics: names, values, shapes and limits.
//!
//! All errors are reported together. After one, the shape of what follows may be unknown, but whether it is a map or a
//! vector usually is not, and what can be judged by that is judged.

mod chain;

use std::collections::BTreeMap;

use crate::ast;
use crate::diagnostic::{Code, Diagnostic, Severity, list, nearest};
use crate::eval::{Scope, VALUE_WORDS, evaluate};
use crate::graph::{Builder, Graph, Number};
use crate::layer;
use crate::limits;
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
    let failed = sink.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
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
    let graph = chain::check_chain(model, build, &mut scope, sink);
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
        None => format!("the model has {}", list(names(), "and")),
    };
    let message = format!("the model `{}` has no parameter `{name}`", model.name.text);
    Diagnostic::new(Code::UnknownOverride, message)
        .label(model.name.span, format!("no parameter `{name}` here"))
        .help(help)
}
