//! [`DataError`]: why there is no dataset, or not for this model.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use nin_dsl::shape::Shape;

use super::Preprocessing;
use super::doubt::listed;

/// The two halves of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// What is learnt from.
    Train,
    /// What is held back.
    Test,
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Set::Train => "training",
            Set::Test => "test",
        })
    }
}

/// Why there is no dataset, or not for this model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file system said no.
    #[error("{}: {error}", file.display())]
    Io {
        /// The file or folder.
        file: PathBuf,
        /// What the file system said.
        error: io::Error,
    },
    /// A file is truncated, or something else than its name says.
    #[error("{}: expected {expected}, found {found}", file.display())]
    Format {
        /// The file.
        file: PathBuf,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A file is no image that nin reads.
    #[error("{}: not read as PNG: {problem}", file.display())]
    Picture {
        /// The file.
        file: PathBuf,
        /// What its reader said.
        problem: String,
    },
    /// There is no folder of this name.
    #[error("{}: {found}; nin looks for a folder with {}", folder.display(), quoted(looked_for))]
    NoFolder {
        /// The folder.
        folder: PathBuf,
        /// What is there.
        found: &'static str,
        /// What it should hold.
        looked_for: Vec<String>,
    },
    /// A folder lacks a file of the dataset.
    #[error("{}: no {what} here; nin looks for {}", folder.display(), quoted(looked_for))]
    Missing {
        /// The folder.
        folder: PathBuf,
        /// What the missing file holds.
        what: String,
        /// The names it may have.
        looked_for: Vec<String>,
    },
    /// A dataset in a form that nin does not read.
    #[error(
        "{}: this is {title} in its {whose} version; nin reads the binary version, `{archive}`, which its authors publish \
         beside it", place.display()
    )]
    Version {
        /// The folder or archive.
        place: PathBuf,
        /// Whose version it is: `Python` or `MATLAB`.
        whose: &'static str,
        /// The dataset.
        title: &'static str,
        /// What the version that nin reads is called.
        archive: &'static str,
    },
    /// Training and test images are not of the same classes.
    #[error(
        "{}: `train` and `test` must hold the same folders, one a class{}{}; an empty folder says that a class has no \
         test image",
        folder.display(), lacks("test", only_train), lacks("train", only_test)
    )]
    Disagreeing {
        /// The dataset's folder.
        folder: PathBuf,
        /// Classes without a folder of test images.
        only_train: Vec<String>,
        /// Classes without a folder of training images.
        only_test: Vec<String>,
    },
    /// An image of another size than the first.
    #[error(
        "{} is {}x{} (height x width), and {} is {}x{}: all images of a dataset must have one size",
        file.display(), found[0], found[1], first.display(), expected[0], expected[1]
    )]
    Sizes {
        /// The image's file.
        file: PathBuf,
        /// Its height and width.
        found: [usize; 2],
        /// The first image's file.
        first: PathBuf,
        /// The first image's height and width.
        expected: [usize; 2],
    },
    /// A number of labels that is not that of the images.
    #[error("{images} images and {labels} labels: each image needs one")]
    Counts {
        /// Number of images.
        images: usize,
        /// Number of labels.
        labels: usize,
    },
    /// More images than can be numbered in 32 bits.
    #[error("{images} images are too many: nin numbers them in 32 bits")]
    TooMany {
        /// Number of images.
        images: usize,
    },
    /// A set without images.
    #[error("there is no {set} image")]
    Empty {
        /// The set.
        set: Set,
    },
    /// Images without a pixel.
    #[error("images of {}x{}x{} hold no pixel", dims[0], dims[1], dims[2])]
    NoPixel {
        /// Channels, height and width of an image.
        dims: [usize; 3],
    },
    /// An image of another shape than the first.
    #[error(
        "image {image} is {}x{}x{}, and the first is {}x{}x{}: all must have one shape",
        found[0], found[1], found[2], expected[0], expected[1], expected[2]
    )]
    Ragged {
        /// The image's index.
        image: usize,
        /// Its channels, height and width.
        found: [usize; 3],
        /// Those of the first image.
        expected: [usize; 3],
    },
    /// A pixel that is infinite or not a number.
    #[error("image {image} holds a number that is not finite")]
    NotFinite {
        /// The image's index.
        image: usize,
    },
    /// Training and test images of different shapes.
    #[error("training images are {train}, test images {test}: they must have one shape")]
    Shapes {
        /// Shape of the training images.
        train: Shape,
        /// Shape of the test images.
        test: Shape,
    },
    /// A label that no class has.
    #[error(
        "{set} image {image} has the label {label}; with {classes} classes, labels are below {classes}"
    )]
    Label {
        /// The image's set.
        set: Set,
        /// Its index.
        image: usize,
        /// Its label.
        label: u32,
        /// Number of classes.
        classes: usize,
    },
    /// Constants that cannot normalise these images.
    #[error(
        "`normalisation` of {images} images must have a finite mean and a deviation above 0 for each of the {} channels",
        images.channels()
    )]
    Normalisation {
        /// The images' shape.
        images: Shape,
    },
    /// Images that cannot be whitened.
    #[error(
        "{images} images cannot be whitened: they have more than 8,192 numbers, or numbers whose covariance is not finite"
    )]
    Whitening {
        /// The images' shape.
        images: Shape,
    },
    /// Statistics of other images.
    #[error("the weights were trained on prepared images of another shape than {images}")]
    Statistics {
        /// The images' shape.
        images: Shape,
    },
    /// Images are to be prepared as no library compiled ahead prepares them.
    #[error(
        "the weights were trained on images prepared by `{preprocessing}`, and a library can only normalise: train with the \
         recipe's `[preprocessing] kind = \"normalise\"`, or compile without weights and pass them, and prepared images, \
         to the library"
    )]
    NotCompiled {
        /// How the training images were prepared.
        preprocessing: Preprocessing,
    },
    /// The system gave no memory for the images.
    #[error("no memory for {bytes} bytes of images: take fewer or smaller ones")]
    Memory {
        /// Bytes asked for.
        bytes: usize,
    },
    /// Something is wrong with what came from a file or carries a name.
    #[error("{place}: {problem}")]
    In {
        /// The file's or dataset's name.
        place: String,
        /// What is wrong.
        problem: Box<DataError>,
    },
    /// The images are not what the model reads.
    #[error("the model reads {model} images, and those of {data} are {images}: {}", remedy(*model, *images))]
    Input {
        /// The model's input.
        model: Shape,
        /// The dataset's name.
        data: String,
        /// The shape of its images.
        images: Shape,
    },
    /// The model's outputs are not one a class.
    #[error(
        "the model has {model} outputs, and {data} has {classes} classes: give the model's last convolution (or `fc`) \
         {classes} channels{}",
        renumbered(unseen)
    )]
    Classes {
        /// The model's output.
        model: Shape,
        /// The dataset's name.
        data: String,
        /// Its classes.
        classes: usize,
        /// Those of which there is no training image.
        unseen: Vec<u32>,
    },
}

impl DataError {
    /// The same, with where it was found.
    pub(super) fn within(self, place: impl fmt::Display) -> DataError {
        DataError::In { place: place.to_string(), problem: Box::new(self) }
    }

    /// The file system's error about a file or folder.
    pub(super) fn io(file: &Path, error: io::Error) -> DataError {
        DataError::Io { file: file.to_owned(), error }
    }

    /// A folder of which something is missing, perhaps all of it.
    pub(super) fn missing(folder: &Path, what: impl Into<String>, names: &[&str]) -> DataError {
        let looked_for = names.iter().map(|&name| name.to_owned()).collect();
        let folder = folder.to_owned();
        if folder.is_dir() {
            return DataError::Missing { folder, what: what.into(), looked_for };
        }
        let found = if folder.exists() { "this is a file" } else { "there is no such folder" };
        DataError::NoFolder { folder, found, looked_for }
    }
}

/// `` `a`, `b` ``.
fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// `` ; `test` lacks `cat` and 3 more ``, if anything is lacking.
fn lacks(set: &str, missing: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = quoted(&missing[..missing.len().min(SHOWN)]);
    match missing.len() {
        0 => String::new(),
        count if count > SHOWN => format!("; `{set}` lacks {shown} and {} more", count - SHOWN),
        _ => format!("; `{set}` lacks {shown}"),
    }
}

/// What to say about labels that do not begin with the first class, or have gaps.
fn renumbered(unseen: &[u32]) -> String {
    let begins = unseen.iter().zip(0..).take_while(|&(&class, number)| class == number).count();
    match unseen.len() {
        0 => String::new(),
        count if count == begins => {
            format!("; or do the labels count from {begins}? nin's count from 0, and no label is 0")
        }
        _ => format!(
            "; or are the labels to be numbered anew? No training image has the label {}",
            listed(unseen)
        ),
    }
}

/// What to do about images that a model does not read.
fn remedy(model: Shape, images: Shape) -> String {
    let (c, h, w) = (images.channels(), images.height(), images.width());
    if (model.channels(), model.height(), model.width()) == (w, c, h) {
        return "they seem to lie with their channels last: save `numpy.moveaxis(x, -1, 1)`"
            .to_owned();
    }
    format!("write `input({c}, {h}, {w})` in the model")
}
