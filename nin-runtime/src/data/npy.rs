//! NumPy's `.npy` files, and datasets made of four of them: `{train,test}_{images,labels}.npy`.

mod header;
mod kind;

use std::fs::{self, File};
use std::io::{BufReader, Seek as _};
use std::path::{Path, PathBuf};

use ndarray::{Array4, ArrayD, Axis, Ix4, ShapeBuilder as _};
use ndarray_npy::ReadableElement;
use ndarray_npy::npy::header::Header;

use super::{DataError, Dataset, Images, Set, Split};
use crate::file;
use crate::host::memory;

pub use kind::Expected;
use kind::dtype;

/// What lies in the dataset's folder.
const LAYOUT: &[&str] =
    &["train_images.npy", "train_labels.npy", "test_images.npy", "test_labels.npy"];
/// Labels are below this: a model with more classes has other problems than its labels.
const MOST_CLASSES: usize = 1 << 20;

/// The numbers of a `.npy` file that holds one of the types nin reads, in either byte order and either memory order.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    /// `uint8`
    U8(ArrayD<u8>),
    /// `int32`
    I32(ArrayD<i32>),
    /// `int64`
    I64(ArrayD<i64>),
    /// `float32`
    F32(ArrayD<f32>),
}

impl Array {
    /// What NumPy calls the numbers' type.
    pub fn dtype(&self) -> &'static str {
        match self {
            Array::U8(_) => "uint8",
            Array::I32(_) => "int32",
            Array::I64(_) => "int64",
            Array::F32(_) => "float32",
        }
    }
}

const LABELS: Expected = Expected { what: "whole labels [N]", dtype: "int64", levels: false };
const IMAGES: Expected = Expected {
    what: "uint8 or float32 images [N, C, H, W] or [N, H, W]",
    dtype: "float32",
    levels: true,
};

/// Reads a file.
///
/// # Errors
/// A file that cannot be read, is no `.npy` file, is truncated, or holds numbers of a type that is not in [`Array`].
pub fn read(file: &Path, expected: Expected) -> Result<Array, DataError> {
    let opened = file::open(file).map_err(|error| DataError::io(file, error))?;
    let mut reader = BufReader::new(opened);
    let header = header::read(&mut reader)
        .map_err(|found| wrong(file, &format!("a NumPy file of {}", expected.what), &found))?;
    let contents = Contents { file, header, reader };
    match contents.code() {
        "u1" => contents.read().map(Array::U8),
        "i4" => contents.read().map(Array::I32),
        "i8" => contents.read().map(Array::I64),
        "f4" => contents.read().map(Array::F32),
        code => Err(expected.but_found(file, &dtype(code))),
    }
}

/// Reads classes, whole numbers from 0: `[N]`, `uint8`, `int32` or `int64`.
///
/// # Errors
/// As [`read`], an array of another shape or of floats, and numbers that are no classes.
pub fn labels(file: &Path) -> Result<Vec<u32>, DataError> {
    match read(file, LABELS)? {
        Array::U8(array) => classes(file, &array),
        Array::I32(array) => classes(file, &array),
        Array::I64(array) => classes(file, &array),
        other @ Array::F32(_) => Err(LABELS.but_found(file, other.dtype())),
    }
}

/// Numbers as classes.
fn classes<A: Copy + Into<i64>>(file: &Path, array: &ArrayD<A>) -> Result<Vec<u32>, DataError> {
    if array.ndim() != 1 {
        let remedy = match array.shape() {
            [_, 1] => "save `x.reshape(-1)`",
            [_, _] => "save `x.argmax(axis=1)` if a row has a 1 at its class",
            _ => "one number an image is needed",
        };
        let found = format!("an array of shape {:?}: {remedy}", array.shape());
        return Err(wrong(file, LABELS.what, &found));
    }
    let class = |(index, &label): (usize, &A)| {
        let label: i64 = label.into();
        let class = u32::try_from(label).ok().filter(|&class| (class as usize) < MOST_CLASSES);
        class.ok_or_else(|| {
            let expected = format!("labels from 0 to below {MOST_CLASSES}");
            wrong(file, &expected, &format!("{label} at index {index}"))
        })
    };
    array.iter().enumerate().map(class).collect()
}

/// Reads a dataset's four files. Classes are named by their numbers, and there are as many as the largest training label
/// asks for.
pub(super) fn npy(folder: &Path) -> Result<Dataset, DataError> {
    if let Some(missing) = LAYOUT.iter().find(|name| !folder.join(name).exists()) {
        return Err(match archive(folder) {
            Some(archive) => wrong(&archive, "four `.npy` files in a folder", header::ARCHIVE),
            None => DataError::missing(folder, format!("`{missing}`"), LAYOUT),
        });
    }
    let (train, test) = (split(folder, Set::Train)?, split(folder, Set::Test)?);
    if let (Images::Bytes(_), Images::Floats(_)) | (Images::Floats(_), Images::Bytes(_)) =
        (train.images(), test.images())
    {
        let found = "the one of uint8, which stands for fractions of 255, and the other of float32";
        return Err(wrong(folder, "training and test images of one type", found));
    }
    let classes = train.labels().iter().max().map_or(0, |&largest| largest + 1);
    let names = (0..classes).map(|class| class.to_string()).collect();
    Dataset::new(format!("npy:{}", folder.display()), train, test, names)
}

/// The `.npz` archive that is named in a folder's place, or lies in it.
fn archive(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok().into_iter().flatten().flatten();
    let mut paths = [folder.to_owned()].into_iter().chain(entries.map(|entry| entry.path()));
    paths
        .find(|path| path.extension().is_some_and(|extension| extension == "npz") && path.is_file())
}

/// The images and labels of a set, of which there is at least one.
fn split(folder: &Path, set: Set) -> Result<Split, DataError> {
    let [images_name, labels_name] = match set {
        Set::Train => [LAYOUT[0], LAYOUT[1]],
        Set::Test => [LAYOUT[2], LAYOUT[3]],
    };
    let (images_file, labels_file) = (folder.join(images_name), folder.join(labels_name));
    let images = images(&images_file)?;
    if images.is_empty() {
        return Err(DataError::Empty { set }.within(images_file.display()));
    }
    let split = Split::new(images, labels(&labels_file)?);
    split.map_err(|error| match error {
        DataError::Counts { .. } => error.within(labels_file.display()),
        _ => error.within(images_file.display()),
    })
}

/// Images `[N, C, H, W]`, or `[N, H, W]` of one channel.
fn images(file: &Path) -> Result<Images, DataError> {
    match read(file, IMAGES)? {
        Array::U8(array) => Ok(with_channels(file, array)?.into()),
        Array::F32(array) => Ok(with_channels(file, array)?.into()),
        other @ (Array::I32(_) | Array::I64(_)) => Err(IMAGES.but_found(file, other.dtype())),
    }
}

fn with_channels<A>(file: &Path, array: ArrayD<A>) -> Result<Array4<A>, DataError> {
    let dims = array.shape().to_vec();
    let array = if array.ndim() == 3 { array.insert_axis(Axis(1)) } else { array };
    array
        .into_dimensionality::<Ix4>()
        .map_err(|_| wrong(file, IMAGES.what, &format!("an array of shape {dims:?}")))
}

/// A file of which the header has been read.
struct Contents<'a> {
    file: &'a Path,
    header: Header,
    reader: BufReader<File>,
}

impl Contents<'_> {
    /// NumPy's code of the numbers' type, without the byte order: `f4`.
    fn code(&self) -> &str {
        let code = self.header.type_descriptor.as_string().map_or("", String::as_str);
        code.trim_start_matches(['<', '>', '|', '='])
    }

    /// The numbers, of which there must be as many as the header says: its word is not enough to allocate for.
    fn read<A: ReadableElement>(self) -> Result<ArrayD<A>, DataError> {
        let expected = format!(
            "the numbers of a {} array of shape {:?}",
            dtype(self.code()),
            self.header.shape
        );
        let Contents { file, header: Header { type_descriptor, layout, shape }, mut reader } = self;
        let io = |error| DataError::io(file, error);
        let damaged = |found: String| wrong(file, &expected, &found);
        let whole = reader.get_ref().metadata().map_err(io)?.len();
        let present = whole.saturating_sub(reader.stream_position().map_err(io)?);
        // A side of zero must not hide that the product of the others overflows.
        let sides = shape.iter().try_fold(size_of::<A>(), |size, &n| size.checked_mul(n.max(1)));
        let elements: usize = if sides.is_some() { shape.iter().product() } else { usize::MAX };
        let bytes = elements.checked_mul(size_of::<A>());
        if bytes.is_none_or(|bytes| bytes as u64 != present) {
            return Err(damaged(format!("{present} bytes after the header")));
        }
        memory::check(bytes.unwrap_or(usize::MAX))
            .map_err(|_| DataError::Memory { bytes: elements }.within(file.display()))?;
        let numbers = A::read_to_end_exact_vec(&mut reader, &type_descriptor, elements)
            .map_err(|error| damaged(error.to_string()))?;
        ArrayD::from_shape_vec(shape.set_f(layout.is_fortran()), numbers)
            .map_err(|error| damaged(error.to_string()))
    }
}

fn wrong(file: &Path, expected: &str, found: &str) -> DataError {
    let (expected, found) = (expected.to_owned(), found.to_owned());
    DataError::Format { file: file.to_owned(), expected, found }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2, Array3, Array4};
    use ndarray_npy::write_npy;

    use super::*;

    fn fixture(name: &str) -> Dataset {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/arrays").join(name);
        npy(&folder).unwrap()
    }

    /// What NumPy wrote, in both byte orders and both memory orders, is one and the same dataset.
    #[test]
    fn arrays_are_read_in_any_order() {
        let (bytes, floats) = (fixture("bytes"), fixture("floats-big-endian-fortran"));
        for data in [&bytes, &floats] {
            assert_eq!(data.shape().to_string(), "2x5x7");
            assert_eq!(data.classes(), ["0", "1", "2"]);
            assert_eq!(data.train().labels(), [2, 0, 1, 1, 2, 0]);
            assert_eq!(data.test().labels(), [2, 1, 0]);
        }
        let pairs = [(bytes.train(), floats.train()), (bytes.test(), floats.test())];
        for (bytes, floats) in pairs.map(|(bytes, floats)| (bytes.images(), floats.images())) {
            let (Images::Bytes(bytes), Images::Floats(floats)) = (bytes, floats) else {
                panic!("a file's type is kept");
            };
            assert_eq!(bytes.mapv(|level| f32::from(level) / 255.0), floats);
        }
        let flat = fixture("flat");
        assert_eq!(flat.shape().to_string(), "1x5x7");
        assert_eq!(flat.train().labels(), bytes.train().labels());
        let (Images::Bytes(flat), Images::Bytes(all)) =
            (flat.train().images(), bytes.train().images())
        else {
            panic!("bytes stay bytes");
        };
        assert_eq!(flat.index_axis(Axis(1), 0), all.index_axis(Axis(1), 0));
    }

    #[test]
    fn files_that_are_no_dataset_are_errors_that_say_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let whole = || {
            for set in ["train", "test"] {
                write_npy(path(&format!("{set}_images.npy")), &Array4::<u8>::zeros((3, 1, 4, 4)))
                    .unwrap();
                write_npy(path(&format!("{set}_labels.npy")), &Array1::from_vec(vec![0i64, 1, 2]))
                    .unwrap();
            }
        };
        let fails = |expected: &str| {
            let error = npy(folder.path()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            whole();
        };
        fails("no `train_images.npy` here; nin looks for `train_images.npy`, `train_labels.npy`, ");
        let (images, labels) = (path("train_images.npy"), path("train_labels.npy"));
        write_npy(&images, &Array4::<f64>::zeros((3, 1, 4, 4))).unwrap();
        fails(
            "train_images.npy: expected uint8 or float32 images [N, C, H, W] or [N, H, W], found float64: save `x.astype(numpy.float32)`",
        );
        write_npy(&images, &Array4::<i64>::zeros((3, 1, 4, 4))).unwrap();
        fails("found int64: save `x.astype(numpy.uint8)` if they are levels from 0 to 255");
        write_npy(&images, &Array2::<u8>::zeros((3, 16))).unwrap();
        fails("found an array of shape [3, 16]");
        write_npy(&images, &Array3::<u8>::zeros((0, 4, 4))).unwrap();
        fails("train_images.npy: there is no training image");
        write_npy(&images, &Array4::from_elem((3, 1, 4, 4), f32::INFINITY)).unwrap();
        fails("train_images.npy: image 0 holds a number that is not finite");
        write_npy(&images, &Array4::<f32>::zeros((3, 1, 4, 4))).unwrap();
        fails("expected training and test images of one type");
        write_npy(&labels, &Array1::<f32>::zeros(3)).unwrap();
        fails("train_labels.npy: expected whole labels [N], found float32");
        write_npy(&labels, &Array1::from_vec(vec![true; 3])).unwrap();
        fails("found bool: save `x.astype(numpy.int64)`");
        write_npy(&labels, &Array2::<i64>::zeros((3, 1))).unwrap();
        fails("shape [3, 1]: save `x.reshape(-1)`");
        write_npy(&labels, &Array2::<i64>::zeros((3, 10))).unwrap();
        fails("x.argmax(axis=1)");
        write_npy(&labels, &Array1::from_vec(vec![0i32, -1, 2])).unwrap();
        fails("train_labels.npy: expected labels from 0 to below 1048576, found -1 at index 1");
        write_npy(&labels, &Array1::from_vec(vec![0i64, 1, i64::MAX])).unwrap();
        fails("at index 2");
        write_npy(&labels, &Array1::from_vec(vec![0u8, 1])).unwrap();
        fails("train_labels.npy: 3 images and 2 labels");
        write_npy(path("test_labels.npy"), &Array1::from_vec(vec![0i64, 1, 3])).unwrap();
        fails("test image 2 has the label 3; with 3 classes");
    }

    #[test]
    fn damaged_files_are_errors_that_name_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.npy");
        write_npy(&file, &Array1::from_vec(vec![1i64, 2, 3])).unwrap();
        let whole = fs::read(&file).unwrap();
        let error = |bytes: &[u8]| {
            fs::write(&file, bytes).unwrap();
            let message = labels(&file).unwrap_err().to_string();
            assert!(message.contains("x.npy: expected "), "{message}");
            message
        };
        assert!(error(&whole[..5]).contains("whole header"));
        assert!(error(&whole[..50]).contains("whole header"));
        assert!(
            error(&whole[..whole.len() - 1]).contains("int64 array of shape [3], found 23 bytes")
        );
        assert!(error(&[whole.as_slice(), b"!"].concat()).contains("found 25 bytes"));
        assert!(error(b"PK\x03\x04 many arrays").contains("save each array by itself"));
        assert!(error(b"\x89PNG\r\n\x1a\n").contains("found a PNG image"));
        assert!(error(b"1, 2, 3").contains("another kind"));
        let text = |from: &str, to: &str| {
            let mut bytes = whole.clone();
            let at =
                whole.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
            // The dictionary is padded with spaces: its length may stay.
            bytes.splice(at..at + from.len(), to.bytes());
            let spaces = to.len() - from.len();
            let padding = bytes.windows(spaces + 1).rposition(|window| {
                window.iter().rev().skip(1).all(|&byte| byte == b' ') && window.ends_with(b"\n")
            });
            let padding = padding.unwrap();
            bytes.drain(padding..padding + spaces);
            bytes
        };
        assert!(error(&text("(3,)", "(9000000000000000,)")).contains("24 bytes"));
        assert!(error(&text("(3,)", "(99999999999, 99999999999)")).contains("24 bytes"));
        assert!(error(&text("'<i8'", &"(".repeat(20))).contains("makes no sense"));
        assert!(
            error(&text("'<i8'", "[('a', '<i8')]")).contains("found records of several fields")
        );
        assert!(
            error(&text("'<i8'", "'|O'   ")).contains("objects of Python's: save `numpy.array(")
        );
        assert!(error(&text("'<i8'", "'<U10'")).contains("texts: save numbers"));
    }

    /// No byte that is spoilt brings the reader down, whatever it makes of the array.
    #[test]
    fn any_byte_may_be_spoilt() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.npy");
        let whole = include_bytes!("../../tests/fixtures/arrays/bytes/train_labels.npy");
        for at in 0..whole.len() {
            for flip in [1, 2, 4, 0x80, 0xff] {
                let mut bytes = whole.to_vec();
                bytes[at] ^= flip;
                fs::write(&file, &bytes).unwrap();
                let _ = labels(&file);
                let _ = images(&file);
            }
        }
    }
}
