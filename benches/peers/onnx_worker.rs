//! What a system that reads ONNX is, to `run.py`: the protocol is in `README.md` beside this file.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What the command line asks for.
pub struct Job {
    /// The network.
    pub onnx: PathBuf,
    /// How many threads may work.
    pub threads: usize,
    /// [N, C, H, W].
    pub shape: [usize; 4],
    /// The images' pixels.
    pub images: Vec<f32>,
}

impl Job {
    /// Reads the command line, `FOLDER MODE THREADS BATCH VARIANT`, and the files.
    pub fn read() -> Result<Job, Box<dyn Error>> {
        let args: Vec<String> = std::env::args().collect();
        let [_, folder, mode, threads, batch, _] = args.as_slice() else {
            return Err("usage: PROGRAM FOLDER MODE THREADS BATCH VARIANT".into());
        };
        if !matches!(mode.as_str(), "latency" | "inference") {
            return Err("it does not train".into());
        }
        let folder = Path::new(folder);
        let check: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.join("check.json"))?)?;
        let sizes = check["input"].as_array().into_iter().flatten();
        let sizes: Vec<usize> = sizes.filter_map(|x| Some(x.as_u64()? as usize)).collect();
        let &[c, h, w] = sizes.as_slice() else {
            return Err("an input is a map of three sizes".into());
        };
        let count: usize = batch.parse()?;
        let bytes = fs::read(folder.join("images.f32"))?;
        let words = bytes.as_chunks().0.get(..count * c * h * w).ok_or("too few images")?;
        Ok(Job {
            onnx: folder.join(format!("model-{batch}.onnx")),
            threads: threads.parse()?,
            shape: [count, c, h, w],
            images: words.iter().map(|&word| f32::from_le_bytes(word)).collect(),
        })
    }
}

/// Answers until standard input ends. A call gives every probability.
pub fn serve(
    version: &str,
    mut call: impl FnMut() -> Result<Vec<f32>, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    for _ in 0..3 {
        call()?;
    }
    println!("ready {version}");
    for line in io::stdin().lines() {
        match line?.split_once(' ') {
            Some(("run", count)) => {
                let mut times = Vec::new();
                for _ in 0..count.parse()? {
                    let start = Instant::now();
                    call()?;
                    times.push(start.elapsed().as_secs_f64().to_string());
                }
                println!("took {}", times.join(" "));
            }
            Some(("check", file)) => {
                let results = call()?.into_iter();
                fs::write(file, results.flat_map(f32::to_le_bytes).collect::<Vec<u8>>())?;
                println!("done");
            }
            _ => return Err("expected `run COUNT` or `check FILE`".into()),
        }
    }
    Ok(())
}
