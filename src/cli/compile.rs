//! `nin compile`: a model as a library for others to call.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use clap::{ValueEnum, ValueHint};
use nin::export::{self, About, Contents, Library, LibraryOptions};
use nin::{Algos, Isa, Model, Purpose};
use nin_runtime::file::write_atomically;
use nin_runtime::host::cores;

use super::amounts::bytes;
use super::help::examples;
use super::options::{
    AlgoArgs, MACHINE_OPTIONS, ModelArgs, Usage, batch, keeps_apart, read_weights,
};
use super::terminal::Terminal;
use super::tuned::AlgoArg;

#[derive(clap::Args)]
#[command(after_help = examples(&[
    ("An object file that carries its weights, and a header", "nin compile models/digits.nin -o digits \\\n    --weights runs/Digits-1/last.safetensors"),
    ("A shared library that is fast on every x86-64 CPU", "nin compile models/digits.nin -o libdigits.so --emit shared \\\n    --isa dispatch"),
    ("For another machine", "nin compile models/digits.nin -o digits \\\n    --emit staticlib,header --target aarch64-unknown-linux-gnu"),
]))]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Where to write; where there is more than one file, each adds an ending of its own.
    #[arg(short, long, value_name = "OUT", value_hint = ValueHint::FilePath)]
    output: PathBuf,
    /// What to write, separated by commas.
    #[arg(long, value_name = "KINDS", value_enum, value_delimiter = ',', default_values = ["obj", "header"])]
    emit: Vec<Kind>,
    /// Weights to carry along; without them, callers pass their own.
    #[arg(long, value_name = "W.safetensors", value_hint = ValueHint::FilePath)]
    weights: Option<PathBuf>,
    /// What the names of functions begin with; the models of one program have different ones.
    /// [default: the model's name in small letters]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Compile training too: weights are the caller's, and a step changes them.
    #[arg(long, conflicts_with = "weights")]
    train: bool,
    /// Images that a step holds at most, and that a forward call usually holds (it may hold any number).
    /// [default: 1; with --train 128]
    #[arg(long, value_name = "N", value_parser = batch(), allow_negative_numbers = true)]
    batch: Option<usize>,
    /// Instruction set [default: avx2 on x86-64, portable elsewhere].
    #[arg(long, value_name = "ISA", value_enum, help_heading = MACHINE_OPTIONS)]
    isa: Option<IsaArg>,
    #[command(flatten)]
    algo: AlgoArgs,
    /// The platform to compile for, such as aarch64-unknown-linux-gnu [default: this machine's].
    #[arg(long, value_name = "TRIPLE", help_heading = MACHINE_OPTIONS)]
    target: Option<String>,
}

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// An object file: OUT.o.
    Obj,
    /// A static library: OUT.a.
    Staticlib,
    /// A shared library: OUT.so.
    Shared,
    /// The header for C and C++: OUT.h.
    Header,
    /// Cranelift's intermediate code: OUT.clif.
    Clif,
    /// Assembly, to be read: OUT.s.
    Asm,
}

/// Instruction sets to compile for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum IsaArg {
    /// The fastest that this CPU has.
    Auto,
    /// Vectors of four floats, on every CPU.
    Portable,
    /// x86-64 with AVX2 and FMA: vectors of eight.
    Avx2,
    /// x86-64 with AVX-512F: vectors of sixteen.
    Avx512,
    /// All of these for x86-64 in one; a call takes the fastest that its CPU has.
    Dispatch,
}

impl Kind {
    /// What a file's name ends in.
    fn ending(self) -> &'static str {
        match self {
            Kind::Obj => ".o",
            Kind::Staticlib => ".a",
            Kind::Shared => ".so",
            Kind::Header => ".h",
            Kind::Clif => ".clif",
            Kind::Asm => ".s",
        }
    }

    /// A file's content.
    fn content(self, library: &Library) -> Result<Vec<u8>, nin::Error> {
        Ok(match self {
            Kind::Obj => library.object()?,
            Kind::Staticlib => library.static_library()?,
            Kind::Shared => library.shared_library()?,
            Kind::Header => library.header().into_bytes(),
            Kind::Clif => library.clif().as_bytes().to_vec(),
            Kind::Asm => library.assembly().into_bytes(),
        })
    }
}

impl IsaArg {
    /// The instruction sets of a library, the fastest last.
    fn isas(choice: Option<IsaArg>, x86_64: bool) -> Vec<Isa> {
        match choice {
            None if x86_64 => vec![Isa::Avx2],
            None | Some(IsaArg::Portable) => vec![Isa::Portable],
            Some(IsaArg::Auto) => vec![Isa::available().last().unwrap_or(Isa::Portable)],
            Some(IsaArg::Avx2) => vec![Isa::Avx2],
            Some(IsaArg::Avx512) => vec![Isa::Avx512],
            Some(IsaArg::Dispatch) => vec![Isa::Portable, Isa::Avx2, Isa::Avx512],
        }
    }
}

pub(crate) fn compile(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let start = Instant::now();
    let files = files(args);
    let inputs: Vec<&Path> =
        args.weights.as_deref().into_iter().chain([&*args.model.model]).collect();
    for (_, file) in &files {
        keeps_apart(file, &inputs)?;
    }
    let model = args.model.load(terminal)?;
    let graph = model.graph();
    let triple = export::platform(args.target.as_deref())?;
    let weights = args.weights.as_deref().map(|file| read_weights(file, graph, terminal));
    let (weights, info) = weights.transpose()?.unzip();
    let contents = match &weights {
        Some(weights) => Contents::Weights(weights),
        None if args.train => Contents::Training,
        None => Contents::Code,
    };
    let isas = IsaArg::isas(args.isa, export::is_x86_64(&triple));
    let options = LibraryOptions {
        name: args.name.clone().unwrap_or_else(|| export::default_name(graph)),
        plain_names: true,
        batch: args.batch.unwrap_or(contents.usual_batch()),
        threads: cores(),
        algo: algos(args, &model, &isas)?,
        isas,
        triple,
    };
    let about = About::of(info.as_ref(), graph)?;
    let library = Library::compile(graph, contents, &about, &options)?;
    let contents = files.iter().map(|(kind, _)| kind.content(&library));
    let contents = contents.collect::<Result<Vec<_>, _>>()?;
    write(&files, &contents)?;
    for ((_, file), content) in files.iter().zip(&contents) {
        terminal.detail(format_args!("{}: {}", file.display(), bytes(content.len() as u64)));
    }
    let names: Vec<String> = files.iter().map(|(_, file)| file.display().to_string()).collect();
    terminal.note(format_args!(
        "{} of machine code in {:.0} ms: {}",
        bytes(library.code_bytes() as u64),
        1e3 * start.elapsed().as_secs_f64(),
        names.join(", ")
    ));
    Ok(ExitCode::SUCCESS)
}

/// The algorithms asked for; those measured are of one instruction set, on this CPU.
fn algos(args: &Args, model: &Model, isas: &[Isa]) -> anyhow::Result<Algos> {
    let Some(given) = &args.algo.given else { return Ok(Algos::default()) };
    match (given, isas) {
        (AlgoArg::Given(algos), _) => Ok(algos.clone()),
        (AlgoArg::Tuned(_), &[isa]) if args.target.is_none() => {
            let purpose = if args.train { Purpose::Training } else { Purpose::Inference };
            given.algos(model, isa, purpose)
        }
        (AlgoArg::Tuned(_), _) => Err(Usage(
            "`--algo tuned` is what was measured on this CPU for one instruction set: leave `--target` out, and take \
             another `--isa` than `dispatch`"
                .to_owned(),
        )
        .into()),
    }
}

/// Each file to write, once.
fn files(args: &Args) -> Vec<(Kind, PathBuf)> {
    let mut kinds: Vec<Kind> = Vec::new();
    for &kind in &args.emit {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    if let [only] = *kinds {
        return vec![(only, args.output.clone())];
    }
    let name = |kind: Kind| {
        let mut name: OsString = args.output.clone().into();
        name.push(kind.ending());
        (kind, PathBuf::from(name))
    };
    kinds.into_iter().map(name).collect()
}

/// Writes all files, or takes back those that were new.
fn write(files: &[(Kind, PathBuf)], contents: &[Vec<u8>]) -> anyhow::Result<()> {
    let mut new: Vec<&Path> = Vec::new();
    for ((_, file), content) in files.iter().zip(contents) {
        let existed = file.exists();
        if let Err(error) = write_atomically(file, content) {
            for file in new {
                // Best effort: the first error is the one worth telling.
                let _ = fs::remove_file(file);
            }
            return Err(error).with_context(|| file.display().to_string());
        }
        new.extend((!existed).then_some(&**file));
    }
    Ok(())
}
