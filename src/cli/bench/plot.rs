//! A sweep as a picture: speed, and share of the machine's peak, against a parameter.

use std::collections::BTreeMap;
use std::ops::Range;

use nin::Number;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::figures::Figures;
use crate::cli::amounts::grouped;
use crate::cli::palette::{COLOURS, INK, MUTED, RULE, name_lines};
use crate::cli::tuned::cpu;
use crate::cli::variants::{Axis, titled};

const SIZE: (u32, u32) = (760, 640);
/// Height of the title and what is under it.
const HEAD: u32 = 64;

/// A variant's value on the horizontal axis, and its figures.
type Point<'f> = (f64, &'f Figures);

/// The lines of both panels, each with its name.
struct Lines<'f> {
    /// What the horizontal axis shows.
    name: String,
    lines: Vec<(String, Vec<Point<'f>>)>,
}

impl<'f> Lines<'f> {
    /// The longest list of values lies on the horizontal axis; each combination of the others is a line.
    fn new(axes: &[Axis], variants: &[(&[Number], &'f Figures)]) -> Lines<'f> {
        let longest = axes.iter().map(|axis| axis.values.len()).max();
        let across = axes.iter().position(|axis| Some(axis.values.len()) == longest).unwrap_or(0);
        let without = |values: &[Number]| {
            let mut values = values.to_vec();
            values.remove(across);
            values
        };
        let others: Vec<Axis> = axes
            .iter()
            .enumerate()
            .filter(|&(at, _)| at != across)
            .map(|(_, axis)| axis.clone())
            .collect();
        let mut order: Vec<String> = vec![];
        let mut lines: BTreeMap<String, Vec<Point<'f>>> = BTreeMap::new();
        for &(values, figures) in variants {
            let name = titled(&others, &without(values));
            if !order.contains(&name) {
                order.push(name.clone());
            }
            lines.entry(name).or_default().push((values[across].as_f64(), figures));
        }
        let sorted = |name: String| {
            let mut points = lines.remove(&name).unwrap_or_default();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            (name, points)
        };
        Lines { name: axes[across].name.clone(), lines: order.into_iter().map(sorted).collect() }
    }

    fn points(&self) -> impl Iterator<Item = &Point<'f>> {
        self.lines.iter().flat_map(|(_, points)| points)
    }

    fn across(&self) -> Across {
        let mut values: Vec<f64> = self.points().map(|point| point.0).collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        let (least, most) = (values[0], values[values.len() - 1]);
        let span = if most > least { most - least } else { least.abs().max(1.0) };
        let apart = values.windows(2).all(|pair| pair[1] - pair[0] >= 0.05 * span);
        let range = least - 0.05 * span..most + 0.05 * span;
        Across { range: range.into(), named: apart.then_some(values) }
    }
}

/// A horizontal axis that names the values of the sweep, if they stand apart.
struct Across {
    range: RangedCoordf64,
    named: Option<Vec<f64>>,
}

impl Ranged for Across {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.range.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        self.named.clone().unwrap_or_else(|| self.range.key_points(hint))
    }

    fn range(&self) -> Range<f64> {
        self.range.range()
    }
}

/// The picture, as SVG.
pub(super) fn plot(axes: &[Axis], variants: &[(&[Number], &Figures)]) -> anyhow::Result<String> {
    let mut svg = String::new();
    let page = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    draw(&page, axes, variants)?;
    page.present()?;
    drop(page);
    Ok(svg)
}

fn draw(page: &Area<'_>, axes: &[Axis], variants: &[(&[Number], &Figures)]) -> anyhow::Result<()> {
    let lines = Lines::new(axes, variants);
    page.fill(&WHITE)?;
    let (head, body) = page.split_vertically(HEAD);
    if let Some((_, figures)) = variants.first() {
        let busy = variants.iter().any(|(_, figures)| figures.why_busy().is_some());
        title(&head, figures, busy)?;
    }
    let (above, below) = body.split_vertically((SIZE.1 - HEAD) / 2);
    let mut speed = panel(&above, &lines, "images/s", |figures| figures.images_per_s)?;
    panel(&below, &lines, "% of peak, nominal", Figures::percent_of_peak)?;
    name_lines(&mut speed, lines.lines.len())
}

type Area<'s> = DrawingArea<SVGBackend<'s>, Shift>;
type Panel<'a, 's> = ChartContext<'a, SVGBackend<'s>, Cartesian2d<Across, RangedCoordf64>>;

fn title(head: &Area<'_>, figures: &Figures, busy: bool) -> anyhow::Result<()> {
    let anchor = Pos::new(HPos::Left, VPos::Top);
    let large = ("sans-serif", 19).into_font().style(FontStyle::Bold).color(&INK).pos(anchor);
    let small = ("sans-serif", 13).into_font().color(&MUTED).pos(anchor);
    head.draw_text(&figures.heading(), &large, (20, 16))?;
    let busy = if busy { "; the machine was busy: these figures say little" } else { "" };
    head.draw_text(&format!("{}{busy}", cpu()), &small, (20, 42))?;
    Ok(())
}

/// One figure of every variant.
fn panel<'a, 's>(
    area: &'a Area<'s>,
    lines: &Lines<'_>,
    what: &str,
    figure: impl Fn(&Figures) -> f64,
) -> anyhow::Result<Panel<'a, 's>> {
    let top = lines.points().map(|point| figure(point.1)).fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin_left(12)
        .margin_right(24)
        .margin_top(8)
        .set_label_area_size(LabelAreaPosition::Left, 68)
        .set_label_area_size(LabelAreaPosition::Bottom, 46)
        .build_cartesian_2d(lines.across(), 0.0..1.12 * top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(RULE)
        .light_line_style(TRANSPARENT)
        .axis_style(MUTED)
        .x_labels(8)
        .y_labels(6)
        .x_label_formatter(&|value| short(*value))
        .y_label_formatter(&|value| short(*value))
        .x_desc(&lines.name)
        .y_desc(what)
        .label_style(("sans-serif", 13).into_font().color(&MUTED))
        .axis_desc_style(("sans-serif", 14).into_font().color(&INK))
        .draw()?;
    for ((name, points), &colour) in lines.lines.iter().zip(COLOURS.iter().cycle()) {
        let places = || points.iter().map(|&(value, figures)| (value, figure(figures)));
        let line = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(places(), line))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], line));
        chart.draw_series(places().map(|place| Circle::new(place, 4, colour.filled())))?;
    }
    Ok(chart)
}

/// A number as short as it can be told.
fn short(value: f64) -> String {
    if value.fract() == 0.0 && (0.0..1e15).contains(&value) {
        grouped(value as u64)
    } else {
        format!("{}", (value * 1e6).round() / 1e6)
    }
}
