//! Convolution and its gradients: one loop over the real pixels under each window, three times.

use ndarray::{Array1, Array4, ArrayView1, ArrayView4, Axis, NdFloat};
use nin_dsl::shape::{Slide, Window};

/// How a convolution is laid over its maps.
#[derive(Clone, Copy)]
pub(super) struct Conv {
    /// Window.
    pub(super) window: Window,
    /// Groups of channels.
    pub(super) groups: usize,
}

impl Conv {
    /// The input channels that an output channel sees, of `out` each of which sees `cin`.
    fn seen(
        self,
        output: usize,
        (out, cin): (usize, usize),
    ) -> impl Iterator<Item = (usize, usize)> {
        let group = output / (out / self.groups);
        (0..cin).map(move |i| (i, group * cin + i))
    }
}

/// One multiplication of a convolution of one channel.
#[derive(Clone, Copy)]
pub(super) struct Tap {
    /// Output pixel.
    pub(super) output: (usize, usize),
    /// Place in the window.
    pub(super) kernel: (usize, usize),
    /// Input pixel.
    pub(super) input: (usize, usize),
}

/// The real pixels under the window of one output pixel, in row order. Taps on padding are left out.
pub(super) fn under(
    window: Window,
    (h, w): (usize, usize),
    output: (usize, usize),
) -> impl Iterator<Item = Tap> {
    let real = move |slide: Slide, out: usize, tap: usize, size: usize| {
        let at = out * slide.stride + tap * slide.dilation;
        at.checked_sub(slide.pad[0]).filter(|&pixel| pixel < size)
    };
    let Window { y, x } = window;
    (0..y.kernel).flat_map(move |ky| {
        (0..x.kernel).filter_map(move |kx| {
            let input = (real(y, output.0, ky, h)?, real(x, output.1, kx, w)?);
            Some(Tap { output, kernel: (ky, kx), input })
        })
    })
}

/// The taps of all output pixels, in row order.
pub(super) fn taps(
    window: Window,
    input: (usize, usize),
    output: (usize, usize),
) -> impl Iterator<Item = Tap> {
    let pixels = (0..output.0).flat_map(move |y| (0..output.1).map(move |x| (y, x)));
    pixels.flat_map(move |pixel| under(window, input, pixel))
}

/// Height and width of `[N, C, H, W]`.
pub(super) fn pixels<T>(x: &ArrayView4<'_, T>) -> (usize, usize) {
    let (_, _, h, w) = x.dim();
    (h, w)
}

/// `y[o] = bias[o] + sum kernel[o, i] * x[i]` over taps and the input channels of its group.
pub(super) fn forward<T: NdFloat>(
    conv: Conv,
    kernel: ArrayView4<'_, T>,
    bias: ArrayView1<'_, T>,
    x: ArrayView4<'_, T>,
    output: (usize, usize),
) -> Array4<T> {
    let (out, cin, _, _) = kernel.dim();
    let images = x.dim().0;
    let mut y = Array4::from_shape_fn((images, out, output.0, output.1), |(_, o, _, _)| bias[o]);
    for n in 0..images {
        for Tap { output, kernel: k, input } in taps(conv.window, pixels(&x), output) {
            for o in 0..out {
                let mut sum = T::zero();
                for (i, c) in conv.seen(o, (out, cin)) {
                    sum += kernel[[o, i, k.0, k.1]] * x[[n, c, input.0, input.1]];
                }
                y[[n, o, output.0, output.1]] += sum;
            }
        }
    }
    y
}

/// `dx[i] = sum kernel[o, i] * dy[o]` over the taps that read the pixel and the output channels.
pub(super) fn input_grad<T: NdFloat>(
    conv: Conv,
    kernel: ArrayView4<'_, T>,
    dy: ArrayView4<'_, T>,
    input: (usize, usize),
) -> Array4<T> {
    let (out, cin, _, _) = kernel.dim();
    let images = dy.dim().0;
    let mut dx = Array4::zeros((images, cin * conv.groups, input.0, input.1));
    for n in 0..images {
        for Tap { output, kernel: k, input } in taps(conv.window, input, pixels(&dy)) {
            for o in 0..out {
                for (i, c) in conv.seen(o, (out, cin)) {
                    dx[[n, c, input.0, input.1]] +=
                        kernel[[o, i, k.0, k.1]] * dy[[n, o, output.0, output.1]];
                }
            }
        }
    }
    dx
}

/// `dkernel[o, i] = sum dy[o] * x[i]` over images and output pixels; `dims` are the kernel's.
pub(super) fn kernel_grad<T: NdFloat>(
    conv: Conv,
    dims: (usize, usize, usize, usize),
    dy: ArrayView4<'_, T>,
    x: ArrayView4<'_, T>,
) -> Array4<T> {
    let (out, cin, _, _) = dims;
    let mut dkernel = Array4::zeros(dims);
    for n in 0..x.dim().0 {
        for Tap { output, kernel: k, input } in taps(conv.window, pixels(&x), pixels(&dy)) {
            for o in 0..out {
                for (i, c) in conv.seen(o, (out, cin)) {
                    dkernel[[o, i, k.0, k.1]] +=
                        dy[[n, o, output.0, output.1]] * x[[n, c, input.0, input.1]];
                }
            }
        }
    }
    dkernel
}

/// `dbias[o] = sum dy[o]` over images and output pixels.
pub(super) fn bias_grad<T: NdFloat>(dy: ArrayView4<'_, T>) -> Array1<T> {
    dy.sum_axis(Axis(3)).sum_axis(Axis(2)).sum_axis(Axis(0))
}
