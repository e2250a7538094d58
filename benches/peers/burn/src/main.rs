//! burn as `run.py` times it, with its default backend for CPUs. The protocol is in `README.md`, one folder up.

mod network;

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::prelude::*;
use burn::tensor::activation::softmax;
use network::Network;

/// What trains a network.
struct Training {
    optimizer: ModuleOptimizer,
    loss: CrossEntropyLoss,
    labels: Tensor<1, Int>,
    rate: f64,
}

/// A network and what it is fed.
struct Feed {
    /// There between steps: an optimizer takes it and gives it back.
    network: Option<Network>,
    images: Tensor<4>,
    training: Option<Training>,
    is_softmax: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, folder, mode, threads, batch, _] = args.as_slice() else {
        return Err("usage: peer-burn FOLDER MODE THREADS BATCH VARIANT".into());
    };
    rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build_global()?;
    let mut feed = Feed::new(&PathBuf::from(folder), mode, batch.parse()?)?;
    if mode != "losses" {
        (0..3).for_each(|_| drop(feed.call()));
    }
    println!("ready burn 0.22.1");
    for line in io::stdin().lines() {
        match line?.split_once(' ') {
            Some(("run", count)) => {
                let times: Vec<String> = (0..count.parse()?).map(|_| feed.time()).collect();
                println!("took {}", times.join(" "));
            }
            Some(("check", file)) => {
                let calls = if mode == "losses" { 5 } else { 1 };
                let results = (0..calls).flat_map(|_| feed.call());
                fs::write(file, results.flat_map(f32::to_le_bytes).collect::<Vec<u8>>())?;
                println!("done");
            }
            _ => return Err("expected `run COUNT` or `check FILE`".into()),
        }
    }
    Ok(())
}

impl Feed {
    fn new(folder: &Path, mode: &str, batch: usize) -> Result<Feed, Box<dyn Error>> {
        let trains = matches!(mode, "training" | "losses");
        let device = if trains { Device::flex().autodiff() } else { Device::flex() };
        let check: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.join("check.json"))?)?;
        let layers = check["layers"].as_array().ok_or("check.json lists no layers")?;
        // Two systems never drop the same elements, so losses are compared without dropout.
        let layers: Vec<_> =
            layers.iter().filter(|x| mode != "losses" || x["kind"] != "dropout").collect();
        let network = Network::new(&layers, &folder.join("weights.safetensors"), &device)?;
        let [c, h, w] = network::sizes(&layers[0]["output"])?;
        let images = words(&folder.join("images.f32"), batch * c * h * w)?;
        let images: Vec<f32> = images.into_iter().map(f32::from_le_bytes).collect();
        let images = Tensor::from_data(TensorData::new(images, [batch, c, h, w]), &device);
        let training = trains.then(|| -> Result<Training, Box<dyn Error>> {
            let labels = words(&folder.join("labels.u32"), batch)?;
            let labels: Vec<i64> =
                labels.into_iter().map(|label| u32::from_le_bytes(label).into()).collect();
            let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
            let optimizer = SgdConfig::new()
                .with_momentum(Some(momentum))
                .with_weight_decay(Some(WeightDecayConfig::new(1e-4)))
                .init();
            Ok(Training {
                optimizer,
                loss: CrossEntropyLossConfig::new().init(&device),
                labels: Tensor::from_data(TensorData::new(labels, [batch]), &device),
                // Too small a rate to change what is computed, but where the losses are compared.
                rate: if mode == "losses" { 0.01 } else { 1e-6 },
            })
        });
        let is_softmax = layers.last().is_some_and(|layer| layer["kind"] == "softmax");
        Ok(Feed { network: Some(network), images, training: training.transpose()?, is_softmax })
    }

    /// One call, and what it gives: every probability, or the loss.
    fn call(&mut self) -> Vec<f32> {
        let network = self.network.take().expect("it comes back from every step");
        let outputs = network.forward(self.images.clone());
        let Some(training) = &mut self.training else {
            self.network = Some(network);
            let outputs = if self.is_softmax { softmax(outputs, 1) } else { outputs };
            return outputs.into_data().try_to_vec().expect("floats");
        };
        let loss = training.loss.forward(outputs, training.labels.clone());
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        self.network = Some(training.optimizer.step(training.rate, network, gradients));
        vec![loss.into_scalar()]
    }

    /// Seconds of a call.
    fn time(&mut self) -> String {
        let start = Instant::now();
        self.call();
        start.elapsed().as_secs_f64().to_string()
    }
}

/// The first words of a file.
fn words(file: &Path, count: usize) -> Result<Vec<[u8; 4]>, Box<dyn Error>> {
    let bytes = fs::read(file)?;
    Ok(bytes.as_chunks().0.get(..count).ok_or("the file is too short")?.to_vec())
}
