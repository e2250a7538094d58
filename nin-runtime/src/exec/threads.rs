//! The threads of a session: a fixed number, each with work of its own.
//!
//! A call of a few milliseconds is cut into a handful of runs, so a run must cost next to nothing: no lock, no allocation, and
//! threads that spin for a while before they sleep. The caller is the first of the threads.
#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle, Thread};

use super::spin::Spin;
use crate::error::Error;

/// A fixed pool; a single thread is the caller's.
pub(crate) struct Threads {
    shared: Arc<Shared>,
    workers: Vec<Worker>,
}

/// A thread that waits for runs.
struct Worker {
    thread: Thread,
    handle: Option<JoinHandle<()>>,
}

/// What the caller and its workers tell each other.
struct Shared {
    /// Number of the run under way; the last one is over when all workers are done.
    run: AtomicU64,
    /// Workers that are done with it.
    done: AtomicUsize,
    /// Whether a worker panicked in it.
    panicked: AtomicBool,
    /// Lanes of the run.
    lanes: AtomicUsize,
    /// The closure of the run, behind [`call`]'s pointer.
    work: AtomicPtr<()>,
    /// `call::<F>` of the closure's type.
    call: AtomicPtr<()>,
    /// Workers that sleep, by number, until somebody wakes them.
    asleep: Vec<AtomicBool>,
    /// No run will follow.
    over: AtomicBool,
}

/// How a worker calls a closure whose type it does not know.
type Call = unsafe fn(*const (), usize);

/// Calls a closure behind a pointer.
///
/// # Safety
/// `work` points to an `F` that lives until the call returns.
unsafe fn call<F: Fn(usize) + Sync>(work: *const (), lane: usize) {
    // SAFETY: the caller's promise.
    let work = unsafe { &*work.cast::<F>() };
    work(lane);
}

impl Threads {
    /// Starts `count - 1` threads beside the caller's.
    ///
    /// # Errors
    /// [`Error::Threads`] if the system starts no more.
    pub(crate) fn new(count: usize) -> Result<Threads, Error> {
        let shared = Arc::new(Shared {
            run: AtomicU64::new(0),
            done: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            lanes: AtomicUsize::new(0),
            work: AtomicPtr::new(std::ptr::null_mut()),
            call: AtomicPtr::new(std::ptr::null_mut()),
            asleep: (1..count).map(|_| AtomicBool::new(false)).collect(),
            over: AtomicBool::new(false),
        });
        let mut threads = Threads { shared, workers: Vec::with_capacity(count - 1) };
        for number in 0..count - 1 {
            let shared = Arc::clone(&threads.shared);
            let named = thread::Builder::new().name(format!("nin-{}", number + 1));
            let handle = named
                .spawn(move || shared.serve(number))
                .map_err(|error| Error::Threads { count, reason: error.to_string() })?;
            let worker = Worker { thread: handle.thread().clone(), handle: Some(handle) };
            threads.workers.push(worker);
        }
        Ok(threads)
    }

    /// Threads, the caller's among them.
    pub(crate) fn count(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `work(0)`, ..., `work(lanes - 1)`, each on a thread of its own; `lanes` is at most the number of threads.
    pub(crate) fn run<F: Fn(usize) + Sync>(&mut self, lanes: usize, work: F) {
        assert!(lanes <= self.count(), "a lane a thread (a bug in nin)");
        if lanes <= 1 || self.workers.is_empty() {
            return (0..lanes).for_each(work);
        }
        let shared = &*self.shared;
        shared.done.store(0, Ordering::Relaxed);
        shared.lanes.store(lanes, Ordering::Relaxed);
        shared.work.store((&raw const work).cast_mut().cast(), Ordering::Relaxed);
        let erased: Call = call::<F>;
        shared.call.store(erased as *mut (), Ordering::Relaxed);
        // Sequentially consistent, like a worker's word that it goes to sleep: one of the two sees the other's.
        shared.run.fetch_add(1, Ordering::SeqCst);
        for (worker, asleep) in self.workers.iter().zip(&shared.asleep) {
            if asleep.swap(false, Ordering::SeqCst) {
                worker.thread.unpark();
            }
        }
        // Workers borrow `work` until they are done, so nobody leaves before, not even by a panic.
        let mine = catch_unwind(AssertUnwindSafe(|| work(0)));
        let mut spin = Spin::new();
        while shared.done.load(Ordering::Acquire) < self.workers.len() {
            spin.turn();
        }
        if let Err(panic) = mine {
            std::panic::resume_unwind(panic);
        }
        assert!(
            !shared.panicked.swap(false, Ordering::Relaxed),
            "a worker panicked (a bug in nin)"
        );
    }
}

impl Shared {
    /// A worker's life: lane `number + 1` of every run.
    fn serve(&self, number: usize) {
        let mut seen = 0;
        loop {
            seen = self.next_run(number, seen);
            if self.over.load(Ordering::Acquire) {
                return;
            }
            let lane = number + 1;
            if lane < self.lanes.load(Ordering::Relaxed) {
                let work = self.work.load(Ordering::Relaxed).cast_const();
                let erased = self.call.load(Ordering::Relaxed);
                // SAFETY: `run` stored a `Call` there, before the run number that this thread has read since.
                let call = unsafe { std::mem::transmute::<*mut (), Call>(erased) };
                // SAFETY: `work` is the closure that `call` is for; `Threads::run` waits for this thread before it ends.
                let called = catch_unwind(AssertUnwindSafe(|| unsafe { call(work, lane) }));
                if called.is_err() {
                    self.panicked.store(true, Ordering::Relaxed);
                }
            }
            self.done.fetch_add(1, Ordering::Release);
        }
    }

    /// Waits for a run after the one it has `seen`: spins for a while, then sleeps.
    fn next_run(&self, number: usize, seen: u64) -> u64 {
        let mut spin = Spin::new();
        loop {
            let run = self.run.load(Ordering::SeqCst);
            if run != seen || self.over.load(Ordering::SeqCst) {
                return run;
            }
            if !spin.is_tired() {
                spin.turn();
                continue;
            }
            self.asleep[number].store(true, Ordering::SeqCst);
            if self.run.load(Ordering::SeqCst) == seen && !self.over.load(Ordering::SeqCst) {
                thread::park();
            }
            self.asleep[number].store(false, Ordering::SeqCst);
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        for worker in &mut self.workers {
            worker.thread.unpark();
            if let Some(handle) = worker.handle.take() {
                // A worker's panic was told to whoever ran it.
                drop(handle.join());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lane_runs_once_a_run() {
        for count in 1..=4 {
            let mut threads = Threads::new(count).unwrap();
            for lanes in (0..=count).cycle().take(500) {
                let ran: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                threads.run(lanes, |lane| {
                    ran[lane].fetch_add(1, Ordering::Relaxed);
                });
                let ran: Vec<usize> = ran.into_iter().map(AtomicUsize::into_inner).collect();
                let expected: Vec<usize> =
                    (0..count).map(|lane| usize::from(lane < lanes)).collect();
                assert_eq!(ran, expected);
            }
        }
    }

    #[test]
    fn a_sleeping_worker_wakes() {
        let mut threads = Threads::new(2).unwrap();
        for _ in 0..3 {
            while !threads.shared.asleep[0].load(Ordering::SeqCst) {
                thread::yield_now();
            }
            let ran = AtomicUsize::new(0);
            threads.run(2, |_| {
                ran.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(ran.into_inner(), 2);
        }
    }

    #[test]
    fn a_panic_is_the_callers_and_the_pool_goes_on() {
        let mut threads = Threads::new(3).unwrap();
        for culprit in 0..3 {
            let run = catch_unwind(AssertUnwindSafe(|| {
                threads.run(3, |lane| assert_ne!(lane, culprit, "a test's panic"));
            }));
            assert!(run.is_err());
            let ran = AtomicUsize::new(0);
            threads.run(3, |_| {
                ran.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(ran.into_inner(), 3);
        }
    }
}
