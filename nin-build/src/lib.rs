//! Models as part of a Rust program: nin compiles them while cargo builds it, and the program has machine code, and neither
//! compiler nor parser.
//!
//! `build.rs`, in a package with `nin-build` among its `build-dependencies`:
//!
//! ```no_run
//! nin_build::compile("models/digits.nin", &nin_build::Options {
//!     weights: Some("digits.safetensors".into()),
//!     ..Default::default()
//! });
//! ```
//!
//! The program, where `Net`, `normalise` and `CLASSES` are the wrapper's:
//!
//! ```ignore
//! mod digits {
//!     include!(concat!(env!("OUT_DIR"), "/digits.rs"));
//! }
//!
//! let mut net = digits::Net::new().expect("a CPU with AVX2");
//! let mut results = [[0.0; digits::OUTPUT]];
//! net.forward(&[digits::normalise(&bytes)], &mut results);
//! ```
//!
//! An image of more than 64 KiB is not returned by value; `normalise_into` fills a slice of one or more:
//!
//! ```ignore
//! let mut pixels = vec![0.0; 4 * digits::IMAGE];
//! digits::normalise_into(&bytes, &mut pixels);
//! net.forward(pixels.as_chunks().0, &mut results);
//! ```
//!
//! The wrapper calls the model's code, which Rust takes on trust: it allows itself `unsafe_code` where it does so. That
//! overrides `deny`, and not `forbid`: a package that forbids unsafe code keeps its models in a package of their own.
//!
//! With [`Options::train`] the wrapper's `Net` is a training: `new`, `step`, `save` and `forward`.
//!
//! A call allocates nothing. The package that calls [`compile`] is the one that links the model. Packages need not know of each
//! other's models: the names in their libraries end in a fingerprint of the content.

mod outputs;

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

pub use nin_dsl::Number;
pub use nin_runtime::compiler::Isa;
pub use nin_runtime::compiler::plan::{Algo, Algos};
use nin_runtime::export::{self, About, Contents, Library, LibraryOptions};
use nin_runtime::host::cores;
use nin_runtime::model::Model;
use nin_runtime::train::Info;
use nin_runtime::weights::WeightsFile;
use outputs::Outputs;

/// How a model is compiled.
#[derive(Clone, Debug)]
pub struct Options {
    /// A safetensors file whose weights become part of the program; without, the program passes them.
    pub weights: Option<PathBuf>,
    /// Whether the program trains the model; it then passes weights to begin with.
    pub train: bool,
    /// What functions and the wrapper's file are called; the model's name in small letters by default. The models of a package
    /// have different names.
    pub name: Option<String>,
    /// Other values for the model's parameters.
    pub params: Vec<(String, Number)>,
    /// Images that a call usually holds (it may hold any number), 1 by default; of a program that trains, the most that a step
    /// holds, 128 by default.
    pub batch: Option<usize>,
    /// Instruction sets, the fastest last: a call takes the fastest that its CPU has. Empty for AVX2 on x86-64, and elsewhere
    /// for what every CPU has.
    pub isas: Vec<Isa>,
    /// Algorithms of convolutions.
    pub algo: Algos,
}

impl Default for Options {
    /// No weights, single images, AVX2 where there is x86-64.
    fn default() -> Options {
        Options {
            weights: None,
            train: false,
            name: None,
            params: Vec::new(),
            batch: None,
            isas: Vec::new(),
            algo: Algos::default(),
        }
    }
}

/// What this build script has written so far. Cargo starts a process for each run of a build script, which alone knows what
/// belongs to the run.
static OUTPUTS: Mutex<Option<Outputs>> = Mutex::new(None);

/// Compiles a model for the program that cargo builds, and has it linked. Paths are relative to the package.
///
/// For build scripts: it reads what cargo tells them, writes `NAME.rs` and a library to `OUT_DIR`, and says to cargo what to link
/// and when to come again. The first call of a build script removes what an earlier run of it wrote. What is wrong is told to
/// cargo too, which then ends the build.
#[expect(clippy::print_stdout, reason = "cargo reads what build scripts print")]
pub fn compile(model: impl AsRef<Path>, options: &Options) {
    match from_cargo(model.as_ref(), options) {
        Ok(lines) => println!("{lines}"),
        Err(error) => {
            for line in error.to_string().lines() {
                println!("cargo::error={line}");
            }
        }
    }
}

/// Compiles a model with what cargo says, and returns what cargo is to do.
fn from_cargo(file: &Path, options: &Options) -> Result<String, Box<dyn Error>> {
    let told = |name: &str| {
        env::var(name).map_err(|_| format!("no {name}: nin_build::compile is for build scripts"))
    };
    let (folder, target) = (PathBuf::from(told("OUT_DIR")?), told("TARGET")?);
    let mut outputs = OUTPUTS.lock().unwrap_or_else(PoisonError::into_inner);
    let outputs = match &mut *outputs {
        Some(outputs) => outputs,
        none => none.insert(Outputs::begin(folder)?),
    };
    build(file, options, &target, outputs)
}

/// Writes the files, and returns what cargo is to do with them.
fn build(
    file: &Path,
    options: &Options,
    target: &str,
    outputs: &mut Outputs,
) -> Result<String, Box<dyn Error>> {
    let model = Model::from_file(file, &options.params)?;
    let name = options.name.clone().unwrap_or_else(|| export::default_name(model.graph()));
    outputs.admit(&name)?;
    let library = library(&model, name.clone(), options, target)?;
    // No library of the system is called so: `libm.a` of a model `M` would be linked in place of the system's. Nor is one of
    // another package, whose folder the linker may search first.
    let link = format!("nin_{name}_{}", library.fingerprint());
    let msvc = target.ends_with("msvc");
    let archive = if msvc { format!("{link}.lib") } else { format!("lib{link}.a") };
    outputs.write(&archive, &library.static_library()?)?;
    outputs.write(&format!("{name}.rs"), library.rust().as_bytes())?;
    let mut lines = vec![
        format!("cargo::rustc-link-search=native={}", outputs.folder().display()),
        format!("cargo::rustc-link-lib=static={link}"),
    ];
    for file in [Some(file), options.weights.as_deref()].into_iter().flatten() {
        lines.push(format!("cargo::rerun-if-changed={}", file.display()));
    }
    Ok(lines.join("\n"))
}

/// The model compiled as the options say.
fn library(
    model: &Model,
    name: String,
    options: &Options,
    target: &str,
) -> Result<Library, Box<dyn Error>> {
    let graph = model.graph();
    let read = options.weights.as_deref().map(WeightsFile::read).transpose()?;
    let weights = read.as_ref().map(|read| read.weights(graph)).transpose()?;
    let info = options.weights.as_deref().zip(read.as_ref());
    let info = info.map(|(file, read)| Info::read(file, read, graph)).transpose()?;
    let contents = match &weights {
        Some(_) if options.train => {
            return Err(
                "a program that trains passes weights of its own: `weights` or `train`".into()
            );
        }
        Some(weights) => Contents::Weights(weights),
        None if options.train => Contents::Training,
        None => Contents::Code,
    };
    let triple = export::platform(Some(target))?;
    let isas = match &*options.isas {
        [] if export::is_x86_64(&triple) => vec![Isa::Avx2],
        [] => vec![Isa::Portable],
        chosen => chosen.to_vec(),
    };
    let settings = LibraryOptions {
        name,
        plain_names: false,
        batch: options.batch.unwrap_or(contents.usual_batch()),
        threads: cores(),
        isas,
        algo: options.algo.clone(),
        triple,
    };
    let about = About::of(info.as_ref(), graph)?;
    Ok(Library::compile(graph, contents, &about, &settings)?)
}

#[cfg(test)]
mod tests;
