//! The `nin` command: arguments, exit codes and the way errors are told. A file a verb; nothing below here prints, reads
//! the environment or exits.

mod amounts;
mod bench;
mod check;
mod compile;
mod data;
mod eval;
mod explain;
mod features;
mod fmt;
mod help;
mod images;
mod init;
mod manual;
mod options;
mod palette;
mod pictures;
mod predict;
mod progress;
mod report;
mod run;
mod show;
mod signals;
mod sweep;
mod terminal;
mod train;
mod tuned;
mod variants;
mod visible;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use help::examples;
use options::{MachineArgs, Usage};
use terminal::{Terminal, of_results};

/// The model, the data or the environment is wrong.
const WRONG: u8 = 1;
/// The command line is wrong.
const USAGE: u8 = 2;
/// Ended by Ctrl-C: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

/// A compiler for Network-In-Network models.
///
/// A model is a text, such as `models/digits.nin`. nin checks it, compiles it to machine code for this CPU, and trains and
/// runs it.
///
/// Results go to standard output, everything else to standard error. The exit status is 0 if all went well, 1 if the
/// model, the data or the environment is wrong, 2 if the command line is wrong, and 130 after Ctrl-C.
#[derive(Parser)]
#[command(
    name = "nin",
    bin_name = "nin",
    version,
    propagate_version = true,
    max_term_width = 100,
    subcommand_value_name = "VERB",
    subcommand_help_heading = "Verbs",
    after_help = examples(&[
        ("Look at a model", "nin check models/digits.nin"),
        ("Train it on digits that ship inside nin", "nin train models/digits.nin --data mnist-10k"),
        ("All about one verb", "nin help train"),
    ])
)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
    /// Say nothing but results and errors.
    #[arg(short, long, global = true, conflicts_with = "verbose", display_order = 900)]
    quiet: bool,
    /// Say more about what is done.
    #[arg(short, long, global = true, display_order = 901)]
    verbose: bool,
}

#[derive(Subcommand)]
enum Verb {
    /// Check a model and print its layers.
    ///
    /// A row a layer: its arguments, its shapes, its parameters and multiply-accumulates, what a training step keeps of it,
    /// and how much of the input one of its outputs sees.
    Check(check::Args),
    /// Lay a model's file out in the canonical way.
    ///
    /// Comments stay, and so does all that the model means. A file that cannot be read as a model stays as it is.
    Fmt(fmt::Args),
    /// Explain a diagnostic at length.
    ///
    /// Every error and warning of the checker shows its code, and every code has an example and a way out.
    Explain(explain::Args),
    /// Print what the compiler makes of a model, stage by stage.
    ///
    /// From the text to machine code, each stage is made of the one before: ast, graph, train, fused, plan, clif, asm.
    Show(show::Args),
    /// Write fresh weights, as training would start from.
    ///
    /// The same model, recipe and seed give the same weights, which are those of `nin train` before its first step.
    Init(init::Args),
    /// Look at a dataset.
    ///
    /// How many images and classes there are, how they are spread, and the means and deviations that normalise pixels. The
    /// contact sheet has a row for each class.
    Data(data::Args),
    /// Train a model.
    ///
    /// What neither an option nor a recipe sets has a default. A run prints all of its settings and keeps them in its
    /// folder, beside the model, the weights and a line of figures a step. Ctrl-C saves, and `--resume` goes on to the
    /// same bits.
    Train(train::Args),
    /// Train every variant of one or more models, and compare them.
    ///
    /// The variants are the models' files, times the values of their parameters, times the seeds. Each is a run in a folder of its
    /// own; a sweep that was stopped goes on where it was. The table has the mean test error after the last epoch and how far the
    /// seeds spread.
    Sweep(sweep::Args),
    /// Measure accuracy and loss on a dataset.
    ///
    /// Images are normalised as they were when the weights were trained. The table is the confusion matrix: a row a true
    /// class, a column a predicted one.
    Eval(eval::Args),
    /// Draw the feature maps of the last layer that has maps.
    ///
    /// A row an image: the image, then a map for each channel, in the order of the classes where the layer has one for each.
    /// The strongest tenth of an image's activations is shown, as in the paper's figure 4.
    Features(features::Args),
    /// Name the classes of images.
    ///
    /// Images are resized, and grey and colours converted, to what the model reads, and normalised as they were when the
    /// weights were trained.
    Predict(predict::Args),
    /// Run arrays from NumPy files through a model.
    ///
    /// For whoever compares nin with another system: numbers are used as they are, and with labels there are the loss and
    /// its gradients too, dropout off.
    Run(run::Args),
    /// Time the generated kernels.
    ///
    /// A call is one that a program makes: arrays in, arrays out, or a whole training step. Beside its speed stands the
    /// most that this machine was measured to multiply and add at the same time.
    Bench(bench::Args),
    /// Compile a model to a library for C, C++ and Rust.
    ///
    /// What it makes needs neither nin nor any other library, allocates nothing, and may be called from any number of
    /// threads. Its header says how to call it.
    Compile(compile::Args),
    /// Print a shell's completions of `nin`.
    ///
    /// They complete verbs, options, their values, files, and the codes of diagnostics.
    Completions(manual::CompletionsArgs),
    /// Print or install the manual's pages.
    ///
    /// They say what `--help` says, in the form of `man`: a page for nin and one for each verb.
    Man(manual::ManArgs),
}

impl Verb {
    /// The choice of a machine, of verbs that run code.
    fn machine(&self) -> Option<&MachineArgs> {
        match self {
            Verb::Show(args) => Some(&args.machine),
            Verb::Train(args) => Some(&args.machine),
            Verb::Sweep(args) => Some(&args.machine),
            Verb::Eval(args) => Some(&args.machine),
            Verb::Features(args) => Some(&args.machine),
            Verb::Predict(args) => Some(&args.machine),
            Verb::Run(args) => Some(&args.machine),
            Verb::Bench(args) => Some(&args.machine),
            Verb::Check(_)
            | Verb::Fmt(_)
            | Verb::Explain(_)
            | Verb::Init(_)
            | Verb::Data(_)
            | Verb::Compile(_)
            | Verb::Completions(_)
            | Verb::Man(_) => None,
        }
    }
}

/// Runs the command.
pub(crate) fn main() -> ExitCode {
    let command = match Command::try_parse() {
        Ok(command) => command,
        Err(error) => {
            return told(&error);
        }
    };
    let terminal = Terminal::new(command.quiet, command.verbose);
    if let Some(machine) = command.verb.machine() {
        machine.warn(&terminal);
    }
    let done = match &command.verb {
        Verb::Check(args) => check::check(args, &terminal),
        Verb::Fmt(args) => fmt::fmt(args, &terminal),
        Verb::Explain(args) => explain::explain(args, &terminal),
        Verb::Show(args) => show::show(args, &terminal),
        Verb::Init(args) => init::init(args, &terminal),
        Verb::Data(args) => data::data(args, &terminal),
        Verb::Train(args) => train::train(args, &terminal),
        Verb::Sweep(args) => sweep::sweep(args, &terminal),
        Verb::Eval(args) => eval::eval(args, &terminal),
        Verb::Features(args) => features::features(args, &terminal),
        Verb::Predict(args) => predict::predict(args, &terminal),
        Verb::Run(args) => run::run(args, &terminal),
        Verb::Bench(args) => bench::bench(args, &terminal),
        Verb::Compile(args) => compile::compile(args, &terminal),
        Verb::Completions(args) => manual::completions(args, &terminal),
        Verb::Man(args) => manual::man(args, &terminal),
    };
    match done {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            terminal.error(&error);
            ExitCode::from(if error.is::<Usage>() { USAGE } else { WRONG })
        }
    }
}

/// Prints what clap says: help, which is a result, to standard output, mistakes to standard error.
fn told(error: &clap::Error) -> ExitCode {
    let printed = terminal::usage(error).and_then(|()| io::stdout().flush()).map_err(of_results);
    match printed {
        Err(failed) if !error.use_stderr() && failed.kind() != io::ErrorKind::BrokenPipe => {
            Terminal::new(false, false).error(&failed.into());
            ExitCode::from(WRONG)
        }
        _ => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE)),
    }
}

/// Whether whoever read standard output has seen enough.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>();
        io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// The lines of a command's examples, up to a pipe or a redirection.
    fn lines(command: &clap::Command) -> Vec<String> {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.lines().all(|line| line.chars().count() < 80), "{help}");
        let help = help.replace("\\\n", "");
        let lines = help.lines().filter_map(|line| line.strip_prefix("  nin "));
        let own = |line: &str| line.split(['|', '>']).next().unwrap_or_default().to_owned();
        lines.map(own).collect()
    }

    #[test]
    fn every_verb_has_examples_and_they_parse() {
        let nin = Command::command();
        nin.clone().debug_assert();
        for command in [&nin].into_iter().chain(nin.get_subcommands()) {
            let (name, lines) = (command.get_name(), lines(command));
            assert!((2..=4).contains(&lines.len()), "{name}: {lines:?}");
            for line in lines {
                let parsed =
                    Command::try_parse_from(["nin"].into_iter().chain(line.split_whitespace()));
                let help =
                    |error: &clap::Error| error.kind() == clap::error::ErrorKind::DisplayHelp;
                assert!(parsed.as_ref().err().is_none_or(help), "nin {line}: {:?}", parsed.err());
            }
        }
    }
}
