//! [`Folder`], where tests run the command, and [`Bench`], one with a model and images it can learn.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use std::collections::BTreeMap;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

pub const MODEL: &str = "
model Bars(width = 6) <
    input(1, 8, 8)
    mlpconv(width, width)
    maxpool(2)
    dropout(0.2)
    mlpconv(width, 10)
    gap
    softmax
>
";

/// What whoever started the tests ignores, as a shell's background jobs ignore Ctrl-C, the command would ignore as well.
#[cfg(unix)]
#[allow(unsafe_code, reason = "nothing safe changes what a signal does in a child")]
fn heed_signals(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;
    let heed = || {
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
            // SAFETY: a system call that is allowed between fork and exec.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls alone and allocates nothing.
    unsafe { command.pre_exec(heed) };
}

/// A new folder to run the command in.
pub struct Folder {
    folder: tempfile::TempDir,
}

/// A folder with a model, `m.nin`, and images it can learn, `data`.
pub struct Bench {
    folder: Folder,
}

impl Deref for Bench {
    type Target = Folder;

    fn deref(&self) -> &Folder {
        &self.folder
    }
}

impl Bench {
    pub fn new() -> Bench {
        let folder = Folder::new();
        fs::write(folder.path("m.nin"), MODEL).unwrap();
        fs::create_dir(folder.path("data")).unwrap();
        for (set, images) in [("train", 300), ("t10k", 60)] {
            let classes = (0..images).map(|n| (n % 10) as u8);
            let pixels = (0..images).flat_map(|n| (0..64).map(move |at| level(n, at / 8, at % 8)));
            let write = |kind: &str, magic: u32, sizes: &[u32], body: Vec<u8>| {
                let words =
                    std::iter::once(&magic).chain(sizes).flat_map(|word| word.to_be_bytes());
                let file = folder.path("data").join(format!("{set}-{kind}-ubyte"));
                fs::write(file, words.chain(body).collect::<Vec<u8>>()).unwrap();
            };
            let count = images as u32;
            write("labels-idx1", 0x801, &[count], classes.collect());
            write("images-idx3", 0x803, &[count, 8, 8], pixels.collect());
        }
        Bench { folder }
    }
}

impl Folder {
    pub fn new() -> Folder {
        Folder { folder: tempfile::tempdir().unwrap() }
    }

    pub fn place(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nin"));
        command.args(line.split_whitespace()).current_dir(self.folder.path());
        // Whoever runs the tests may like colours.
        command.env_remove("CLICOLOR_FORCE");
        // What is measured here stays here.
        command.env("XDG_CACHE_HOME", self.path("cache"));
        #[cfg(unix)]
        heed_signals(&mut command);
        command
    }

    /// Runs a line that must succeed, and returns its standard output.
    pub fn run(&self, line: &str) -> String {
        self.run_with_notes(line).0
    }

    /// Runs a line that must succeed, and returns its standard output and its standard error.
    pub fn run_with_notes(&self, line: &str) -> (String, String) {
        let output = self.command(line).output().unwrap();
        let notes = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "nin {line}: {}\n{notes}", output.status);
        (String::from_utf8(output.stdout).unwrap(), notes)
    }

    /// Every file and folder by its path in the folder, with a file's length and, unless it is long, its bytes.
    pub fn contents(&self) -> BTreeMap<PathBuf, (u64, Option<Vec<u8>>)> {
        const LONG: u64 = 1 << 20;
        let mut found = BTreeMap::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path.clone());
                }
                let length = fs::metadata(&path).unwrap().len();
                let bytes = (path.is_file() && length < LONG).then(|| fs::read(&path).unwrap());
                let inside = path.strip_prefix(self.place()).unwrap().to_owned();
                found.insert(inside, (length, bytes));
            }
        }
        found
    }

    /// Runs a line that must print one JSON object, on one line, and nothing else.
    pub fn json(&self, line: &str) -> Value {
        let printed = self.run(line);
        assert_eq!(printed.lines().count(), 1, "nin {line}: {printed}");
        serde_json::from_str(&printed).unwrap()
    }

    /// Runs a line that must fail with `code`, and returns its standard error.
    pub fn fails(&self, code: i32, line: &str) -> String {
        let output = self.command(line).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "nin {line}: {errors}");
        assert!(output.stdout.is_empty(), "nin {line} printed results");
        errors
    }
}

/// Class `n % 10` is a bar at its own place: five rows, five columns.
pub fn level(n: usize, y: usize, x: usize) -> u8 {
    let class = n % 10;
    let on = if class < 5 { y == class + 1 } else { x == class - 4 };
    if on { 255 } else { ((n * 37 + y * 11 + x * 5) % 40) as u8 }
}

/// One of the repository's models.
pub fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name)
}

/// The keys of an object, in alphabetical order.
pub fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}
