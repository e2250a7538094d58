//! Prepared weights: the one form of each kernel that a product reads, and what it is made in.

use super::{ALIGN, Affine, Algorithm, Choice, LINE, ProductPlan, Winograd};
use crate::compiler::Elem;
use crate::compiler::geometry::{ConvGeometry, Correlation};
use crate::compiler::kernel::{TileShape, Transform};

/// What a product reads of a convolution's kernel (offsets in bytes).
///
/// Invariant: it is all that is kept of the kernel for that product. A strip of a panel that is only brought into Winograd's domain,
/// and the rows of a batch normalisation that is merged, lie in the arena of whoever prepares them, and are overwritten there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedKernel {
    /// What its numbers are stored as.
    pub elem: Elem,
    /// The form they have.
    pub form: PreparedForm,
}

/// How a product reads a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreparedForm {
    /// Panels of every group for each correlation that the product consists of: the direct algorithm's. Where each begins in the prepared weights.
    Panels(Vec<usize>),
    /// Panels in Winograd's domain.
    Spectrum(PreparedSpectrum),
}

/// Panels in Winograd's domain, `[frequency][group][panel][in][col]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreparedSpectrum {
    /// The first panel of the first frequency, in the prepared weights.
    pub offset: usize,
    /// From one frequency to the next, in elements.
    pub stride: usize,
    /// What it is made of, in the arena: a strip of one panel after the other, in float32.
    pub panel: usize,
    /// Scratch of the transform, in the arena.
    pub scratch: usize,
}

/// Room that was taken, in bytes.
#[derive(Default)]
pub(super) struct Room {
    /// Of the prepared weights.
    pub(super) prepared: usize,
    /// Of the arena of a thread that prepares a kernel.
    pub(super) arena: usize,
}

impl Room {
    /// Takes room for some numbers of the prepared weights.
    pub(super) fn place(&mut self, numbers: usize, elem: Elem) -> usize {
        take(&mut self.prepared, numbers, elem)
    }
}

/// Takes room at the end of what is taken.
fn take(end: &mut usize, numbers: usize, elem: Elem) -> usize {
    let offset = *end;
    *end += (numbers * elem.bytes()).next_multiple_of(LINE);
    offset
}

impl PreparedKernel {
    /// Places the form that the algorithm of a product reads. A strip has `strip` numbers of a panel at each tap. In the arena,
    /// `before` bytes are taken by what it is made of.
    fn place(
        room: &mut Room,
        choice: Choice,
        correlations: &[Correlation],
        (cols, strip): (usize, usize),
        before: usize,
    ) -> PreparedKernel {
        let panels = |of: &Correlation| of.groups * of.panels(cols) * of.panel(cols);
        let elem = Elem::F32;
        let form = match choice.algorithm {
            Algorithm::Direct => {
                let placed = correlations.iter().map(|of| room.place(panels(of), elem));
                PreparedForm::Panels(placed.collect())
            }
            Algorithm::Winograd(Winograd { size, .. }) => {
                let [only] = correlations else {
                    unreachable!("one correlation goes through the domain (a bug in nin)")
                };
                let taps = size.taps * size.taps;
                let stride = panels(only) / taps;
                let mut end = before;
                let panel = take(&mut end, taps * strip, Elem::F32);
                let scratch = take(&mut end, Transform::SCRATCH, Elem::F32);
                room.arena = room.arena.max(end);
                let offset = room.place(size.frequencies() * stride, elem);
                PreparedForm::Spectrum(PreparedSpectrum { offset, stride, panel, scratch })
            }
        };
        PreparedKernel { elem, form }
    }

    /// The panels of each correlation.
    ///
    /// # Panics
    /// If the product works in Winograd's domain: a bug in nin.
    pub fn panels(&self) -> &[usize] {
        match &self.form {
            PreparedForm::Panels(offsets) => offsets,
            PreparedForm::Spectrum(_) => {
                unreachable!("the product reads a spectrum (a bug in nin)")
            }
        }
    }

    /// The spectrum.
    ///
    /// # Panics
    /// If the product does not work in Winograd's domain: a bug in nin.
    pub fn spectrum(&self) -> PreparedSpectrum {
        match &self.form {
            PreparedForm::Panels(_) => unreachable!("the product reads panels (a bug in nin)"),
            PreparedForm::Spectrum(spectrum) => *spectrum,
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
    let row = geometry.outputs().next_multiple_of(ALIGN) * Elem::F32.bytes();
    let rows = if merged { Affine::COUNT * row } else { 0 };
    room.arena = room.arena.max(rows);
    // A strip is a whole forward panel, and its rows of every panel of the input gradient.
    let width = forward.1.cols;
    let numbers = (width, geometry.cin * width);
    let panels = PreparedKernel::place(room, forward.0, &[geometry.forward()], numbers, rows);
    // What the last panel reads past its own.
    let padding = geometry.cout.next_multiple_of(width) - geometry.cout;
    let bias = biased.then(|| room.place(geometry.outputs() + padding, Elem::F32));
    let flipped = grad_is_wanted.then(|| {
        let phases = geometry.input_grad();
        let phases: Vec<Correlation> = phases.into_iter().map(|of| of.correlation).collect();
        let cols = input_grad.1.cols;
        let numbers = (cols, width.min(geometry.cout) * cols);
        PreparedKernel::place(room, input_grad.0, &phases, numbers, 0)
    });
    let plan = |(choice, tile), kernel| ProductPlan { choice, tile, kernel };
    let products =
        [plan(forward, Some(panels)), plan(input_grad, flipped), plan(kernel_grad, None)];
    (products, bias)
}
