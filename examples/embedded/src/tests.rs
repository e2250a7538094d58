//! The model knows a seven, and a call allocates nothing: every allocation of this thread is counted.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use super::*;

/// The system's allocator, which counts.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is the system's allocator's doing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_seven_is_a_seven_without_an_allocation() {
    let seven = include_bytes!("../../seven.raw");
    let Some(mut net) = digits::Net::new() else { return };
    let before = ALLOCATIONS.get();
    let (class, probability) = classify(&mut net, seven);
    assert_eq!(ALLOCATIONS.get(), before);
    assert!(class == "7" && probability > 0.99, "{class} {probability}");
}
