//! [`Normalisation`]: the shift and scale that give the training images' channels mean 0 and deviation 1.
//!
//! A model only works on images normalised as its training images were, so the constants are kept beside its weights.

use ndarray::Axis;
use nin_dsl::shape::Shape;
use serde::{Deserialize, Serialize};

use super::{DataError, Images};

/// Per channel, of pixels as fractions of 255 (or of floats as they are).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalisation {
    /// What is subtracted.
    pub mean: Vec<f32>,
    /// What is then divided by; never 0.
    pub deviation: Vec<f32>,
}

impl Normalisation {
    /// Leaves images as they are.
    pub fn identity(channels: usize) -> Normalisation {
        Normalisation { mean: vec![0.0; channels], deviation: vec![1.0; channels] }
    }

    /// The channels' means and deviations over all images. A channel that never varies is only shifted.
    pub fn measure(images: &Images) -> Normalisation {
        let moments: Vec<(f64, f64)> = match images {
            Images::Bytes(images) => {
                let channels = images.axis_iter(Axis(1));
                let counted = channels.map(|channel| {
                    let mut counts = [0u64; 256];
                    channel.iter().for_each(|&level| counts[usize::from(level)] += 1);
                    let levels = counts.iter().enumerate();
                    moments(levels.map(|(level, &count)| (level as f64 / 255.0, count as f64)))
                });
                counted.collect()
            }
            Images::Floats(images) => {
                let channels = images.axis_iter(Axis(1));
                let each = |channel: ndarray::ArrayView3<f32>| {
                    moments(channel.iter().map(|&x| (f64::from(x), 1.0)))
                };
                channels.map(each).collect()
            }
        };
        let deviation = |&(_, variance): &(f64, f64)| {
            if variance > f64::from(f32::EPSILON).powi(2) { variance.sqrt() as f32 } else { 1.0 }
        };
        Normalisation {
            mean: moments.iter().map(|&(mean, _)| mean as f32).collect(),
            deviation: moments.iter().map(deviation).collect(),
        }
    }

    /// Channels it is for.
    pub fn channels(&self) -> usize {
        self.mean.len()
    }

    /// Whether these are usable constants for images of a shape.
    ///
    /// # Errors
    /// Another number of channels, or a constant that is not finite, or not above 0 where it must be.
    pub fn check(&self, images: Shape) -> Result<(), DataError> {
        let Normalisation { mean, deviation } = self;
        let channels = images.channels();
        let sound = mean.len() == channels
            && deviation.len() == channels
            && mean.iter().all(|x| x.is_finite())
            && deviation.iter().all(|x| x.is_finite() && *x > 0.0);
        if sound {
            return Ok(());
        }
        Err(DataError::Normalisation { images })
    }

    /// Normalises one image `[C, H, W]` in place.
    ///
    /// # Panics
    /// If the image has another number of channels.
    pub fn apply(&self, image: &mut [f32]) {
        assert_eq!(image.len() % self.channels(), 0, "an image of {} channels", self.channels());
        let pixels = image.len() / self.channels();
        let constants = self.mean.iter().zip(&self.deviation);
        for (channel, (mean, deviation)) in image.chunks_exact_mut(pixels).zip(constants) {
            channel.iter_mut().for_each(|x| *x = (*x - mean) / deviation);
        }
    }

    /// For each channel, what a byte of each level becomes.
    pub(super) fn byte_tables(&self) -> Vec<[f32; 256]> {
        let constants = self.mean.iter().zip(&self.deviation);
        let table = |(mean, deviation): (&f32, &f32)| {
            std::array::from_fn(|level| (level as f32 / 255.0 - mean) / deviation)
        };
        constants.map(table).collect()
    }
}

/// Mean and biased variance of weighted numbers, in two passes.
fn moments(numbers: impl Iterator<Item = (f64, f64)> + Clone) -> (f64, f64) {
    let (sum, total) = numbers
        .clone()
        .fold((0.0, 0.0), |(sum, total), (x, count)| (sum + x * count, total + count));
    let mean = sum / total;
    let squares: f64 = numbers.map(|(x, count)| (x - mean) * (x - mean) * count).sum();
    (mean, squares / total)
}
