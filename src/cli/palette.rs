//! What drawings have in common: colours, and the names of lines.

use plotters::coord::ranged1d::Ranged;
use plotters::prelude::*;

pub(crate) const INK: RGBColor = RGBColor(31, 39, 48);
pub(crate) const MUTED: RGBColor = RGBColor(97, 109, 122);
pub(crate) const RULE: RGBColor = RGBColor(226, 230, 235);
/// Colours that people who see few colours can tell apart; a ninth line begins again.
pub(crate) const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(110, 80, 160),
    RGBColor(90, 90, 90),
];

/// Most lines that are named; more are told apart by the table alone, since their names would hide them.
const MOST_NAMED: usize = 16;

/// Names the lines of a chart beside their colours, if there are several but not too many.
pub(crate) fn name_lines<'a, 's: 'a, X: Ranged, Y: Ranged>(
    chart: &mut ChartContext<'a, SVGBackend<'s>, Cartesian2d<X, Y>>,
    lines: usize,
) -> anyhow::Result<()> {
    if (2..=MOST_NAMED).contains(&lines) {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.85))
            .border_style(RULE)
            .label_font(("sans-serif", 13).into_font().color(&MUTED))
            .draw()?;
    }
    Ok(())
}
