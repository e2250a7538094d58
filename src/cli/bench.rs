//! `nin bench`: how long one public call takes, beside this machine's peak; for a model, or for each variant of a sweep.

mod busy;
mod feed;
mod figures;
mod layers;
mod plot;
mod sweep;
mod tune;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::ValueHint;
use nin::Machine;
use nin::{Graph, Isa, Model, Program};
use nin_runtime::file::write_atomically;

use super::amounts::{bytes, grouped, threads};
use super::help::examples;
use super::options::{MachineArgs, ModelArgs, PerfArgs, batch, compiled, keeps_apart, whole};
use super::show::Mode;
use super::terminal::Terminal;
use super::tuned::{Key, cpu, keep, mode, prepare};
use super::variants::{Axis, variants};
use figures::Figures;
use tune::Tuning;

#[derive(clap::Args)]
#[command(after_help = examples(&[
    ("Inference, 128 images a call", "nin bench models/digits.nin"),
    ("Where a training step on one thread spends its time", "nin bench models/digits.nin --mode train --threads 1 --layers"),
    ("Three variants, and a plot of them", "nin bench models/digits.nin --sweep width=16,32,64 --plot width.svg"),
    ("The fastest algorithms here, for `--algo tuned`", "nin bench models/digits.nin --tune"),
]))]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Time a forward call, or a training step.
    #[arg(long, value_name = "MODE", value_enum, default_value_t = Mode::Infer)]
    mode: Mode,
    /// Images a call.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = batch(), allow_negative_numbers = true)]
    batch: usize,
    /// Calls to time, or rounds of `--tune` [default: as many as fit a few seconds].
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1..=1_000_000), allow_negative_numbers = true)]
    runs: Option<u32>,
    /// Time every part of the generated code, too, on one thread.
    #[arg(long, conflicts_with = "sweep")]
    layers: bool,
    /// Time a variant for each value of a parameter; repeated, for each combination.
    #[arg(long, value_name = "NAME=A,B,...", value_parser = Axis::parse)]
    sweep: Vec<Axis>,
    /// Measure which algorithms of convolutions are fastest here, and keep the list for `--algo tuned`.
    ///
    /// Each product of each convolution is timed by the algorithm that `auto` takes and by those that cost about as much.
    /// Others than `auto`'s count if they save 3 % of a product's time, and 1 % of the whole call's. The list is kept in
    /// `$XDG_CACHE_HOME/nin` or `~/.cache/nin`, for this model, CPU, instruction set and mode.
    #[arg(long, conflicts_with_all = ["sweep", "layers", "given", "perf_map"])]
    tune: bool,
    /// Draw the sweep: speed and share of the peak against the parameter.
    #[arg(long, value_name = "OUT.svg", value_hint = ValueHint::FilePath, requires = "sweep")]
    plot: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) machine: MachineArgs,
    #[command(flatten)]
    perf: PerfArgs,
}

pub(crate) fn bench(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    if !args.sweep.is_empty() {
        return swept(args, terminal);
    }
    let model = args.model.load(terminal)?;
    if args.tune {
        return tuned(&model, args, terminal);
    }
    let figures = Figures::measure(&model, args, terminal)?;
    let mut out = terminal.results();
    if args.json {
        writeln!(out, "{}", figures.json())?;
    } else {
        print(&figures, &mut out)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The program to be timed, and the machine that it is for.
fn program(model: &Model, args: &Args, terminal: &Terminal) -> anyhow::Result<(Machine, Program)> {
    let machine = args.machine.machine(model, args.mode.into())?;
    let program = model.compile(&machine.options(args.batch, args.mode.into()))?;
    compiled(&program, terminal);
    Ok((machine, program))
}

/// Measures the choice of algorithms and keeps it.
fn tuned(model: &Model, args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let key = Key::of(model.graph(), args.machine.isa(), args.mode.into());
    let file = key.file(model.graph())?;
    prepare(&file)?;
    let tuning = Tuning::measure(model, args, terminal)?;
    // What was measured is told even if it cannot be kept.
    let kept = keep(&file, &tuning.entry(key));
    let mut out = terminal.results();
    if args.json {
        writeln!(out, "{}", tuning.json(&file))?;
    } else {
        tuning.print(&mut out)?;
        if kept.is_ok() {
            writeln!(out, "kept      {}", file.display())?;
        }
    }
    out.flush()?;
    kept.map(|()| ExitCode::SUCCESS)
}

/// Every variant of a sweep, a line as soon as it is timed.
fn swept(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    if let Some(file) = &args.plot {
        keeps_apart(file, &[&args.model.model])?;
        check_folder(file)?;
    }
    let variants = variants(&args.model, &args.sweep, terminal)?;
    let mut out = terminal.results();
    let mut figures = vec![];
    for variant in &variants {
        let one = Figures::measure(&variant.model, args, terminal)?;
        if !args.json {
            if figures.is_empty() {
                writeln!(out, "{}\ncpu       {}", one.heading(), cpu())?;
                writeln!(out, "GFLOP/s   {NOMINAL}\n")?;
                sweep::head(&args.sweep, &mut out)?;
            }
            sweep::row(&args.sweep, &variant.values, &one, &mut out)?;
            out.flush()?;
        }
        figures.push(one);
    }
    if args.json {
        writeln!(out, "{}", sweep::json(&args.sweep, &figures))?;
        out.flush()?;
    }
    if let Some(file) = &args.plot {
        let points: Vec<_> =
            variants.iter().map(|variant| &*variant.values).zip(&figures).collect();
        let svg = plot::plot(&args.sweep, &points)?;
        write_atomically(file, svg.as_bytes()).with_context(|| file.display().to_string())?;
        terminal.note(format_args!("plot {}", file.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// A plot that cannot be written should be known before minutes are spent on it.
fn check_folder(file: &Path) -> anyhow::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let there = folder.is_none_or(Path::is_dir) && !file.is_dir();
    ensure!(
        there,
        "{}: cannot be written: it is a folder, or its folder does not exist",
        file.display()
    );
    Ok(())
}

/// What is timed, in a line.
fn heading(graph: &Graph, kind: Mode, batch: usize, count: usize, isa: Isa) -> String {
    let (mode, threads) = (mode(kind.into()), threads(count));
    format!("{} {mode}, batch {batch}, {threads}, {isa}", graph.name())
}

fn print(figures: &Figures, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", figures.heading())?;
    writeln!(out, "cpu       {}", cpu())?;
    let code = bytes(figures.code_bytes);
    writeln!(out, "compiled  {:.1} ms, {code} of code", figures.compile_ms)?;
    let rss = figures.peak_rss_bytes.map_or("unknown".to_owned(), bytes);
    let arena = bytes(figures.arena_bytes);
    writeln!(out, "memory    {arena} of arena, process peak {rss}")?;
    let Figures { median_ms, min_ms, runs, spread, gflops, peak_gflops, .. } = figures;
    writeln!(
        out,
        "time      {median_ms:.2} ms (median of {runs}, half of them within {:.1} % of it; best {min_ms:.2} ms)",
        100.0 * spread
    )?;
    tell_busy(figures.why_busy(), out)?;
    writeln!(out, "speed     {} images/s", grouped(figures.images_per_s as u64))?;
    writeln!(out, "          {gflops:.1} GFLOP/s, {NOMINAL}")?;
    writeln!(
        out,
        "          {:.1} % of the {peak_gflops:.1} GFLOP/s that {} can reach here",
        figures.percent_of_peak(),
        threads(figures.threads)
    )?;
    figures.layers.as_ref().map_or(Ok(()), |layers| layers.table(out))
}

/// What GFLOP/s are.
const NOMINAL: &str = "nominal: by the operations of the direct algorithm, borders included";

/// Says that the figures are those of a busy machine.
fn tell_busy(why: Option<String>, out: &mut impl Write) -> io::Result<()> {
    match why {
        Some(why) => writeln!(out, "busy      {why}: these figures say little"),
        None => Ok(()),
    }
}
