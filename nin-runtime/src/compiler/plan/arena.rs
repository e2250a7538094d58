//! Where the tensors of a pass lie: one buffer a tensor that is really stored, placed by lifetime.

use std::ops::RangeInclusive;

use nin_dsl::graph::{Graph, NodeId};

use super::{
    ChannelRows, ConvPlan, Images, LINE, Places, PlannedBlock, Product, Reach, Run, Spectrum,
    SpectrumLayout, Step, kept_rows,
};
use crate::compiler::Elem;
use crate::compiler::autodiff::TensorId;
use crate::compiler::fuse::{Domain, Stage, StageOp};
use crate::compiler::kernel::{Tile, Transform};

/// What a buffer is of. What works in place shares the buffer of what it works on ([`Places`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BufferKey {
    /// The value of a node and of the in-place ops after it.
    Value(NodeId),
    /// The gradient of that value.
    Grad(NodeId),
    /// A tensor of a convolution in Winograd's domain.
    Spectrum(NodeId, Spectrum),
    /// Scratch of transforms, and of normalisations across channels.
    Scratch,
}

/// How much of a map is kept at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extent {
    /// A band of rows of one image.
    Band(usize),
    /// One image.
    Image,
    /// Every image of the chunk.
    Chunk,
    /// Every image of the batch: a later phase reads it.
    Batch,
}

/// What a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// A map.
    Map {
        /// Bytes of one image.
        image: usize,
        /// How much is kept at a time.
        extent: Extent,
    },
    /// A spectrum; of a band, it is each thread's own.
    Spectrum(SpectrumLayout),
    /// What the transforms and normalisations across channels of a thread work in.
    Scratch {
        /// As much as the largest of them asks for.
        bytes: usize,
    },
}

/// A tensor's place: in a thread's arena, or in the store that all threads share if it outlives a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// What it is of.
    pub key: BufferKey,
    /// First byte.
    pub offset: usize,
    /// Bytes.
    pub bytes: usize,
    /// What it holds.
    pub holds: Holds,
    /// Blocks during which it holds something.
    pub live: RangeInclusive<usize>,
    /// The run of steps (of all blocks, counted) in which it is first touched.
    run: usize,
}

impl BufferKey {
    /// The tensor whose shape the buffer has; none if it is no map.
    fn tensor(self) -> Option<TensorId> {
        match self {
            BufferKey::Value(id) => Some(TensorId::Value(id)),
            BufferKey::Grad(id) => Some(TensorId::Grad(id)),
            BufferKey::Spectrum(..) | BufferKey::Scratch => None,
        }
    }

    /// The node whose shape the buffer has; none if it is no map.
    pub fn node(self) -> Option<NodeId> {
        match self {
            BufferKey::Value(id) | BufferKey::Grad(id) => Some(id),
            BufferKey::Spectrum(..) | BufferKey::Scratch => None,
        }
    }
}

impl Buffer {
    /// A map: bytes of one image, and how much is kept at a time.
    ///
    /// # Panics
    /// If it is none: a bug in nin.
    pub fn map(&self) -> (usize, Extent) {
        match self.holds {
            Holds::Map { image, extent } => (image, extent),
            Holds::Spectrum(_) | Holds::Scratch { .. } => {
                unreachable!("{self} is no map (a bug in nin)")
            }
        }
    }

    /// Whether it lies in the store, which outlives a phase.
    pub fn is_stored(&self) -> bool {
        matches!(self.holds, Holds::Map { extent: Extent::Batch, .. })
    }
}

/// Something that a step touches.
enum Touch {
    /// So much of a map at a time.
    Map(BufferKey, Extent),
    /// A spectrum of a convolution.
    Spectrum(NodeId, Spectrum),
}

/// Every tensor a stage touches.
fn touched(stage: &Stage) -> impl Iterator<Item = TensorId> {
    stage.reads.iter().copied().chain(made(stage))
}

/// Every tensor a stage touches when its products are made already.
fn made(stage: &Stage) -> impl Iterator<Item = TensorId> {
    [stage.writes].into_iter().chain(stage.beside())
}

/// Everything that a step of a block touches, and how much of it at a time.
fn touched_by(
    (graph, places): (&Graph, &Places),
    convs: &[ConvPlan],
    PlannedBlock { block, .. }: &PlannedBlock,
    step: &Step,
) -> Vec<Touch> {
    let conv = |node: NodeId| convs.iter().find(|conv| conv.node == node);
    let keys = |tensor| places.view(tensor).map(|view| view.buffer);
    let whole = if block.domain == Domain::Chunk { Extent::Chunk } else { Extent::Image };
    let of_products = |product| match product {
        Product::KernelGrad => {
            vec![Spectrum::Operand(product), Spectrum::Grad, Spectrum::Result(product)]
        }
        Product::Forward | Product::InputGrad => {
            vec![Spectrum::Operand(product), Spectrum::Result(product)]
        }
    };
    match step {
        Step::Whole(number) => {
            let stage = &block.stages[*number];
            let gathers = matches!(stage.op, StageOp::InputGrad { .. })
                && whole == Extent::Image
                && conv(stage.node).is_some_and(|conv| conv.winograd(Product::InputGrad).is_some());
            let tensors: Vec<TensorId> =
                if gathers { made(stage).collect() } else { touched(stage).collect() };
            let result = Touch::Spectrum(stage.node, Spectrum::Result(Product::InputGrad));
            let found = tensors.into_iter().filter_map(keys).map(|key| Touch::Map(key, whole));
            found.chain(gathers.then_some(result)).collect()
        }
        Step::Banded { stages, rows, .. } => {
            let mut all = Vec::new();
            for number in stages.clone() {
                let stage = &block.stages[number];
                let winograd = conv(stage.node).and_then(|conv| conv.winograd(Product::Forward));
                let winograd = winograd.filter(|_| number == stages.start);
                let reads = match winograd.map(|winograd| winograd.reach) {
                    Some(Reach::Band) => {
                        let spectra = of_products(Product::Forward).into_iter();
                        all.extend(spectra.map(|of| Touch::Spectrum(stage.node, of)));
                        &stage.reads[..]
                    }
                    Some(Reach::Image | Reach::Chunk) => {
                        let of = Spectrum::Result(Product::Forward);
                        all.push(Touch::Spectrum(stage.node, of));
                        &[]
                    }
                    None => &stage.reads[..],
                };
                // What the first convolution of a band reads is no band: its windows overlap.
                let band = Extent::Band(*rows);
                let read = if number == stages.start { Extent::Image } else { band };
                let reads = reads.iter().map(|&tensor| (tensor, read));
                let tensors = reads.chain(made(stage).map(|tensor| (tensor, band)));
                let maps = tensors.filter_map(|(of, extent)| Some(Touch::Map(keys(of)?, extent)));
                all.extend(maps);
            }
            all
        }
        Step::DepthFirst { stages, rows } => {
            let stages = &block.stages[stages.clone()];
            let kept = kept_rows(graph, stages, *rows);
            let mut all = Vec::new();
            for (index, stage) in stages.iter().enumerate() {
                // What goes in and out is not the bands' alone.
                let band =
                    |at: Option<usize>| at.map_or(Extent::Image, |at| Extent::Band(kept[at]));
                let inner = Some(index).filter(|index| index + 1 < stages.len());
                let reads = stage.reads.iter().map(|&read| (read, band(index.checked_sub(1))));
                let beside = stage.beside().map(|beside| (beside, Extent::Image));
                let tensors = reads.chain([(stage.writes, band(inner))]).chain(beside);
                all.extend(tensors.filter_map(|(of, extent)| Some(Touch::Map(keys(of)?, extent))));
            }
            all
        }
        Step::Transform { stage, spectrum: to } => {
            let stage = &block.stages[*stage];
            let tensor = stage.reads[to.operand()];
            let read = keys(tensor).map(|key| Touch::Map(key, Extent::Image));
            read.into_iter().chain([Touch::Spectrum(stage.node, *to)]).collect()
        }
        Step::Products { stage, .. } => {
            let stage = &block.stages[*stage];
            let spectra = of_products(super::product_of(stage.op)).into_iter();
            spectra.map(|of| Touch::Spectrum(stage.node, of)).collect()
        }
    }
}

/// Where the tensors of a pass lie, and how much room that takes (in bytes).
pub(super) struct Layout {
    pub(super) buffers: Vec<Buffer>,
    pub(super) arena: usize,
    pub(super) store: usize,
}

/// Gives every tensor of a pass a place: largest first, at the lowest offset where nothing live overlaps.
pub(super) fn lay_out(
    graph: &Graph,
    places: &Places,
    blocks: &[PlannedBlock],
    convs: &[ConvPlan],
    images: Images,
    result: Option<TensorId>,
) -> Layout {
    let mut buffers = tensors((graph, places), blocks, convs, images.chunk, result);
    let last = blocks.len() - 1;
    let phases = |buffer: &Buffer| {
        let (start, end) = (*buffer.live.start(), *buffer.live.end());
        blocks[start].block.phase..=blocks[end.min(last)].block.phase
    };
    for buffer in &mut buffers {
        let phases = phases(buffer);
        let kept = match &mut buffer.holds {
            Holds::Map { image, extent } => {
                if phases.start() != phases.end() {
                    *extent = Extent::Batch;
                }
                let node = buffer.key.node().expect("a map is a node's (a bug in nin)");
                match *extent {
                    Extent::Band(rows) => rows * *image / graph.node(node).shape.height(),
                    Extent::Image => *image,
                    Extent::Chunk => images.chunk * *image,
                    Extent::Batch => images.batch * *image,
                }
            }
            Holds::Spectrum(layout) => layout.bytes(),
            Holds::Scratch { bytes } => *bytes,
        };
        buffer.bytes = (kept + Tile::OVERREAD).next_multiple_of(LINE);
    }
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&index| (std::cmp::Reverse(buffers[index].bytes), buffers[index].key));
    let mut placed: Vec<usize> = Vec::with_capacity(order.len());
    for index in order {
        let mut conflicts: Vec<_> = placed
            .iter()
            .map(|&other| &buffers[other])
            .filter(|other| match (buffers[index].is_stored(), other.is_stored()) {
                // Every image comes through a phase's blocks before the next does: two tensors of all images share room
                // only if no phase has both.
                (true, true) => overlap(&phases(&buffers[index]), &phases(other)),
                (true, false) | (false, true) => false,
                (false, false) => overlap(&other.live, &buffers[index].live),
            })
            .map(|other| other.offset..other.offset + other.bytes)
            .collect();
        conflicts.sort_by_key(|range| range.start);
        let mut offset = 0;
        for range in conflicts {
            if offset + buffers[index].bytes <= range.start {
                break;
            }
            offset = offset.max(range.end);
        }
        buffers[index].offset = offset;
        placed.push(index);
    }
    let size = |stored: bool| {
        let kept = buffers.iter().filter(|buffer| buffer.is_stored() == stored);
        kept.map(|buffer| buffer.offset + buffer.bytes).max().unwrap_or(0)
    };
    let (arena, store) = (size(false), size(true));
    Layout { buffers, arena, store }
}

fn overlap(a: &RangeInclusive<usize>, b: &RangeInclusive<usize>) -> bool {
    a.start() <= b.end() && b.start() <= a.end()
}

/// Everything stored with its lifetime and extent, not placed yet, in order of first use.
fn tensors(
    (graph, places): (&Graph, &Places),
    blocks: &[PlannedBlock],
    convs: &[ConvPlan],
    chunk: usize,
    result: Option<TensorId>,
) -> Vec<Buffer> {
    let end = blocks.len();
    let mut found = Found { graph, places, convs, chunk, end, buffers: Vec::new() };
    let mut run = 0;
    for (index, planned) in blocks.iter().enumerate() {
        for steps in planned.runs() {
            let steps = match steps {
                Run::Images(steps) => steps,
                Run::Chunk(step) => step..step + 1,
            };
            for step in &planned.steps[steps] {
                if let Step::Whole(number) = step
                    && let Some(rows) = ChannelRows::of(graph, planned.block.stages[*number].node)
                {
                    found.scratch(rows.floats());
                }
                for touch in touched_by((graph, places), convs, planned, step) {
                    match touch {
                        Touch::Map(key, extent) => found.map(key, extent, (index, run)),
                        Touch::Spectrum(node, spectrum) => found.spectrum(node, spectrum, index),
                    }
                }
            }
            run += 1;
        }
    }
    if let Some(view) = result.and_then(|result| places.view(result)) {
        found.map(view.buffer, Extent::Chunk, (end, run));
    }
    found.buffers
}

/// The buffers of a pass, as they are found.
struct Found<'a> {
    graph: &'a Graph,
    places: &'a Places,
    convs: &'a [ConvPlan],
    /// Images of a chunk.
    chunk: usize,
    /// One past the last block.
    end: usize,
    buffers: Vec<Buffer>,
}

impl Found<'_> {
    /// A map is touched in a block, and in a run of steps of all blocks.
    fn map(&mut self, key: BufferKey, extent: Extent, (block, run): (usize, usize)) {
        let Some(buffer) = self.buffers.iter_mut().find(|buffer| buffer.key == key) else {
            let node = key.node().expect("a map is a node's (a bug in nin)");
            let view = key.tensor().and_then(|tensor| self.places.view(tensor));
            let elem = view.expect("it lies in itself (a bug in nin)").elem;
            let image = self.graph.node(node).shape.elements() * elem.bytes();
            let holds = Holds::Map { image, extent };
            let live = block..=block;
            self.buffers.push(Buffer { key, offset: 0, bytes: 0, holds, live, run });
            return;
        };
        let alone = buffer.run == run;
        if let Holds::Map { extent: kept, .. } = &mut buffer.holds {
            *kept = match (*kept, extent) {
                (before, now) if alone && before == now => now,
                (Extent::Chunk, _) | (_, Extent::Chunk) => Extent::Chunk,
                _ if alone => Extent::Image,
                _ => Extent::Chunk,
            };
        }
        buffer.live = *buffer.live.start()..=block;
    }

    /// A spectrum is touched in a block: it does not outlive it.
    fn spectrum(&mut self, node: NodeId, spectrum: Spectrum, block: usize) {
        let conv = self.convs.iter().find(|conv| conv.node == node);
        let conv = conv.expect("every convolution is planned (a bug in nin)");
        let holds = Holds::Spectrum(conv.spectrum(spectrum, self.chunk));
        // A kernel's gradient is summed from the first chunk to the end of the last.
        let sums = spectrum == Spectrum::Result(Product::KernelGrad);
        let live = if sums { 0..=self.end } else { block..=block };
        self.fixed(BufferKey::Spectrum(node, spectrum), holds, live);
        self.scratch(Transform::SCRATCH);
    }

    /// So many floats of scratch are asked for.
    fn scratch(&mut self, floats: usize) {
        let asked = floats * Elem::F32.bytes();
        self.fixed(BufferKey::Scratch, Holds::Scratch { bytes: asked }, 0..=self.end);
        for buffer in &mut self.buffers {
            if let Holds::Scratch { bytes } = &mut buffer.holds {
                *bytes = asked.max(*bytes);
            }
        }
    }

    /// A buffer whose size and lifetime are known at once.
    fn fixed(&mut self, key: BufferKey, holds: Holds, live: RangeInclusive<usize>) {
        if !self.buffers.iter().any(|buffer| buffer.key == key) {
            self.buffers.push(Buffer { key, offset: 0, bytes: 0, holds, live, run: 0 });
        }
    }
}
