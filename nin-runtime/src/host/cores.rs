//! The cores and threads that this process can have.

use std::fs;
use std::num::NonZero;
use std::path::Path;
use std::thread;

use super::cgroup::Limits;

/// Cores that this process may use at the same time: those it may run on, or as much time as its control groups leave it, rounded up.
pub fn cores() -> usize {
    within(allowed(), Limits::of_this_process().processors)
}

/// Cores of `allowed` in the time of `quota` processors; at least one.
fn within(allowed: usize, quota: Option<f64>) -> usize {
    quota.map_or(allowed, |quota| allowed.min(quota.ceil() as usize)).max(1)
}

/// Cores that the system may run this process on.
fn allowed() -> usize {
    // The standard library's figure has quotas in it, rounded down.
    #[cfg(target_os = "linux")]
    if let Ok(set) = rustix::thread::sched_getaffinity(None) {
        return set.count() as usize;
    }
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// The most threads and processes that this process's groups or its user may have, where the files below `root` say, which lie there as
/// below `/`.
pub(crate) fn most_threads(root: &Path) -> Option<u64> {
    let limits = fs::read_to_string(root.join("proc/self/limits")).unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max processes"));
    let user = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    Limits::below(root).threads.into_iter().chain(user).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_leaves_a_core_for_each_part_of_one() {
        for (allowed, quota, cores) in [
            (8, None, 8),
            (8, Some(4.0), 4),
            (8, Some(1.5), 2),
            (8, Some(0.1), 1),
            (8, Some(0.0), 1),
            (2, Some(1.5), 2),
            (2, Some(16.0), 2),
        ] {
            assert_eq!(within(allowed, quota), cores, "{allowed} cores, {quota:?}");
        }
    }

    #[test]
    fn this_process_has_a_core() {
        let machine = allowed();
        assert!((1..=machine).contains(&cores()), "{} of {machine}", cores());
        assert!(machine >= thread::available_parallelism().unwrap().get());
    }

    #[test]
    fn the_least_limit_of_threads_counts() {
        let most = |files: &[(&str, &str)]| {
            let root = tempfile::tempdir().unwrap();
            for (file, text) in files {
                let file = root.path().join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, text).unwrap();
            }
            most_threads(root.path())
        };
        let user = (
            "proc/self/limits",
            "Limit          Soft Limit  Hard Limit  Units\nMax processes  4096        8192        processes\n",
        );
        let unlimited = ("proc/self/limits", "Max processes  unlimited  unlimited  processes\n");
        let group = ("proc/self/cgroup", "0::/a/b\n");
        let mount = ("proc/self/mountinfo", "9 8 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        let above = ("sys/fs/cgroup/a/pids.max", "20\n");
        let max = ("sys/fs/cgroup/a/b/pids.max", "max\n");
        assert_eq!(most(&[]), None);
        assert_eq!(most(&[user]), Some(4096));
        assert_eq!(most(&[user, group, mount, max]), Some(4096));
        assert_eq!(most(&[user, group, mount, max, above]), Some(20));
        assert_eq!(most(&[unlimited, group, mount, above]), Some(20));
        assert_eq!(most(&[unlimited]), None);
    }
}
