//! candle as `run.py` times it, on the CPU. The protocol is in `README.md`, one folder up.

mod network;

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::utils::get_num_threads;
use candle_core::{Device, Result as Computed, Tensor};
use candle_nn::ops::softmax;
use network::Network;

/// A network and what it is fed.
struct Feed {
    network: Network,
    images: Tensor,
    is_softmax: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, folder, mode, threads, batch, _] = args.as_slice() else {
        return Err("usage: peer-candle FOLDER MODE THREADS BATCH VARIANT".into());
    };
    if !matches!(mode.as_str(), "latency" | "inference") {
        return Err("candle has no gradient of a pool whose windows overlap".into());
    }
    // candle takes it from `RAYON_NUM_THREADS` alone.
    if get_num_threads() != threads.parse::<usize>()? {
        return Err(format!("set RAYON_NUM_THREADS to {threads}").into());
    }
    let feed = Feed::new(&PathBuf::from(folder), batch.parse()?)?;
    for _ in 0..3 {
        feed.call()?;
    }
    println!("ready candle 0.11.1");
    for line in io::stdin().lines() {
        match line?.split_once(' ') {
            Some(("run", count)) => {
                let count: usize = count.parse()?;
                let times = (0..count).map(|_| feed.time()).collect::<Computed<Vec<_>>>()?;
                println!("took {}", times.join(" "));
            }
            Some(("check", file)) => {
                let results = feed.call()?.into_iter();
                fs::write(file, results.flat_map(f32::to_le_bytes).collect::<Vec<u8>>())?;
                println!("done");
            }
            _ => return Err("expected `run COUNT` or `check FILE`".into()),
        }
    }
    Ok(())
}

impl Feed {
    fn new(folder: &Path, batch: usize) -> Result<Feed, Box<dyn Error>> {
        let check: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.join("check.json"))?)?;
        let layers = check["layers"].as_array().ok_or("check.json lists no layers")?;
        let network = Network::new(layers, &folder.join("weights.safetensors"))?;
        let [c, h, w] = network::sizes(&layers[0]["output"])?;
        let bytes = fs::read(folder.join("images.f32"))?;
        let words = bytes.as_chunks().0.get(..batch * c * h * w).ok_or("too few images")?;
        let images = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
        let images = Tensor::from_vec(images, (batch, c, h, w), &Device::Cpu)?;
        let is_softmax = layers.last().is_some_and(|layer| layer["kind"] == "softmax");
        Ok(Feed { network, images, is_softmax })
    }

    /// One call, and what it gives: every probability.
    fn call(&self) -> Computed<Vec<f32>> {
        let outputs = self.network.forward(&self.images)?;
        let outputs = if self.is_softmax { softmax(&outputs, 1)? } else { outputs };
        outputs.flatten_all()?.to_vec1()
    }

    /// Seconds of a call.
    fn time(&self) -> Computed<String> {
        let start = Instant::now();
        self.call()?;
        Ok(start.elapsed().as_secs_f64().to_string())
    }
}
