//! What `nin bench --tune` measured, kept for `--algo tuned`: a file for each list of algorithms, in the user's cache.
//!
//! A list holds for one graph, on one kind of CPU, with one instruction set and by one version of nin, for inference or for
//! training: these decide which code runs and how fast. The number of threads and of images a call are told, but whoever
//! changes them keeps the list, so that the bits stay the same.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, anyhow};
use nin::{Algos, Graph, Isa, Model, Purpose};
use nin_dsl::limits::TEXT_BYTES;
use nin_runtime::file::{read_text, write_atomically};
use serde::{Deserialize, Serialize};

/// The word of `--algo` for the list that was measured.
const TUNED: &str = "tuned";
/// Characters of a model's name that its files begin with.
const NAME: usize = 40;
/// Stands above every list.
const ABOUT: &str = "\
# The algorithms of convolutions that `nin bench --tune` found fastest, for `--algo tuned`.
# They count where all below `[key]` is the same. This file may be deleted at any time.
";

/// The value of `--algo`: a list, or hints on top of the one that was measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum AlgoArg {
    /// A list as it is.
    Given(Algos),
    /// What was measured, and what counts more.
    Tuned(Algos),
}

impl FromStr for AlgoArg {
    type Err = String;

    fn from_str(text: &str) -> Result<AlgoArg, String> {
        let (tuned, others): (Vec<&str>, Vec<&str>) =
            text.split(',').partition(|&part| part == TUNED);
        if tuned.is_empty() {
            return Ok(AlgoArg::Given(text.parse()?));
        }
        let mut rest = others.iter().chain(&tuned[1..]).filter(|part| !part.contains('='));
        if let Some(second) = rest.next() {
            return Err(format!(
                "`{second}` is a second choice for the whole model beside `{TUNED}`"
            ));
        }
        let others = others.join(",");
        Ok(AlgoArg::Tuned(if others.is_empty() { Algos::default() } else { others.parse()? }))
    }
}

/// What a list holds for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Key {
    /// The version of nin.
    nin: String,
    /// The CPU's name.
    cpu: String,
    /// The instruction set.
    isa: String,
    /// What the model is compiled for.
    mode: String,
    /// The graph, as `nin show --stage graph` prints it.
    graph: String,
}

/// A file of the cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// The list.
    pub(crate) algo: String,
    /// Images a call, when it was measured.
    pub(crate) batch: usize,
    /// Threads, when it was measured.
    pub(crate) threads: usize,
    /// What it holds for.
    pub(crate) key: Key,
}

/// The mode that measures what a program is compiled for.
pub(crate) fn mode(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Inference => "infer",
        Purpose::Training => "train",
    }
}

impl Key {
    /// What a list for a program on this machine holds for.
    pub(crate) fn of(graph: &Graph, isa: Isa, purpose: Purpose) -> Key {
        let isa = match isa {
            Isa::Auto => Isa::available().last().unwrap_or(Isa::Portable),
            named => named,
        };
        Key {
            nin: env!("CARGO_PKG_VERSION").to_owned(),
            cpu: cpu(),
            isa: isa.to_string(),
            mode: mode(purpose).to_owned(),
            graph: graph.to_string(),
        }
    }

    /// Where the list is kept: a name that tells people what it is for, and a hash that tells keys apart.
    ///
    /// # Errors
    /// An environment that says of no place.
    pub(crate) fn file(&self, graph: &Graph) -> anyhow::Result<PathBuf> {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let name: String = graph.name().chars().map(plain).take(NAME).collect();
        let Key { nin, cpu, isa, mode, graph } = self;
        let hash = hash(&[nin, cpu, isa, mode, graph].map(String::as_str).join("\n"));
        Ok(folder()?.join(format!("{name}-{mode}-{isa}-{hash:016x}.toml")))
    }
}

/// Makes the cache's folder, so that nobody measures in vain.
///
/// # Errors
/// Those of the file system.
pub(crate) fn prepare(file: &Path) -> anyhow::Result<()> {
    let folder = file.parent().expect("every list lies in the cache's folder (a bug in nin)");
    fs::create_dir_all(folder).with_context(|| {
        format!("no cache for what is measured: {} cannot be made", folder.display())
    })
}

/// Keeps a list; one that was there for the same key is replaced.
///
/// # Errors
/// Those of the file system.
pub(crate) fn keep(file: &Path, entry: &Entry) -> anyhow::Result<()> {
    let text = toml::to_string_pretty(entry).expect("plain data is TOML");
    let written = write_atomically(file, format!("{ABOUT}{text}").as_bytes());
    written.with_context(|| format!("the list cannot be kept: {}", file.display()))
}

impl AlgoArg {
    /// The algorithms for a model.
    ///
    /// # Errors
    /// If they are to be those measured, and there are none.
    pub(crate) fn algos(&self, model: &Model, isa: Isa, purpose: Purpose) -> anyhow::Result<Algos> {
        match self {
            AlgoArg::Given(algos) => Ok(algos.clone()),
            AlgoArg::Tuned(others) => {
                let mut algos = find(model, isa, purpose)?;
                algos.hints.extend(others.hints.iter().cloned());
                Ok(Algos { depth: others.depth, ..algos })
            }
        }
    }
}

/// The list that was measured for a program on this machine.
///
/// # Errors
/// No list, or a file that holds none for this key.
fn find(model: &Model, isa: Isa, purpose: Purpose) -> anyhow::Result<Algos> {
    let graph = model.graph();
    let key = Key::of(graph, isa, purpose);
    let command = command(model, isa, purpose);
    let file = key.file(graph)?;
    let text = match File::open(&file).and_then(|file| read_text(file, TEXT_BYTES)) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(anyhow!(
                "`--algo {TUNED}`: nothing was measured for {} ({}, {}) on this CPU; measure it with: {command}",
                graph.name(),
                key.mode,
                key.isa
            ));
        }
        Err(error) => return Err(error).with_context(|| file.display().to_string()),
    };
    let algos = read(&text, &key, graph);
    algos.map_err(|problem| {
        anyhow!("{}: {problem}; measure it again with: {command}", file.display())
    })
}

/// The list in a file's text.
fn read(text: &str, key: &Key, graph: &Graph) -> Result<Algos, String> {
    let entry: Entry = toml::from_str(text)
        .map_err(|error| format!("not as `nin bench --tune` writes it ({})", error.message()))?;
    if entry.key != *key {
        return Err("the list of another model or machine".to_owned());
    }
    let algos: Algos = entry.algo.parse()?;
    algos.check(graph).map_err(|error| error.to_string())?;
    Ok(algos)
}

/// The command line that measures a list.
fn command(model: &Model, isa: Isa, purpose: Purpose) -> String {
    let params = model.graph().params().iter().map(|(name, value)| format!("-D {name}={value}"));
    let mode = match purpose {
        Purpose::Inference => None,
        Purpose::Training => Some("--mode train".to_owned()),
    };
    let isa = (isa != Isa::Auto).then(|| format!("--isa {isa}"));
    let words = [format!("nin bench {}", model.source().name)].into_iter().chain(params);
    let words = words.chain(mode).chain(isa).chain(["--tune".to_owned()]);
    words.collect::<Vec<_>>().join(" ")
}

/// The cache's folder: `nin/tuned` in `$XDG_CACHE_HOME`, or in `~/.cache`.
fn folder() -> anyhow::Result<PathBuf> {
    let set = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    // The standard has relative ones ignored.
    let cache = set.filter(|path| path.is_absolute());
    let cache = cache.or_else(|| Some(std::env::home_dir()?.join(".cache")));
    let cache = cache.context("no cache for what is measured: set XDG_CACHE_HOME or HOME")?;
    Ok(cache.join("nin").join(TUNED))
}

/// FNV-1a: the same wherever nin was built, which the standard library's hashes do not promise.
fn hash(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

/// The CPU's name, as Linux has it.
pub(crate) fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or(std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_stand_beside_what_was_measured() {
        let hints = |text: &str| match text.parse() {
            Ok(AlgoArg::Tuned(others)) => {
                others.hints.iter().map(ToString::to_string).collect::<Vec<_>>()
            }
            other => panic!("{text}: {other:?}"),
        };
        assert!(hints("tuned").is_empty());
        assert_eq!(
            hints("conv1=direct,tuned,conv2=winograd2"),
            ["conv1=direct", "conv2=winograd2"]
        );
        let deep = "tuned,depth-first=always".parse();
        let expected: Algos = "depth-first=always".parse().unwrap();
        assert_eq!(deep, Ok(AlgoArg::Tuned(expected)));
        assert_eq!("direct".parse(), Ok(AlgoArg::Given("direct".parse().unwrap())));
        for wrong in ["tuned,auto", "tuned,tuned", "tuned,", "conv1=tuned", "tuned,conv1=fast"] {
            assert!(wrong.parse::<AlgoArg>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_of_files_tell_keys_apart() {
        assert_eq!(hash(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash("a"), 0xaf63_dc4c_8601_ec8c);
    }
}
