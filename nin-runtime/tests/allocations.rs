//! A training step allocates nothing: alone in its process, for it counts every allocation.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::Array4;
use nin_runtime::Hyper;
use nin_runtime::compile::{Options, Purpose};
use nin_runtime::model::Model;
use nin_runtime::run::exec::StepParams;
use nin_runtime::weights::Weights;

/// The system's allocator, which counts.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is the system's allocator's doing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
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

const TEXT: &str = "
model Steps <
    input(3, 12, 12)
    mlpconv(8, 8, kernel = 5) maxpool(3, stride = 2) dropout(0.5)
    conv(8) batchnorm relu
    mlpconv(8, 4) gap softmax
>";

#[test]
fn a_step_allocates_nothing() {
    let model = Model::from_text("model.nin", TEXT, &[]).expect("a valid model");
    let options =
        Options { batch: 8, threads: 3, purpose: Purpose::Training, ..Options::default() };
    let program = model.compile(&options).expect("a program");
    let weights = Weights::zeros(model.graph());
    let mut session = program.session(&weights).expect("a session");
    let images = Array4::from_elem((8, 3, 12, 12), 0.5);
    let hyper = vec![Hyper { lr: 0.1, momentum: 0.9, decay: 0.0 }; model.graph().weights().len()];
    let mut step = |step| {
        let params =
            StepParams { step, seed: 0, hyper: &hyper, clip: Some(5.0), ..StepParams::default() };
        session.step(images.view(), &[0, 1, 2, 3, 0, 1, 2, 3], &params).expect("a step");
    };
    // The first one makes the lists that are kept, and a thread's first sleep a place to sleep in.
    (0..3).for_each(&mut step);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    (3..13).for_each(&mut step);
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
}
