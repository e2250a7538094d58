//! The threads of a session: a fixed number, each with work of its own.

use crate::error::Error;

/// A fixed pool; a single thread is the caller's.
pub(crate) struct Threads {
    pool: Option<rayon::ThreadPool>,
    count: usize,
}

impl Threads {
    /// Starts `count` threads, or none if `count` is 1.
    ///
    /// # Errors
    /// [`Error::Threads`] if the system starts no more.
    pub(crate) fn new(count: usize) -> Result<Threads, Error> {
        let start = || {
            let named = rayon::ThreadPoolBuilder::new().thread_name(|index| format!("nin-{index}"));
            named.num_threads(count).build()
        };
        let pool = (count > 1).then(start).transpose();
        let pool = pool.map_err(|error| Error::Threads { count, reason: error.to_string() })?;
        Ok(Threads { pool, count })
    }

    /// Threads in the pool.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Runs `work(0)`, ..., `work(lanes - 1)`, each on a thread of its own; `lanes` is at most the number of threads.
    pub(crate) fn run(&self, lanes: usize, work: impl Fn(usize) + Sync) {
        assert!(lanes <= self.count, "a lane a thread (a bug in nin)");
        match &self.pool {
            Some(pool) if lanes > 1 => {
                pool.broadcast(|thread| {
                    if thread.index() < lanes {
                        work(thread.index());
                    }
                });
            }
            _ => (0..lanes).for_each(work),
        }
    }
}
