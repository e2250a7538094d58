//! Programs and sessions give everything back: alone in its process, for it watches the process's memory.
#![cfg(target_os = "linux")]

use std::fs;

use ndarray::Array4;
use nin_runtime::Hyper;
use nin_runtime::compile::{Options, Purpose};
use nin_runtime::model::Model;
use nin_runtime::run::exec::StepParams;
use nin_runtime::weights::Weights;

const TEXT: &str = "
model Cycle(width = 32) <
    input(3, 16, 16)
    mlpconv(width, width, kernel = 5) maxpool(3, stride = 2) dropout(0.5)
    mlpconv(width, 10) gap softmax
>";

/// Memory the process has and mappings it is made of: bytes resident, and how many.
fn memory() -> (usize, usize) {
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages: usize =
        statm.split(' ').nth(1).expect("the resident pages").parse().expect("a number");
    let maps = fs::read_to_string("/proc/self/maps").expect("Linux has it");
    (pages * 4096, maps.lines().count())
}

/// Compiles, runs a step on three threads, and drops everything, the program before its session.
fn cycle(model: &Model) {
    let options =
        Options { batch: 8, threads: 3, purpose: Purpose::Training, ..Options::default() };
    let program = model.compile(&options).expect("a program");
    let mut session = program.session(&Weights::zeros(model.graph())).expect("a session");
    drop(program);
    let hyper = vec![Hyper { lr: 0.1, momentum: 0.9, decay: 0.0 }; model.graph().weights().len()];
    let params = StepParams { step: 0, seed: 0, hyper: &hyper, ..StepParams::default() };
    session.step(Array4::zeros((8, 3, 16, 16)).view(), &[0; 8], &params).expect("a step");
}

#[test]
fn compiling_and_dropping_leaves_nothing() {
    let model = Model::from_text("cycle.nin", TEXT, &[]).expect("a valid model");
    // The allocator keeps memory for each thread that it has met, and meets them at its leisure.
    (0..40).for_each(|_| cycle(&model));
    let (bytes, maps) = memory();
    (0..60).for_each(|_| cycle(&model));
    let (bytes_after, maps_after) = memory();
    // One program alone has more than 100 KiB of code and mappings of its own.
    assert!(bytes_after < bytes + (4 << 20), "{bytes} bytes grew to {bytes_after}");
    assert!(maps_after < maps + 30, "{maps} mappings grew to {maps_after}");
}
