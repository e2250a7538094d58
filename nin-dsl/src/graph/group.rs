//! [`Group`], the layers that the text wrote once for several: for people, as a layer's name is.

use std::fmt;
use std::ops::Range;

/// Neighbouring layers that came from one use of a block or one pass of a repetition.
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
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GroupKind::Block(call) => f.write_str(call),
            GroupKind::Pass { number, of } => write!(f, "pass {number} of {of}"),
        }
    }
}

/// Checks that groups are not empty, stand within `layers` layers, and nest, each after the one around it.
///
/// # Panics
/// On a violation, which is a bug in nin.
pub(super) fn verify(groups: &[Group], layers: usize) {
    let all = 0..layers;
    let mut around = vec![&all];
    for Group { kind, layers } in groups {
        assert!(!layers.is_empty(), "{kind}: no layers (a bug in nin)");
        while around.last().is_some_and(|outer| outer.end <= layers.start) {
            around.pop();
        }
        let fits = |outer: &&&Range<usize>| outer.start <= layers.start && layers.end <= outer.end;
        assert!(around.last().filter(fits).is_some(), "{kind}: {layers:?} (a bug in nin)");
        around.push(layers);
    }
}
