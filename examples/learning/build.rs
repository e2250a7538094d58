//! Compiles the model's training.

fn main() {
    let options =
        nin_build::Options { train: true, batch: Some(32), ..nin_build::Options::default() };
    nin_build::compile("stripes.nin", &options);
}
