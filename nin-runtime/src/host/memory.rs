//! Buffers of floats, from a system that may refuse them.

use std::path::Path;

#[cfg(test)]
pub(crate) mod guarded;
#[cfg(test)]
pub(crate) mod watched;

use bytemuck::allocation::try_zeroed_vec;
use bytemuck::{Pod, Zeroable};
use ndarray::Array4;
use nin_dsl::shape::Shape;

use super::cgroup::Limits;
use crate::error::Error;

/// `len` zeros. Memory that is never written is never committed.
///
/// # Errors
/// [`Error::Memory`] if the system refuses, or has less than that.
pub(crate) fn zeros(len: usize) -> Result<Vec<f32>, Error> {
    let bytes = size_of::<f32>() * len;
    check(bytes)?;
    try_zeroed_vec(len).map_err(|()| Error::Memory { bytes })
}

/// Whether so many bytes can lie in this machine's memory at all.
///
/// Many systems promise any amount and end the process that writes to it: better to say so before.
///
/// # Errors
/// [`Error::Memory`] if they cannot.
pub(crate) fn check(bytes: usize) -> Result<(), Error> {
    // Every machine has this much; asking takes longer than the small allocations of a small model.
    const PLENTY: usize = 1 << 28;
    if bytes <= PLENTY || bytes as u64 <= machine_bytes() {
        Ok(())
    } else {
        Err(Error::Memory { bytes })
    }
}

/// Memory and swap that this process can have; where Linux does not say, any amount.
pub(crate) fn machine_bytes() -> u64 {
    bytes_below(Path::new("/"))
}

/// What the files below `root` tell of memory and swap, which lie there as below `/`: those of the machine, or what the process's
/// control groups leave of them.
fn bytes_below(root: &Path) -> u64 {
    let info = std::fs::read_to_string(root.join("proc/meminfo")).unwrap_or_default();
    let machine = |key: &str| -> Option<u64> {
        let line = info.lines().find_map(|line| line.strip_prefix(key))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(1024 * kib)
    };
    let limits = Limits::below(root);
    let least = |machine: Option<u64>, limit: Option<u64>| match (machine, limit) {
        (Some(machine), Some(limit)) => machine.min(limit),
        (machine, limit) => machine.or(limit).unwrap_or(u64::MAX),
    };
    let memory = least(machine("MemTotal:"), limits.memory);
    let swap = least(machine("SwapTotal:").or(Some(0)), limits.swap);
    memory.saturating_add(swap)
}

/// Room for `count` images of a shape, `[N, C, H, W]`, all zeros; for batches that a model and its user size.
///
/// # Errors
/// [`Error::Memory`] if the system refuses, or has less than that.
pub fn zeroed_images(count: usize, shape: Shape) -> Result<Array4<f32>, Error> {
    let (channels, height, width) = (shape.channels(), shape.height(), shape.width());
    let images = zeros(count * channels * height * width)?;
    Ok(Array4::from_shape_vec((count, channels, height, width), images)
        .expect("sized for the shape"))
}

/// A cache line of floats.
#[repr(C, align(64))]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Line([f32; 16]);

/// What holds lines.
#[cfg(not(test))]
type Lines = Vec<Line>;
#[cfg(test)]
use self::watched::Lines;

/// Floats that start on a cache line.
#[derive(Clone)]
pub(crate) struct Floats {
    lines: Lines,
    len: usize,
}

impl Floats {
    /// `len` zeros. Memory that is never written is never committed.
    ///
    /// # Errors
    /// [`Error::Memory`] if the system refuses, or has less than that.
    pub(crate) fn zeroed(len: usize) -> Result<Floats, Error> {
        let bytes = size_of::<f32>() * len;
        check(bytes)?;
        #[cfg(not(test))]
        let lines = try_zeroed_vec(len.div_ceil(16)).map_err(|()| Error::Memory { bytes })?;
        #[cfg(test)]
        let lines = Lines::zeroed(len.div_ceil(16));
        Ok(Floats { lines, len })
    }

    /// Room for `len` floats, none of which is to be read before it is written; tests fill it with what would be noticed.
    ///
    /// # Errors
    /// As [`Floats::zeroed`].
    pub(crate) fn unset(len: usize) -> Result<Floats, Error> {
        #[cfg(test)]
        return Ok(Floats { lines: Lines::unset(len.div_ceil(16)), len });
        // The system has zeros for nothing.
        #[cfg(not(test))]
        Floats::zeroed(len)
    }

    /// `bytes` bytes of zeros, whole floats.
    ///
    /// # Errors
    /// As [`Floats::zeroed`].
    pub(crate) fn of_bytes(bytes: usize) -> Result<Floats, Error> {
        Floats::zeroed(bytes / size_of::<f32>())
    }

    /// Room for `bytes` bytes, whole floats, as [`Floats::unset`].
    ///
    /// # Errors
    /// As [`Floats::zeroed`].
    pub(crate) fn unset_bytes(bytes: usize) -> Result<Floats, Error> {
        Floats::unset(bytes / size_of::<f32>())
    }

    /// Bytes in the buffer.
    pub(crate) fn bytes(&self) -> usize {
        self.len * size_of::<f32>()
    }

    /// Floats in the buffer.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The first float.
    pub(crate) fn as_ptr(&self) -> *const f32 {
        self.as_slice().as_ptr()
    }

    /// The first float, to be written through.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.as_mut_slice().as_mut_ptr()
    }

    /// All floats.
    pub(crate) fn as_slice(&self) -> &[f32] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }

    /// All floats.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }

    /// Consecutive parts of `floats` floats.
    pub(crate) fn parts_mut(&mut self, floats: usize) -> impl Iterator<Item = &mut [f32]> {
        self.as_mut_slice().chunks_exact_mut(floats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory and swap of a machine whose files are these.
    fn bytes(files: &[(&str, &str)]) -> u64 {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let file = root.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        bytes_below(root.path())
    }

    const MACHINE: (&str, &str) = (
        "proc/meminfo",
        "MemTotal:        8388608 kB\nMemFree: 1 kB\nSwapTotal:       2097152 kB\n",
    );

    #[test]
    fn groups_leave_less_than_the_machine_has() {
        const GIB: u64 = 1 << 30;
        let group = ("proc/self/cgroup", "0::/a/b\n");
        let mount = ("proc/self/mountinfo", "9 8 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        let above = ("sys/fs/cgroup/a/memory.max", "1073741824\n");
        let without_swap = ("sys/fs/cgroup/a/b/memory.swap.max", "0\n");
        let more = ("sys/fs/cgroup/a/memory.max", "1099511627776\n");
        assert_eq!(bytes(&[]), u64::MAX);
        assert_eq!(bytes(&[MACHINE]), 10 * GIB);
        assert_eq!(bytes(&[MACHINE, group, mount]), 10 * GIB);
        assert_eq!(bytes(&[MACHINE, group, mount, above]), 3 * GIB);
        assert_eq!(bytes(&[MACHINE, group, mount, above, without_swap]), GIB);
        assert_eq!(bytes(&[MACHINE, group, mount, more]), 10 * GIB);
    }
}
