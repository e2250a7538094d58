//! Prepared weights: the one form of each kernel that a product reads, and what it is made in.

use super::{ALIGN, Affine, Algorithm, Choice, ProductPlan, Winograd};
use crate::compiler::geometry::{ConvGeometry, Correlation};
use crate::compiler::kernel::{TileShape, Transform};

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

/// Takes room for the prepared forms of a convolution's weights: the plans of its products, and where its bias lies. A `merged` one has
/// the rows of a batch normalisation while it is prepared.
pub(super) fn products(
    room: &mut Room,
    geometry: &ConvGeometry,
    [forward, input_grad, kernel_grad]: [(Choice, TileShape); 3],
    merged: bool,
    (biased, grad_is_wanted): (bool, bool),
) -> ([ProductPlan; 3], Option<usize>) {
    let cout = geometry.cout;
    let rows = if merged { Affine::COUNT * cout.next_multiple_of(ALIGN) } else { 0 };
    room.arena = room.arena.max(rows);
    // A strip is a whole forward panel, and its rows of every panel of the input gradient.
    let width = forward.1.cols;
    let floats = (width, geometry.cin * width);
    let panels = PreparedKernel::place(room, forward.0, &[geometry.forward()], floats, rows);
    let bias = biased.then(|| room.place(cout.next_multiple_of(width)));
    let flipped = grad_is_wanted.then(|| {
        let phases = geometry.input_grad();
        let phases: Vec<Correlation> = phases.into_iter().map(|of| of.correlation).collect();
        let cols = input_grad.1.cols;
        let floats = (cols, width.min(cout) * cols);
        PreparedKernel::place(room, input_grad.0, &phases, floats, 0)
    });
    let plan = |(choice, tile), kernel| ProductPlan { choice, tile, kernel };
    let products =
        [plan(forward, Some(panels)), plan(input_grad, flipped), plan(kernel_grad, None)];
    (products, bias)
}
