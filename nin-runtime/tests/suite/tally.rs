//! [`Tally`], how much of what was drawn was compared.

use std::cell::Cell;

/// How many of a property's cases were compared: one that compares few of what it draws proves little.
#[derive(Default)]
pub(crate) struct Tally {
    drawn: Cell<u32>,
    compared: Cell<u32>,
}

impl Tally {
    /// Counts a case.
    pub(crate) fn count(&self, compared: bool) {
        self.drawn.set(self.drawn.get() + 1);
        self.compared.set(self.compared.get() + u32::from(compared));
    }

    /// Compared, and all.
    pub(crate) fn counts(&self) -> [u32; 2] {
        [self.compared.get(), self.drawn.get()]
    }

    /// Asserts that so many in a hundred were compared.
    pub(crate) fn assert(&self, what: &str, least: u32) {
        let [compared, drawn] = self.counts();
        assert!(100 * compared >= least * drawn, "{compared} of {drawn} {what} compared");
    }
}
