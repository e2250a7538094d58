//! Colours of drawings.

use plotters::style::RGBColor;

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
