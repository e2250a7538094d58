//! [`Figures`], what one variant of a model was measured to do.

use std::time::{Duration, Instant};

use nin::ndarray::Array4;
use nin::train::{Recipe, init};
use nin::{Algos, Error, Graph, Hyper, Isa, Model, Session, StepParams};
use nin_dsl::graph::Op;
use nin_runtime::exec::zeroed_images;
use nin_runtime::peak;
use serde_json::{Value, json};

use super::layers::Layers;
use super::{Args, word};
use crate::cli::check::params;
use crate::cli::options::compiled;
use crate::cli::show::Mode;
use crate::cli::terminal::Terminal;

/// How long to measure if not told how often.
const BUDGET: Duration = Duration::from_secs(3);
/// Fewest calls, so that a median means something.
const FEWEST: usize = 5;
/// Most calls.
const MOST: usize = 500;

/// One variant of a model, and how fast it is.
pub(super) struct Figures {
    pub(super) graph: Graph,
    pub(super) mode: Mode,
    pub(super) batch: usize,
    pub(super) threads: usize,
    pub(super) isa: Isa,
    pub(super) algo: Algos,
    pub(super) compile_ms: f64,
    pub(super) code_bytes: u64,
    pub(super) arena_bytes: u64,
    /// The most memory the process has held so far, where the system tells.
    pub(super) peak_rss_bytes: Option<u64>,
    pub(super) runs: usize,
    pub(super) median_ms: f64,
    pub(super) min_ms: f64,
    pub(super) images_per_s: f64,
    pub(super) gflops: f64,
    pub(super) peak_gflops: f64,
    pub(super) layers: Option<Layers>,
}

impl Figures {
    /// Compiles a model and times its calls.
    pub(super) fn measure(
        model: &Model,
        args: &Args,
        terminal: &Terminal,
    ) -> anyhow::Result<Figures> {
        let (graph, machine) = (model.graph(), args.machine.machine());
        let program = model.compile(&machine.options(args.batch, args.mode.into()))?;
        compiled(&program, terminal);
        args.perf.write(&program, terminal)?;
        let mut feed = Feed::new(program.session(&init(graph, &Recipe::default()))?, args)?;
        let times = feed.times(args.runs)?;
        let median_ms = 1e3 * times[times.len() / 2];
        let images_per_s = 1e3 * args.batch as f64 / median_ms;
        Ok(Figures {
            graph: graph.clone(),
            mode: args.mode,
            batch: args.batch,
            threads: machine.threads,
            isa: program.isa(),
            algo: program.algo().clone(),
            compile_ms: 1e3 * program.compile_time().as_secs_f64(),
            code_bytes: program.code_bytes() as u64,
            arena_bytes: program.arena_bytes() as u64,
            peak_rss_bytes: peak_rss_bytes(),
            runs: times.len(),
            median_ms,
            min_ms: 1e3 * times[0],
            images_per_s,
            gflops: images_per_s * flops(graph, args.mode) as f64 / 1e9,
            peak_gflops: peak::flops_per_second(machine.threads) / 1e9,
            layers: if args.layers { Some(feed.layers()?) } else { None },
        })
    }

    pub(super) fn percent_of_peak(&self) -> f64 {
        100.0 * self.gflops / self.peak_gflops
    }

    /// All of it.
    pub(super) fn json(&self) -> Value {
        json!({
            "model": self.graph.name,
            "params": params(&self.graph),
            "mode": word(self.mode),
            "batch": self.batch,
            "threads": self.threads,
            "isa": self.isa.to_string(),
            "algo": self.algo.to_string(),
            "cpu": cpu(),
            "compile_ms": self.compile_ms,
            "code_bytes": self.code_bytes,
            "arena_bytes": self.arena_bytes,
            "peak_rss_bytes": self.peak_rss_bytes,
            "runs": self.runs,
            "median_ms": self.median_ms,
            "min_ms": self.min_ms,
            "images_per_s": self.images_per_s,
            "gflops": self.gflops,
            "peak_gflops": self.peak_gflops,
            "percent_of_peak": self.percent_of_peak(),
            "layers": self.layers.as_ref().map_or(json!([]), Layers::json),
        })
    }
}

/// A session and what it is fed.
struct Feed {
    mode: Mode,
    session: Session,
    images: Array4<f32>,
    labels: Vec<u32>,
}

impl Feed {
    fn new(session: Session, args: &Args) -> Result<Feed, Error> {
        let graph = session.program().graph();
        let mut images = zeroed_images(args.batch, graph.input())?;
        // Any numbers of the size of normalised pixels: a cheap sequence that does not repeat within a row.
        for ((n, c, y, x), pixel) in images.indexed_iter_mut() {
            *pixel = ((n * 131 + c * 61 + y * 17 + x * 29) % 97) as f32 / 48.0 - 1.0;
        }
        let classes = graph.output().elements();
        let labels = (0..args.batch).map(|image| (image % classes) as u32).collect();
        Ok(Feed { mode: args.mode, session, images, labels })
    }

    /// Seconds of each call, in ascending order: of so many, or of as many as fit the budget.
    fn times(&mut self, runs: Option<u32>) -> Result<Vec<f64>, Error> {
        let Feed { mode, session, images, labels } = self;
        // Too small a rate to change what is computed.
        let weights = session.program().graph().weights.len();
        let hyper = vec![Hyper { lr: 1e-6, momentum: 0.9, decay: 1e-4 }; weights];
        let mut step = 0;
        // The sum keeps the results in use.
        let mut call = || match mode {
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
        let enough = |done: usize| match runs {
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
    fn layers(&mut self) -> Result<Layers, Error> {
        let mut profile = |runs: usize| match self.mode {
            Mode::Infer => self.session.profile_forward(self.images.view(), runs),
            Mode::Train => self.session.profile_step(self.images.view(), &self.labels, runs),
        };
        let start = Instant::now();
        profile(1)?;
        // It ran twice: the first run warms up.
        let one = start.elapsed() / 2;
        let fit = BUDGET.as_secs_f64() / one.as_secs_f64().max(1e-6);
        Ok(Layers::new(profile((fit as usize).clamp(FEWEST, MOST))?))
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
pub(super) fn cpu() -> String {
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
