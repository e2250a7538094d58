//! The threads of a session: a fixed number, each with work of its own.
//!
//! A call of a few milliseconds is cut into a handful of runs, so a run must cost next to nothing: no lock, no allocation, and
//! threads that spin for a while before they sleep. The caller is the first of the threads.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process;

use super::sync::{Arc, AtomicBool, Builder, JoinHandle, Ordering, UnsafeCell};
use super::tally::{Spins, Tally};

/// A fixed pool; a single thread is the caller's.
pub(crate) struct Threads {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    spins: Spins,
    /// The process whose threads they are: a fork of it has none of them.
    process: u32,
}

/// Why a pool was not started.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Threads that there were, the caller's among them.
    pub(crate) started: usize,
    /// What the system said.
    pub(crate) reason: io::Error,
}

/// Why a run was not begun: this process is a fork of the one whose threads they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forked {
    /// The other process.
    pub(crate) process: u32,
}

/// What the caller and its workers tell each other.
struct Shared {
    /// Runs that were begun, and at last the end.
    begun: Tally,
    /// Times that a worker was done with a run.
    done: Tally,
    /// Of the last run that was begun. The caller writes it while all workers are done, and begins a run after.
    job: UnsafeCell<Job>,
    /// Whether a worker panicked in it.
    panicked: AtomicBool,
    workers: u64,
}

/// What workers are to do.
#[derive(Clone, Copy)]
enum Job {
    /// `call(work, lane)` for each lane.
    Run { lanes: usize, work: *const (), call: Call },
    /// Nothing, ever again.
    End,
}

/// How a worker calls a closure whose type it does not know.
type Call = unsafe fn(*const (), usize);

// SAFETY: a job is written and read as `Shared::job` says, and the closure behind it can be shared between threads.
unsafe impl Sync for Shared {}

// SAFETY: nothing follows a job's pointer but a worker in the run that lends it.
unsafe impl Send for Shared {}

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
    /// [`Refused`] if the system starts no more.
    pub(crate) fn new(count: usize, spins: Spins) -> Result<Threads, Refused> {
        let shared = Shared {
            begun: Tally::new(),
            done: Tally::new(),
            job: UnsafeCell::new(Job::End),
            panicked: AtomicBool::new(false),
            workers: count as u64 - 1,
        };
        let mut threads = Threads {
            shared: Arc::new(shared),
            workers: Vec::with_capacity(count - 1),
            spins,
            process: process::id(),
        };
        for lane in 1..count {
            let shared = Arc::clone(&threads.shared);
            let worker = Builder::new().name(format!("nin-{lane}"));
            let worker = worker.spawn(move || shared.serve(lane, spins));
            threads.workers.push(worker.map_err(|reason| Refused { started: lane, reason })?);
        }
        Ok(threads)
    }

    /// Threads, the caller's among them.
    pub(crate) fn count(&self) -> usize {
        self.workers.len() + 1
    }

    /// How they wait for each other.
    pub(crate) fn spins(&self) -> Spins {
        self.spins
    }

    /// Runs `work(0)`, ..., `work(lanes - 1)`, each on a thread of its own; `lanes` is at most the number of threads.
    ///
    /// # Errors
    /// [`Forked`] if this process has none of the threads but the caller's. Nothing was run then.
    pub(crate) fn run<F: Fn(usize) + Sync>(&mut self, lanes: usize, work: F) -> Result<(), Forked> {
        assert!(lanes <= self.count(), "a lane a thread (a bug in nin)");
        self.check_process()?;
        if lanes <= 1 || self.workers.is_empty() {
            (0..lanes).for_each(work);
            return Ok(());
        }
        let shared = &*self.shared;
        let job = Job::Run { lanes, work: (&raw const work).cast(), call: call::<F> };
        let run = shared.begin(job);
        // Workers borrow `work` until they are done, so nobody leaves before, not even by a panic.
        let mine = catch_unwind(AssertUnwindSafe(|| work(0)));
        shared.done.wait_for(run * shared.workers, self.spins);
        if let Err(panic) = mine {
            resume_unwind(panic);
        }
        assert!(
            !shared.panicked.swap(false, Ordering::Relaxed),
            "a worker panicked (a bug in nin)"
        );
        Ok(())
    }

    /// Whether the threads are this process's.
    ///
    /// # Errors
    /// [`Forked`] if there are others than the caller's, and they are not.
    pub(crate) fn check_process(&self) -> Result<(), Forked> {
        if self.workers.is_empty() || process::id() == self.process {
            Ok(())
        } else {
            Err(Forked { process: self.process })
        }
    }
}

impl Shared {
    /// Has the workers do a job, and returns the number of its run. They are done with the run before.
    fn begin(&self, job: Job) -> u64 {
        // SAFETY: no worker reads the job between the end of its run and the next.
        self.job.with_mut(|slot| unsafe { *slot = job });
        self.begun.add(1, |_| true)
    }

    /// A worker's life: a lane of every run.
    fn serve(&self, lane: usize, spins: Spins) {
        for run in 1.. {
            self.begun.wait_for(run, spins);
            // SAFETY: the caller wrote the job before it began the run, and waits for this worker before it writes again.
            match self.job.with(|job| unsafe { *job }) {
                Job::End => return,
                Job::Run { lanes, work, call } if lane < lanes => {
                    // SAFETY: `work` is the closure that `call` is for; `Threads::run` waits for this worker before it ends.
                    let called = catch_unwind(AssertUnwindSafe(|| unsafe { call(work, lane) }));
                    if called.is_err() {
                        self.panicked.store(true, Ordering::Relaxed);
                    }
                }
                Job::Run { .. } => {}
            }
            let all = run * self.workers;
            self.done.add(1, |done| done == all);
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let is_fork = self.check_process().is_err();
        let workers = mem::take(&mut self.workers);
        if is_fork {
            // There is nobody to be told or waited for, and nothing to be given back.
            return mem::forget(workers);
        }
        self.shared.begin(Job::End);
        for worker in workers {
            // A worker's panic was told to whoever ran it.
            drop(worker.join());
        }
    }
}
