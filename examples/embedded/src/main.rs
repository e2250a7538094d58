//! Classifies digits: `cargo run -p nin-example-embedded -- examples/seven.raw`. A file holds an image of 28 x 28 bytes, row
//! by row.
//!
//! The model is machine code in the program, with its weights; the program depends on no crate.

use std::process::ExitCode;
use std::{env, fs};

/// The model.
mod digits {
    include!(concat!(env!("OUT_DIR"), "/digits.rs"));
}

/// The likeliest class of an image and its probability.
fn classify(net: &mut digits::Net, bytes: &[u8; digits::IMAGE]) -> (&'static str, f32) {
    let mut results = [[0.0; digits::OUTPUT]];
    net.forward(&[digits::normalise(bytes)], &mut results);
    let best = digits::CLASSES.into_iter().zip(results[0]).max_by(|a, b| a.1.total_cmp(&b.1));
    best.expect("there are classes")
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that speaks to people")]
fn main() -> ExitCode {
    let Some(mut net) = digits::Net::new() else {
        eprintln!("this CPU lacks the instructions that the model was compiled to");
        return ExitCode::FAILURE;
    };
    for file in env::args().skip(1) {
        let image = fs::read(&file).ok().and_then(|bytes| bytes.try_into().ok());
        let Some(image) = image else {
            eprintln!("{file}: no image of {} bytes", digits::IMAGE);
            return ExitCode::FAILURE;
        };
        let (class, probability) = classify(&mut net, &image);
        println!("{file}: {class} {:.1} %", 100.0 * probability);
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests;
