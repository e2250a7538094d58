//! `nin check`: the checker's verdict and its table of layers.

mod outline;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use nin::{Diagnostic, Graph, Model, ModelError, Number, Shape};
use nin_dsl::Source;
use nin_dsl::graph::{ArgValue, Layer};
use serde_json::{Map, Value, json};

use self::outline::Entry;
use super::amounts::{bytes, grouped};
use super::help::examples;
use super::options::ModelArgs;
use super::terminal::Terminal;

#[derive(clap::Args)]
#[command(after_help = examples(&[
    ("The layers with their shapes and costs", "nin check models/digits.nin"),
    ("A wider variant, for a program to read", "nin check models/digits.nin -D width=40 --json"),
    ("A model from a pipe", "echo '< input(1, 28, 28) mlpconv(16, 10) gap softmax >' | nin check -"),
]))]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn check(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let mut out = terminal.results();
    match args.model.load(terminal) {
        Ok(model) if args.json => {
            let graph = model.graph();
            let object = described(graph, model.source(), model.warnings());
            writeln!(out, "{object}")?;
        }
        Ok(model) => table(&mut out, &model)?,
        Err(error) => {
            if let (true, Some(ModelError::Invalid { text, diagnostics })) =
                (args.json, error.downcast_ref())
            {
                writeln!(out, "{}", refused(text, diagnostics))?;
                out.flush()?;
            }
            return Err(error);
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Columns of the table: heading, and whether its figures stand to the right.
const COLUMNS: [(&str, bool); 8] = [
    ("layer", false),
    ("arguments", false),
    ("input", true),
    ("output", true),
    ("params", true),
    ("MACs", true),
    ("activations", true),
    ("sees", true),
];

/// The layers, a row each, and the totals.
fn table(out: &mut impl Write, model: &Model) -> io::Result<()> {
    let graph = model.graph();
    let row = |entry: Entry<'_>| {
        let Some(layer) = entry.layer else {
            let mut row = COLUMNS.map(|_| String::new());
            row[0] = entry.label;
            return row;
        };
        let facts = layer.facts;
        [
            entry.label,
            arguments(layer),
            layer.input.to_string(),
            layer.output.to_string(),
            grouped(facts.params),
            grouped(facts.macs),
            bytes(facts.activation_bytes),
            field(facts.receptive_field),
        ]
    };
    let activations = graph.layers().iter().map(|layer| layer.facts.activation_bytes).sum();
    let mut rows = vec![COLUMNS.map(|(heading, _)| heading.to_owned())];
    rows.extend(outline::entries(graph).into_iter().map(row));
    rows.push([
        "total".to_owned(),
        String::new(),
        graph.input().to_string(),
        graph.output().to_string(),
        grouped(graph.params_total()),
        grouped(graph.macs_total()),
        bytes(activations),
        String::new(),
    ]);
    let widths: [usize; COLUMNS.len()] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
    });
    write!(out, "{}", graph.name())?;
    for (index, (name, value)) in graph.params().iter().enumerate() {
        write!(out, "{}{name} = {value}", if index == 0 { "(" } else { ", " })?;
    }
    writeln!(out, "{}\n", if graph.params().is_empty() { "" } else { ")" })?;
    let rule: usize = widths.iter().sum::<usize>() + 2 * (widths.len() - 1);
    for (index, row) in rows.iter().enumerate() {
        if index == 1 || index == rows.len() - 1 {
            writeln!(out, "{}", "-".repeat(rule))?;
        }
        let mut line = String::new();
        for ((cell, width), (_, right)) in row.iter().zip(widths).zip(COLUMNS) {
            line += &if right { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") };
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    writeln!(
        out,
        "\nMACs and activations are of one image; activations are what a training step keeps.\n\
         An output sees so many rows and columns of input pixels."
    )
}

/// A receptive field: one number where it is a square, else rows by columns.
pub(crate) fn field([rows, columns]: [u64; 2]) -> String {
    if rows == columns { rows.to_string() } else { format!("{rows}x{columns}") }
}

/// Arguments, resolved, as they could be written.
pub(crate) fn arguments(layer: &Layer) -> String {
    let one = |(name, arg): &(&str, ArgValue)| match arg {
        ArgValue::Number(number) => format!("{name} {number}"),
        ArgValue::List(list) => {
            let numbers: Vec<String> = list.iter().map(i64::to_string).collect();
            match *name {
                "channels" => numbers.join("-"),
                _ => format!("{name} ({})", numbers.join(", ")),
            }
        }
    };
    // The input's arguments are its shape, which the table has already.
    let args = if layer.word == "input" { &[][..] } else { layer.args.as_slice() };
    // What few layers have is left out of those that have it not.
    let is_there = |(name, arg): &&(&str, ArgValue)| {
        !matches!(
            (*name, arg),
            ("groups" | "dilation" | "multiplier", ArgValue::Number(Number::Whole(1)))
                | ("count" | "ghost", ArgValue::Number(Number::Whole(0)))
        )
    };
    args.iter().filter(is_there).map(one).collect::<Vec<_>>().join(", ")
}

/// The whole verdict as JSON.
fn described(graph: &Graph, source: &Source, diagnostics: &[Diagnostic]) -> Value {
    let layer = |layer: &Layer| {
        let args: Map<String, Value> = layer
            .args
            .iter()
            .map(|(name, arg)| ((*name).to_owned(), argument(name, arg)))
            .collect();
        let inputs: Vec<&str> =
            layer.inputs.iter().map(|&input| graph.layer(input).name.as_str()).collect();
        json!({
            "name": layer.name,
            "kind": layer.word,
            "inputs": inputs,
            "args": args,
            "input": dims(layer.input),
            "output": dims(layer.output),
            "params": layer.facts.params,
            "macs": layer.facts.macs,
            "activation_bytes": layer.facts.activation_bytes,
            "receptive_field": layer.facts.receptive_field,
            "line": source.location(layer.span).line,
        })
    };
    let activations: u64 = graph.layers().iter().map(|layer| layer.facts.activation_bytes).sum();
    json!({
        "model": graph.name(),
        "params": params(graph),
        "input": dims(graph.input()),
        "output": dims(graph.output()),
        "layers": graph.layers().iter().map(layer).collect::<Vec<_>>(),
        "totals": {
            "params": graph.params_total(),
            "macs": graph.macs_total(),
            "activation_bytes": activations,
        },
        "diagnostics": listed(source, diagnostics),
    })
}

/// What is known of a model that the checker refuses: the name it gives itself, or else its file's.
fn refused(text: &Source, diagnostics: &[Diagnostic]) -> Value {
    let read = nin_dsl::parse(text).map(|model| model.name.text);
    let stem = || Path::new(&*text.name).file_stem().unwrap_or_default().to_string_lossy().into();
    let name: String = read.unwrap_or_else(|_| stem());
    json!({ "model": name, "diagnostics": listed(text, diagnostics) })
}

fn dims(shape: Shape) -> Value {
    json!(shape.dims())
}

/// A model's parameters as JSON.
pub(crate) fn params(graph: &Graph) -> Value {
    graph
        .params()
        .iter()
        .map(|(name, value)| (name.clone(), number(*value)))
        .collect::<Map<_, _>>()
        .into()
}

/// A number as JSON.
pub(crate) fn number(number: Number) -> Value {
    match number {
        Number::Whole(n) => json!(n),
        Number::Real(x) => json!(x),
    }
}

/// An argument as JSON: a window's kernel, stride and dilation for each axis, its padding for each side.
fn argument(name: &str, arg: &ArgValue) -> Value {
    match (name, arg) {
        ("kernel" | "stride" | "dilation", ArgValue::Number(value)) => {
            vec![number(*value); 2].into()
        }
        ("pad", ArgValue::Number(value)) => vec![number(*value); 4].into(),
        ("pad", ArgValue::List(axes)) if axes.len() == 2 => {
            json!([axes[0], axes[1], axes[0], axes[1]])
        }
        (_, ArgValue::Number(value)) => number(*value),
        (_, ArgValue::List(list)) => json!(list),
    }
}

fn listed(source: &Source, diagnostics: &[Diagnostic]) -> Value {
    let one = |diagnostic: &Diagnostic| {
        let at = diagnostic.span().map(|span| source.location(span));
        json!({
            "code": diagnostic.code.number(),
            "severity": diagnostic.severity.to_string(),
            "message": diagnostic.message,
            "line": at.map(|at| at.line),
            "column": at.map(|at| at.column),
        })
    };
    diagnostics.iter().map(one).collect()
}
