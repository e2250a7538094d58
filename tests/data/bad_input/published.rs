//! Datasets as their authors publish them.

use std::fs;
use std::path::Path;

use super::{Row, as_it_is, truncate, write};

const SVHN: &str = "data svhn:svhn";

/// CIFAR-10 with two images a file.
fn cifar10(folder: &Path) {
    fs::create_dir(folder.join("cifar")).unwrap();
    let names = (1..=5).map(|n| format!("data_batch_{n}")).chain(["test_batch".to_owned()]);
    for name in names {
        write(folder.join(format!("cifar/{name}.bin")), [3; 2 * 3073]);
    }
}

/// A few images as SciPy wrote them.
fn svhn(folder: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("nin-runtime/tests/fixtures/svhn");
    fs::create_dir(folder.join("svhn")).unwrap();
    for name in ["train_32x32.mat", "test_32x32.mat"] {
        fs::copy(from.join(name), folder.join("svhn").join(name)).unwrap();
    }
}

pub(super) const ROWS: &[Row] = &[
    Row {
        what: "CIFAR-10 in a folder without it",
        spoil: as_it_is,
        line: "data cifar10:arrays",
        code: 1,
        says: &[
            "arrays: no `data_batch_1.bin` of CIFAR-10 here; nin looks for `data_batch_1.bin`",
            "`cifar-10-binary.tar.gz`",
        ],
    },
    Row {
        what: "CIFAR-10 in a folder that is not there",
        spoil: as_it_is,
        line: "train m.nin --data cifar10:nowhere",
        code: 1,
        says: &["nowhere: there is no such folder"],
    },
    Row {
        what: "a file of CIFAR-10 that is missing",
        spoil: |folder| {
            cifar10(folder);
            fs::remove_file(folder.join("cifar/data_batch_4.bin")).unwrap();
        },
        line: "data cifar10:cifar",
        code: 1,
        says: &["cifar: no `data_batch_4.bin` of CIFAR-10 here"],
    },
    Row {
        what: "a file of CIFAR-10 cut short",
        spoil: |folder| {
            cifar10(folder);
            truncate(folder.join("cifar/test_batch.bin"), 4000);
        },
        line: "data cifar10:cifar",
        code: 1,
        says: &[
            "test_batch.bin: expected whole records of 3073 bytes, as in CIFAR-10, found 4000 bytes",
        ],
    },
    Row {
        what: "CIFAR-10 with a label that no class has",
        spoil: |folder| {
            cifar10(folder);
            let records = [[3; 3073], [200; 3073]].concat();
            write(folder.join("cifar/data_batch_2.bin"), records);
        },
        line: "data cifar10:cifar",
        code: 1,
        says: &["data_batch_2.bin: expected labels below 10, found 200 in record 1 (from 0)"],
    },
    Row {
        what: "CIFAR-10 in Python's version",
        spoil: |folder| write(folder.join("data_batch_1"), b"\x80\x02}q"),
        line: "data cifar10:.",
        code: 1,
        says: &[
            ".: this is CIFAR-10 in its Python version; nin reads the binary version, `cifar-10-binary.tar.gz`",
        ],
    },
    Row {
        what: "the archive of CIFAR-100 in MATLAB's version",
        spoil: |folder| write(folder.join("cifar-100-matlab.tar.gz"), b"\x1f\x8b"),
        line: "data cifar100:.",
        code: 1,
        says: &["this is CIFAR-100 in its MATLAB version", "`cifar-100-binary.tar.gz`"],
    },
    Row {
        what: "CIFAR-10 in Python's version under the name of the binary one",
        spoil: |folder| {
            cifar10(folder);
            write(folder.join("cifar/data_batch_3.bin"), b"\x80\x02}q\x01(U");
        },
        line: "data cifar10:cifar",
        code: 1,
        says: &["data_batch_3.bin: expected whole records", "found 7 bytes (a pickle of Python's)"],
    },
    Row {
        what: "EMNIST",
        spoil: |folder| {
            write(folder.join("emnist-letters-train-images-idx3-ubyte.gz"), b"\x1f\x8b");
        },
        line: "data mnist:.",
        code: 1,
        says: &[
            "emnist-letters-train-images-idx3-ubyte.gz: expected a file of MNIST's, found one of EMNIST's",
            "`npy:DIR`, labels from 0",
        ],
    },
    Row {
        what: "a page of the web in place of MNIST",
        spoil: |folder| {
            write(folder.join("train-images-idx3-ubyte.gz"), b"<!DOCTYPE html><title>404");
            write(folder.join("train-labels-idx1-ubyte"), b"\0\0\x08\x01\0\0\0\0");
        },
        line: "data mnist:.",
        code: 1,
        says: &["expected idx images (magic number 0x0803), found 0x3c21444f (an HTML page)"],
    },
    Row {
        what: "an archive that is none",
        spoil: |folder| write(folder.join("cifar-100-binary.tar.gz"), b"<html>404</html>"),
        line: "data cifar100:.",
        code: 1,
        says: &["cifar-100-binary.tar.gz: expected a tar archive of CIFAR-100, gzipped or not"],
    },
    Row {
        what: "CIFAR-10 and a model for other images",
        spoil: cifar10,
        line: "train m.nin --data cifar10:cifar",
        code: 1,
        says: &["are 3x32x32: write `input(3, 32, 32)` in the model"],
    },
    Row {
        what: "SVHN without its test images",
        spoil: |folder| {
            svhn(folder);
            fs::remove_file(folder.join("svhn/test_32x32.mat")).unwrap();
        },
        line: SVHN,
        code: 1,
        says: &["svhn: no `test_32x32.mat` of SVHN here"],
    },
    Row {
        what: "SVHN as MATLAB saves large files",
        spoil: |folder| {
            svhn(folder);
            write(folder.join("svhn/train_32x32.mat"), b"MATLAB 7.3 MAT-file, Platform: GLNXA64");
        },
        line: SVHN,
        code: 1,
        says: &[
            "train_32x32.mat: expected a MAT file of version 5, found version 7.3: save it with `-v7`",
        ],
    },
    Row {
        what: "SVHN that is no MAT file",
        spoil: |folder| {
            svhn(folder);
            write(folder.join("svhn/train_32x32.mat"), b"\x89PNG");
        },
        line: SVHN,
        code: 1,
        says: &["train_32x32.mat: expected a MAT file of version 5, found a file of another kind"],
    },
    Row {
        what: "SVHN cut short",
        spoil: |folder| {
            svhn(folder);
            truncate(folder.join("svhn/test_32x32.mat"), 3000);
        },
        line: SVHN,
        code: 1,
        says: &["test_32x32.mat: expected a MAT file of version 5, found one that ends too early"],
    },
    Row {
        what: "a contact sheet for which there is no folder",
        spoil: as_it_is,
        line: "data npy:arrays -o nowhere/sheet.png",
        code: 1,
        says: &["nowhere/sheet.png: there is no folder nowhere"],
    },
];
