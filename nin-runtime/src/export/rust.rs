//! A library's wrapper for Rust: types in place of pointers and counts, so that its calls are safe.

mod texts;

use nin_dsl::shape::Shape;

use super::{Interface, Library};
use crate::compiler::kernel::Prepared;
use crate::data::Normalisation;

/// The text of a library's wrapper, the items of a module.
pub(super) fn write(library: &Library) -> String {
    let Library { options, about, interface, .. } = library;
    let (input, output) = (interface.input, interface.output);
    let mut text = format!(
        "// {}, compiled by nin {} for {}.\n\n\
         /// Shape of an image, `[C, H, W]`.\npub const INPUT: [usize; 3] = [{}, {}, {}];\n\
         /// Floats of an image.\npub const IMAGE: usize = {};\n\
         /// Floats of what the model makes of it.\npub const OUTPUT: usize = {};\n",
        interface.model.replace(['\n', '\r'], " "),
        env!("CARGO_PKG_VERSION"),
        options.triple,
        input.channels(),
        input.height(),
        input.width(),
        input.elements(),
        output.elements()
    );
    if !about.classes.is_empty() {
        text += &format!(
            "/// Names of the classes, by output.\npub const CLASSES: [&str; OUTPUT] = {:?};\n",
            about.classes
        );
    }
    if let Some(normalisation) = &about.normalisation {
        text += &normalise(normalisation, input);
    }
    if interface.prepared == Prepared::State {
        text +=
            &format!("/// Most images of a step.\npub const BATCH: usize = {};\n", interface.batch);
    }
    if interface.prepared != Prepared::Embedded {
        text += &tensors(interface);
    }
    let lines = |bytes: usize| bytes.div_ceil(LINE).to_string();
    for part in texts(interface.prepared) {
        text += &part
            .replace("FINGERPRINT", &library.fingerprint())
            .replace("NAME", &options.name)
            .replace("WORKSPACE_LINES", &lines(interface.workspace_bytes))
            .replace("PREPARED_LINES", &lines(interface.prepared_bytes))
            .replace("STATE_LINES", &lines(interface.state_bytes));
    }
    let quiet = |line: &str| match line.starts_with("pub ") || line.starts_with("impl ") {
        // Whether callers use and pass on an item is their affair.
        true => format!("#[allow(dead_code, unreachable_pub)]\n{line}\n"),
        false => format!("{line}\n"),
    };
    text.lines().map(quiet).collect()
}

/// What follows the constants.
fn texts(prepared: Prepared) -> &'static [&'static str] {
    match prepared {
        Prepared::Embedded => &[texts::MEMORY, texts::EMBEDDED],
        Prepared::Passed => &[texts::MEMORY, texts::CHECK, texts::PASSED],
        Prepared::State => &[texts::MEMORY, texts::CHECK, texts::TRAINING],
    }
}

/// Bytes of a cache line.
const LINE: usize = 64;

/// Bytes of an image that a function may return: more would not fit the stacks of threads, and is copied several times where
/// code is not optimised.
const BY_VALUE: usize = 64 << 10;

fn normalise(normalisation: &Normalisation, input: Shape) -> String {
    let Normalisation { mean, deviation } = normalisation;
    let pixels = input.pixels();
    let mut text = format!(
        "\n/// Makes images of bytes, `[C, H, W]` and one after the other, what the model was trained on.\n\
         ///\n/// # Panics\n/// If there is not a float for each byte, or the last image is not whole.\n\
         pub fn normalise_into(bytes: &[u8], images: &mut [f32]) {{\n\
         \x20   const MEAN: [f32; INPUT[0]] = {mean:?};\n\
         \x20   const DEVIATION: [f32; INPUT[0]] = {deviation:?};\n\
         \x20   assert_eq!(bytes.len(), images.len(), \"a float for each byte\");\n\
         \x20   assert_eq!(bytes.len() % IMAGE, 0, \"whole images\");\n\
         \x20   let channels = MEAN.into_iter().zip(DEVIATION).cycle();\n\
         \x20   let maps = bytes.chunks_exact({pixels}).zip(images.chunks_exact_mut({pixels}));\n\
         \x20   for ((bytes, image), (mean, deviation)) in maps.zip(channels) {{\n\
         \x20       for (byte, pixel) in bytes.iter().zip(image) {{\n\
         \x20           *pixel = (f32::from(*byte) / 255.0 - mean) / deviation;\n\
         \x20       }}\n\
         \x20   }}\n}}\n"
    );
    if input.elements() * size_of::<f32>() <= BY_VALUE {
        text += "\n/// Makes an image of bytes, `[C, H, W]`, what the model was trained on.\n\
                 #[must_use]\n\
                 pub fn normalise(bytes: &[u8; IMAGE]) -> [f32; IMAGE] {\n\
                 \x20   let mut image = [0.0; IMAGE];\n\
                 \x20   normalise_into(bytes, &mut image);\n\
                 \x20   image\n}\n";
    }
    text
}

fn tensors(interface: &Interface) -> String {
    let sized = interface.tensors.iter().map(|(name, dims)| (name, dims.iter().product::<usize>()));
    let sized: Vec<(&String, usize)> = sized.collect();
    format!(
        "/// Name and length of each of the model's tensors.\npub const TENSORS: [(&str, usize); {}] = {sized:?};\n",
        sized.len()
    )
}
