//! [`Preprocessing`], what a recipe asks for, and [`Preparation`], what comes of it for one training set: how images become a
//! model's input.
//!
//! A model only works on images prepared as its training images were, so statistics of those are kept with a run.

mod contrast;
mod whiten;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use ndarray::{Array2, Axis};
use nin_dsl::shape::Shape;
use serde::{Deserialize, Serialize};

use super::{DataError, Images, Normalisation, Split};
use crate::weights::{Moments, Tensor, WeightsError, WeightsFile, save};

/// Name of the training images' mean in a file of statistics.
const MEAN: &str = "mean";
/// Name of the whitening matrix in such a file.
const MATRIX: &str = "whitening";

/// How pixels, fractions of 255, become a model's input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Preprocessing {
    /// Each channel is shifted and scaled to mean 0 and deviation 1 over the training images.
    #[default]
    Normalise,
    /// The training images' mean image is subtracted, and the difference scaled.
    Mean {
        /// What differences are multiplied by: 255 makes them differences of levels.
        #[serde(default = "mean_scale")]
        scale: f64,
    },
    /// Global contrast normalisation, then ZCA whitening by the covariance of the training images, as the paper has it of
    /// Goodfellow et al. (2013).
    Zca {
        /// The length of an image's vector after contrast normalisation.
        #[serde(default = "zca_scale")]
        scale: f64,
        /// What is added to the covariance's eigenvalues.
        #[serde(default = "zca_bias")]
        bias: f64,
    },
    /// Global contrast normalisation, then local: from each pixel the Gaussian mean of its neighbourhood in its channel is
    /// taken, and it is divided by their deviation, or by the image's mean deviation if that is larger (LeCun's, as
    /// pylearn2 has it).
    Lcn {
        /// Side of the neighbourhood, odd.
        #[serde(default = "lcn_kernel")]
        kernel: usize,
        /// The least it is divided by.
        #[serde(default = "lcn_threshold")]
        threshold: f64,
    },
}

fn mean_scale() -> f64 {
    1.0
}

fn zca_scale() -> f64 {
    55.0
}

fn zca_bias() -> f64 {
    0.1
}

fn lcn_kernel() -> usize {
    7
}

fn lcn_threshold() -> f64 {
    1e-4
}

/// What is done to images, with the statistics it needs.
///
/// # Examples
/// ```
/// use nin::data::{Normalisation, Preprocessing, Split};
/// use nin::ndarray::Array4;
///
/// let images = Array4::from_shape_fn((9, 1, 4, 4), |(n, _, y, x)| (n * y * 7 + x * x * 5) as u8);
/// let split = Split::new(images, vec![0; 9])?;
/// let train: Vec<u32> = (0..6).collect();
/// let zca = Preprocessing::Zca { scale: 55.0, bias: 0.1 };
/// let preparation = zca.fit(&split, &train, &Normalisation::identity(1))?;
/// let mut batch = Array4::zeros((6, 1, 4, 4));
/// split.gather(&train, &preparation, &mut batch, &mut vec![]);
/// assert!(batch.sum().abs() < 1e-2);
/// # Ok::<(), nin::data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Preparation {
    /// See [`Preprocessing::Normalise`].
    Normalised(Normalisation),
    /// See [`Preprocessing::Mean`].
    Centred {
        /// What differences from the mean are multiplied by.
        scale: f64,
        /// The mean image, `[C, H, W]`.
        mean: Vec<f32>,
    },
    /// See [`Preprocessing::Zca`].
    Whitened {
        /// The length of an image's vector.
        scale: f64,
        /// The mean image after contrast normalisation.
        mean: Vec<f32>,
        /// The inverse root of the covariance; symmetric.
        matrix: Array2<f32>,
    },
    /// See [`Preprocessing::Lcn`].
    Local {
        /// Side of the neighbourhood.
        kernel: usize,
        /// The least divisor.
        threshold: f64,
    },
}

impl fmt::Display for Preprocessing {
    /// Its `kind` in recipes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Preprocessing::Normalise => "normalise",
            Preprocessing::Mean { .. } => "mean",
            Preprocessing::Zca { .. } => "zca",
            Preprocessing::Lcn { .. } => "lcn",
        })
    }
}

impl Preprocessing {
    /// Takes the statistics of training images at `indices`; `normalisation` is theirs.
    ///
    /// # Errors
    /// [`DataError::Whitening`] of images that are too large to whiten, or whose covariance has no inverse root.
    pub fn fit(
        self,
        split: &Split,
        indices: &[u32],
        normalisation: &Normalisation,
    ) -> Result<Preparation, DataError> {
        Ok(match self {
            Preprocessing::Normalise => Preparation::Normalised(normalisation.clone()),
            Preprocessing::Mean { scale } => {
                Preparation::Centred { scale, mean: whiten::mean(split, indices) }
            }
            Preprocessing::Zca { scale, bias } => {
                let (mean, matrix) = whiten::fit(split, indices, scale, bias)?;
                Preparation::Whitened { scale, mean, matrix }
            }
            Preprocessing::Lcn { kernel, threshold } => Preparation::Local { kernel, threshold },
        })
    }
}

impl Preparation {
    /// Prepares images `[N, C, H, W]` of fractions, one after the other, in place.
    ///
    /// # Panics
    /// If the images are of another shape than its statistics.
    pub fn apply(&self, images: &mut [f32], shape: Shape) {
        let [c, h, w] = [shape.channels(), shape.height(), shape.width()];
        let size = shape.elements();
        match self {
            Preparation::Normalised(normalisation) => {
                images.chunks_exact_mut(size).for_each(|image| normalisation.apply(image));
            }
            Preparation::Centred { scale, mean } => {
                assert_eq!(mean.len(), size, "the mean of images of {shape}");
                let scale = *scale as f32;
                for image in images.chunks_exact_mut(size) {
                    image.iter_mut().zip(mean).for_each(|(x, mean)| *x = (*x - mean) * scale);
                }
            }
            Preparation::Whitened { scale, mean, matrix } => {
                images.chunks_exact_mut(size).for_each(|image| contrast::global(image, *scale));
                whiten::apply(images, mean, matrix);
            }
            Preparation::Local { kernel, threshold } => {
                for image in images.chunks_exact_mut(size) {
                    contrast::global(image, 1.0);
                    contrast::local(image, [c, h, w], *kernel, *threshold as f32);
                }
            }
        }
    }

    /// Whether it can be applied to images of a shape.
    ///
    /// # Errors
    /// Statistics of other images, or that are not finite.
    pub fn check(&self, images: Shape) -> Result<(), DataError> {
        let size = images.elements();
        let fits = match self {
            Preparation::Normalised(normalisation) => return normalisation.check(images),
            Preparation::Centred { mean, .. } => mean.len() == size,
            Preparation::Whitened { mean, matrix, .. } => {
                mean.len() == size && matrix.dim() == (size, size)
            }
            Preparation::Local { .. } => true,
        };
        if fits { Ok(()) } else { Err(DataError::Statistics { images }) }
    }

    /// A mean of the training images that fractions from 0 to 1 cannot have, as levels from 0 to 255 do, if what they are
    /// makes a difference.
    pub fn foreign_mean(&self) -> Option<f32> {
        let means = match self {
            Preparation::Normalised(normalisation) => &normalisation.mean,
            Preparation::Centred { mean, .. } => mean,
            // Both begin with images of one length, whatever they were before.
            Preparation::Whitened { .. } | Preparation::Local { .. } => return None,
        };
        means.iter().copied().find(|mean| !(-0.01..=1.01).contains(mean))
    }

    /// Writes statistics that are too large for words, if there are any; says whether.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn save(&self, file: &Path) -> Result<bool, WeightsError> {
        let vector = |name: &str, values: &[f32]| Tensor {
            name: name.to_owned(),
            dims: vec![values.len()],
            values: values.to_vec(),
        };
        let tensors = match self {
            Preparation::Normalised(_) | Preparation::Local { .. } => return Ok(false),
            Preparation::Centred { mean, .. } => vec![vector(MEAN, mean)],
            Preparation::Whitened { mean, matrix, .. } => {
                let values = matrix.iter().copied().collect();
                let dims = matrix.shape().to_vec();
                vec![vector(MEAN, mean), Tensor { name: MATRIX.to_owned(), dims, values }]
            }
        };
        save(file, &tensors, Moments::default(), &BTreeMap::new())?;
        Ok(true)
    }

    /// What [`Preparation::save`] wrote, for what a recipe asked for; `normalisation` is the training images'.
    ///
    /// # Errors
    /// A file that cannot be read or holds other statistics.
    pub fn read(
        file: &Path,
        asked: Preprocessing,
        normalisation: &Normalisation,
    ) -> Result<Preparation, DataError> {
        let wrong = |found: String| DataError::Format {
            file: file.to_owned(),
            expected: "a run's statistics of its training images".to_owned(),
            found,
        };
        let tensors = || -> Result<BTreeMap<String, Tensor>, DataError> {
            let read = WeightsFile::read(file).map_err(|error| wrong(error.to_string()))?;
            Ok(read.tensors().map(|tensor| (tensor.name.clone(), tensor.clone())).collect())
        };
        let take = |tensors: &mut BTreeMap<String, Tensor>, name: &str| {
            let tensor =
                tensors.remove(name).filter(|tensor| tensor.values.iter().all(|x| x.is_finite()));
            tensor.ok_or_else(|| wrong(format!("no finite `{name}`")))
        };
        Ok(match asked {
            Preprocessing::Normalise => Preparation::Normalised(normalisation.clone()),
            Preprocessing::Lcn { kernel, threshold } => Preparation::Local { kernel, threshold },
            Preprocessing::Mean { scale } => {
                Preparation::Centred { scale, mean: take(&mut tensors()?, MEAN)?.values }
            }
            Preprocessing::Zca { scale, .. } => {
                let mut tensors = tensors()?;
                let (mean, matrix) = (take(&mut tensors, MEAN)?, take(&mut tensors, MATRIX)?);
                let side = mean.values.len();
                let square = matrix.dims == [side, side];
                let values = square.then_some(matrix.values);
                let values =
                    values.ok_or_else(|| wrong(format!("`{MATRIX}` of {:?}", matrix.dims)))?;
                let matrix = Array2::from_shape_vec((side, side), values).expect("a square");
                Preparation::Whitened { scale, mean: mean.values, matrix }
            }
        })
    }
}

/// Images at `indices` as fractions, so many at a time: `[n, C * H * W]`.
fn chunks<'a>(
    split: &'a Split,
    indices: &'a [u32],
    most: usize,
) -> impl Iterator<Item = Array2<f32>> + 'a {
    let (_, c, h, w) = split.images().dims();
    indices.chunks(most).map(move |indices| {
        let rows = indices.iter().flat_map(move |&index| -> Box<dyn Iterator<Item = f32>> {
            match split.images() {
                Images::Bytes(images) => {
                    let image = images.index_axis(Axis(0), index as usize);
                    Box::new(image.into_iter().map(|&level| f32::from(level) / 255.0))
                }
                Images::Floats(images) => {
                    Box::new(images.index_axis(Axis(0), index as usize).into_iter().copied())
                }
            }
        });
        let values: Vec<f32> = rows.collect();
        Array2::from_shape_vec((indices.len(), c * h * w), values).expect("whole images")
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use ndarray::Array4;

    use super::*;

    fn fixtures() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/preprocessed")
    }

    fn floats(name: &str) -> Array4<f32> {
        ndarray_npy::read_npy(fixtures().join(name)).unwrap()
    }

    /// What NumPy and SciPy made of the same images (see `tests/fixtures/make.py`), to 1e-4 of the largest number.
    #[test]
    fn images_are_prepared_as_other_software_prepares_them() {
        let bytes: Array4<u8> = ndarray_npy::read_npy(fixtures().join("images.npy")).unwrap();
        let count = bytes.dim().0;
        let split = Split::new(bytes, vec![0; count]).unwrap();
        // The last images are not of the training set.
        let train: Vec<u32> = (0..count as u32 - 4).collect();
        let all: Vec<u32> = (0..count as u32).collect();
        let folder = tempfile::tempdir().unwrap();
        for (name, asked) in [
            ("mean", Preprocessing::Mean { scale: 1.0 }),
            ("levels", Preprocessing::Mean { scale: 255.0 }),
            ("zca", Preprocessing::Zca { scale: 55.0, bias: 0.1 }),
            ("lcn", Preprocessing::Lcn { kernel: 7, threshold: 1e-4 }),
        ] {
            let normalisation = Normalisation::identity(3);
            let fitted = asked.fit(&split, &train, &normalisation).unwrap();
            fitted.check(split.shape()).unwrap();
            let file = folder.path().join(name);
            assert_eq!(fitted.save(&file).unwrap(), file.exists());
            assert_eq!(Preparation::read(&file, asked, &normalisation).unwrap(), fitted, "{name}");
            let expected = floats(&format!("{name}.npy"));
            let mut batch = Array4::zeros(expected.raw_dim());
            split.gather(&all, &fitted, &mut batch, &mut vec![]);
            let largest = expected.iter().fold(0f32, |most, x| most.max(x.abs()));
            let apart = (&batch - &expected).iter().fold(0f32, |most, x| most.max(x.abs()));
            assert!(apart < 1e-4 * largest, "{name}: {apart} of {largest}");
        }
    }

    #[test]
    fn images_without_contrast_stay_finite() {
        let split = Split::new(Array4::<u8>::from_elem((3, 1, 4, 4), 7), vec![0; 3]).unwrap();
        for asked in [
            Preprocessing::Zca { scale: 55.0, bias: 0.1 },
            Preprocessing::Lcn { kernel: 3, threshold: 1e-4 },
        ] {
            let fitted = asked.fit(&split, &[0, 1], &Normalisation::identity(1)).unwrap();
            let mut batch = Array4::zeros((3, 1, 4, 4));
            split.gather(&[0, 1, 2], &fitted, &mut batch, &mut vec![]);
            assert!(batch.iter().all(|x| x.is_finite()), "{asked:?}");
        }
    }
}
