//! The list of targets. A further one is a row.

mod arrays;
mod differential;
mod published;
mod runs;
mod scratch;
mod text;
mod weights;

use crate::limits::Limits;

/// Holds an input to a target's promise; the error says which part of it is broken.
pub type Check = Box<dyn FnMut(&[u8]) -> Result<(), String>>;

/// A promise about any bytes.
pub struct Target {
    /// What it is called, as is the folder of its corpus.
    pub name: &'static str,
    /// What the bytes are.
    pub about: &'static str,
    /// Makes what a check needs.
    pub prepare: fn() -> Check,
    /// Draws an input from a seed, where mutations of bytes would rarely get past the first line.
    pub generate: Option<fn(u64) -> Vec<u8>>,
    /// What one input may cost.
    pub limits: Limits,
    /// Words of the format.
    pub words: &'static [&'static str],
    /// Folders of the repository, beside its corpus, whose files are seeds.
    also: &'static [&'static str],
}

impl Target {
    /// A reader of bytes without words.
    const fn reader(name: &'static str, about: &'static str, prepare: fn() -> Check) -> Target {
        let limits = Limits::READER;
        Target { name, about, prepare, generate: None, limits, words: &[], also: &[] }
    }

    /// Its folders of seeds, from the repository's root.
    pub fn folders(&self) -> impl Iterator<Item = String> {
        let corpus = format!("fuzz/corpus/{}", self.name);
        std::iter::once(corpus).chain(self.also.iter().map(|&folder| folder.to_owned()))
    }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        words: text::WORDS,
        also: &["models", "nin-dsl/tests/corpus", "nin-dsl/tests/errors"],
        ..Target::reader("model", "the text of a `.nin` file", text::model)
    },
    Target {
        words: text::WORDS,
        also: &["models", "nin-dsl/tests/corpus", "nin-dsl/tests/errors"],
        ..Target::reader("tokens", "what stands in `nin!`", text::tokens)
    },
    Target {
        words: text::SPECS,
        ..Target::reader(
            "words",
            "a dataset, algorithms or an instruction set by name",
            text::words,
        )
    },
    Target {
        words: weights::WORDS,
        ..Target::reader("weights", "a safetensors file, a checkpoint's among them", weights::file)
    },
    Target {
        words: weights::WORDS,
        ..Target::reader("weights-header", "the header of a safetensors file", weights::header)
    },
    Target {
        also: &[
            "nin-runtime/tests/fixtures/arrays/bytes",
            "nin-runtime/tests/fixtures/arrays/flat",
            "nin-runtime/tests/fixtures/arrays/floats-big-endian-fortran",
        ],
        ..Target::reader("npy", "a NumPy file", arrays::npy)
    },
    Target {
        words: arrays::WORDS,
        ..Target::reader("npy-header", "the header of a NumPy file", arrays::npy_header)
    },
    Target::reader("idx", "a file of MNIST's, plain or gzipped", published::idx),
    Target::reader("cifar", "a file of CIFAR's records", published::records),
    Target::reader("archive", "CIFAR's archive: tar in gzip", published::archive),
    Target::reader("tar", "CIFAR's archive without its gzip", published::tar),
    Target {
        also: &["nin-runtime/tests/fixtures/svhn"],
        ..Target::reader("mat", "a file of SVHN's", published::mat)
    },
    Target::reader("mat-element", "what is compressed in a file of SVHN's", published::element),
    Target {
        also: &["nin-runtime/tests/fixtures/pictures"],
        limits: Limits::UNPACKED,
        ..Target::reader("png", "a picture, its checksums as they are and mended", arrays::png)
    },
    Target {
        words: runs::SETTINGS,
        also: &["recipes"],
        ..Target::reader("recipe", "a recipe's text", runs::recipe)
    },
    Target {
        words: runs::SETTINGS,
        limits: Limits::EXECUTION,
        ..Target::reader("run", "texts of a run's folder, each after `== NAME`", runs::folder)
    },
    Target {
        generate: Some(differential::generate),
        limits: Limits::EXECUTION,
        ..Target::reader(
            "differential",
            "a model and how it is run: every executor finds the same",
            differential::check,
        )
    },
];

/// The target of a name.
pub fn named(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
