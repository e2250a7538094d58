//! Buffers of floats, from a system that may refuse them.

use bytemuck::allocation::try_zeroed_vec;
use bytemuck::{Pod, Zeroable};
use ndarray::Array4;
use nin_dsl::shape::Shape;

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

/// Memory and swap of the machine, or what its container may use of them; where Linux does not say, any amount.
fn machine_bytes() -> u64 {
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    let info = read("/proc/meminfo");
    let kib = |key: &str| -> Option<u64> {
        let line = info.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    let machine = kib("MemTotal:")
        .map_or(u64::MAX, |memory| 1024 * (memory + kib("SwapTotal:").unwrap_or(0)));
    let container = read("/sys/fs/cgroup/memory.max").trim().parse().unwrap_or(u64::MAX);
    machine.min(container)
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

/// Floats, zero at first, that start on a cache line.
#[derive(Clone)]
pub(crate) struct Floats {
    lines: Vec<Line>,
    len: usize,
}

impl Floats {
    /// `len` zeros. Memory that is never written is never committed.
    ///
    /// # Errors
    /// [`Error::Memory`] if the system refuses.
    pub(crate) fn zeroed(len: usize) -> Result<Floats, Error> {
        let lines = try_zeroed_vec(len.div_ceil(16));
        let lines = lines.map_err(|()| Error::Memory { bytes: size_of::<f32>() * len })?;
        Ok(Floats { lines, len })
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
