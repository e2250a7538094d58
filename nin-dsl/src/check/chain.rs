//! The expanded chain: layers in their places, shapes from one to the next, and ops appended to the graph.

use super::block::Blocks;
use super::expand::{Expansion, Placed};
use crate::ast;
use crate::diagnostic::{Code, Diagnostic, list, nearest};
use crate::graph::{BuildError, Builder, Graph, Op};
use crate::layer::{self, Args, Layer, Takes, Yields};
use crate::shape::{Round, Shape};

/// What is known of the shape between two layers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flow {
    /// All of it: the builder has it.
    Shape(Shape),
    /// A map of unknown size.
    Map,
    /// A vector of unknown size.
    Vector,
    /// Nothing, before the input or after an unknown layer.
    Unknown,
}

impl Flow {
    fn is_map(self) -> bool {
        matches!(self, Flow::Map | Flow::Shape(Shape::Map { .. }))
    }

    fn is_vector(self) -> bool {
        matches!(self, Flow::Vector | Flow::Shape(Shape::Vector { .. }))
    }

    /// What a layer in error leaves.
    fn after(self, yields: Yields) -> Flow {
        match yields {
            Yields::Same => self,
            Yields::Map => Flow::Map,
            Yields::Vector | Yields::End => Flow::Vector,
        }
    }
}

/// Where a chain has got to.
struct Chain<'m> {
    flow: Flow,
    input: Option<&'m ast::Call>,
    /// The layer that removed height and width.
    flattened: Option<&'m ast::Call>,
}

/// Checks the layers in order. Every error goes to `sink`; the graph is there if the chain could be followed to its end.
pub(super) fn check_chain(
    model: &ast::Model,
    blocks: &Blocks<'_>,
    mut build: Builder,
    expansion: &mut Expansion<'_>,
    sink: &mut Vec<Diagnostic>,
) -> Option<Graph> {
    let layers = std::mem::take(&mut expansion.layers);
    if layers.is_empty() {
        sink.push(
            Diagnostic::new(Code::NoInput, "a model without layers")
                .label(model.span, "no layers")
                .help(EXAMPLE_INPUT),
        );
    }
    for (diagnostic, at) in no_input(&layers).into_iter().chain(after_end(&layers)) {
        let reported = sink.len();
        sink.push(diagnostic);
        expansion.blame(reported, at.place, sink);
    }
    let end = end_of(&layers).map_or(layers.len(), |end| end + 1);
    let mut chain = Chain { flow: Flow::Unknown, input: None, flattened: None };
    for (i, placed) in layers.iter().enumerate() {
        let reported = sink.len();
        check_layer(placed, i < end, &mut chain, blocks, &mut build, expansion, sink);
        expansion.blame(reported, placed.place, sink);
    }
    if !matches!(chain.flow, Flow::Shape(_)) {
        return None;
    }
    let graph = build.finish(expansion.groups());
    if let (Some(diagnostic), Some(last)) = (dropout_last(&graph), layers.last()) {
        let reported = sink.len();
        sink.push(diagnostic);
        expansion.blame(reported, last.place, sink);
    }
    Some(graph)
}

/// Checks one layer; past the model's end only its arguments.
fn check_layer<'m>(
    placed: &Placed<'m>,
    counts: bool,
    chain: &mut Chain<'m>,
    blocks: &Blocks<'_>,
    build: &mut Builder,
    expansion: &mut Expansion<'_>,
    sink: &mut Vec<Diagnostic>,
) {
    let call = placed.call;
    let scope = &mut expansion.scopes[placed.place.scope];
    let Some(layer) = layer::find(&call.word.text) else {
        call.args.iter().for_each(|argument| scope.mark_used(&argument.value));
        sink.push(unknown_layer(call, blocks));
        chain.flow = Flow::Unknown;
        return;
    };
    let args = layer::args::bind(layer, call, scope, sink);
    if !counts {
        return;
    }
    if let Some(diagnostic) = misplaced(layer, call, chain) {
        // The layer is taken to be the mistake: what follows is judged as if it were not there.
        sink.push(diagnostic);
        return;
    }
    chain.flow = match args {
        Some(args) => lower(layer, call, &args, chain.flow, build, sink),
        None => chain.flow.after(layer.yields),
    };
    match layer.takes {
        Takes::Nothing => chain.input = Some(call),
        Takes::Map | Takes::Vector | Takes::Any => match layer.yields {
            Yields::Vector => chain.flattened = Some(call),
            Yields::Same | Yields::Map | Yields::End => {}
        },
    }
}

/// Appends a layer's ops, if the shape it reads is known, and says what it leaves.
fn lower(
    layer: &'static Layer,
    call: &ast::Call,
    args: &Args,
    flow: Flow,
    build: &mut Builder,
    sink: &mut Vec<Diagnostic>,
) -> Flow {
    if layer.takes != Takes::Nothing && !matches!(flow, Flow::Shape(_)) {
        return flow.after(layer.yields);
    }
    let input = build.shape();
    build.begin_layer(layer.word, args.resolved(), call.span);
    if let Err(error) = (layer.lower)(args, build) {
        sink.push(refused(&error, call, args));
        return flow.after(layer.yields);
    }
    if args.written("ceil").is_none() {
        sink.extend(build.last_op().and_then(|op| dropped_pixels(op, input, call)));
    }
    Flow::Shape(build.shape())
}

/// Where the layer that ends a model stands, if there is one.
fn end_of(layers: &[Placed<'_>]) -> Option<usize> {
    layers.iter().position(|placed| {
        layer::find(&placed.call.word.text).is_some_and(|layer| layer.yields == Yields::End)
    })
}

fn is_input(placed: &Placed<'_>) -> bool {
    layer::find(&placed.call.word.text).is_some_and(|layer| layer.takes == Takes::Nothing)
}

const EXAMPLE_INPUT: &str = "begin with the shape of an image, such as `input(3, 32, 32)`";

fn no_input<'a, 'm>(layers: &'a [Placed<'m>]) -> Option<(Diagnostic, &'a Placed<'m>)> {
    let first = layers.first().filter(|first| !is_input(first))?;
    let word = &first.call.word;
    let message = format!("a model begins with `input`, not with `{}`", word.text);
    let diagnostic =
        Diagnostic::new(Code::NoInput, message).label(word.span, "`input` must come before");
    let diagnostic = match layers.iter().find(|placed| is_input(placed)) {
        Some(input) => diagnostic.label(input.call.span, "put this first"),
        None => diagnostic.help(EXAMPLE_INPUT),
    };
    Some((diagnostic, first))
}

fn after_end<'a, 'm>(layers: &'a [Placed<'m>]) -> Option<(Diagnostic, &'a Placed<'m>)> {
    let end = end_of(layers)?;
    let (last, next) = (layers[end].call, layers.get(end + 1)?);
    let (last_word, next_word) = (&last.word.text, &next.call.word.text);
    let diagnostic =
        Diagnostic::new(Code::AfterSoftmax, format!("`{next_word}` after `{last_word}`"))
            .label(next.call.span, "nothing may follow")
            .label(last.word.span, format!("`{last_word}` ends the model"));
    Some((diagnostic, next))
}

fn unknown_layer(call: &ast::Call, blocks: &Blocks<'_>) -> Diagnostic {
    let word = call.word.text.as_str();
    let plain = layer::plain(word);
    let diagnostic = Diagnostic::new(Code::UnknownLayer, format!("there is no layer `{word}`"))
        .label(call.word.span, "not a layer");
    if let Some((_, why)) = layer::NEEDLESS.iter().find(|(needless, _)| *needless == plain) {
        return diagnostic.help(*why);
    }
    let is = |layer: &&&Layer| layer.word == plain || layer.also.contains(&plain.as_str());
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

/// An error if the layer cannot stand where it does, whatever its arguments.
fn misplaced(layer: &Layer, call: &ast::Call, chain: &Chain<'_>) -> Option<Diagnostic> {
    let word = layer.word;
    match layer.takes {
        Takes::Nothing => chain.input.map(|first| {
            Diagnostic::new(Code::SecondInput, "a second `input`")
                .label(call.span, "a model reads one input")
                .label(first.span, "the first")
        }),
        Takes::Map if chain.flow.is_vector() => {
            let (what, label) = match chain.flow {
                Flow::Shape(shape) => (format!("{shape} features"), format!("{shape} features")),
                Flow::Map | Flow::Vector | Flow::Unknown => {
                    ("a vector".to_owned(), "a vector".to_owned())
                }
            };
            let message = format!("`{word}` needs height and width, but gets {what}");
            let diagnostic = Diagnostic::new(Code::SpatialOnVector, message)
                .label(call.span, "slides over height and width");
            Some(match chain.flattened {
                Some(by) => diagnostic
                    .label(by.span, format!("leaves {label}"))
                    .help(format!("put `{word}` before `{}`", by.word.text)),
                None => diagnostic,
            })
        }
        Takes::Vector if chain.flow.is_map() => {
            let what = match chain.flow {
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
        Takes::Map | Takes::Vector | Takes::Any => None,
    }
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
        BuildError::Activation { .. } | BuildError::Parameters { .. } => {
            Diagnostic::new(Code::TooLarge, message).label(call.span, "too large")
        }
    }
}

/// A warning if a pool leaves rows or columns of real pixels unread.
fn dropped_pixels(op: Op, input: Shape, call: &ast::Call) -> Option<Diagnostic> {
    let window = match op {
        Op::MaxPool { window, round: Round::Floor }
        | Op::AvgPool { window, round: Round::Floor } => window,
        Op::MaxPool { round: Round::Ceil, .. }
        | Op::AvgPool { round: Round::Ceil, .. }
        | Op::Input
        | Op::Conv { .. }
        | Op::Relu
        | Op::LeakyRelu { .. }
        | Op::Elu { .. }
        | Op::GlobalAvgPool
        | Op::Dropout { .. }
        | Op::BatchNorm { .. }
        | Op::Softmax => return None,
    };
    // The last rows of the padded input are padding: only what exceeds it is lost.
    let dropped = |size: usize, kernel: usize| {
        ((size + 2 * window.pad - kernel) % window.stride).saturating_sub(window.pad)
    };
    let rows = dropped(input.height(), window.kernel.0);
    let columns = dropped(input.width(), window.kernel.1);
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
    let (node, layer) = (graph.nodes.last()?, graph.layers.last()?);
    matches!(node.op, Op::Dropout { .. }).then(|| {
        Diagnostic::new(Code::DropoutLast, format!("`{}` is the last layer", layer.word))
            .label(layer.span, "zeroes the model's own scores in training")
            .help("put it before the last convolution or `fc`")
    })
}
