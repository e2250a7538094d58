//! The page: the network, its name above it, and figures and the colours' meanings below.

use std::collections::BTreeSet;

use nin::Graph;

use super::chain::run;
use super::layout::{Layout, TURN};
use super::look::Look;
use super::measure::{TEXT, text_width};
use super::pen::{Escaped, N, cut, line};
use super::scene::{Part, field, has_joins, written};
use crate::cli::amounts::{bytes, grouped};

const MARGIN: f64 = 24.0;
/// No picture is narrower: the figures below it need room.
const NARROWEST: f64 = 460.0;
/// Between two lines of text.
const LEADING: f64 = 18.0;
const TITLE: f64 = 19.0;

const STYLE: &str = "\
svg { font: 12px 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif; }
text { fill: #1f2730; } .title { font-size: 19px; font-weight: 600; } .shape { font-weight: 600; }
.muted { fill: #616d7a; } .label { fill: #4a5561; font-weight: 600; } .mid { text-anchor: middle; }
.paper { fill: #ffffff; stroke: #d9dee4; } .pill { fill: #ffffff; stroke: #77828e; stroke-dasharray: 3 2; }
.inside { stroke: none; } .layer.inside { fill: #eef3f9; } .group.inside { fill: #77828e; fill-opacity: .07; }
.edge { fill: none; } .layer.edge { stroke: #a9bad0; } .group.edge { stroke: #8c97a3; stroke-dasharray: 6 4; }
.arrow { fill: none; stroke: #4a5561; stroke-width: 1.4; } .head, .dot { fill: #4a5561; }
.solid { stroke: #1f2730; stroke-opacity: .65; stroke-width: .9; stroke-linejoin: round; }
.lit { fill: #ffffff; fill-opacity: .38; } .dim { fill: #000000; fill-opacity: .16; }
@media (prefers-color-scheme: dark) {
text { fill: #e4e8ed; } .muted { fill: #9aa6b3; } .label { fill: #b6c1cd; }
.paper { fill: #15191e; stroke: #303842; } .pill { fill: #15191e; stroke: #8c97a3; }
.layer.inside { fill: #1d2530; } .group.inside { fill: #aab4bf; }
.layer.edge { stroke: #4a5d76; } .group.edge { stroke: #66717d; }
.arrow { stroke: #b6c1cd; } .head, .dot { fill: #b6c1cd; } .solid { stroke: #0b0d10; stroke-opacity: .8; }
}
";

/// What a picture with joins has besides.
const JOIN_STYLE: &str = "\
.join { fill: #ffffff; stroke: #4a5561; stroke-width: 1.4; } .sign { font-size: 17px; font-weight: 600; }
@media (prefers-color-scheme: dark) { .join { fill: #15191e; stroke: #b6c1cd; } }
";

/// The whole picture.
pub(super) fn page(graph: &Graph, parts: &[Part], layout: &Layout<'_>) -> String {
    let turn = if layout.rows.len() > 1 { TURN } else { 0.0 };
    let room = (layout.width + 2.0 * turn).max(NARROWEST - 2.0 * MARGIN).ceil();
    let mut above = String::new();
    let title = cut(graph.name(), room * TEXT / TITLE);
    let mut y = MARGIN + 14.0;
    let title = format!(r#"<text class="title" x="{MARGIN}" y="{y}">{}</text>"#, Escaped(&title));
    line(&mut above, &title);
    let params = graph.params().iter().map(|(name, value)| format!("{name} = {value}"));
    y = flow(&mut above, params, y + 6.0, room);
    let (left, top) = (MARGIN + (room - layout.width) / 2.0, y + 16.0);
    let mut below = String::new();
    y = flow(&mut below, figures(graph), top + layout.height + 14.0, room);
    y = legend(&mut below, parts, y + 4.0, room);
    let (width, height) = (room + 2.0 * MARGIN, (y + MARGIN - 6.0).ceil());
    let mut out = String::new();
    let size = format!(r#"viewBox="0 0 {width} {height}" width="{width}" height="{height}""#);
    line(&mut out, &format!(r#"<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">"#));
    line(&mut out, &format!("<title>{}</title>", Escaped(&said(graph))));
    let joins = if has_joins(parts) { JOIN_STYLE } else { "" };
    line(&mut out, &format!("<style>\n{STYLE}{joins}</style>"));
    let (width, height) = (width - 1.0, height - 1.0);
    let size = format!(r#"x="0.5" y="0.5" width="{width}" height="{height}" rx="8""#);
    line(&mut out, &format!(r#"<rect class="paper" {size}/>"#));
    out += &above;
    line(&mut out, &format!(r#"<g transform="translate({} {})">"#, N(left), N(top)));
    run(&mut out, layout, false);
    line(&mut out, "</g>");
    out + &below + "</svg>\n"
}

/// The picture in a sentence, for those who hear it.
fn said(graph: &Graph) -> String {
    /// Of more layers only the number is said.
    const MOST: usize = 40;
    let (input, output) = (written(graph.input()), written(graph.output()));
    let words: Vec<&str> = graph.layers().iter().map(|layer| layer.word).collect();
    let layers = match words.len() {
        0..=MOST => words.join(", "),
        count => format!("{count} layers"),
    };
    format!("{}, from {input} to {output}: {layers}", graph.name())
}

fn figures(graph: &Graph) -> impl Iterator<Item = String> {
    let activations = graph.layers().iter().map(|layer| layer.facts.activation_bytes).sum();
    let sees = graph.layers().last().map_or([1; 2], |layer| layer.facts.receptive_field);
    let figures = [
        format!("{} parameters", grouped(graph.params_total())),
        format!("{} multiply-accumulates", grouped(graph.macs_total())),
        format!("{} of activations", bytes(activations)),
        format!("receptive field {}", field(sees)),
    ];
    figures.into_iter()
}

/// Writes texts side by side, in lines no wider than `room`, below `y`; returns the last line's `y`.
fn flow(out: &mut String, texts: impl Iterator<Item = String>, y: f64, room: f64) -> f64 {
    let mut lines: Vec<String> = vec![];
    for text in texts {
        match lines.last_mut() {
            Some(line) if text_width(line) + text_width(" · ") + text_width(&text) <= room => {
                *line = format!("{line} · {text}");
            }
            _ => lines.push(text),
        }
    }
    lines.iter().fold(y, |y, text| {
        let (y, text) = (y + LEADING, cut(text, room));
        let (at, text) = (N(y), Escaped(&text));
        line(out, &format!(r#"<text class="muted" x="{MARGIN}" y="{at}">{text}</text>"#));
        y
    })
}

/// Says what the colours mean, below `y`; returns the last line's `y`.
fn legend(out: &mut String, parts: &[Part], y: f64, room: f64) -> f64 {
    /// From a colour to its name.
    const NAME: f64 = 16.0;
    let mut looks = BTreeSet::new();
    collect(parts, &mut looks);
    let (mut x, mut y) = (0.0, y + LEADING);
    for look in looks {
        let width = NAME + text_width(look.name()) + 12.0;
        if x > 0.0 && x + width > room {
            (x, y) = (0.0, y + LEADING);
        }
        let place = format!(r#"x="{}" y="{}""#, N(MARGIN + x), N(y - 9.5));
        let fill = look.colour();
        let swatch = r#"class="solid" width="10" height="10" rx="2""#;
        line(out, &format!(r#"<rect {swatch} {place} fill="{fill}"/>"#));
        let (at, y, name) = (N(MARGIN + x + NAME), N(y), look.name());
        line(out, &format!(r#"<text class="muted" x="{at}" y="{y}">{name}</text>"#));
        x += width;
    }
    y
}

fn collect(parts: &[Part], looks: &mut BTreeSet<Look>) {
    for part in parts {
        match part {
            Part::Volume(volume) => {
                looks.insert(volume.look);
                looks.extend(&volume.bands);
            }
            Part::Mark(_) => {}
            Part::Frame(frame) => collect(&frame.parts, looks),
            Part::Join(join) => join.branches.iter().for_each(|parts| collect(parts, looks)),
        }
    }
}
