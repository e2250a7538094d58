//! Prepared weights: the one form of each kernel that a product reads, and what it is made in.

use super::{ALIGN, Affine, Algorithm, Choice, ConvPlan, Winograd};
use crate::geometry::Correlation;
use crate::kernel::Transform;

/// What a product reads of a convolution's kernel (offsets in the prepared weights, in floats).
///
/// Invariant: it is all that is kept of the kernel for that product. A strip of a panel that is only brought into Winograd's domain,
/// and the rows of a batch normalisation that is merged, lie in the arena of whoever prepares them, and are overwritten there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreparedKernel {
    /// Panels for each correlation that the product consists of: the direct algorithm's.
    Panels(Vec<usize>),
    /// Panels in Winograd's domain.
    Spectrum(PreparedSpectrum),
}

/// Panels in Winograd's domain, `[frequency][panel][in][col]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreparedSpectrum {
    /// The first panel of the first frequency, in the prepared weights.
    pub offset: usize,
    /// From one frequency to the next.
    pub stride: usize,
    /// What it is made of, in the arena: a strip of one panel after the other.
    pub panel: usize,
    /// Scratch of the transform, in the arena.
    pub scratch: usize,
}

/// Room that was taken, in floats.
#[derive(Default)]
pub(super) struct Room {
    /// Of the prepared weights.
    pub(super) prepared: usize,
    /// Of the arena of a thread that prepares a kernel.
    pub(super) arena: usize,
}

impl Room {
    /// Takes floats of the prepared weights.
    pub(super) fn place(&mut self, floats: usize) -> usize {
        take(&mut self.prepared, floats)
    }
}

/// Takes floats at the end of what is taken.
fn take(end: &mut usize, floats: usize) -> usize {
    let offset = *end;
    *end += floats.next_multiple_of(ALIGN);
    offset
}

impl PreparedKernel {
    /// Places the form that the algorithm of a product reads. A strip has `strip` floats of a panel at each tap. In the arena,
    /// `before` floats are taken by what it is made of.
    fn place(
        room: &mut Room,
        choice: Choice,
        correlations: &[Correlation],
        (cols, strip): (usize, usize),
        before: usize,
    ) -> PreparedKernel {
        let panels = |correlation: &Correlation| {
            correlation.outputs.div_ceil(cols) * correlation.panel(cols)
        };
        match choice.algorithm {
            Algorithm::Direct => {
                let placed = correlations.iter().map(|of| room.place(panels(of)));
                PreparedKernel::Panels(placed.collect())
            }
            Algorithm::Winograd(Winograd { size, .. }) => {
                let [only] = correlations else {
                    unreachable!("one correlation goes through the domain (a bug in nin)")
                };
                let taps = size.taps * size.taps;
                let stride = panels(only) / taps;
                let mut end = before;
                let panel = take(&mut end, taps * strip);
                let scratch = take(&mut end, Transform::SCRATCH);
                room.arena = room.arena.max(end);
                let offset = room.place(size.frequencies() * stride);
                PreparedKernel::Spectrum(PreparedSpectrum { offset, stride, panel, scratch })
            }
        }
    }

    /// The panels of each correlation.
    ///
    /// # Panics
    /// If the product works in Winograd's domain: a bug in nin.
    pub fn panels(&self) -> &[usize] {
        match self {
            PreparedKernel::Panels(offsets) => offsets,
            PreparedKernel::Spectrum(_) => {
                unreachable!("the product reads a spectrum (a bug in nin)")
            }
        }
    }

    /// The spectrum.
    ///
    /// # Panics
    /// If the product does not work in Winograd's domain: a bug in nin.
    pub fn spectrum(&self) -> PreparedSpectrum {
        match self {
            PreparedKernel::Panels(_) => unreachable!("the product reads panels (a bug in nin)"),
            PreparedKernel::Spectrum(spectrum) => *spectrum,
        }
    }
}

impl ConvPlan {
    /// What the input gradient reads of its kernel.
    ///
    /// # Panics
    /// If nothing asks for the gradient: a bug in nin.
    pub fn grad_kernel(&self) -> &PreparedKernel {
        self.grad_kernel.as_ref().expect("the kernel is prepared for it (a bug in nin)")
    }

    /// Takes room for the prepared forms of its weights.
    pub(super) fn place_weights(&mut self, grad_is_wanted: bool, room: &mut Room) {
        let cout = self.geometry.cout;
        let rows = match self.norm {
            Some(_) => Affine::COUNT * cout.next_multiple_of(ALIGN),
            None => 0,
        };
        room.arena = room.arena.max(rows);
        // A strip is a whole forward panel, and its rows of every panel of the input gradient.
        let (width, forward) = (self.forward_tile.cols, [self.geometry.forward()]);
        let floats = (width, self.geometry.cin * width);
        self.forward_kernel = PreparedKernel::place(room, self.forward, &forward, floats, rows);
        let biased = self.bias.is_some() || self.norm.is_some();
        self.bias_panels = biased.then(|| room.place(cout.next_multiple_of(width)));
        self.grad_kernel = grad_is_wanted.then(|| {
            let phases = self.geometry.input_grad();
            let phases: Vec<Correlation> = phases.into_iter().map(|of| of.correlation).collect();
            let cols = self.grad_tile.cols;
            let floats = (cols, width.min(cout) * cols);
            PreparedKernel::place(room, self.input_grad, &phases, floats, 0)
        });
    }
}
