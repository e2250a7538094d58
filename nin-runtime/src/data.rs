//! Datasets: labelled images, kept as they are stored and turned into normalised floats one batch at a time.
//!
//! [`Dataset::new`] takes arrays from Rust; [`Spec`] reads the ones nin knows by name (`mnist-10k`, `mnist:DIR`).

mod idx;
mod mnist;
mod normalise;
mod spec;
mod split;

use std::io;
use std::path::PathBuf;

use nin_dsl::graph::Graph;
use nin_dsl::shape::Shape;

pub use normalise::Normalisation;
pub use spec::{Spec, UnknownSpec, kinds};
pub use split::{Images, Split};

/// Training and test images of the same shape and classes.
#[derive(Clone, Debug)]
pub struct Dataset {
    name: String,
    train: Split,
    test: Split,
    classes: Vec<String>,
    normalisation: Normalisation,
}

/// Why there is no dataset, or not for this model.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file system said no.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file or folder.
        file: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// A file is truncated, or something else than its name says.
    #[error("{}: expected {expected}, found {found}", file.display())]
    Format {
        /// The file.
        file: PathBuf,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A folder lacks a file of the dataset.
    #[error(
        "{}: no {what} here; nin looks for {}",
        folder.display(),
        looked_for.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    )]
    Missing {
        /// The folder.
        folder: PathBuf,
        /// What the missing file holds.
        what: String,
        /// The names it may have.
        looked_for: Vec<String>,
    },
    /// Arrays that are no dataset together.
    #[error("{0}")]
    Invalid(String),
    /// The images are not what the model reads.
    #[error(
        "the model reads {model} images, and those of {data} are {images}: write `{}` in the model",
        input_layer(*images)
    )]
    Input {
        /// The model's input.
        model: Shape,
        /// The dataset's name.
        data: String,
        /// The shape of its images.
        images: Shape,
    },
    /// The model's outputs are not one a class.
    #[error(
        "the model has {model} outputs, and {data} has {classes} classes: give the model's last convolution (or `fc`) \
         {classes} channels"
    )]
    Classes {
        /// The model's output.
        model: Shape,
        /// The dataset's name.
        data: String,
        /// Its classes.
        classes: usize,
    },
}

/// The layer that reads images of a shape.
fn input_layer(images: Shape) -> String {
    format!("input({}, {}, {})", images.channels(), images.height(), images.width())
}

impl Dataset {
    /// Puts two splits together; `classes` names the labels from 0. Normalisation is measured on the training split.
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
        let invalid = |problem: String| Err(DataError::Invalid(format!("{name}: {problem}")));
        if train.is_empty() {
            return invalid("there is no training image".to_owned());
        }
        if !test.is_empty() && train.shape() != test.shape() {
            let (train, test) = (train.shape(), test.shape());
            return invalid(format!("training images are {train}, test images {test}"));
        }
        for (what, split) in [("training", &train), ("test", &test)] {
            let stray = split.labels().iter().position(|&label| label as usize >= classes.len());
            if let Some(index) = stray {
                let (label, count) = (split.labels()[index], classes.len());
                return invalid(format!(
                    "{what} image {index} has the label {label}; with {count} classes, labels are below {count}"
                ));
            }
        }
        let normalisation = Normalisation::measure(train.images());
        Ok(Dataset { name, train, test, classes, normalisation })
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
            return Err(DataError::Classes { model: output, data, classes });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array4;

    use super::*;

    fn split(shape: (usize, usize, usize, usize), labels: &[u32]) -> Split {
        Split::new(Images::Bytes(Array4::zeros(shape)), labels.to_vec()).unwrap()
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|class| class.to_string()).collect()
    }

    #[test]
    fn arrays_that_do_not_belong_together_are_errors() {
        let train = split((2, 1, 4, 4), &[0, 1]);
        let error = |test, classes| {
            Dataset::new("mine", train.clone(), test, names(classes)).unwrap_err().to_string()
        };
        assert_eq!(
            error(split((1, 3, 4, 4), &[0]), 2),
            "mine: training images are 1x4x4, test images 3x4x4"
        );
        assert_eq!(
            error(split((1, 1, 4, 4), &[5]), 2),
            "mine: test image 0 has the label 5; with 2 classes, labels are below 2"
        );
        let labels = Split::new(Images::Bytes(Array4::zeros((2, 1, 4, 4))), vec![0]).unwrap_err();
        assert_eq!(labels.to_string(), "2 images and 1 labels: each image needs one");
    }
}
