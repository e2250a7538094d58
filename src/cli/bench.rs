//! `nin bench`: how long one public call takes, beside this machine's peak.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nin::ndarray::Array4;
use nin::train::{Recipe, init};
use nin::{Error, Graph, Hyper, Options, PartTime, Session, StepParams};
use nin_dsl::graph::Op;
use nin_runtime::exec::zeroed_images;
use nin_runtime::peak;
use serde_json::json;

use super::check::{bytes, grouped, params, threads};
use super::help::examples;
use super::options::{MachineArgs, ModelArgs, batch, compiled, whole};
use super::show::Mode;
use super::terminal::Terminal;

/// How long to measure if not told how often.
const BUDGET: Duration = Duration::from_secs(3);
/// Fewest calls, so that a median means something.
const FEWEST: usize = 5;
/// Most calls.
const MOST: usize = 500;

#[derive(clap::Args)]
#[command(after_help = examples(&[
    ("Inference, 128 images a call", "nin bench models/digits.nin"),
    ("A training step on one thread", "nin bench models/digits.nin --mode train --threads 1"),
    ("One image a call, for a program to read", "nin bench models/digits.nin --batch 1 --json"),
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
    /// Calls to time [default: as many as fit three seconds].
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1..=1_000_000), allow_negative_numbers = true)]
    runs: Option<u32>,
    /// Time every part of the generated code, too, on one thread.
    #[arg(long)]
    layers: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: MachineArgs,
}

pub(crate) fn bench(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let model = args.model.load(terminal)?;
    let (graph, machine) = (model.graph(), args.machine.machine());
    let options = Options {
        batch: args.batch,
        threads: machine.threads,
        isa: machine.isa,
        purpose: args.mode.into(),
    };
    let program = model.compile(&options)?;
    compiled(&program, terminal);
    let mut bench = Bench::new(program.session(&init(graph, &Recipe::default()))?, args)?;
    let times = bench.times()?;
    let layers = if args.layers { bench.layers()? } else { vec![] };
    let median_ms = 1e3 * times[times.len() / 2];
    let min_ms = 1e3 * times[0];
    let images_per_s = 1e3 * args.batch as f64 / median_ms;
    let gflops = images_per_s * flops(graph, args.mode) as f64 / 1e9;
    let peak_gflops = peak::flops_per_second(machine.threads) / 1e9;
    let one_peak = if args.layers { peak::flops_per_second(1) / 1e9 } else { 0.0 };
    let percent_of_peak = 100.0 * gflops / peak_gflops;
    let compile_ms = 1e3 * program.compile_time().as_secs_f64();
    let (mode, cpu, peak_rss) = (word(args.mode), cpu(), peak_rss_bytes());
    let mut out = terminal.results();
    if args.json {
        let object = json!({
            "model": graph.name,
            "params": params(graph),
            "mode": mode,
            "batch": args.batch,
            "threads": machine.threads,
            "isa": program.isa().to_string(),
            "algo": "direct",
            "cpu": cpu,
            "compile_ms": compile_ms,
            "code_bytes": program.code_bytes(),
            "arena_bytes": program.arena_bytes(),
            "peak_rss_bytes": peak_rss,
            "runs": times.len(),
            "median_ms": median_ms,
            "min_ms": min_ms,
            "images_per_s": images_per_s,
            "gflops": gflops,
            "peak_gflops": peak_gflops,
            "percent_of_peak": percent_of_peak,
            "layers": layers.iter().map(|part| described(part, one_peak)).collect::<Vec<_>>(),
        });
        writeln!(out, "{object}")?;
    } else {
        let threads = threads(machine.threads);
        writeln!(out, "{} {mode}, batch {}, {threads}, {}", graph.name, args.batch, program.isa())?;
        writeln!(out, "cpu       {cpu}")?;
        writeln!(
            out,
            "compiled  {compile_ms:.1} ms, {} of code",
            bytes(program.code_bytes() as u64)
        )?;
        let rss = peak_rss.map_or("unknown".to_owned(), bytes);
        writeln!(
            out,
            "memory    {} of arena, process peak {rss}",
            bytes(program.arena_bytes() as u64)
        )?;
        writeln!(
            out,
            "time      {median_ms:.2} ms (median of {}; best {min_ms:.2} ms)",
            times.len()
        )?;
        writeln!(out, "speed     {} images/s", grouped(images_per_s as u64))?;
        writeln!(
            out,
            "          {gflops:.1} GFLOP/s, {percent_of_peak:.1} % of this machine's {peak_gflops:.1} on {threads}"
        )?;
        if args.layers {
            table(&layers, one_peak, &mut out)?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// A session and what it is fed.
struct Bench<'a> {
    args: &'a Args,
    session: Session,
    images: Array4<f32>,
    labels: Vec<u32>,
}

impl Bench<'_> {
    fn new(session: Session, args: &Args) -> Result<Bench<'_>, Error> {
        let graph = session.program().graph();
        let mut images = zeroed_images(args.batch, graph.input())?;
        // Any numbers of the size of normalised pixels: a cheap sequence that does not repeat within a row.
        for ((n, c, y, x), pixel) in images.indexed_iter_mut() {
            *pixel = ((n * 131 + c * 61 + y * 17 + x * 29) % 97) as f32 / 48.0 - 1.0;
        }
        let classes = graph.output().elements();
        let labels = (0..args.batch).map(|image| (image % classes) as u32).collect();
        Ok(Bench { args, session, images, labels })
    }

    /// Seconds of each call, in ascending order.
    fn times(&mut self) -> Result<Vec<f64>, Error> {
        let Bench { args, session, images, labels } = self;
        // Too small a rate to change what is computed.
        let weights = session.program().graph().weights.len();
        let hyper = vec![Hyper { lr: 1e-6, momentum: 0.9, decay: 1e-4 }; weights];
        let mut step = 0;
        // The sum keeps the results in use.
        let mut call = || match args.mode {
            Mode::Infer => session
                .forward(images.view())
                .map(|results| results.iter().map(|&x| f64::from(x)).sum()),
            Mode::Train => {
                let params = StepParams { step, seed: 1, hyper: &hyper, clip: None };
                step += 1;
                session.step(images.view(), labels, &params).map(|outcome| outcome.loss)
            }
        };
        call()?;
        let begin = Instant::now();
        let mut times = vec![];
        let enough = |done: usize| match args.runs {
            Some(runs) => done >= runs as usize,
            None => done >= MOST || done >= FEWEST && begin.elapsed() >= BUDGET,
        };
        while !enough(times.len()) {
            let start = Instant::now();
            call()?;
            times.push(start.elapsed().as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        Ok(times)
    }

    /// Each part of a call.
    fn layers(&mut self) -> Result<Vec<PartTime>, Error> {
        let mut profile = |runs: usize| match self.args.mode {
            Mode::Infer => self.session.profile_forward(self.images.view(), runs),
            Mode::Train => self.session.profile_step(self.images.view(), &self.labels, runs),
        };
        let start = Instant::now();
        profile(1)?;
        // It ran twice: the first run warms up.
        let one = start.elapsed() / 2;
        let fit = BUDGET.as_secs_f64() / one.as_secs_f64().max(1e-6);
        profile((fit as usize).clamp(FEWEST, MOST))
    }
}

/// GFLOP/s of a part.
fn speed(part: &PartTime) -> f64 {
    part.flops as f64 / part.time.as_secs_f64().max(1e-9) / 1e9
}

/// A part as JSON.
fn described(part: &PartTime, peak: f64) -> serde_json::Value {
    json!({
        "name": part.name,
        "kernel": part.what,
        "median_ms": 1e3 * part.time.as_secs_f64(),
        "gflops": speed(part),
        "percent_of_peak": 100.0 * speed(part) / peak,
        "bytes": part.bytes,
    })
}

/// A line a part, of one image on one thread.
fn table(parts: &[PartTime], peak: f64, out: &mut impl Write) -> std::io::Result<()> {
    let total: f64 = parts.iter().map(|part| part.time.as_secs_f64()).sum();
    writeln!(out, "\none image on one thread, whose peak is {peak:.1} GFLOP/s")?;
    writeln!(out, "      us  share  GFLOP/s  % peak     moved    GB/s  part")?;
    let mut block = "";
    for part in parts {
        if part.name != block {
            block = &part.name;
            writeln!(out, "{:>50}{block}", "")?;
        }
        let seconds = part.time.as_secs_f64().max(1e-9);
        let (gflops, percent) = match part.flops {
            0 => (String::new(), String::new()),
            _ => (format!("{:.1}", speed(part)), format!("{:.1}", 100.0 * speed(part) / peak)),
        };
        writeln!(
            out,
            "{:>8.1}  {:>4.1}%  {gflops:>7}  {percent:>6}  {:>8}  {:>6.1}    {}",
            1e6 * seconds,
            100.0 * seconds / total,
            bytes(part.bytes),
            part.bytes as f64 / seconds / 1e9,
            part.what
        )?;
    }
    writeln!(out, "{:>8.1}  all parts", 1e6 * total)
}

fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::Infer => "infer",
        Mode::Train => "train",
    }
}

/// Floating-point operations of one image by the direct algorithm: two a multiply-accumulate; in training, forward,
/// input gradient and weight gradient, but for the first convolution's input gradient, which nobody needs.
fn flops(graph: &Graph, mode: Mode) -> u64 {
    let total = graph.macs_total();
    let first = graph.ids().find(|&id| matches!(graph.node(id).op, Op::Conv { .. }));
    match mode {
        Mode::Infer => 2 * total,
        Mode::Train => 2 * (3 * total - first.map_or(0, |id| graph.macs(id))),
    }
}

/// The CPU's name, as Linux has it.
fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or(std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

/// The most memory this process has held so far, where the system tells.
fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
