//! MNIST: the digits inside nin, and the full set from a folder.

use std::fs;
use std::path::{Path, PathBuf};

use super::{DataError, Dataset, Split, idx};

/// The classes of either set.
fn digits() -> Vec<String> {
    (0..10).map(|digit| digit.to_string()).collect()
}

/// 8,000 training and 2,000 test digits, all taken from MNIST's *test* set (see `data/mnist-10k/README.md`).
pub(super) fn mnist_10k() -> Result<Dataset, DataError> {
    macro_rules! inside {
        ($read:path, $name:literal) => {
            $read(Path::new($name), &include_bytes!(concat!("../../data/mnist-10k/", $name))[..])
        };
    }
    let train = Split::new(
        inside!(idx::images, "train-images-idx3-ubyte.gz")?,
        inside!(idx::labels, "train-labels-idx1-ubyte.gz")?,
    )?;
    let test = Split::new(
        inside!(idx::images, "test-images-idx3-ubyte.gz")?,
        inside!(idx::labels, "test-labels-idx1-ubyte.gz")?,
    )?;
    Dataset::new("mnist-10k", train, test, digits())
}

/// The full set (60,000 and 10,000) from its idx files, plain or gzipped, under either of the names they are found with.
pub(super) fn mnist(folder: &Path) -> Result<Dataset, DataError> {
    if let Some(file) = emnist(folder) {
        let found = "one of EMNIST's: give its sets `mnist` and `digits` the names of MNIST's files, such as \
                     `train-images-idx3-ubyte.gz`; save others as arrays for `npy:DIR`, labels from 0 (those of `letters` \
                     count from 1)";
        let expected = "a file of MNIST's".to_owned();
        return Err(DataError::Format { file, expected, found: found.to_owned() });
    }
    let split = |set: &str, what: &str| {
        let names = |kind: &str, rank: u32| {
            [format!("{set}-{kind}-idx{rank}-ubyte"), format!("{set}-{kind}.idx{rank}-ubyte")]
        };
        let read = |kind: &str, rank: u32| {
            let names = names(kind, rank);
            idx::find(
                folder,
                &names.each_ref().map(String::as_str),
                &format!("MNIST {what} {kind}"),
            )
        };
        let (images_file, images) = read("images", 3)?;
        let (labels_file, labels) = read("labels", 1)?;
        let images = idx::images(&images_file, images)?;
        let labels = idx::labels(&labels_file, labels)?;
        if let Some(image) = labels.iter().position(|&label| label > 9) {
            let found = format!(
                "{} at image {image} (from 0): save images of other classes as arrays for `npy:DIR`, labels from 0",
                labels[image]
            );
            let expected = "labels of digits, from 0 to 9".to_owned();
            return Err(DataError::Format { file: labels_file, expected, found });
        }
        if images.dim().0 != labels.len() {
            return Err(DataError::Format {
                file: labels_file,
                expected: format!("{} labels, one an image", images.dim().0),
                found: labels.len().to_string(),
            });
        }
        Split::new(images, labels)
    };
    Dataset::new("mnist", split("train", "training")?, split("t10k", "test")?, digits())
}

/// A file of EMNIST's, if a folder holds such and none of MNIST's.
fn emnist(folder: &Path) -> Option<PathBuf> {
    let names = || fs::read_dir(folder).ok().into_iter().flatten().flatten();
    let begins = |with: &'static str| {
        names().map(|entry| entry.path()).find(move |path| {
            path.file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(with.as_bytes()))
        })
    };
    begins("emnist-").filter(|_| begins("train-").is_none())
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, GzBuilder};

    use super::*;

    fn idx_file(magic: u32, sizes: &[u32], body: &[u8]) -> Vec<u8> {
        let words = std::iter::once(&magic).chain(sizes).flat_map(|word| word.to_be_bytes());
        words.chain(body.iter().copied()).collect()
    }

    /// A folder with three training images and two test images; both name styles, one of the files gzipped.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
        write("train-images-idx3-ubyte", &idx_file(0x803, &[3, 2, 2], &[7; 12]));
        write("train-labels.idx1-ubyte", &idx_file(0x801, &[3], &[0, 9, 5]));
        let packed = idx_file(0x803, &[2, 2, 2], &[1; 8]);
        let mut archive = GzBuilder::new().read(packed.as_slice(), Compression::fast());
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut archive, &mut bytes).unwrap();
        write("t10k-images.idx3-ubyte.gz", &bytes);
        write("t10k-labels-idx1-ubyte", &idx_file(0x801, &[2], &[3, 4]));
        folder
    }

    #[test]
    fn the_digits_inside_are_whole_and_balanced() {
        let data = mnist_10k().unwrap();
        assert_eq!((data.train().len(), data.test().len()), (8000, 2000));
        assert_eq!(data.shape().to_string(), "1x28x28");
        for split in [data.train(), data.test()] {
            for class in 0..10 {
                let share = split.labels().iter().filter(|&&label| label == class).count() as f64
                    / split.len() as f64;
                assert!((0.07..0.13).contains(&share), "digit {class}: {share}");
            }
        }
        let normalisation = data.normalisation();
        assert!((normalisation.mean[0] - 0.13).abs() < 0.01, "{normalisation:?}");
        assert!((normalisation.deviation[0] - 0.31).abs() < 0.01, "{normalisation:?}");
    }

    #[test]
    fn either_name_and_either_form_is_read() {
        let data = mnist(folder().path()).unwrap();
        assert_eq!((data.train().labels(), data.test().labels()), (&[0, 9, 5][..], &[3, 4][..]));
        assert_eq!(data.shape().to_string(), "1x2x2");
    }

    #[test]
    fn broken_files_are_errors_that_name_them() {
        let cases: [(&str, Vec<u8>, &str); 8] = [
            (
                "train-images-idx3-ubyte",
                idx_file(0x803, &[3, 2, 2], &[7; 11]),
                "expected 3 x 2 x 2 bytes after a header of 16, found 27 in all",
            ),
            (
                "train-images-idx3-ubyte",
                idx_file(0x803, &[3, 2, 2], &[7; 13]),
                "expected 3 x 2 x 2 bytes after a header of 16, found more",
            ),
            ("train-images-idx3-ubyte", vec![0, 0], "expected idx images, found 2 bytes"),
            (
                "train-images-idx3-ubyte",
                b"\x89PNG\r\n\x1a\n".to_vec(),
                "expected idx images (magic number 0x0803), found 0x89504e47 (a PNG image)",
            ),
            (
                "train-images-idx3-ubyte",
                idx_file(0x803, &[u32::MAX, u32::MAX, u32::MAX], &[]),
                "found less: no file is as long",
            ),
            (
                "t10k-labels-idx1-ubyte",
                idx_file(0x801, &[2], &[3, 26]),
                "expected labels of digits, from 0 to 9, found 26 at image 1 (from 0): save images of other classes",
            ),
            (
                "t10k-labels-idx1-ubyte",
                idx_file(0x801, &[1], &[3]),
                "expected 2 labels, one an image, found 1",
            ),
            (
                "t10k-images.idx3-ubyte.gz",
                vec![0x1f, 0x8b, 8, 0],
                "expected a gzip archive of idx images, found a damaged one",
            ),
        ];
        for (name, bytes, expected) in cases {
            let folder = folder();
            fs::write(folder.path().join(name), bytes).unwrap();
            let error = mnist(folder.path()).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_folder_without_the_files_lists_what_was_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let error = mnist(folder.path()).unwrap_err().to_string();
        for name in ["train-images-idx3-ubyte", "train-images.idx3-ubyte.gz"] {
            assert!(error.contains(name), "{error}");
        }
    }
}
