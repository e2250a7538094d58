//! Memory between two pages that nobody may touch, for tests: whoever reads or writes beyond an end of it that lies at such a
//! page ends the process, and whoever writes beyond the other end is found when the memory goes.
//!
//! It refers to nothing of this crate, so that the suite, which stands outside, has the same file.
#![allow(unsafe_code)]

use region::{Allocation, Protection};

/// The end that lies at a page that nobody may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// What is before the memory cannot be touched.
    First,
    /// What is behind the memory cannot be touched.
    Last,
}

impl Side {
    /// Each of them.
    pub(crate) const ALL: [Side; 2] = [Side::First, Side::Last];
}

/// A signalling NaN: what is in memory that nobody has written.
pub(crate) const UNWRITTEN: u32 = 0x7fa0_0bad;
/// What is between the memory and the other page.
const WATCHED: u8 = 0xa5;

/// Such memory.
///
/// Invariant: `offset..offset + bytes` of the pages is readable, writable and between the first page and the last.
pub(crate) struct Guarded {
    pages: Allocation,
    offset: usize,
    bytes: usize,
}

// SAFETY: its pages are its own and belong to no thread.
unsafe impl Send for Guarded {}

// SAFETY: whoever shares it can only read.
unsafe impl Sync for Guarded {}

impl Guarded {
    /// `bytes` bytes, a multiple of four, filled with one pattern.
    pub(crate) fn new(bytes: usize, side: Side, fill: u32) -> Guarded {
        assert!(bytes.is_multiple_of(4));
        let page = region::page::size();
        let inside = bytes.next_multiple_of(page).max(page);
        let pages = region::alloc(inside + 2 * page, Protection::READ_WRITE);
        let mut pages = pages.expect("pages of memory");
        let offset = match side {
            Side::First => page,
            Side::Last => page + inside - bytes,
        };
        let first = pages.as_mut_ptr::<u8>();
        // SAFETY: all of the pages, which are this memory's own.
        unsafe { first.write_bytes(WATCHED, pages.len()) };
        for closed in [first, first.wrapping_add(page + inside)] {
            // SAFETY: the first and the last page, which nothing refers to.
            let closed = unsafe { region::protect(closed, page, Protection::NONE) };
            closed.expect("a page that can be closed");
        }
        let mut memory = Guarded { pages, offset, bytes };
        memory.words_mut().fill(fill);
        memory
    }

    /// The same numbers in such memory.
    pub(crate) fn copy(words: &[u32], side: Side) -> Guarded {
        let mut memory = Guarded::new(4 * words.len(), side, UNWRITTEN);
        memory.words_mut().copy_from_slice(words);
        memory
    }

    /// Its first byte.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.as_ptr().cast_mut()
    }

    /// Its first byte.
    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.pages.as_ptr::<u8>().wrapping_add(self.offset)
    }

    /// All of it.
    pub(crate) fn words(&self) -> &[u32] {
        // SAFETY: the invariant; pages are aligned, and so is what ends with one or begins with one.
        unsafe { std::slice::from_raw_parts(self.as_ptr().cast(), self.bytes / 4) }
    }

    /// All of it.
    pub(crate) fn words_mut(&mut self) -> &mut [u32] {
        // SAFETY: as in `words`.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr().cast(), self.bytes / 4) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let page = region::page::size();
        let (end, last) = (self.offset + self.bytes, self.pages.len() - page);
        for (from, to) in [(page, self.offset), (end, last)] {
            let first = self.pages.as_ptr::<u8>().wrapping_add(from);
            // SAFETY: between the closed pages, and not part of the memory itself.
            let watched = unsafe { std::slice::from_raw_parts(first, to - from) };
            let untouched = watched.iter().all(|&byte| byte == WATCHED);
            assert!(
                untouched || std::thread::panicking(),
                "somebody wrote beside {} bytes of memory",
                self.bytes
            );
        }
    }
}
