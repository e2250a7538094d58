//! The contract between Rust and generated code: one signature, `extern "C" fn(*const Context)`.
//!
//! Every entry takes the same context and reads the fields its task names. It calls no outside symbol, allocates nothing,
//! and touches only the memory named here, beside its own constants and the table of offsets among its functions.

use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{AbiParam, Signature};
use cranelift_codegen::isa::CallConv;

/// What an entry works on. Buffers are of float32 unless said otherwise; the plan gives their sizes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The images of the call, `[N, C, H, W]`.
    pub images: *const f32,
    /// The class of each image, `[N]`.
    pub labels: *const u32,
    /// Infer: the results, `[N, ...output]`. Train: the loss of each image, `[N]`.
    pub results: *mut f32,
    /// Train: 1 for an image whose largest logit is its label's, else 0, `[N]`.
    pub correct: *mut u32,
    /// This thread's arena; prepare: what prepared forms are made in.
    pub arena: *mut f32,
    /// The arena that holds whole images: this thread's, or that of a team which works on one image together.
    pub shared: *mut f32,
    /// Train: what phases leave of each image for later ones.
    pub store: *mut f32,
    /// Train, gather, track: the statistics of the batch.
    pub statistics: *mut f32,
    /// Weights, as the plan lays them out.
    pub weights: *mut f32,
    /// Prepared forms of the weights.
    pub prepared: *mut f32,
    /// Train: this slice's sums, its gradients first. Gather, reduce, update: all slices' sums, one after the other.
    pub gradients: *mut f32,
    /// Momentum, laid out as the weights.
    pub momentum: *mut f32,
    /// Update: running means of squared gradients, laid out as the weights; null for rules without them.
    pub squares: *mut f32,
    /// Update: the coefficients of every weight, in the graph's order.
    pub coefficients: *const Coefficients,
    /// First image, row, float or strip of the range. Gather, track: 0.
    pub begin: u64,
    /// One past the last. Gather, track: images of the batch.
    pub end: u64,
    /// Part: its number.
    pub part: u64,
    /// Part: the chunk's first image, counted from the start of the call.
    pub first: u64,
    /// Part: the image, counted from the chunk's first; of a block that takes all images at once, their number.
    pub image: u64,
    /// Train: 1 to drop elements, 0 to keep all.
    pub dropout: u64,
    /// Update: 1 if the first slice's gradients are the sums of all slices' already, else 0.
    pub reduced: u64,
    /// Step number, from 0.
    pub step: u64,
    /// Seed of the run.
    pub seed: u64,
    /// `1 / N` of the whole batch.
    pub per_image: f32,
    /// Train: the share of a label that is spread over all classes.
    pub smoothing: f32,
    /// Update: factor of the gradients; below 1 where their norm is clipped.
    pub scale: f32,
}

/// What an update is given for one weight at one step.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coefficients {
    /// Learning rate.
    pub lr: f32,
    /// How much of the momentum stays.
    pub momentum: f32,
    /// Weight decay that is added to the gradient.
    pub decay: f32,
    /// Share of a weight that is taken away, whatever its gradient.
    pub shrink: f32,
    /// How much of the running mean of squares stays.
    pub square_rate: f32,
    /// What is added to the root of that mean.
    pub epsilon: f32,
}

/// The one signature of entries.
pub(crate) fn entry_signature(call_conv: CallConv) -> Signature {
    pointers(call_conv, 1)
}

/// A signature of `count` pointers or counts and no result.
pub(crate) fn pointers(call_conv: CallConv, count: usize) -> Signature {
    let mut signature = Signature::new(call_conv);
    signature.params = vec![AbiParam::new(I64); count];
    signature
}
