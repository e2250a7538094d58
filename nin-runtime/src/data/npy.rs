//! NumPy's `.npy` files, and datasets made of four of them: `{train,test}_{images,labels}.npy`.

use std::fs::File;
use std::io::{BufReader, Seek as _};
use std::path::Path;

use ndarray::{ArrayD, Axis, Ix4, ShapeBuilder as _};
use ndarray_npy::ReadableElement;
use ndarray_npy::npy::header::{Header, ParseHeaderError, ReadHeaderError};

use super::{DataError, Dataset, Images, Set, Split};

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

/// What a file should hold, for messages.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// All of it, such as `float32 images [N, C, H, W]`.
    pub what: &'static str,
    /// The type to convert other numbers to, such as `float32`.
    pub dtype: &'static str,
}

/// Reads a file.
///
/// # Errors
/// A file that cannot be read, is no `.npy` file, is truncated, or holds numbers of a type that is not in [`Array`].
pub fn read(file: &Path, expected: Expected) -> Result<Array, DataError> {
    let opened = File::open(file).map_err(|error| DataError::io(file, error))?;
    let mut reader = BufReader::new(opened);
    let header = Header::from_reader(&mut reader).map_err(|error| {
        let problem = match error {
            ReadHeaderError::Io(_) => "one without a whole header",
            ReadHeaderError::Parse(ParseHeaderError::MagicString) => "a file of another kind",
            // What does not parse is not worth printing.
            ReadHeaderError::Parse(_) => "one with a header that makes no sense",
        };
        wrong(file, &format!("a NumPy file of {}", expected.what), problem)
    })?;
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
    const EXPECTED: Expected = Expected { what: "whole labels [N]", dtype: "int64" };
    let array = match read(file, EXPECTED)? {
        Array::U8(array) => array.mapv(i64::from),
        Array::I32(array) => array.mapv(i64::from),
        Array::I64(array) => array,
        other @ Array::F32(_) => return Err(EXPECTED.but_found(file, other.dtype())),
    };
    if array.ndim() != 1 {
        let remedy = match array.shape() {
            [_, 1] => "save `x.reshape(-1)`",
            [_, _] => "save `x.argmax(axis=1)` if a row has a 1 at its class",
            _ => "one number an image is needed",
        };
        let found = format!("an array of shape {:?}: {remedy}", array.shape());
        return Err(wrong(file, EXPECTED.what, &found));
    }
    let class = |(index, &label): (usize, &i64)| {
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
    if let Some(missing) = LAYOUT.iter().find(|name| !folder.join(name).is_file()) {
        return Err(DataError::missing(folder, format!("`{missing}`"), LAYOUT));
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
    const EXPECTED: Expected =
        Expected { what: "uint8 or float32 images [N, C, H, W] or [N, H, W]", dtype: "float32" };
    match read(file, EXPECTED)? {
        Array::U8(array) => Ok(with_channels(file, array, EXPECTED)?.into()),
        Array::F32(array) => Ok(with_channels(file, array, EXPECTED)?.into()),
        other @ (Array::I32(_) | Array::I64(_)) => Err(EXPECTED.but_found(file, other.dtype())),
    }
}

fn with_channels<A>(
    file: &Path,
    array: ArrayD<A>,
    expected: Expected,
) -> Result<ndarray::Array4<A>, DataError> {
    let dims = array.shape().to_vec();
    let array = if array.ndim() == 3 { array.insert_axis(Axis(1)) } else { array };
    array
        .into_dimensionality::<Ix4>()
        .map_err(|_| wrong(file, expected.what, &format!("an array of shape {dims:?}")))
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
        let elements = shape.iter().try_fold(1usize, |product, &side| product.checked_mul(side));
        let bytes = elements.and_then(|elements| elements.checked_mul(size_of::<A>()));
        let Some(elements) =
            elements.filter(|_| bytes.is_some_and(|bytes| bytes as u64 == present))
        else {
            return Err(damaged(format!("{present} bytes after the header")));
        };
        let numbers = A::read_to_end_exact_vec(&mut reader, &type_descriptor, elements)
            .map_err(|error| damaged(error.to_string()))?;
        ArrayD::from_shape_vec(shape.set_f(layout.is_fortran()), numbers)
            .map_err(|error| damaged(error.to_string()))
    }
}

impl Expected {
    /// The error about numbers of another type, by NumPy's name for it.
    pub fn but_found(self, file: &Path, dtype: &str) -> DataError {
        let found = format!("{dtype}: save `x.astype(numpy.{})`", self.dtype);
        wrong(file, self.what, &found)
    }
}

/// What Python calls a type: `float64` for `f8`.
fn dtype(code: &str) -> String {
    let kind = match code.chars().next() {
        Some('f') => "float",
        Some('i') => "int",
        Some('u') => "uint",
        Some('c') => "complex",
        Some('b') => return "bool".to_owned(),
        _ => return format!("numbers of another kind ({code})"),
    };
    match code[1..].parse::<u32>() {
        Ok(bytes) => format!("{kind}{}", u64::from(bytes) * 8),
        Err(_) => code.to_owned(),
    }
}

fn wrong(file: &Path, expected: &str, found: &str) -> DataError {
    let (expected, found) = (expected.to_owned(), found.to_owned());
    DataError::Format { file: file.to_owned(), expected, found }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        assert!(error(b"PK\x03\x04 many arrays").contains("another kind"));
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
        assert!(error(&text("'<i8'", "[('a', '<i8')]")).contains("numbers of another kind"));
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
