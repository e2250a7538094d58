//! [`Augment`]: random crops and flips of training images.
//!
//! What happens to an image depends on (seed, epoch, image) alone: whoever prepares it, in whatever order, on however many
//! threads, before or after a run was resumed.

use std::ops::Range;

use ndarray::ArrayViewMut3;
use rand::RngExt as _;
use serde::{Deserialize, Serialize};

use super::random::image_stream;

/// How training images are varied. Images to evaluate are never.
///
/// # Examples
/// ```
/// use nin::optimizer::{Optimizer, Squares};
/// use nin::train::{Augment, Recipe};
///
/// // As the paper has it for CIFAR-10, with an optimizer that it does not have.
/// let recipe = Recipe {
///     augment: Augment { pad: 4, flip: true },
///     optimizer: Optimizer::AdamW(Squares::default()),
///     lr: 1e-3,
///     ..Recipe::default()
/// };
/// assert_eq!(Recipe::from_toml(&recipe.to_toml())?, recipe);
/// # Ok::<(), nin::train::RecipeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Pixels of zeros that are put around an image before a part of its own size is cut out at random. They are zeros after
    /// normalisation: the mean colour.
    pub pad: usize,
    /// Whether half of the images are mirrored, left to right.
    pub flip: bool,
}

/// What is done to one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Variation {
    /// Where the cut begins, down and right of the padded image's corner.
    corner: [usize; 2],
    mirrored: bool,
}

impl Augment {
    /// Whether images stay as they are.
    pub(super) fn is_none(self) -> bool {
        self == Augment::default()
    }

    fn vary(self, seed: u64, epoch: u32, image: u32) -> Variation {
        let mut rng = image_stream(seed, epoch, image);
        let corner = [0; 2].map(|_: usize| rng.random_range(0..=2 * self.pad));
        Variation { corner, mirrored: self.flip && rng.random() }
    }

    /// Varies an image `[C, H, W]` in an epoch (from 0).
    pub(super) fn apply(
        self,
        (seed, epoch, number): (u64, u32, u32),
        mut image: ArrayViewMut3<'_, f32>,
        before: &mut Vec<f32>,
    ) {
        let Variation { corner: [down, right], mirrored } = self.vary(seed, epoch, number);
        let (_, height, width) = image.dim();
        let image = image.as_slice_mut().expect("an image is in standard layout");
        before.clear();
        before.extend_from_slice(image);
        image.fill(0.0);
        let (rows, from_row) = self.inside(down, height);
        let (columns, from_column) = self.inside(right, width);
        let planes =
            image.chunks_exact_mut(height * width).zip(before.chunks_exact(height * width));
        for (plane, before) in planes {
            for (y, from) in rows.clone().zip(from_row..) {
                let row = &mut plane[y * width..][..width];
                let from = &before[from * width + from_column..][..columns.len()];
                row[columns.clone()].copy_from_slice(from);
                if mirrored {
                    row.reverse();
                }
            }
        }
    }

    /// What of a cut's side meets the image if it begins at `corner` of the padded one, and where in the image that begins.
    fn inside(self, corner: usize, side: usize) -> (Range<usize>, usize) {
        let start = self.pad.saturating_sub(corner).min(side);
        let from = corner.saturating_sub(self.pad).min(side);
        (start..start + side - start.max(from), from)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, s};

    use super::*;

    fn image() -> Array3<f32> {
        Array3::from_shape_fn((2, 5, 6), |(c, y, x)| (100 * c + 10 * y + x + 1) as f32)
    }

    /// The image after padding, cutting and mirroring, done one after the other.
    fn expected(augment: Augment, variation: Variation) -> Array3<f32> {
        let (pad, [down, right]) = (augment.pad, variation.corner);
        let mut padded = Array3::zeros((2, 5 + 2 * pad, 6 + 2 * pad));
        padded.slice_mut(s![.., pad..pad + 5, pad..pad + 6]).assign(&image());
        let mut cut = padded.slice_move(s![.., down..down + 5, right..right + 6]);
        if variation.mirrored {
            cut.invert_axis(ndarray::Axis(2));
        }
        cut
    }

    #[test]
    fn images_are_padded_cut_and_mirrored() {
        let mut before = vec![];
        for augment in [(4, true), (1, false), (0, true), (9, true)] {
            let augment = Augment { pad: augment.0, flip: augment.1 };
            for number in 0..40 {
                let mut varied = image();
                augment.apply((3, 2, number), varied.view_mut(), &mut before);
                assert_eq!(varied, expected(augment, augment.vary(3, 2, number)), "{augment:?}");
            }
        }
    }

    #[test]
    fn every_corner_and_both_sides_come_equally_often() {
        let augment = Augment { pad: 1, flip: true };
        let mut counts = [0u32; 18];
        for number in 0..9000 {
            let Variation { corner: [y, x], mirrored } = augment.vary(1, 0, number);
            counts[9 * usize::from(mirrored) + 3 * y + x] += 1;
        }
        assert!(counts.iter().all(|count| (400..600).contains(count)), "{counts:?}");
    }

    #[test]
    fn seed_epoch_and_image_each_change_what_is_done() {
        let augment = Augment { pad: 4, flip: true };
        let all = |seed, epoch, first| -> Vec<Variation> {
            (first..first + 20).map(|image| augment.vary(seed, epoch, image)).collect()
        };
        assert_eq!(all(1, 1, 0), all(1, 1, 0));
        for other in [all(2, 1, 0), all(1, 2, 0), all(1, 1, 20)] {
            assert_ne!(all(1, 1, 0), other);
        }
    }
}
