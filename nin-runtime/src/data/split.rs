//! [`Split`]: images and their labels, as bytes or floats, and the gathering of a batch.

use ndarray::{Array4, ArrayBase, ArrayView3, Axis, Data, Ix3};
use nin_dsl::shape::Shape;

use super::{DataError, Normalisation, Preparation};

/// Images `[N, C, H, W]`, kept in the type they came in: bytes stay a quarter of the floats they stand for.
#[derive(Clone, Debug)]
pub enum Images {
    /// Grey or colour levels 0 to 255, which mean the fractions 0 to 1.
    Bytes(Array4<u8>),
    /// Numbers as they are.
    Floats(Array4<f32>),
}

/// Images and the class of each.
#[derive(Clone, Debug)]
pub struct Split {
    images: Images,
    labels: Vec<u32>,
}

impl From<Array4<u8>> for Images {
    fn from(images: Array4<u8>) -> Images {
        Images::Bytes(images)
    }
}

impl From<Array4<f32>> for Images {
    fn from(images: Array4<f32>) -> Images {
        Images::Floats(images)
    }
}

impl Images {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.dims().0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `[N, C, H, W]`.
    pub fn dims(&self) -> (usize, usize, usize, usize) {
        match self {
            Images::Bytes(images) => images.dim(),
            Images::Floats(images) => images.dim(),
        }
    }
}

impl Split {
    /// Pairs images `[N, C, H, W]`, bytes or floats, with their classes `[N]`.
    ///
    /// # Errors
    /// Counts that differ, images without a pixel, or floats that are not finite.
    pub fn new(images: impl Into<Images>, labels: Vec<u32>) -> Result<Split, DataError> {
        let images = images.into();
        let (n, c, h, w) = images.dims();
        if n != labels.len() {
            return Err(DataError::Counts { images: n, labels: labels.len() });
        }
        if u32::try_from(n).is_err() {
            return Err(DataError::TooMany { images: n });
        }
        if n > 0 && c * h * w == 0 {
            return Err(DataError::NoPixel { dims: [c, h, w] });
        }
        let images = match images {
            Images::Bytes(images) => Images::Bytes(standard(images)),
            Images::Floats(images) => {
                let spoilt = |image: ArrayView3<f32>| image.iter().any(|x| !x.is_finite());
                if let Some(image) = images.axis_iter(Axis(0)).position(spoilt) {
                    return Err(DataError::NotFinite { image });
                }
                Images::Floats(standard(images))
            }
        };
        Ok(Split { images, labels })
    }

    /// Collects images `[C, H, W]`, all of bytes or all of floats, each with its class.
    ///
    /// # Errors
    /// An image of another shape than the first, and what [`Split::new`] refuses.
    ///
    /// # Examples
    /// ```
    /// use nin::data::Split;
    /// use nin::ndarray::Array3;
    ///
    /// let stripes = (0..8).map(|n| {
    ///     let upright = n % 2;
    ///     let image = Array3::from_shape_fn((1, 6, 6), |(_, y, x)| {
    ///         if [y, x][upright] % 2 == 0 { 255u8 } else { 0 }
    ///     });
    ///     (image, upright as u32)
    /// });
    /// let split = Split::from_images(stripes)?;
    /// assert_eq!((split.len(), split.shape().to_string()), (8, "1x6x6".to_owned()));
    /// # Ok::<(), nin::data::DataError>(())
    /// ```
    pub fn from_images<S>(
        images: impl IntoIterator<Item = (ArrayBase<S, Ix3>, u32)>,
    ) -> Result<Split, DataError>
    where
        S: Data<Elem: Copy>,
        Images: From<Array4<S::Elem>>,
    {
        let (mut pixels, mut labels) = (vec![], vec![]);
        let mut expected = [0; 3];
        for (index, (image, label)) in images.into_iter().enumerate() {
            let (c, h, w) = image.dim();
            let found = [c, h, w];
            if index == 0 {
                expected = found;
            } else if found != expected {
                return Err(DataError::Ragged { image: index, found, expected });
            }
            pixels.extend(image.iter().copied());
            labels.push(label);
        }
        let [c, h, w] = expected;
        let images = Array4::from_shape_vec((labels.len(), c, h, w), pixels)
            .expect("every image has the first one's shape");
        Split::new(images, labels)
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The images, `[N, C, H, W]`.
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// The class of each image.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Channels, height and width of an image.
    pub fn shape(&self) -> Shape {
        let (_, c, h, w) = self.images.dims();
        Shape::map(c, h, w)
    }

    /// Copies the images at `indices`, prepared, to the front of `batch` and their labels to `labels`.
    ///
    /// # Panics
    /// If an index is out of range or `batch` is smaller than asked for or of another shape.
    pub fn gather(
        &self,
        indices: &[u32],
        preparation: &Preparation,
        batch: &mut Array4<f32>,
        labels: &mut Vec<u32>,
    ) {
        let (_, c, h, w) = self.images.dims();
        let (room, ..) = batch.dim();
        assert_eq!(batch.dim(), (room, c, h, w), "the batch has the images' shape");
        assert!(indices.len() <= room, "the batch has room for {} images", indices.len());
        labels.clear();
        labels.extend(indices.iter().map(|&index| self.labels[index as usize]));
        let batch = batch.as_slice_mut().expect("a batch is in standard layout");
        let size = c * h * w;
        // Bytes are normalised by a table; any other preparation begins with fractions.
        let identity = Normalisation::identity(c);
        let (normalisation, further) = match preparation {
            Preparation::Normalised(normalisation) => (normalisation, None),
            Preparation::Centred { .. }
            | Preparation::Whitened { .. }
            | Preparation::Local { .. } => (&identity, Some(preparation)),
        };
        match &self.images {
            Images::Bytes(images) => {
                let images = images.as_slice().expect("kept in standard layout");
                let tables = normalisation.byte_tables();
                for (&index, out) in indices.iter().zip(batch.chunks_exact_mut(size)) {
                    let image = &images[index as usize * size..][..size];
                    let channels = image.chunks_exact(h * w).zip(out.chunks_exact_mut(h * w));
                    for ((image, out), table) in channels.zip(&tables) {
                        for (out, &level) in out.iter_mut().zip(image) {
                            *out = table[usize::from(level)];
                        }
                    }
                }
            }
            Images::Floats(images) => {
                let images = images.as_slice().expect("kept in standard layout");
                for (&index, out) in indices.iter().zip(batch.chunks_exact_mut(size)) {
                    out.copy_from_slice(&images[index as usize * size..][..size]);
                    if further.is_none() {
                        normalisation.apply(out);
                    }
                }
            }
        }
        if let Some(preparation) = further {
            preparation.apply(&mut batch[..indices.len() * size], self.shape());
        }
    }
}

/// Row-major, as rows of pixels are read; copied only if it is not yet.
fn standard<A: Clone>(images: Array4<A>) -> Array4<A> {
    if images.is_standard_layout() { images } else { images.as_standard_layout().into_owned() }
}

#[cfg(test)]
mod tests {
    use ndarray::Array;

    use super::*;

    /// Bytes and the fractions they stand for give the same batch.
    #[test]
    fn bytes_and_floats_normalise_alike() {
        let bytes =
            Array::from_shape_fn((5, 3, 2, 2), |(n, c, h, w)| (n * 50 + c * 10 + h * 3 + w) as u8);
        let floats = bytes.mapv(|level| f32::from(level) / 255.0);
        let labels: Vec<u32> = (0..5).collect();
        let mut batches = Vec::new();
        for images in [Images::Bytes(bytes), Images::Floats(floats)] {
            let split = Split::new(images, labels.clone()).unwrap();
            let normalisation = Preparation::Normalised(Normalisation::measure(split.images()));
            let (mut batch, mut picked) = (Array4::zeros((4, 3, 2, 2)), vec![9, 9]);
            split.gather(&[4, 0, 2], &normalisation, &mut batch, &mut picked);
            assert_eq!(picked, [4, 0, 2]);
            assert!(batch.index_axis(Axis(0), 3).iter().all(|&x| x == 0.0), "beyond the batch");
            batches.push(batch);
        }
        let apart = (&batches[0] - &batches[1]).mapv(f32::abs).into_iter().fold(0.0, f32::max);
        assert!(apart < 1e-5, "{apart}");
    }
}
