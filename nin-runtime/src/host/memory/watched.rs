//! What holds lines of floats in this crate's own tests: memory between pages that nobody may touch.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

use super::Line;
use super::guarded::{Guarded, Side, UNWRITTEN};

thread_local! {
    /// Where the memory that this thread takes next lies, and what is in it unless it is zeroed.
    static NEXT: Cell<(Side, u32)> = const { Cell::new((Side::Last, UNWRITTEN)) };
}

/// Runs `body`, whose memory has a closed page at one side and is filled with a pattern where it is not zeroed.
pub(crate) fn within<R>(side: Side, fill: u32, body: impl FnOnce() -> R) -> R {
    let before = NEXT.replace((side, fill));
    let result = body();
    NEXT.set(before);
    result
}

/// Lines of floats.
pub(super) struct Lines {
    memory: Guarded,
    count: usize,
}

impl Lines {
    /// Zeros.
    pub(super) fn zeroed(count: usize) -> Lines {
        Lines { memory: Guarded::new(count * size_of::<Line>(), NEXT.get().0, 0), count }
    }

    /// What is not to be read before it is written.
    pub(super) fn unset(count: usize) -> Lines {
        let (side, fill) = NEXT.get();
        Lines { memory: Guarded::new(count * size_of::<Line>(), side, fill), count }
    }
}

impl Deref for Lines {
    type Target = [Line];

    fn deref(&self) -> &[Line] {
        // SAFETY: the memory has room for as many lines; it begins or ends with a page, so that lines are aligned.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().cast(), self.count) }
    }
}

impl DerefMut for Lines {
    fn deref_mut(&mut self) -> &mut [Line] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_mut_ptr().cast(), self.count) }
    }
}

impl Clone for Lines {
    fn clone(&self) -> Lines {
        let mut lines = Lines::unset(self.count);
        lines.copy_from_slice(self);
        lines
    }
}
