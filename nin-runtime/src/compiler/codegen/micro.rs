//! Makers of the register tile and of Winograd's transforms: from a [`Tile`](crate::compiler::kernel::Tile) or a
//! [`Transform`](crate::compiler::kernel::Transform) spec to a function.
//!
//! Every maker obeys the same spec and sums in the same order, so that all of them give the same bits where they have the
//! same multiply-add. The portable one writes CLIF; on x86-64 an assembler writes the wide vectors that CLIF lacks.

pub(super) mod clif;
pub(super) mod clif_transform;
mod curve;
mod vectors;
pub(super) mod x86;
pub(super) mod x86_transform;
