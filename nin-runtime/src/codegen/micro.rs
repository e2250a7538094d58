//! The register tile's makers: from a [`Tile`](crate::kernel::Tile) spec to a function.
//!
//! Every maker obeys the same spec, sums in the same order and so gives the same bits as the others with the same
//! multiply-add. The portable one writes CLIF.

pub(super) mod clif;
