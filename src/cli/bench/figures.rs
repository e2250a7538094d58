//! [`Figures`], what one variant of a model was measured to do.

use std::time::{Duration, Instant};

use nin::train::{Recipe, init};
use nin::{Algos, Error, Graph, Isa, Model, Session};
use nin_dsl::graph::Op;
use nin_runtime::run::peak;
use serde_json::{Value, json};

use super::busy::{Busy, Watch};
use super::feed::Feed;
use super::layers::Layers;
use super::{Args, heading, program};
use crate::cli::check::params;
use crate::cli::show::Mode;
use crate::cli::terminal::Terminal;
use crate::cli::tuned::{cpu, mode};

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
    /// Half of the calls took within this share of the median.
    pub(super) spread: f64,
    busy: Busy,
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
        let graph = model.graph();
        let (machine, program) = program(model, args, terminal)?;
        args.perf.write(&program, terminal)?;
        let mut session = program.session(&init(graph, &Recipe::default()))?;
        let mut feed = Feed::new(graph, args.mode, args.batch)?;
        let before = peak::flops_per_second(machine.threads)?;
        let (times, watch) = times(&mut feed, &mut session, args.runs)?;
        let median = times[times.len() / 2];
        let busy = watch.end(median / times[0]);
        let median_ms = 1e3 * median;
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
            spread: spread(&times),
            busy,
            images_per_s,
            gflops: images_per_s * flops(graph, args.mode) as f64 / 1e9,
            // What else runs can hide some of it, but adds nothing to it.
            peak_gflops: before.max(peak::flops_per_second(machine.threads)?) / 1e9,
            layers: if args.layers { Some(layers(&feed, &mut session)?) } else { None },
        })
    }

    /// What was timed, in a line.
    pub(super) fn heading(&self) -> String {
        heading(&self.graph, self.mode, self.batch, self.threads, self.isa)
    }

    pub(super) fn percent_of_peak(&self) -> f64 {
        100.0 * self.gflops / self.peak_gflops
    }

    /// Why the figures say little, if they are those of a busy machine.
    pub(super) fn why_busy(&self) -> Option<String> {
        self.busy.why(self.threads)
    }

    /// All of it.
    pub(super) fn json(&self) -> Value {
        let mut all = json!({
            "model": self.graph.name(),
            "params": params(&self.graph),
            "mode": mode(self.mode.into()),
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
            "spread_percent": 100.0 * self.spread,
            "images_per_s": self.images_per_s,
            "gflops": self.gflops,
            "peak_gflops": self.peak_gflops,
            "percent_of_peak": self.percent_of_peak(),
            "layers": self.layers.as_ref().map_or(json!([]), Layers::json),
        });
        self.busy.tell(self.threads, &mut all);
        all
    }
}

/// Seconds of each call, in ascending order: of so many, or of as many as fit the budget.
fn times(
    feed: &mut Feed,
    session: &mut Session,
    runs: Option<u32>,
) -> Result<(Vec<f64>, Watch), Error> {
    feed.time(session)?;
    let watch = Watch::begin();
    let begin = Instant::now();
    let mut times = vec![];
    let enough = |done: usize| match runs {
        Some(runs) => done >= runs as usize,
        None => done >= MOST || done >= FEWEST && begin.elapsed() >= BUDGET,
    };
    while !enough(times.len()) {
        times.push(feed.time(session)?);
    }
    times.sort_by(f64::total_cmp);
    Ok((times, watch))
}

/// The share of the median within which half of some times lie, given in ascending order.
fn spread(times: &[f64]) -> f64 {
    let median = times[times.len() / 2];
    let mut distances: Vec<f64> = times.iter().map(|time| (time - median).abs()).collect();
    distances.sort_by(f64::total_cmp);
    // As many as half of them: the median itself is one.
    distances[(times.len() - 1) / 2] / median
}

/// Each part of a call.
fn layers(feed: &Feed, session: &mut Session) -> Result<Layers, Error> {
    let start = Instant::now();
    feed.parts(session, 1)?;
    // It ran twice: the first run warms up.
    let one = start.elapsed() / 2;
    let fit = BUDGET.as_secs_f64() / one.as_secs_f64().max(1e-6);
    Layers::new(feed.parts(session, (fit as usize).clamp(FEWEST, MOST))?)
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

/// The most memory this process has held so far, where the system tells.
fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_calls_lie_within_the_spread() {
        assert_eq!(spread(&[2.0]), 0.0);
        assert_eq!(spread(&[1.0, 1.0, 1.0, 9.0]), 0.0);
        assert_eq!(spread(&[1.0, 1.5, 2.0, 2.5, 30.0]), 0.25);
        for times in [vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0], vec![1.0, 1.1, 5.0]] {
            let (median, spread) = (times[times.len() / 2], spread(&times));
            let within = times.iter().filter(|&&time| (time - median).abs() <= spread * median);
            assert!(2 * within.count() >= times.len(), "{times:?}: {spread}");
        }
    }

    /// The GFLOP/s of every figure rest on this number.
    #[test]
    fn a_multiply_accumulate_is_two_operations() {
        let text = "< input(2, 4, 4) conv(3, kernel = 3) conv(5, kernel = 1) gap softmax >";
        let model = Model::from_text("m", text, &[]).unwrap();
        let [first, second] = [3 * 2 * 9 * 16, 5 * 3 * 16];
        assert_eq!(model.graph().macs_total(), first + second);
        assert_eq!(flops(model.graph(), Mode::Infer), 2 * (first + second));
        // Forward and both gradients, but for that of the images.
        assert_eq!(flops(model.graph(), Mode::Train), 2 * (2 * first + 3 * second));
    }
}
