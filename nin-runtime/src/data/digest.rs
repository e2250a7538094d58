//! [`Digest`]: what tells two datasets apart, whatever files they came in.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Images, Split};

/// Digests of a dataset's parts. Images in another order are other images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    train_images: String,
    train_labels: String,
    test_images: String,
    test_labels: String,
}

/// The parts in which a dataset is another than it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    parts: Vec<&'static str>,
}

impl Digest {
    /// Reads every pixel.
    pub(super) fn of(train: &Split, test: &Split) -> Digest {
        Digest {
            train_images: images(train.images()),
            train_labels: labels(train.labels()),
            test_images: images(test.images()),
            test_labels: labels(test.labels()),
        }
    }

    /// In what the dataset of another digest differs; `None` if it is the same.
    pub fn changes(&self, other: &Digest) -> Option<Changes> {
        let parts = [
            ("training images", &self.train_images, &other.train_images),
            ("training labels", &self.train_labels, &other.train_labels),
            ("test images", &self.test_images, &other.test_images),
            ("test labels", &self.test_labels, &other.test_labels),
        ];
        let differ = parts.into_iter().filter(|(_, a, b)| a != b);
        let parts: Vec<&'static str> = differ.map(|(part, ..)| part).collect();
        (!parts.is_empty()).then_some(Changes { parts })
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "other {}", self.parts.join(" and other "))
    }
}

fn images(images: &Images) -> String {
    let (n, c, h, w) = images.dims();
    let (kind, pixels) = match images {
        Images::Bytes(images) => ("bytes", images.as_slice()),
        Images::Floats(images) => {
            ("floats", images.as_slice().map(bytemuck::cast_slice::<f32, u8>))
        }
    };
    let pixels = pixels.expect("kept in standard layout");
    hex(&format!("{kind} {n} {c} {h} {w}\n"), pixels)
}

fn labels(labels: &[u32]) -> String {
    hex("labels\n", bytemuck::cast_slice(labels))
}

/// Half of a digest's bits tell any two datasets of a person's apart.
fn hex(head: &str, body: &[u8]) -> String {
    let digest = blake3::Hasher::new().update(head.as_bytes()).update(body).finalize();
    digest.to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use ndarray::Array4;

    use super::*;

    #[test]
    fn every_change_is_seen_where_it_is() {
        let pixels = Array4::from_shape_fn((4, 1, 2, 3), |(n, _, y, x)| (n * 6 + y * 3 + x) as u8);
        let split = |images: &Array4<u8>, labels: [u32; 4]| {
            Split::new(images.clone(), labels.to_vec()).unwrap()
        };
        let (train, test) = (split(&pixels, [0, 1, 0, 1]), split(&pixels, [1, 1, 0, 0]));
        let was = Digest::of(&train, &test);
        let changes = |train: &Split, test: &Split| {
            was.changes(&Digest::of(train, test)).map(|changes| changes.to_string())
        };
        assert_eq!(changes(&train, &test), None);
        let swapped = split(&pixels, [1, 0, 0, 1]);
        assert_eq!(changes(&swapped, &test).unwrap(), "other training labels");
        let mut turned = pixels.clone();
        turned.invert_axis(ndarray::Axis(0));
        let reordered = split(&turned.as_standard_layout().into_owned(), [1, 0, 1, 0]);
        assert_eq!(
            changes(&reordered, &test).unwrap(),
            "other training images and other training labels"
        );
        assert_eq!(changes(&train, &train).unwrap(), "other test labels");
        // The same numbers in another shape or type are other images.
        let shape = pixels.clone().into_shape_with_order((4, 1, 3, 2)).unwrap();
        let floats = Split::new(pixels.mapv(f32::from), vec![1, 1, 0, 0]).unwrap();
        for test in [split(&shape, [1, 1, 0, 0]), floats] {
            assert_eq!(changes(&train, &test).unwrap(), "other test images");
        }
    }
}
