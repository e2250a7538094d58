//! A run's curves, drawn as SVG from the lines of its metrics.

use plotters::prelude::*;
use serde::Deserialize;

use crate::cli::palette::{COLOURS, INK, RULE};

const SIZE: (u32, u32) = (500, 300);
const TRAIN: RGBColor = COLOURS[0];
const TEST: RGBColor = COLOURS[1];
const VALIDATION: RGBColor = COLOURS[2];
/// Points of a line, at most: more cannot be seen.
const MOST_POINTS: usize = 400;

/// As much of a line of `metrics.jsonl` as is drawn.
#[derive(Deserialize)]
struct Line {
    step: Option<u64>,
    loss: Option<f64>,
    lr: Option<f64>,
    train_accuracy: Option<f64>,
    val_accuracy: Option<f64>,
    test_loss: Option<f64>,
    test_accuracy: Option<f64>,
}

type Series = (&'static str, RGBColor, Vec<(f64, f64)>);

/// Loss, error and learning rate over the steps; `None` before the first.
pub(super) fn draw(metrics: &str) -> anyhow::Result<Option<String>> {
    let lines: Vec<Line> =
        metrics.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    // A line about an epoch stands behind those of its steps.
    let mut step = 0.0;
    let mut series: [Vec<(f64, f64)>; 6] = Default::default();
    for line in &lines {
        step = line.step.map_or(step, |step| step as f64);
        let error = |accuracy: Option<f64>| accuracy.map(|accuracy| 100.0 * (1.0 - accuracy));
        let values = [
            line.loss,
            line.test_loss,
            error(line.train_accuracy),
            error(line.test_accuracy),
            error(line.val_accuracy),
            line.lr,
        ];
        for (series, value) in series.iter_mut().zip(values) {
            series.extend(value.filter(|value| value.is_finite()).map(|value| (step, value)));
        }
    }
    let [loss, test_loss, train_error, test_error, val_error, lr] = series;
    if loss.is_empty() {
        return Ok(None);
    }
    let charts = [
        ("loss", vec![("training", TRAIN, means(&loss)), ("test", TEST, test_loss)]),
        (
            "error, %",
            vec![
                ("training", TRAIN, train_error),
                ("validation", VALIDATION, val_error),
                ("test", TEST, test_error),
            ],
        ),
        ("learning rate", vec![("", TRAIN, means(&lr))]),
    ];
    let drawn = charts.into_iter().filter_map(|(title, series)| chart(title, series).transpose());
    Ok(Some(drawn.collect::<anyhow::Result<Vec<_>>>()?.join("\n")))
}

/// At most [`MOST_POINTS`] points, each the mean of as many.
fn means(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let each = points.len().div_ceil(MOST_POINTS).max(1);
    let mean = |points: &[(f64, f64)]| {
        let sum = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (sum.0 / points.len() as f64, sum.1 / points.len() as f64)
    };
    points.chunks(each).map(mean).collect()
}

/// One chart; `None` without a point.
fn chart(title: &str, series: Vec<Series>) -> anyhow::Result<Option<String>> {
    let series: Vec<Series> =
        series.into_iter().filter(|(_, _, points)| !points.is_empty()).collect();
    let points = || series.iter().flat_map(|(_, _, points)| points);
    let last = points().map(|point| point.0).fold(0.0, f64::max);
    let most = points().map(|point| point.1).fold(0.0, f64::max);
    if last == 0.0 {
        return Ok(None);
    }
    let most = if most > 0.0 { 1.05 * most } else { 1.0 };
    let mut svg = String::new();
    paint(&mut svg, title, &series, (last, most))?;
    Ok(Some(svg))
}

fn paint(
    svg: &mut String,
    title: &str,
    series: &[Series],
    (last, most): (f64, f64),
) -> anyhow::Result<()> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 16, &INK))
        .margin(8)
        .x_label_area_size(32)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..last, 0.0..most)?;
    chart
        .configure_mesh()
        .x_desc("step")
        .x_labels(6)
        .y_labels(6)
        .x_label_formatter(&|step| format!("{step:.0}"))
        .y_label_formatter(&|value| format!("{}", (value * 1e9).round() / 1e9))
        .light_line_style(TRANSPARENT)
        .bold_line_style(RULE)
        .axis_style(RULE)
        .label_style(("sans-serif", 12, &INK))
        .draw()?;
    for (name, colour, points) in series {
        let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
        let drawn = chart.draw_series(line)?;
        if !name.is_empty() {
            let colour = *colour;
            drawn.label(*name).legend(move |(x, y)| {
                PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2))
            });
        }
    }
    if series.iter().any(|(name, _, _)| !name.is_empty()) {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .label_font(("sans-serif", 12, &INK))
            .draw()?;
    }
    drop(chart);
    area.present()?;
    Ok(())
}
