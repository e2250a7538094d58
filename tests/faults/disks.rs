//! Full disks: a write that fails ends in an error that names the file, and the file that was there stays whole.

use std::fs;
use std::path::Path;

use crate::common::Folder;
use crate::os::limited;
use crate::stage::{Stage, temporaries, times};

/// Lines that write files, and the files.
const WRITING: &[(&str, &[&str])] = &[
    ("init m.nin -o out/w.safetensors", &["w.safetensors"]),
    ("run m.nin --weights w --input x.npy -o out/y.npy", &["y.npy"]),
    (
        "run m.nin --weights w --input x.npy --labels l.npy -o out/y.npy --grads out/g.safetensors",
        &["y.npy", "g.safetensors"],
    ),
    ("features m.nin --weights w image.png -o out/maps.png", &["maps.png"]),
    ("data npy:data -o out/sheet.png", &["sheet.png"]),
    ("bench m.nin --batch 1 --runs 1 --sweep width=3,4 --plot out/s.svg", &["s.svg"]),
    ("compile m.nin -o out/lib.o --weights w", &["lib.o"]),
    ("compile m.nin -o out/lib.h", &["lib.h"]),
    ("fmt out/odd.nin", &["odd.nin"]),
    ("man --out out", &["nin.1", "nin-train.1"]),
];

/// A folder with what the lines read, and old files where they write.
fn prepare(stage: &Stage) {
    stage.run("init m.nin -o w");
    let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/seven.png");
    fs::copy(picture, stage.path("image.png")).unwrap();
    ndarray_npy::write_npy(stage.path("x.npy"), &ndarray::Array4::<f32>::zeros((1, 1, 8, 8)))
        .unwrap();
    ndarray_npy::write_npy(stage.path("l.npy"), &ndarray::arr1(&[2i64])).unwrap();
    fs::create_dir(stage.path("out")).unwrap();
}

/// What stood in a file before.
fn old(name: &str) -> Vec<u8> {
    if name == "odd.nin" { b"<input(1,8,8) conv(2)gap>".to_vec() } else { b"old".to_vec() }
}

fn put_old(stage: &Folder, names: &[&str]) {
    for name in names {
        fs::write(stage.path("out").join(name), old(name)).unwrap();
    }
}

#[test]
fn a_full_disk_is_told_and_old_files_stay_whole() {
    let stage = Stage::new();
    prepare(&stage);
    for (line, names) in WRITING {
        put_old(&stage, names);
        stage.run(line);
        let read = |name: &&str| fs::read(stage.path("out").join(name)).unwrap();
        let whole: Vec<Vec<u8>> = names.iter().map(read).collect();
        let smallest = whole.iter().map(Vec::len).min().unwrap() as u64;
        // A picture of times is not always of one length.
        for bytes in [0, 1, smallest / 2, smallest * 3 / 4] {
            put_old(&stage, names);
            let output = limited(&mut stage.command(line), bytes).output().unwrap();
            let message = String::from_utf8(output.stderr).unwrap();
            let story = format!("nin {line}, files up to {bytes} bytes: {message}");
            assert_eq!(output.status.code(), Some(1), "{story}");
            assert!(names.iter().any(|name| message.contains(name)), "{story}");
            for ((name, found), whole) in names.iter().zip(names.iter().map(read)).zip(&whole) {
                assert!(found == old(name) || found == *whole, "{name} is torn; {story}");
            }
            assert_eq!(temporaries(&stage.path("out")), 0, "{story}");
        }
    }
}

/// At every size some other file is the first that does not fit. With room again, the run ends as if nothing had been.
#[test]
fn a_run_on_a_full_disk_goes_on_when_there_is_room() {
    let stage = Stage::new();
    let files = fs::read_dir(stage.path("whole")).unwrap();
    let lengths = files.map(|file| file.unwrap().metadata().unwrap().len());
    let mut sizes: Vec<u64> = lengths.flat_map(|length| [length / 2, length - 1]).collect();
    let most = sizes.iter().copied().max().unwrap();
    let steps = times() as u64 / 4;
    sizes.extend([0, 1].into_iter().chain((0..steps).map(|step| most * step / steps)));
    sizes.sort_unstable();
    sizes.dedup();
    let mut named = vec![];
    for bytes in sizes {
        let run = format!("run{bytes}");
        let output = limited(&mut stage.command(&stage.begin(&run)), bytes).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        let error = message.lines().find(|line| line.contains("error: "));
        match output.status.code() {
            // A report that cannot be drawn is told, and no reason to lose the run.
            Some(0) => {
                assert!(message.contains("no report of the run"), "{bytes} bytes: {message}");
            }
            Some(1) => {
                let error = error.unwrap_or_else(|| panic!("{bytes} bytes: {message}"));
                assert!(error.contains(&format!("{run}/")), "{bytes} bytes: {message}");
                named.push(error.to_owned());
            }
            code => panic!("{bytes} bytes: {code:?}, {message}"),
        }
        stage.run(&stage.go_on(&run));
        stage.assert_same(&run, &format!("{bytes} bytes: {message}"));
    }
    for name in [".nin-lock", "model.nin", "plan.txt", "metrics.jsonl", "best.safetensors"] {
        assert!(named.iter().any(|error| error.contains(name)), "{name}: {named:#?}");
    }
}

/// Where a path leads to a device that is always full.
#[cfg(target_os = "linux")]
#[test]
fn a_full_device_is_told() {
    let stage = Stage::new();
    prepare(&stage);
    for line in [
        "init m.nin -o /dev/full",
        "run m.nin --weights w --input x.npy -o /dev/full",
        "data npy:data -o /dev/full",
        "compile m.nin -o /dev/full --emit obj",
    ] {
        let message = stage.fails(1, line);
        assert!(message.contains("/dev/full: "), "nin {line}: {message}");
    }
}
