//! Arguments that several verbs share.

use std::fmt;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::builder::RangedU64ValueParser;
use nin::train::{Info, Machine};
use nin::weights::WeightsFile;
use nin::{Graph, Isa, Model, ModelError, Number, Weights};

use super::terminal::Terminal;

/// A mistake on the command line that only shows when the verb looks at it.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// A model and its parameters.
#[derive(clap::Args)]
pub(crate) struct ModelArgs {
    /// The model's file.
    #[arg(value_name = "MODEL.nin")]
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) variant: VariantArgs,
}

/// How a model's file is read.
#[derive(clap::Args)]
pub(crate) struct VariantArgs {
    /// Give a parameter of the model another value; may be repeated.
    #[arg(short = 'D', value_name = "NAME=VALUE", value_parser = define)]
    pub(crate) define: Vec<(String, Number)>,
    /// Take the checker's warnings for errors.
    #[arg(long)]
    pub(crate) deny_warnings: bool,
}

/// What generated code runs on.
#[derive(clap::Args)]
pub(crate) struct MachineArgs {
    /// Threads [default: all cores].
    #[arg(long, value_name = "N", value_parser = threads())]
    pub(crate) threads: Option<usize>,
    /// Instruction set: `auto` is the fastest this CPU has; or `portable`, `avx2`, `avx512`.
    #[arg(long, default_value_t, value_parser = clap::value_parser!(Isa))]
    pub(crate) isa: Isa,
}

fn threads() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=1024)
}

/// A number of images in a call.
pub(crate) fn batch() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=1 << 20)
}

/// `name=value`.
fn define(text: &str) -> Result<(String, Number), String> {
    let (name, value) =
        text.split_once('=').ok_or("expected `NAME=VALUE`, such as `width=96`".to_owned())?;
    let number = value.trim().parse::<Number>().map_err(|error| error.to_string())?;
    Ok((name.trim().to_owned(), number))
}

impl MachineArgs {
    /// The choice made, or all cores.
    pub(crate) fn machine(&self) -> Machine {
        let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
        Machine { threads: self.threads.unwrap_or_else(cores), isa: self.isa }
    }
}

impl ModelArgs {
    /// Reads and checks the model, and prints the checker's warnings.
    pub(crate) fn load(&self, terminal: &Terminal) -> anyhow::Result<Model> {
        self.variant.load(&self.model, terminal)
    }
}

impl VariantArgs {
    /// Reads and checks a model's file, and prints the checker's warnings.
    pub(crate) fn load(&self, file: &Path, terminal: &Terminal) -> anyhow::Result<Model> {
        let model = self.accept(Model::from_file(file, &self.define)?)?;
        terminal.diagnostics(model.source(), model.warnings());
        Ok(model)
    }

    /// Takes the checker's warnings for errors, if that is wished.
    pub(crate) fn accept(&self, model: Model) -> Result<Model, ModelError> {
        if !self.deny_warnings || model.warnings().is_empty() {
            return Ok(model);
        }
        let diagnostics = model.warnings().iter().cloned().map(nin::Diagnostic::denied).collect();
        Err(ModelError::Invalid { text: model.source().clone(), diagnostics })
    }
}

/// A model's weights from a file, and what the file says about them.
pub(crate) fn read_weights(file: &Path, graph: &Graph) -> anyhow::Result<(Weights, Info)> {
    let read = WeightsFile::read(file).map_err(|error| hint(file, error))?;
    Ok((read.weights(graph)?, Info::read(file, &read)?))
}

/// A run folder in place of a weights file is a slip with an easy answer.
fn hint(file: &Path, error: nin::weights::WeightsError) -> anyhow::Error {
    let last = file.join("last.safetensors");
    if last.is_file() {
        return anyhow::anyhow!(
            "{} is a folder; the run's weights are {}",
            file.display(),
            last.display()
        );
    }
    error.into()
}

/// The index and name of each class.
pub(crate) fn class_names(info: &Info, graph: &Graph) -> Vec<String> {
    let outputs = graph.output().elements();
    match &info.classes {
        Some(names) if names.len() == outputs => names.clone(),
        _ => (0..outputs).map(|class| class.to_string()).collect(),
    }
}

/// A file's text, with the file in the error.
pub(crate) fn read_text(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| file.display().to_string())
}
