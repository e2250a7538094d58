//! The header of a library, for C and C++.

use std::fmt::Write as _;

use nin_dsl::shape::Shape;

use super::{Interface, Library};
use crate::compiler::kernel::{Constant, Export, Memory, Prepared};
use crate::data::Normalisation;

/// The text of a library's header.
pub(super) fn write(library: &Library) -> String {
    let Library { options, about, interface, .. } = library;
    let name = options.name.as_str();
    let upper = name.to_ascii_uppercase();
    let mut text = String::new();
    let isas: Vec<String> = options.isas.iter().map(ToString::to_string).collect();
    let (version, isas) = (env!("CARGO_PKG_VERSION"), isas.join(", "));
    let (model, triple) = (comment(&interface.model), &options.triple);
    text += &format!(
        "/* {model}, compiled by nin {version} for {triple} ({isas}).\n *\n{} */\n",
        introduction(interface, name)
    );
    let fingerprint = library.fingerprint();
    text += &format!(
        "#ifndef NIN_{upper}_H\n#define NIN_{upper}_H 0x{fingerprint}\n\n#include <stddef.h>\n"
    );
    if about.normalisation.is_some() || interface.prepared == Prepared::State {
        text += "#include <stdint.h>\n";
    }
    text += &symbols(interface, name, &fingerprint);
    text += "\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n";
    text += &sizes(interface, &upper);
    text += &tensors(interface, &upper);
    if interface.prepared == Prepared::State {
        text += &settings(name, &upper);
    }
    for &export in &interface.exports {
        text += &declaration(interface, export, name, &upper);
    }
    if let Some(normalisation) = &about.normalisation {
        text += &normalise(normalisation, interface.input, name, &upper);
    }
    text += "#ifdef __cplusplus\n}\n#endif\n\n";
    text += &format!(
        "#elif NIN_{upper}_H != 0x{fingerprint}\n\
         #error \"two models are called {name}: give one another name with nin compile --name\"\n#endif\n"
    );
    text
}

/// The names by which calls reach the library of this header and no other.
fn symbols(interface: &Interface, name: &str, fingerprint: &str) -> String {
    let mut text = "\n/* Calls reach this library and no other of its name: linking two is an error. Without a header, or with\n \
                    * NIN_PLAIN_NAMES defined before it, functions go by their plain names. */\n#ifndef NIN_PLAIN_NAMES\n"
        .to_owned();
    for export in &interface.exports {
        let _ = writeln!(text, "#define {name}_{export} {name}_{export}_{fingerprint}");
    }
    text + "#endif\n"
}

/// Text that ends no comment.
fn comment(text: &str) -> String {
    text.replace("*/", "* /").replace(['\n', '\r'], " ")
}

fn introduction(interface: &Interface, name: &str) -> String {
    let mut lines = vec![
        " * Functions allocate nothing, keep nothing and lock nothing: any number of threads may call them, each with a".to_owned(),
        " * workspace of its own. They call nobody, not even libc. Numbers are 32-bit floats. Memory may lie anywhere,".to_owned(),
        " * and is worked on fastest where it begins on a cache line (64 bytes). Denormal numbers count as zero.".to_owned(),
    ];
    let weights = match interface.prepared {
        Prepared::Embedded => None,
        Prepared::Passed => Some(format!(
            " * Weights are given to {name}_prepare once, and what it makes of them to every {name}_forward."
        )),
        Prepared::State => Some(format!(
            " * A training is in a state: {name}_load begins it, every {name}_step changes it, {name}_save reads it. Only\n * one thread at a time may change it, while no other runs the model."
        )),
    };
    if let Some(weights) = weights {
        lines.extend([" *".to_owned(), weights]);
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn dims(shape: Shape) -> String {
    shape.dims().iter().map(|dim| format!("[{dim}]")).collect()
}

fn sizes(interface: &Interface, upper: &str) -> String {
    let Interface { input, output, workspace_bytes, prepared_bytes, .. } = interface;
    let (channels, height, width) = (input.channels(), input.height(), input.width());
    let mut text = format!(
        "/* An image: {upper}_IMAGE floats, {}, channel by channel, row by row. */\n\
         #define {upper}_CHANNELS {channels}\n#define {upper}_HEIGHT {height}\n#define {upper}_WIDTH {width}\n\
         #define {upper}_IMAGE {}\n\n",
        dims(*input),
        input.elements()
    );
    text += &format!(
        "/* What the model makes of it: {upper}_OUTPUT floats, {}. */\n#define {upper}_OUTPUT {}\n\n",
        dims(*output),
        output.elements()
    );
    text += &format!(
        "/* Memory that one call works in, in bytes. It may hold anything. */\n#define {upper}_WORKSPACE_BYTES {workspace_bytes}\n\n"
    );
    match interface.prepared {
        Prepared::Embedded => text,
        Prepared::Passed => {
            text + &format!(
                "/* Prepared weights, in bytes. */\n#define {upper}_PREPARED_BYTES {prepared_bytes}\n\n"
            )
        }
        Prepared::State => {
            let Interface { batch, state_bytes, .. } = interface;
            text + &format!(
                "/* The state of a training, in bytes. */\n#define {upper}_STATE_BYTES {state_bytes}\n\n\
                 /* Most images of a step. */\n#define {upper}_BATCH {batch}\n\n"
            )
        }
    }
}

/// The tensors that callers pass, in their order.
fn tensors(interface: &Interface, upper: &str) -> String {
    if interface.prepared == Prepared::Embedded {
        return String::new();
    }
    let tensors = &interface.tensors;
    let count = tensors.len();
    let mut text = format!(
        "/* The model's weights, in the order in which they are passed; each lies as a safetensors file has it. */\n\
         #define {upper}_TENSORS {count}\n"
    );
    for (number, (name, dims)) in tensors.iter().enumerate() {
        let constant = name.to_ascii_uppercase().replace('.', "_");
        let _ = writeln!(text, "#define {upper}_{constant} {number} /* {name} {dims:?} */");
    }
    let names: Vec<String> = tensors.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let floats = tensors.iter().map(|(_, dims)| dims.iter().product::<usize>().to_string());
    let floats: Vec<String> = floats.collect();
    text += &format!(
        "/* Name and floats of each, to begin arrays with. */\n\
         #define {upper}_TENSOR_NAMES {{ {} }}\n#define {upper}_TENSOR_FLOATS {{ {} }}\n\n",
        names.join(", "),
        floats.join(", ")
    );
    text
}

/// A function with what is to be said of it.
fn declaration(interface: &Interface, export: Export, name: &str, upper: &str) -> String {
    let (about, result, params) = match export {
        Export::Forward(Prepared::Embedded) => (
            format!(
                "Carries n images, any number, to their results: {upper}_IMAGE floats of images and {upper}_OUTPUT floats\n * of results each."
            ),
            "void ",
            "const float *images, float *results, size_t n, void *workspace",
        ),
        Export::Forward(Prepared::Passed) => (
            format!(
                "Carries n images, any number, to their results: {upper}_IMAGE floats of images and {upper}_OUTPUT floats\n * of results each. Calls may share the prepared weights."
            ),
            "void ",
            "const float *images, float *results, size_t n, const void *prepared, void *workspace",
        ),
        Export::Forward(Prepared::State) => (
            format!(
                "Carries n images, any number, to their results: {upper}_IMAGE floats of images and {upper}_OUTPUT floats\n * of results each, with dropout off."
            ),
            "void ",
            "const float *images, float *results, size_t n, const void *state, void *workspace",
        ),
        Export::Load => (
            format!(
                "Begins a training in {upper}_STATE_BYTES with the model's tensors. With momentum, a tensor for each of them, an\n * earlier one goes on; it may be NULL."
            ),
            "void ",
            "void *state, const float *const *tensors, const float *const *momentum, void *workspace",
        ),
        Export::Step => (
            format!(
                "Takes a step on n images, 1 to {upper}_BATCH, with the class of each: forward with dropout, backward, and an\n * update of every weight, v = momentum v + (g + decay w), w = w - rate v, where g is the gradient of the mean\n * loss. Leaves the loss of each image, and 1 where its class came out first, else 0. Returns 0; or 1 if there are\n * too many images or a label is no class, and then nothing has happened."
            ),
            "int ",
            "void *state, const float *images, const uint32_t *labels, size_t n,\n    const struct NAME_settings *settings, float *losses, uint32_t *correct, void *workspace",
        ),
        Export::Save => (
            "Writes the model's tensors, and their momentum unless that is NULL.".to_owned(),
            "void ",
            "const void *state, float *const *tensors, float *const *momentum",
        ),
        Export::Size(Memory::State) => (format!("{upper}_STATE_BYTES."), "size_t ", "void"),
        Export::Prepare => (
            format!(
                "Makes prepared weights, {upper}_PREPARED_BYTES, of the model's {} tensors. They are for this CPU: another\n * kind may need others.",
                interface.tensors.len()
            ),
            "void ",
            "const float *const *tensors, void *prepared, void *workspace",
        ),
        Export::Supported => (
            "1 if this CPU runs the code, else 0: then nothing else that works on numbers may be called.".to_owned(),
            "int ",
            "void",
        ),
        Export::Size(Memory::Workspace) => (format!("{upper}_WORKSPACE_BYTES."), "size_t ", "void"),
        Export::Size(Memory::Prepared) => (format!("{upper}_PREPARED_BYTES."), "size_t ", "void"),
        Export::Constant(Constant::Version) => {
            ("The version of nin that compiled the model.".to_owned(), "const char *", "void")
        }
        Export::Constant(Constant::Mean) => (
            format!("What is subtracted from each of the {upper}_CHANNELS channels."),
            "const float *",
            "void",
        ),
        Export::Constant(Constant::Deviation) => {
            ("What each channel is then divided by.".to_owned(), "const float *", "void")
        }
        Export::ClassName => (
            "The name of a class in UTF-8, by its place in the results, or NULL if there is no such class.".to_owned(),
            "const char *",
            "size_t class_index",
        ),
        Export::Level => return String::new(),
    };
    let params = params.replace("NAME", name);
    format!("/* {about} */\n{result}{name}_{export}({params});\n\n")
}

/// The settings of a step.
fn settings(name: &str, upper: &str) -> String {
    format!(
        "/* How one tensor is updated. */\n\
         struct {name}_rates {{\n    float rate, momentum, decay;\n}};\n\n\
         /* How a step is taken. */\n\
         struct {name}_settings {{\n\
         \x20   const struct {name}_rates *rates; /* {upper}_TENSORS of them */\n\
         \x20   uint64_t seed, step; /* these choose what dropout drops; steps are numbered from 0 */\n\
         \x20   float clip; /* the longest that the gradient of all weights may be; 0 leaves it as it is */\n}};\n\n"
    )
}

fn normalise(normalisation: &Normalisation, input: Shape, name: &str, upper: &str) -> String {
    let list = |floats: &[f32]| -> String {
        floats.iter().map(|float| format!("{float:e}f")).collect::<Vec<_>>().join(", ")
    };
    let Normalisation { mean, deviation } = normalisation;
    format!(
        "/* Makes an image of bytes, channel by channel, what the model was trained on. */\n\
         static inline void {name}_normalise(const uint8_t *bytes, float *image)\n{{\n\
         \x20   static const float mean[] = {{ {} }}, deviation[] = {{ {} }};\n\
         \x20   for (size_t i = 0; i < {upper}_IMAGE; i++) {{\n\
         \x20       size_t channel = i / {};\n\
         \x20       image[i] = (bytes[i] / 255.0f - mean[channel]) / deviation[channel];\n\
         \x20   }}\n}}\n\n",
        list(mean),
        list(deviation),
        input.pixels()
    )
}
