//! The steps of a block that work in Winograd's domain, and the stages that bring their products back.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value};

use super::band::Band;
use super::block::added;
use super::conv::{self, Operands};
use super::emitter::Emitter;
use super::grad::GradOperands;
use super::panels::Grouped;
use super::pixels::Pixels;
use super::scope::Scope;
use super::winograd::{self, Grid, InverseEpilogue, SpectrumRows};
use crate::compiler::fuse::Stage;
use crate::compiler::geometry::Correlation;
use crate::compiler::kernel::Epilogue;
use crate::compiler::plan::{
    ConvPlan, PreparedSpectrum, Product, Reach, Spectrum, SpectrumLayout, Winograd, product_of,
};
use crate::compiler::winograd::MapRole;

/// The correlation that a product is, or of whose output it is a gradient.
fn correlation(conv: &ConvPlan, product: Product) -> Correlation {
    match product {
        Product::Forward | Product::KernelGrad => conv.geometry.forward(),
        Product::InputGrad => conv.geometry.input_grad()[0].correlation,
    }
}

/// The tiles of a product's result.
fn outputs(conv: &ConvPlan, product: Product, winograd: Winograd) -> Grid {
    let Correlation { y, x, .. } = correlation(conv, product);
    Grid::outputs(winograd.size, (y.outputs, x.outputs))
}

/// The tiles that a spectrum is made of.
fn grid(conv: &ConvPlan, spectrum: Spectrum) -> (Grid, MapRole) {
    let product = spectrum.product();
    let size = conv.transformed(product).size;
    match spectrum {
        Spectrum::Operand(_) => {
            let Correlation { y, x, .. } = correlation(conv, product);
            (Grid::inputs(size, &y, &x), MapRole::Input)
        }
        Spectrum::Grad => (Grid::outputs(size, conv.geometry.output), MapRole::OutputGrad),
        Spectrum::Result(_) => unreachable!("products are made of spectra (a bug in nin)"),
    }
}

/// The rows of a frequency's product.
#[derive(Clone, Copy)]
enum Multiplied {
    /// The tiles of an image.
    Image,
    /// Some of them.
    Tiles {
        /// The first.
        first: Value,
        /// How many.
        count: Value,
        /// How many the image has.
        all: usize,
    },
    /// Those of several images: how many.
    Images(Value),
}

impl Scope<'_> {
    /// The rows of a spectrum that an image has.
    fn rows(
        &self,
        e: &mut Emitter<'_>,
        conv: &ConvPlan,
        spectrum: Spectrum,
        image: Value,
    ) -> SpectrumRows {
        let layout = conv.spectrum(spectrum, self.plan.chunk);
        let at = self.spectrum(e, conv, spectrum);
        let at = match layout.reach {
            Reach::Chunk => e.element(at, image, layout.rows * layout.channels, layout.elem),
            Reach::Band | Reach::Image => at,
        };
        SpectrumRows { at, first: e.int(0), layout }
    }

    /// The rows of one frequency of a spectrum.
    fn frequency(
        &self,
        e: &mut Emitter<'_>,
        spectrum: Value,
        frequency: Value,
        layout: SpectrumLayout,
    ) -> Pixels {
        let SpectrumLayout { stride, channels, elem, .. } = layout;
        Pixels { at: e.element(spectrum, frequency, stride, elem), pitch: channels, elem }
    }

    /// Brings rows of tiles of what a stage reads into the domain.
    pub(super) fn transform(
        &self,
        e: &mut Emitter<'_>,
        stage: &Stage,
        spectrum: Spectrum,
        band: Band,
    ) {
        let conv = self.plan.conv(stage.node);
        let map = self.image(e, stage.reads[spectrum.operand()], band.image);
        let (grid, role) = grid(conv, spectrum);
        let rows = self.rows(e, conv, spectrum, band.image);
        let scratch = self.scratch(e);
        winograd::transform(e, &grid, role, (band.lo, band.hi), map, scratch, rows);
    }

    /// The products of the frequencies `lo..hi`: of one image, or of the `images` of a chunk.
    pub(super) fn products(
        &self,
        e: &mut Emitter<'_>,
        stage: &Stage,
        (lo, hi): (Value, Value),
        images: Option<Value>,
    ) {
        let conv = self.plan.conv(stage.node);
        let product = product_of(stage.op);
        let one = e.int(1);
        e.range(lo, hi, 1, |e, frequency| match product {
            Product::Forward | Product::InputGrad => {
                let rows = images.map_or(Multiplied::Image, Multiplied::Images);
                self.product(e, conv, product, frequency, rows);
            }
            Product::KernelGrad => {
                let images = images.unwrap_or(one);
                self.kernel_product(e, conv, frequency, images);
            }
        });
    }

    /// The products of all frequencies, of the tiles in rows `lo..hi` of an image.
    pub(super) fn products_of_rows(
        &self,
        e: &mut Emitter<'_>,
        stage: &Stage,
        (lo, hi): (Value, Value),
    ) {
        let conv = self.plan.conv(stage.node);
        let winograd = conv.transformed(Product::Forward);
        let (rows, columns) = winograd.tiles(conv.geometry.output);
        let [first, end] = [lo, hi].map(|row| e.mul(row, columns as i64));
        let count = e.b.ins().isub(end, first);
        let all = rows * columns;
        e.count(winograd.size.frequencies(), |e, frequency| {
            let rows = Multiplied::Tiles { first, count, all };
            self.product(e, conv, Product::Forward, frequency, rows);
        });
    }

    /// The matrix product of one frequency.
    fn product(
        &self,
        e: &mut Emitter<'_>,
        conv: &ConvPlan,
        product: Product,
        frequency: Value,
        multiplied: Multiplied,
    ) {
        let (kernel, tile) = match product {
            Product::InputGrad => {
                (conv.prepared(Product::InputGrad), conv.tile(Product::InputGrad))
            }
            Product::Forward | Product::KernelGrad => {
                (conv.prepared(Product::Forward), conv.tile(Product::Forward))
            }
        };
        let PreparedSpectrum { offset, stride, .. } = kernel.spectrum();
        let (chunk, full_chunk) = (self.plan.chunk, self.plan.full_chunk(self.kind));
        let [operand, result] =
            [Spectrum::Operand(product), Spectrum::Result(product)].map(|spectrum| {
                let layout = conv.spectrum(spectrum, chunk);
                let at = self.spectrum(e, conv, spectrum);
                (self.frequency(e, at, frequency, layout), layout)
            });
        let panels = self.panels(e, (conv, product), offset);
        let panels = panels.elements(e, frequency, stride);
        let grouped = Grouped::of(&conv.geometry);
        let grouped = if product == Product::InputGrad { grouped.flipped() } else { grouped };
        let rows = operand.1.rows;
        let multiply = |e: &mut Emitter<'_>, first: Value, rows: conv::Rows| {
            let (input, output) = (operand.0.pixel(e, first), result.0.pixel(e, first));
            let operands = Operands {
                input,
                panels: Some(panels),
                output,
                bias: None,
                mask: None,
                addend: None,
                accumulates: false,
            };
            conv::multiply(e, tile, grouped, rows, operands, None);
        };
        let zero = e.int(0);
        let images = match multiplied {
            Multiplied::Image => return multiply(e, zero, conv::Rows::Fixed(rows)),
            Multiplied::Tiles { first, count, all } => {
                return multiply(e, first, conv::Rows::Mostly { count, usual: all });
            }
            Multiplied::Images(images) => images,
        };
        // Only the last chunk of a batch is not full: its images go through one by one.
        let full = e.b.ins().icmp_imm_s(IntCC::Equal, images, full_chunk as i64);
        e.when(full, |e| multiply(e, zero, conv::Rows::Fixed(full_chunk * rows)));
        let left = e.b.ins().select(full, zero, images);
        if chunk > 1 {
            e.range(zero, left, 1, |e, image| {
                let first = e.mul(image, rows as i64);
                multiply(e, first, conv::Rows::Fixed(rows));
            });
        }
    }

    /// Adds to one frequency's sums of a kernel's gradient.
    fn kernel_product(
        &self,
        e: &mut Emitter<'_>,
        conv: &ConvPlan,
        frequency: Value,
        images: Value,
    ) {
        let product = Product::KernelGrad;
        let spectra = [Spectrum::Operand(product), Spectrum::Grad, Spectrum::Result(product)];
        let [input, grad, sums] = spectra.map(|spectrum| {
            let layout = conv.spectrum(spectrum, self.plan.chunk);
            let at = self.spectrum(e, conv, spectrum);
            self.frequency(e, at, frequency, layout)
        });
        let rows = conv.spectrum(Spectrum::Operand(product), self.plan.chunk).rows;
        conv::kernel_grad_of_rows(
            e,
            conv.tile(Product::KernelGrad),
            Grouped::of(&conv.geometry),
            (images, rows),
            [input, grad],
            sums.at,
        );
    }

    /// A band of a forward convolution: its products are brought back; by bands it is all done here, one row of tiles at a time.
    pub(super) fn winograd_forward(
        &self,
        e: &mut Emitter<'_>,
        stage: &Stage,
        winograd: Winograd,
        band: Band,
        then: Option<Epilogue>,
    ) {
        let conv = self.plan.conv(stage.node);
        let product = Product::Forward;
        let unit = winograd.size.outputs as i64;
        let output = self.map_of_band(e, stage.writes, band);
        let bias = conv.bias_panels.map(|offset| self.prepared(e, offset));
        let addend = added(stage).map(|addend| self.map_of_band(e, addend, band));
        let finish = InverseEpilogue { bias, mask: None, addend, then, accumulates: false };
        let result = self.rows(e, conv, Spectrum::Result(product), band.image);
        let lo = e.b.ins().udiv_imm_u(band.lo, unit);
        let hi = e.add(band.hi, unit - 1);
        let hi = e.b.ins().udiv_imm_u(hi, unit);
        let scratch = self.scratch(e);
        let outputs = outputs(conv, product, winograd);
        if winograd.reach != Reach::Band {
            winograd::inverse(e, &outputs, (lo, hi), result, (output, scratch), finish);
            return;
        }
        let map = self.image(e, stage.reads[0], band.image);
        let (inputs, role) = grid(conv, Spectrum::Operand(product));
        e.range(lo, hi, 1, |e, first| {
            let range = (first, e.add(first, 1));
            let operand = self.rows(e, conv, Spectrum::Operand(product), band.image);
            let (operand, result) =
                (SpectrumRows { first, ..operand }, SpectrumRows { first, ..result });
            winograd::transform(e, &inputs, role, range, map, scratch, operand);
            let (zero, all) = (e.int(0), e.size(winograd.size.frequencies()));
            e.range(zero, all, 1, |e, frequency| {
                self.product(e, conv, product, frequency, Multiplied::Image);
            });
            winograd::inverse(e, &outputs, range, result, (output, scratch), finish);
        });
    }

    /// An input's gradient whose products are made is brought back.
    pub(super) fn winograd_input_grad(
        &self,
        e: &mut Emitter<'_>,
        conv: &ConvPlan,
        (winograd, image): (Winograd, Value),
        GradOperands { result, mask, accumulates, .. }: GradOperands,
    ) {
        let product = Product::InputGrad;
        let rows = self.rows(e, conv, Spectrum::Result(product), image);
        let outputs = outputs(conv, product, winograd);
        let (tiles, _) = winograd.tiles(conv.geometry.input);
        let range = (e.int(0), e.size(tiles));
        let scratch = self.scratch(e);
        let finish = InverseEpilogue { bias: None, mask, addend: None, then: None, accumulates };
        winograd::inverse(e, &outputs, range, rows, (result, scratch), finish);
    }

    /// Clears the sums of a kernel's gradient.
    pub(super) fn clear_sums(&self, e: &mut Emitter<'_>, conv: &ConvPlan) {
        let spectrum = Spectrum::Result(Product::KernelGrad);
        let layout = conv.spectrum(spectrum, self.plan.chunk);
        let sums = self.spectrum(e, conv, spectrum);
        super::pool::zero(e, sums, layout.frequencies * layout.stride);
    }

    /// Brings the sums of a kernel's gradient back, to where the slice's gradients are.
    pub(super) fn finish_sums(&self, e: &mut Emitter<'_>, conv: &ConvPlan) {
        let spectrum = Spectrum::Result(Product::KernelGrad);
        let size = conv.transformed(Product::KernelGrad).size;
        let layout = conv.spectrum(spectrum, self.plan.chunk);
        let (sums, scratch) = (self.spectrum(e, conv, spectrum), self.scratch(e));
        let kernel =
            self.weight_grad(e, crate::compiler::autodiff::TensorId::WeightGrad(conv.kernel));
        winograd::kernel_grad(e, size, layout, (sums, scratch, kernel));
    }
}
