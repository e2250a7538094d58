//! `nin show`: what the compiler makes of a model.

mod dot;
mod svg;

use std::io::Write as _;
use std::process::ExitCode;

use clap::ValueEnum;
use nin::{Model, Options, Purpose};
use nin_runtime::compile::{self, Stage};

use super::options::{MachineArgs, ModelArgs, batch};
use super::terminal::Terminal;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// What to print.
    #[arg(long, value_enum)]
    stage: StageArg,
    /// What the program is for; `ast`, `graph`, `dot` and `svg` are the same for both.
    #[arg(long, value_enum, default_value_t)]
    mode: Mode,
    /// Images a call may hold.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = batch())]
    batch: usize,
    #[command(flatten)]
    machine: MachineArgs,
}

/// What can be printed.
#[derive(Clone, Copy, ValueEnum)]
enum StageArg {
    /// The text as it was read, in canonical layout.
    Ast,
    /// The checked graph.
    Graph,
    /// The differentiated graph.
    Train,
    /// Ops fused into blocks.
    Fused,
    /// Steps, buffers and tiles.
    Plan,
    /// Cranelift's intermediate code.
    Clif,
    /// This machine's assembly.
    Asm,
    /// The graph for Graphviz.
    Dot,
    /// A picture of the network.
    Svg,
}

/// What a program is for.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Forward only.
    Infer,
    /// Forward, backward and update.
    #[default]
    Train,
}

impl From<Mode> for Purpose {
    fn from(mode: Mode) -> Purpose {
        match mode {
            Mode::Infer => Purpose::Inference,
            Mode::Train => Purpose::Training,
        }
    }
}

pub(crate) fn show(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let model = args.model.load(terminal)?;
    let stage = |stage| {
        let machine = args.machine.machine();
        let (batch, threads, isa, purpose) =
            (args.batch, machine.threads, machine.isa, args.mode.into());
        compile::show(model.graph(), &Options { batch, threads, isa, purpose }, stage)
    };
    let text = match args.stage {
        StageArg::Ast => ast(&model),
        StageArg::Graph => stage(Stage::Graph)?,
        StageArg::Train => stage(Stage::Train)?,
        StageArg::Fused => stage(Stage::Fused)?,
        StageArg::Plan => stage(Stage::Plan)?,
        StageArg::Clif => stage(Stage::Clif)?,
        StageArg::Asm => stage(Stage::Asm)?,
        StageArg::Dot => dot::dot(model.graph()),
        StageArg::Svg => svg::svg(model.graph()),
    };
    let mut out = terminal.results();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        writeln!(out)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The text as it was read.
fn ast(model: &Model) -> String {
    let read = nin_dsl::parse(model.source());
    read.expect("a checked text is a model (a bug in nin)").to_string()
}
