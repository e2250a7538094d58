//! A sweep as a picture: test error over the epochs, a thin line a run and a thick one for each variant's mean.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Variant, spread};
use crate::cli::palette::{COLOURS, INK, MUTED, RULE, name_lines};

const SIZE: (u32, u32) = (760, 460);
/// Height of the plot beside that of its highest line: the names stand above.
const HEADROOM: f64 = 1.3;

/// The picture, as SVG.
pub(super) fn plot(data: &str, variants: &[Variant]) -> anyhow::Result<String> {
    let mut svg = String::new();
    let page = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    page.fill(&WHITE)?;
    let runs = || variants.iter().flat_map(|variant| &variant.runs);
    let epochs = runs().map(|run| run.errors.len()).max().unwrap_or(1);
    // What is far above the last errors are the first epochs of runs that have hardly begun.
    let last = runs().filter_map(|run| run.errors.last()).fold(0.0, |most: f64, &x| most.max(x));
    let first = runs().flat_map(|run| &run.errors).fold(0.0, |most: f64, &x| most.max(x));
    let top = 100.0 * first.min(4.0 * last).max(1e-4);
    let title = ("sans-serif", 17).into_font().color(&INK).pos(Pos::new(HPos::Left, VPos::Top));
    page.draw_text(&format!("test error on {data}"), &title, (16, 12))?;
    let mut chart = ChartBuilder::on(&page)
        .margin_top(44)
        .margin_right(20)
        .margin_left(8)
        .margin_bottom(4)
        .set_label_area_size(LabelAreaPosition::Left, 60)
        .set_label_area_size(LabelAreaPosition::Bottom, 44)
        .build_cartesian_2d(1.0..(epochs as f64).max(1.5), 0.0..HEADROOM * top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(RULE)
        .light_line_style(TRANSPARENT)
        .axis_style(MUTED)
        .x_labels(epochs.min(12))
        .x_label_formatter(&|epoch| format!("{epoch:.0}"))
        .x_desc("epoch")
        .y_label_formatter(&|error| format!("{error}"))
        .y_desc("%")
        .label_style(("sans-serif", 13).into_font().color(&MUTED))
        .draw()?;
    for (Variant { title, runs, .. }, &colour) in variants.iter().zip(COLOURS.iter().cycle()) {
        let place = |(epoch, error): (usize, f64)| ((epoch + 1) as f64, (100.0 * error).min(top));
        for run in runs.iter().filter(|_| runs.len() > 1) {
            let points = run.errors.iter().copied().enumerate().map(place);
            chart.draw_series(LineSeries::new(points, colour.mix(0.3).stroke_width(1)))?;
        }
        let mean = |epoch: usize| {
            let errors: Vec<f64> =
                runs.iter().filter_map(|run| run.errors.get(epoch)).copied().collect();
            spread(&errors).0
        };
        let length = runs.iter().map(|run| run.errors.len()).max().unwrap_or(0);
        let points: Vec<(f64, f64)> =
            (0..length).map(|epoch| place((epoch, mean(epoch)))).collect();
        let drawn =
            chart.draw_series(LineSeries::new(points, colour.stroke_width(3)).point_size(2))?;
        drawn
            .label(title.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
    }
    name_lines(&mut chart, variants.len())?;
    page.present()?;
    drop(chart);
    drop(page);
    Ok(svg)
}
