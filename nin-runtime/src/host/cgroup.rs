//! Limits of control groups: what a container, a service or a user may have of the machine.
//!
//! A limit of a group holds for every group below it, so the least one counts of a process's group and all above it. Linux has
//! two versions of them, at times side by side; elsewhere there are none.

use std::fs;
use std::path::{Path, PathBuf};

/// What the groups of a process leave it; `None` where they set no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of swap, beside the memory.
    pub swap: Option<u64>,
    /// Time of processors: 1.5 is that of one and a half.
    pub processors: Option<f64>,
    /// Threads and processes.
    pub threads: Option<u64>,
}

impl Limits {
    /// Those of this process.
    pub fn of_this_process() -> Limits {
        Limits::below(Path::new("/"))
    }

    /// Those that the files below `root` tell, which lie there as below `/`.
    pub(super) fn below(root: &Path) -> Limits {
        let groups = text(&root.join("proc/self/cgroup"));
        let mounts = text(&root.join("proc/self/mountinfo"));
        let mounts = mounts.lines().filter_map(Mount::parse);
        let all = mounts.flat_map(|mount| mount.folders(root, &groups));
        all.fold(Limits::default(), Limits::least)
    }

    /// The lesser of each.
    fn least(self, other: Limits) -> Limits {
        fn least<T>(a: Option<T>, b: Option<T>, min: impl FnOnce(T, T) -> T) -> Option<T> {
            match (a, b) {
                (Some(a), Some(b)) => Some(min(a, b)),
                (a, b) => a.or(b),
            }
        }
        Limits {
            memory: least(self.memory, other.memory, u64::min),
            swap: least(self.swap, other.swap, u64::min),
            processors: least(self.processors, other.processors, f64::min),
            threads: least(self.threads, other.threads, u64::min),
        }
    }

    /// Those of one group, which may be the whole machine's.
    fn of_group(folder: &Path, version: Version) -> Limits {
        let number = |file: &str| text(&folder.join(file)).trim().parse::<u64>().ok();
        // Without a limit it says `max`.
        let threads = number("pids.max");
        match version {
            Version::One => {
                let memory = number("memory.limit_in_bytes");
                // A limit of both together, never below that of memory alone.
                let both = number("memory.memsw.limit_in_bytes");
                let swap = both.zip(memory).map(|(both, memory)| both.saturating_sub(memory));
                // Without a quota it says -1.
                let time = number("cpu.cfs_quota_us").zip(number("cpu.cfs_period_us"));
                Limits { memory, swap, processors: time.and_then(share), threads }
            }
            Version::Two => {
                let line = text(&folder.join("cpu.max"));
                let time = line.trim().split_once(' ').and_then(|(quota, period)| {
                    // Without a quota it says `max`.
                    Some((quota.parse().ok()?, period.parse().ok()?))
                });
                let (memory, swap) = (number("memory.max"), number("memory.swap.max"));
                Limits { memory, swap, processors: time.and_then(share), threads }
            }
        }
    }
}

/// Processors that a quota in every period is worth.
fn share((quota, period): (u64, u64)) -> Option<f64> {
    (period > 0).then(|| quota as f64 / period as f64)
}

/// A version of control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// A hierarchy for each resource, or for a few.
    One,
    /// One hierarchy for all.
    Two,
}

/// A hierarchy of groups, or a part of it, in the file system.
struct Mount<'a> {
    version: Version,
    /// The group that lies at `point`.
    top: PathBuf,
    point: PathBuf,
    /// Options of the hierarchy, among them its resources.
    options: Vec<&'a str>,
}

impl<'a> Mount<'a> {
    /// A line of `/proc/self/mountinfo`, if it is of groups: `32 31 0:29 /top /point rw ... - cgroup cgroup rw,memory`.
    fn parse(line: &'a str) -> Option<Mount<'a>> {
        let (place, system) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (top, point) = (unescaped(place.next()?), unescaped(place.next()?));
        let mut system = system.split(' ');
        let version = match system.next()? {
            "cgroup" => Version::One,
            "cgroup2" => Version::Two,
            _ => return None,
        };
        let options = system.nth(1)?.split(',').collect();
        Some(Mount { version, top, point, options })
    }

    /// The limits of a process's group and of all above it, as far as they lie here.
    fn folders(&self, root: &Path, groups: &str) -> Vec<Limits> {
        let Some(group) = groups.lines().find_map(|line| self.group(line)) else {
            return Vec::new();
        };
        // A container may see a part of the hierarchy alone, and be in a group beside it.
        let Ok(inside) = Path::new(group).strip_prefix(&self.top) else { return Vec::new() };
        let point = root.join(self.point.strip_prefix("/").unwrap_or(&self.point));
        let folders = inside.ancestors().map(|group| point.join(group));
        folders.map(|folder| Limits::of_group(&folder, self.version)).collect()
    }

    /// The process's group, of a line of `/proc/self/cgroup` that is about this hierarchy: `4:cpu,cpuacct:/group`, or `0::/group`
    /// of version two.
    fn group<'g>(&self, line: &'g str) -> Option<&'g str> {
        let mut parts = line.splitn(3, ':');
        let (number, resources, group) = (parts.next()?, parts.next()?, parts.next()?);
        let is_here = match self.version {
            Version::One => resources.split(',').any(|resource| self.options.contains(&resource)),
            Version::Two => number == "0" && resources.is_empty(),
        };
        is_here.then_some(group)
    }
}

/// A path of `/proc/self/mountinfo`, in which a space is `\040`.
fn unescaped(path: &str) -> PathBuf {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    let plain =
        escapes.iter().fold(path.to_owned(), |path, (code, letter)| path.replace(code, letter));
    PathBuf::from(plain)
}

/// The text of a file; nothing where there is none.
fn text(file: &Path) -> String {
    fs::read(file).map_or(String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests;
