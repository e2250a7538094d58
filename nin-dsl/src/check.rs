//! [`ast::Model`] and parameters to [`Graph`] and diagnostics: names, values, shapes and limits.
//!
//! All errors are reported together. After one, the shape of what follows may be unknown, but whether it is a map or a
//! vector usually is not, and what can be judged by that is judged.
#![warn(clippy::wildcard_enum_match_arm)]

mod block;
mod chain;
mod expand;
mod flow;
mod join;

use std::collections::BTreeMap;

use crate::ast;
use crate::diagnostic::{Code, Diagnostic, Severity, list, nearest};
use crate::eval::{Scope, VALUE_WORDS, evaluate};
use crate::excerpt::excerpt;
use crate::graph::{Builder, Graph, Number};
use crate::layer;
use crate::limits;
use crate::span::Span;

use block::Blocks;
use expand::expand;

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
    (graph.filter(|_| !failed).map(Graph::verified), sink)
}

/// The parameters of a model that need not check, with their defaults: what of it Rust can name. One whose default is in
/// error is whole.
pub fn defaults(model: &ast::Model) -> Vec<(String, Number)> {
    let params = parameters(model, &[], &mut vec![]);
    let value = |param: &Declared<'_>| param.value.unwrap_or(Number::Whole(0));
    params.iter().map(|param| (param.name.text.clone(), value(param))).collect()
}

/// Counts that would make the rest of the checker slow are refused before it starts.
fn over_limits(model: &ast::Model) -> Option<Diagnostic> {
    let error = |what: String, span, limit: usize| {
        Diagnostic::new(Code::TooLarge, format!("{what}; the limit is {limit}"))
            .label(span, format!("number {}", limit + 1))
    };
    if let Some(block) = model.blocks.get(limits::BLOCKS) {
        let what = format!("{} blocks", model.blocks.len());
        return Some(error(what, block.name.span, limits::BLOCKS));
    }
    let most = limits::PARAMETERS_OF_ONE;
    let heads = std::iter::once((model.params().len(), model.params().get(most).map(|p| &p.name)));
    let blocks = model
        .blocks
        .iter()
        .map(|block| (block.slots.len(), block.slots.get(most).map(|s| &s.name)));
    let (count, excess) =
        heads.chain(blocks).find_map(|(count, excess)| excess.map(|name| (count, name)))?;
    Some(error(format!("{count} parameters in one head"), excess.span, most))
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
    params.iter().for_each(|param| scope.define(&param.name.text, param.value));
    let blocks = Blocks::new(&model.blocks, sink);
    let mut expansion = expand(model, scope, &blocks, sink)?;
    let known: Option<Vec<(String, Number)>> =
        params.iter().map(|param| Some((param.name.text.clone(), param.value?))).collect();
    let build = Builder::new(model.name.text.clone(), known.unwrap_or_default());
    let graph = chain::check_chain(model, &blocks, build, &mut expansion, sink);
    let scope = &expansion.scopes[0];
    sink.extend(params.iter().filter_map(|param| never_used(param.name, scope)));
    sink.extend(blocks.unused(&expansion.used));
    graph
}

/// An error if a parameter has changed nothing.
fn never_used(name: &ast::Name, scope: &Scope<'_>) -> Option<Diagnostic> {
    let idle = !is_taken(&name.text) && !scope.is_used(&name.text);
    idle.then(|| {
        let message = format!("the parameter `{}` is never used", name.text);
        Diagnostic::new(Code::UnusedParameter, message)
            .label(name.span, "never used")
            .help("use it in the chain, or remove it")
    })
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
    let taken = [VALUE_WORDS, ast::NO_IDENTIFIERS];
    layer::find(name).is_some() || taken.iter().any(|words| words.contains(&name))
}

/// A parameter of a model or a block.
#[derive(Clone, Copy, Debug)]
struct Declared<'m> {
    name: &'m ast::Name,
    /// `None` if every use must give a value.
    default: Option<&'m ast::Expr>,
    /// Its value where no other is given; `None` without a default, or if that is in error.
    value: Option<Number>,
}

/// Judges the parameters of one head. Of two with one name the first counts.
fn declare<'m>(
    params: impl Iterator<Item = (&'m ast::Name, Option<&'m ast::Expr>)>,
    sink: &mut Vec<Diagnostic>,
) -> Vec<Declared<'m>> {
    let mut declared: Vec<Declared<'_>> = vec![];
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, default) in params {
        sink.extend(reserved(name, "parameter"));
        let value = default.and_then(|default| constant(default, sink));
        if let Some(&first) = places.get(name.text.as_str()) {
            let message = format!("two parameters are called `{}`", name.text);
            sink.push(
                Diagnostic::new(Code::DuplicateParameter, message)
                    .label(name.span, "the second")
                    .label(declared[first].name.span, "the first"),
            );
            continue;
        }
        places.insert(&name.text, declared.len());
        declared.push(Declared { name, default, value });
    }
    declared
}

/// The model's parameters under `overrides`.
fn parameters<'m>(
    model: &'m ast::Model,
    overrides: &[(String, Number)],
    sink: &mut Vec<Diagnostic>,
) -> Vec<Declared<'m>> {
    let written = model.params().iter().map(|param| (&param.name, Some(&param.default)));
    let mut params = declare(written, sink);
    for (name, value) in overrides {
        match params.iter_mut().find(|param| param.name.text == *name) {
            Some(param) => param.value = overridden(param, *value, sink),
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
        ast::ExprKind::Several(items) => items.iter().find_map(first_name),
        ast::ExprKind::Negate(operand) => first_name(operand),
        ast::ExprKind::Arithmetic { first, rest } => {
            first_name(first).or_else(|| rest.iter().find_map(|(_, operand)| first_name(operand)))
        }
    }
}

/// The value of a parameter that is given one: whole or real as its default is.
fn overridden(param: &Declared<'_>, value: Number, sink: &mut Vec<Diagnostic>) -> Option<Number> {
    let name = &param.name.text;
    match (param.value?, value) {
        (_, Number::Real(real)) if !real.is_finite() => {
            let message = format!("the parameter `{name}` is {real}; it must be finite");
            sink.push(
                Diagnostic::new(Code::OutOfRange, message).label(param.name.span, "must be finite"),
            );
            None
        }
        (Number::Real(_), value) => Some(Number::Real(value.as_f64())),
        (Number::Whole(_), Number::Whole(_)) => Some(value),
        (Number::Whole(default), Number::Real(real)) => {
            let message = format!("the parameter `{name}` is whole and cannot be {real:?}");
            let mut diagnostic = Diagnostic::new(Code::WrongKind, message);
            if let Some(expr) = param.default {
                diagnostic = diagnostic.label(expr.span, "a whole default makes it whole");
            }
            sink.push(
                diagnostic
                    .help(format!("write `{name} = {default}.0` in the model to make it real")),
            );
            None
        }
    }
}

fn unknown_override(model: &ast::Model, name: &str) -> Diagnostic {
    let shown = excerpt(name);
    let names = || model.params().iter().map(|param| param.name.text.as_str());
    let help = match nearest(name, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if model.params().is_empty() => {
            format!("the model has no parameters: begin it with `model NAME({shown} = 1) <`")
        }
        None => format!("the model has {}", list(names(), "and")),
    };
    let message = format!("the model `{}` has no parameter `{shown}`", model.name.text);
    Diagnostic::new(Code::UnknownOverride, message)
        .label(model.name.span, format!("no parameter `{shown}` here"))
        .help(help)
}
