//! `nin-fuzz`: campaigns without a guide, and what `fuzz/run` asks about targets.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command prints")]

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use nin_fuzz::{Mutator, Runner, TARGETS, Target, named, seeds};

/// How often a campaign says how far it is.
const REPORT: Duration = Duration::from_secs(10);

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List the targets.
    List,
    /// Run inputs that are drawn, or mutated from a target's seeds, until one breaks the promise.
    Run {
        target: String,
        /// How many.
        #[arg(long, default_value_t = 1_000_000)]
        runs: u64,
        /// The first of the seeds that inputs are drawn from.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Where an input that breaks the promise is put.
        #[arg(long, default_value = ".")]
        found: PathBuf,
        /// Go on after an input that breaks the promise.
        #[arg(long)]
        go_on: bool,
    },
    /// Run files.
    Replay { target: String, files: Vec<PathBuf> },
    /// Print the folders of a target's seeds.
    Folders { target: String },
    /// Print a target's words as libFuzzer reads them.
    Dictionary { target: String },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().verb {
        Verb::List => {
            TARGETS.iter().for_each(|Target { name, about, .. }| println!("{name:16}{about}"));
        }
        Verb::Run { target, runs, seed, found, go_on } => {
            Campaign { target: of_name(&target)?, runs, seed, found, go_on }.run()?;
        }
        Verb::Replay { target, files } => {
            let mut runner = Runner::new(of_name(&target)?);
            for file in files {
                let bytes = fs::read(&file).with_context(|| file.display().to_string())?;
                match runner.run(&bytes) {
                    Ok(()) => println!("{}: holds", file.display()),
                    Err(finding) => println!("{}: {finding}", file.display()),
                }
            }
        }
        Verb::Folders { target } => {
            of_name(&target)?.folders().for_each(|folder| println!("{folder}"));
        }
        Verb::Dictionary { target } => {
            for word in of_name(&target)?.words {
                let bytes: String = word.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
                println!("\"{bytes}\"");
            }
        }
    }
    Ok(())
}

fn of_name(name: &str) -> anyhow::Result<&'static Target> {
    named(name).with_context(|| format!("there is no target `{name}`: `nin-fuzz list`"))
}

/// A campaign without a guide.
struct Campaign {
    target: &'static Target,
    runs: u64,
    seed: u64,
    found: PathBuf,
    go_on: bool,
}

impl Campaign {
    fn run(&self) -> anyhow::Result<()> {
        let seeds: Vec<Vec<u8>> = seeds(self.target)?.into_iter().map(|(_, bytes)| bytes).collect();
        let mut runner = Runner::new(self.target);
        let mut mutator = Mutator::new(self.seed, &seeds, self.target.words);
        let (started, mut reported, mut broken) = (Instant::now(), Instant::now(), 0);
        fs::create_dir_all(&self.found).with_context(|| self.found.display().to_string())?;
        for run in 0..self.runs {
            let input = match self.target.generate {
                Some(generate) => generate(self.seed.wrapping_add(run)),
                None => mutator.input(),
            };
            if let Err(finding) = runner.run(&input) {
                broken += 1;
                let file = self.found.join(format!("{}-{}-{run}", self.target.name, self.seed));
                fs::write(&file, &input).with_context(|| file.display().to_string())?;
                eprintln!("{}: {finding}", file.display());
                if !self.go_on {
                    bail!("the promise is broken");
                }
            }
            if reported.elapsed() >= REPORT || run + 1 == self.runs {
                reported = Instant::now();
                let done = run + 1;
                let rate = done as f64 / started.elapsed().as_secs_f64();
                eprintln!("{}: {done} of {} runs, {rate:.0} a second", self.target.name, self.runs);
            }
        }
        if broken > 0 {
            bail!("the promise is broken by {broken} inputs");
        }
        Ok(())
    }
}
