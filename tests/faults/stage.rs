//! [`Stage`]: a folder with a small model, its data, and a run that nothing disturbed.

use std::fs;
use std::ops::Deref;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ndarray::{Array1, Array4};
use ndarray_npy::write_npy;
use serde_json::Value;

use crate::common::Folder;

const MODEL: &str = "
model Bars(width = 6) <
    input(1, 8, 8)
    mlpconv(width, width)
    batchnorm
    maxpool(2)
    dropout(0.2)
    mlpconv(width, 3)
    gap
    softmax
>
";
/// Everything a run can remember: squares, a plateau, a share held back, statistics of the images.
const RECIPE: &str = "
epochs = 6
batch = 6
lr = 0.01
validation = 0.1
optimizer = { kind = \"adam\" }
schedule = { kind = \"plateau\", factor = 0.5, patience = 1 }
preprocessing = { kind = \"mean\" }
augment = { pad = 1, flip = true }
";
/// Files of a run whose bytes depend on nothing but what was asked for.
const SAME: [&str; 6] = [
    "model.nin",
    "recipe.toml",
    "plan.txt",
    "statistics.safetensors",
    "last.safetensors",
    "best.safetensors",
];

/// A folder with `m.nin`, `r.toml`, `data` and a whole run, `whole`.
pub(crate) struct Stage {
    folder: Folder,
    /// How long the whole run took.
    pub(crate) took: Duration,
}

impl Deref for Stage {
    type Target = Folder;

    fn deref(&self) -> &Folder {
        &self.folder
    }
}

/// How many times the heaviest test is done.
pub(crate) fn times() -> usize {
    let asked = std::env::var("NIN_FAULTS").ok();
    asked.map_or(8, |asked| asked.parse().expect("NIN_FAULTS is a number"))
}

impl Stage {
    pub(crate) fn new() -> Stage {
        let folder = Folder::new();
        fs::write(folder.path("m.nin"), MODEL).unwrap();
        fs::write(folder.path("r.toml"), RECIPE).unwrap();
        fs::create_dir(folder.path("data")).unwrap();
        for (set, count) in [("train", 120), ("test", 30)] {
            let level = |(n, _, y, x): (usize, usize, usize, usize)| {
                let on = [y == n % 8, x == n % 8, (x + y) % 8 == n % 8][n % 3];
                if on { 200u8 } else { ((n * 31 + y * 5 + x * 3) % 30) as u8 }
            };
            let images = Array4::from_shape_fn((count, 1, 8, 8), level);
            let labels: Array1<i64> = (0..count).map(|n| (n % 3) as i64).collect();
            write_npy(folder.path(&format!("data/{set}_images.npy")), &images).unwrap();
            write_npy(folder.path(&format!("data/{set}_labels.npy")), &labels).unwrap();
        }
        let mut stage = Stage { folder, took: Duration::ZERO };
        let start = Instant::now();
        stage.run(&stage.begin("whole"));
        stage.took = start.elapsed();
        stage
    }

    /// The line that begins a run.
    pub(crate) fn begin(&self, run: &str) -> String {
        format!("train m.nin --data npy:data --recipe r.toml --threads 1 --out {run}")
    }

    /// The line that goes on with a run, or begins it where there is nothing to go on with.
    pub(crate) fn go_on(&self, run: &str) -> String {
        if self.path(run).join("last.safetensors").is_file() {
            format!("train --resume {run} --threads 1")
        } else {
            self.begin(run)
        }
    }

    /// Starts a line whose words nobody reads.
    pub(crate) fn start(&self, line: &str) -> Child {
        quiet(&mut self.command(line)).spawn().unwrap()
    }

    /// Asserts that a run ended as the undisturbed one.
    pub(crate) fn assert_same(&self, run: &str, story: &str) {
        for name in SAME {
            let [a, b] = ["whole", run].map(|run| fs::read(self.path(run).join(name)));
            assert!(a.unwrap() == b.unwrap(), "{run}/{name} differs; {story}");
        }
        let [a, b] = ["whole", run].map(|run| figures(&self.path(run)));
        assert_eq!(a, b, "{run}/metrics.jsonl; {story}");
        assert_eq!(temporaries(&self.path(run)), 0, "{story}");
    }
}

/// What is said goes nowhere.
pub(crate) fn quiet(command: &mut Command) -> &mut Command {
    command.stdout(Stdio::null()).stderr(Stdio::null())
}

/// What `metrics.jsonl` says but for times and speeds.
fn figures(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let line = |line: &str| {
        let mut value: Value = serde_json::from_str(line).unwrap();
        let object = value.as_object_mut().unwrap();
        object.retain(|key, _| key != "images_per_s" && key != "seconds");
        value
    };
    text.lines().map(line).collect()
}

/// How many files of dead writers lie in a folder.
pub(crate) fn temporaries(folder: &Path) -> usize {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".tmp")).count()
}

/// Numbers from 0 to 1 that look random and are the same every time (SplitMix64).
pub(crate) struct Moments(pub(crate) u64);

impl Moments {
    pub(crate) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}
