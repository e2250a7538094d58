//! Lists of algorithms that were measured: `nin bench --tune` keeps one for a model, `--algo tuned` takes it wherever code is
//! generated, and what is made with it says which list it was.

mod common;

use std::fs;
use std::path::PathBuf;

use common::Bench;

/// Written over what was measured, so that a test knows what to expect: no machine prefers it.
const LIST: &str = "auto,mlpconv2=direct,mlpconv1.forward=winograd2";

/// The only file of the cache.
fn kept(bench: &Bench) -> PathBuf {
    let files: Vec<PathBuf> = fs::read_dir(bench.path("cache/nin/tuned"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

/// A folder in which something was measured, with [`LIST`] as the result.
fn measured(options: &str) -> Bench {
    let bench = Bench::new();
    let (results, notes) =
        bench.run_with_notes(&format!("bench m.nin -D width=32 --batch 8 --tune {options}"));
    assert!(results.contains("mlpconv2.forward  ") && results.contains("\nlist      --algo auto"));
    assert!(results.ends_with(&format!("kept      {}\n", kept(&bench).display())), "{results}");
    assert!(notes.starts_with("timing "), "{notes}");
    rewrite(&bench, |text| {
        let line = text.lines().find(|line| line.starts_with("algo = ")).unwrap().to_owned();
        text.replace(&line, &format!("algo = \"{LIST}\""))
    });
    bench
}

fn rewrite(bench: &Bench, change: impl Fn(String) -> String) {
    let file = kept(bench);
    let text = change(fs::read_to_string(&file).unwrap());
    fs::write(file, text).unwrap();
}

#[test]
fn a_list_is_taken_for_its_model_mode_and_instruction_set() {
    let bench = measured("--mode infer --isa portable --threads 1");
    let plan = |options: &str| {
        bench.run(&format!("show m.nin -D width=32 --stage plan --mode infer {options}"))
    };
    let tuned = plan("--isa portable --algo tuned");
    assert!(tuned.contains(&format!("algo {LIST}\n")), "{tuned}");
    assert_eq!(tuned, plan(&format!("--isa portable --algo {LIST}")));
    // Neither the batch nor the threads make another list of it, and hints beside it count more.
    let report = bench.json(
        "bench m.nin -D width=32 --isa portable --batch 1 --threads 2 --runs 1 --json --algo \
         mlpconv2.forward=winograd2,tuned",
    );
    assert_eq!(report["algo"], format!("{LIST},mlpconv2.forward=winograd2"));
    // A library that is compiled by it has the bytes of one compiled by the list itself.
    let library = |algo: &str| {
        bench.run(&format!(
            "compile m.nin -D width=32 -o lib --emit obj --isa portable --algo {algo}"
        ));
        fs::read(bench.path("lib")).unwrap()
    };
    assert!(library("tuned") == library(LIST) && library("tuned") != library("auto"));
    for (line, says) in [
        ("show m.nin -D width=32 --stage plan --isa portable", "(train, portable)"),
        ("bench m.nin --isa portable", "-D width=6 -D classes"),
        (
            "compile m.nin -D width=32 -o new --isa avx2",
            "nin bench m.nin -D width=32 --isa avx2 --tune",
        ),
    ] {
        let says = says.split(" -D classes").next().unwrap();
        let message = bench.fails(1, &format!("{line} --algo tuned"));
        assert!(message.contains("nothing was measured for Bars"), "{message}");
        assert!(message.contains(says), "{message}");
    }
    assert!(!bench.path("new").exists());
}

#[test]
fn a_run_keeps_the_list_and_goes_on_without_the_cache() {
    let bench = measured("--mode train");
    let line = "train m.nin -D width=32 --data mnist:data --epochs 1 --batch 32";
    bench.run(&format!("{line} --algo tuned --out tuned"));
    bench.run(&format!("{line} --algo {LIST} --out listed"));
    bench.run(&format!("{line} --out auto"));
    let weights = |run: &str| fs::read(bench.path(run).join("last.safetensors")).unwrap();
    assert!(weights("tuned") == weights("listed") && weights("tuned") != weights("auto"));
    let plan = fs::read_to_string(bench.path("tuned/plan.txt")).unwrap();
    assert!(plan.lines().next().unwrap().ends_with(&format!(", algo {LIST}")), "{plan}");
    bench.run("train --resume tuned --algo tuned");
    fs::remove_dir_all(bench.path("cache")).unwrap();
    bench.run("train --resume tuned");
    let message = bench.fails(2, "train --resume tuned --algo direct");
    assert!(message.contains(&format!("began with `--algo {LIST}`")), "{message}");
}

#[test]
fn what_cannot_be_read_as_a_list_is_told_and_measured_again() {
    let bench = measured("--mode infer");
    let line = "bench m.nin -D width=32 --runs 1 --algo tuned";
    let file = kept(&bench);
    let good = fs::read_to_string(&file).unwrap();
    bench.run(line);
    for (what, text) in [
        ("nothing", String::new()),
        ("half a file", good[..good.len() / 2].to_owned()),
        ("another format", "{\"algo\": \"auto\"}".to_owned()),
        ("no algorithm", good.replace(LIST, "fast")),
        ("a layer that the model lacks", good.replace(LIST, "mlpconv7=direct")),
        ("another CPU", good.replace("cpu = \"", "cpu = \"not ")),
        ("another graph", good.replace("1x8x8", "1x9x9")),
        ("a member too many", good.replace("batch = 8", "batch = 8\nbatches = 8")),
    ] {
        fs::write(&file, &text).unwrap();
        let message = bench.fails(1, line);
        assert!(
            message.contains("measure it again with: nin bench m.nin -D width=32"),
            "{what}: {message}"
        );
        assert!(message.contains(file.to_str().unwrap()), "{what}: {message}");
    }
    fs::write(&file, b"\xff\xfe").unwrap();
    assert!(bench.fails(1, line).contains("not a text in UTF-8"));
    bench.run("bench m.nin -D width=32 --batch 8 --tune");
    bench.run(line);
}

#[test]
fn a_cache_that_cannot_be_written_is_told_before_anything_is_measured() {
    let bench = Bench::new();
    fs::write(bench.path("file"), "").unwrap();
    let tune = |cache: PathBuf| {
        bench.command("bench m.nin --tune").env("XDG_CACHE_HOME", cache).output().unwrap()
    };
    let output = tune(bench.path("file"));
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(
        message.contains("file/nin/tuned cannot be made") && output.stdout.is_empty(),
        "{message}"
    );
    // A relative path is none, as the standard has it: the home's cache is taken.
    let command = bench
        .command("bench m.nin --tune")
        .env("XDG_CACHE_HOME", "relative")
        .env("HOME", bench.path("home"))
        .output();
    assert!(command.unwrap().status.success());
    assert!(bench.path("home/.cache/nin/tuned").is_dir() && !bench.path("relative").exists());
}
