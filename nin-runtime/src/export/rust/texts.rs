//! What wrappers consist of besides constants. Words in capitals stand for what differs from model to model.

/// Memory of every wrapper.
pub(super) const MEMORY: &str = r"
/// A cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

fn lines(count: usize) -> Box<[Line]> {
    vec![Line([0.0; 16]); count].into_boxed_slice()
}
";

/// Lengths of tensors that callers pass.
pub(super) const CHECK: &str = r#"
fn check(lengths: [usize; TENSORS.len()]) {
    for ((name, length), found) in TENSORS.into_iter().zip(lengths) {
        assert_eq!(found, length, "the length of {name}");
    }
}
"#;

/// A net that carries its weights.
pub(super) const EMBEDDED: &str = r#"
#[allow(unsafe_code)]
mod code {
    unsafe extern "C" {
        #[link_name = "NAME_supported_FINGERPRINT"]
        pub(super) safe fn NAME_supported() -> std::ffi::c_int;
        #[link_name = "NAME_forward_FINGERPRINT"]
        pub(super) fn NAME_forward(
            images: *const f32,
            results: *mut f32,
            n: usize,
            workspace: *mut std::ffi::c_void,
        );
    }
}

/// The model, and memory for one call at a time. Calls allocate nothing; threads take a net each.
pub struct Net {
    workspace: Box<[Line]>,
}

impl Net {
    /// Room for calls, or `None` where the CPU lacks the instructions that the model was compiled to.
    #[must_use]
    pub fn new() -> Option<Net> {
        (code::NAME_supported() != 0).then(|| Net { workspace: lines(WORKSPACE_LINES) })
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
pub(super) const PASSED: &str = r#"
#[allow(unsafe_code)]
mod code {
    unsafe extern "C" {
        #[link_name = "NAME_supported_FINGERPRINT"]
        pub(super) safe fn NAME_supported() -> std::ffi::c_int;
        #[link_name = "NAME_prepare_FINGERPRINT"]
        pub(super) fn NAME_prepare(
            tensors: *const *const f32,
            prepared: *mut std::ffi::c_void,
            workspace: *mut std::ffi::c_void,
        );
        #[link_name = "NAME_forward_FINGERPRINT"]
        pub(super) fn NAME_forward(
            images: *const f32,
            results: *mut f32,
            n: usize,
            prepared: *const std::ffi::c_void,
            workspace: *mut std::ffi::c_void,
        );
    }
}

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
    #[must_use]
    #[allow(unsafe_code)]
    pub fn new(tensors: [&[f32]; TENSORS.len()]) -> Option<Net> {
        check(tensors.map(<[f32]>::len));
        if code::NAME_supported() == 0 {
            return None;
        }
        let (mut prepared, mut workspace) = (lines(PREPARED_LINES), lines(WORKSPACE_LINES));
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

/// A net that learns.
pub(super) const TRAINING: &str = r#"
/// How a tensor is updated: `v = momentum v + (g + decay w)`, `w = w - rate v`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct Rates {
    /// Learning rate.
    pub rate: f32,
    /// Share of the momentum that stays.
    pub momentum: f32,
    /// Weight decay.
    pub decay: f32,
}

/// How a step is taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Those of each tensor, in the order of [`TENSORS`].
    pub rates: [Rates; TENSORS.len()],
    /// With the step's number, what dropout drops.
    pub seed: u64,
    /// The step's number, from 0.
    pub step: u64,
    /// The longest that the gradient of all weights may be; `None` leaves it as it is.
    pub clip: Option<f32>,
}

/// What a step found before its update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Mean loss of the images.
    pub loss: f64,
    /// Images whose class came out first.
    pub correct: usize,
}

#[allow(unsafe_code)]
mod code {
    #[repr(C)]
    pub(super) struct Settings {
        pub(super) rates: *const super::Rates,
        pub(super) seed: u64,
        pub(super) step: u64,
        pub(super) clip: f32,
    }

    unsafe extern "C" {
        #[link_name = "NAME_supported_FINGERPRINT"]
        pub(super) safe fn NAME_supported() -> std::ffi::c_int;
        #[link_name = "NAME_load_FINGERPRINT"]
        pub(super) fn NAME_load(
            state: *mut std::ffi::c_void,
            tensors: *const *const f32,
            momentum: *const *const f32,
            workspace: *mut std::ffi::c_void,
        );
        #[link_name = "NAME_step_FINGERPRINT"]
        pub(super) fn NAME_step(
            state: *mut std::ffi::c_void,
            images: *const f32,
            labels: *const u32,
            n: usize,
            settings: *const Settings,
            losses: *mut f32,
            correct: *mut u32,
            workspace: *mut std::ffi::c_void,
        ) -> std::ffi::c_int;
        #[link_name = "NAME_save_FINGERPRINT"]
        pub(super) fn NAME_save(
            state: *const std::ffi::c_void,
            tensors: *const *mut f32,
            momentum: *const *mut f32,
        );
        #[link_name = "NAME_forward_FINGERPRINT"]
        pub(super) fn NAME_forward(
            images: *const f32,
            results: *mut f32,
            n: usize,
            state: *const std::ffi::c_void,
            workspace: *mut std::ffi::c_void,
        );
    }
}

/// The model in training: its weights, their momentum, and memory to work in. Calls allocate nothing.
pub struct Net {
    state: Box<[Line]>,
    workspace: Box<[Line]>,
    losses: Box<[f32; BATCH]>,
    correct: Box<[u32; BATCH]>,
}

impl Net {
    /// Begins with tensors, in the order of [`TENSORS`], as a safetensors file has them; with those of the momentum an earlier
    /// training goes on. `None` where the CPU lacks the instructions that the model was compiled to.
    ///
    /// # Panics
    /// If a tensor has another length than the model's.
    #[must_use]
    #[allow(unsafe_code)]
    pub fn new(
        tensors: [&[f32]; TENSORS.len()],
        momentum: Option<[&[f32]; TENSORS.len()]>,
    ) -> Option<Net> {
        for tensors in [Some(tensors), momentum].into_iter().flatten() {
            check(tensors.map(<[f32]>::len));
        }
        if code::NAME_supported() == 0 {
            return None;
        }
        let (mut state, mut workspace) = (lines(STATE_LINES), lines(WORKSPACE_LINES));
        let pointers = |tensors: [&[f32]; TENSORS.len()]| tensors.map(<[f32]>::as_ptr);
        let (tensors, momentum) = (pointers(tensors), momentum.map(pointers));
        let momentum = momentum.as_ref().map_or(std::ptr::null(), |tensors| tensors.as_ptr());
        let (to, room) = (state.as_mut_ptr().cast(), workspace.as_mut_ptr().cast());
        // SAFETY: the CPU runs the code, tensors have their lengths, and all memory is as large as the model says.
        unsafe { code::NAME_load(to, tensors.as_ptr(), momentum, room) };
        Some(Net { state, workspace, losses: Box::new([0.0; BATCH]), correct: Box::new([0; BATCH]) })
    }

    /// Takes a step on images and the class of each: forward with dropout, backward, and an update of every weight. `None` if
    /// there are no images, more than [`BATCH`], or a label is no class, and then nothing has happened.
    ///
    /// # Panics
    /// If there is not a label for each image.
    #[must_use = "a step may be refused"]
    #[allow(unsafe_code)]
    pub fn step(
        &mut self,
        images: &[[f32; IMAGE]],
        labels: &[u32],
        settings: &Settings,
    ) -> Option<Outcome> {
        let n = images.len();
        assert_eq!(n, labels.len(), "a label for each image");
        let Settings { ref rates, seed, step, clip } = *settings;
        let clip = clip.unwrap_or(0.0);
        let settings = code::Settings { rates: rates.as_ptr(), seed, step, clip };
        // SAFETY: the CPU runs the code, and all memory is as large as the types say; more images than there is memory for
        // are refused.
        let refused = unsafe {
            code::NAME_step(
                self.state.as_mut_ptr().cast(),
                images.as_ptr().cast(),
                labels.as_ptr(),
                n,
                &raw const settings,
                self.losses.as_mut_ptr(),
                self.correct.as_mut_ptr(),
                self.workspace.as_mut_ptr().cast(),
            )
        };
        if refused != 0 {
            return None;
        }
        let loss = self.losses[..n].iter().map(|&loss| f64::from(loss)).sum::<f64>() / n as f64;
        Some(Outcome { loss, correct: self.correct[..n].iter().filter(|&&right| right != 0).count() })
    }

    /// Writes the model's tensors, and those of the momentum, in the order of [`TENSORS`].
    ///
    /// # Panics
    /// If a tensor has another length than the model's.
    #[allow(unsafe_code)]
    pub fn save(
        &self,
        tensors: [&mut [f32]; TENSORS.len()],
        momentum: Option<[&mut [f32]; TENSORS.len()]>,
    ) {
        let pointers = |mut tensors: [&mut [f32]; TENSORS.len()]| {
            check(tensors.each_ref().map(|tensor| tensor.len()));
            tensors.each_mut().map(|tensor| tensor.as_mut_ptr())
        };
        let (tensors, momentum) = (pointers(tensors), momentum.map(pointers));
        let momentum = momentum.as_ref().map_or(std::ptr::null(), |tensors| tensors.as_ptr());
        // SAFETY: tensors have their lengths.
        unsafe { code::NAME_save(self.state.as_ptr().cast(), tensors.as_ptr(), momentum) };
    }

    /// Carries images, any number, to their results, with dropout off.
    ///
    /// # Panics
    /// If there is not a result for each image.
    #[allow(unsafe_code)]
    pub fn forward(&mut self, images: &[[f32; IMAGE]], results: &mut [[f32; OUTPUT]]) {
        assert_eq!(images.len(), results.len(), "a result for each image");
        let (state, workspace) = (self.state.as_ptr().cast(), self.workspace.as_mut_ptr().cast());
        // SAFETY: the CPU runs the code, and all memory is as large as the types say.
        unsafe {
            code::NAME_forward(
                images.as_ptr().cast(),
                results.as_mut_ptr().cast(),
                images.len(),
                state,
                workspace,
            );
        }
    }
}
"#;
