//! PNG images as a model reads them.

use std::path::Path;

use anyhow::{Context as _, bail};
use nin::Shape;
use nin::data::Picture;
use nin::ndarray::Array3;

use super::terminal::Terminal;

/// Weights of red, green and blue in a grey (ITU-R BT.601, as most image tools have it).
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

/// Reads a [`Picture`] as fractions `[C, H, W]` of a model's input: colours are averaged to grey or grey spread to colours,
/// and other sizes resized. What changes the picture is said.
pub(crate) fn read(file: &Path, input: Shape, terminal: &Terminal) -> anyhow::Result<Array3<f32>> {
    let image = Picture::open(file)?.read()?.mapv(|level| f32::from(level) / 255.0);
    let image = with_channels(image, input.channels())
        .with_context(|| format!("{}: cannot be given to the model", file.display()))?;
    let (_, h, w) = image.dim();
    let (height, width) = (input.height(), input.width());
    if (h, w) == (height, width) {
        return Ok(image);
    }
    terminal.note(format_args!("{}: resized from {h}x{w} to {height}x{width}", file.display()));
    Ok(resized(&image, height, width))
}

/// Grey to colours or colours to grey.
fn with_channels(image: Array3<f32>, channels: usize) -> anyhow::Result<Array3<f32>> {
    let (found, h, w) = image.dim();
    match (found, channels) {
        _ if found == channels => Ok(image),
        (1, 3) => Ok(Array3::from_shape_fn((3, h, w), |(_, y, x)| image[[0, y, x]])),
        (3, 1) => Ok(Array3::from_shape_fn((1, h, w), |(_, y, x)| {
            (0..3).map(|c| LUMA[c] * image[[c, y, x]]).sum()
        })),
        _ => bail!("it has {found} channels and the model reads {channels}"),
    }
}

/// Resizes by the mean over the area that a new pixel covers where an image shrinks, and linearly where it grows.
fn resized(image: &Array3<f32>, height: usize, width: usize) -> Array3<f32> {
    let (channels, h, w) = image.dim();
    let (rows, columns) = (taps(h, height), taps(w, width));
    Array3::from_shape_fn((channels, height, width), |(c, y, x)| {
        let across = |row: usize| -> f32 {
            columns[x].iter().map(|&(column, weight)| weight * image[[c, row, column]]).sum()
        };
        rows[y].iter().map(|&(row, weight)| weight * across(row)).sum()
    })
}

/// For each new position along one side: the old positions it is made of and their weights, which sum to 1.
///
/// A triangle as wide as the larger of the two pitches: linear interpolation to grow, an area mean to shrink.
fn taps(old: usize, new: usize) -> Vec<Vec<(usize, f32)>> {
    let pitch = old as f64 / new as f64;
    let reach = pitch.max(1.0);
    let one = |position: usize| {
        let centre = (position as f64 + 0.5) * pitch - 0.5;
        let first = (centre - reach).ceil().max(0.0) as usize;
        let last = ((centre + reach).floor().max(0.0) as usize).min(old - 1);
        let weight = |at: usize| (1.0 - (at as f64 - centre).abs() / reach).max(0.0);
        let sum: f64 = (first..=last).map(weight).sum();
        (first..=last).map(|at| (at, (weight(at) / sum) as f32)).collect()
    };
    (0..new).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resized_constant_is_constant_and_a_ramp_stays_a_ramp() {
        for (old, new) in [(28, 14), (14, 28), (30, 7), (1, 5), (5, 1), (64, 28)] {
            for weights in taps(old, new) {
                let sum: f32 = weights.iter().map(|(_, weight)| weight).sum();
                assert!((sum - 1.0).abs() < 1e-5, "{old} to {new}");
            }
        }
        let ramp = Array3::from_shape_fn((1, 1, 40), |(_, _, x)| x as f32);
        let half = resized(&ramp, 1, 20);
        for x in 2..18 {
            let expected = 2.0 * x as f32 + 0.5;
            assert!((half[[0, 0, x]] - expected).abs() < 1e-3, "{x}: {}", half[[0, 0, x]]);
        }
    }
}
