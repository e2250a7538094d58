//! [`Spec`], how a dataset is named on the command line and in recipes: `mnist-10k`, or a kind and a folder, `mnist:DIR`.

use std::fmt;
use std::path::{self, Path, PathBuf};
use std::str::FromStr;

use super::{DataError, Dataset, cifar, images, mnist, npy, svhn};

/// A dataset nin can read. A further one is a row of [`KINDS`].
struct Kind {
    word: &'static str,
    about: &'static str,
    /// What must be known before a result on it is reported.
    caution: Option<&'static str>,
    read: Read,
}

/// Where a kind's images come from.
#[derive(Clone, Copy)]
enum Read {
    /// They are a part of nin.
    Inside(fn() -> Result<Dataset, DataError>),
    /// They lie in a folder of the user's.
    Folder(fn(&Path) -> Result<Dataset, DataError>),
}

const KINDS: &[Kind] = &[
    Kind {
        word: "mnist-10k",
        about: "8,000 training and 2,000 test digits from MNIST's test set, inside nin",
        caution: Some(
            "mnist-10k is taken from MNIST's test set: nothing trained on it may be reported on that set",
        ),
        read: Read::Inside(mnist::mnist_10k),
    },
    Kind {
        word: "mnist",
        about: "MNIST's idx files, plain or gzipped",
        caution: None,
        read: Read::Folder(mnist::mnist),
    },
    Kind {
        word: "cifar10",
        about: "CIFAR-10's binary version, its files or its .tar.gz",
        caution: None,
        read: Read::Folder(cifar::cifar10),
    },
    Kind {
        word: "cifar100",
        about: "CIFAR-100's binary version, its files or its .tar.gz; the 100 fine classes",
        caution: None,
        read: Read::Folder(cifar::cifar100),
    },
    Kind {
        word: "svhn",
        about: "SVHN's cropped digits: {train,test}_32x32.mat, and extra_32x32.mat to train if it is there",
        caution: None,
        read: Read::Folder(svhn::svhn),
    },
    Kind {
        word: "images",
        about: "your own PNG images: train/CLASS/*.png, test/CLASS/*.png",
        caution: None,
        read: Read::Folder(images::images),
    },
    Kind {
        word: "npy",
        about: "your own NumPy arrays: {train,test}_{images,labels}.npy",
        caution: None,
        read: Read::Folder(npy::npy),
    },
];

/// A named dataset that has not been read yet. Prints as it is written.
///
/// # Examples
/// ```
/// use nin::data::Spec;
///
/// let spec: Spec = "cifar10:data/cifar10".parse()?;
/// assert_eq!(spec.to_string(), "cifar10:data/cifar10");
/// let digits = "mnist-10k".parse::<Spec>()?.load()?;
/// assert_eq!((digits.train().len(), digits.classes().len()), (8000, 10));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    word: &'static str,
    folder: Option<PathBuf>,
}

/// A text that names no dataset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownSpec {
    /// The kind does not exist.
    #[error("there is no dataset `{word}`{}; nin reads {}", did_you_mean(.suggestion), forms())]
    Kind {
        /// The kind as given.
        word: String,
        /// The kind that was perhaps meant.
        suggestion: Option<&'static str>,
    },
    /// The kind needs a folder.
    #[error("`{word}` needs the folder its files lie in: `{word}:DIR`")]
    NoFolder {
        /// The kind.
        word: &'static str,
    },
    /// The kind takes no folder.
    #[error("`{word}` ships inside nin and takes no folder: write `{word}` alone")]
    NeedlessFolder {
        /// The kind.
        word: &'static str,
    },
}

/// How each known dataset is written and what it is.
pub fn kinds() -> impl Iterator<Item = (String, &'static str)> {
    KINDS.iter().map(|kind| (form(kind), kind.about))
}

fn form(kind: &Kind) -> String {
    match kind.read {
        Read::Inside(_) => kind.word.to_owned(),
        Read::Folder(_) => format!("{}:DIR", kind.word),
    }
}

fn forms() -> String {
    let forms: Vec<String> = kinds().map(|(form, _)| format!("`{form}`")).collect();
    forms.join(", ")
}

fn did_you_mean(suggestion: &Option<&str>) -> String {
    suggestion.map_or(String::new(), |word| format!(" (did you mean `{word}`?)"))
}

impl Spec {
    /// Reads the dataset.
    ///
    /// # Errors
    /// A folder without the files, or with broken ones.
    pub fn load(&self) -> Result<Dataset, DataError> {
        match (self.kind().read, &self.folder) {
            (Read::Inside(read), None) => read(),
            (Read::Folder(read), Some(folder)) => read(folder),
            (Read::Inside(_), Some(_)) | (Read::Folder(_), None) => {
                unreachable!("parsing pairs kinds and folders (a bug in nin)")
            }
        }
    }

    /// What must be known before a result on it is reported.
    pub fn caution(&self) -> Option<&'static str> {
        self.kind().caution
    }

    /// The folder its files lie in, if they are not a part of nin.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    fn kind(&self) -> &'static Kind {
        KINDS.iter().find(|kind| kind.word == self.word).expect("a spec is of a known kind")
    }

    /// The same dataset, named so that it is found from any working directory.
    #[must_use]
    pub fn absolute(self) -> Spec {
        let folder = self.folder.map(|folder| path::absolute(&folder).unwrap_or(folder));
        Spec { folder, ..self }
    }
}

impl FromStr for Spec {
    type Err = UnknownSpec;

    fn from_str(text: &str) -> Result<Spec, UnknownSpec> {
        let (word, folder) = match text.split_once(':') {
            Some((word, folder)) => (word, Some(folder).filter(|folder| !folder.is_empty())),
            None => (text, None),
        };
        let Some(kind) = KINDS.iter().find(|kind| kind.word == word) else {
            let words = KINDS.iter().map(|kind| kind.word);
            let suggestion = nin_dsl::diagnostic::nearest(word, words);
            return Err(UnknownSpec::Kind { word: word.to_owned(), suggestion });
        };
        match (kind.read, folder) {
            (Read::Inside(_), None) | (Read::Folder(_), Some(_)) => {
                Ok(Spec { word: kind.word, folder: folder.map(PathBuf::from) })
            }
            (Read::Inside(_), Some(_)) => Err(UnknownSpec::NeedlessFolder { word: kind.word }),
            (Read::Folder(_), None) => Err(UnknownSpec::NoFolder { word: kind.word }),
        }
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.folder {
            Some(folder) => write!(f, "{}:{}", self.word, folder.display()),
            None => f.write_str(self.word),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_printed_back() {
        for text in ["mnist-10k", "mnist:/data/mnist", "images:C:\\data", "npy:a b"] {
            assert_eq!(text.parse::<Spec>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn mistakes_are_answered_with_what_would_work() {
        let error = |text: &str| text.parse::<Spec>().unwrap_err().to_string();
        assert_eq!(
            error("minst:x"),
            "there is no dataset `minst` (did you mean `mnist`?); nin reads `mnist-10k`, `mnist:DIR`, `cifar10:DIR`, \
             `cifar100:DIR`, `svhn:DIR`, `images:DIR`, `npy:DIR`"
        );
        assert_eq!(error("mnist"), "`mnist` needs the folder its files lie in: `mnist:DIR`");
        assert!(error("mnist-10k:x").contains("write `mnist-10k` alone"));
    }
}
