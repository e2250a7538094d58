//! [`Planned`], the ticket by which code is written: a graph and a plan that keeps what it promises.
#![warn(clippy::wildcard_enum_match_arm)]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use nin_dsl::graph::{Graph, NodeId, Op, Role};

use super::{Buffer, BufferKey, Extent, Gather, Pass, Phase, Plan, Step, kept_rows};
use crate::compiler::activation::{Elementwise, Reads, elementwise};
use crate::compiler::autodiff::TensorId;
use crate::compiler::fuse::{Stage, StageOp};

/// A graph and its plan. Only [`verify`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Planned<'a> {
    graph: &'a Graph,
    plan: &'a Plan,
}

impl<'a> Planned<'a> {
    /// The graph.
    pub fn graph(self) -> &'a Graph {
        self.graph
    }

    /// Its plan.
    pub fn plan(self) -> &'a Plan {
        self.plan
    }
}

/// A plan of a graph as code may be written for it; where assertions are on, one that keeps its promises:
///
/// - every tensor that a stage reads was written, is whole, and is still where it was written;
/// - every tensor has a place, and no two that hold something at the same time overlap;
/// - what is joined without a copy is where it is joined;
/// - what overwrites a tensor is the last to read it, but for masks, which find the signs they look for;
/// - sums over the batch are gathered between the phase that leaves them and the phase that reads them, those over a chunk
///   between the blocks;
/// - of what goes depth first, nobody else reads what is between two stages, and a buffer has room for the rows that are kept;
/// - every trained weight has one gradient, and every block belongs to a phase.
///
/// # Panics
/// On a violation, which is a bug in nin.
pub fn verify<'a>(graph: &'a Graph, plan: &'a Plan) -> Planned<'a> {
    if cfg!(debug_assertions) {
        check(graph, plan);
    }
    Planned { graph, plan }
}

/// The promises, whether assertions are on or not.
fn check(graph: &Graph, plan: &Plan) {
    for pass in [Some(&plan.inference), plan.training.as_ref()].into_iter().flatten() {
        phases(pass);
        places(pass);
        depth_first(graph, pass);
        let mut walk =
            Walk { graph, pass, holds: Vec::new(), sums: BTreeMap::new(), whole: BTreeSet::new() };
        for (number, phase) in pass.phases.iter().enumerate() {
            walk.phase(number, phase);
        }
    }
    if let Some(training) = &plan.training {
        gradients(graph, training);
    }
}

/// Blocks are in phases, one after the other.
fn phases(pass: &Pass) {
    let mut end = 0;
    for (number, Phase { blocks, gathers }) in pass.phases.iter().enumerate() {
        assert_eq!(blocks.start, end, "phase {number} begins elsewhere (a bug in nin)");
        assert!(!blocks.is_empty(), "phase {number} has no blocks (a bug in nin)");
        let is_last = number + 1 == pass.phases.len();
        assert_eq!(gathers.is_empty(), is_last, "phase {number}: what it gathers (a bug in nin)");
        end = blocks.end;
    }
    assert_eq!(end, pass.blocks.len(), "a block belongs to no phase (a bug in nin)");
}

/// No two buffers that hold something at the same time share memory, and all lie within their memory.
fn places(pass: &Pass) {
    let memory = |buffer: &Buffer| buffer.offset..buffer.offset + buffer.bytes;
    for (index, buffer) in pass.buffers.iter().enumerate() {
        let size = if buffer.is_stored() { pass.store } else { pass.arena };
        assert!(memory(buffer).end <= size, "{buffer} ends outside (a bug in nin)");
        for other in &pass.buffers[index + 1..] {
            let together =
                buffer.is_stored() == other.is_stored() && live_together(pass, buffer, other);
            let overlap = memory(buffer).start < memory(other).end
                && memory(other).start < memory(buffer).end;
            assert!(!(together && overlap), "{buffer} and {other} overlap (a bug in nin)");
        }
    }
}

/// Whether two buffers of the same memory hold something at the same time. Every image comes through the blocks of a phase before
/// the next does, so that what is stored is there for whole phases.
fn live_together(pass: &Pass, a: &Buffer, b: &Buffer) -> bool {
    let range = |buffer: &Buffer| -> Range<usize> {
        let (start, end) = (*buffer.live.start(), *buffer.live.end());
        if !buffer.is_stored() {
            return start..end + 1;
        }
        let last = pass.blocks.len() - 1;
        pass.blocks[start].block.phase..pass.blocks[end.min(last)].block.phase + 1
    };
    let (a, b) = (range(a), range(b));
    a.start < b.end && b.start < a.end
}

/// Runs that go depth first are chains, of whose maps in between a band's buffer is enough.
fn depth_first(graph: &Graph, pass: &Pass) {
    let all = || pass.blocks.iter().flat_map(|planned| &planned.block.stages);
    for planned in &pass.blocks {
        for step in &planned.steps {
            let Step::DepthFirst { stages, rows } = step else { continue };
            let stages = &planned.block.stages[stages.clone()];
            let kept = kept_rows(graph, stages, *rows);
            let result = stages.last().map(|stage| pass.view(stage.writes).buffer);
            for (pair, rows) in stages.windows(2).zip(kept) {
                let between = pair[0].writes;
                let reads = |stage: &&Stage| {
                    stage.reads.iter().copied().chain(stage.beside()).any(|read| read == between)
                };
                assert_eq!(pair[1].reads, [between], "a run is a chain (a bug in nin)");
                assert_eq!(
                    all().filter(reads).count(),
                    1,
                    "{between} is read elsewhere (a bug in nin)"
                );
                let buffer = pass.buffer(between);
                let (_, extent) = buffer.map();
                let is_enough = match extent {
                    Extent::Band(room) => room >= rows,
                    // What the last stages do in the place of the result.
                    Extent::Image | Extent::Chunk => result == Some(buffer.key),
                    Extent::Batch => false,
                };
                assert!(is_enough, "{buffer} is no room for {rows} rows (a bug in nin)");
            }
        }
    }
}

/// Every trained weight has one gradient.
fn gradients(graph: &Graph, pass: &Pass) {
    let stages = || pass.blocks.iter().flat_map(|planned| &planned.block.stages);
    for (id, weight) in graph.weight_ids().zip(graph.weights()) {
        let made = stages()
            .flat_map(Stage::written)
            .filter(|&made| made == TensorId::WeightGrad(id))
            .count();
        let wanted = match weight.role {
            Role::Kernel | Role::Bias | Role::Scale | Role::Shift | Role::Slope => 1,
            Role::RunningMean | Role::RunningVariance => 0,
        };
        assert_eq!(made, wanted, "gradients of {} (a bug in nin)", weight.name);
    }
}

/// Channels of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Region {
    buffer: BufferKey,
    channels: Range<usize>,
}

impl Region {
    fn overlaps(&self, other: &Region) -> bool {
        self.buffer == other.buffer
            && self.channels.start < other.channels.end
            && other.channels.start < self.channels.end
    }

    /// Whether all of another region lies in it.
    fn holds(&self, other: &Region) -> bool {
        self.buffer == other.buffer
            && self.channels.start <= other.channels.start
            && other.channels.end <= self.channels.end
    }

    /// What of it lies outside of another region.
    fn without(&self, other: &Region) -> impl Iterator<Item = Region> + use<> {
        let Range { start, end } = self.channels;
        let rest = [start..other.channels.start.min(end), other.channels.end.max(start)..end];
        let buffer = self.buffer;
        rest.into_iter()
            .filter(|channels| !channels.is_empty())
            .map(move |channels| Region { buffer, channels })
    }
}

/// A walk over the stages of a pass, in order.
struct Walk<'a> {
    graph: &'a Graph,
    pass: &'a Pass,
    /// What buffers hold: channels of one, and the tensor there.
    holds: Vec<(Region, TensorId)>,
    /// The phase and the block that each sum over images was left in.
    sums: BTreeMap<TensorId, (usize, usize)>,
    /// Gradients that somebody has read: nothing may be added to them.
    whole: BTreeSet<TensorId>,
}

impl Walk<'_> {
    fn phase(&mut self, number: usize, phase: &Phase) {
        for index in phase.blocks.clone() {
            for stage in &self.pass.blocks[index].block.stages {
                self.stage(stage, (number, index));
            }
        }
    }

    fn stage(&mut self, stage: &Stage, (phase, block): (usize, usize)) {
        for (position, &tensor) in stage.reads.iter().enumerate() {
            let signs_alone = position == 1 && reads_signs(self.graph, stage);
            match self.slice(stage).filter(|_| position == 0) {
                Some(part) => self.read_region(tensor, &part, false, block),
                None => self.read(tensor, signs_alone, (phase, block)),
            }
        }
        if let Some(beside) = stage.beside() {
            let is_mask = matches!(stage.op, StageOp::InputGrad { .. });
            self.read(beside, is_mask, (phase, block));
        }
        if self.graph.node(stage.node).op == Op::Concat {
            self.parts(stage);
        }
        self.write(stage, (phase, block));
    }

    /// What a concatenation joins, or what its gradient is passed on to, lies in what is joined without a copy, or somewhere else
    /// altogether.
    fn parts(&self, stage: &Stage) {
        let inputs = &self.graph.node(stage.node).inputs;
        let (whole, parts, tensor): (_, _, fn(NodeId) -> TensorId) = match stage.op {
            StageOp::Forward { .. } => (stage.writes, stage.reads.clone(), TensorId::Value),
            StageOp::InputGrad { .. } => (stage.reads[0], vec![stage.writes], TensorId::Grad),
            StageOp::Import
            | StageOp::Statistics
            | StageOp::Loss
            | StageOp::KernelGrad
            | StageOp::BiasGrad
            | StageOp::NormGrads { .. }
            | StageOp::SlopeGrad => return,
        };
        let Some(room) = self.region(whole) else { return };
        let joined = inputs.iter().enumerate().filter(|&(input, &id)| {
            self.pass.is_slice(tensor(id), whole, self.graph.first_channel(stage.node, input))
        });
        let joined: Vec<Region> =
            joined.map(|(input, _)| self.slice_of(stage.node, &room, input)).collect();
        for part in parts {
            let Some(lies) = self.region(part) else { continue };
            let is_right = !lies.overlaps(&room) || joined.iter().any(|slice| slice.holds(&lies));
            assert!(is_right, "{part} is in the way of {whole} (a bug in nin)");
        }
    }

    /// The channels of an input of a concatenation that lies in a region.
    fn slice_of(&self, concat: NodeId, whole: &Region, input: usize) -> Region {
        let first = whole.channels.start + self.graph.first_channel(concat, input);
        let channels = self.graph.node(self.graph.node(concat).inputs[input]).shape.channels();
        Region { channels: first..first + channels, ..whole.clone() }
    }

    /// What a stage reads of a gradient, if that is the gradient of what was put one after the other: some of its channels. Others
    /// may be those of other parts by now.
    fn slice(&self, stage: &Stage) -> Option<Region> {
        let StageOp::InputGrad { input, .. } = stage.op else { return None };
        let is_joined = self.graph.node(stage.node).op == Op::Concat;
        let whole = self.region(stage.reads[0]).filter(|_| is_joined)?;
        Some(self.slice_of(stage.node, &whole, input))
    }

    /// Where a tensor lies.
    fn region(&self, tensor: TensorId) -> Option<Region> {
        let view = self.pass.places.view(tensor)?;
        let (TensorId::Value(id) | TensorId::Grad(id)) = tensor else { return None };
        let channels = view.channel..view.channel + self.graph.node(id).shape.channels();
        Some(Region { buffer: view.buffer, channels })
    }

    fn read(&mut self, tensor: TensorId, signs_alone: bool, (phase, block): (usize, usize)) {
        match self.region(tensor) {
            Some(region) => self.read_region(tensor, &region, signs_alone, block),
            None => self.read_sum(tensor, (phase, block)),
        }
    }

    /// All of a region must hold what is read.
    fn read_region(&mut self, tensor: TensorId, region: &Region, signs_alone: bool, block: usize) {
        self.live(region.buffer, block);
        let mut found = 0;
        for (held, at) in self.holds.iter().filter(|(held, _)| held.overlaps(region)) {
            let is_there = self.is_there(tensor, *at, region, signs_alone);
            assert!(is_there, "block {block} reads {tensor}, but there is {at} (a bug in nin)");
            let Range { start, end } = region.channels;
            found += held.channels.end.min(end) - held.channels.start.max(start);
        }
        assert_eq!(found, region.channels.len(), "{tensor} is not there (a bug in nin)");
        self.whole.insert(tensor);
    }

    /// Whether a tensor's numbers, or their signs, are those of what a region holds now.
    fn is_there(
        &self,
        tensor: TensorId,
        held: TensorId,
        region: &Region,
        signs_alone: bool,
    ) -> bool {
        if tensor == held {
            return true;
        }
        if let (TensorId::Grad(sum), TensorId::Grad(operand)) = (tensor, held) {
            return self.is_passed_on(sum, operand);
        }
        let (TensorId::Value(of), TensorId::Value(at)) = (tensor, held) else { return false };
        if at < of {
            return false;
        }
        if let Some(Elementwise { keeps_signs, .. }) = elementwise(self.graph.node(at).op) {
            // Signs outlast what works in place, where the gradient is not zero.
            let operand = TensorId::Value(self.graph.operand(at));
            return signs_alone
                && keeps_signs
                && self.is_there(tensor, operand, region, signs_alone);
        }
        match self.graph.node(at).op {
            // The part that lies there.
            Op::Concat => {
                let whole = self.region(held).expect("a value lies somewhere (a bug in nin)");
                let mut parts = self.graph.node(at).inputs.iter().enumerate();
                parts.any(|(input, &part)| {
                    self.slice_of(at, &whole, input).holds(region)
                        && self.is_there(tensor, TensorId::Value(part), region, signs_alone)
                })
            }
            Op::Input
            | Op::Relu
            | Op::Activation(_)
            | Op::PRelu { .. }
            | Op::Dropout { .. }
            | Op::Conv { .. }
            | Op::MaxPool { .. }
            | Op::AvgPool { .. }
            | Op::GlobalAvgPool
            | Op::GlobalMaxPool
            | Op::BatchNorm { .. }
            | Op::Lrn { .. }
            | Op::Softmax
            | Op::Add
            | Op::Mul => false,
        }
    }

    /// Whether a gradient is that of a sum as it is: nothing is added to what a sum passes on to its only reader's.
    fn is_passed_on(&self, sum: NodeId, operand: NodeId) -> bool {
        let readers = self.graph.ids().flat_map(|id| &self.graph.node(id).inputs);
        self.graph.node(sum).op == Op::Add
            && self.graph.node(sum).inputs.contains(&operand)
            && readers.filter(|&&read| read == operand).count() == 1
    }

    /// Statistics and gradients of weights are read once they are gathered.
    fn read_sum(&self, tensor: TensorId, (phase, block): (usize, usize)) {
        match tensor {
            TensorId::Labels => {}
            TensorId::Statistics(_) | TensorId::WeightGrad(_) => {
                let left = self.sums.get(&tensor);
                let Some(&(left, left_in)) = left else {
                    panic!("{tensor} is read before it is there (a bug in nin)")
                };
                let is_gathered = (left..phase).any(|phase| {
                    self.pass.phases[phase]
                        .gathers
                        .iter()
                        .any(|&gather| self.gathers(gather, tensor))
                });
                // Of a chunk that is a group, after the block that leaves it.
                let by_chunk = self.pass.blocks[left_in..=block].iter().skip(1).any(|planned| {
                    planned.gathers.iter().any(|&gather| self.gathers(gather, tensor))
                });
                let is_gathered = is_gathered || by_chunk;
                assert!(is_gathered, "{tensor} is read before it is gathered (a bug in nin)");
            }
            TensorId::Loss | TensorId::Value(_) | TensorId::Grad(_) => {
                panic!("{tensor} is read, but lies nowhere (a bug in nin)")
            }
        }
    }

    fn gathers(&self, gather: Gather, tensor: TensorId) -> bool {
        match gather {
            Gather::Statistics(node) => tensor == TensorId::Statistics(node),
            Gather::Gradients(node) => {
                let Op::BatchNorm { weights, .. } = self.graph.node(node).op else {
                    panic!("{node} gathers nothing (a bug in nin)")
                };
                let sums = [weights.scale, weights.shift].map(TensorId::WeightGrad);
                sums.contains(&tensor)
            }
        }
    }

    fn write(&mut self, stage: &Stage, (phase, block): (usize, usize)) {
        let tensor = stage.writes;
        let Some(region) = self.region(tensor) else {
            self.sums.extend(stage.written().map(|sum| (sum, (phase, block))));
            return;
        };
        self.live(region.buffer, block);
        if stage.accumulates() {
            let held = (region.clone(), tensor);
            assert!(self.holds.contains(&held), "nothing to add to in {tensor} (a bug in nin)");
            assert!(
                !self.whole.contains(&tensor),
                "{tensor} is read before it is whole (a bug in nin)"
            );
        }
        let before = std::mem::take(&mut self.holds);
        for (held, at) in before {
            match held.overlaps(&region) {
                true => self.holds.extend(held.without(&region).map(|rest| (rest, at))),
                false => self.holds.push((held, at)),
            }
        }
        self.holds.push((region, tensor));
    }

    /// A buffer that is touched lives.
    fn live(&self, key: BufferKey, block: usize) {
        let buffer = self.pass.room(key);
        assert!(buffer.live.contains(&block), "{buffer} is touched in {block} (a bug in nin)");
    }
}

/// Whether a stage's rule asks of the value that it reads besides a gradient only where it is positive.
fn reads_signs(graph: &Graph, stage: &Stage) -> bool {
    let is_rule = matches!(stage.op, StageOp::InputGrad { .. });
    let reads = elementwise(graph.node(stage.node).op).map(|of| of.reads);
    is_rule && reads == Some(Reads::Sign)
}

#[cfg(test)]
mod tests;
