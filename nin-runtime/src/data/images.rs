//! Folders of image files, `train/CLASS/*.png` and `test/CLASS/*.png`: the folders' names are the classes.
//!
//! Names are sorted, so that the same files give the same dataset on every machine.

use std::fs::{self, FileType};
use std::path::{Path, PathBuf};

use ndarray::Array4;
use unicode_normalization::UnicodeNormalization as _;

use super::{DataError, Dataset, Picture, Set, Split};
use crate::file;
use crate::host::memory;
use crate::host::parallel::map_on_all_cores;

/// What lies in the dataset's folder.
pub(super) const LAYOUT: &[&str] = &["train/CLASS/*.png", "test/CLASS/*.png"];
/// What file managers leave behind, beside files whose names begin with a dot.
const CLUTTER: [&str; 2] = ["Thumbs.db", "desktop.ini"];

/// The image files of one class.
struct Class {
    name: String,
    files: Vec<PathBuf>,
}

/// Reads every image of both sets.
pub(super) fn images(folder: &Path) -> Result<Dataset, DataError> {
    let (train, test) = (classes(folder, Set::Train)?, classes(folder, Set::Test)?);
    learnable(folder, &train)?;
    agree(folder, &train, &test)?;
    if test.iter().all(|class| class.files.is_empty()) {
        return Err(DataError::missing(folder, "test image", LAYOUT));
    }
    let dims = common_dims(&train, &test)?;
    let (train_split, test_split) = (split(&train, dims)?, split(&test, dims)?);
    let names = train.into_iter().map(|class| class.name).collect();
    Dataset::new(format!("images:{}", folder.display()), train_split, test_split, names)
}

/// The folder of a set's classes.
fn subfolder(set: Set) -> &'static str {
    match set {
        Set::Train => "train",
        Set::Test => "test",
    }
}

/// The class folders of a set, sorted, with their files, sorted.
fn classes(folder: &Path, set: Set) -> Result<Vec<Class>, DataError> {
    let of_set = folder.join(subfolder(set));
    if !of_set.is_dir() {
        return Err(DataError::missing(folder, format!("{set} images"), LAYOUT));
    }
    let mut classes = vec![];
    for path in listed(&of_set)? {
        if kind(&path)?.is_dir() {
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| {
                odd(&path, "a class's name in UTF-8", "other bytes: rename the folder")
            })?;
            // Some systems take letters apart from their accents, and others do not: names are compared as they are read.
            let name: String = name.nfc().collect();
            if classes.iter().any(|other: &Class| other.name == name) {
                let found =
                    "one of two folders whose names look alike, their accents encoded in two ways";
                return Err(odd(&path, "a folder for each class", found));
            }
            classes.push(Class { name, files: pictures(&path)? });
        } else if is_png(&path) {
            let found = "an image: put it into a folder named after its class";
            return Err(odd(&path, "a folder with the images of one class", found));
        }
    }
    classes.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    match classes.is_empty() {
        true => Err(DataError::missing(&of_set, "class folder", &["CLASS/*.png"])),
        false => Ok(classes),
    }
}

/// Whether there is something to tell apart, and something of each class to learn from.
fn learnable(folder: &Path, train: &[Class]) -> Result<(), DataError> {
    let of_set = folder.join(subfolder(Set::Train));
    if let [only] = train {
        let found = format!("only `{}`", only.name);
        return Err(odd(&of_set, "a folder for each of two or more classes", &found));
    }
    match train.iter().find(|class| class.files.is_empty()) {
        Some(empty) => {
            Err(DataError::missing(&of_set.join(&empty.name), "training image", &["*.png"]))
        }
        None => Ok(()),
    }
}

/// The images of a class's folder, which holds nothing else.
fn pictures(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let files = listed(folder)?;
    for file in &files {
        let kind = kind(file)?;
        let found = match file::irregular(kind) {
            _ if kind.is_dir() => "a folder: class folders hold images alone",
            Some(irregular) => irregular,
            None if is_png(file) => continue,
            None => "a file of another kind: convert it to PNG, or move it elsewhere",
        };
        return Err(odd(file, "a PNG image", found));
    }
    Ok(files)
}

/// What a thing in a folder is, or what a link leads to.
fn kind(path: &Path) -> Result<FileType, DataError> {
    let found = fs::metadata(path).map_err(|error| DataError::io(path, error))?;
    Ok(found.file_type())
}

/// What lies in a folder, clutter aside, sorted by name.
fn listed(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let io = |error| DataError::io(folder, error);
    let mut paths = vec![];
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let name = path.file_name().unwrap_or_default();
        let hidden = name.as_encoded_bytes().starts_with(b".");
        if !hidden && CLUTTER.iter().all(|clutter| name != *clutter) {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

fn is_png(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"))
}

fn odd(file: &Path, expected: &str, found: &str) -> DataError {
    let (expected, found) = (expected.to_owned(), found.to_owned());
    DataError::Format { file: file.to_owned(), expected, found }
}

/// Whether both sets have the same classes.
fn agree(folder: &Path, train: &[Class], test: &[Class]) -> Result<(), DataError> {
    let lacking = |classes: &[Class], others: &[Class]| -> Vec<String> {
        let lacks = |other: &&Class| classes.iter().all(|class| class.name != other.name);
        others.iter().filter(lacks).map(|other| other.name.clone()).collect()
    };
    let (only_train, only_test) = (lacking(test, train), lacking(train, test));
    match only_train.is_empty() && only_test.is_empty() {
        true => Ok(()),
        false => Err(DataError::Disagreeing { folder: folder.to_owned(), only_train, only_test }),
    }
}

/// Channels, height and width of every image, of which there is one: three channels where any has three.
fn common_dims(train: &[Class], test: &[Class]) -> Result<[usize; 3], DataError> {
    let files: Vec<&PathBuf> = train.iter().chain(test).flat_map(|class| &class.files).collect();
    let dims: Vec<Result<[usize; 3], DataError>> =
        map_on_all_cores(files.iter(), |file| Ok(Picture::open(file)?.dims()));
    let dims: Vec<[usize; 3]> = dims.into_iter().collect::<Result<_, _>>()?;
    let [_, height, width] = dims[0];
    match dims.iter().position(|&[_, h, w]| (h, w) != (height, width)) {
        Some(other) => Err(DataError::Sizes {
            file: files[other].clone(),
            found: [dims[other][1], dims[other][2]],
            first: files[0].clone(),
            expected: [height, width],
        }),
        None => {
            let channels = dims.iter().map(|&[channels, ..]| channels).max();
            Ok([channels.expect("there is an image"), height, width])
        }
    }
}

/// Decodes the images of a set, class by class.
fn split(classes: &[Class], dims: [usize; 3]) -> Result<Split, DataError> {
    let labelled = (0..)
        .zip(classes)
        .flat_map(|(label, class)| class.files.iter().map(move |file| (file, label)));
    let (files, labels): (Vec<&PathBuf>, Vec<u32>) = labelled.unzip();
    let [channels, height, width] = dims;
    let size = channels * height * width;
    let mut pixels = room(files.len(), size)?;
    let rooms = files.iter().zip(pixels.chunks_exact_mut(size));
    let decoded = map_on_all_cores(rooms, |(file, pixels)| decode(file, dims, pixels));
    decoded.into_iter().collect::<Result<(), DataError>>()?;
    let images = Array4::from_shape_vec((files.len(), channels, height, width), pixels)
        .expect("there is room for each image");
    Split::new(images, labels)
}

/// Zeros for so many images of a size.
fn room(images: usize, size: usize) -> Result<Vec<u8>, DataError> {
    let bytes = images.saturating_mul(size);
    let mut pixels = vec![];
    memory::check(bytes).map_err(|_| DataError::Memory { bytes })?;
    pixels.try_reserve_exact(bytes).map_err(|_| DataError::Memory { bytes })?;
    pixels.resize(bytes, 0);
    Ok(pixels)
}

/// Copies a file's pixels to `out`, grey to each of three channels.
fn decode(file: &Path, dims: [usize; 3], out: &mut [u8]) -> Result<(), DataError> {
    let image = Picture::open(file)?.read()?;
    let spread = image.broadcast(dims).ok_or_else(|| {
        odd(file, "the picture whose size was read before", "one that has changed meanwhile")
    })?;
    out.iter_mut().zip(spread).for_each(|(out, &level)| *out = level);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use ndarray::Axis;
    use png::{ColorType, Encoder};

    use super::super::Images;
    use super::*;

    fn write(file: &Path, side: u32, colour: ColorType, level: u8) {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let mut encoder = Encoder::new(File::create(file).unwrap(), side, side);
        encoder.set_color(colour);
        let pixels = vec![level; (side * side) as usize * colour.samples()];
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    }

    /// Two classes, with three images to learn from and one to test, all grey.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, level) in
            [("train/b/2", 20), ("train/b/10", 10), ("train/a/x", 5), ("test/a/y", 7)]
        {
            let file = folder.path().join(name).with_extension("png");
            write(&file, 4, ColorType::Grayscale, level);
        }
        fs::create_dir_all(folder.path().join("test/b")).unwrap();
        folder
    }

    fn first_pixels(split: &Split) -> Vec<Vec<u8>> {
        let Images::Bytes(images) = split.images() else { panic!("files hold bytes") };
        let first =
            |image: ndarray::ArrayView3<u8>| image.axis_iter(Axis(0)).map(|c| c[[0, 0]]).collect();
        images.axis_iter(Axis(0)).map(first).collect()
    }

    #[test]
    fn folders_are_classes_and_names_the_order() {
        let folder = folder();
        fs::write(folder.path().join("train/a/.DS_Store"), "clutter").unwrap();
        fs::write(folder.path().join("train/Thumbs.db"), "clutter").unwrap();
        fs::write(folder.path().join("train/README"), "where they come from").unwrap();
        let data = images(folder.path()).unwrap();
        assert_eq!(data.classes(), ["a", "b"]);
        assert_eq!(data.train().labels(), [0, 1, 1]);
        assert_eq!(first_pixels(data.train()), [[5], [10], [20]]);
        assert_eq!((data.test().labels(), first_pixels(data.test())), (&[0][..], vec![vec![7]]));
    }

    /// The one system writes an `e` and its accent apart, the other as one letter.
    #[test]
    fn names_that_look_alike_are_one_class() {
        let folder = folder();
        write(&folder.path().join("train/cafe\u{301}/1.png"), 4, ColorType::Grayscale, 1);
        write(&folder.path().join("test/caf\u{e9}/1.png"), 4, ColorType::Grayscale, 2);
        let data = images(folder.path()).unwrap();
        assert_eq!(data.classes(), ["a", "b", "caf\u{e9}"]);
        assert_eq!((data.train().labels(), data.test().labels()), (&[0, 1, 1, 2][..], &[0, 2][..]));
        write(&folder.path().join("train/caf\u{e9}/1.png"), 4, ColorType::Grayscale, 1);
        let error = images(folder.path()).unwrap_err().to_string();
        assert!(error.contains("two folders whose names look alike"), "{error}");
    }

    #[test]
    fn one_coloured_image_makes_all_of_them_coloured() {
        let folder = folder();
        write(&folder.path().join("test/b/z.PNG"), 4, ColorType::Rgb, 9);
        let data = images(folder.path()).unwrap();
        assert_eq!(data.shape().to_string(), "3x4x4");
        assert_eq!(first_pixels(data.train()), [[5; 3], [10; 3], [20; 3]]);
        assert_eq!(first_pixels(data.test()), [[7; 3], [9; 3]]);
    }

    #[test]
    fn what_is_no_dataset_is_an_error_that_says_where() {
        type Spoil = fn(&Path);
        let cases: [(Spoil, &str); 11] = [
            (
                |f| fs::remove_dir_all(f.join("test")).unwrap(),
                "no test images here; nin looks for `train/CLASS/*.png`, `test/CLASS/*.png`",
            ),
            (|f| fs::remove_dir_all(f.join("train")).unwrap(), "no training images here"),
            (
                |f| fs::remove_dir_all(f.join("train/b")).unwrap(),
                "train: expected a folder for each of two or more classes, found only `a`",
            ),
            (
                |f| fs::remove_dir_all(f.join("test/b")).unwrap(),
                "`test` lacks `b`; an empty folder says",
            ),
            (|f| fs::create_dir(f.join("test/c")).unwrap(), "`train` lacks `c`"),
            (
                |f| fs::remove_file(f.join("train/a/x.png")).unwrap(),
                "train/a: no training image here; nin looks for `*.png`",
            ),
            (|f| fs::remove_file(f.join("test/a/y.png")).unwrap(), "no test image here"),
            (
                |f| fs::write(f.join("train/a/x.jpg"), "").unwrap(),
                "train/a/x.jpg: expected a PNG image, found a file of another kind",
            ),
            (
                |f| fs::create_dir(f.join("test/b/more.png")).unwrap(),
                "test/b/more.png: expected a PNG image, found a folder",
            ),
            (|f| fs::write(f.join("test/z.png"), "").unwrap(), "test/z.png: expected a folder"),
            (
                |f| write(&f.join("test/b/q.png"), 5, ColorType::Rgb, 1),
                "test/b/q.png is 5x5 (height x width), and ",
            ),
        ];
        for (spoil, expected) in cases {
            let folder = folder();
            spoil(folder.path());
            let error = images(folder.path()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}\nexpected {expected}");
        }
        let error = images(Path::new("/no/such/folder")).unwrap_err().to_string();
        assert!(
            error.contains("there is no such folder; nin looks for a folder with `train/"),
            "{error}"
        );
    }

    #[test]
    fn images_that_no_machine_has_room_for_are_an_error() {
        assert!(matches!(room(usize::MAX / 8, 8), Err(DataError::Memory { .. })));
        assert!(matches!(room(usize::MAX, 3), Err(DataError::Memory { bytes: usize::MAX })));
    }

    /// Which of several damaged files is named does not depend on which thread was faster.
    #[test]
    fn the_first_damaged_file_is_named() {
        let folder = folder();
        for n in 0..20 {
            fs::write(folder.path().join(format!("train/a/y{n:02}.png")), "no picture").unwrap();
        }
        let error = images(folder.path()).unwrap_err().to_string();
        assert!(error.contains("y00.png: not read as PNG"), "{error}");
    }
}
