//! [`Planned`], the ticket by which code is written: a graph and a plan that keeps what it promises.
#![warn(clippy::wildcard_enum_match_arm)]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use nin_dsl::graph::{Graph, Op, Role};

use super::{Buffer, BufferKey, Extent, Gather, Pass, Phase, Plan};
use crate::compiler::autodiff::Tensor;
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
/// - what overwrites a tensor is the last to read it, but for masks, which find the signs they look for;
/// - sums over the batch are gathered between the phase that leaves them and the phase that reads them;
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
        let mut walk = Walk {
            graph,
            pass,
            holds: BTreeMap::new(),
            sums: BTreeMap::new(),
            whole: BTreeSet::new(),
        };
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
    let memory = |buffer: &Buffer| buffer.offset..buffer.offset + buffer.floats;
    let stored = |buffer: &Buffer| buffer.extent == Extent::Batch;
    for (index, buffer) in pass.buffers.iter().enumerate() {
        let size = if stored(buffer) { pass.store } else { pass.arena };
        assert!(memory(buffer).end <= size, "{buffer} ends outside (a bug in nin)");
        for other in &pass.buffers[index + 1..] {
            let together = stored(buffer) == stored(other) && live_together(pass, buffer, other);
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
        if buffer.extent != Extent::Batch {
            return start..end + 1;
        }
        let last = pass.blocks.len() - 1;
        pass.blocks[start].block.phase..pass.blocks[end.min(last)].block.phase + 1
    };
    let (a, b) = (range(a), range(b));
    a.start < b.end && b.start < a.end
}

/// Every trained weight has one gradient.
fn gradients(graph: &Graph, pass: &Pass) {
    let stages = || pass.blocks.iter().flat_map(|planned| &planned.block.stages);
    for (id, weight) in graph.weight_ids().zip(graph.weights()) {
        let made = stages().filter(|stage| stage.writes == Tensor::WeightGrad(id)).count();
        let wanted = match weight.role {
            Role::Kernel | Role::Bias | Role::Scale | Role::Shift => 1,
            Role::RunningMean | Role::RunningVariance => 0,
        };
        assert_eq!(made, wanted, "gradients of {} (a bug in nin)", weight.name);
    }
}

/// A walk over the stages of a pass, in order.
struct Walk<'a> {
    graph: &'a Graph,
    pass: &'a Pass,
    /// What each buffer holds.
    holds: BTreeMap<BufferKey, Tensor>,
    /// The phase that each sum over the batch was left in.
    sums: BTreeMap<Tensor, usize>,
    /// Gradients that somebody has read: nothing may be added to them.
    whole: BTreeSet<Tensor>,
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
            self.read(tensor, signs_alone, (phase, block));
        }
        if let Some(beside) = stage.beside() {
            let is_mask = matches!(stage.op, StageOp::InputGrad { .. });
            self.read(beside, is_mask, (phase, block));
        }
        self.write(stage, (phase, block));
    }

    fn read(&mut self, tensor: Tensor, signs_alone: bool, (phase, block): (usize, usize)) {
        let Some(key) = self.pass.places.buffer(tensor) else {
            return self.read_sum(tensor, phase);
        };
        self.live(key, block);
        let held = self.holds.get(&key);
        let found = held
            .is_some_and(|&held| held == tensor || signs_alone && self.keeps_signs(tensor, held));
        assert!(found, "block {block} reads {tensor}, but there is {held:?} (a bug in nin)");
        self.whole.insert(tensor);
    }

    /// Statistics and gradients of weights are read once they are gathered.
    fn read_sum(&self, tensor: Tensor, phase: usize) {
        match tensor {
            Tensor::Labels => {}
            Tensor::Statistics(_) | Tensor::WeightGrad(_) => {
                let left = self.sums.get(&tensor);
                let Some(&left) = left else {
                    panic!("{tensor} is read before it is there (a bug in nin)")
                };
                let is_gathered = (left..phase).any(|phase| {
                    self.pass.phases[phase]
                        .gathers
                        .iter()
                        .any(|&gather| self.gathers(gather, tensor))
                });
                assert!(is_gathered, "{tensor} is read before it is gathered (a bug in nin)");
            }
            Tensor::Loss | Tensor::Value(_) | Tensor::Grad(_) => {
                panic!("{tensor} is read, but lies nowhere (a bug in nin)")
            }
        }
    }

    fn gathers(&self, gather: Gather, tensor: Tensor) -> bool {
        match gather {
            Gather::Statistics(node) => tensor == Tensor::Statistics(node),
            Gather::Gradients(node) => {
                let Op::BatchNorm { weights, .. } = self.graph.node(node).op else {
                    panic!("{node} gathers nothing (a bug in nin)")
                };
                let sums = [weights.scale, weights.shift].map(Tensor::WeightGrad);
                sums.contains(&tensor)
            }
        }
    }

    fn write(&mut self, stage: &Stage, (phase, block): (usize, usize)) {
        let tensor = stage.writes;
        let Some(key) = self.pass.places.buffer(tensor) else {
            self.sums.insert(tensor, phase);
            return;
        };
        self.live(key, block);
        let before = self.holds.insert(key, tensor);
        if stage.accumulates() {
            assert_eq!(before, Some(tensor), "nothing to add to in {tensor} (a bug in nin)");
            assert!(
                !self.whole.contains(&tensor),
                "{tensor} is read before it is whole (a bug in nin)"
            );
        }
    }

    /// A buffer that is touched lives.
    fn live(&self, key: BufferKey, block: usize) {
        let buffer = self.pass.room(key);
        assert!(buffer.live.contains(&block), "{buffer} is touched in {block} (a bug in nin)");
    }

    /// Whether a tensor's signs are those of what took its place, where its own gradient is not zero.
    fn keeps_signs(&self, tensor: Tensor, held: Tensor) -> bool {
        let (Tensor::Value(of), Tensor::Value(mut at)) = (tensor, held) else { return false };
        while at > of {
            match self.graph.node(at).op {
                Op::Relu | Op::LeakyRelu { .. } | Op::Elu { .. } | Op::Dropout { .. } => {
                    at = self.graph.operand(at);
                }
                Op::Input
                | Op::Conv { .. }
                | Op::MaxPool { .. }
                | Op::AvgPool { .. }
                | Op::GlobalAvgPool
                | Op::BatchNorm { .. }
                | Op::Softmax
                | Op::Add
                | Op::Concat
                | Op::Mul => return false,
            }
        }
        at == of
    }
}

/// Whether a stage's rule asks of the value that it reads besides a gradient only where it is positive.
fn reads_signs(graph: &Graph, stage: &Stage) -> bool {
    let is_rule = matches!(stage.op, StageOp::InputGrad { .. });
    is_rule && matches!(graph.node(stage.node).op, Op::Relu | Op::LeakyRelu { .. })
}

#[cfg(test)]
mod tests;
