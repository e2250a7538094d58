//! A model from a `.nin` file, compiled and run on an array.
//!
//! ```sh
//! cargo run --release --example run_file
//! ```
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::error::Error;
use std::path::Path;

use nin::ndarray::Array4;
use nin::train::{Recipe, init};
use nin::{Model, Number, Options};

fn main() -> Result<(), Box<dyn Error>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/nin-cifar10.nin");
    // Another variant of the model: checked again, compiled again.
    let model = Model::from_file(file, &[("width".to_owned(), Number::Whole(96))])?;
    let program = model.compile(&Options { batch: 4, ..Options::default() })?;
    println!(
        "{}: {} parameters, compiled in {:.0} ms to {} bytes of code",
        model.graph().name(),
        model.graph().params_total(),
        1e3 * program.compile_time().as_secs_f64(),
        program.code_bytes()
    );
    // Fresh weights; `nin::weights::WeightsFile` reads trained ones.
    let weights = init(program.graph(), &Recipe::default());
    let mut session = program.session(&weights)?;
    let images = Array4::from_shape_fn((4, 3, 32, 32), |(n, _, y, x)| (n * x + y) as f32 / 64.0);
    let probabilities = session.forward(images.view())?;
    for (image, row) in probabilities.outer_iter().enumerate() {
        let row: Vec<String> = row.iter().map(|p| format!("{p:.3}")).collect();
        println!("image {image}: {}", row.join(" "));
    }
    Ok(())
}
