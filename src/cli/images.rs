//! PNG images as a model reads them.

use std::path::Path;

use anyhow::bail;
use nin::Shape;
use nin::data::Picture;
use nin::ndarray::Array3;

use super::terminal::Terminal;

/// Weights of red, green and blue in a grey (ITU-R BT.601, as most image tools have it).
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

/// Reads a [`Picture`] as fractions `[C, H, W]` of a model's input: colours are averaged to grey or grey spread to colours,
/// and other sizes resized. What changes the picture is said.
pub(crate) fn read(file: &Path, input: Shape, terminal: &Terminal) -> anyhow::Result<Array3<f32>> {
    let image = Picture::open(file)?.read()?;
    let (found, h, w) = image.dim();
    let fraction = |at: [usize; 3]| f32::from(image[at]) / 255.0;
    // A picture may be far larger than what the model reads: only the latter is kept in floats.
    let level: Box<dyn Fn([usize; 3]) -> f32> = match (found, input.channels()) {
        (found, channels) if found == channels => Box::new(fraction),
        (1, 3) => Box::new(|[_, y, x]| fraction([0, y, x])),
        (3, 1) => Box::new(|[_, y, x]| (0..3).map(|c| LUMA[c] * fraction([c, y, x])).sum()),
        (found, channels) => bail!(
            "{}: cannot be given to the model: it has {found} channels and the model reads {channels}",
            file.display()
        ),
    };
    let new = [input.channels(), input.height(), input.width()];
    let [channels, height, width] = new;
    if (h, w) == (height, width) {
        return Ok(Array3::from_shape_fn((channels, height, width), |(c, y, x)| level([c, y, x])));
    }
    terminal.note(format_args!("{}: resized from {h}x{w} to {height}x{width}", file.display()));
    Ok(resized([h, w], new, level))
}

/// Resizes by the mean over the area that a new pixel covers where an image shrinks, and linearly where it grows. `level` is
/// that of the old image at a channel, a row and a column.
fn resized(
    old: [usize; 2],
    [channels, height, width]: [usize; 3],
    level: impl Fn([usize; 3]) -> f32,
) -> Array3<f32> {
    let (rows, columns) = (taps(old[0], height), taps(old[1], width));
    Array3::from_shape_fn((channels, height, width), |(c, y, x)| {
        let across = |row: usize| -> f32 {
            columns[x].iter().map(|&(column, weight)| weight * level([c, row, column])).sum()
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
        let half = resized([1, 40], [1, 1, 20], |[_, _, x]| x as f32);
        for x in 2..18 {
            let expected = 2.0 * x as f32 + 0.5;
            assert!((half[[0, 0, x]] - expected).abs() < 1e-3, "{x}: {}", half[[0, 0, x]]);
        }
    }
}
