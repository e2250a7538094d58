//! Limits as systems' files tell them: recorded on each, with groups renamed.

use std::fs;

use super::*;

/// A file system with these files.
fn system(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (file, text) in files {
        let file = root.path().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    root
}

fn limits(files: &[(&str, &str)]) -> Limits {
    Limits::below(system(files).path())
}

/// What a group of the first version says where it sets no limit: the largest number of bytes in whole pages.
const PAGES: &str = "9223372036854771712\n";
const SYSTEMD: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";

#[test]
fn elsewhere_there_are_no_groups() {
    assert_eq!(limits(&[]), Limits::default());
}

/// The service limits memory, the slice above it time.
#[test]
fn version_two_nested() {
    let found = limits(&[
        ("proc/self/cgroup", "0::/system.slice/nin.service\n"),
        ("proc/self/mountinfo", SYSTEMD),
        ("sys/fs/cgroup/system.slice/cpu.max", "150000 100000\n"),
        ("sys/fs/cgroup/system.slice/memory.max", "8589934592\n"),
        ("sys/fs/cgroup/system.slice/memory.swap.max", "max\n"),
        ("sys/fs/cgroup/system.slice/nin.service/cpu.max", "max 100000\n"),
        ("sys/fs/cgroup/system.slice/nin.service/memory.max", "4294967296\n"),
        ("sys/fs/cgroup/system.slice/nin.service/memory.swap.max", "0\n"),
        ("sys/fs/cgroup/system.slice/other.service/memory.max", "4096\n"),
    ]);
    let expected =
        Limits { memory: Some(4 << 30), swap: Some(0), processors: Some(1.5), threads: None };
    assert_eq!(found, expected);
}

/// The least limit counts, wherever above it is.
#[test]
fn a_group_above_may_leave_less() {
    let found = limits(&[
        ("proc/self/cgroup", "0::/user.slice/user-1000.slice/session-2.scope\n"),
        ("proc/self/mountinfo", SYSTEMD),
        ("sys/fs/cgroup/user.slice/memory.max", "1073741824\n"),
        ("sys/fs/cgroup/user.slice/user-1000.slice/memory.max", "max\n"),
        ("sys/fs/cgroup/user.slice/user-1000.slice/session-2.scope/memory.max", "2147483648\n"),
    ]);
    assert_eq!(found.memory, Some(1 << 30));
}

/// A container with a name space of its own takes its group for the topmost one.
#[test]
fn version_two_in_a_container() {
    let found = limits(&[
        ("proc/self/cgroup", "0::/\n"),
        (
            "proc/self/mountinfo",
            "1421 1416 0:29 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate,memory_recursiveprot\n",
        ),
        ("sys/fs/cgroup/cpu.max", "50000 100000\n"),
        ("sys/fs/cgroup/memory.max", "536870912\n"),
        ("sys/fs/cgroup/memory.swap.max", "536870912\n"),
    ]);
    let half = 512 << 20;
    assert_eq!(
        found,
        Limits { memory: Some(half), swap: Some(half), processors: Some(0.5), threads: None }
    );
}

/// Hierarchies of the first version, of which a container without a name space sees its part, and knows its group by the name
/// that it has outside.
#[test]
fn version_one_in_a_container() {
    let found = limits(&[
        (
            "proc/self/cgroup",
            "12:cpu,cpuacct:/docker/4fe1\n7:memory:/docker/4fe1\n1:name=systemd:/docker/4fe1\n0::/system.slice/containerd.service\n",
        ),
        (
            "proc/self/mountinfo",
            "733 725 0:66 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,mode=755\n\
             739 733 0:35 /docker/4fe1 /sys/fs/cgroup/cpu,cpuacct ro,nosuid,nodev,noexec,relatime master:16 - cgroup cgroup rw,cpu,cpuacct\n\
             744 733 0:40 /docker/4fe1 /sys/fs/cgroup/memory ro,nosuid,nodev,noexec,relatime master:21 - cgroup cgroup rw,memory\n",
        ),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "250000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n"),
        ("sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", "1610612736\n"),
    ]);
    let expected = Limits {
        memory: Some(1 << 30),
        swap: Some(512 << 20),
        processors: Some(2.5),
        threads: None,
    };
    assert_eq!(found, expected);
}

/// Both versions side by side: a pod's limit lies above its container's.
#[test]
fn version_one_nested_beside_version_two() {
    let found = limits(&[
        (
            "proc/self/cgroup",
            "9:name=systemd:/\n4:memory:/kubepods/pod7/box\n2:cpuacct:/\n1:cpu:/kubepods/pod7/box\n0::/\n",
        ),
        (
            "proc/self/mountinfo",
            "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
             32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
             33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct\n\
             35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
        ),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", PAGES),
        ("sys/fs/cgroup/memory/kubepods/memory.limit_in_bytes", PAGES),
        ("sys/fs/cgroup/memory/kubepods/pod7/memory.limit_in_bytes", "268435456\n"),
        ("sys/fs/cgroup/memory/kubepods/pod7/box/memory.limit_in_bytes", "1073741824\n"),
        ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
        ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/cpu/kubepods/pod7/cpu.cfs_quota_us", "20000\n"),
        ("sys/fs/cgroup/cpu/kubepods/pod7/cpu.cfs_period_us", "10000\n"),
        ("sys/fs/cgroup/cpu/kubepods/pod7/box/cpu.cfs_quota_us", "-1\n"),
        ("sys/fs/cgroup/cpu/kubepods/pod7/box/cpu.cfs_period_us", "100000\n"),
    ]);
    assert_eq!(
        found,
        Limits { memory: Some(256 << 20), swap: None, processors: Some(2.0), threads: None }
    );
}

/// A group beside the part that is seen: what is seen is another's.
#[test]
fn limits_of_others_do_not_count() {
    let found = limits(&[
        ("proc/self/cgroup", "0::/../other\n"),
        ("proc/self/mountinfo", "9 8 0:26 /mine /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
        ("sys/fs/cgroup/memory.max", "4096\n"),
    ]);
    assert_eq!(found, Limits::default());
}

/// Files cut short or of another kind are no limits.
#[test]
fn what_cannot_be_read_is_no_limit() {
    let found = limits(&[
        ("proc/self/cgroup", "0::/a b\n:\nx\n"),
        (
            "proc/self/mountinfo",
            "- cgroup2\n9 8 0:26 / /sys/fs\\040x rw - cgroup2 cgroup2 rw\n1 2\n",
        ),
        ("sys/fs x/memory.max", "4096\n"),
        ("sys/fs x/a b/memory.max", "many\n"),
        ("sys/fs x/a b/cpu.max", "100 0\n"),
    ]);
    assert_eq!(found, Limits { memory: Some(4096), swap: None, processors: None, threads: None });
}
