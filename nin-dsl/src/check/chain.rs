//! The expanded chain: layers in their places, shapes from one to the next, and ops appended to the graph.

use super::block::Blocks;
use super::expand::{Event, Expansion, Place, Placed};
use super::flow::Flow;
use super::join::{disagreement, too_few};
use crate::ast;
use crate::diagnostic::{Code, Diagnostic, list, nearest};
use crate::graph::{BuildError, Builder, Cursor, Graph, Join, Op};
use crate::layer::{self, Args, LayerSpec, Takes, Yields};
use crate::shape::{Round, Shape, Slide};

/// Where a chain has got to.
#[derive(Clone, Copy)]
struct At<'m> {
    flow: Flow,
    /// The layer that removed height and width.
    flattened: Option<&'m ast::Call>,
    /// The value itself, if its shape is known.
    cursor: Cursor,
}

/// A layer whose branches are being checked.
struct Fork<'m> {
    start: At<'m>,
    ends: Vec<At<'m>>,
}

/// What the layers are checked with.
struct Checker<'c, 'm> {
    at: At<'m>,
    /// The joins around, outermost first.
    open: Vec<Fork<'m>>,
    input: Option<&'m ast::Call>,
    blocks: &'c Blocks<'m>,
    build: Builder,
    expansion: &'c mut Expansion<'m>,
    sink: &'c mut Vec<Diagnostic>,
}

/// Checks the layers in order. Every error goes to `sink`; the graph is there if the chain could be followed to its end.
pub(super) fn check_chain<'m>(
    model: &'m ast::Model,
    blocks: &Blocks<'m>,
    build: Builder,
    expansion: &mut Expansion<'m>,
    sink: &mut Vec<Diagnostic>,
) -> Option<Graph> {
    let events = std::mem::take(&mut expansion.events);
    if events.is_empty() {
        sink.push(
            Diagnostic::new(Code::NoInput, "a model without layers")
                .label(model.span, "no layers")
                .help(EXAMPLE_INPUT),
        );
    }
    let at = At { flow: Flow::Unknown, flattened: None, cursor: build.cursor() };
    let mut checker = Checker { at, open: vec![], input: None, blocks, build, expansion, sink };
    for (diagnostic, at) in no_input(&events).into_iter().chain(after_end(&events)) {
        checker.say(diagnostic, at.place);
    }
    let end = end_of(&events).map_or(events.len(), |end| end + 1);
    for (i, event) in events.iter().enumerate() {
        checker.event(event, i < end);
    }
    let Checker { at, build, expansion, sink, .. } = checker;
    if !matches!(at.flow, Flow::Shape(_)) {
        return None;
    }
    let graph = build.finish(expansion.groups());
    if let (Some(diagnostic), Some(last)) = (dropout_last(&graph), layers(&events).last()) {
        let reported = sink.len();
        sink.push(diagnostic);
        expansion.blame(reported, last.place, sink);
    }
    Some(graph)
}

impl<'m> Checker<'_, 'm> {
    /// Checks one event; past the model's end only the arguments of layers.
    fn event(&mut self, event: &Event<'m>, counts: bool) {
        match event {
            Event::Layer(placed) | Event::Join(placed) => {
                let reported = self.sink.len();
                let joins = matches!(event, Event::Join(_)) && counts;
                let fork = if joins { self.open.pop() } else { None };
                self.layer(placed, counts, fork);
                self.expansion.blame(reported, placed.place, self.sink);
            }
            Event::Fork(_) | Event::Enter | Event::Leave if !counts => {}
            Event::Fork(_) => {
                self.at.cursor = self.build.cursor();
                self.open.push(Fork { start: self.at, ends: vec![] });
            }
            Event::Enter => {
                let start = self.open.last().expect("a fork is open (a bug in nin)").start;
                self.go(start);
            }
            Event::Leave => {
                let end = At { cursor: self.build.cursor(), ..self.at };
                self.open.last_mut().expect("a fork is open (a bug in nin)").ends.push(end);
            }
        }
    }

    fn go(&mut self, at: At<'m>) {
        self.at = at;
        self.build.resume(at.cursor);
    }

    fn say(&mut self, diagnostic: Diagnostic, place: Place) {
        let reported = self.sink.len();
        self.sink.push(diagnostic);
        self.expansion.blame(reported, place, self.sink);
    }

    /// Checks one layer, which has branches if it comes with a fork.
    fn layer(&mut self, placed: &Placed<'m>, counts: bool, fork: Option<Fork<'m>>) {
        let call = placed.call;
        let ends = fork.map_or(vec![], |fork| {
            self.go(fork.start);
            fork.ends
        });
        let scope = &mut self.expansion.scopes[placed.place.scope];
        let Some(layer) = layer::find(&call.word.text) else {
            call.args.iter().for_each(|argument| scope.mark_used(&argument.value));
            self.sink.push(unknown_layer(call, self.blocks));
            self.at.flow = Flow::Unknown;
            return;
        };
        let args = layer::args::bind(layer, call, scope, self.sink);
        if !counts {
            return;
        }
        if let Some(join) = layer.join() {
            self.join(layer, join, call, args.as_ref(), &ends);
            return;
        }
        if let Some(diagnostic) = self.misplaced(layer, placed) {
            // The layer is taken to be the mistake: what follows is judged as if it were not there.
            self.sink.push(diagnostic);
            return;
        }
        self.at.flow = match args {
            Some(args) => self.lower(layer, call, &args),
            None => self.at.flow.after(layer.yields),
        };
        match layer.yields {
            Yields::Vector => self.at.flattened = Some(call),
            Yields::Same | Yields::Map | Yields::End | Yields::Joined => {}
        }
        if layer.takes == Takes::Nothing {
            self.input = Some(call);
        }
    }

    /// Checks that branches go together, and joins them.
    fn join(
        &mut self,
        layer: &'static LayerSpec,
        join: Join,
        call: &'m ast::Call,
        args: Option<&Args>,
        ends: &[At<'m>],
    ) {
        if let Some(diagnostic) = too_few(call) {
            // What is there is taken to be all of it.
            self.sink.push(diagnostic);
            ends.iter().for_each(|&end| self.go(end));
            return;
        }
        let flows: Vec<Flow> = ends.iter().map(|end| end.flow).collect();
        let flow = Flow::joined(&flows);
        let known = flows.iter().all(|flow| matches!(flow, Flow::Shape(_)));
        let disagreement = disagreement(join, call, &flows);
        self.at.flow = match args.filter(|_| known && disagreement.is_none()) {
            Some(args) => {
                let cursors = ends.iter().map(|end| end.cursor).collect();
                self.build.begin_join(layer.word, args.resolved(), call.span, cursors);
                self.append(layer, call, args).unwrap_or(flow)
            }
            None => flow,
        };
        self.sink.extend(disagreement);
        self.at.flattened = ends.iter().find_map(|end| end.flattened);
    }

    /// Appends a layer's ops, if the shape it reads is known, and says what it leaves.
    fn lower(&mut self, layer: &'static LayerSpec, call: &ast::Call, args: &Args) -> Flow {
        let failed = self.at.flow.after(layer.yields);
        if layer.takes != Takes::Nothing && !matches!(self.at.flow, Flow::Shape(_)) {
            return failed;
        }
        let input = self.build.shape();
        self.build.begin_layer(layer.word, args.resolved(), call.span);
        let Some(flow) = self.append(layer, call, args) else { return failed };
        if args.written("ceil").is_none() {
            let dropped = self.build.last_op().and_then(|op| dropped_pixels(op, input, call));
            self.sink.extend(dropped);
        }
        flow
    }

    /// Appends the ops of the layer that was begun. `None` if they are refused, which is said.
    fn append(&mut self, layer: &LayerSpec, call: &ast::Call, args: &Args) -> Option<Flow> {
        match (layer.lower)(args, &mut self.build) {
            Ok(()) => Some(Flow::Shape(self.build.shape())),
            Err(error) => {
                self.sink.push(refused(&error, call, args));
                None
            }
        }
    }

    /// An error if the layer cannot stand where it does, whatever its arguments.
    fn misplaced(&self, layer: &LayerSpec, placed: &Placed<'m>) -> Option<Diagnostic> {
        let (call, flow) = (placed.call, self.at.flow);
        if placed.place.in_branch {
            let ends = end_in_branch(layer, call);
            if ends.is_some() {
                return ends;
            }
        }
        let word = layer.word;
        match layer.takes {
            Takes::Nothing => self.input.map(|first| {
                Diagnostic::new(Code::SecondInput, "a second `input`")
                    .label(call.span, "a model reads one input")
                    .label(first.span, "the first")
            }),
            Takes::Map if flow.is_vector() => {
                let what = flow.to_string();
                let message = format!("`{word}` needs height and width, but gets {what}");
                let diagnostic = Diagnostic::new(Code::SpatialOnVector, message)
                    .label(call.span, "slides over height and width");
                Some(match self.at.flattened {
                    Some(by) => diagnostic
                        .label(by.span, format!("leaves {what}"))
                        .help(format!("put `{word}` before `{}`", by.word.text)),
                    None => diagnostic,
                })
            }
            Takes::Vector if flow.is_map() => {
                let what = match flow {
                    Flow::Shape(shape) => format!("a map of {shape}"),
                    Flow::Map | Flow::Vector | Flow::Unknown => "a map".to_owned(),
                };
                let message = format!("`{word}` needs a score for each class, but gets {what}");
                let help = "reduce the map before it: `gap` averages each channel, `fc(classes)` \
                            flattens and multiplies";
                Some(
                    Diagnostic::new(Code::SoftmaxOnMap, message)
                        .label(call.span, format!("reads {what}"))
                        .help(help),
                )
            }
            Takes::Map | Takes::Vector | Takes::Any | Takes::Branches(_) => None,
        }
    }
}

/// The layers among events.
fn layers<'s, 'm>(events: &'s [Event<'m>]) -> impl DoubleEndedIterator<Item = &'s Placed<'m>> {
    events.iter().filter_map(|event| match event {
        Event::Layer(placed) | Event::Join(placed) => Some(placed),
        Event::Fork(_) | Event::Enter | Event::Leave => None,
    })
}

/// What is written where an event begins.
fn written<'s, 'm>(event: &'s Event<'m>) -> Option<&'s Placed<'m>> {
    match event {
        Event::Layer(placed) | Event::Fork(placed) => Some(placed),
        Event::Join(_) | Event::Enter | Event::Leave => None,
    }
}

/// Where the layer that ends a model stands, if there is one.
fn end_of(events: &[Event<'_>]) -> Option<usize> {
    let ends = |placed: &Placed<'_>| {
        let layer = layer::find(&placed.call.word.text);
        !placed.place.in_branch && layer.is_some_and(|layer| layer.yields == Yields::End)
    };
    events.iter().position(|event| written(event).is_some_and(ends))
}

fn is_input(placed: &Placed<'_>) -> bool {
    layer::find(&placed.call.word.text).is_some_and(|layer| layer.takes == Takes::Nothing)
}

const EXAMPLE_INPUT: &str = "begin with the shape of an image, such as `input(3, 32, 32)`";

fn no_input<'a, 'm>(events: &'a [Event<'m>]) -> Option<(Diagnostic, &'a Placed<'m>)> {
    let first = events.first().and_then(written).filter(|first| !is_input(first))?;
    let word = &first.call.word;
    let message = format!("a model begins with `input`, not with `{}`", word.text);
    let diagnostic =
        Diagnostic::new(Code::NoInput, message).label(word.span, "`input` must come before");
    let input = |placed: &&Placed<'_>| is_input(placed) && !placed.place.in_branch;
    let diagnostic = match layers(events).find(input) {
        Some(input) => diagnostic.label(input.call.span, "put this first"),
        None => diagnostic.help(EXAMPLE_INPUT),
    };
    Some((diagnostic, first))
}

fn after_end<'a, 'm>(events: &'a [Event<'m>]) -> Option<(Diagnostic, &'a Placed<'m>)> {
    let end = end_of(events)?;
    let (last, next) = (written(&events[end])?.call, written(events.get(end + 1)?)?);
    let (last_word, next_word) = (&last.word.text, &next.call.word.text);
    let diagnostic =
        Diagnostic::new(Code::AfterSoftmax, format!("`{next_word}` after `{last_word}`"))
            .label(next.call.span, "nothing may follow")
            .label(last.word.span, format!("`{last_word}` ends the model"));
    Some((diagnostic, next))
}

/// An error if the layer begins or ends a model, which no branch does.
fn end_in_branch(layer: &LayerSpec, call: &ast::Call) -> Option<Diagnostic> {
    let (label, help) = match (layer.takes, layer.yields) {
        (Takes::Nothing, _) => {
            ("begins the model", "leave it out: a branch reads what its layer stands after")
        }
        (_, Yields::End) => ("ends the model", "put it at the end of the model's own chain"),
        _ => return None,
    };
    let message = format!("`{}` in a branch", layer.word);
    Some(Diagnostic::new(Code::EndInBranch, message).label(call.span, label).help(help))
}

fn unknown_layer(call: &ast::Call, blocks: &Blocks<'_>) -> Diagnostic {
    let word = call.word.text.as_str();
    let plain = layer::plain(word);
    let diagnostic = Diagnostic::new(Code::UnknownLayer, format!("there is no layer `{word}`"))
        .label(call.word.span, "not a layer");
    if let Some((_, why)) = layer::NEEDLESS.iter().find(|(needless, _)| *needless == plain) {
        return diagnostic.help(*why);
    }
    let is = |layer: &&&LayerSpec| layer.word == plain || layer.also.contains(&plain.as_str());
    if let Some(layer) = layer::LAYERS.iter().find(is) {
        return diagnostic.help(format!("did you mean `{}`? {}", layer.word, layer.summary));
    }
    let words = || layer::LAYERS.iter().map(|layer| layer.word);
    diagnostic.help(match nearest(word, words().chain(blocks.names())) {
        Some(near) => format!("did you mean `{near}`?"),
        None if blocks.len() == 0 => format!("the layers are {}", list(words(), "and")),
        None => {
            let (layers, blocks) = (list(words(), "and"), list(blocks.names(), "and"));
            format!("the layers are {layers}; the blocks are {blocks}")
        }
    })
}

/// The diagnostic of an op that the builder refused.
fn refused(error: &BuildError, call: &ast::Call, args: &Args) -> Diagnostic {
    let message = error.to_string();
    match error {
        BuildError::NoWindow { input, .. } => {
            let span = args.written("kernel").unwrap_or(call.span);
            Diagnostic::new(Code::WindowTooLarge, message)
                .label(span, format!("the input here is {input}"))
                .help("use a smaller kernel or more padding, or pool less before it")
        }
        BuildError::Groups { groups, inputs, outputs } => {
            let span = args.written("groups").unwrap_or(call.span);
            let divide =
                |groups: &usize| inputs.is_multiple_of(*groups) && outputs.is_multiple_of(*groups);
            let below = (1..*groups).rev().find(divide);
            let above = (groups + 1..=*inputs.min(outputs)).find(divide);
            let near: Vec<String> = below
                .into_iter()
                .chain(above)
                .map(|groups| format!("`groups = {groups}`"))
                .collect();
            Diagnostic::new(Code::Groups, message)
                .label(span, format!("reads {inputs} channels and leaves {outputs}"))
                .help(format!("{} would", near.join(" or ")))
        }
        BuildError::Activation { .. } | BuildError::Parameters { .. } => {
            Diagnostic::new(Code::TooLarge, message).label(call.span, "too large")
        }
        BuildError::Branches { .. } => {
            Diagnostic::new(Code::BranchShapes, message).label(call.span, "joins them")
        }
    }
}

/// A warning if a pool leaves rows or columns of real pixels unread.
fn dropped_pixels(op: Op, input: Shape, call: &ast::Call) -> Option<Diagnostic> {
    let window = match op {
        Op::MaxPool { window, round: Round::Floor }
        | Op::AvgPool { window, round: Round::Floor, .. } => window,
        Op::MaxPool { round: Round::Ceil, .. }
        | Op::AvgPool { round: Round::Ceil, .. }
        | Op::Input
        | Op::Conv { .. }
        | Op::Relu
        | Op::Activation(_)
        | Op::PRelu { .. }
        | Op::GlobalAvgPool
        | Op::GlobalMaxPool
        | Op::Dropout { .. }
        | Op::BatchNorm { .. }
        | Op::Lrn { .. }
        | Op::Softmax
        | Op::Add
        | Op::Concat
        | Op::Mul => return None,
    };
    // The last rows of the padded input are padding: only what exceeds it is lost.
    let dropped = |size: usize, slide: Slide| {
        ((slide.padded(size) - slide.reach()) % slide.stride).saturating_sub(slide.pad[1])
    };
    let rows = dropped(input.height(), window.y);
    let columns = dropped(input.width(), window.x);
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let lost = match (rows, columns) {
        (0, 0) => return None,
        (rows, 0) => count(rows, "row"),
        (0, columns) => count(columns, "column"),
        (rows, columns) => format!("{} and {}", count(rows, "row"), count(columns, "column")),
    };
    let (word, (h, w)) = (&call.word.text, (input.height(), input.width()));
    Some(
        Diagnostic::new(Code::DroppedPixels, format!("`{word}` drops {lost} of its {h}x{w} input"))
            .label(call.span, "rounds down")
            .help("write `round = ceil` to keep them, or `round = floor` if this is meant"),
    )
}

fn dropout_last(graph: &Graph) -> Option<Diagnostic> {
    let (node, layer) = (graph.nodes().last()?, graph.layers().last()?);
    matches!(node.op, Op::Dropout { .. }).then(|| {
        Diagnostic::new(Code::DropoutLast, format!("`{}` is the last layer", layer.word))
            .label(layer.span, "zeroes the model's own scores in training")
            .help("put it before the last convolution or `fc`")
    })
}
