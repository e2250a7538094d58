//! Where the command's words go: full outputs, narrow terminals.

use std::fs::File;
use std::io::Read as _;
use std::process::Stdio;

use crate::os::terminal;
use crate::stage::Stage;

/// Lines that print results, all of which succeed.
const PRINTING: &[&str] = &[
    "--help",
    "--version",
    "help train",
    "check m.nin",
    "check m.nin --json",
    "explain",
    "show m.nin --stage plan",
    "data npy:data",
    "train m.nin --data npy:data --epochs 1",
    "sweep m.nin --data npy:data --epochs 1 --out swept",
    "eval m.nin --weights whole/last.safetensors --data npy:data",
    "bench m.nin --batch 1 --runs 1 --json",
    "completions bash",
    "man train",
];

#[cfg(target_os = "linux")]
#[test]
fn a_full_standard_output_is_told() {
    let stage = Stage::new();
    for line in PRINTING {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = stage.command(line).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "nin {line}: {message}");
        assert!(message.contains("error: standard output: "), "nin {line}: {message}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_standard_error_changes_nothing() {
    let stage = Stage::new();
    for (line, code) in PRINTING.iter().map(|line| (*line, 0)).chain([
        ("check absent.nin", 1),
        ("check", 2),
        ("train m.nin", 2),
        ("train --resume data", 1),
    ]) {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = stage.command(line).stderr(full).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "nin {line}");
    }
}

/// What a person sees: no line of the bar is longer than the terminal is wide.
#[test]
fn a_bar_fits_its_terminal() {
    let stage = Stage::new();
    for columns in [30u16, 50, 72, 100, 200] {
        let (mut person, command) = terminal(columns);
        let line = format!("{} --epochs 40", stage.begin(&format!("run{columns}")));
        let mut run = stage.command(&line);
        run.env("TERM", "xterm").stdout(Stdio::null()).stderr(command);
        let mut child = run.spawn().unwrap();
        // The command's end is closed with it, here and there; then reading fails.
        drop(run);
        let mut seen = vec![];
        let _ = person.read_to_end(&mut seen);
        assert!(child.wait().unwrap().success());
        let seen = String::from_utf8_lossy(&seen).into_owned();
        let bars: Vec<String> =
            seen.split(['\r', '\n']).map(plain).filter(|line| line.contains("/720 ")).collect();
        assert!(!bars.is_empty(), "{columns} columns: {seen}");
        for bar in bars {
            assert!(bar.trim_end().chars().count() <= usize::from(columns), "{columns}: {bar}");
        }
    }
}

/// A line without what moves the cursor and colours.
fn plain(line: &str) -> String {
    let mut parts = line.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let rest = part.trim_start_matches(['[', '?']);
        text + rest
            .trim_start_matches(|c: char| c.is_ascii_digit() || c == ';')
            .get(1..)
            .unwrap_or("")
    })
}
