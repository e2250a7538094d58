//! Learns which way stripes run: `cargo run --release -p nin-example-learning`.
//!
//! A step of training is machine code in the program, which depends on no crate.

use std::process::ExitCode;

/// The model.
mod stripes {
    include!(concat!(env!("OUT_DIR"), "/stripes.rs"));
}

use stripes::{BATCH, CLASSES, IMAGE, INPUT, Net, OUTPUT, Rates, Settings, TENSORS};

/// Steps that teach it.
const STEPS: u64 = 50;

/// Random numbers, the same in every run.
struct Random(u64);

impl Random {
    /// From -1 to 1.
    fn number(&mut self) -> f32 {
        // Knuth's multiplier and increment; the upper bits are the random ones.
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// A whole number below `end`.
    fn below(&mut self, end: usize) -> usize {
        ((self.number() + 1.0) / 2.0 * end as f32) as usize % end
    }
}

/// A picture of stripes of one direction, with noise over it.
fn picture(random: &mut Random) -> ([f32; IMAGE], u32) {
    let (class, shift) = (random.below(CLASSES.len()), random.below(4));
    let [_, _, width] = INPUT;
    let image = std::array::from_fn(|pixel| {
        let (row, column) = (pixel / width, pixel % width);
        let along = [row, column, row + column, row + width - column][class];
        let stripe = if (along + shift) % 4 < 2 { 1.0 } else { -1.0 };
        stripe + 0.7 * random.number()
    });
    (image, class as u32)
}

/// Pictures and their classes.
fn pictures(random: &mut Random) -> ([[f32; IMAGE]; BATCH], [u32; BATCH]) {
    let (mut images, mut labels) = ([[0.0; IMAGE]; BATCH], [0; BATCH]);
    for (image, label) in images.iter_mut().zip(&mut labels) {
        (*image, *label) = picture(random);
    }
    (images, labels)
}

/// A net that knows nothing yet: small weights, and biases of 0.
fn begin(random: &mut Random) -> Option<Net> {
    let mut tensor = |(name, length): (&str, usize)| -> Vec<f32> {
        match name.ends_with(".bias") {
            true => vec![0.0; length],
            false => (0..length).map(|_| 0.4 * random.number()).collect(),
        }
    };
    let tensors = TENSORS.map(&mut tensor);
    Net::new(tensors.each_ref().map(Vec::as_slice), None)
}

/// How every step but its number is taken.
fn settings() -> Settings {
    let rates = [Rates { rate: 0.05, momentum: 0.9, decay: 1e-4 }; TENSORS.len()];
    Settings { rates, seed: 1, step: 0, clip: Some(5.0) }
}

/// The share of new pictures whose stripes it tells.
fn accuracy(net: &mut Net, random: &mut Random) -> f32 {
    let (images, labels) = pictures(random);
    let mut results = [[0.0; OUTPUT]; BATCH];
    net.forward(&images, &mut results);
    let right = results.iter().zip(labels).filter(|(result, label)| {
        let best = (0..OUTPUT).max_by(|&a, &b| result[a].total_cmp(&result[b]));
        best == Some(*label as usize)
    });
    right.count() as f32 / BATCH as f32
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that speaks to people")]
fn main() -> ExitCode {
    let mut random = Random(1);
    let Some(mut net) = begin(&mut random) else {
        eprintln!("this CPU lacks the instructions that the model was compiled to");
        return ExitCode::FAILURE;
    };
    let mut settings = settings();
    for step in 0..STEPS {
        settings.step = step;
        let (images, labels) = pictures(&mut random);
        let outcome = net.step(&images, &labels, &settings).expect("a full batch of classes");
        if (step + 1) % 5 == 0 {
            println!(
                "step {}: loss {:.4}, {} of {BATCH} right",
                step + 1,
                outcome.loss,
                outcome.correct
            );
        }
    }
    println!("of new pictures {:.1} % right", 100.0 * accuracy(&mut net, &mut random));
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests;
