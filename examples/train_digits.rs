//! A model written in Rust, trained on the digits that ship inside nin.
//!
//! ```sh
//! cargo run --release --example train_digits
//! ```
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::error::Error;
use std::ops::ControlFlow;

use nin::Trainer;
use nin::data::Spec;
use nin::train::{Event, Recipe};

nin::nin! {
    /// A Network In Network for handwritten digits. Its shapes are checked while this file compiles.
    pub model Digits(width = 20, classes = 10) <
        input(1, 28, 28)
        mlpconv(width, width, kernel = 5)
        maxpool(3, stride = 2, round = ceil)
        mlpconv(2 * width, 2 * width, kernel = 5)
        maxpool(3, stride = 2, round = ceil)
        dropout(0.25)
        mlpconv(4 * width, classes, kernel = 5)
        gap
        softmax
    >
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("{} parameters, {} multiply-accumulates an image", Digits::PARAMS, Digits::MACS);
    let data = "mnist-10k".parse::<Spec>()?.load()?;
    let model = Digits::default().model()?;
    let recipe = Recipe { epochs: 3, ..Recipe::default() };
    let mut trainer = Trainer::new(&model, &data, recipe)?;
    trainer.run(|event| {
        if let Event::Epoch(report) = event {
            let accuracy = 100.0 * report.test.accuracy();
            println!("epoch {}: test accuracy {accuracy:.2} %", report.epoch);
        }
        // `Break` here would end the run early.
        ControlFlow::Continue(())
    })?;
    let weights = trainer.weights();
    let tensors = weights.tensors();
    println!(
        "{} tensors, from {} to {}",
        tensors.len(),
        tensors[0].name,
        tensors[tensors.len() - 1].name
    );
    Ok(())
}
