//! nin as `run.py` times it: a process that stays, and answers on standard output what it is asked on standard input. The
//! protocol is in `README.md` beside this file; the other systems speak it too.
#![expect(clippy::print_stdout, reason = "standard output is one end of the protocol")]

use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use nin::ndarray::Array4;
use nin::weights::WeightsFile;
use nin::{Algos, Hyper, Model, Options, Purpose, Session, StepParams};
use nin_runtime::run::peak;

/// What is timed, or checked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Forward calls.
    Forward,
    /// Training steps, at a rate too small to change what is computed.
    Training,
    /// Training steps that learn, without dropout.
    Losses,
}

/// A session and what it is fed.
struct Feed {
    mode: Mode,
    session: Session,
    images: Array4<f32>,
    labels: Vec<u32>,
    hyper: Vec<Hyper>,
    step: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, folder, mode, threads, batch, algo @ ..] = args.as_slice() else {
        return Err("usage: peer FOLDER MODE THREADS BATCH [ALGO]".into());
    };
    let algo = algo.first().map_or(Ok(Algos::default()), |word| word.parse())?;
    let mode = match mode.as_str() {
        "latency" | "inference" => Mode::Forward,
        "training" => Mode::Training,
        "losses" => Mode::Losses,
        other => return Err(format!("there is no mode `{other}`").into()),
    };
    let threads = threads.parse()?;
    let options = Options { batch: batch.parse()?, threads, algo, ..Options::default() };
    let mut feed = Feed::new(Path::new(folder), mode, options)?;
    if mode != Mode::Losses {
        (0..3).try_for_each(|_| feed.call().map(drop))?;
    }
    println!("ready nin {}", env!("CARGO_PKG_VERSION"));
    for line in io::stdin().lines() {
        match line?.split_once(' ') {
            Some(("run", count)) => {
                let times: Vec<String> =
                    (0..count.parse()?).map(|_| feed.time()).collect::<Result<_, _>>()?;
                println!("took {}", times.join(" "));
            }
            Some(("check", file)) => {
                fs::write(file, feed.results()?)?;
                println!("done");
            }
            Some(("peak", _)) => println!("peak {}", peak::flops_per_second(threads)?),
            _ => return Err("expected `run COUNT`, `check FILE` or `peak THREADS`".into()),
        }
    }
    Ok(())
}

impl Feed {
    fn new(folder: &Path, mode: Mode, options: Options) -> Result<Feed, Box<dyn Error>> {
        let batch = options.batch;
        let model = if mode == Mode::Losses { "without-dropout.nin" } else { "model.nin" };
        let model = Model::from_file(folder.join(model), &[])?;
        let purpose = if mode == Mode::Forward { Purpose::Inference } else { Purpose::Training };
        let program = model.compile(&Options { purpose, ..options })?;
        let weights = WeightsFile::read(&folder.join("weights.safetensors"))?;
        let session = program.session(&weights.weights(model.graph())?)?;
        let input = model.graph().input();
        let shape = (batch, input.channels(), input.height(), input.width());
        let images = words(&folder.join("images.f32"), batch * input.elements())?;
        let images = images.into_iter().map(f32::from_le_bytes).collect();
        let labels = words(&folder.join("labels.u32"), batch)?;
        let lr = if mode == Mode::Losses { 0.01 } else { 1e-6 };
        Ok(Feed {
            mode,
            session,
            images: Array4::from_shape_vec(shape, images)?,
            labels: labels.into_iter().map(u32::from_le_bytes).collect(),
            hyper: vec![Hyper { lr, momentum: 0.9, decay: 1e-4 }; model.graph().weights().len()],
            step: 0,
        })
    }

    /// One call, and what it gives: every probability, or the loss.
    fn call(&mut self) -> Result<Vec<f32>, nin::Error> {
        if self.mode == Mode::Forward {
            return Ok(self.session.forward(self.images.view())?.into_raw_vec_and_offset().0);
        }
        let params =
            StepParams { step: self.step, seed: 1, hyper: &self.hyper, ..StepParams::default() };
        self.step += 1;
        let outcome = self.session.step(self.images.view(), &self.labels, &params)?;
        Ok(vec![outcome.loss as f32])
    }

    /// Seconds of a call.
    fn time(&mut self) -> Result<String, nin::Error> {
        let start = Instant::now();
        self.call()?;
        Ok(start.elapsed().as_secs_f64().to_string())
    }

    /// What the systems must agree on: the probabilities, or the losses of five steps.
    fn results(&mut self) -> Result<Vec<u8>, nin::Error> {
        let calls = if self.mode == Mode::Losses { 5 } else { 1 };
        let results: Vec<Vec<f32>> = (0..calls).map(|_| self.call()).collect::<Result<_, _>>()?;
        Ok(results.iter().flatten().flat_map(|value| value.to_le_bytes()).collect())
    }
}

/// The first words of a file.
fn words(file: &Path, count: usize) -> Result<Vec<[u8; 4]>, Box<dyn Error>> {
    let bytes = fs::read(file)?;
    let words = bytes.as_chunks().0;
    Ok(words.get(..count).ok_or("the file is too short")?.to_vec())
}
