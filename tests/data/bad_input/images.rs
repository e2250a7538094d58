//! Folders of image files.

use std::fs;

use super::{Row, as_it_is, truncate, write};
use crate::bench::{SIDE, write_png};

const TRAIN_FILES: &str = "train m.nin --data images:pets";

pub(super) const ROWS: &[Row] = &[
    Row {
        what: "a folder that is not there",
        spoil: as_it_is,
        line: "train m.nin --data images:nowhere",
        code: 1,
        says: &[
            "nowhere: there is no such folder",
            "a folder with `train/CLASS/*.png`, `test/CLASS/*.png`",
        ],
    },
    Row {
        what: "a file in place of the folder",
        spoil: as_it_is,
        line: "train m.nin --data images:m.nin",
        code: 1,
        says: &["m.nin: this is a file", "a folder with `train/CLASS/*.png`"],
    },
    Row {
        what: "no test set",
        spoil: |folder| fs::remove_dir_all(folder.join("pets/test")).unwrap(),
        line: TRAIN_FILES,
        code: 1,
        says: &["pets: no test images here", "`test/CLASS/*.png`"],
    },
    Row {
        what: "the folder of one set",
        spoil: as_it_is,
        line: "train m.nin --data images:pets/train",
        code: 1,
        says: &["pets/train: no training images here", "`train/CLASS/*.png`"],
    },
    Row {
        what: "a class that is not in the test set",
        spoil: |folder| fs::remove_dir_all(folder.join("pets/test/rows")).unwrap(),
        line: TRAIN_FILES,
        code: 1,
        says: &["`test` lacks `rows`", "an empty folder says"],
    },
    Row {
        what: "classes with other names in the test set",
        spoil: |folder| {
            fs::rename(folder.join("pets/test/rows"), folder.join("pets/test/Rows")).unwrap();
        },
        line: TRAIN_FILES,
        code: 1,
        says: &["`test` lacks `rows`", "`train` lacks `Rows`"],
    },
    Row {
        what: "a class without an image",
        spoil: |folder| {
            fs::remove_dir_all(folder.join("pets/train/rows")).unwrap();
            fs::create_dir(folder.join("pets/train/rows")).unwrap();
        },
        line: TRAIN_FILES,
        code: 1,
        says: &["pets/train/rows: no training image here; nin looks for `*.png`"],
    },
    Row {
        what: "a photograph",
        spoil: |folder| write(folder.join("pets/train/rows/a.jpg"), b"\xff\xd8\xff\xe0"),
        line: TRAIN_FILES,
        code: 1,
        says: &["pets/train/rows/a.jpg: expected a PNG image", "convert it to PNG, or move it"],
    },
    Row {
        what: "a photograph that was renamed",
        spoil: |folder| write(folder.join("pets/test/rows/a.png"), b"\xff\xd8\xff\xe0 JFIF"),
        line: TRAIN_FILES,
        code: 1,
        says: &["pets/test/rows/a.png: not read as PNG: it is a JPEG image", "convert it to PNG"],
    },
    Row {
        what: "an animation that was renamed",
        spoil: |folder| write(folder.join("pets/test/rows/a.png"), b"GIF89a\x08\0\x08\0"),
        line: TRAIN_FILES,
        code: 1,
        says: &["pets/test/rows/a.png: not read as PNG: it is a GIF image", "convert it to PNG"],
    },
    Row {
        what: "a picture of the web that was renamed",
        spoil: |folder| write(folder.join("a.png"), b"RIFF\x24\0\0\0WEBPVP8 "),
        line: "predict m.nin --weights w.safetensors a.png",
        code: 1,
        says: &["a.png: not read as PNG: it is a WebP image", "convert it to PNG"],
    },
    Row {
        what: "a bitmap that was renamed",
        spoil: |folder| write(folder.join("a.png"), b"BM\x36\x0c\0\0\0\0\0\0\x36\0\0\0"),
        line: "predict m.nin --weights w.safetensors a.png",
        code: 1,
        says: &["a.png: not read as PNG: it is a BMP image", "convert it to PNG"],
    },
    Row {
        what: "a picture cut short",
        spoil: |folder| truncate(folder.join("pets/train/columns/0002.png"), 60),
        line: TRAIN_FILES,
        code: 1,
        says: &["pets/train/columns/0002.png: not read as PNG", "end of file"],
    },
    Row {
        what: "a picture of another size",
        spoil: |folder| {
            write_png(&folder.join("pets/test/rows/a.png"), 9, png::ColorType::Grayscale, &[7; 81]);
        },
        line: TRAIN_FILES,
        code: 1,
        says: &[
            "pets/test/rows/a.png is 9x9 (height x width)",
            "is 8x8: all images of a dataset must have one size",
        ],
    },
    Row {
        what: "pictures beside the class folders",
        spoil: |folder| {
            fs::copy(folder.join("pets/train/rows/0008.png"), folder.join("pets/train/8.png"))
                .unwrap();
        },
        line: TRAIN_FILES,
        code: 1,
        says: &[
            "pets/train/8.png: expected a folder",
            "put it into a folder named after its class",
        ],
    },
    Row {
        what: "a folder within a class",
        spoil: |folder| fs::create_dir(folder.join("pets/train/rows/more")).unwrap(),
        line: TRAIN_FILES,
        code: 1,
        says: &["pets/train/rows/more: expected a PNG image, found a folder"],
    },
    Row {
        what: "a colour picture and a model for grey ones",
        spoil: |folder| {
            let file = folder.join("pets/test/rows/a.png");
            write_png(&file, SIDE, png::ColorType::Rgb, &[7; 3 * SIDE * SIDE]);
        },
        line: TRAIN_FILES,
        code: 1,
        says: &["the model reads 1x8x8 images", "are 3x8x8: write `input(3, 8, 8)` in the model"],
    },
    Row {
        what: "fewer classes than the model has outputs",
        spoil: |folder| {
            for set in ["train", "test"] {
                fs::remove_dir_all(folder.join("pets").join(set).join("rows")).unwrap();
            }
        },
        line: TRAIN_FILES,
        code: 1,
        says: &["the model has 3 outputs", "pets has 2 classes", "2 channels"],
    },
    Row {
        what: "one class alone",
        spoil: |folder| {
            fs::remove_dir_all(folder.join("pets/train/rows")).unwrap();
            fs::remove_dir_all(folder.join("pets/train/columns")).unwrap();
        },
        line: TRAIN_FILES,
        code: 1,
        says: &["expected a folder for each of two or more classes, found only `diagonals`"],
    },
    Row {
        what: "a kind that is misspelt",
        spoil: as_it_is,
        line: "train m.nin --data image:pets",
        code: 2,
        says: &["there is no dataset `image` (did you mean `images`?)", "`npy:DIR`"],
    },
    Row {
        what: "a kind without its folder",
        spoil: as_it_is,
        line: "eval m.nin --weights w.safetensors --data images",
        code: 2,
        says: &["`images` needs the folder its files lie in: `images:DIR`"],
    },
    Row {
        what: "something to recognise that is no picture",
        spoil: as_it_is,
        line: "predict m.nin --weights w.safetensors m.nin",
        code: 1,
        says: &["m.nin: not read as PNG"],
    },
];
