//! Random models as text: a small description is drawn and made valid while it is written down, so that every part of a
//! failing case can be shrunk on its own.

use std::fmt::Write as _;

use nin_dsl::graph::Graph;
use nin_dsl::shape::{Round, Shape, Slide, Window};
use nin_dsl::{Source, read};
use proptest::collection::vec;
use proptest::prelude::*;

/// How large a model is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Height and width of the input, at most.
    side: usize,
    /// Multiply-accumulates for one image.
    macs: usize,
    /// Numbers in one activation.
    elements: usize,
}

/// Many can be run in a test, and few of their switches are close.
pub(crate) const SMALL: Budget = Budget { side: 17, macs: 300_000, elements: 4096 };
/// So small that hundreds of images are quick.
pub(crate) const TINY: Budget = Budget { side: 6, macs: 8_000, elements: 160 };
/// An activation is too large to be worked on in one piece.
pub(crate) const LARGE: Budget = Budget { side: 40, macs: 3_000_000, elements: 40_000 };

/// A map, and the chain of layers that leads to it.
struct Chain {
    text: String,
    shape: Shape,
    /// What is left to spend.
    budget: Budget,
    /// Whether maps must keep their height and width, since what is joined must be of one size.
    steady: bool,
}

/// A layer as drawn; writing it down cuts it to what fits.
#[derive(Clone, Debug)]
enum Layer {
    Conv {
        channels: usize,
        window: Drawn,
        bias: bool,
        /// Those of the dividers of the channels that come closest are taken.
        groups: usize,
    },
    Depthwise {
        multiplier: usize,
        window: Drawn,
        bias: bool,
    },
    Mlpconv {
        channels: Vec<usize>,
        window: Drawn,
    },
    Pool {
        word: &'static str,
        window: Drawn,
        ceil: bool,
        /// Whether padding counts in a mean.
        counts: bool,
    },
    Dropout(u8),
    Relu,
    LeakyRelu(u8),
    Elu(u8),
    /// One without arguments.
    Activation(&'static str),
    Scale(i8),
    /// Tenths of momentum, and images of a group.
    BatchNorm(u8, usize),
    Lrn {
        half: usize,
        alpha: u8,
        quarters: u8,
    },
    Fc {
        n: usize,
        bias: bool,
    },
    /// A layer that keeps the shape, so many times.
    Repeat(u8, Box<Layer>),
    /// Branches that are joined.
    Join {
        word: Word,
        branches: Vec<Branch>,
        /// Whether every branch begins with a convolution that leaves half of the rows and columns.
        halves: bool,
    },
}

/// Activations without arguments whose gradient jumps nowhere.
const SMOOTH: &[&str] = &["sigmoid", "tanh", "silu", "gelu"];
/// The others, but for the ReLU.
const BENT: &[&str] = &["relu6", "hard_sigmoid", "hard_swish", "prelu"];

/// How branches are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Add,
    Concat,
    Mul,
}

/// A branch as drawn.
#[derive(Clone, Debug)]
struct Branch {
    layers: Vec<Layer>,
    /// Whether it becomes one number a channel, where that is a factor of a product.
    gates: bool,
}

/// A window as drawn; no pad means `same`.
#[derive(Clone, Debug)]
struct Drawn {
    kernel: usize,
    stride: usize,
    pad: Option<usize>,
    dilation: usize,
    /// Kernel, stride and dilation of the horizontal direction, if it has its own.
    across: Option<(usize, usize, usize)>,
    /// Pixels of padding more below and to the right.
    more: [usize; 2],
}

impl Drawn {
    /// Kernel, stride and dilation downwards and across.
    fn axes(&self) -> [(usize, usize, usize); 2] {
        let down = (self.kernel, self.stride, self.dilation);
        [down, self.across.unwrap_or(down)]
    }
}

/// What makes a vector of the last map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Head {
    Gap,
    Gmp,
    Fc(usize),
    None,
}

/// The checked graph of a text that is known to be right.
pub(crate) fn graph(text: &str) -> Graph {
    let source = Source::new("model.nin", text);
    let (graph, _warnings) =
        read(&source, &[]).unwrap_or_else(|errors| panic!("{text}\n{errors:?}"));
    graph.verify();
    graph
}

/// Classifiers: up to seven layers on maps, a `gap`, `gmp` or `fc`, up to three layers on vectors, and perhaps `softmax`.
pub(crate) fn classifiers(size: Budget) -> impl Strategy<Value = String> {
    let head = prop_oneof![
        8 => Just(Head::Gap),
        1 => Just(Head::Gmp),
        8 => channels().prop_map(Head::Fc),
    ];
    let tail = vec(in_graphs(on_vectors().boxed()), 0..=3);
    (input(size), body(), head, tail, any::<bool>()).prop_map(
        move |(input, body, head, tail, softmax)| {
            write_down(size, input, &body, head, &tail, softmax)
        },
    )
}

/// Chains that end in a map.
pub(crate) fn map_makers(size: Budget) -> impl Strategy<Value = String> {
    (input(size), body())
        .prop_map(move |(input, body)| write_down(size, input, &body, Head::None, &[], false))
}

/// The layers on maps, and whether they are written as a block.
fn body() -> impl Strategy<Value = (Vec<Layer>, bool)> {
    (vec(in_graphs(on_maps().boxed()), 0..=7), any::<bool>())
}

/// Such layers, and joins of branches of them, in branches of joins too.
fn in_graphs(layer: BoxedStrategy<Layer>) -> BoxedStrategy<Layer> {
    let join = |inner: BoxedStrategy<Layer>| {
        let word = prop_oneof![3 => Just(Word::Add), 2 => Just(Word::Concat), 2 => Just(Word::Mul)];
        let branch =
            (vec(inner, 0..=3), any::<bool>()).prop_map(|(layers, gates)| Branch { layers, gates });
        (word, vec(branch, 2..=3), proptest::bool::weighted(0.2))
            .prop_map(|(word, branches, halves)| Layer::Join { word, branches, halves })
    };
    let inner = prop_oneof![8 => layer.clone(), 1 => join(layer.clone())].boxed();
    prop_oneof![8 => layer, 3 => join(inner)].boxed()
}

/// Layers that keep any shape.
fn in_shape() -> impl Strategy<Value = Layer> {
    prop_oneof![
        4 => Just(Layer::Relu),
        2 => (0..15u8).prop_map(Layer::LeakyRelu),
        2 => (0..15u8).prop_map(Layer::Elu),
        1 => proptest::sample::select(SMOOTH).prop_map(Layer::Activation),
        1 => proptest::sample::select(BENT).prop_map(Layer::Activation),
        1 => prop_oneof![-12..=-4i8, 4..=12i8].prop_map(Layer::Scale),
        2 => (0..10u8).prop_map(Layer::Dropout),
        2 => (0..=10u8, ghost()).prop_map(|(tenths, ghost)| Layer::BatchNorm(tenths, ghost)),
    ]
}

/// Images of a group. Often the same, so that all of a model's may be.
fn ghost() -> impl Strategy<Value = usize> {
    prop_oneof![6 => Just(0usize), 6 => Just(3), 1 => 2..=9usize]
}

/// The same, each perhaps repeated.
fn repeated() -> impl Strategy<Value = Layer> {
    (in_shape(), 0..12u8).prop_map(|(layer, times)| match times {
        2 | 3 => Layer::Repeat(times, Box::new(layer)),
        _ => layer,
    })
}

fn input(size: Budget) -> impl Strategy<Value = (usize, usize, usize)> {
    (prop_oneof![Just(1usize), Just(3), 1..=12usize], 1..=size.side, 1..=size.side)
}

fn channels() -> impl Strategy<Value = usize> {
    prop_oneof![
        1 => Just(1usize),
        2 => Just(3),
        2 => Just(10),
        2 => (1..=5usize).prop_map(|n| 8 * n),
        3 => 1..=40usize,
    ]
}

fn window() -> impl Strategy<Value = Drawn> {
    let kernel = prop_oneof![Just(1usize), Just(3), Just(5), 1..=11usize];
    let stride = prop_oneof![2 => Just(1usize), 2 => 1..=3usize];
    let pad = proptest::option::of(prop_oneof![3 => 0..=2usize, 1 => 0..=6usize]);
    let dilation = prop_oneof![4 => Just(1usize), 1 => 2..=4usize];
    let across = proptest::option::weighted(0.25, (1..=7usize, 1..=3usize, 1..=3usize));
    let more = prop_oneof![4 => Just([0, 0]), 1 => [0..=2usize, 0..=3]];
    (kernel, stride, pad, dilation, across, more).prop_map(
        |(kernel, stride, pad, dilation, across, more)| Drawn {
            kernel,
            stride,
            pad,
            dilation,
            across,
            more,
        },
    )
}

fn on_maps() -> impl Strategy<Value = Layer> {
    let pool = |word| {
        (window(), any::<bool>(), any::<bool>())
            .prop_map(move |(window, ceil, counts)| Layer::Pool { word, window, ceil, counts })
    };
    let groups = prop_oneof![3 => Just(1usize), 1 => 2..=12usize];
    prop_oneof![
        5 => repeated(),
        4 => (channels(), window(), any::<bool>(), groups).prop_map(
            |(channels, window, bias, groups)| Layer::Conv { channels, window, bias, groups }
        ),
        1 => (prop_oneof![3 => Just(1usize), 1 => 2..=3usize], window(), any::<bool>()).prop_map(
            |(multiplier, window, bias)| Layer::Depthwise { multiplier, window, bias }
        ),
        3 => (vec(channels(), 1..=3), window())
            .prop_map(|(channels, window)| Layer::Mlpconv { channels, window }),
        2 => pool("maxpool"),
        1 => pool("avgpool"),
        1 => (0..=9usize, 0..=9u8, 0..=9u8)
            .prop_map(|(half, alpha, quarters)| Layer::Lrn { half, alpha, quarters }),
    ]
}

fn on_vectors() -> impl Strategy<Value = Layer> {
    prop_oneof![
        4 => repeated(),
        1 => (channels(), any::<bool>()).prop_map(|(n, bias)| Layer::Fc { n, bias }),
    ]
}

fn write_down(
    budget: Budget,
    (c, h, w): (usize, usize, usize),
    (layers, named): &(Vec<Layer>, bool),
    head: Head,
    tail: &[Layer],
    softmax: bool,
) -> String {
    let c = c.min(budget.elements / (h * w));
    let mut chain =
        Chain { text: String::new(), shape: Shape::map(c, h, w), budget, steady: false };
    layers.iter().for_each(|layer| chain.push(layer));
    let body = std::mem::take(&mut chain.text);
    chain.text = if *named && !body.is_empty() {
        format!("block body <{body} > < input({c}, {h}, {w}) body")
    } else {
        format!("< input({c}, {h}, {w}){body}")
    };
    match head {
        Head::Gap => chain.gap(),
        Head::Gmp => chain.global("gmp"),
        Head::Fc(n) => chain.push(&Layer::Fc { n, bias: true }),
        Head::None => {}
    }
    if head != Head::None && matches!(chain.shape, Shape::Map { .. }) {
        // The budget had no room for the `fc`.
        chain.gap();
    }
    tail.iter().for_each(|layer| chain.push(layer));
    let softmax =
        if softmax && matches!(chain.shape, Shape::Vector { .. }) { " softmax" } else { "" };
    chain.text + softmax + " >"
}

impl Chain {
    fn push(&mut self, layer: &Layer) {
        match *layer {
            Layer::Repeat(times, ref layer) => {
                self.write(format_args!(" repeat({times}) <"));
                self.push(layer);
                self.text.push_str(" >");
            }
            Layer::Join { word, ref branches, halves } => {
                if let Some(joined) = self.joined(word, branches, halves) {
                    *self = joined;
                }
            }
            Layer::Relu => self.text.push_str(" relu"),
            Layer::LeakyRelu(tenths) => {
                self.write(format_args!(" leaky_relu({tenths} / 10.0)"));
            }
            Layer::Activation(word) => self.write(format_args!(" {word}")),
            Layer::Scale(eighths) => self.write(format_args!(" scale({eighths} / 8.0)")),
            Layer::Elu(tenths) => self.write(format_args!(" elu({tenths} / 10.0)")),
            Layer::BatchNorm(tenths, ghost) => {
                let ghost = if ghost > 0 { format!(", ghost = {ghost}") } else { String::new() };
                self.write(format_args!(
                    " batchnorm(eps = 1e-3, momentum = {tenths} / 10.0{ghost})"
                ));
            }
            Layer::Dropout(tenths) => self.write(format_args!(" dropout(0.{tenths})")),
            // What is drawn for maps stands in branches of vectors too.
            Layer::Conv { .. }
            | Layer::Depthwise { .. }
            | Layer::Mlpconv { .. }
            | Layer::Pool { .. }
            | Layer::Lrn { .. }
                if matches!(self.shape, Shape::Vector { .. }) => {}
            Layer::Lrn { half, alpha, quarters } => {
                // 0.9 is no multiple of a quarter.
                let beta = if quarters == 9 { 0.9 } else { f64::from(quarters) / 4.0 };
                let size = 2 * half + 1;
                self.write(format_args!(" lrn({size}, alpha = {alpha} / 4.0, beta = {beta:?})"));
            }
            Layer::Conv { channels, ref window, bias, groups } => {
                let window = self.fit(window, true);
                let divides = |groups: &usize| self.shape.channels().is_multiple_of(*groups);
                let groups = (1..=groups).rev().find(divides).expect("1 divides all");
                let Some(channels) = self.spend_grouped(channels, window.window, groups) else {
                    return;
                };
                let bias = if bias { "" } else { ", bias = 0" };
                let groups =
                    if groups == 1 { String::new() } else { format!(", groups = {groups}") };
                self.write(format_args!(" conv({channels}{window}{bias}{groups})"));
            }
            Layer::Depthwise { multiplier, ref window, bias } => {
                let window = self.fit(window, true);
                let groups = self.shape.channels();
                let (before, budget) = (self.shape, self.budget);
                let wanted = multiplier * groups;
                if self.spend_grouped(wanted, window.window, groups) != Some(wanted) {
                    (self.shape, self.budget) = (before, budget);
                    return;
                }
                let bias = u8::from(bias);
                self.write(format_args!(
                    " depthwise(multiplier = {multiplier}, bias = {bias}{window})"
                ));
            }
            Layer::Mlpconv { ref channels, ref window } => {
                let window = self.fit(window, false);
                let Some(first) = self.spend(channels[0], window.window) else { return };
                let rest = channels[1..].iter();
                let rest: Vec<usize> =
                    rest.map_while(|&c| self.spend(c, Window::square(1, 1, 0))).collect();
                let rest: String = rest.iter().map(|c| format!(", {c}")).collect();
                self.write(format_args!(" mlpconv({first}{rest}{window})"));
            }
            Layer::Pool { word, ref window, ceil, counts } => {
                self.pool(word, window, ceil, counts);
            }
            Layer::Fc { n, bias } => {
                let n = n.min(self.budget.macs / self.shape.elements());
                if n > 0 {
                    self.fc(n, bias);
                }
            }
        }
    }

    /// Connects to as many features as are known to be paid for.
    fn fc(&mut self, n: usize, bias: bool) {
        self.budget.macs -= n * self.shape.elements();
        self.shape = Shape::Vector { n };
        let bias = if bias { "" } else { ", bias = 0" };
        self.write(format_args!(" fc({n}{bias})"));
    }

    /// The chain with branches after it. `None` if the budgets have no room for what makes them go together.
    fn joined(&self, word: Word, branches: &[Branch], halves: bool) -> Option<Chain> {
        let is_map = matches!(self.shape, Shape::Map { .. });
        let halves = halves && is_map && !self.steady;
        let mut budget = self.budget;
        let mut shapes: Vec<Shape> = Vec::new();
        let mut text = String::new();
        for (number, Branch { layers, gates }) in branches.iter().enumerate() {
            let mut branch =
                Chain { text: String::new(), shape: self.shape, budget, steady: false };
            if halves {
                branch.exactly(self.shape.channels(), 2 * (number % 2) + 1, 2)?;
            }
            branch.steady = true;
            layers.iter().for_each(|layer| branch.push(layer));
            let first = shapes.first().copied();
            match (word, first) {
                (Word::Concat, _) => {}
                (Word::Mul, Some(first)) if *gates && is_map => {
                    branch.gap();
                    branch.match_channels(first.channels())?;
                }
                // A first branch that nothing changes is worth more than one of odd channels.
                (Word::Add | Word::Mul, None) => branch.match_channels(self.shape.channels())?,
                (Word::Add | Word::Mul, Some(first)) => branch.match_channels(first.channels())?,
            }
            budget = branch.budget;
            shapes.push(branch.shape);
            text.push_str(&format!(" <{} >", branch.text));
        }
        let (word, shape) = match word {
            Word::Add => ("add", shapes[0]),
            Word::Mul => ("mul", shapes[0]),
            Word::Concat => ("concat", nin_dsl::graph::join::concat(&shapes)?),
        };
        (shape.elements() <= budget.elements).then(|| Chain {
            text: format!("{} {word}{text}", self.text),
            shape,
            budget,
            steady: self.steady,
        })
    }

    /// Appends a layer if that is needed for this number of channels.
    fn match_channels(&mut self, channels: usize) -> Option<()> {
        match self.shape {
            shape if shape.channels() == channels => {}
            Shape::Map { .. } => self.exactly(channels, 1, 1)?,
            Shape::Vector { n } if n * channels <= self.budget.macs => self.fc(channels, true),
            Shape::Vector { .. } => return None,
        }
        Some(())
    }

    /// A convolution to exactly this number of channels.
    fn exactly(&mut self, channels: usize, kernel: usize, stride: usize) -> Option<()> {
        let window = Window::square(kernel, stride, kernel / 2);
        let found = self.spend(channels, window)?;
        self.write(format_args!(" conv({found}, kernel = {kernel}, stride = {stride})"));
        (found == channels).then_some(())
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.text.write_fmt(text).expect("writing to a string");
    }

    fn gap(&mut self) {
        self.global("gap");
    }

    fn global(&mut self, word: &str) {
        self.write(format_args!(" {word}"));
        self.shape = Shape::Vector { n: self.shape.channels() };
    }

    /// A convolution's window, no larger than the padded map; with gaps between its taps only where there may be any.
    fn fit(&self, drawn: &Drawn, gaps: bool) -> Fitted {
        let pad = if self.steady { None } else { drawn.pad };
        let axis = |number: usize, size: usize| {
            let (kernel, stride, dilation) = drawn.axes()[number];
            let stride = if self.steady { 1 } else { stride };
            let dilation = if gaps { dilation } else { 1 };
            let pad = match pad {
                None => [dilation * ((kernel | 1) - 1) / 2; 2],
                Some(pad) => [pad, pad + drawn.more[number]],
            };
            let whole = Slide { kernel, stride, pad, dilation };
            let kernel = match drawn.pad {
                _ if self.steady => kernel | 1,
                None => kernel | 1,
                Some(_) => kernel.min((whole.padded(size) - 1) / dilation + 1),
            };
            Slide { kernel, ..whole }
        };
        let (y, x) = (axis(0, self.shape.height()), axis(1, self.shape.width()));
        Fitted { window: Window { y, x }, same: pad.is_none() }
    }

    /// Pays for a convolution to as many of the wanted channels as the budgets allow.
    fn spend(&mut self, wanted: usize, window: Window) -> Option<usize> {
        self.spend_grouped(wanted, window, 1)
    }

    /// The same of one in groups, which divide the channels there are and will divide those that are had.
    fn spend_grouped(&mut self, wanted: usize, window: Window, groups: usize) -> Option<usize> {
        let (h, w) = window.output((self.shape.height(), self.shape.width()), Round::Floor)?;
        let each = self.shape.channels() / groups * window.taps() * h * w;
        // What is cheap is paid for as if it were not, or many large maps would follow one another, and one of their many switches
        // would always be close.
        let each = if groups == 1 { each } else { each * groups.min(4) };
        let most = (self.budget.macs / each).min(self.budget.elements / (h * w));
        let channels = wanted.max(groups).min(most) / groups * groups;
        if channels == 0 {
            return None;
        }
        self.budget.macs -= channels * each;
        self.shape = Shape::map(channels, h, w);
        Some(channels)
    }

    fn pool(&mut self, word: &str, drawn: &Drawn, ceil: bool, counts: bool) {
        let axis = |number: usize, size: usize| {
            let (kernel, stride, _) = drawn.axes()[number];
            if self.steady {
                return Slide::new(kernel | 1, 1, kernel / 2);
            }
            let slide = |kernel: usize| {
                let pad = drawn.pad.unwrap_or(0);
                let pad = [pad, pad + drawn.more[number]].map(|pad| pad.min(kernel / 2));
                Slide { kernel, stride, pad, dilation: 1 }
            };
            let fits = |slide: &Slide| slide.kernel <= slide.padded(size);
            (1..=kernel).rev().map(slide).find(fits).expect("one pixel fits")
        };
        let window = Window { y: axis(0, self.shape.height()), x: axis(1, self.shape.width()) };
        let round = if ceil { Round::Ceil } else { Round::Floor };
        let (h, w) = window
            .output((self.shape.height(), self.shape.width()), round)
            .expect("the kernel is cut to fit");
        if self.shape.channels() * h * w > self.budget.elements {
            return;
        }
        self.shape = Shape::map(self.shape.channels(), h, w);
        let [kernel, stride, pad] = written(window);
        let count = match (word, counts) {
            ("avgpool", true) => ", count = window",
            _ => "",
        };
        self.write(format_args!(
            " {word}({kernel}, stride = {stride}, pad = {pad}, round = {round}{count})"
        ));
    }
}

/// Kernel, stride and padding as they are written.
fn written(Window { y, x }: Window) -> [String; 3] {
    let pair = |a: usize, b: usize| if a == b { a.to_string() } else { format!("({a}, {b})") };
    let ([top, bottom], [left, right]) = (y.pad, x.pad);
    let pad = match top == bottom && left == right {
        true => pair(top, left),
        false => format!("({top}, {left}, {bottom}, {right})"),
    };
    [pair(y.kernel, x.kernel), pair(y.stride, x.stride), pad]
}

/// A convolution's window and whether its padding is written as `same`.
struct Fitted {
    window: Window,
    same: bool,
}

impl std::fmt::Display for Fitted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [kernel, stride, pad] = written(self.window);
        write!(f, ", kernel = {kernel}, stride = {stride}")?;
        if !self.same {
            write!(f, ", pad = {pad}")?;
        }
        match (self.window.y.dilation, self.window.x.dilation) {
            (1, 1) => Ok(()),
            (y, x) => write!(f, ", dilation = ({y}, {x})"),
        }
    }
}
