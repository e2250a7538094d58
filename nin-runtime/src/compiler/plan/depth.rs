//! Depth first: bands of rows that go through several windows, so that a wide map between two of them never leaves the
//! second-level cache.
//!
//! A band is some rows of what the last of a few stages writes. Every stage before that makes the rows which the next one's windows
//! reach and which it has not made yet; what the next band still reads is moved to the top of its buffer between two bands. Nothing
//! is made twice, but for rows that are reached from two threads' shares of one image.
//!
//! How a chain of stages is cut into such runs is a choice by bytes: what a cut writes to memory and reads again, against what
//! bands move to the top of buffers and how often they read weights. It is made by the model alone, like all of the plan.
#![warn(clippy::wildcard_enum_match_arm)]

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use nin_dsl::graph::{Graph, Op};
use nin_dsl::shape::{Shape, Slide};

use super::{BufferKey, ConvPlan, Places, PlannedBlock, Product, Step, cut};
use crate::compiler::Elem;
use crate::compiler::autodiff::TensorId;
use crate::compiler::fuse::{Block, Domain, Stage, StageOp};

/// Bytes of the largest map that is still in the second-level cache when the next stage reads it.
const NEAR: usize = 256 << 10;
/// Bytes of the bands and weights of a run that stay in that cache together.
const ROOM: usize = 512 << 10;
/// Bytes that are moved within the cache, or read from it once more, for one that goes to memory and back.
const NEARER: u64 = 4;

/// Bands that an image has at least where all that can goes depth first.
const FEW_BANDS: usize = 4;

/// Which chains of stages go depth first: a part of the value of `--algo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// Those of which it saves bytes.
    #[default]
    Auto,
    /// None.
    Never,
    /// All that can.
    Always,
}

impl Depth {
    /// Every choice and its word.
    pub const ALL: [(Depth, &str); 3] =
        [(Depth::Auto, "auto"), (Depth::Never, "never"), (Depth::Always, "always")];
    /// What stands before the word in a list of algorithms; no layer has such a name.
    pub const KEY: &str = "depth-first";
}

impl fmt::Display for Depth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Depth::ALL.iter().find(|(depth, _)| depth == self).map_or("", |(_, word)| word);
        f.write_str(word)
    }
}

impl FromStr for Depth {
    type Err = String;

    fn from_str(text: &str) -> Result<Depth, String> {
        let found = Depth::ALL.iter().find(|(_, word)| *word == text);
        let words = Depth::ALL.map(|(_, word)| word).join(", ");
        found.map(|(depth, _)| *depth).ok_or_else(|| format!("`{text}` is none of {words}"))
    }
}

/// How the rows that a stage writes look at the rows that it reads; `None` if it takes a map as a whole.
pub(crate) fn slide(graph: &Graph, stage: &Stage) -> Option<Slide> {
    let StageOp::Forward { .. } = stage.op else { return None };
    let Shape::Map { .. } = graph.node(stage.node).shape else { return None };
    match graph.node(stage.node).op {
        Op::Conv { window, .. } | Op::MaxPool { window, .. } | Op::AvgPool { window, .. } => {
            Some(window.y)
        }
        Op::Relu | Op::Activation(_) | Op::PRelu { .. } | Op::BatchNorm { .. } => {
            Some(Slide::new(1, 1, 0))
        }
        Op::Input
        | Op::GlobalAvgPool
        | Op::GlobalMaxPool
        | Op::Dropout { .. }
        | Op::Lrn { .. }
        | Op::Softmax
        | Op::Add
        | Op::Concat
        | Op::Mul => None,
    }
}

/// Whether every row is made of the same row.
fn is_pointwise(slide: Slide) -> bool {
    slide == Slide::new(1, 1, 0)
}

/// The rows of each stage's result that a run keeps at a time, where bands have `rows` rows of the last one's.
pub fn kept_rows(graph: &Graph, stages: &[Stage], rows: usize) -> Vec<usize> {
    let mut kept = vec![rows; stages.len()];
    for index in (1..stages.len()).rev() {
        let slide = slide(graph, &stages[index]).expect("it goes row by row (a bug in nin)");
        // Where windows leave rows out, those lie in the buffer all the same.
        let reach = (kept[index] - 1) * slide.stride + slide.reach().max(slide.stride);
        kept[index - 1] = reach.min(graph.node(stages[index - 1].node).shape.height());
    }
    kept
}

/// The stages of blocks on maps that come one after the other.
struct Chain<'a> {
    graph: &'a Graph,
    convs: &'a [ConvPlan],
    stages: Vec<Stage>,
    /// The block that each comes from.
    blocks: Vec<usize>,
    /// Whether each reads what the one before it writes, and nothing else does.
    follows: Vec<bool>,
    places: &'a Places,
    /// How often stages of the pass touch each buffer.
    touches: &'a BTreeMap<BufferKey, usize>,
    depth: Depth,
}

/// How often each buffer is touched, by its tensors.
fn touches(places: &Places, tensors: impl Iterator<Item = TensorId>) -> BTreeMap<BufferKey, usize> {
    let mut touches = BTreeMap::new();
    for view in tensors.filter_map(|tensor| places.view(tensor)) {
        *touches.entry(view.buffer).or_default() += 1;
    }
    touches
}

/// What a way to cut a chain costs: bytes that go to memory and back. Of ways that cost as much, the one with fewest runs is plainest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    bytes: u64,
    runs: usize,
}

/// A part of a chain: stages, and the rows of a band if it goes depth first.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    stages: Range<usize>,
    rows: Option<usize>,
}

impl Chain<'_> {
    /// Bytes of a row of a stage's result, and of all of it.
    fn map(&self, index: usize) -> (usize, usize) {
        let shape = self.graph.node(self.stages[index].node).shape;
        let row = shape.width() * shape.channels() * Elem::F32.bytes();
        (row, row * shape.height())
    }

    fn conv(&self, index: usize) -> Option<&ConvPlan> {
        self.convs.iter().find(|conv| conv.node == self.stages[index].node)
    }

    /// How a stage slides, if it can be one of several that a band goes through.
    fn slide(&self, index: usize) -> Option<Slide> {
        let is_transformed =
            self.conv(index).is_some_and(|conv| conv.winograd(Product::Forward).is_some());
        slide(self.graph, &self.stages[index]).filter(|_| !is_transformed)
    }

    /// Whether nobody else touches what lies between the stages of a run: rows that two threads' shares reach are made by both. The
    /// last stages may work in the place of the result, of which every row is one thread's.
    fn is_private(&self, stages: Range<usize>, slides: &[Slide]) -> bool {
        let result = self.places.view(self.stages[stages.end - 1].writes).map(|view| view.buffer);
        let inner = stages.clone().flat_map(|index| {
            let stage = &self.stages[index];
            let reads = if index == stages.start { &[] } else { &stage.reads[..] };
            reads.iter().copied().chain([stage.writes]).chain(stage.beside())
        });
        let inner = touches(self.places, inner);
        (stages.start..stages.end - 1).zip(1..).all(|(index, next)| {
            let buffer = self.places.view(self.stages[index].writes).map(|view| view.buffer);
            let is_last =
                buffer == result && slides[next..].iter().all(|&slide| is_pointwise(slide));
            is_last || buffer.is_some_and(|key| inner.get(&key) == self.touches.get(&key))
        })
    }

    /// Whether a stage is in one step with the one before it anyway.
    fn is_banded(&self, index: usize) -> bool {
        self.blocks[index] == self.blocks[index - 1]
            && cut::goes_on(self.graph, self.convs, [index - 1, index].map(|at| &self.stages[at]))
    }

    /// What it costs to cut before a stage.
    fn cut(&self, index: usize) -> u64 {
        let (_, bytes) = self.map(index - 1);
        let is_far = bytes > NEAR || self.depth == Depth::Always;
        if is_far || self.is_banded(index) { 2 * bytes as u64 } else { 0 }
    }

    /// Bytes of weights that a run reads.
    fn weights(&self, stages: Range<usize>) -> usize {
        let convs = stages.filter_map(|index| self.conv(index));
        let floats = convs.map(|conv| self.graph.weight(conv.kernel).elements());
        floats.sum::<usize>() * Elem::F32.bytes()
    }

    /// A chain of stages depth first: rows of a band, and what it costs within the cache; `None` if it cannot be, or does not fit.
    fn run(&self, stages: Range<usize>) -> Option<(usize, Cost)> {
        let slides: Option<Vec<Slide>> = stages.clone().map(|index| self.slide(index)).collect();
        let slides = slides?;
        if slides[1..].iter().all(|&slide| is_pointwise(slide)) {
            return None;
        }
        if !self.is_private(stages.clone(), &slides) {
            return None;
        }
        let weights = self.weights(stages.clone());
        let room = |rows: usize| {
            let kept = kept_rows(self.graph, &self.stages[stages.clone()], rows);
            let bands = stages.clone().zip(kept).map(|(index, rows)| self.map(index).0 * rows);
            bands.sum::<usize>() + weights
        };
        let height = self.graph.node(self.stages[stages.end - 1].node).shape.height();
        let rows = (1..=height).rev().find(|&rows| room(rows) <= ROOM);
        let rows = match self.depth {
            Depth::Auto | Depth::Never => rows?,
            // Else a small map would be a single band.
            Depth::Always => rows.unwrap_or(1).min(height.div_ceil(FEW_BANDS)),
        };
        let bands = height.div_ceil(rows) as u64;
        let moved = |(index, slide): (usize, &Slide)| {
            2 * (slide.reach().saturating_sub(slide.stride) * self.map(index).0) as u64
        };
        let moved: u64 = stages.zip(&slides[1..]).map(moved).sum();
        let bytes = (bands - 1) * (moved + weights as u64) / NEARER;
        Some((rows, Cost { bytes, runs: 1 }))
    }

    /// The pieces that cost least.
    fn pieces(&self) -> Vec<Piece> {
        let count = self.stages.len();
        // Of the stages before each: what the best way to cut them costs, and its last piece.
        let mut best: Vec<(Cost, Option<Piece>)> = vec![(Cost::default(), None)];
        for end in 1..=count {
            let cut = if end < count { self.cut(end) } else { 0 };
            let mut found: Option<(Cost, Piece)> = None;
            let (mut banded, mut is_run) = (true, true);
            for start in (0..end).rev() {
                is_run &= self.slide(start).is_some();
                is_run &= start + 1 == end || self.follows[start + 1];
                if !banded && !is_run {
                    break;
                }
                let before = best[start].0;
                let mut try_out = |rows: Option<usize>, cost: Cost| {
                    let cost = Cost {
                        bytes: before.bytes + cost.bytes + cut,
                        runs: before.runs + cost.runs,
                    };
                    if found.as_ref().is_none_or(|(least, _)| cost < *least) {
                        found = Some((cost, Piece { stages: start..end, rows }));
                    }
                };
                if banded && (start + 1 == end || cut::is_conv(self.graph, &self.stages[start])) {
                    try_out(None, Cost::default());
                }
                if let Some((rows, cost)) = is_run.then(|| self.run(start..end)).flatten() {
                    try_out(Some(rows), cost);
                }
                banded = banded && start > 0 && self.is_banded(start);
            }
            let (cost, piece) = found.expect("a stage alone is a piece (a bug in nin)");
            best.push((cost, Some(piece)));
        }
        let mut pieces = Vec::new();
        let mut end = count;
        while let Some(piece) = &best[end].1 {
            pieces.push(piece.clone());
            end = piece.stages.start;
        }
        pieces.reverse();
        pieces
    }

    /// The blocks of the chain, those in one where a run goes from one to the next.
    fn cut_up(&self, names: &[String]) -> Vec<PlannedBlock> {
        let mut planned: Vec<PlannedBlock> = Vec::new();
        let mut last = None;
        for Piece { stages, rows } in self.pieces() {
            if last != Some(self.blocks[stages.start]) {
                let name = names[self.blocks[stages.start]].clone();
                let block = Block { name, domain: Domain::Image, phase: 0, stages: Vec::new() };
                planned.push(PlannedBlock { block, steps: Vec::new(), gathers: Vec::new() });
            }
            let PlannedBlock { block, steps, .. } =
                planned.last_mut().expect("one was begun (a bug in nin)");
            for index in stages.clone().skip(1) {
                if self.blocks[index] != self.blocks[index - 1] {
                    block.name = format!("{} {}", block.name, names[self.blocks[index]]);
                }
            }
            last = Some(self.blocks[stages.end - 1]);
            let first = block.stages.len();
            block.stages.extend(self.stages[stages.clone()].iter().cloned());
            let stages = first..first + stages.len();
            match rows {
                Some(rows) => steps.push(Step::DepthFirst { stages, rows }),
                None => cut::piece(self.graph, block, stages, self.convs, steps),
            }
        }
        planned
    }
}

/// Cuts the blocks of a forward pass into steps. Blocks become one where a band goes through stages of several.
pub(super) fn cut_up(
    graph: &Graph,
    blocks: &[Block],
    places: &Places,
    (convs, depth): (&[ConvPlan], Depth),
    result: TensorId,
) -> Vec<PlannedBlock> {
    let stages = || blocks.iter().flat_map(|block| &block.stages);
    let reads = |stage: &Stage| [stage.reads.clone(), Vec::from_iter(stage.beside())].concat();
    let mut readers: BTreeMap<TensorId, usize> = BTreeMap::from([(result, 1)]);
    for tensor in stages().flat_map(reads) {
        *readers.entry(tensor).or_default() += 1;
    }
    let written = stages().map(|stage| stage.writes);
    let touches = touches(places, stages().flat_map(reads).chain(written).chain([result]));
    let follows = |before: &Stage, stage: &Stage| {
        stage.reads == [before.writes] && readers.get(&before.writes) == Some(&1)
    };
    let names: Vec<String> = blocks.iter().map(|block| block.name.clone()).collect();
    let mut planned = Vec::new();
    let mut chain: Option<Chain<'_>> = None;
    for (number, block) in blocks.iter().enumerate() {
        if block.domain == Domain::Chunk {
            planned.extend(chain.take().into_iter().flat_map(|chain| chain.cut_up(&names)));
            let steps = cut::steps(graph, block, convs);
            planned.push(PlannedBlock { steps, block: block.clone(), gathers: Vec::new() });
            continue;
        }
        let chain = chain.get_or_insert_with(|| Chain {
            graph,
            convs,
            stages: vec![],
            blocks: vec![],
            follows: vec![],
            places,
            touches: &touches,
            depth,
        });
        for stage in &block.stages {
            chain.follows.push(chain.stages.last().is_some_and(|last| follows(last, stage)));
            chain.stages.push(stage.clone());
            chain.blocks.push(number);
        }
    }
    planned.extend(chain.into_iter().flat_map(|chain| chain.cut_up(&names)));
    planned
}
