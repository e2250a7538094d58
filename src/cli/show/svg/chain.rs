//! The network itself, in its places: frames, volumes, arrows, and what is written on them.

use super::join::{self, leaves};
use super::layout::{FramePiece, Layout, Placed, Row, TURN};
use super::measure::{PILL, Solid, What};
use super::pen::{Escaped, N, cut, line};
use super::scene::{FrameKind, Volume, written};

/// Draws parts in their places; an arrow may lead to the first and on from the last, as it does in a branch.
pub(super) fn run(out: &mut String, layout: &Layout<'_>, is_branch: bool) {
    // Outer frames lie behind inner ones.
    for piece in layout.frames.iter().rev() {
        frame(out, piece, layout.rows[piece.row].axis);
    }
    for placed in &layout.placed {
        if let What::Volume(drawn, solid) = placed.what {
            volume(out, drawn, solid, placed.left, layout.rows[placed.row].axis);
        }
    }
    arrows(out, layout, is_branch);
    for placed in &layout.placed {
        labels(out, placed, layout.rows[placed.row].axis);
    }
}

fn frame(out: &mut String, piece: &FramePiece<'_>, axis: f64) {
    let &FramePiece { frame, left, right, begins, ends, extent, .. } = piece;
    let top = axis - extent.up;
    let class = match frame.kind {
        FrameKind::Layer => "layer",
        FrameKind::Group => "group",
    };
    let (l, r, t, b) = (N(left), N(right), N(top), N(axis + extent.down));
    // It has no edge on a side where it goes on.
    let edge = match (begins, ends) {
        (true, true) => format!("M{l} {t}H{r}V{b}H{l}Z"),
        (true, false) => format!("M{r} {t}H{l}V{b}H{r}"),
        (false, true) => format!("M{l} {t}H{r}V{b}H{l}"),
        (false, false) => format!("M{l} {t}H{r}M{l} {b}H{r}"),
    };
    line(out, &format!("<g><title>{}</title>", Escaped(&frame.note)));
    line(out, &format!(r#"<path class="{class} inside" d="M{l} {t}H{r}V{b}H{l}Z"/>"#));
    line(out, &format!(r#"<path class="{class} edge" d="{edge}"/>"#));
    let label = if begins { frame.label.clone() } else { format!("… {}", frame.label) };
    let label = cut(&label, right - left - 16.0);
    let (x, y, label) = (N(left + 8.0), N(top + 16.0), Escaped(&label));
    line(out, &format!(r#"<text class="label" x="{x}" y="{y}">{label}</text></g>"#));
}

/// Front, top and side, and the bands just before the front's right end.
fn volume(out: &mut String, volume: &Volume, solid: Solid, left: f64, axis: f64) {
    /// What of the volume is seen behind its bands.
    const LAST: f64 = 2.5;
    let top = axis + solid.half() - solid.height;
    let (l, r) = (N(left), N(left + solid.front()));
    let (t, b) = (N(top), N(top + solid.height));
    let (front, height) = (N(solid.front()), N(solid.height));
    let (over, up) = (N(solid.back.0), N(solid.back.1));
    let fill = volume.look.colour();
    line(out, &format!("<g><title>{}</title>", Escaped(&volume.note)));
    line(
        out,
        &format!(
            r#"<path class="solid" fill="{fill}" d="M{l} {b}V{t}l{over} -{up}h{front}v{height}l-{over} {up}Z"/>"#
        ),
    );
    let mut band_left = left + solid.thick - LAST;
    for band in &volume.bands {
        let (fill, l, w) = (band.colour(), N(band_left), N(solid.band));
        line(
            out,
            &format!(
                r#"<path class="solid" fill="{fill}" d="M{l} {b}V{t}l{over} -{up}h{w}l-{over} {up}V{b}Z"/>"#
            ),
        );
        band_left += solid.band;
    }
    line(out, &format!(r#"<path class="lit" d="M{l} {t}l{over} -{up}h{front}l-{over} {up}Z"/>"#));
    line(out, &format!(r#"<path class="dim" d="M{r} {b}V{t}l{over} -{up}v{height}Z"/></g>"#));
}

/// Where an arrow begins.
#[derive(Clone, Copy)]
struct Start {
    x: f64,
    row: usize,
    /// Whether a dot marks it.
    dot: bool,
}

/// The arrows from volume to volume, through the steps between them.
fn arrows(out: &mut String, layout: &Layout<'_>, is_branch: bool) {
    let mut from = is_branch.then_some(Start { x: 0.0, row: 0, dot: false });
    for (i, placed) in layout.placed.iter().enumerate() {
        let is_last = i + 1 == layout.placed.len() && !is_branch;
        let (to, leave, dot) = match placed.what {
            What::Volume(_, solid) => {
                // Where the axis meets the left edge, which slants where the volume is flat.
                let slant = ((solid.back.1 - solid.height) / 2.0).max(0.0) / solid.back.1;
                (placed.left + slant * solid.back.0, placed.right - solid.back.0 / 2.0, true)
            }
            What::Join(join) => (placed.left, leaves(join, placed.right), false),
            What::Mark(_) if is_last => (placed.left, placed.right, true),
            What::Mark(_) => continue,
        };
        let has_head = matches!(placed.what, What::Volume(..));
        if let Some(start) = from {
            let short = if matches!(placed.what, What::Join(_)) { 0.0 } else { 3.0 };
            arrow(out, layout, start, (to - short, placed.row));
            if has_head {
                let (x, y) = (N(to), N(layout.rows[placed.row].axis));
                line(out, &format!(r#"<path class="head" d="M{x} {y}l-8 -3.6v7.2Z"/>"#));
            }
        }
        from = Some(Start { x: leave, row: placed.row, dot });
    }
    // From the last of a branch to where the branch ends, and from a join to where what is written behind it ends.
    let ends_in_join = layout.placed.last().is_some_and(|last| matches!(last.what, What::Join(_)));
    if let Some(start) = from.filter(|_| is_branch || ends_in_join) {
        let row = layout.rows.len() - 1;
        let end = if is_branch { layout.width } else { layout.rows[row].right };
        arrow(out, layout, start, (end, row));
    }
}

/// From its start to a place on the same row or one below.
fn arrow(out: &mut String, layout: &Layout<'_>, start: Start, (to, row): (f64, usize)) {
    let rows = &layout.rows[start.row..=row];
    let (cx, cy) = (N(start.x), N(rows[0].axis));
    let path = format!("M{cx} {cy}{}H{}", turns(rows), N(to));
    line(out, &format!(r#"<path class="arrow" d="{path}"/>"#));
    if start.dot {
        line(out, &format!(r#"<circle class="dot" cx="{cx}" cy="{cy}" r="2"/>"#));
    }
}

/// The way from each row to the next: right, down, left between the two, and down again.
fn turns(rows: &[Row]) -> String {
    /// Of the corners.
    const RADIUS: f64 = 7.0;
    let r = N(RADIUS);
    let turn = |pair: &[Row]| {
        let right = N(pair[0].right + 0.75 * TURN - RADIUS);
        let left = N(RADIUS - 0.75 * TURN);
        let (between, next) = (N(pair[0].below() - RADIUS), N(pair[1].axis - RADIUS));
        format!(
            "H{right}q{r} 0 {r} {r}V{between}q0 {r} -{r} {r}H{left}q-{r} 0 -{r} {r}V{next}q0 {r} {r} {r}"
        )
    };
    rows.windows(2).map(turn).collect()
}

/// What is written above, below and on the arrow, and below the volume.
fn labels(out: &mut String, placed: &Placed<'_>, axis: f64) {
    let middle = (placed.left + placed.right) / 2.0;
    let mut text = |class: &str, x: f64, y: f64, text: &str| {
        if !text.is_empty() {
            let (x, y, text) = (N(x), N(y), Escaped(text));
            line(out, &format!(r#"<text class="mid {class}" x="{x}" y="{y}">{text}</text>"#));
        }
    };
    match placed.what {
        What::Volume(volume, solid) => {
            let on_arrow = (placed.gap.0 + placed.gap.1) / 2.0;
            text("op", on_arrow, axis - 7.0, &volume.above);
            text("muted", on_arrow, axis + 17.0, &volume.below);
            let bottom = axis + solid.half();
            text("shape", middle, bottom + 16.0, &written(volume.shape));
            text("muted", middle, bottom + 31.0, &volume.name);
        }
        What::Mark(step) => {
            let (x, y) = (N(placed.left), N(axis - PILL));
            let (w, h) = (N(placed.right - placed.left), N(2.0 * PILL));
            let pill = format!(
                r#"<rect class="pill" x="{x}" y="{y}" width="{w}" height="{h}" rx="{PILL}"/>"#
            );
            line(out, &format!("<g><title>{}</title>{pill}", Escaped(&step.note)));
            let (x, y, text) = (N(middle), N(axis + 4.0), Escaped(&step.text));
            line(out, &format!(r#"<text class="mid op" x="{x}" y="{y}">{text}</text></g>"#));
        }
        What::Join(join) => join::join(out, join, (placed.left, axis)),
    }
}
