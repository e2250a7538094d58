//! Random models that check, over the whole language: every layer of the table with its arguments by position and by
//! name, blocks, repetitions, parameters and arithmetic.

use nin_dsl::layer::{Arg, Default, Kind, LAYERS, LayerSpec, Takes, Yields};
use proptest::collection::vec;
use proptest::prelude::*;

/// Texts whose checked graph exists.
pub(crate) fn models() -> impl Strategy<Value = String> {
    vec(any::<u8>(), 0..400).prop_map(|bytes| Writer { dice: Dice { bytes }, depth: 0 }.text())
}

/// Choices, drawn from the end of a list of bytes; the first of each once they run out.
struct Dice {
    bytes: Vec<u8>,
}

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        usize::from(self.bytes.pop().unwrap_or(0)) % sides
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// The parameters in sight: whole ones with their values, and real ones, which are from 0 to a half.
#[derive(Clone, Copy)]
struct Scope {
    whole: &'static [(&'static str, i64)],
    real: &'static [&'static str],
}

const NONE: Scope = Scope { whole: &[], real: &[] };
const MODEL: Scope = Scope { whole: &[("width", 4), ("odd", 3)], real: &["rate"] };

/// Blocks with parameters of the kinds there are. Their own layers leave a map as large as it was.
const BLOCKS: &[(&str, &[&str], Scope)] = &[
    ("plain", &[], NONE),
    // A block's values differ from use to use: they are named alone, never calculated with.
    ("stage", &["c", "p = 0.5"], Scope { whole: &[], real: &["p"] }),
];

struct Writer {
    dice: Dice,
    /// Repetitions around.
    depth: usize,
}

impl Writer {
    fn text(&mut self) -> String {
        let mut definitions = vec![];
        for (name, slots, scope) in BLOCKS {
            let slots = slots.join(", ");
            let slots = if slots.is_empty() { slots } else { format!("({slots})") };
            // Each parameter is used.
            let uses = if slots.is_empty() { "" } else { "conv(c, kernel = 1) dropout(p)" };
            let chain = self.chain(*scope, false);
            definitions.push(format!("block {name}{slots} < {chain} {uses} >"));
        }
        let (head, scope) = match self.dice.below(3) {
            0 => (String::new(), NONE),
            1 => ("model M".to_owned(), NONE),
            _ => {
                let width = self.whole(4, NONE);
                (format!("pub(crate) model M(width = {width}, odd = 3, rate = 0.25)"), MODEL)
            }
        };
        let uses = match scope.whole {
            [] => "",
            _ => "conv(width, kernel = odd) dropout(rate)",
        };
        let chain = self.chain(scope, true);
        let end = self.end(scope);
        let model = format!("{head} < input(2, 20, 24) {chain} {uses} {end} >");
        definitions.insert(self.dice.below(BLOCKS.len() + 1), model);
        definitions.join("\n")
    }

    /// Layers, repetitions and, if they are in sight, blocks, over a map that stays as large as it is.
    fn chain(&mut self, scope: Scope, blocks: bool) -> String {
        let mut items = vec![];
        for _ in 0..self.dice.below(5) {
            let item = match self.dice.below(7) {
                0 if self.depth < 2 => {
                    self.depth += 1;
                    let count = 1 + self.dice.below(3) as i64;
                    let count = self.whole(count, scope);
                    let chain = self.chain(scope, blocks);
                    self.depth -= 1;
                    format!("repeat({count}) < {chain} >")
                }
                1 if blocks => "plain".to_owned(),
                3 if self.depth < 3 => self.join(scope, blocks),
                2 if blocks => {
                    let (c, p) = (self.whole(3, scope), self.real(scope));
                    match self.dice.below(3) {
                        0 => format!("stage({c})"),
                        1 => format!("stage({c}, {p},)"),
                        _ => format!("stage(p = {p}, c = {c})"),
                    }
                }
                _ => self.layer(scope, |layer| {
                    matches!(layer.takes, Takes::Map | Takes::Any)
                        && matches!(layer.yields, Yields::Map | Yields::Same)
                }),
            };
            items.push(item + self.dice.one(&["", "", ";", ","]));
        }
        items.join(" ")
    }

    /// Branches that go together, whatever stands in them.
    fn join(&mut self, scope: Scope, blocks: bool) -> String {
        self.depth += 1;
        let (a, b) = (self.chain(scope, blocks), self.chain(scope, blocks));
        self.depth -= 1;
        let c = self.whole(3, scope);
        match self.dice.below(5) {
            0 => "add < > < relu > < elu >".to_owned(),
            1 => format!("add() < {a} conv({c}, kernel = 1) > < conv({c}) {b} conv({c}) >"),
            2 => format!("concat < {a} conv({c}) > < conv(2, kernel = 1); > < {b} conv(1) >"),
            3 => format!("mul < {a} conv({c}) > < {b} gap fc({c}) relu, >"),
            _ => "mul < gap ><>< repeat(2) < > >".to_owned(),
        }
    }

    /// Perhaps a vector, layers over it, and a layer that ends the model.
    fn end(&mut self, scope: Scope) -> String {
        if self.dice.below(3) == 0 {
            return String::new();
        }
        let mut layers = vec![self.layer(scope, |layer| layer.yields == Yields::Vector)];
        for _ in 0..self.dice.below(3) {
            let over_vector =
                |layer: &LayerSpec| layer.takes == Takes::Any && layer.yields != Yields::Map;
            layers.push(self.layer(scope, over_vector));
        }
        // Dropout may not be last.
        layers.push("fc(5)".to_owned());
        if self.dice.below(2) == 0 {
            layers.push(self.layer(scope, |layer| layer.yields == Yields::End));
        }
        layers.join(" ")
    }

    /// A call of one of the layers that are wanted, with arguments under which it leaves a map as large as it was.
    fn layer(&mut self, scope: Scope, wanted: impl Fn(&LayerSpec) -> bool) -> String {
        let layers: Vec<&LayerSpec> =
            LAYERS.iter().copied().filter(|layer| wanted(layer)).collect();
        let layer = self.dice.one(&layers);
        let kernel = self.dice.one(&[1, 3, 5]);
        let named_from = self.dice.below(layer.args.len() + 1);
        let mut arguments = vec![];
        let mut by_name = false;
        for (i, arg) in layer.args.iter().enumerate() {
            // A window's arguments go together; of the others those with a default may be left out.
            let fixed = matches!(arg.key, "kernel" | "stride") || arg.kind == Kind::PoolPadding;
            if arg.default != Default::Required && !fixed && self.dice.below(2) == 0 {
                by_name = true;
                continue;
            }
            // A list takes all that has no name.
            let list = arg.kind == Kind::ChannelList;
            by_name |= i >= named_from && !list;
            let value = self.value(arg, kernel, scope);
            arguments.push(if by_name { format!("{} = {value}", arg.name) } else { value });
            by_name |= list;
        }
        let comma = self.dice.one(&["", "", ","]);
        match arguments.as_slice() {
            [] => format!("{}{}", layer.word, self.dice.one(&["", "()"])),
            _ => format!("{}({}{comma})", layer.word, arguments.join(", ")),
        }
    }

    fn value(&mut self, arg: &Arg, kernel: i64, scope: Scope) -> String {
        let small = 1 + self.dice.below(9) as i64;
        match arg.kind {
            Kind::ChannelList => {
                let count = 1 + self.dice.below(3);
                let list: Vec<String> = (0..count).map(|_| self.whole(small, scope)).collect();
                list.join(", ")
            }
            Kind::Sides if arg.key == "kernel" => self.sides(kernel, scope),
            Kind::Sides if arg.key == "stride" => self.sides(1, scope),
            Kind::Sides => self.sides(small, scope),
            // They divide whatever channels there are.
            Kind::Positive if arg.key == "groups" => self.whole(1, scope),
            Kind::Positive if arg.key == "multiplier" => self.whole(small % 2 + 1, scope),
            Kind::Channels | Kind::Positive => self.whole(small, scope),
            Kind::Padding => "same".to_owned(),
            Kind::PoolPadding => self.sides(kernel / 2, scope),
            Kind::Rounding => self.dice.one(&["floor", "ceil"]).to_owned(),
            Kind::Counting => self.dice.one(&["real", "window"]).to_owned(),
            Kind::Switch => self.dice.one(&["0", "1"]).to_owned(),
            Kind::Group => self.whole(small + 1, scope),
            Kind::Odd => self.whole(small | 1, scope),
            Kind::Probability
            | Kind::Real
            | Kind::NonNegative
            | Kind::Eps
            | Kind::Share
            | Kind::Start => self.real(scope),
        }
    }

    /// The same number for all sides, in one of the forms for that.
    fn sides(&mut self, n: i64, scope: Scope) -> String {
        match self.dice.below(3) {
            0 => format!("({}, {})", self.whole(n, scope), self.whole(n, scope)),
            _ => self.whole(n, scope),
        }
    }

    /// Arithmetic whose value is `n`.
    fn whole(&mut self, n: i64, scope: Scope) -> String {
        match (self.dice.below(8), scope.whole) {
            (0, _) => format!("({n})"),
            (1, _) => format!("{} - 2", n + 2),
            (2, _) => format!("7 * ({n} + 1) / 7 - 1"),
            (3, _) => format!("-(-{n})"),
            (4 | 5, [_, ..]) => {
                let (name, value) = self.dice.one(scope.whole);
                format!("{name} + {n} - {value}")
            }
            (6, [_, ..]) => {
                let (name, value) = self.dice.one(scope.whole);
                format!("-({name} - ({value} + {n} * 1))")
            }
            _ => n.to_string(),
        }
    }

    /// Arithmetic whose value is above 0 and below 1.
    fn real(&mut self, scope: Scope) -> String {
        let number = self.dice.one(&["0.5", "1e-3", "0.125", "2.5e-1"]);
        match (self.dice.below(4), scope.real) {
            (0, _) => format!("1.0 - {number}"),
            (1 | 2, [name, ..]) => format!("{number} * (1 - {name})"),
            _ => number.to_owned(),
        }
    }
}
