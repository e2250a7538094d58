//! What is said of branches that cannot be joined: how many there are, and which of them disagree.

use super::flow::Flow;
use crate::ast;
use crate::diagnostic::{Code, Diagnostic};
use crate::graph::Join;
use crate::shape::Shape;

/// Branches that are pointed at beside the one that the others are held against.
const POINTED_AT: usize = 4;

/// An error if a join has fewer than two branches.
pub(super) fn too_few(call: &ast::Call) -> Option<Diagnostic> {
    let word = &call.word.text;
    let (what, span, label) = match call.branches.as_slice() {
        [] => ("none", call.span, "no branches follow"),
        [only] => ("one", only.span, "the only branch"),
        [_, _, ..] => return None,
    };
    let message = format!("`{word}` joins two branches or more, but has {what}");
    let help = format!("write `{word} < ... > < ... >`; `< >` is a branch that changes nothing");
    Some(Diagnostic::new(Code::TooFewBranches, message).label(span, label).help(help))
}

/// A branch and what it leaves.
#[derive(Clone, Copy)]
struct End<'m> {
    branch: &'m ast::Branch,
    /// From 0.
    number: usize,
    flow: Flow,
}

impl End<'_> {
    fn is_empty(&self) -> bool {
        self.branch.chain.is_empty()
    }

    fn label(&self) -> String {
        let how = if self.is_empty() { "changes nothing and leaves" } else { "leaves" };
        format!("{how} {}", self.flow)
    }

    /// What to do for the branch to end as it should.
    fn ending_with(&self, layer: &str) -> String {
        let which = match ORDINALS.get(self.number) {
            Some(ordinal) => format!("the {ordinal} branch"),
            None => format!("branch {}", self.number + 1),
        };
        match self.is_empty() {
            true => format!("write `{layer}` in {which}"),
            false => format!("end {which} with `{layer}`"),
        }
    }
}

const ORDINALS: &[&str] = &["first", "second", "third", "fourth", "fifth", "sixth"];

/// An error if what is known of branches' shapes keeps them from being joined.
pub(super) fn disagreement(join: Join, call: &ast::Call, flows: &[Flow]) -> Option<Diagnostic> {
    let pairs = call.branches.iter().zip(flows).enumerate();
    let ends: Vec<End<'_>> =
        pairs.map(|(number, (branch, &flow))| End { branch, number, flow }).collect();
    let reference = reference(join, &ends)?;
    let mut guilty = ends.iter().filter(|end| !agree(join, reference.flow, end.flow)).copied();
    let first = guilty.next()?;
    let (a, b) = match first.number < reference.number {
        true => (first.flow, reference.flow),
        false => (reference.flow, first.flow),
    };
    let needs = match join {
        Join::Add => "one shape",
        Join::Concat => "one height and width",
        Join::Mul => "one shape, or one number a channel",
    };
    let message = format!("`{}` needs branches of {needs}, but gets {a} and {b}", call.word.text);
    let mut diagnostic = Diagnostic::new(Code::BranchShapes, message)
        .label(first.branch.span, first.label())
        .label(reference.branch.span, reference.label());
    for end in guilty.take(POINTED_AT - 1) {
        diagnostic = diagnostic.label(end.branch.span, end.label());
    }
    Some(diagnostic.help(mend(join, first, reference)))
}

/// The branch that the others are held against: one that does something, and of a product the one with the most pixels.
fn reference<'m>(join: Join, ends: &[End<'m>]) -> Option<End<'m>> {
    let pixels = |end: &End<'_>| match (join, end.flow) {
        (Join::Mul, Flow::Shape(shape @ Shape::Map { .. })) => shape.pixels(),
        _ => 0,
    };
    let known = |end: &&End<'_>| matches!(end.flow, Flow::Shape(_));
    let rank = |end: &&End<'_>| (known(end), pixels(end), !end.is_empty());
    // The first of the best.
    ends.iter().rev().max_by_key(rank).copied()
}

/// Whether two branches may be joined, as far as that is known.
fn agree(join: Join, a: Flow, b: Flow) -> bool {
    match (join, a, b) {
        (_, Flow::Shape(a), Flow::Shape(b)) => join.shape(&[a, b]).is_some(),
        (Join::Add | Join::Concat, ..) => {
            !(a.is_map() && b.is_vector() || a.is_vector() && b.is_map())
        }
        (Join::Mul, ..) => true,
    }
}

/// What would make the guilty branch agree with the other.
fn mend(join: Join, guilty: End<'_>, other: End<'_>) -> String {
    const SIZES: &str = "their layers' strides and paddings must shrink the maps alike";
    match (guilty.flow, other.flow) {
        (Flow::Shape(from @ Shape::Map { .. }), Flow::Shape(to @ Shape::Map { .. })) => {
            let channels = |from: Shape, to: Shape| match join {
                Join::Concat => from.channels(),
                Join::Add | Join::Mul => to.channels(),
            };
            if join == Join::Mul && from.pixels() == 1 {
                return guilty.ending_with(&format!("conv({}, kernel = 1)", to.channels()));
            }
            match (stride(from, to), stride(to, from)) {
                (Some(stride), _) => guilty.ending_with(&shortcut(channels(from, to), stride)),
                (None, Some(stride)) => other.ending_with(&shortcut(channels(to, from), stride)),
                (None, None) => SIZES.to_owned(),
            }
        }
        (Flow::Shape(Shape::Vector { .. }), Flow::Shape(to)) if join == Join::Mul => {
            guilty.ending_with(&format!("fc({})", to.channels()))
        }
        (Flow::Shape(from), Flow::Shape(Shape::Vector { n })) => {
            guilty.ending_with(&flattening(join, from, n))
        }
        (Flow::Shape(Shape::Vector { n }), Flow::Shape(from)) => {
            other.ending_with(&flattening(join, from, n))
        }
        (from, _) if from.is_map() => guilty.ending_with("gap"),
        _ => other.ending_with("gap"),
    }
}

/// The stride with which a convolution of one pixel makes the map `to` of the map `from`, but for channels.
fn stride(from: Shape, to: Shape) -> Option<usize> {
    let ratio = from.height().div_ceil(to.height()).max(from.width().div_ceil(to.width()));
    let sizes = (from.height().div_ceil(ratio), from.width().div_ceil(ratio));
    (sizes == (to.height(), to.width())).then_some(ratio)
}

fn shortcut(channels: usize, stride: usize) -> String {
    match stride {
        1 => format!("conv({channels}, kernel = 1)"),
        _ => format!("conv({channels}, kernel = 1, stride = {stride})"),
    }
}

/// The layer that makes a vector of a map or another vector, of `n` features where it matters.
fn flattening(join: Join, from: Shape, n: usize) -> String {
    let is_map = matches!(from, Shape::Map { .. });
    match is_map && (from.channels() == n || join == Join::Concat) {
        true => "gap".to_owned(),
        false => format!("fc({n})"),
    }
}
