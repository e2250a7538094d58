//! Sweeps: the figures of every variant of a model, as a table and as JSON.

use std::io::{self, Write};

use nin::Number;
use serde_json::{Map, Value, json};

use super::figures::Figures;
use crate::cli::amounts::{bytes, grouped};
use crate::cli::check::number;
use crate::cli::variants::Axis;

/// The sweep as JSON: what was swept, and the figures of each variant.
pub(super) fn json(axes: &[Axis], figures: &[Figures]) -> Value {
    let sweep: Map<String, Value> = axes
        .iter()
        .map(|axis| (axis.name.clone(), axis.values.iter().map(|&value| number(value)).collect()))
        .collect();
    let name = figures.first().map(|figures| figures.graph.name());
    let variant = |figures: &Figures| {
        let mut all = figures.json();
        all["weights"] = json!(figures.graph.params_total());
        all["macs"] = json!(figures.graph.macs_total());
        all
    };
    let variants: Vec<Value> = figures.iter().map(variant).collect();
    json!({ "model": name, "sweep": sweep, "variants": variants })
}

/// Columns of the table after those of the axes: heading and width.
const COLUMNS: [(&str, usize); 9] = [
    ("params", 10),
    ("MACs", 13),
    ("ms", 8),
    ("+- %", 5),
    ("images/s", 8),
    ("GFLOP/s", 7),
    ("% peak", 6),
    ("code", 9),
    ("compile ms", 10),
];

/// The headings.
pub(super) fn head(axes: &[Axis], out: &mut impl Write) -> io::Result<()> {
    let names = axes.iter().map(|axis| axis.name.clone());
    let headings = COLUMNS.iter().map(|(heading, _)| (*heading).to_owned());
    line(axes, names.chain(headings), out)
}

/// A variant's line.
pub(super) fn row(
    axes: &[Axis],
    values: &[Number],
    figures: &Figures,
    out: &mut impl Write,
) -> io::Result<()> {
    let cells = [
        grouped(figures.graph.params_total()),
        grouped(figures.graph.macs_total()),
        format!("{:.2}", figures.median_ms),
        format!("{:.1}", 100.0 * figures.spread),
        grouped(figures.images_per_s as u64),
        format!("{:.1}", figures.gflops),
        format!("{:.1}", figures.percent_of_peak()),
        bytes(figures.code_bytes),
        format!("{:.1}", figures.compile_ms),
    ];
    let busy = figures.why_busy().map(|why| format!("busy: {why}"));
    line(axes, values.iter().map(Number::to_string).chain(cells).chain(busy), out)
}

/// Cells, each to the right of its column, which a longer one widens.
fn line(
    axes: &[Axis],
    cells: impl Iterator<Item = String>,
    out: &mut impl Write,
) -> io::Result<()> {
    let axis_width = |axis: &Axis| {
        let values = axis.values.iter().map(|value| value.to_string().len());
        values.chain([axis.name.len()]).max().unwrap_or(0)
    };
    // A remark may stand behind the columns.
    let widths = COLUMNS.iter().map(|&(_, width)| width).chain([0]);
    let widths = axes.iter().map(axis_width).chain(widths);
    let cells: Vec<String> =
        cells.zip(widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
    writeln!(out, "{}", cells.join("  "))
}
