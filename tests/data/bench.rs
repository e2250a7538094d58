//! [`Bench`]: a folder with a model and datasets small enough for a test, to run `nin` in.

use std::fs::{self, File};
use std::ops::Deref;
use std::path::Path;

use ndarray::{Array1, Array4};
use ndarray_npy::write_npy;

use crate::common::Folder;

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
    folder: Folder,
}

impl Deref for Bench {
    type Target = Folder;

    fn deref(&self) -> &Folder {
        &self.folder
    }
}

impl Bench {
    /// `m.nin`, and the same images as `pets` (files) and `arrays` (NumPy): so many of each class to learn from, and half
    /// as many to test.
    pub(crate) fn new(of_each: usize) -> Bench {
        let bench = Bench { folder: Folder::new() };
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
        let copy = Bench { folder: Folder::new() };
        for (name, (_, bytes)) in self.contents() {
            let to = copy.place().join(&name);
            match bytes {
                None => fs::create_dir_all(&to).unwrap(),
                Some(bytes) if name.ends_with("recipe.toml") => {
                    let [old, new] = [self, &copy].map(|bench| bench.place().to_str().unwrap());
                    let text = String::from_utf8(bytes).unwrap();
                    fs::write(&to, text.replace(old, new)).unwrap();
                }
                Some(bytes) => fs::write(&to, bytes).unwrap(),
            }
        }
        copy
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
