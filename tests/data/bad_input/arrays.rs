//! NumPy files.

use std::fs;
use std::path::Path;

use ndarray::{Array1, Array2, Array4, Axis};
use ndarray_npy::{read_npy, write_npy};

use super::{Row, replace, truncate, write};
use crate::bench::SIDE;

/// Gives numbers another type in a file's header, a text of the same length.
fn descr(file: &Path, from: &str, to: &str) {
    replace(file, &format!("'{from}'"), &format!("'{to}'"));
}

const TRAIN_ARRAYS: &str = "train m.nin --data npy:arrays";
const EVAL: &str = "eval m.nin --weights w.safetensors --data npy:arrays";

pub(super) const ROWS: &[Row] = &[
    Row {
        what: "a file that is not there",
        spoil: |folder| fs::remove_file(folder.join("arrays/test_labels.npy")).unwrap(),
        line: TRAIN_ARRAYS,
        code: 1,
        says: &["arrays: no `test_labels.npy` here; nin looks for `train_images.npy`, "],
    },
    Row {
        what: "doubles",
        spoil: |folder| {
            let array = Array4::<f64>::zeros((12, 1, SIDE, SIDE));
            write_npy(folder.join("arrays/train_images.npy"), &array).unwrap();
        },
        line: TRAIN_ARRAYS,
        code: 1,
        says: &[
            "train_images.npy: expected uint8 or float32",
            "found float64: save `x.astype(numpy.float32)`",
        ],
    },
    Row {
        what: "long integers",
        spoil: |folder| {
            let array = Array4::<i64>::zeros((12, 1, SIDE, SIDE));
            write_npy(folder.join("arrays/train_images.npy"), &array).unwrap();
        },
        line: TRAIN_ARRAYS,
        code: 1,
        says: &[
            "train_images.npy: expected uint8 or float32",
            "found int64: save `x.astype(numpy.uint8)` if they are levels from 0 to 255",
        ],
    },
    Row {
        what: "objects",
        spoil: |folder| descr(&folder.join("arrays/train_images.npy"), "|u1", "|O "),
        line: TRAIN_ARRAYS,
        code: 1,
        says: &[
            "found objects of Python's: save `numpy.array(x.tolist(), numpy.float32)`, all of one shape",
        ],
    },
    Row {
        what: "texts for labels",
        spoil: |folder| descr(&folder.join("arrays/train_labels.npy"), "<i8", "<U9"),
        line: TRAIN_ARRAYS,
        code: 1,
        says: &["found texts: save numbers, such as `numpy.unique(x, return_inverse=True)[1]`"],
    },
    Row {
        what: "an archive in place of four files",
        spoil: |folder| {
            fs::remove_file(folder.join("arrays/train_images.npy")).unwrap();
            write(folder.join("arrays/all.npz"), b"PK\x03\x04");
        },
        line: TRAIN_ARRAYS,
        code: 1,
        says: &[
            "arrays/all.npz: expected four `.npy` files in a folder, found a zip archive, as of `numpy.savez`",
        ],
    },
    Row {
        what: "labels with gaps",
        spoil: |folder| {
            let labels = (0..12).map(|n| [0i64, 2, 5][n % 3]).collect::<Array1<i64>>();
            write_npy(folder.join("arrays/train_labels.npy"), &labels).unwrap();
        },
        line: TRAIN_ARRAYS,
        code: 1,
        says: &[
            "the model has 3 outputs",
            "has 6 classes",
            "No training image has the label 1, 3 or 4",
        ],
    },
    Row {
        what: "one label far from the others",
        spoil: |folder| {
            let file = folder.join("arrays/train_labels.npy");
            let mut labels: Array1<i64> = read_npy(&file).unwrap();
            labels[7] = 65_535;
            write_npy(&file, &labels).unwrap();
        },
        line: TRAIN_ARRAYS,
        code: 1,
        says: &["has 65536 classes", "has the label 3, 4, 5, 6, 7 or 65527 others up to 65534"],
    },
    Row {
        what: "flat images",
        spoil: |folder| {
            write_npy(folder.join("arrays/train_images.npy"), &Array2::<u8>::zeros((12, 64)))
                .unwrap();
        },
        line: TRAIN_ARRAYS,
        code: 1,
        says: &[
            "train_images.npy: expected uint8 or float32 images [N, C, H, W]",
            "shape [12, 64]",
        ],
    },
    Row {
        what: "channels last",
        spoil: |folder| {
            for set in ["train", "test"] {
                let file = folder.join(format!("arrays/{set}_images.npy"));
                let images: Array4<u8> = read_npy(&file).unwrap();
                let last = images.permuted_axes([0, 2, 3, 1]);
                write_npy(&file, &last.as_standard_layout()).unwrap();
            }
        },
        line: TRAIN_ARRAYS,
        code: 1,
        says: &["are 8x8x1: they seem to lie with their channels last", "numpy.moveaxis(x, -1, 1)"],
    },
    Row {
        what: "a pixel that is not a number",
        spoil: |folder| {
            let mut images = Array4::<f32>::zeros((12, 1, SIDE, SIDE));
            images[[7, 0, 3, 3]] = f32::NAN;
            write_npy(folder.join("arrays/train_images.npy"), &images).unwrap();
        },
        line: TRAIN_ARRAYS,
        code: 1,
        says: &["train_images.npy: image 7 holds a number that is not finite"],
    },
    Row {
        what: "bytes to learn from and floats to test",
        spoil: |folder| {
            let array = Array4::<f32>::zeros((6, 1, SIDE, SIDE));
            write_npy(folder.join("arrays/test_images.npy"), &array).unwrap();
        },
        line: TRAIN_ARRAYS,
        code: 1,
        says: &["training and test images of one type", "uint8", "float32"],
    },
    Row {
        what: "test images of another shape",
        spoil: |folder| {
            write_npy(folder.join("arrays/test_images.npy"), &Array4::<u8>::zeros((6, 1, 9, 9)))
                .unwrap();
        },
        line: TRAIN_ARRAYS,
        code: 1,
        says: &["training images are 1x8x8, test images 1x9x9"],
    },
    Row {
        what: "labels that are floats",
        spoil: |folder| {
            write_npy(folder.join("arrays/train_labels.npy"), &Array1::<f32>::zeros(12)).unwrap();
        },
        line: TRAIN_ARRAYS,
        code: 1,
        says: &[
            "train_labels.npy: expected whole labels [N], found float32: save `x.astype(numpy.int64)`",
        ],
    },
    Row {
        what: "labels of which each is a row",
        spoil: |folder| {
            write_npy(folder.join("arrays/train_labels.npy"), &Array2::<i64>::zeros((12, 3)))
                .unwrap();
        },
        line: TRAIN_ARRAYS,
        code: 1,
        says: &["train_labels.npy", "shape [12, 3]: save `x.argmax(axis=1)`"],
    },
    Row {
        what: "a negative label",
        spoil: |folder| {
            let labels =
                (0..12).map(|n| if n == 5 { -1i64 } else { n % 3 }).collect::<Array1<i64>>();
            write_npy(folder.join("arrays/train_labels.npy"), &labels).unwrap();
        },
        line: TRAIN_ARRAYS,
        code: 1,
        says: &["train_labels.npy: expected labels from 0", "found -1 at index 5"],
    },
    Row {
        what: "labels from 1",
        spoil: |folder| {
            for set in ["train", "test"] {
                let file = folder.join(format!("arrays/{set}_labels.npy"));
                let labels: Array1<i64> = read_npy(&file).unwrap();
                write_npy(&file, &(labels + 1)).unwrap();
            }
        },
        line: TRAIN_ARRAYS,
        code: 1,
        says: &["the model has 3 outputs", "has 4 classes", "no label is 0"],
    },
    Row {
        what: "a test label that no class has",
        spoil: |folder| {
            let labels = Array1::from_vec(vec![0i64, 1, 2, 0, 3, 2]);
            write_npy(folder.join("arrays/test_labels.npy"), &labels).unwrap();
        },
        line: EVAL,
        code: 1,
        says: &["arrays: test image 4 has the label 3; with 3 classes, labels are below 3"],
    },
    Row {
        what: "a label too few",
        spoil: |folder| {
            let file = folder.join("arrays/train_labels.npy");
            let labels: Array1<i64> = read_npy(&file).unwrap();
            write_npy(&file, &labels.slice_axis(Axis(0), (..11).into())).unwrap();
        },
        line: TRAIN_ARRAYS,
        code: 1,
        says: &["train_labels.npy: 12 images and 11 labels: each image needs one"],
    },
    Row {
        what: "no image at all",
        spoil: |folder| {
            let array = Array4::<u8>::zeros((0, 1, SIDE, SIDE));
            write_npy(folder.join("arrays/test_images.npy"), &array).unwrap();
        },
        line: TRAIN_ARRAYS,
        code: 1,
        says: &["test_images.npy: there is no test image"],
    },
    Row {
        what: "a download cut short",
        spoil: |folder| truncate(folder.join("arrays/train_images.npy"), 500),
        line: TRAIN_ARRAYS,
        code: 1,
        says: &[
            "train_images.npy: expected the numbers of a uint8 array of shape [12, 1, 8, 8]",
            "found 372 bytes",
        ],
    },
    Row {
        what: "several arrays in one file",
        spoil: |folder| write(folder.join("arrays/train_images.npy"), b"PK\x03\x04..."),
        line: TRAIN_ARRAYS,
        code: 1,
        says: &[
            "train_images.npy: expected a NumPy file",
            "a zip archive, as of `numpy.savez`: save each array by itself with `numpy.save`",
        ],
    },
];
