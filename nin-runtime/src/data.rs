//! Datasets: labelled images, kept as they are stored and turned into normalised floats one batch at a time.
//!
//! [`Dataset::new`] takes arrays from Rust; [`Spec`] reads the ones nin knows by name (`mnist-10k`, `mnist:DIR`,
//! `cifar10:DIR`, `cifar100:DIR`, `svhn:DIR`) and those of image files and of NumPy arrays (`images:DIR`, `npy:DIR`).

mod cifar;
mod digest;
mod doubt;
mod error;
mod idx;
mod images;
mod mat;
mod mnist;
mod normalise;
pub mod npy;
mod picture;
mod preprocess;
mod sniff;
mod spec;
mod split;
mod svhn;
mod tarball;
mod unpack;

use std::sync::OnceLock;

use nin_dsl::graph::Graph;
use nin_dsl::shape::Shape;

pub use digest::{Changes, Digest};
pub use doubt::Doubt;
pub use error::{DataError, Set};
pub use normalise::Normalisation;
pub use picture::{Picture, encode};
pub use preprocess::{Preparation, Preprocessing};
pub use spec::{Spec, UnknownSpec, kinds};
pub use split::{Images, Split};

/// Training and test images of the same shape and classes.
///
/// # Examples
/// From whole arrays, `[N, C, H, W]`, here of floats:
/// ```
/// use nin::data::{Dataset, Split};
/// use nin::ndarray::Array4;
///
/// // Bright images are of class 1.
/// let split = |n: usize| {
///     let images = Array4::from_shape_fn((n, 3, 8, 8), |(n, ..)| (n % 2) as f32);
///     Split::new(images, (0..n as u32).map(|n| n % 2).collect())
/// };
/// let classes = ["dark", "bright"].map(str::to_owned).to_vec();
/// let data = Dataset::new("halves", split(40)?, split(10)?, classes)?;
/// assert_eq!(data.normalisation().mean, [0.5; 3]);
/// # Ok::<(), nin::data::DataError>(())
/// ```
/// [`Split::from_images`] collects images one by one.
#[derive(Clone, Debug)]
pub struct Dataset {
    name: String,
    train: Split,
    test: Split,
    classes: Vec<String>,
    normalisation: Normalisation,
    digest: OnceLock<Digest>,
}

impl Dataset {
    /// Puts two splits together; `classes` names the labels from 0. Normalisation is measured on the training split.
    /// The test split may be empty.
    ///
    /// # Errors
    /// Splits of different shapes, a label without a class, or no training image.
    pub fn new(
        name: impl Into<String>,
        train: Split,
        test: Split,
        classes: Vec<String>,
    ) -> Result<Dataset, DataError> {
        let name = name.into();
        match mismatch(&train, &test, classes.len()) {
            Some(problem) => Err(problem.within(name)),
            None => {
                let normalisation = Normalisation::measure(train.images());
                Ok(Dataset { name, train, test, classes, normalisation, digest: OnceLock::new() })
            }
        }
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The images to learn from.
    pub fn train(&self) -> &Split {
        &self.train
    }

    /// The images held back.
    pub fn test(&self) -> &Split {
        &self.test
    }

    /// The classes' names, by label.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Means and deviations of the training images' channels.
    pub fn normalisation(&self) -> &Normalisation {
        &self.normalisation
    }

    /// What tells it from other datasets; made when it is first asked for.
    pub fn digest(&self) -> &Digest {
        self.digest.get_or_init(|| Digest::of(&self.train, &self.test))
    }

    /// Channels, height and width of an image.
    pub fn shape(&self) -> Shape {
        self.train.shape()
    }

    /// Whether a model reads these images and has one output for each class.
    ///
    /// # Errors
    /// The shape or the count that differs, and how to change the model.
    pub fn check(&self, graph: &Graph) -> Result<(), DataError> {
        let (input, output) = (graph.input(), graph.output());
        if input != self.shape() {
            let (data, images) = (self.name.clone(), self.shape());
            return Err(DataError::Input { model: input, data, images });
        }
        if output != (Shape::Vector { n: self.classes.len() }) {
            let (data, classes) = (self.name.clone(), self.classes.len());
            return Err(DataError::Classes { model: output, data, classes, unseen: self.unseen() });
        }
        Ok(())
    }
}

/// Why two splits are no dataset of so many classes.
fn mismatch(train: &Split, test: &Split, classes: usize) -> Option<DataError> {
    if train.is_empty() {
        return Some(DataError::Empty { set: Set::Train });
    }
    if !test.is_empty() && train.shape() != test.shape() {
        return Some(DataError::Shapes { train: train.shape(), test: test.shape() });
    }
    [(Set::Train, train), (Set::Test, test)].into_iter().find_map(|(set, split)| {
        let image = split.labels().iter().position(|&label| label as usize >= classes)?;
        Some(DataError::Label { set, image, label: split.labels()[image], classes })
    })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, Array4};

    use super::*;

    fn split(shape: (usize, usize, usize, usize), labels: &[u32]) -> Split {
        Split::new(Array4::<u8>::zeros(shape), labels.to_vec()).unwrap()
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|class| class.to_string()).collect()
    }

    #[test]
    fn arrays_that_do_not_belong_together_are_errors() {
        let train = split((2, 1, 4, 4), &[0, 1]);
        let error = |train: &Split, test, classes| {
            Dataset::new("mine", train.clone(), test, names(classes)).unwrap_err().to_string()
        };
        assert_eq!(
            error(&train, split((1, 3, 4, 4), &[0]), 2),
            "mine: training images are 1x4x4, test images 3x4x4: they must have one shape"
        );
        assert_eq!(
            error(&train, split((1, 1, 4, 4), &[5]), 2),
            "mine: test image 0 has the label 5; with 2 classes, labels are below 2"
        );
        let none = split((0, 1, 4, 4), &[]);
        assert_eq!(error(&none, none.clone(), 2), "mine: there is no training image");
    }

    #[test]
    fn images_that_are_no_split_are_errors() {
        let error = |made: Result<Split, DataError>| made.unwrap_err().to_string();
        assert_eq!(
            error(Split::new(Array4::<u8>::zeros((2, 1, 4, 4)), vec![0])),
            "2 images and 1 labels: each image needs one"
        );
        assert_eq!(
            error(Split::new(Array4::<f32>::zeros((2, 1, 0, 4)), vec![0, 0])),
            "images of 1x0x4 hold no pixel"
        );
        let ragged = [4, 4, 5].map(|width| (Array3::<u8>::zeros((1, 4, width)), 0));
        assert_eq!(
            error(Split::from_images(ragged)),
            "image 2 is 1x4x5, and the first is 1x4x4: all must have one shape"
        );
        let spoilt = [0.0, f32::NAN].map(|level| (Array3::from_elem((1, 4, 4), level), 0));
        assert_eq!(error(Split::from_images(spoilt)), "image 1 holds a number that is not finite");
        assert!(Split::from_images(Vec::<(Array3<f32>, u32)>::new()).unwrap().is_empty());
    }

    /// A view's pixels are collected in the order of its axes, whatever lies in memory.
    #[test]
    fn images_are_collected_as_they_are_seen() {
        let image = Array3::from_shape_fn((2, 3, 4), |(c, y, x)| (c * 100 + y * 10 + x) as u8);
        let turned = image.view().permuted_axes([2, 1, 0]);
        let split = Split::from_images([(turned, 7)]).unwrap();
        let Images::Bytes(images) = split.images() else { panic!("bytes stay bytes") };
        assert_eq!(images.dim(), (1, 4, 3, 2));
        assert_eq!(images[[0, 3, 2, 1]], 123);
        assert_eq!(split.labels(), [7]);
    }
}
