//! libFuzzer on one target: `fuzz/run TARGET`, which sets the flags that make it a guide.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use nin_fuzz::{Runner, named};

thread_local! {
    static RUNNER: RefCell<Option<Runner>> = const { RefCell::new(None) };
}

fuzz_target!(|bytes: &[u8]| {
    RUNNER.with_borrow_mut(|runner| {
        let runner = runner.get_or_insert_with(|| {
            let name = std::env::var("NIN_FUZZ_TARGET").expect("fuzz/run names the target");
            Runner::new(named(&name).expect("a target"))
        });
        if let Err(finding) = runner.run(bytes) {
            panic!("{finding}");
        }
    });
});
