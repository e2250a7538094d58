//! Aligned buffers of floats.

use bytemuck::{Pod, Zeroable};

use crate::error::Error;

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
        let lines = bytemuck::allocation::try_zeroed_vec(len.div_ceil(16));
        let lines = lines.map_err(|()| Error::Memory { bytes: 4 * len })?;
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
