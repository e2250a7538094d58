//! A sweep as a picture: test error over the epochs, a thin line a run and a thick one for each variant's mean.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Variant, spread};
use crate::cli::palette::{COLOURS, INK, MUTED, RULE, name_lines};
use crate::cli::visible::visible;

const SIZE: (u32, u32) = (760, 460);
/// Height of the plot beside that of its highest line: the names stand above.
const HEADROOM: f64 = 1.3;
/// Times its lowest place that the axis reaches at least, so that it has several ticks.
const REACH: f64 = 5.0;

/// A logarithmic axis of errors in percent. The first epochs of a run err fifty times as often as its last: both can be read.
#[derive(Debug, PartialEq)]
struct Errors {
    /// Where an error of 0 lies, if there is one: below all others, on the lowest tick.
    zero: Option<f64>,
    bottom: f64,
    top: f64,
}

impl Errors {
    /// An axis that holds every one of these shares.
    fn holding(errors: impl Iterator<Item = f64> + Clone) -> Errors {
        let above = errors.clone().filter(|&error| error > 0.0).map(|error| 100.0 * error);
        let most = above.clone().fold(0.0, f64::max);
        let top = if most > 0.0 { 1.1 * most } else { 100.0 };
        let least = above.fold(top, f64::min);
        let zero = errors.into_iter().any(|error| error <= 0.0).then_some(least / 2.5);
        let bottom = zero.unwrap_or(least / 1.1).min(top / REACH);
        Errors { zero: zero.map(|_| bottom), bottom, top }
    }

    /// The place of an error, a share.
    fn place(&self, error: f64) -> f64 {
        if error > 0.0 { 100.0 * error } else { self.bottom }
    }

    /// 1, 2 and 5, and these by powers of ten.
    fn ticks(&self) -> Vec<f64> {
        let tick = |decade: i32| [1.0, 2.0, 5.0].map(|first| first * 10_f64.powi(decade));
        let ticks = (-6..=2).flat_map(tick);
        let lowest = self.zero.map_or(self.bottom, |zero| 1.5 * zero);
        let inside = ticks.filter(|tick| (lowest..=self.range().end.min(100.0)).contains(tick));
        self.zero.into_iter().chain(inside).collect()
    }

    fn label(&self, tick: f64) -> String {
        if Some(tick) == self.zero {
            "0".to_owned()
        } else {
            format!("{}", (tick * 1e6).round() / 1e6)
        }
    }

    /// With room above for the names.
    fn range(&self) -> std::ops::Range<f64> {
        self.bottom..self.bottom * (self.top / self.bottom).powf(HEADROOM)
    }
}

/// The picture, as SVG.
pub(super) fn plot(data: &str, variants: &[Variant]) -> anyhow::Result<String> {
    let mut svg = String::new();
    let page = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    page.fill(&WHITE)?;
    let runs = || variants.iter().flat_map(|variant| &variant.runs);
    let epochs = runs().map(|run| run.errors.len()).max().unwrap_or(1);
    let axis = Errors::holding(runs().flat_map(|run| &run.errors).copied());
    let title = ("sans-serif", 17).into_font().color(&INK).pos(Pos::new(HPos::Left, VPos::Top));
    page.draw_text(&format!("test error on {}", visible(data)), &title, (16, 12))?;
    let mut chart = ChartBuilder::on(&page)
        .margin_top(44)
        .margin_right(20)
        .margin_left(8)
        .margin_bottom(4)
        .set_label_area_size(LabelAreaPosition::Left, 60)
        .set_label_area_size(LabelAreaPosition::Bottom, 44)
        .build_cartesian_2d(
            1.0..(epochs as f64).max(1.5),
            axis.range().log_scale().with_key_points(axis.ticks()),
        )?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(RULE)
        .light_line_style(TRANSPARENT)
        .axis_style(MUTED)
        .x_labels(epochs.min(12))
        .x_label_formatter(&|epoch| format!("{epoch:.0}"))
        .x_desc("epoch")
        .y_label_formatter(&|&tick| axis.label(tick))
        .y_desc("%, logarithmic")
        .label_style(("sans-serif", 13).into_font().color(&MUTED))
        .draw()?;
    for (Variant { title, runs, .. }, &colour) in variants.iter().zip(COLOURS.iter().cycle()) {
        let place = |(epoch, error): (usize, f64)| ((epoch + 1) as f64, axis.place(error));
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

#[cfg(test)]
mod tests {
    use nin::Model;

    use super::*;
    use crate::cli::sweep::Run;

    #[test]
    fn the_axis_holds_every_error() {
        for errors in [vec![0.9, 0.02], vec![0.9], vec![0.0], vec![0.9, 0.0, 0.0005], vec![]] {
            let axis = Errors::holding(errors.iter().copied());
            let range = axis.range();
            for &error in &errors {
                assert!(range.contains(&axis.place(error)), "{errors:?}: {axis:?}");
            }
            let ticks = axis.ticks();
            assert!(ticks.len() > 1 && ticks.iter().all(|tick| range.contains(tick)), "{ticks:?}");
            let zeros = ticks.iter().filter(|&&tick| axis.label(tick) == "0").count();
            assert_eq!(zeros, usize::from(errors.contains(&0.0)), "{errors:?}: {ticks:?}");
        }
        assert_eq!(
            Errors::holding([0.9, 0.02].into_iter()).ticks(),
            [2.0, 5.0, 10.0, 20.0, 50.0, 100.0]
        );
    }

    /// 72 % and 60 % were both drawn at an edge at 46 %.
    #[test]
    fn errors_that_differ_are_drawn_at_different_heights() {
        let model = Model::from_text("m", "< input(1, 4, 4) gap softmax >", &[]).unwrap();
        let errors = [0.72, 0.6, 0.4, 0.1, 0.0201, 0.02];
        let runs = vec![Run { errors: errors.to_vec(), seconds: 1.0 }];
        let variant = Variant { title: "m".to_owned(), model, runs };
        let svg = plot("data", &[variant]).unwrap();
        let heights: Vec<i32> = svg
            .split("<circle ")
            .skip(1)
            .map(|circle| circle.split("cy=\"").nth(1).unwrap().split('"').next().unwrap())
            .map(|height| height.parse().unwrap())
            .collect();
        assert_eq!(heights.len(), errors.len());
        assert!(heights[..5].is_sorted_by(|above, below| above < below), "{heights:?}");
        assert!(heights[0] > 44, "{heights:?}: above the plot");
    }
}
