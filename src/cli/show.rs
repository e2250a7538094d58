//! `nin show`: what the compiler makes of a model.

mod dot;
mod svg;

use std::io::Write as _;
use std::process::ExitCode;

use clap::ValueEnum;
use nin::{Model, Purpose};
use nin_runtime::compile::{self, Stage};

use super::help::examples;
use super::options::{MachineArgs, ModelArgs, batch};
use super::terminal::Terminal;

#[derive(clap::Args)]
#[command(after_help = examples(&[
    ("How the layers become functions and where tensors lie", "nin show models/digits.nin --stage plan"),
    ("The machine code for single images", "nin show models/digits.nin --stage asm --mode infer --batch 1 | less"),
    ("A drawing of the network", "nin show models/digits.nin --stage svg > digits.svg"),
]))]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// What to print.
    #[arg(long, value_name = "STAGE", value_enum)]
    stage: StageArg,
    /// What the program is for; `ast`, `graph`, `dot` and `svg` are the same for both.
    #[arg(long, value_name = "MODE", value_enum, default_value_t)]
    mode: Mode,
    /// Images a call may hold.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = batch(), allow_negative_numbers = true)]
    batch: usize,
    #[command(flatten)]
    pub(super) machine: MachineArgs,
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

impl StageArg {
    /// How to read a stage's text, as comments above it. What is a language of its own needs none, and a drawing neither.
    fn legend(self) -> &'static [&'static str] {
        match self {
            StageArg::Ast | StageArg::Dot | StageArg::Svg => &[],
            StageArg::Graph => &[
                "# The checked model: an op a line, in the order of evaluation. %3 is what op 3 yields.",
                "# Then its shape, channels x height x width of one image, and the layer it came from.",
                "# 5x5 s1 p2 is a window with its stride and its padding.",
                "",
            ],
            StageArg::Train => &[
                "# A training step: what is computed, and from what. d%3 is the gradient of the loss for %3,",
                "# and d with a name that for a weight. \"input_grad(d%4) of %4\" carries the gradient of what op 4",
                "# yields back to what it reads; behind the comma stands what the rule needs of the forward pass.",
                "",
            ],
            StageArg::Fused => &[
                "# The same computations, by function: each block is one. Left of the sign stands the last of the",
                "# values that a line makes: \"+ relu\" and \"+ mask\" (ReLU's gradient) are done as results are stored.",
                "",
            ],
            StageArg::Plan => &[
                "# Where it all happens. A chunk is the images that go through a block together, a slice those whose",
                "# gradients are summed together. \"tile 14x32 @832\": a tile of 14 rows (pixels) by 32 columns",
                "# (channels) stays in registers, and its packed weights start at float 832. Costs are of one image,",
                "# in thousands of multiply-adds. \"F(4x4, 5x5)\" is Winograd's algorithm: what a product reads goes",
                "# through a transform (v, dv, kv, kz), and what is multiplied (m, dm, kp) is brought back. A buffer is a",
                "# tensor's place in the memory of each thread, which others take before and after its blocks.",
                "",
            ],
            StageArg::Clif => &[
                "; Cranelift's intermediate code of every function. A callee such as u0:5 has its name above it.",
                ALIKE,
                TILE[0],
                TILE[1],
                "",
            ],
            StageArg::Asm => {
                &["; This CPU's instructions, function by function.", ALIKE, TILE[0], TILE[1], ""]
            }
        }
    }
}

/// How to read the names of functions that are several.
const ALIKE: &str = "; What differs only in where things lie is one function, which reads that from a table, \"offsets\".";

/// How to read a tile's name.
const TILE: [&str; 2] = [
    "; \"tile f32 14x20\" sums 14 rows by 20 columns in registers; a, b, c: strides of the matrices, in floats;",
    "; [2..14 k 3 @1/32]: rows 2 to 13 sum 3 products, from float 1 of A and 32 of B; then start and end of it.",
];

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
    let stage = |stage| -> anyhow::Result<String> {
        let machine = args.machine.machine(&model, args.mode.into())?;
        let options = machine.options(args.batch, args.mode.into());
        Ok(compile::show(model.graph(), &options, stage)?)
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
    for line in args.stage.legend() {
        writeln!(out, "{line}")?;
    }
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
