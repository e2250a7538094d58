//! Calls of a training step: its phases, the sums of its slices, and the update.

use super::{Callee, Calls, Lanes, NOTHING, TimedCalls, share};
use crate::compiler::abi::{Coefficients, Context};
use crate::compiler::kernel::{Entry, PassKind};
use crate::compiler::optimizer::Optimizer;
use crate::compiler::plan::Plan;
use crate::error::Error;
use crate::host::memory::Floats;

/// One training batch and where its results go.
pub(crate) struct TrainBatch<'a> {
    /// `[N, C, H, W]`.
    pub(crate) images: &'a [f32],
    /// `[N]`, each less than the number of classes.
    pub(crate) labels: &'a [u32],
    /// `[N]`.
    pub(crate) losses: &'a mut [f32],
    /// `[N]`.
    pub(crate) correct: &'a mut [u32],
    /// Seed and step of dropout, or none.
    pub(crate) dropout: Option<(u64, u64)>,
    /// Share of a label that is spread over all classes.
    pub(crate) smoothing: f32,
}

/// What a step works on besides weights and arenas.
pub(crate) struct StepMemory {
    /// Of every slice, one after the other: its gradients, then moments of batch normalisations.
    pub(crate) sums: Floats,
    /// Statistics of the batch, for batch normalisations.
    pub(crate) statistics: Floats,
    /// What a phase leaves of each image for later ones.
    pub(crate) store: Floats,
}

impl StepMemory {
    /// Memory for the steps of a plan.
    ///
    /// # Errors
    /// [`Error::Memory`] if the system refuses.
    pub(crate) fn of(plan: &Plan) -> Result<StepMemory, Error> {
        Ok(StepMemory {
            sums: Floats::unset(plan.slices * plan.slice_floats)?,
            statistics: Floats::unset(plan.statistics_floats)?,
            store: Floats::unset_bytes(plan.store())?,
        })
    }
}

/// Settings of one weight's update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hyper {
    /// Learning rate.
    pub lr: f32,
    /// Share of the momentum that stays.
    pub momentum: f32,
    /// Weight decay.
    pub decay: f32,
}

/// What an optimizer keeps beside the weights.
pub(crate) struct OptimizerState {
    /// Laid out as the weights.
    pub(crate) momentum: Floats,
    /// Running means of squared gradients, likewise, of optimizers that keep them.
    pub(crate) squares: Option<Floats>,
    /// Of the step at hand. Kept from step to step for the sake of the memory.
    pub(crate) coefficients: Vec<Coefficients>,
}

/// How weights follow the gradients of a step.
#[derive(Clone, Copy)]
pub(crate) struct UpdateStep<'a> {
    pub(crate) optimizer: Optimizer,
    /// A setting for each weight.
    pub(crate) hyper: &'a [Hyper],
    /// Factor of the gradients.
    pub(crate) scale: f32,
    /// Whether the first slice's gradients are the sums of all slices' ([`Callee::reduce`]).
    pub(crate) reduced: bool,
    /// From 0.
    pub(crate) step: u64,
}

impl<'a> Callee<'a> {
    /// Runs every slice of a batch through a phase: slice `s` on thread `s mod threads`. Each leaves its sums in its part
    /// of `memory.sums`.
    pub(crate) fn train(
        self,
        phase: usize,
        batch: &'a mut TrainBatch<'_>,
        (weights, prepared): (&'a Floats, &'a Floats),
        memory: &'a mut StepMemory,
        arenas: &'a mut [Floats],
        lanes: &'a mut Lanes,
    ) -> Calls<'a> {
        let n = batch.labels.len();
        assert_eq!(weights.len(), self.plan.weight_floats);
        let base = self.train_context(batch, prepared, memory);
        // Only read, through a field that others write through.
        let base = Context { weights: weights.as_ptr().cast_mut(), ..base };
        let cleared = lanes.cleared(arenas.len());
        for (slice, sums) in memory.sums.parts_mut(self.plan.slice_floats).enumerate() {
            let thread = slice % arenas.len();
            let arena = &mut arenas[thread];
            assert_eq!(arena.bytes(), self.plan.arena());
            let context = Context { gradients: sums.as_mut_ptr(), ..base }.alone_in(arena);
            cleared[thread].push(Some(context.over(self.plan.slice_of(slice, n))));
        }
        self.calls(Entry::Train { phase }, lanes)
    }

    /// Carries one chunk of a batch through the parts of a training step, in the order of [`Callee::train`]. Statistics of
    /// the batch are not gathered: the times are right, the gradients of a model with batch normalisation are not.
    pub(crate) fn train_parts(
        self,
        batch: &'a mut TrainBatch<'_>,
        prepared: &'a Floats,
        memory: &'a mut StepMemory,
        arena: &'a mut Floats,
        lanes: &'a mut Lanes,
    ) -> TimedCalls<'a> {
        let n = batch.labels.len();
        assert!(n <= self.plan.chunk);
        assert_eq!(arena.bytes(), self.plan.arena());
        let base = self.train_context(batch, prepared, memory);
        let base = Context { gradients: memory.sums.as_mut_ptr(), ..base };
        self.parts(PassKind::Training, n, base.alone_in(arena), lanes)
    }

    /// What all slices of a batch have in common.
    fn train_context(
        self,
        batch: &mut TrainBatch<'_>,
        prepared: &Floats,
        memory: &mut StepMemory,
    ) -> Context {
        let n = batch.labels.len();
        let classes = self.graph.node(self.graph.logits()).shape.elements();
        assert!(n <= self.plan.batch);
        assert!(batch.labels.iter().all(|&label| (label as usize) < classes));
        assert_eq!(batch.images.len(), n * self.graph.input().elements());
        assert_eq!((batch.losses.len(), batch.correct.len()), (n, n));
        assert_eq!(prepared.bytes(), self.plan.prepared_bytes);
        self.check(memory);
        let StepMemory { statistics, store, .. } = memory;
        let (seed, step) = batch.dropout.unwrap_or_default();
        Context {
            images: batch.images.as_ptr(),
            labels: batch.labels.as_ptr(),
            results: batch.losses.as_mut_ptr(),
            correct: batch.correct.as_mut_ptr(),
            prepared: prepared.as_ptr().cast_mut(),
            // A slice writes its own images and the statistics of its own groups alone; those of the batch are only read.
            store: store.as_mut_ptr(),
            statistics: statistics.as_mut_ptr(),
            dropout: u64::from(batch.dropout.is_some()),
            seed,
            step,
            per_image: 1.0 / n as f32,
            smoothing: batch.smoothing,
            ..NOTHING
        }
    }

    /// Makes what the phase after `phase` needs of the sums of `n` images.
    pub(crate) fn gather(
        self,
        phase: usize,
        n: usize,
        weights: &'a Floats,
        memory: &'a mut StepMemory,
        lanes: &'a mut Lanes,
    ) -> Calls<'a> {
        assert!(0 < n && n <= self.plan.batch);
        assert_eq!(weights.len(), self.plan.weight_floats);
        self.check(memory);
        let context = Context {
            // Only read, through fields that others write through.
            weights: weights.as_ptr().cast_mut(),
            gradients: memory.sums.as_mut_ptr(),
            statistics: memory.statistics.as_mut_ptr(),
            ..NOTHING
        };
        lanes.cleared(1)[0].push(Some(context.over(0..n)));
        self.calls(Entry::Gather { phase }, lanes)
    }

    /// Sums the gradients of all slices into the first one's.
    pub(crate) fn reduce(
        self,
        memory: &'a mut StepMemory,
        threads: usize,
        lanes: &'a mut Lanes,
    ) -> Calls<'a> {
        self.check(memory);
        let base = Context { gradients: memory.sums.as_mut_ptr(), ..NOTHING };
        let total = self.plan.weight_floats;
        for (part, lane) in lanes.cleared(threads).iter_mut().enumerate() {
            lane.push(Some(base.over(share(total, crate::compiler::plan::ALIGN, part, threads))));
        }
        self.calls(Entry::Reduce, lanes)
    }

    /// One optimizer step of every weight by the sums of the slices' gradients; then weights are prepared for the next step,
    /// on a thread for each arena.
    pub(crate) fn update(
        self,
        step: &UpdateStep<'_>,
        memory: &'a StepMemory,
        (weights, prepared): (&'a mut Floats, &'a mut Floats),
        moments: &'a mut OptimizerState,
        arenas: &'a mut [Floats],
        lanes: &'a mut Lanes,
    ) -> Calls<'a> {
        let UpdateStep { optimizer, hyper, scale, reduced, step } = *step;
        let OptimizerState { momentum, squares, coefficients } = moments;
        assert_eq!(hyper.len(), self.graph.weights().len());
        self.check(memory);
        assert_eq!(weights.len(), self.plan.weight_floats);
        assert_eq!(prepared.bytes(), self.plan.prepared_bytes);
        assert!(arenas.iter().all(|arena| arena.bytes() == self.plan.arena()));
        assert_eq!(momentum.len(), self.plan.weight_floats);
        let squares = squares.as_mut().filter(|_| optimizer.keeps_squares());
        assert_eq!(squares.is_some(), optimizer.keeps_squares());
        assert!(squares.as_ref().is_none_or(|squares| squares.len() == self.plan.weight_floats));
        coefficients.clear();
        coefficients.extend(hyper.iter().map(|hyper| optimizer.coefficients(*hyper, step)));
        let base = Context {
            gradients: memory.sums.as_ptr().cast_mut(),
            weights: weights.as_mut_ptr(),
            prepared: prepared.as_mut_ptr(),
            momentum: momentum.as_mut_ptr(),
            squares: squares.map_or(std::ptr::null_mut(), Floats::as_mut_ptr),
            coefficients: coefficients.as_ptr(),
            reduced: u64::from(reduced),
            scale,
            ..NOTHING
        };
        let threads = arenas.len();
        for (thread, lane) in lanes.cleared(threads).iter_mut().enumerate() {
            let context = base.alone_in(&mut arenas[thread]);
            lane.push(Some(context.over(self.plan.strips_of(thread, threads))));
        }
        self.calls(Entry::Update { rule: optimizer.update() }, lanes)
    }

    /// Moves the running statistics towards those of a batch of `n` images.
    pub(crate) fn track(
        self,
        n: usize,
        weights: &'a mut Floats,
        memory: &'a mut StepMemory,
        lanes: &'a mut Lanes,
    ) -> Calls<'a> {
        assert_eq!(weights.len(), self.plan.weight_floats);
        self.check(memory);
        let (weights, statistics) = (weights.as_mut_ptr(), memory.statistics.as_mut_ptr());
        let context = Context { weights, statistics, ..NOTHING };
        lanes.cleared(1)[0].push(Some(context.over(0..n)));
        self.calls(Entry::Track, lanes)
    }

    fn check(self, memory: &StepMemory) {
        let StepMemory { sums, statistics, store } = memory;
        assert_eq!(sums.len(), self.plan.slices * self.plan.slice_floats);
        assert_eq!(statistics.len(), self.plan.statistics_floats);
        assert_eq!(store.bytes(), self.plan.store());
    }
}
