//! [`Bench`]: a folder with a model and datasets small enough for a test, to run `nin` in.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ndarray::{Array1, Array4};
use ndarray_npy::write_npy;

/// Three classes of 8x8 images.
pub(crate) const MODEL: &str = "model Bars(width = 6) <
    input(1, 8, 8)
    mlpconv(width, width)
    maxpool(2)
    mlpconv(width, 3)
    gap
    softmax
>
";
pub(crate) const CLASSES: [&str; 3] = ["columns", "diagonals", "rows"];
pub(crate) const SIDE: usize = 8;

pub(crate) struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    /// `m.nin`, and the same images as `pets` (files) and `arrays` (NumPy): so many of each class to learn from, and half
    /// as many to test.
    pub(crate) fn new(of_each: usize) -> Bench {
        let bench = Bench { folder: tempfile::tempdir().unwrap() };
        fs::write(bench.path("m.nin"), MODEL).unwrap();
        fs::create_dir(bench.path("arrays")).unwrap();
        for (set, count) in [("train", 3 * of_each), ("test", 3 * of_each / 2)] {
            // In the order of the image files: class by class.
            let classes: Vec<usize> = (0..count).map(|n| n * 3 / count).collect();
            let images = Array4::from_shape_fn((count, 1, SIDE, SIDE), |(n, _, y, x)| {
                level(classes[n], n, y, x)
            });
            for (n, &class) in classes.iter().enumerate() {
                let file = bench.path("pets").join(set).join(CLASSES[class]);
                fs::create_dir_all(&file).unwrap();
                let pixels: Vec<u8> =
                    images.index_axis(ndarray::Axis(0), n).iter().copied().collect();
                write_png(
                    &file.join(format!("{n:04}.png")),
                    SIDE,
                    png::ColorType::Grayscale,
                    &pixels,
                );
            }
            let labels = classes.iter().map(|&class| class as i64).collect::<Array1<i64>>();
            write_npy(bench.path(&format!("arrays/{set}_images.npy")), &images).unwrap();
            write_npy(bench.path(&format!("arrays/{set}_labels.npy")), &labels).unwrap();
        }
        bench
    }

    /// A copy, in which a run's data lie in the copy too.
    pub(crate) fn copy(&self) -> Bench {
        let copy = Bench { folder: tempfile::tempdir().unwrap() };
        for (name, contents) in self.contents() {
            let to = copy.folder.path().join(&name);
            match contents {
                None => fs::create_dir_all(&to).unwrap(),
                Some(bytes) if name.ends_with("recipe.toml") => {
                    let [old, new] =
                        [self, &copy].map(|bench| bench.folder.path().to_str().unwrap());
                    let text = String::from_utf8(bytes).unwrap();
                    fs::write(&to, text.replace(old, new)).unwrap();
                }
                Some(bytes) => fs::write(&to, bytes).unwrap(),
            }
        }
        copy
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Everything in the folder: folders, and files with their bytes.
    pub(crate) fn contents(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let bytes = path.is_file().then(|| fs::read(&path).unwrap());
                if bytes.is_none() {
                    folders.push(path.clone());
                }
                found.insert(path.strip_prefix(self.folder.path()).unwrap().to_owned(), bytes);
            }
        }
        found
    }

    pub(crate) fn output(&self, line: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nin"));
        command.args(line.split_whitespace()).current_dir(self.folder.path());
        command.output().unwrap()
    }

    /// Runs a line that must succeed, and returns its standard output and its standard error.
    pub(crate) fn run(&self, line: &str) -> (String, String) {
        let Output { status, stdout, stderr } = self.output(line);
        let (results, notes) = (String::from_utf8(stdout), String::from_utf8(stderr));
        let (results, notes) = (results.unwrap(), notes.unwrap());
        assert!(status.success(), "nin {line}: {status}\n{notes}");
        (results, notes)
    }

    /// The JSON object that a line prints.
    pub(crate) fn json(&self, line: &str) -> serde_json::Value {
        serde_json::from_str(&self.run(line).0).unwrap()
    }
}

/// A bar of the class's kind, its place and brightness by the image's number, over dim noise.
fn level(class: usize, n: usize, y: usize, x: usize) -> u8 {
    let place = n % SIDE;
    let on = match CLASSES[class] {
        "columns" => x == place,
        "rows" => y == place,
        _ => (x + y) % SIDE == place,
    };
    if on { 160 + (n * 7 % 90) as u8 } else { ((n * 31 + y * 5 + x * 3) % 30) as u8 }
}

pub(crate) fn write_png(file: &Path, side: usize, colour: png::ColorType, pixels: &[u8]) {
    let mut encoder = png::Encoder::new(File::create(file).unwrap(), side as u32, side as u32);
    encoder.set_color(colour);
    encoder.write_header().unwrap().write_image_data(pixels).unwrap();
}
