//! A library's wrapper for Rust: types in place of pointers and counts, so that its calls are safe.

use super::{Interface, Library};
use crate::data::Normalisation;
use crate::error::Error;
use crate::kernel::Prepared;

/// The text of a library's wrapper, the items of a module.
pub(super) fn write(library: &Library) -> Result<String, Error> {
    let Library { options, about, interface, .. } = library;
    let name = options.name.as_str();
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
        text += &normalise(normalisation, input.pixels());
    }
    match interface.prepared {
        Prepared::Embedded => text += EMBEDDED,
        Prepared::Passed => {
            text += &tensors(interface);
            text += PASSED;
        }
        Prepared::State => {
            let reason =
                "a library that trains has no wrapper for Rust; nin's `Trainer` trains there";
            return Err(Error::Format { reason: reason.to_owned() });
        }
    }
    let lines = |bytes: usize| bytes.div_ceil(LINE).to_string();
    let quiet = |line: &str| match line.starts_with("pub ") || line.starts_with("impl ") {
        // Whether callers use and pass on an item is their affair.
        true => format!("#[allow(dead_code, unreachable_pub)]\n{line}\n"),
        false => format!("{line}\n"),
    };
    let text: String = text.lines().map(quiet).collect();
    Ok(text
        .replace("NAME", name)
        .replace("WORKSPACE_LINES", &lines(interface.workspace_bytes))
        .replace("PREPARED_LINES", &lines(interface.prepared_bytes)))
}

/// Bytes of a cache line.
const LINE: usize = 64;

fn normalise(normalisation: &Normalisation, pixels: usize) -> String {
    let Normalisation { mean, deviation } = normalisation;
    format!(
        "\n/// Makes an image of bytes, `[C, H, W]`, what the model was trained on.\n\
         pub fn normalise(bytes: &[u8; IMAGE]) -> [f32; IMAGE] {{\n\
         \x20   const MEAN: [f32; INPUT[0]] = {mean:?};\n\
         \x20   const DEVIATION: [f32; INPUT[0]] = {deviation:?};\n\
         \x20   std::array::from_fn(|i| {{\n\
         \x20       (f32::from(bytes[i]) / 255.0 - MEAN[i / {pixels}]) / DEVIATION[i / {pixels}]\n\
         \x20   }})\n}}\n"
    )
}

fn tensors(interface: &Interface) -> String {
    let sized = interface.tensors.iter().map(|(name, dims)| (name, dims.iter().product::<usize>()));
    let sized: Vec<(&String, usize)> = sized.collect();
    format!(
        "/// Name and length of each of the model's tensors.\npub const TENSORS: [(&str, usize); {}] = {sized:?};\n",
        sized.len()
    )
}

/// A net that carries its weights.
const EMBEDDED: &str = r#"
#[allow(unsafe_code)]
mod code {
    unsafe extern "C" {
        pub(super) safe fn NAME_supported() -> std::ffi::c_int;
        pub(super) fn NAME_forward(
            images: *const f32,
            results: *mut f32,
            n: usize,
            workspace: *mut std::ffi::c_void,
        );
    }
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// The model, and memory for one call at a time. Calls allocate nothing; threads take a net each.
pub struct Net {
    workspace: Box<[Line]>,
}

impl Net {
    /// Room for calls, or `None` where the CPU lacks the instructions that the model was compiled to.
    pub fn new() -> Option<Net> {
        let workspace = || vec![Line([0.0; 16]); WORKSPACE_LINES].into_boxed_slice();
        (code::NAME_supported() != 0).then(|| Net { workspace: workspace() })
    }

    /// Carries images, any number, to their results.
    ///
    /// # Panics
    /// If there is not a result for each image.
    #[allow(unsafe_code)]
    pub fn forward(&mut self, images: &[[f32; IMAGE]], results: &mut [[f32; OUTPUT]]) {
        assert_eq!(images.len(), results.len(), "a result for each image");
        let workspace = self.workspace.as_mut_ptr().cast();
        // SAFETY: the CPU runs the code, and all memory is as large as the types say.
        unsafe {
            code::NAME_forward(
                images.as_ptr().cast(),
                results.as_mut_ptr().cast(),
                images.len(),
                workspace,
            );
        }
    }
}
"#;

/// A net that is given its weights.
const PASSED: &str = r#"
#[allow(unsafe_code)]
mod code {
    unsafe extern "C" {
        pub(super) safe fn NAME_supported() -> std::ffi::c_int;
        pub(super) fn NAME_prepare(
            tensors: *const *const f32,
            prepared: *mut std::ffi::c_void,
            workspace: *mut std::ffi::c_void,
        );
        pub(super) fn NAME_forward(
            images: *const f32,
            results: *mut f32,
            n: usize,
            prepared: *const std::ffi::c_void,
            workspace: *mut std::ffi::c_void,
        );
    }
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// The model with weights, and memory for one call at a time. Calls allocate nothing; threads take a clone each, which
/// shares the weights.
#[derive(Clone)]
pub struct Net {
    prepared: std::sync::Arc<[Line]>,
    workspace: Box<[Line]>,
}

impl Net {
    /// The model with its tensors, in the order of [`TENSORS`], as a safetensors file has them; or `None` where the CPU
    /// lacks the instructions that the model was compiled to.
    ///
    /// # Panics
    /// If a tensor has another length than the model's.
    #[allow(unsafe_code)]
    pub fn new(tensors: [&[f32]; TENSORS.len()]) -> Option<Net> {
        for ((name, length), tensor) in TENSORS.into_iter().zip(tensors) {
            assert_eq!(tensor.len(), length, "the length of {name}");
        }
        if code::NAME_supported() == 0 {
            return None;
        }
        let mut prepared = vec![Line([0.0; 16]); PREPARED_LINES];
        let mut workspace = vec![Line([0.0; 16]); WORKSPACE_LINES].into_boxed_slice();
        let tensors = tensors.map(<[f32]>::as_ptr);
        let (to, room) = (prepared.as_mut_ptr().cast(), workspace.as_mut_ptr().cast());
        // SAFETY: the CPU runs the code, tensors have their lengths, and all memory is as large as the model says.
        unsafe { code::NAME_prepare(tensors.as_ptr(), to, room) };
        Some(Net { prepared: prepared.into(), workspace })
    }

    /// Carries images, any number, to their results.
    ///
    /// # Panics
    /// If there is not a result for each image.
    #[allow(unsafe_code)]
    pub fn forward(&mut self, images: &[[f32; IMAGE]], results: &mut [[f32; OUTPUT]]) {
        assert_eq!(images.len(), results.len(), "a result for each image");
        let (prepared, workspace) = (self.prepared.as_ptr().cast(), self.workspace.as_mut_ptr().cast());
        // SAFETY: the CPU runs the code, and all memory is as large as the types say.
        unsafe {
            code::NAME_forward(
                images.as_ptr().cast(),
                results.as_mut_ptr().cast(),
                images.len(),
                prepared,
                workspace,
            );
        }
    }
}
"#;
