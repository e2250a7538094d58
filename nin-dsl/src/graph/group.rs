//! [`Group`], layers that the text holds together: for people, as a layer's name is.

use std::fmt;
use std::ops::Range;

use super::{Layer, LayerId};

/// Neighbouring layers that came from one use of a block, one pass of a repetition or one branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What they came from.
    pub kind: GroupKind,
    /// Their positions in [`super::Graph::layers`]; at least one.
    pub layers: Range<usize>,
}

/// What a [`Group`] came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupKind {
    /// A use of a block, as it was written: `stage(2 * width)`.
    Block(String),
    /// Pass `number`, from 1, of the `of` passes of a repetition.
    Pass {
        /// Which one.
        number: usize,
        /// How many there are.
        of: usize,
    },
    /// Branch `number`, from 1, of the `of` branches of a join; one without layers has no group.
    Branch {
        /// Which one.
        number: usize,
        /// How many there are.
        of: usize,
        /// The layer that joins them.
        join: LayerId,
    },
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GroupKind::Block(call) => f.write_str(call),
            GroupKind::Pass { number, of } => write!(f, "pass {number} of {of}"),
            GroupKind::Branch { number, of, .. } => write!(f, "branch {number} of {of}"),
        }
    }
}

/// Checks that groups are not empty, stand within the layers, and nest, each after the one around it, and that what is a
/// branch is joined.
///
/// # Panics
/// On a violation, which is a bug in nin.
pub(super) fn verify(groups: &[Group], all: &[Layer]) {
    let whole = 0..all.len();
    let mut around = vec![&whole];
    for Group { kind, layers } in groups {
        assert!(!layers.is_empty(), "{kind}: no layers (a bug in nin)");
        while around.last().is_some_and(|outer| outer.end <= layers.start) {
            around.pop();
        }
        let fits = |outer: &&&Range<usize>| outer.start <= layers.start && layers.end <= outer.end;
        assert!(around.last().filter(fits).is_some(), "{kind}: {layers:?} (a bug in nin)");
        if let GroupKind::Branch { number, of, join } = *kind {
            assert!((1..=of).contains(&number), "{kind} (a bug in nin)");
            let (inputs, last) = (&all[join.index()].inputs, layers.end - 1);
            assert_eq!(inputs.len(), of, "{kind}: branches (a bug in nin)");
            assert_eq!(inputs[number - 1].index(), last, "{kind}: its end (a bug in nin)");
        }
        around.push(layers);
    }
}
