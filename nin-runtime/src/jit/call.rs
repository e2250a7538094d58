//! Calls into generated code, split over threads: from borrowed buffers to contexts.
//!
//! Each constructor takes the buffers an entry works on, asserts their sizes against the plan and gives every thread ranges
//! of its own, so that running the calls is safe.

use std::marker::PhantomData;
use std::ops::Range;
use std::time::{Duration, Instant};

use nin_dsl::graph::Graph;

use super::CodeMemory;
use crate::abi::Context;
use crate::error::Error;
use crate::exec::memory::Floats;
use crate::exec::team::Barrier;
use crate::exec::threads::Threads;
use crate::kernel::{Entry, PassKind};
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
/// Invariant: every context's pointers are to buffers borrowed for `'a`, sized as the plan says; between two meetings no two
/// threads write the same part of a buffer, nor one what another reads. With a barrier all lanes are of one length.
pub(crate) struct Calls<'a> {
    code: &'a CodeMemory,
    entry: Entry,
    lanes: &'a Lanes,
    /// Where all lanes meet after each of their calls, if they share an image.
    barrier: Option<Barrier>,
    borrowed: PhantomData<&'a mut [f32]>,
}

/// The contexts each thread calls with, in order; without one it only meets the others. Kept from call to call for the
/// sake of the memory: what it says is rebuilt each time.
#[derive(Default)]
pub(crate) struct Lanes {
    kept: Vec<Vec<Option<Context>>>,
    /// Lanes of the calls at hand, the first ones.
    used: usize,
}

// SAFETY: a lane is read by one thread at a time; what its pointers lead to is divided as the invariant of `Calls` says.
unsafe impl Sync for Lanes {}

// SAFETY: nothing follows the pointers but a `Calls`, which borrows what they point to.
unsafe impl Send for Lanes {}

impl Lanes {
    /// So many lanes without contexts.
    fn cleared(&mut self, count: usize) -> &mut [Vec<Option<Context>>] {
        if self.kept.len() < count {
            self.kept.resize_with(count, Vec::new);
        }
        self.used = count;
        let used = &mut self.kept[..count];
        used.iter_mut().for_each(Vec::clear);
        used
    }

    fn used(&self) -> &[Vec<Option<Context>>] {
        &self.kept[..self.used]
    }
}

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
    shared: std::ptr::null_mut(),
    store: std::ptr::null_mut(),
    statistics: std::ptr::null_mut(),
    weights: std::ptr::null_mut(),
    prepared: std::ptr::null_mut(),
    gradients: std::ptr::null_mut(),
    momentum: std::ptr::null_mut(),
    begin: 0,
    end: 0,
    part: 0,
    first: 0,
    image: 0,
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

    /// Bands and whole images in one arena.
    fn alone_in(self, arena: &mut Floats) -> Context {
        let arena = arena.as_mut_ptr();
        Context { arena, shared: arena, ..self }
    }
}

impl Calls<'_> {
    /// Runs every lane on a thread of its own and returns when all are done.
    pub(crate) fn run(self, threads: &mut Threads) {
        let lanes = self.lanes;
        threads.run(lanes.used, |lane| {
            for context in &lanes.used()[lane] {
                if let Some(context) = context {
                    // SAFETY: the invariant of `Calls`, which the constructors establish.
                    unsafe { self.code.call(self.entry, context) };
                }
                if let Some(barrier) = &self.barrier {
                    barrier.wait();
                }
            }
        });
    }
}

/// Calls of the parts of a pass on this thread, each with its part's number.
pub(crate) struct TimedCalls<'a> {
    calls: Calls<'a>,
    numbers: Vec<usize>,
}

impl TimedCalls<'_> {
    /// Runs them and returns how long each took, with its part's number.
    pub(crate) fn run(&self) -> Vec<(usize, Duration)> {
        let contexts = self.calls.lanes.used().iter().flatten().flatten();
        let timed = |(context, &number): (&Context, &usize)| {
            let start = Instant::now();
            // SAFETY: the invariant of `Calls`, which the constructors establish.
            unsafe { self.calls.code.call(self.calls.entry, context) };
            (number, start.elapsed())
        };
        contexts.zip(&self.numbers).map(timed).collect()
    }
}

/// The range of part `part` of `parts` of `0..total`, cut at multiples of `grain`.
fn share(total: usize, grain: usize, part: usize, parts: usize) -> Range<usize> {
    let grains = total.div_ceil(grain);
    let cut = |part: usize| (part * grains / parts * grain).min(total);
    cut(part)..cut(part + 1)
}

impl<'a> Callee<'a> {
    fn calls(self, entry: Entry, lanes: &'a Lanes) -> Calls<'a> {
        Calls { code: self.code, entry, lanes, barrier: None, borrowed: PhantomData }
    }

    /// Rebuilds every prepared form of the weights.
    pub(crate) fn prepare(
        self,
        weights: &'a Floats,
        prepared: &'a mut Floats,
        threads: usize,
        lanes: &'a mut Lanes,
    ) -> Calls<'a> {
        assert_eq!(weights.len(), self.plan.weight_floats);
        assert_eq!(prepared.len(), self.plan.prepared_floats);
        // The entry only reads the weights, through the field that others write through.
        let weights = weights.as_ptr().cast_mut();
        let base = Context { weights, prepared: prepared.as_mut_ptr(), ..NOTHING };
        let work = |number: usize| match self.plan.convs.get(number) {
            Some(conv) => conv.geometry.weights(),
            None => 0,
        };
        let load = |lane: &Vec<Option<Context>>| -> usize {
            lane.iter().flatten().map(|context| work(context.begin as usize)).sum()
        };
        let cleared = lanes.cleared(threads);
        for number in 0..self.plan.preparations() {
            let least = cleared.iter_mut().min_by_key(|lane| load(lane));
            let least = least.expect("at least one thread");
            least.push(Some(base.over(number..number + 1)));
        }
        self.calls(Entry::Prepare, lanes)
    }

    /// Carries `n` images to their results, whole chunks to a thread.
    pub(crate) fn infer(
        self,
        n: usize,
        (images, results): (&'a [f32], &'a mut [f32]),
        prepared: &'a Floats,
        arenas: &'a mut [Floats],
        lanes: &'a mut Lanes,
    ) -> Calls<'a> {
        let base = self.infer_context(n, images, results, prepared);
        let parts = arenas.len();
        for ((part, arena), lane) in arenas.iter_mut().enumerate().zip(lanes.cleared(parts)) {
            assert_eq!(arena.len(), self.plan.arena());
            let range = share(n, self.plan.chunk, part, parts);
            lane.push(Some(base.alone_in(arena).over(range)));
        }
        self.calls(Entry::Infer, lanes)
    }

    /// Carries `n` images to their results, one after the other, each by all threads together: part by part, every thread a
    /// share of the rows.
    pub(crate) fn infer_together(
        self,
        n: usize,
        (images, results): (&'a [f32], &'a mut [f32]),
        prepared: &'a Floats,
        arenas: &'a mut [Floats],
        lanes: &'a mut Lanes,
    ) -> Calls<'a> {
        assert!(arenas.iter().all(|arena| arena.len() == self.plan.arena()));
        let base = self.infer_context(n, images, results, prepared);
        let members = arenas.len();
        let (first, others) = arenas.split_first_mut().expect("at least one thread");
        // The first thread's bands lie beside the whole images, as they do when it works alone.
        let base = base.alone_in(first);
        let arenas = [base.arena].into_iter().chain(others.iter_mut().map(Floats::as_mut_ptr));
        let parts = &self.plan.inference.parts;
        for ((member, arena), lane) in arenas.enumerate().zip(lanes.cleared(members)) {
            for first in 0..n {
                let base = Context { arena, first: first as u64, ..base };
                lane.extend(parts.iter().enumerate().map(|(number, part)| {
                    let range = share(part.rows, 1, member, members);
                    // A block that is no part of an image takes so many.
                    let image = u64::from(part.step.is_none());
                    let context = Context { part: number as u64, image, ..base };
                    (!range.is_empty()).then(|| context.over(range))
                }));
                let export = Context { part: parts.len() as u64, ..base };
                lane.push((member == 0).then_some(export));
            }
        }
        let part = Entry::Part { pass: PassKind::Inference };
        Calls { barrier: Some(Barrier::new(members)), ..self.calls(part, lanes) }
    }

    /// What all ranges of a call have in common.
    fn infer_context(
        self,
        n: usize,
        images: &[f32],
        results: &mut [f32],
        prepared: &Floats,
    ) -> Context {
        assert!(n <= self.plan.batch);
        assert_eq!(images.len(), n * self.graph.input().elements());
        assert_eq!(results.len(), n * self.graph.output().elements());
        assert_eq!(prepared.len(), self.plan.prepared_floats);
        Context {
            images: images.as_ptr(),
            results: results.as_mut_ptr(),
            prepared: prepared.as_ptr().cast_mut(),
            ..NOTHING
        }
    }

    /// Carries one chunk of `n` images to their results, part by part in the order of [`Callee::infer`].
    pub(crate) fn infer_parts(
        self,
        n: usize,
        (images, results): (&'a [f32], &'a mut [f32]),
        prepared: &'a Floats,
        arena: &'a mut Floats,
        lanes: &'a mut Lanes,
    ) -> TimedCalls<'a> {
        assert!(n <= self.plan.chunk);
        assert_eq!(arena.len(), self.plan.arena());
        let base = self.infer_context(n, images, results, prepared);
        self.parts(PassKind::Inference, n, base.alone_in(arena), lanes)
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
        assert_eq!(arena.len(), self.plan.arena());
        let base = self.train_context(batch, prepared, memory);
        let base = Context { gradients: memory.sums.as_mut_ptr(), ..base };
        self.parts(PassKind::Training, n, base.alone_in(arena), lanes)
    }

    /// Every part of a pass on `n` images of a chunk: a block's steps on one image, then on the next.
    fn parts(
        self,
        pass: PassKind,
        n: usize,
        base: Context,
        lanes: &'a mut Lanes,
    ) -> TimedCalls<'a> {
        let parts = match pass {
            PassKind::Inference => &self.plan.inference.parts,
            PassKind::Training => {
                let training = self.plan.training.as_ref();
                &training.expect("the plan trains (a bug in nin)").parts
            }
        };
        let mut numbers = Vec::new();
        let contexts = &mut lanes.cleared(1)[0];
        let mut call = |number: usize, image: usize, rows: usize| {
            let context = Context { part: number as u64, image: image as u64, ..base };
            numbers.push(number);
            contexts.push(Some(context.over(0..rows)));
        };
        let mut first = 0;
        for block in parts.chunk_by(|a, b| a.block == b.block) {
            for image in 0..n {
                for (number, part) in (first..).zip(block) {
                    match part.step {
                        Some(_) => call(number, image, part.rows),
                        None if image == 0 => call(number, n, 1),
                        None => {}
                    }
                }
            }
            first += block.len();
        }
        TimedCalls { calls: self.calls(Entry::Part { pass }, lanes), numbers }
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
        lanes: &'a mut Lanes,
    ) -> Calls<'a> {
        let n = batch.labels.len();
        let base = self.train_context(batch, prepared, memory);
        let images = self.plan.slice_images();
        let cleared = lanes.cleared(arenas.len());
        for (slice, sums) in memory.sums.parts_mut(self.plan.slice_floats).enumerate() {
            let thread = slice % arenas.len();
            let arena = &mut arenas[thread];
            assert_eq!(arena.len(), self.plan.arena());
            let context = Context { gradients: sums.as_mut_ptr(), ..base }.alone_in(arena);
            let range = (slice * images).min(n)..((slice + 1) * images).min(n);
            cleared[thread].push(Some(context.over(range)));
        }
        self.calls(Entry::Train { phase }, lanes)
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
        assert_eq!(prepared.len(), self.plan.prepared_floats);
        self.check(memory);
        let StepMemory { statistics, store, .. } = memory;
        let (seed, step) = batch.dropout.unwrap_or_default();
        Context {
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

    /// Moves the running statistics towards those of the batch.
    pub(crate) fn track(
        self,
        weights: &'a mut Floats,
        memory: &'a mut StepMemory,
        lanes: &'a mut Lanes,
    ) -> Calls<'a> {
        assert_eq!(weights.len(), self.plan.weight_floats);
        self.check(memory);
        let (weights, statistics) = (weights.as_mut_ptr(), memory.statistics.as_mut_ptr());
        let context = Context { weights, statistics, ..NOTHING };
        lanes.cleared(1)[0].push(Some(context));
        self.calls(Entry::Track, lanes)
    }

    fn check(self, memory: &StepMemory) {
        let StepMemory { sums, statistics, store } = memory;
        assert_eq!(sums.len(), self.plan.slices * self.plan.slice_floats);
        assert_eq!(statistics.len(), self.plan.statistics_floats);
        assert_eq!(store.len(), self.plan.store());
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
            lane.push(Some(base.over(share(total, crate::plan::ALIGN, part, threads))));
        }
        self.calls(Entry::Reduce, lanes)
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
        lanes: &'a mut Lanes,
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
        for (part, lane) in lanes.cleared(threads).iter_mut().enumerate() {
            let settings = hyper.iter().zip(&self.graph.weights).zip(&self.plan.weights);
            let trained = settings.filter(|((_, weight), _)| weight.role.is_trained());
            lane.extend(trained.map(|((hyper, weight), &offset)| {
                let range = share(weight.elements(), crate::plan::ALIGN, part, threads);
                let Hyper { lr, momentum: momentum_rate, decay } = *hyper;
                let context = Context { lr, momentum_rate, decay, ..base };
                Some(context.over(offset + range.start..offset + range.end))
            }));
        }
        self.calls(Entry::Update, lanes)
    }
}
