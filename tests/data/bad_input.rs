//! What is said to data, weights, recipes and run folders that are wrong: each row is a mistake a person can make. The
//! command exits with 1 or 2, says what is wrong and what to do, and leaves everything on the disk as it was.

mod arrays;
mod folders;
mod images;
mod published;
mod recipes;
mod runs;
mod weights;

use std::fs;
use std::path::Path;

use crate::bench::Bench;

struct Row {
    what: &'static str,
    /// Makes the mistake in a folder with `m.nin`, `pets`, `arrays`, fresh weights `w.safetensors` and a run, `run`.
    spoil: fn(&Path),
    line: &'static str,
    code: i32,
    /// What the message must hold, all of it.
    says: &'static [&'static str],
}

/// Nothing but the line is wrong.
fn as_it_is(_: &Path) {}

fn write(file: impl AsRef<Path>, contents: impl AsRef<[u8]>) {
    fs::write(file, contents).unwrap();
}

/// Keeps so many bytes of a file.
fn truncate(file: impl AsRef<Path>, length: usize) {
    let bytes = fs::read(&file).unwrap();
    write(file, &bytes[..length]);
}

/// Replaces a text of the same length in a file, once.
fn replace(file: impl AsRef<Path>, from: &str, to: &str) {
    let mut bytes = fs::read(&file).unwrap();
    let at =
        bytes.windows(from.len()).position(|window| window == from.as_bytes()).expect("is there");
    bytes.splice(at..at + from.len(), to.bytes());
    write(file, bytes);
}

#[test]
fn mistakes_are_told_and_nothing_is_touched() {
    let whole = Bench::new(4);
    whole.run("init m.nin -o w.safetensors");
    whole.run("train m.nin --data npy:arrays --epochs 2 --batch 8 --threads 1 --out run");
    let tables = [
        images::ROWS,
        arrays::ROWS,
        published::ROWS,
        weights::ROWS,
        recipes::ROWS,
        folders::ROWS,
        runs::ROWS,
    ];
    let rows: Vec<&Row> = tables.into_iter().flatten().collect();
    let mut wrong = vec![];
    for Row { what, spoil, line, code, says } in &rows {
        let bench = whole.copy();
        spoil(bench.place());
        let before = bench.contents();
        let output = bench.command(line).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        let missing: Vec<&&str> = says.iter().filter(|part| !message.contains(**part)).collect();
        let sound = output.status.code() == Some(*code)
            && output.stdout.is_empty()
            && missing.is_empty()
            && !message.contains("panicked")
            && bench.contents() == before;
        if !sound {
            let untouched = bench.contents() == before;
            wrong.push(format!(
                "{what}: nin {line}\n{}, nothing touched: {untouched}, missing {missing:?}\n{message}",
                output.status
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_is_refused_before_training() {
    use std::os::unix::fs::PermissionsExt as _;

    let bench = Bench::new(4);
    fs::create_dir(bench.path("locked")).unwrap();
    fs::set_permissions(bench.path("locked"), fs::Permissions::from_mode(0o555)).unwrap();
    // Nothing is locked to root; the kernel's own folder is.
    let is_root = fs::write(bench.path("locked/probe"), "").is_ok();
    let folders: &[&str] = match is_root {
        false => &["locked", "locked/deeper/run"],
        true if cfg!(target_os = "linux") => &["/proc/run"],
        true => &[],
    };
    for folder in folders {
        let output = bench
            .command(&format!("train m.nin --data npy:arrays --out {folder}"))
            .output()
            .unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains(&format!("error: {folder}")), "{message}");
        assert!(!message.contains("epoch 1"), "{message}");
    }
}

/// A recipe is a text, and a run is resumed by what it names: what it cannot name is refused before anything starts. The
/// run's own folder may have any name.
#[cfg(target_os = "linux")]
#[test]
fn a_place_that_no_recipe_can_name_is_refused_before_training() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let bench = Bench::new(4);
    bench.run("init m.nin -o w.safetensors");
    let odd = bench.place().join(OsStr::from_bytes(b"d\xff"));
    fs::create_dir(&odd).unwrap();
    for name in ["m.nin", "w.safetensors", "arrays"] {
        std::os::unix::fs::symlink(bench.path(name), odd.join(name)).unwrap();
    }
    let arrays = bench.path("arrays");
    let arrays = arrays.to_str().unwrap();
    let run = |line: &str| {
        let output = bench.command(line).current_dir(&odd).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let line = format!("train m.nin --data npy:{arrays} --epochs 1 --batch 8");
    for line in [
        "train m.nin --data npy:arrays --out run",
        "sweep m.nin --data npy:arrays --out run",
        &format!("{line} --weights w.safetensors --out run"),
    ] {
        let (code, message) = run(line);
        assert_eq!(code, Some(1), "nin {line}: {message}");
        assert!(message.contains("this path is not in UTF-8"), "{message}");
        assert!(!odd.join("run").exists());
    }
    assert_eq!(run(&format!("{line} --out run")).0, Some(0));
    assert_eq!(run("train --resume run").0, Some(0));
    assert_eq!(run("train --resume run --data npy:arrays").0, Some(1));
}
