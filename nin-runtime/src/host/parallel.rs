//! Work on many things at once, by as many threads as there are to be had.

use std::iter;
use std::panic::resume_unwind;
use std::sync::Mutex;
use std::thread;

use crate::host::cores;

/// What `work` makes of every item, in the order of the items. Threads take items one by one; the caller is the first of at
/// most `threads`, and the last too where the system starts no others.
///
/// # Panics
/// As `work` does, on whichever thread.
pub(crate) fn map<T: Send, R: Send>(
    threads: usize,
    items: impl ExactSizeIterator<Item = T> + Send,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let count = items.len();
    let left = Mutex::new(items.enumerate());
    let take = || left.lock().expect("drawing an item does not panic").next();
    let worker = || -> Vec<(usize, R)> {
        iter::from_fn(take).map(|(number, item)| (number, work(item))).collect()
    };
    let mut done = thread::scope(|scope| {
        let named = || thread::Builder::new().name("nin-work".to_owned());
        let others: Vec<_> = (1..threads.min(count))
            .map_while(|_| named().spawn_scoped(scope, worker).ok())
            .collect();
        let mut done = worker();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

/// [`map`] on all cores.
pub(crate) fn map_on_all_cores<T: Send, R: Send>(
    items: impl ExactSizeIterator<Item = T> + Send,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    map(cores(), items, work)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn results_are_in_the_order_of_items() {
        for threads in [1, 2, 5] {
            for count in [0, 1, 3, 100] {
                let squares = map(threads, 0..count, |x| x * x);
                assert_eq!(squares, (0..count).map(|x| x * x).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_panic_is_the_callers() {
        for culprit in [0, 7, 19] {
            let work = |x| assert_ne!(x, culprit, "a test's panic");
            let mapped = catch_unwind(AssertUnwindSafe(|| map(3, 0..20, work)));
            let panic = mapped.expect_err("an item panicked");
            let text = panic.downcast_ref::<String>().expect("a message");
            assert!(text.contains("a test's panic"), "{text}");
        }
    }
}
