//! The rows that a batch normalisation has become, once its statistics are known.

use cranelift_codegen::ir::Value;

use super::emitter::Emitter;
use crate::compiler::plan::{Affine, NormPlan};

/// The rows by which an element becomes `(x - mean) * factor + shift`.
#[derive(Clone, Copy)]
pub(super) struct AffineRows {
    pub(super) mean: Value,
    pub(super) factor: Value,
    pub(super) shift: Value,
}

impl AffineRows {
    /// Rows that lie behind `base` as the plan says.
    pub(super) fn behind(e: &mut Emitter<'_>, norm: &NormPlan, base: Value) -> AffineRows {
        let mut row = |row| e.floats(base, norm.affine(row) as i64);
        let (mean, factor) = (row(Affine::Mean), row(Affine::Factor));
        AffineRows { mean, factor, shift: row(Affine::Shift) }
    }
}
