//! Compiles a model several times, under names that libraries of the system have, and one of large images with its weights.

use std::path::PathBuf;
use std::{env, fs};

use nin_build::{Isa, Options, compile};

fn main() {
    let options = Options { isas: vec![Isa::Portable], ..Options::default() };
    for name in ["m", "c", "gcc_s", "z"] {
        compile("small.nin", &Options { name: Some(name.to_owned()), ..options.clone() });
    }
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo's folder"));
    let weights = out.join("large.safetensors");
    fs::write(&weights, large()).expect("a file");
    compile("large.nin", &Options { weights: Some(weights), ..options });
}

/// Weights of `large.nin` as a safetensors file: which channel is the brightest.
fn large() -> Vec<u8> {
    let tensors = r#"{"fc1.weight":{"dtype":"F32","shape":[3,3],"data_offsets":[0,36]},"fc1.bias":{"dtype":"F32","shape":[3],"data_offsets":[36,48]}}"#;
    let weights = [1.0f32, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0];
    let length = (tensors.len() as u64).to_le_bytes();
    let numbers = weights.iter().flat_map(|weight| weight.to_le_bytes());
    length.into_iter().chain(tensors.bytes()).chain(numbers).collect()
}
