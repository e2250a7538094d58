//! Calls into generated code, split over threads: from borrowed buffers to contexts.
//!
//! Each constructor takes the buffers an entry works on, asserts their sizes against the plan and gives every thread ranges
//! of its own, so that running the calls is safe.

use std::marker::PhantomData;
use std::ops::Range;

use nin_dsl::graph::Graph;

use super::CodeMemory;
use crate::abi::Context;
use crate::error::Error;
use crate::exec::memory::Floats;
use crate::exec::threads::Threads;
use crate::kernel::Entry;
use crate::plan::Plan;

/// A program's code with what its calls are checked against.
#[derive(Clone, Copy)]
pub(crate) struct Callee<'a> {
    pub(crate) code: &'a CodeMemory,
    pub(crate) graph: &'a Graph,
    pub(crate) plan: &'a Plan,
}

/// Calls of one entry, a list for each thread.
///
/// Invariant: every context's pointers are to buffers borrowed for `'a`, sized as the plan says; no two threads write the
/// same part of a buffer, nor one what another reads.
pub(crate) struct Calls<'a> {
    code: &'a CodeMemory,
    entry: Entry,
    lanes: Vec<Lane>,
    borrowed: PhantomData<&'a mut [f32]>,
}

/// The contexts one thread calls with, in order.
struct Lane(Vec<Context>);

// SAFETY: a lane is read by one thread at a time; what its pointers lead to is divided as the invariant of `Calls` says.
unsafe impl Sync for Lane {}

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
            sums: Floats::zeroed(plan.slices * plan.slice_floats)?,
            statistics: Floats::zeroed(plan.statistics_floats)?,
            store: Floats::zeroed(plan.store())?,
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

/// A context that names nothing.
const NOTHING: Context = Context {
    images: std::ptr::null(),
    labels: std::ptr::null(),
    results: std::ptr::null_mut(),
    correct: std::ptr::null_mut(),
    arena: std::ptr::null_mut(),
    store: std::ptr::null_mut(),
    statistics: std::ptr::null_mut(),
    weights: std::ptr::null_mut(),
    prepared: std::ptr::null_mut(),
    gradients: std::ptr::null_mut(),
    momentum: std::ptr::null_mut(),
    begin: 0,
    end: 0,
    dropout: 0,
    step: 0,
    seed: 0,
    per_image: 0.0,
    scale: 1.0,
    lr: 0.0,
    momentum_rate: 0.0,
    decay: 0.0,
};

impl Context {
    fn over(self, range: Range<usize>) -> Context {
        Context { begin: range.start as u64, end: range.end as u64, ..self }
    }
}

impl Calls<'_> {
    /// Runs every lane on a thread of its own and returns when all are done.
    pub(crate) fn run(self, threads: &Threads) {
        threads.run(self.lanes.len(), |lane| {
            for context in &self.lanes[lane].0 {
                // SAFETY: the invariant of `Calls`, which the constructors establish.
                unsafe { self.code.call(self.entry, context) };
            }
        });
    }
}

/// The range of part `part` of `parts` of `0..total`, cut at multiples of `grain`.
fn share(total: usize, grain: usize, part: usize, parts: usize) -> Range<usize> {
    let grains = total.div_ceil(grain);
    let cut = |part: usize| (part * grains / parts * grain).min(total);
    cut(part)..cut(part + 1)
}

impl<'a> Callee<'a> {
    fn calls(self, entry: Entry, lanes: Vec<Lane>) -> Calls<'a> {
        Calls { code: self.code, entry, lanes, borrowed: PhantomData }
    }

    /// Rebuilds every prepared form of the weights.
    pub(crate) fn prepare(
        self,
        weights: &'a Floats,
        prepared: &'a mut Floats,
        threads: usize,
    ) -> Calls<'a> {
        assert_eq!(weights.len(), self.plan.weight_floats);
        assert_eq!(prepared.len(), self.plan.prepared_floats);
        // The entry only reads the weights, through the field that others write through.
        let weights = weights.as_ptr().cast_mut();
        let base = Context { weights, prepared: prepared.as_mut_ptr(), ..NOTHING };
        let mut lanes: Vec<(usize, Lane)> = (0..threads).map(|_| (0, Lane(Vec::new()))).collect();
        let convs = self.plan.convs.iter().map(|conv| conv.geometry.weights());
        let norms = self.plan.free_norms().map(|norm| norm.channels);
        for (number, work) in convs.chain(norms).enumerate() {
            let least =
                lanes.iter_mut().min_by_key(|(load, _)| *load).expect("at least one thread");
            least.0 += work;
            least.1.0.push(base.over(number..number + 1));
        }
        self.calls(Entry::Prepare, lanes.into_iter().map(|(_, lane)| lane).collect())
    }

    /// Carries `n` images to their results, whole chunks to a thread.
    pub(crate) fn infer(
        self,
        n: usize,
        images: &'a [f32],
        results: &'a mut [f32],
        prepared: &'a Floats,
        arenas: &'a mut [Floats],
    ) -> Calls<'a> {
        assert!(n <= self.plan.batch);
        assert_eq!(images.len(), n * self.graph.input().elements());
        assert_eq!(results.len(), n * self.graph.output().elements());
        assert_eq!(prepared.len(), self.plan.prepared_floats);
        let base = Context {
            images: images.as_ptr(),
            results: results.as_mut_ptr(),
            prepared: prepared.as_ptr().cast_mut(),
            ..NOTHING
        };
        let parts = arenas.len();
        let lane = |(part, arena): (usize, &mut Floats)| {
            assert_eq!(arena.len(), self.plan.arena());
            let range = share(n, self.plan.chunk, part, parts);
            Lane(vec![Context { arena: arena.as_mut_ptr(), ..base }.over(range)])
        };
        self.calls(Entry::Infer, arenas.iter_mut().enumerate().map(lane).collect())
    }

    /// Runs every slice of a batch through a phase: slice `s` on thread `s mod threads`. Each leaves its sums in its part
    /// of `memory.sums`.
    pub(crate) fn train(
        self,
        phase: usize,
        batch: &'a mut TrainBatch<'_>,
        prepared: &'a Floats,
        memory: &'a mut StepMemory,
        arenas: &'a mut [Floats],
    ) -> Calls<'a> {
        let n = batch.labels.len();
        let classes = self.graph.node(self.graph.logits()).shape.elements();
        assert!(n <= self.plan.batch);
        assert!(batch.labels.iter().all(|&label| (label as usize) < classes));
        assert_eq!(batch.images.len(), n * self.graph.input().elements());
        assert_eq!((batch.losses.len(), batch.correct.len()), (n, n));
        assert_eq!(prepared.len(), self.plan.prepared_floats);
        self.check(memory);
        let StepMemory { sums, statistics, store } = memory;
        let (seed, step) = batch.dropout.unwrap_or_default();
        let base = Context {
            images: batch.images.as_ptr(),
            labels: batch.labels.as_ptr(),
            results: batch.losses.as_mut_ptr(),
            correct: batch.correct.as_mut_ptr(),
            prepared: prepared.as_ptr().cast_mut(),
            // A slice writes its own images alone; the statistics are only read.
            store: store.as_mut_ptr(),
            statistics: statistics.as_mut_ptr(),
            dropout: u64::from(batch.dropout.is_some()),
            seed,
            step,
            per_image: 1.0 / n as f32,
            ..NOTHING
        };
        let images = self.plan.slice_images();
        let mut lanes: Vec<Lane> = arenas.iter().map(|_| Lane(Vec::new())).collect();
        for (slice, sums) in sums.parts_mut(self.plan.slice_floats).enumerate() {
            let thread = slice % arenas.len();
            let arena = &mut arenas[thread];
            assert_eq!(arena.len(), self.plan.arena());
            let context =
                Context { gradients: sums.as_mut_ptr(), arena: arena.as_mut_ptr(), ..base };
            let range = (slice * images).min(n)..((slice + 1) * images).min(n);
            lanes[thread].0.push(context.over(range));
        }
        self.calls(Entry::Train { phase }, lanes)
    }

    /// Makes what the phase after `phase` needs of the sums of `n` images.
    pub(crate) fn gather(
        self,
        phase: usize,
        n: usize,
        weights: &'a Floats,
        memory: &'a mut StepMemory,
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
        self.calls(Entry::Gather { phase }, vec![Lane(vec![context.over(0..n)])])
    }

    /// Moves the running statistics towards those of the batch.
    pub(crate) fn track(self, weights: &'a mut Floats, memory: &'a mut StepMemory) -> Calls<'a> {
        assert_eq!(weights.len(), self.plan.weight_floats);
        self.check(memory);
        let (weights, statistics) = (weights.as_mut_ptr(), memory.statistics.as_mut_ptr());
        let context = Context { weights, statistics, ..NOTHING };
        self.calls(Entry::Track, vec![Lane(vec![context])])
    }

    fn check(self, memory: &StepMemory) {
        let StepMemory { sums, statistics, store } = memory;
        assert_eq!(sums.len(), self.plan.slices * self.plan.slice_floats);
        assert_eq!(statistics.len(), self.plan.statistics_floats);
        assert_eq!(store.len(), self.plan.store());
    }

    /// Sums the gradients of all slices into the first one's.
    pub(crate) fn reduce(self, memory: &'a mut StepMemory, threads: usize) -> Calls<'a> {
        self.check(memory);
        let base = Context { gradients: memory.sums.as_mut_ptr(), ..NOTHING };
        let total = self.plan.weight_floats;
        let lane = |part| Lane(vec![base.over(share(total, crate::plan::ALIGN, part, threads))]);
        self.calls(Entry::Reduce, (0..threads).map(lane).collect())
    }

    /// One optimizer step of every weight, with the first slice's gradients times `scale`. `hyper` has a setting for each
    /// weight.
    pub(crate) fn update(
        self,
        (hyper, scale): (&[Hyper], f32),
        memory: &'a StepMemory,
        weights: &'a mut Floats,
        momentum: &'a mut Floats,
        threads: usize,
    ) -> Calls<'a> {
        assert_eq!(hyper.len(), self.graph.weights.len());
        self.check(memory);
        assert_eq!(weights.len(), self.plan.weight_floats);
        assert_eq!(momentum.len(), self.plan.weight_floats);
        let base = Context {
            gradients: memory.sums.as_ptr().cast_mut(),
            weights: weights.as_mut_ptr(),
            momentum: momentum.as_mut_ptr(),
            scale,
            ..NOTHING
        };
        let lane = |part| {
            let settings = hyper.iter().zip(&self.graph.weights).zip(&self.plan.weights);
            let trained = settings.filter(|((_, weight), _)| weight.role.is_trained());
            let contexts = trained.map(|((hyper, weight), &offset)| {
                let range = share(weight.elements(), crate::plan::ALIGN, part, threads);
                let context = Context {
                    lr: hyper.lr,
                    momentum_rate: hyper.momentum,
                    decay: hyper.decay,
                    ..base
                };
                context.over(offset + range.start..offset + range.end)
            });
            Lane(contexts.collect())
        };
        self.calls(Entry::Update, (0..threads).map(lane).collect())
    }
}
