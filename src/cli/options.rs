//! Arguments that several verbs share.

use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::ValueHint;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use nin::data::{Normalisation, Preparation, Spec};
use nin::train::Info;

use nin::weights::WeightsFile;
use nin::{Algos, Graph, Isa, Model, ModelError, Number, Program, Purpose, Shape, Weights};
use nin::{CompileTimes, Machine};
use nin_dsl::limits::TEXT_BYTES;
use nin_runtime::host::cores;
use nin_runtime::{Symbol, file};

use super::amounts::{bytes, grouped, threads};
use super::terminal::Terminal;
use super::tuned::AlgoArg;

/// Heading of the options that make a variant of a model.
pub(crate) const MODEL_OPTIONS: &str = "Model options";
/// Heading of the options that say what generated code runs on.
pub(crate) const MACHINE_OPTIONS: &str = "Machine options";

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
    /// The model's file, or `-` for standard input.
    #[arg(value_name = "MODEL.nin", value_hint = ValueHint::FilePath)]
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) variant: VariantArgs,
}

/// A trained model, and what it is shown.
#[derive(clap::Args)]
pub(crate) struct ShownArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// The model's weights.
    #[arg(long, value_name = "W.safetensors", value_hint = ValueHint::FilePath)]
    pub(crate) weights: PathBuf,
    /// Images (PNG); they are resized and converted to what the model reads.
    #[arg(value_name = "IMAGE.png", required = true, value_hint = ValueHint::FilePath)]
    pub(crate) images: Vec<PathBuf>,
}

/// How a model's file is read.
#[derive(clap::Args)]
pub(crate) struct VariantArgs {
    /// Give a parameter of the model another value; may be repeated.
    #[arg(short = 'D', value_name = "NAME=VALUE", value_parser = define, help_heading = MODEL_OPTIONS)]
    pub(crate) define: Vec<(String, Number)>,
    /// Take the checker's warnings for errors.
    #[arg(long, help_heading = MODEL_OPTIONS)]
    pub(crate) deny_warnings: bool,
}

/// What generated code runs on.
#[derive(clap::Args)]
pub(crate) struct MachineArgs {
    /// Threads [default: all cores].
    #[arg(
        long,
        value_name = "N",
        value_parser = whole::<usize>(1..=1024),
        allow_negative_numbers = true,
        help_heading = MACHINE_OPTIONS
    )]
    pub(crate) threads: Option<usize>,
    /// Instruction set [default: auto; of a run that is resumed: its own].
    #[arg(long, value_name = "ISA", value_parser = isa(), help_heading = MACHINE_OPTIONS)]
    pub(crate) isa: Option<Isa>,
    #[command(flatten)]
    pub(crate) algo: AlgoArgs,
}

/// What convolutions are computed by.
#[derive(clap::Args)]
pub(crate) struct AlgoArgs {
    /// Algorithms of convolutions [default: auto; of `nin run`: direct].
    ///
    /// `auto` takes whichever costs least, for each product of each convolution; `direct` goes tap by tap; `winograd` is
    /// Winograd's wherever a convolution has stride 1 and more than one tap, `winograd4` the same with tiles of 4x4 outputs.
    /// For a layer: `auto,mlpconv2=direct`; for one of its products: `mlpconv1.forward=winograd2`, or `input-grad` or
    /// `kernel-grad` in place of `forward`. `tuned` is the list that `nin bench --tune` measured. At inference, bands of rows go
    /// through several layers where that saves memory traffic; `depth-first=never` or `depth-first=always` says otherwise.
    #[arg(long = "algo", value_name = "ALGO[,LAYER=ALGO...]", help_heading = MACHINE_OPTIONS)]
    pub(crate) given: Option<AlgoArg>,
}

/// What profilers are told.
#[derive(clap::Args)]
pub(crate) struct PerfArgs {
    /// Name generated functions to `perf`, in /tmp/perf-PID.map.
    #[arg(long, help_heading = MACHINE_OPTIONS)]
    perf_map: bool,
}

impl PerfArgs {
    /// Adds a program's functions to the map of this process, if that is wished. perf wants it where it is.
    pub(crate) fn write(&self, program: &Program, terminal: &Terminal) -> anyhow::Result<()> {
        if !self.perf_map {
            return Ok(());
        }
        let file = PathBuf::from(format!("/tmp/perf-{}.map", std::process::id()));
        let line = |symbol: &Symbol| {
            format!("{:x} {:x} nin: {}\n", symbol.address, symbol.bytes, symbol.name)
        };
        let lines: String = program.symbols().iter().map(line).collect();
        let open = File::options().create(true).append(true).open(&file);
        open.and_then(|mut open| open.write_all(lines.as_bytes()))
            .with_context(|| file.display().to_string())?;
        terminal.note(format_args!("{}: {} functions", file.display(), program.symbols().len()));
        Ok(())
    }
}

/// Each instruction set with what it needs.
fn isa() -> impl TypedValueParser<Value = Isa> {
    let words = Isa::ALL.map(|isa| PossibleValue::new(isa.word()).help(isa.summary()));
    PossibleValuesParser::new(words).try_map(|word| word.parse::<Isa>())
}

/// A whole number in a range; take `allow_negative_numbers` beside it, so that `-1` is told the range.
pub(crate) fn whole<T>(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: TryFrom<u64>,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| {
            format!("expected a whole number from {} to {}", range.start(), range.end())
        })
    }
}

/// A number of images in a call.
pub(crate) fn batch() -> impl Fn(&str) -> Result<usize, String> + Clone {
    whole(1..=1 << 20)
}

/// A seed: recipes keep it as a signed number.
pub(crate) fn seed() -> impl Fn(&str) -> Result<u64, String> + Clone {
    whole(0..=i64::MAX as u64)
}

/// `name=value`.
fn define(text: &str) -> Result<(String, Number), String> {
    let (name, value) =
        named(text).ok_or_else(|| "expected `NAME=VALUE`, such as `width=96`".to_owned())?;
    let number = value.parse::<Number>().map_err(|error| error.to_string())?;
    Ok((name.to_owned(), number))
}

/// A parameter's name and what is said of it, around an equals sign.
pub(crate) fn named(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!value.is_empty() && !name.is_empty() && name.chars().all(letter)).then_some((name, value))
}

impl MachineArgs {
    /// The choices made, or all cores and `auto`.
    ///
    /// # Errors
    /// If the algorithms are to be those measured, and there are none.
    pub(crate) fn machine(&self, model: &Model, purpose: Purpose) -> anyhow::Result<Machine> {
        let algo = self.algos(model, purpose)?.unwrap_or_default();
        Ok(Machine { threads: self.threads(), isa: self.isa(), algo })
    }

    /// The instruction set chosen, or `auto`.
    pub(crate) fn isa(&self) -> Isa {
        self.isa.unwrap_or_default()
    }

    /// The choice made, or all cores.
    pub(crate) fn threads(&self) -> usize {
        self.threads.unwrap_or_else(cores)
    }

    /// Warns of more threads than there are cores.
    pub(crate) fn warn(&self, terminal: &Terminal) {
        let Some(count) = self.threads.filter(|&count| count > 1) else { return };
        let cores = cores();
        if count > cores {
            let them = if cores == 1 { "one core".to_owned() } else { format!("{cores} cores") };
            terminal.warn(format_args!(
                "`--threads {count}` is more than the {them} that this process may use: threads will wait for each other"
            ));
        }
    }

    /// The algorithms chosen for a model.
    ///
    /// # Errors
    /// As [`MachineArgs::machine`].
    pub(crate) fn algos(&self, model: &Model, purpose: Purpose) -> anyhow::Result<Option<Algos>> {
        let algo = self.algo.given.as_ref();
        algo.map(|algo| algo.algos(model, self.isa(), purpose)).transpose()
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
        let twice = |&(at, name): &(usize, &String)| {
            self.define[..at].iter().any(|(before, _)| before == name)
        };
        if let Some((_, name)) = self.define.iter().map(|(name, _)| name).enumerate().find(twice) {
            return Err(Usage(format!("`-D {name}=...` is given twice")).into());
        }
        let model = self.accept(read_model(file, &self.define)?)?;
        let (source, graph) = (model.source(), model.graph());
        terminal.diagnostics(source, model.warnings());
        terminal.detail(format_args!(
            "{}: {}, {} layers, {} parameters, {} multiply-accumulates an image",
            source.name,
            graph.name(),
            graph.layers().len(),
            grouped(graph.params_total()),
            grouped(graph.macs_total())
        ));
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

/// Reads and checks a model's file, or standard input for `-`.
pub(crate) fn read_model(file: &Path, define: &[(String, Number)]) -> anyhow::Result<Model> {
    if file.as_os_str() == "-" {
        let text = file::read_text(io::stdin(), TEXT_BYTES).context("standard input")?;
        return Ok(Model::from_text("stdin", &text, define)?);
    }
    Ok(Model::from_file(file, define)?)
}

/// Says what was compiled, to those who asked for more.
pub(crate) fn compiled(program: &Program, terminal: &Terminal) {
    terminal.detail(format_args!(
        "compiled in {:.1} ms for {} ({}): {} of machine code, {} of memory to work in",
        1e3 * program.compile_time().as_secs_f64(),
        threads(program.threads()),
        program.isa(),
        bytes(program.code_bytes() as u64),
        bytes(program.arena_bytes() as u64)
    ));
    let CompileTimes { planning, writing, translating, linking } = program.compile_times();
    let [planning, writing, translating, linking] =
        [planning, writing, translating, linking].map(|stage| 1e3 * stage.as_secs_f64());
    terminal.detail(format_args!(
        "planned in {planning:.1} ms, {} functions written in {writing:.1} ms, translated in {translating:.1} ms and linked in {linking:.1} ms",
        program.functions()
    ));
}

/// A model's weights from a file, and what the file says about them.
pub(crate) fn read_weights(
    file: &Path,
    graph: &Graph,
    terminal: &Terminal,
) -> anyhow::Result<(Weights, Info)> {
    let read = WeightsFile::read(file).map_err(|error| hint(file, error))?;
    let (weights, info) = (read.weights(graph)?, Info::read(file, &read, graph)?);
    if !weights.is_finite() {
        bail!(
            "{}: some weights are not finite: their training diverged, or the file is damaged",
            file.display()
        );
    }
    let seed = info.seed.map_or(String::new(), |seed| format!(", from seed {seed}"));
    let (file, count) = (file.display(), weights.tensors().len());
    terminal.detail(format_args!("{file}: weights in {count} tensors{seed}"));
    Ok((weights, info))
}

/// How images are prepared for weights; as fractions, with a warning, if their file does not say.
pub(crate) fn preparation(
    info: &Info,
    file: &Path,
    input: Shape,
    terminal: &Terminal,
) -> anyhow::Result<Preparation> {
    let preparation = info.preparation(file)?.unwrap_or_else(|| {
        terminal.warn(format_args!(
            "{} does not say how its images were normalised; pixels are given as fractions of 255",
            file.display()
        ));
        Preparation::Normalised(Normalisation::identity(input.channels()))
    });
    preparation.check(input)?;
    if let Some(mean) = preparation.foreign_mean() {
        terminal.warn(format_args!(
            "the weights were trained on images with a mean of {mean}, perhaps levels from 0 to 255: pictures are given as \
             fractions from 0 to 1, and the answers will be wrong. Train on arrays of uint8, or on floats divided by 255"
        ));
    }
    Ok(preparation)
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

/// Refuses to write over a file that the same command reads, or over its other output: such a slip would cost a model or
/// weights.
pub(crate) fn keeps_apart(output: &Path, others: &[&Path]) -> Result<(), Usage> {
    let place = |path: &Path| {
        let real = path.canonicalize().or_else(|_| std::path::absolute(path));
        real.unwrap_or_else(|_| path.to_owned())
    };
    match others.iter().any(|other| place(other) == place(output)) {
        true => Err(Usage(format!(
            "{} is named twice, to be written and for something else; give the output another name",
            output.display()
        ))),
        false => Ok(()),
    }
}

/// A dataset's name as a run's recipe keeps it, to be found from any working directory.
pub(crate) fn kept_data(data: &Spec) -> anyhow::Result<String> {
    let absolute = data.clone().absolute();
    if let Some(folder) = absolute.folder() {
        kept_path(folder)?;
    }
    Ok(absolute.to_string())
}

/// A path as a run's recipe keeps it.
///
/// # Errors
/// A path that is no text: recipes are texts, and a run whose data they do not name cannot be resumed.
pub(crate) fn kept_path(path: &Path) -> anyhow::Result<String> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let text = absolute.to_str().map(str::to_owned);
    text.with_context(|| {
        format!(
            "{}: this path is not in UTF-8, and the run's recipe keeps it as a text, to be resumed by: rename its folders, \
             or name it through a link that is",
            absolute.display()
        )
    })
}

/// A file's text, with the file in the error.
pub(crate) fn read_text(file: &Path) -> anyhow::Result<String> {
    let read = File::open(file).and_then(|open| file::read_text(open, TEXT_BYTES));
    read.with_context(|| file.display().to_string())
}
