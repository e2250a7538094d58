//! Threads: what happens where the system starts none, and what `--threads` is told.
//!
//! A stack of a petabyte cannot be had, so no thread is started whose stack is to be that large. The system answers as it does
//! where a limit of threads is reached.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::{Bench, level};

/// `nin` where no thread can be started.
fn alone(bench: &Bench, line: &str) -> Output {
    let mut command: Command = bench.command(line);
    command.env("RUST_MIN_STACK", (1_u64 << 50).to_string()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A picture that the model of [`Bench`] reads.
fn write_picture(file: &Path, n: usize) {
    let mut encoder = png::Encoder::new(fs::File::create(file).unwrap(), 8, 8);
    encoder.set_color(png::ColorType::Grayscale);
    let pixels: Vec<u8> = (0..64).map(|at| level(n, at / 8, at % 8)).collect();
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
}

/// A folder with weights and pictures beside the model.
fn furnished() -> Bench {
    let bench = Bench::new();
    bench.run("init m.nin -o w");
    for (set, n) in [("train", 0), ("train", 1), ("test", 0), ("test", 1)] {
        let class = bench.path("pictures").join(set).join(format!("class{n}"));
        fs::create_dir_all(&class).unwrap();
        write_picture(&class.join("a.png"), n);
    }
    bench
}

#[test]
fn what_needs_no_second_thread_takes_none() {
    let bench = furnished();
    for line in [
        "check m.nin",
        "show m.nin --stage asm",
        "init m.nin -o again",
        "compile m.nin --weights w -o m.o",
        "data images:pictures",
        "predict m.nin --weights w pictures/test/class0/a.png --threads 1",
        "eval m.nin --weights w --data mnist:data --threads 1",
        "bench m.nin --batch 1 --runs 2 --threads 1 --layers",
        "bench m.nin --mode train --runs 2 --threads 1",
        "features m.nin --weights w pictures/test/class0/a.png -o f.png --threads 1",
    ] {
        let output = alone(&bench, line);
        assert!(output.status.success(), "nin {line}: {}", text(&output.stderr));
        let usual = bench.command(line).output().unwrap();
        // Times differ from run to run.
        let is_measured = line.starts_with("bench") || line.starts_with("compile");
        assert!(is_measured || output.stdout == usual.stdout, "nin {line}");
    }
}

#[test]
fn a_run_on_one_thread_needs_no_other() {
    let bench = furnished();
    let line = "train m.nin --data mnist:data --epochs 2 --threads 1 --quiet --out";
    let output = alone(&bench, &format!("{line} alone"));
    assert!(output.status.success(), "{}", text(&output.stderr));
    bench.run(&format!("{line} usual"));
    let weights = |run: &str| fs::read(bench.path(run).join("last.safetensors")).unwrap();
    assert!(weights("alone") == weights("usual"), "who fills a batch changes no bit");
}

#[test]
fn threads_that_cannot_be_had_are_told() {
    let bench = furnished();
    for line in [
        "predict m.nin --weights w pictures/test/class0/a.png --threads 2",
        "eval m.nin --weights w --data mnist:data --threads 2",
        "bench m.nin --batch 1 --runs 2 --threads 2",
        "train m.nin --data mnist:data --epochs 1 --threads 2 --out run",
        "features m.nin --weights w pictures/test/class0/a.png -o f.png --threads 2",
    ] {
        let output = alone(&bench, line);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "nin {line}: {errors}");
        let told = errors.lines().last().unwrap_or_default();
        for part in ["error: could not have 2 threads, only 1: ", "take `--threads 1`", "limit"] {
            assert!(told.contains(part), "nin {line}: {errors}");
        }
        assert!(!errors.contains("panicked"), "nin {line}: {errors}");
    }
    assert!(!bench.path("run").exists(), "a run that cannot be is not begun");
}

#[test]
fn more_threads_than_cores_are_told() {
    let bench = Bench::new();
    bench.run("init m.nin -o w");
    for line in ["show m.nin --stage plan", "bench m.nin --batch 1 --runs 2"] {
        let warnings = |threads: usize| {
            let (_, notes) = bench.run_with_notes(&format!("{line} --threads {threads}"));
            notes.matches(&format!("warning: `--threads {threads}` is more than the ")).count()
        };
        assert_eq!(warnings(1), 0, "nin {line}");
        assert_eq!(warnings(nin_runtime::host::cores() + 1), 1, "nin {line}");
    }
}
