//! SVHN's cropped digits (format 2): `train`, `extra` and `test` as MAT files of 32x32 colour images.

use std::path::Path;

use ndarray::Array4;

use super::{DataError, Dataset, Split, mat};

const CHANNELS: usize = 3;
const SIDE: usize = 32;
const PIXELS: usize = CHANNELS * SIDE * SIDE;
const TRAIN: &str = "train_32x32.mat";
const EXTRA: &str = "extra_32x32.mat";
const TEST: &str = "test_32x32.mat";

/// The digits of a folder. `extra_32x32.mat` need not be there; if it is, its images are training images too.
pub(super) fn svhn(folder: &Path) -> Result<Dataset, DataError> {
    if let Some(missing) = [TRAIN, TEST].into_iter().find(|name| !folder.join(name).exists()) {
        let names = [TRAIN, TEST, EXTRA];
        return Err(DataError::missing(folder, format!("`{missing}` of SVHN"), &names));
    }
    let (mut pixels, mut labels) = digits(&folder.join(TRAIN))?;
    let extra = folder.join(EXTRA);
    if extra.exists() {
        let (more_pixels, more_labels) = digits(&extra)?;
        pixels.extend(more_pixels);
        labels.extend(more_labels);
    }
    let test = digits(&folder.join(TEST))?;
    let classes = (0..10).map(|digit| digit.to_string()).collect();
    Dataset::new("svhn", split((pixels, labels))?, split(test)?, classes)
}

fn split((pixels, labels): (Vec<u8>, Vec<u32>)) -> Result<Split, DataError> {
    let dims = (labels.len(), CHANNELS, SIDE, SIDE);
    Split::new(Array4::from_shape_vec(dims, pixels).expect("an image a label"), labels)
}

/// Pixels `[N, C, H, W]` and labels `[N]` of a file with `X` `[H, W, C, N]` and `y` `[N, 1]`, in which 10 stands for 0.
fn digits(file: &Path) -> Result<(Vec<u8>, Vec<u32>), DataError> {
    let wrong = |expected: String, found: String| DataError::Format {
        file: file.to_owned(),
        expected,
        found,
    };
    let mut arrays = mat::read(file, &["X", "y"])?;
    let mut array = |name: &str, what: &str| {
        let array = arrays.remove(name);
        array.ok_or_else(|| wrong(format!("{what} `{name}`"), "no array of this name".to_owned()))
    };
    let (images, labels) = (array("X", "images")?, array("y", "labels")?);
    // MATLAB drops a last dimension of 1.
    let (dims, count) = match images.dims[..] {
        [h, w, c] => ([h, w, c], 1),
        [h, w, c, n] => ([h, w, c], n),
        _ => ([0; 3], 0),
    };
    if dims != [SIDE, SIDE, CHANNELS] {
        let found = format!("an array of {:?}", images.dims);
        return Err(wrong(format!("images `X` of [{SIDE}, {SIDE}, {CHANNELS}, N]"), found));
    }
    let Some(mut pixels) = images.into_bytes() else {
        return Err(wrong("images `X` of uint8".to_owned(), "numbers of another type".to_owned()));
    };
    if labels.len() != count {
        return Err(wrong(format!("{count} labels `y`, one an image"), labels.len().to_string()));
    }
    let digit = |(image, &label): (usize, &f64)| match label {
        10.0 => Ok(0),
        label if (1.0..10.0).contains(&label) && label.fract() == 0.0 => Ok(label as u32),
        _ => Err(wrong(
            "labels `y` from 1 to 10".to_owned(),
            format!("{label} at image {image} (from 0)"),
        )),
    };
    let labels = labels.numbers().iter().enumerate().map(digit).collect::<Result<_, _>>()?;
    // The first dimension varies fastest: every plane lies column by column.
    for plane in pixels.chunks_exact_mut(PIXELS / CHANNELS) {
        for y in 0..SIDE {
            for x in 0..y {
                plane.swap(y * SIDE + x, x * SIDE + y);
            }
        }
    }
    Ok((pixels, labels))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::super::Images;
    use super::*;

    fn fixtures() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/svhn")
    }

    /// What SciPy wrote (see `tests/fixtures/make.py`): compressed with labels of bytes, and plain with labels of doubles.
    #[test]
    fn files_that_other_software_wrote_are_read() {
        let data = svhn(&fixtures()).unwrap();
        assert_eq!(data.train().labels(), [1, 2, 3, 9, 0, 5, 5]);
        assert_eq!(data.test().labels(), [0, 7]);
        let Images::Bytes(images) = data.train().images() else { panic!("bytes stay bytes") };
        for ((n, c, y, x), &level) in images.indexed_iter() {
            // The images of `extra` count from 0 again.
            let n = if n < 5 { n } else { n - 5 };
            assert_eq!(
                usize::from(level),
                (7 * y + 3 * x + 40 * c + 11 * n) % 256,
                "{n} {c} {y} {x}"
            );
        }
    }

    #[test]
    fn extra_images_are_not_needed() {
        let folder = tempfile::tempdir().unwrap();
        for name in [TRAIN, TEST] {
            fs::copy(fixtures().join(name), folder.path().join(name)).unwrap();
        }
        assert_eq!(svhn(folder.path()).unwrap().train().len(), 5);
    }

    /// No byte that is spoilt, and no end that comes early, brings the reader down.
    #[test]
    fn any_byte_may_be_spoilt() {
        let folder = tempfile::tempdir().unwrap();
        for name in [TRAIN, EXTRA, TEST] {
            fs::copy(fixtures().join(name), folder.path().join(name)).unwrap();
        }
        for name in [TRAIN, TEST] {
            let whole = fs::read(fixtures().join(name)).unwrap();
            // Headers lie at the beginning; the rest is pixels or compressed.
            for at in (100..320).chain((320..whole.len()).step_by(97)) {
                let mut bytes = whole.clone();
                bytes[at] ^= 0xff;
                fs::write(folder.path().join(name), &bytes).unwrap();
                let _ = svhn(folder.path());
                fs::write(folder.path().join(name), &whole[..at]).unwrap();
                let error = svhn(folder.path()).unwrap_err().to_string();
                assert!(error.contains(name), "{at}: {error}");
            }
            fs::write(folder.path().join(name), whole).unwrap();
        }
    }
}
