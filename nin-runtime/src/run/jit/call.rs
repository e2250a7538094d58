//! Calls into generated code, split over threads: from borrowed buffers to contexts.
//!
//! Each constructor takes the buffers an entry works on, asserts their sizes against the plan and gives every thread ranges
//! of its own, so that running the calls is safe.

mod infer;
mod train;

use std::marker::PhantomData;
use std::ops::Range;
use std::time::{Duration, Instant};

use nin_dsl::graph::Graph;

use super::CodeMemory;
use crate::compiler::abi::Context;
use crate::compiler::kernel::{Entry, PassKind};
use crate::compiler::plan::{Part, Plan};
use crate::host::memory::Floats;
use crate::run::exec::team::Barrier;
use crate::run::exec::threads::{Forked, Threads};
pub use train::Hyper;
pub(crate) use train::{OptimizerState, StepMemory, TrainBatch, UpdateStep};

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
/// threads write the same part of a buffer, nor one what another reads. With meetings all lanes are of one length.
pub(crate) struct Calls<'a> {
    code: &'a CodeMemory,
    entry: Entry,
    lanes: &'a Lanes,
    /// Where all lanes meet after their calls, if they share an image.
    meetings: Option<Meetings<'a>>,
    borrowed: PhantomData<&'a mut [f32]>,
}

/// Where threads meet that carry images through the parts of a pass together: each image through all parts, and one call more.
struct Meetings<'a> {
    barrier: Barrier,
    parts: &'a [Part],
}

impl Meetings<'_> {
    /// Whether they meet after a call: not where the next one reads what the same thread has left.
    fn are_after(&self, call: usize) -> bool {
        let next = call % (self.parts.len() + 1) + 1;
        self.parts.get(next).is_none_or(|part| !part.follows)
    }
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
    squares: std::ptr::null_mut(),
    coefficients: std::ptr::null(),
    begin: 0,
    end: 0,
    part: 0,
    first: 0,
    image: 0,
    dropout: 0,
    reduced: 0,
    step: 0,
    seed: 0,
    per_image: 0.0,
    smoothing: 0.0,
    scale: 1.0,
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
    ///
    /// # Errors
    /// [`Forked`] if the threads are another process's.
    pub(crate) fn run(self, threads: &mut Threads) -> Result<(), Forked> {
        let (lanes, spins) = (self.lanes, threads.spins());
        threads.run(lanes.used, |lane| {
            let meetings = self.meetings.as_ref();
            let meetings = meetings.map(|meetings| (meetings, meetings.barrier.member(spins)));
            for (call, context) in lanes.used()[lane].iter().enumerate() {
                if let Some(context) = context {
                    // SAFETY: the invariant of `Calls`, which the constructors establish.
                    unsafe { self.code.call(self.entry, context) };
                }
                if let Some((meetings, member)) = &meetings
                    && meetings.are_after(call)
                {
                    member.wait();
                }
            }
        })
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
        Calls { code: self.code, entry, lanes, meetings: None, borrowed: PhantomData }
    }

    /// Rebuilds every prepared form of the weights, on a thread for each arena.
    pub(crate) fn prepare(
        self,
        weights: &'a Floats,
        prepared: &'a mut Floats,
        arenas: &'a mut [Floats],
        lanes: &'a mut Lanes,
    ) -> Calls<'a> {
        assert_eq!(weights.len(), self.plan.weight_floats);
        assert_eq!(prepared.bytes(), self.plan.prepared_bytes);
        assert!(arenas.iter().all(|arena| arena.bytes() == self.plan.arena()));
        // The entry only reads the weights, through the field that others write through.
        let weights = weights.as_ptr().cast_mut();
        let base = Context { weights, prepared: prepared.as_mut_ptr(), ..NOTHING };
        let threads = arenas.len();
        for (thread, lane) in lanes.cleared(threads).iter_mut().enumerate() {
            let context = base.alone_in(&mut arenas[thread]);
            lane.push(Some(context.over(self.plan.strips_of(thread, threads))));
        }
        self.calls(Entry::Prepare, lanes)
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
        // Parts that one image goes through before the next does.
        let together = |a: &Part, b: &Part| a.block == b.block && !a.together && !b.together;
        for run in parts.chunk_by(together) {
            let numbered = || (first..).zip(run);
            if run[0].together {
                numbered().for_each(|(number, part)| call(number, n, part.rows));
            } else {
                for image in 0..n {
                    numbered().for_each(|(number, part)| call(number, image, part.rows));
                }
            }
            first += run.len();
        }
        TimedCalls { calls: self.calls(Entry::Part { pass }, lanes), numbers }
    }
}
