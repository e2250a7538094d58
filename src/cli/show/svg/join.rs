//! Joins: a fork, branches below one another, and behind them the sign of what makes one value of theirs.

use super::chain::run;
use super::layout::{Layout, TURN, place_branch, widest};
use super::measure::{Extent, INSIDE, OUTSIDE, TEXT, text_width};
use super::pen::{Escaped, N, line};
use super::scene::{Join, Part, written};

/// From the fork to the widest branch.
const FORK: f64 = 16.0;
/// From the widest branch to the sign.
const MERGE: f64 = 18.0;
/// Between two branches.
const BETWEEN: f64 = 12.0;
/// What a branch without parts takes above and below it, and to the right at least.
const BARE: (f64, f64) = (8.0, 30.0);
/// Of the corners.
const RADIUS: f64 = 7.0;
/// Of an arrow's head.
const HEAD: f64 = 8.0;
/// The sign's half height.
const SIGN: f64 = 11.0;
/// A branch is given this much room, however deep it stands.
const LEAST_ROOM: f64 = 320.0;

/// What a join takes with its branches.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Footprint {
    pub(super) width: f64,
    pub(super) extent: Extent,
    /// How wide the rows of its branches may be.
    room: f64,
}

/// Finds the size of every join of a picture, from the inside out.
pub(super) fn measure(parts: &mut [Part]) {
    let room = widest(parts);
    measure_in(parts, room);
}

/// The same; `room` is how wide a row may be.
fn measure_in(parts: &mut [Part], room: f64) {
    for part in parts {
        match part {
            Part::Volume(_) | Part::Mark(_) => {}
            Part::Frame(frame) => measure_in(&mut frame.parts, room - 2.0 * (INSIDE + OUTSIDE)),
            Part::Join(join) => {
                let beside = FORK + MERGE + right_of_centre(join) + half(join);
                join.footprint.room = (room - beside).max(LEAST_ROOM);
                join.branches.iter_mut().for_each(|parts| measure_in(parts, join.footprint.room));
                let Lanes { centre, extent, .. } = Lanes::of(join);
                let width = centre + right_of_centre(join);
                join.footprint = Footprint { width, extent, ..join.footprint };
            }
        }
    }
}

/// Half of the sign's width.
fn half(join: &Join) -> f64 {
    match join.sign.chars().count() {
        1 => SIGN,
        _ => text_width(join.sign) / 2.0 + 8.0,
    }
}

/// Half of the sign, and what is written behind it.
fn right_of_centre(join: &Join) -> f64 {
    half(join) + text_width(&written(join.shape)).max(text_width(&join.name)) + 12.0
}

/// The branches in their places: across from the join's left edge, and down from its axis.
#[derive(Debug)]
pub(super) struct Lanes<'s> {
    pub(super) lanes: Vec<Lane<'s>>,
    /// The sign's middle.
    pub(super) centre: f64,
    extent: Extent,
}

/// A branch.
#[derive(Debug)]
pub(super) struct Lane<'s> {
    /// Its parts, if it has any.
    pub(super) layout: Option<Layout<'s>>,
    pub(super) left: f64,
    pub(super) width: f64,
    pub(super) top: f64,
    pub(super) height: f64,
    /// Where what it reads goes in, and where its result comes out.
    pub(super) entry: f64,
    exit: f64,
}

impl<'s> Lanes<'s> {
    pub(super) fn of(join: &'s Join) -> Lanes<'s> {
        let mut y = 0.0;
        let mut lanes: Vec<Lane<'s>> = vec![];
        for parts in &join.branches {
            let lane = Lane::of(parts, join.footprint.room, y);
            y += lane.height + BETWEEN;
            lanes.push(lane);
        }
        let widest = lanes.iter().map(|lane| lane.width + 2.0 * lane.turn()).fold(0.0, f64::max);
        let axis = axis(&lanes);
        for lane in &mut lanes {
            lane.left = FORK + (widest - lane.width) / 2.0;
            lane.top -= axis;
            lane.entry -= axis;
            lane.exit -= axis;
        }
        let least = 2.0 * TEXT;
        let extent = Extent { up: axis.max(least), down: (y - BETWEEN - axis).max(least) };
        Lanes { lanes, centre: FORK + widest + MERGE + half(join), extent }
    }
}

/// The height at which a join is entered and left: of its only branch with parts, or in the middle.
fn axis(lanes: &[Lane<'_>]) -> f64 {
    let mut with_parts = lanes.iter().filter(|lane| lane.layout.is_some());
    if let (Some(only), None) = (with_parts.next(), with_parts.next()) {
        return only.entry;
    }
    let middle = (lanes[0].entry + lanes[lanes.len() - 1].entry) / 2.0;
    // A line that is nearly straight had better be straight.
    let near = |lane: &&Lane<'_>| (lane.entry - middle).abs() < 2.0 * RADIUS;
    lanes.iter().find(near).map_or(middle, |lane| lane.entry)
}

impl<'s> Lane<'s> {
    fn of(parts: &'s [Part], room: f64, top: f64) -> Lane<'s> {
        if parts.is_empty() {
            let (half, width) = BARE;
            let y = top + half;
            return Lane {
                layout: None,
                left: 0.0,
                width,
                top,
                height: 2.0 * half,
                entry: y,
                exit: y,
            };
        }
        let layout = place_branch(parts, room);
        let (width, height) = (layout.width, layout.height);
        let [entry, exit] = [layout.rows.first(), layout.rows.last()]
            .map(|row| top + row.expect("parts stand in rows").axis);
        Lane { layout: Some(layout), left: 0.0, width, top, height, entry, exit }
    }

    /// Room on either side for the arrows from row to row.
    fn turn(&self) -> f64 {
        match &self.layout {
            Some(layout) if layout.rows.len() > 1 => TURN,
            Some(_) | None => 0.0,
        }
    }
}

/// Draws a join whose left edge on its axis is at this place.
pub(super) fn join(out: &mut String, join: &Join, (left, axis): (f64, f64)) {
    let lanes = Lanes::of(join);
    let (centre, half) = (lanes.centre, half(join));
    line(out, &format!(r#"<g transform="translate({} {})">"#, N(left), N(axis)));
    for lane in &lanes.lanes {
        if let Some(layout) = &lane.layout {
            let (x, y) = (N(lane.left), N(lane.top));
            line(out, &format!(r#"<g transform="translate({x} {y})">"#));
            run(out, layout, true);
            line(out, "</g>");
        }
        arrow(out, &way_in(lane));
        arrow(out, &way_out(lane, centre, half));
    }
    line(out, r#"<circle class="dot" cx="0" cy="0" r="2"/>"#);
    heads(out, &lanes, half);
    sign(out, join, centre, half);
    line(out, "</g>");
}

fn arrow(out: &mut String, path: &str) {
    line(out, &format!(r#"<path class="arrow" d="{path}"/>"#));
}

/// Where a line meets the sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Left,
    Above,
    Below,
}

impl Lane<'_> {
    fn side(&self) -> Side {
        // What comes from above or below needs room for a corner and a head.
        let needed = SIGN + HEAD + RADIUS;
        match self.exit {
            exit if exit <= -needed => Side::Above,
            exit if exit >= needed => Side::Below,
            _ => Side::Left,
        }
    }
}

/// From the fork to a branch.
fn way_in(lane: &Lane<'_>) -> String {
    // Where there is nothing on the way, the line goes on to the branch's end.
    let end = if lane.layout.is_some() { lane.left } else { lane.left + lane.width };
    let (x, y) = (N(end), N(lane.entry));
    if lane.entry.abs() < 0.05 {
        return format!("M0 0H{x}");
    }
    if lane.entry.abs() < 2.0 * RADIUS {
        let (middle, left) = (N(lane.left / 2.0), N(lane.left));
        return format!("M0 0C{middle} 0 {middle} {y} {left} {y}H{x}");
    }
    let corner = RADIUS.copysign(lane.entry);
    let (before, corner, r) = (N(lane.entry - corner), N(corner), N(RADIUS));
    format!("M0 0V{before}q0 {corner} {r} {corner}H{x}")
}

/// From a branch to the sign.
fn way_out(lane: &Lane<'_>, centre: f64, half: f64) -> String {
    let start = lane.left + lane.width;
    let (x, y) = (N(start), N(lane.exit));
    match lane.side() {
        Side::Left if lane.exit.abs() < 0.05 => format!("M{x} {y}H{}", N(centre - half - 3.0)),
        Side::Left => {
            let end = centre - half - 3.0;
            let (middle, end) = (N((start + end) / 2.0), N(end));
            format!("M{x} {y}C{middle} {y} {middle} 0 {end} 0")
        }
        Side::Above | Side::Below => {
            let (before, r) = (N(centre - RADIUS), N(RADIUS));
            let corner = N((-RADIUS).copysign(-lane.exit));
            let end = N((SIGN + 3.0).copysign(lane.exit));
            format!("M{x} {y}H{before}q{r} 0 {r} {corner}V{end}")
        }
    }
}

/// The heads of the lines that meet the sign, once on each side.
fn heads(out: &mut String, lanes: &Lanes<'_>, half: f64) {
    let (centre, left) = (N(lanes.centre), N(lanes.centre - half));
    for side in [Side::Left, Side::Above, Side::Below] {
        if lanes.lanes.iter().any(|lane| lane.side() == side) {
            let path = match side {
                Side::Left => format!("M{left} 0l-{HEAD} -3.6v7.2Z"),
                Side::Above => format!("M{centre} -{SIGN}l-3.6 -{HEAD}h7.2Z"),
                Side::Below => format!("M{centre} {SIGN}l-3.6 {HEAD}h7.2Z"),
            };
            line(out, &format!(r#"<path class="head" d="{path}"/>"#));
        }
    }
}

/// The sign, and the result's shape and the join's name behind it.
fn sign(out: &mut String, join: &Join, centre: f64, half: f64) {
    let (x, w, h) = (N(centre - half), N(2.0 * half), N(2.0 * SIGN));
    let is_word = join.sign.chars().count() > 1;
    let (class, down) = if is_word { ("op", 4.0) } else { ("sign", 6.0) };
    line(out, &format!("<g><title>{}</title>", Escaped(&join.note)));
    let place = format!(r#"x="{x}" y="-{SIGN}" width="{w}" height="{h}" rx="{SIGN}""#);
    line(out, &format!(r#"<rect class="join" {place}/>"#));
    let (x, y, text) = (N(centre), N(down), Escaped(join.sign));
    line(out, &format!(r#"<text class="mid {class}" x="{x}" y="{y}">{text}</text></g>"#));
    let x = N(centre + half + 6.0);
    let (shape, name) = (written(join.shape), Escaped(&join.name));
    line(out, &format!(r#"<text class="shape" x="{x}" y="-7">{shape}</text>"#));
    line(out, &format!(r#"<text class="muted" x="{x}" y="17">{name}</text>"#));
}

/// Where the arrow leaves a join that ends at `right`.
pub(super) fn leaves(join: &Join, right: f64) -> f64 {
    right - right_of_centre(join) + half(join)
}
