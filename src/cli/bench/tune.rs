//! [`Tuning`], which algorithms of convolutions are fastest here: `nin bench --tune`.
//!
//! Every program that is timed takes another algorithm for each product, all products at once, since each part of the code
//! is timed on its own: there are as many programs as the product with most rivals has algorithms, not as there are pairs.
//! They take turns, so that a machine that slows down slows all of them. What parts do alone on one thread is not yet what a
//! call does: the list that they suggest counts only if the whole call is faster by it.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use nin::train::{Recipe, init};

use nin::Machine;
use nin::{Algo, Algos, Graph, Isa, Model, Session};
use nin_runtime::compiler::plan::{Hint, Product, Rivals};
use serde_json::{Value, json};

use super::busy::{Busy, Watch};
use super::feed::Feed;
use super::{Args, heading, program, tell_busy};
use crate::cli::check::params;
use crate::cli::show::Mode;
use crate::cli::terminal::Terminal;
use crate::cli::tuned::{Entry, Key, cpu, mode};

/// Share of its time by which a product must be faster than by `auto`'s algorithm.
const PRODUCT_GAIN: f64 = 0.03;
/// Share by which the whole call must be: less is not worth code that differs from machine to machine.
const CALL_GAIN: f64 = 0.01;
/// How long to time parts, and then calls.
const BUDGET: Duration = Duration::from_secs(6);
/// Fewest and most rounds of either.
const ROUNDS: (usize, usize) = (7, 40);

/// From how long on people are told how long it takes.
const WAIT: Duration = Duration::from_secs(2);

/// What was measured, and the list that comes of it.
pub(super) struct Tuning {
    graph: Graph,
    mode: Mode,
    batch: usize,
    threads: usize,
    isa: Isa,
    products: Vec<Timed>,
    /// The call by `auto` and by the list that the products suggest; `None` if they suggest none.
    call: Option<Call>,
    busy: Busy,
}

/// A product of a layer's convolution.
struct Timed {
    layer: String,
    product: Product,
    /// Microseconds that an image takes by each algorithm, by `auto`'s first.
    times: Vec<(Algo, f64)>,
}

/// A whole call.
struct Call {
    suggested: Algos,
    auto_ms: f64,
    suggested_ms: f64,
}

impl Timed {
    fn auto(&self) -> (Algo, f64) {
        self.times[0]
    }

    /// What is to take the place of `auto`'s algorithm.
    fn better(&self) -> Option<(Algo, f64)> {
        let best = self.times.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
        best.filter(|(_, time)| gain(self.auto().1, *time) > PRODUCT_GAIN)
    }
}

impl Call {
    /// The list that is faster, `auto` if it is hardly slower.
    fn faster(&self) -> Algos {
        match gain(self.auto_ms, self.suggested_ms) > CALL_GAIN {
            true => self.suggested.clone(),
            false => Algos::default(),
        }
    }
}

/// The share of a time that another saves.
fn gain(before: f64, after: f64) -> f64 {
    1.0 - after / before
}

impl Tuning {
    /// Times the products of a model by every algorithm that may be fastest, and then the call.
    pub(super) fn measure(
        model: &Model,
        args: &Args,
        terminal: &Terminal,
    ) -> anyhow::Result<Tuning> {
        let graph = model.graph();
        let (machine, program) = program(model, args, terminal)?;
        let rivals = program.plan().rivals(graph);
        let chunk = program.plan().chunk;
        let watch = Watch::begin();
        let times = race(model, args, (&machine, chunk), &rivals, terminal)?;
        let products: Vec<Timed> = rivals
            .into_iter()
            .zip(times)
            .map(|(Rivals { layer, product, .. }, times)| Timed { layer, product, times })
            .collect();
        let hints: Vec<Hint> = products
            .iter()
            .filter_map(|timed| {
                let (algo, _) = timed.better()?;
                Some(Hint { layer: timed.layer.clone(), product: Some(timed.product), algo })
            })
            .collect();
        let call = if hints.is_empty() {
            None
        } else {
            let suggested = Algos { hints, ..Algos::default() };
            terminal.note("timing whole calls by `auto` and by what these times suggest");
            let lists = [Algos::default(), suggested.clone()];
            let [auto_ms, suggested_ms] = pit(model, args, &machine, lists, terminal)?;
            Some(Call { suggested, auto_ms, suggested_ms })
        };
        Ok(Tuning {
            graph: graph.clone(),
            mode: args.mode,
            batch: args.batch,
            threads: machine.threads,
            isa: program.isa(),
            products,
            call,
            // What is compared took turns, and medians count: how far single calls stray says nothing of it.
            busy: watch.end(1.0),
        })
    }

    /// The list that is fastest.
    fn algos(&self) -> Algos {
        self.call.as_ref().map_or(Algos::default(), Call::faster)
    }

    /// What the cache keeps.
    pub(super) fn entry(&self, key: Key) -> Entry {
        let algo = self.algos().to_string();
        Entry { algo, batch: self.batch, threads: self.threads, key }
    }

    /// All of it; `file` is where the list is kept.
    pub(super) fn json(&self, file: &Path) -> Value {
        let timed = |timed: &Timed| {
            let times = timed.times.iter();
            let times = times.map(|(algo, us)| json!({ "algo": algo.to_string(), "us": us }));
            json!({
                "layer": timed.layer,
                "product": timed.product.word(),
                "auto": timed.auto().0.to_string(),
                "best": timed.better().unwrap_or(timed.auto()).0.to_string(),
                "times": times.collect::<Vec<_>>(),
            })
        };
        let call = self.call.as_ref().map(|call| {
            json!({
                "suggested": call.suggested.to_string(),
                "auto_ms": call.auto_ms,
                "suggested_ms": call.suggested_ms,
            })
        });
        let mut all = json!({
            "model": self.graph.name(),
            "params": params(&self.graph),
            "mode": mode(self.mode.into()),
            "batch": self.batch,
            "threads": self.threads,
            "isa": self.isa.to_string(),
            "cpu": cpu(),
            "products": self.products.iter().map(timed).collect::<Vec<_>>(),
            "call": call,
            "algo": self.algos().to_string(),
            "file": file.display().to_string(),
        });
        self.busy.tell(self.threads, &mut all);
        all
    }

    /// A line a product, and what the call makes of them.
    pub(super) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let heading = heading(&self.graph, self.mode, self.batch, self.threads, self.isa);
        writeln!(out, "{heading}\ncpu       {}", cpu())?;
        tell_busy(self.busy.why(self.threads), out)?;
        writeln!(out)?;
        self.table(out)?;
        if let Some(Call { auto_ms, suggested_ms, .. }) = &self.call {
            let (least, percent) = (100.0 * CALL_GAIN, 100.0 * gain(*auto_ms, *suggested_ms));
            let told = match percent > least {
                true => format!("{percent:.1} % less"),
                false => format!("not {least:.0} % less, so `auto` stays"),
            };
            writeln!(
                out,
                "time      {auto_ms:.2} ms a call by `auto`, {suggested_ms:.2} ms by the best of each: {told}"
            )?;
        }
        writeln!(out, "list      --algo {}", self.algos())
    }

    fn table(&self, out: &mut impl Write) -> io::Result<()> {
        let name = |timed: &Timed| format!("{}.{}", timed.layer, timed.product.word());
        let width = self.products.iter().map(|timed| name(timed).len()).max();
        let Some(width) = width else {
            return writeln!(
                out,
                "each product has one algorithm that may pay: nothing to measure\n"
            );
        };
        writeln!(out, "one image on one thread:")?;
        writeln!(
            out,
            "{:width$}  {:<9}  {:>8}  {:<9}  {:>8}  {:>6}  others",
            "product", "auto", "us", "best", "us", "gain"
        )?;
        for timed in &self.products {
            let (auto, us) = timed.auto();
            let better = timed.better();
            let (best, best_us, saved) = match better {
                None => ["-", "", ""].map(str::to_owned).into(),
                Some((algo, best)) => (
                    algo.to_string(),
                    format!("{best:.1}"),
                    format!("{:.1} %", 100.0 * gain(us, best)),
                ),
            };
            let others = timed.times[1..].iter().filter(|&&other| better != Some(other));
            let others: Vec<String> =
                others.map(|(algo, time)| format!("{algo} {time:.1}")).collect();
            let line = format!(
                "{:width$}  {:<9}  {us:>8.1}  {best:<9}  {best_us:>8}  {saved:>6}  {}",
                name(timed),
                auto.to_string(),
                others.join(", ")
            );
            writeln!(out, "{}", line.trim_end())?;
        }
        writeln!(out)
    }
}

/// Times each product by each of its algorithms, in microseconds an image on one thread.
fn race(
    model: &Model,
    args: &Args,
    (machine, chunk): (&Machine, usize),
    rivals: &[Rivals],
    terminal: &Terminal,
) -> anyhow::Result<Vec<Vec<(Algo, f64)>>> {
    let graph = model.graph();
    let choices: usize = rivals.iter().map(|rivals| rivals.others.len()).sum();
    if choices == 0 {
        return Ok(vec![]);
    }
    terminal.note(format_args!(
        "timing {choices} algorithms beside those of `auto` for {} products",
        rivals.len()
    ));
    let machine = Machine { threads: 1, ..machine.clone() };
    let sessions = lists(rivals)
        .into_iter()
        .map(|algo| start(model, &Machine { algo, ..machine.clone() }, chunk, args.mode));
    let mut sessions: Vec<Session> = sessions.collect::<anyhow::Result<_>>()?;
    let feed = Feed::new(graph, args.mode, chunk)?;
    let mut samples = vec![vec![vec![]; rivals.len()]; sessions.len()];
    let mut rounds = Rounds::begin(args.runs);
    while rounds.go_on(terminal) {
        for (session, samples) in sessions.iter_mut().zip(&mut samples) {
            let parts = feed.parts(session, 1)?;
            for (rivals, samples) in rivals.iter().zip(samples) {
                let made = (rivals.node, rivals.product);
                let shared = parts.iter().filter(|part| part.products.contains(&made));
                samples.push(shared.map(|part| part.time.as_secs_f64()).sum());
            }
        }
    }
    let medians = samples.iter_mut().map(|samples| {
        samples.iter_mut().map(|samples| 1e6 * median(samples)).collect::<Vec<f64>>()
    });
    Ok(by_algorithm(rivals, &medians.collect::<Vec<_>>()))
}

/// A list of algorithms for each program that is timed: in the first every product has the one that `auto` takes, in the next its
/// first rival, and so on. A product that has no more rivals stays with `auto`.
fn lists(rivals: &[Rivals]) -> Vec<Algos> {
    let most = rivals.iter().map(|rivals| rivals.others.len()).max().unwrap_or(0);
    let list = |number: usize| {
        let hints = rivals.iter().filter_map(|rivals| {
            let algo = *rivals.others.get(number.checked_sub(1)?)?;
            Some(Hint { layer: rivals.layer.clone(), product: Some(rivals.product), algo })
        });
        Algos { hints: hints.collect(), ..Algos::default() }
    };
    (0..=most).map(list).collect()
}

/// The times of each product by its algorithms, of those that every program of [`lists`] took for every product.
fn by_algorithm(rivals: &[Rivals], times: &[Vec<f64>]) -> Vec<Vec<(Algo, f64)>> {
    let timed = rivals.iter().enumerate().map(|(at, rivals)| {
        let algos = [rivals.taken].into_iter().chain(rivals.others.iter().copied());
        algos.zip(times).map(|(algo, times)| (algo, times[at])).collect()
    });
    timed.collect()
}

/// Milliseconds of a call by each of two lists, which take turns at going first.
fn pit(
    model: &Model,
    args: &Args,
    machine: &Machine,
    lists: [Algos; 2],
    terminal: &Terminal,
) -> anyhow::Result<[f64; 2]> {
    let session = |algo| start(model, &Machine { algo, ..machine.clone() }, args.batch, args.mode);
    let [first, second] = lists;
    let mut sessions = [session(first)?, session(second)?];
    let mut feed = Feed::new(model.graph(), args.mode, args.batch)?;
    for session in &mut sessions {
        feed.time(session)?;
    }
    let mut times = [vec![], vec![]];
    let mut rounds = Rounds::begin(args.runs);
    while rounds.go_on(terminal) {
        let first = times[0].len() % 2;
        for number in [first, 1 - first] {
            times[number].push(feed.time(&mut sessions[number])?);
        }
    }
    Ok(times.map(|mut times| 1e3 * median(&mut times)))
}

/// A session for calls of so many images.
fn start(model: &Model, machine: &Machine, batch: usize, mode: Mode) -> anyhow::Result<Session> {
    let program = model.compile(&machine.options(batch, mode.into()))?;
    Ok(program.session(&init(model.graph(), &Recipe::default()))?)
}

/// Rounds of measurement: so many, or as many as fit the budget.
struct Rounds {
    runs: Option<u32>,
    done: usize,
    begin: Instant,
}

impl Rounds {
    fn begin(runs: Option<u32>) -> Rounds {
        Rounds { runs, done: 0, begin: Instant::now() }
    }

    /// Whether there is to be another; after the first it is known how long all take.
    fn go_on(&mut self, terminal: &Terminal) -> bool {
        let (fewest, most) = ROUNDS;
        let spent = self.begin.elapsed();
        if self.done == 1 {
            let fit = (BUDGET.as_secs_f64() / spent.as_secs_f64()) as usize;
            let rounds = self.runs.map_or(fit.clamp(fewest, most), |runs| runs as usize);
            let left = spent.as_secs_f64() * (rounds - 1) as f64;
            if left > WAIT.as_secs_f64() {
                terminal.note(format_args!("  {rounds} rounds, about {left:.0} s"));
            }
        }
        self.done += 1;
        match self.runs {
            Some(runs) => self.done <= runs as usize,
            None => self.done <= fewest || self.done <= most && spent < BUDGET,
        }
    }
}

/// The median of some times, at least one.
fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

#[cfg(test)]
mod tests {
    use nin::{Options, Purpose};

    use super::*;

    #[test]
    fn a_list_counts_if_the_whole_call_is_faster_by_it() {
        let suggested: Algos = "conv1=winograd2".parse().unwrap();
        let list = |suggested_ms: f64| {
            let call = Call { suggested: suggested.clone(), auto_ms: 100.0, suggested_ms };
            call.faster().to_string()
        };
        assert_eq!(list(98.5), "auto,conv1=winograd2");
        assert_eq!([list(99.5), list(101.0)], ["auto", "auto"]);
    }

    /// Each time must be that of the algorithm beside it: the program of a list computes by what the list says.
    #[test]
    fn a_time_is_given_to_the_algorithm_that_took_it() {
        let text = "< input(3, 16, 16) conv(16, kernel = 5, pad = same) relu conv(24, kernel = 3, pad = same) \
                    relu conv(8, kernel = 3, pad = same) gap softmax >";
        let model = Model::from_text("m", text, &[]).unwrap();
        let options = Options { batch: 8, purpose: Purpose::Training, ..Options::default() };
        let rivals = model.compile(&options).unwrap().plan().rivals(model.graph());
        let counts: Vec<usize> = rivals.iter().map(|rivals| rivals.others.len()).collect();
        assert!(counts.iter().any(|&count| count > 2) && counts.len() > 5, "{rivals:?}");
        // A time that tells its product and its algorithm apart from all others.
        let took = |at: usize, algo: Algo| -> f64 {
            let outputs = match algo {
                Algo::Outputs(outputs) => outputs,
                _ => 0,
            };
            (100 * at + outputs) as f64
        };
        let programs = lists(&rivals);
        let times: Vec<Vec<f64>> = programs
            .iter()
            .map(|list| {
                let algo = |rivals: &Rivals| match list.of(&rivals.layer, rivals.product) {
                    Algo::Auto => rivals.taken,
                    algo => algo,
                };
                rivals.iter().enumerate().map(|(at, one)| took(at, algo(one))).collect()
            })
            .collect();
        for (at, timed) in by_algorithm(&rivals, &times).iter().enumerate() {
            let algos: Vec<Algo> = timed.iter().map(|&(algo, _)| algo).collect();
            assert_eq!(algos[0], rivals[at].taken, "`auto`'s first");
            assert_eq!(algos[1..], rivals[at].others);
            for &(algo, time) in timed {
                assert_eq!(time, took(at, algo), "product {at}: {timed:?}");
            }
        }
    }

    #[test]
    fn another_algorithm_must_be_clearly_faster() {
        let timed = |others: &[(Algo, f64)]| Timed {
            layer: "conv1".to_owned(),
            product: Product::Forward,
            times: [&[(Algo::Direct, 100.0)], others].concat(),
        };
        let [two, four] = [Algo::Outputs(2), Algo::Outputs(4)];
        assert_eq!(timed(&[]).better(), None);
        assert_eq!(timed(&[(two, 97.5), (four, 120.0)]).better(), None);
        assert_eq!(timed(&[(two, 96.5), (four, 95.0)]).better(), Some((four, 95.0)));
    }
}
