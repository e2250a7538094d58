//! [`expand`]: a model's chain with every block and repetition replaced by what it stands for, as [`Event`]s one after the other.
//!
//! What is said of a layer inside an expansion is said at the use that brought it into the model, with a note where it
//! stands in the block, and once if several uses bring the same fault.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::block::{Blocks, collect_uses, mark_used};
use crate::ast::{self, Item};
use crate::diagnostic::{Code, Diagnostic, Label, list, nearest};
use crate::eval::{Scope, evaluate};
use crate::graph::{Group, GroupKind, LayerId};
use crate::layer;
use crate::limits;
use crate::number::Number;
use crate::span::Span;

/// Layers in the order of the text, and where each came from.
#[derive(Debug)]
pub(super) struct Expansion<'m> {
    pub(super) events: Vec<Event<'m>>,
    /// How many of the events are layers.
    layers: usize,
    /// The model's own first, then one for each use of a block.
    pub(super) scopes: Vec<Scope<'m>>,
    /// Uses, repetitions and branches, each with the one it stands in.
    frames: Vec<Frame<'m>>,
    /// Which blocks the model uses, by their places.
    pub(super) used: Vec<bool>,
    /// What was already said, and where.
    said: BTreeSet<(Code, String, Option<Span>)>,
}

/// A layer, or a bound of branches.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event<'m> {
    /// A layer of a chain.
    Layer(Placed<'m>),
    /// The branches of this layer follow.
    Fork(Placed<'m>),
    /// A branch begins where the last `Fork` that is open stands.
    Enter,
    /// The branch ends.
    Leave,
    /// The layer of the last `Fork` that is open, and closes it: its branches are complete.
    Join(Placed<'m>),
}

/// A layer in its place in the model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed<'m> {
    pub(super) call: &'m ast::Call,
    pub(super) place: Place,
}

/// Where a chain is expanded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    /// Index of the scope its names are looked up in.
    pub(super) scope: usize,
    /// Index of the innermost frame around it.
    frame: Option<usize>,
    /// Frames around it.
    depth: usize,
    /// Whether one of them is a branch.
    pub(super) in_branch: bool,
}

#[derive(Debug)]
struct Frame<'m> {
    outer: Option<usize>,
    kind: FrameKind<'m>,
    /// The layers it became, once it has been left.
    layers: Range<usize>,
}

#[derive(Debug)]
enum FrameKind<'m> {
    /// A block, by its place, and the call that uses it.
    Use(usize, &'m ast::Call),
    /// The repetition of this number, from 1, and how many there are.
    Repetition(&'m ast::Repeat, i64, i64),
    /// The branch of this number, from 1, of how many, and the layer that joins them, once it is there.
    Branch(usize, usize, Option<usize>),
}

/// The expansion grew over a limit; the reason has been reported.
struct Stopped;

/// Expands the chain of a model under its parameters. `None` if it is over the limits; the reason is in `sink`.
pub(super) fn expand<'m>(
    model: &'m ast::Model,
    scope: Scope<'m>,
    blocks: &Blocks<'m>,
    sink: &mut Vec<Diagnostic>,
) -> Option<Expansion<'m>> {
    let expansion = Expansion {
        events: vec![],
        layers: 0,
        scopes: vec![scope],
        frames: vec![],
        used: vec![false; blocks.len()],
        said: BTreeSet::new(),
    };
    let mut expander = Expander { expansion, blocks, sink };
    let outermost = Place { scope: 0, frame: None, depth: 0, in_branch: false };
    expander.chain(&model.chain, outermost).ok()?;
    Some(expander.expansion)
}

struct Expander<'e, 'm> {
    expansion: Expansion<'m>,
    blocks: &'e Blocks<'m>,
    sink: &'e mut Vec<Diagnostic>,
}

impl<'m> Expander<'_, 'm> {
    fn chain(&mut self, chain: &'m [Item], place: Place) -> Result<(), Stopped> {
        for item in chain {
            match item {
                Item::Repeat(repeat) => self.repeat(repeat, place)?,
                Item::Call(call) => self.call(call, place)?,
            }
        }
        Ok(())
    }

    fn call(&mut self, call: &'m ast::Call, place: Place) -> Result<(), Stopped> {
        let word = call.word.text.as_str();
        match (layer::find(word), self.blocks.find(word)) {
            (None, Some(block)) => {
                self.no_branches(call, place);
                self.use_block(block, call, place)
            }
            (Some(layer), _) if layer.join().is_none() => {
                self.no_branches(call, place);
                self.layer(call, place, Event::Layer)
            }
            _ if call.branches.is_empty() => self.layer(call, place, Event::Layer),
            // The branches of a word that nobody knows are judged, too.
            _ => self.join(call, place),
        }
    }

    /// Says that a word takes no branches, if it is given any, and leaves them out.
    fn no_branches(&mut self, call: &ast::Call, place: Place) {
        let Some(first) = call.branches.first() else { return };
        let (word, mut uses) = (&call.word.text, BTreeMap::new());
        for branch in &call.branches {
            mark_used(&branch.chain, &mut self.expansion.scopes[place.scope]);
            collect_uses(&branch.chain, self.blocks, &mut uses);
        }
        uses.into_keys().for_each(|block| self.expansion.used[block] = true);
        let joins = layer::LAYERS.iter().filter(|layer| layer.join().is_some());
        let joins = list(joins.map(|layer| layer.word), "and");
        let message = format!("`{word}` takes no branches");
        let diagnostic = Diagnostic::new(Code::NoBranches, message)
            .label(first.span, format!("a branch of `{word}`"))
            .help(format!("{joins} take branches; other layers stand one after the other"));
        self.say(diagnostic, place);
    }

    fn join(&mut self, call: &'m ast::Call, place: Place) -> Result<(), Stopped> {
        self.expansion.events.push(Event::Fork(Placed { call, place }));
        let (of, mut frames) = (call.branches.len(), vec![]);
        for (i, branch) in call.branches.iter().enumerate() {
            let inner = self.enter(FrameKind::Branch(i + 1, of, None), branch.span, place)?;
            let inner = Place { in_branch: true, ..inner };
            self.expansion.events.push(Event::Enter);
            self.chain(&branch.chain, inner)?;
            self.expansion.events.push(Event::Leave);
            self.leave(inner);
            frames.extend(inner.frame);
        }
        self.layer(call, place, Event::Join)?;
        for frame in frames {
            if let FrameKind::Branch(.., join) = &mut self.expansion.frames[frame].kind {
                *join = Some(self.expansion.layers - 1);
            }
        }
        Ok(())
    }

    fn layer(
        &mut self,
        call: &'m ast::Call,
        place: Place,
        event: fn(Placed<'m>) -> Event<'m>,
    ) -> Result<(), Stopped> {
        if self.expansion.layers == limits::LAYERS {
            let what = format!("more than {} layers", limits::LAYERS);
            return self.stop(Code::TooLarge, what, call.span, place);
        }
        if layer::find(&call.word.text).is_none() {
            // One slip is one error: the block that must have been meant counts as used.
            let near = nearest(&call.word.text, self.blocks.names());
            if let Some(block) = near.and_then(|near| self.blocks.find(near)) {
                self.expansion.used[block] = true;
            }
        }
        self.expansion.events.push(event(Placed { call, place }));
        self.expansion.layers += 1;
        Ok(())
    }

    fn use_block(
        &mut self,
        block: usize,
        call: &'m ast::Call,
        place: Place,
    ) -> Result<(), Stopped> {
        self.expansion.used[block] = true;
        if self.expansion.is_inside(block, place) {
            // A circle, which has been reported.
            return Ok(());
        }
        let reported = self.sink.len();
        let outer = &mut self.expansion.scopes[place.scope];
        let scope = self.blocks.get(block).bind(call, outer, self.sink);
        self.expansion.blame(reported, place, self.sink);
        let inner = self.enter(FrameKind::Use(block, call), call.span, place)?;
        self.expansion.scopes.push(scope);
        let inner = Place { scope: self.expansion.scopes.len() - 1, ..inner };
        self.chain(&self.blocks.get(block).definition.chain, inner)?;
        self.leave(inner);
        Ok(())
    }

    fn repeat(&mut self, repeat: &'m ast::Repeat, place: Place) -> Result<(), Stopped> {
        let reported = self.sink.len();
        // Of a wrong count the chain is judged all the same.
        let count = self.count(repeat, place).unwrap_or(1);
        self.expansion.blame(reported, place, self.sink);
        for number in 1..=count {
            let kind = FrameKind::Repetition(repeat, number, count);
            let inner = self.enter(kind, repeat.span, place)?;
            self.chain(&repeat.chain, inner)?;
            self.leave(inner);
        }
        Ok(())
    }

    fn count(&mut self, repeat: &ast::Repeat, place: Place) -> Option<i64> {
        let scope = &mut self.expansion.scopes[place.scope];
        let (code, wanted, value) = match evaluate(&repeat.count, scope, self.sink)? {
            Number::Whole(count) if count >= 1 => return Some(count),
            value @ Number::Whole(_) => (Code::OutOfRange, "at least 1", value),
            value @ Number::Real(_) => (Code::WrongKind, "a whole number", value),
        };
        let message = format!("the count of `repeat` is {value}; it must be {wanted}");
        let label = format!("must be {wanted}");
        self.sink.push(Diagnostic::new(code, message).label(repeat.count.span, label));
        None
    }

    fn enter(&mut self, kind: FrameKind<'m>, span: Span, place: Place) -> Result<Place, Stopped> {
        if place.depth == limits::NESTING {
            let what = format!(
                "blocks, repetitions and branches nest deeper than {} levels",
                limits::NESTING
            );
            return self.stop(Code::NestedTooDeep, what, span, place);
        }
        if self.expansion.frames.len() == limits::EXPANSIONS {
            let what = format!("more than {} uses, repetitions and branches", limits::EXPANSIONS);
            return self.stop(Code::TooLarge, what, span, place);
        }
        let start = self.expansion.layers;
        self.expansion.frames.push(Frame { outer: place.frame, kind, layers: start..start });
        let frame = Some(self.expansion.frames.len() - 1);
        Ok(Place { frame, depth: place.depth + 1, ..place })
    }

    fn leave(&mut self, inner: Place) {
        let end = self.expansion.layers;
        if let Some(frame) = inner.frame {
            self.expansion.frames[frame].layers.end = end;
        }
    }

    fn stop<T>(
        &mut self,
        code: Code,
        message: String,
        span: Span,
        place: Place,
    ) -> Result<T, Stopped> {
        self.say(Diagnostic::new(code, message).label(span, "one too many"), place);
        Err(Stopped)
    }

    fn say(&mut self, diagnostic: Diagnostic, place: Place) {
        let reported = self.sink.len();
        self.sink.push(diagnostic);
        self.expansion.blame(reported, place, self.sink);
    }
}

impl Expansion<'_> {
    /// Moves the blame for what has been reported about `place`, from index `reported` on, to the use that brought it
    /// into the model. What was already said of the same spot is dropped.
    pub(super) fn blame(&mut self, reported: usize, place: Place, sink: &mut Vec<Diagnostic>) {
        for mut diagnostic in sink.split_off(reported) {
            let spot = (diagnostic.code, diagnostic.message.clone(), diagnostic.span());
            if !self.said.insert(spot) {
                continue;
            }
            for frame in self.around(place) {
                match frame.kind {
                    FrameKind::Use(_, call) => {
                        let text = format!("in this use of `{}`", call.word.text);
                        diagnostic.labels.insert(0, Label { span: call.span, text });
                    }
                    FrameKind::Repetition(_, 1, _) | FrameKind::Branch(..) => {}
                    FrameKind::Repetition(repeat, number, _) => {
                        diagnostic =
                            diagnostic.label(repeat.span, format!("in repetition {number}"));
                    }
                }
            }
            sink.push(diagnostic);
        }
    }

    /// The uses, repetitions and branches that became layers.
    pub(super) fn groups(&self) -> Vec<Group> {
        let frames = self.frames.iter().filter(|frame| !frame.layers.is_empty());
        let group = |frame: &Frame<'_>| {
            let count = |n: i64| usize::try_from(n).expect("passes are counted from 1");
            let kind = match frame.kind {
                FrameKind::Use(_, call) => GroupKind::Block(call.to_string()),
                FrameKind::Repetition(_, number, of) => {
                    GroupKind::Pass { number: count(number), of: count(of) }
                }
                FrameKind::Branch(number, of, join) => {
                    let join = join.and_then(|join| u32::try_from(join).ok());
                    let join = LayerId(join.expect("a branch is joined (a bug in nin)"));
                    GroupKind::Branch { number, of, join }
                }
            };
            Group { kind, layers: frame.layers.clone() }
        };
        frames.map(group).collect()
    }

    /// The uses, repetitions and branches around a place, from the inside out.
    fn around(&self, place: Place) -> impl Iterator<Item = &Frame<'_>> {
        let frame = |place: Option<usize>| place.map(|place| &self.frames[place]);
        std::iter::successors(frame(place.frame), move |inner| frame(inner.outer))
    }

    fn is_inside(&self, block: usize, place: Place) -> bool {
        self.around(place).any(|frame| matches!(frame.kind, FrameKind::Use(b, _) if b == block))
    }
}
