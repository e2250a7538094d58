//! Datasets as their authors publish them: one of their files is the input, and the others are right.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use nin_runtime::data::Spec;

use super::Check;
use super::scratch::Scratch;

/// What reading a dataset says, which is all that is promised of it.
fn load(kind: &str, scratch: &Scratch) {
    let spec: Spec = format!("{kind}:{}", scratch.path().display()).parse().expect("a dataset");
    if let Err(error) = spec.load() {
        let _said = error.to_string();
    }
}

fn words(words: &[u32]) -> impl Iterator<Item = u8> {
    words.iter().flat_map(|word| word.to_be_bytes())
}

/// MNIST with two images of 2x2; the input is the images and then the labels of training.
pub(super) fn idx() -> Check {
    let images: Vec<u8> = words(&[0x803, 2, 2, 2]).chain([9; 8]).collect();
    let labels: Vec<u8> = words(&[0x801, 2]).chain([0, 1]).collect();
    let (train_images, train_labels) = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte");
    let scratch = Scratch::with([
        (train_images, images.clone()),
        (train_labels, labels.clone()),
        ("t10k-images-idx3-ubyte", images.clone()),
        ("t10k-labels-idx1-ubyte", labels.clone()),
    ]);
    Box::new(move |bytes| {
        for (name, whole) in [(train_images, &images), (train_labels, &labels)] {
            scratch.write(name, bytes);
            load("mnist", &scratch);
            scratch.write(name, whole);
        }
        Ok(())
    })
}

/// A record of CIFAR-10.
fn record() -> Vec<u8> {
    let mut record = vec![3; 1 + 3 * 32 * 32];
    record[0] = 1;
    record
}

/// CIFAR-10 with an image a file; the input is one of its files.
pub(super) fn records() -> Check {
    let names = [
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
        "test_batch.bin",
    ];
    let scratch = Scratch::with(names.map(|name| (name, record())));
    Box::new(move |bytes| {
        scratch.write("data_batch_3.bin", bytes);
        load("cifar10", &scratch);
        Ok(())
    })
}

/// The input is what is published.
pub(super) fn archive() -> Check {
    let scratch = Scratch::new();
    Box::new(move |bytes| {
        for (kind, name) in
            [("cifar10", "cifar-10-binary.tar.gz"), ("cifar100", "cifar-100-binary.tar.gz")]
        {
            scratch.write(name, bytes);
            load(kind, &scratch);
        }
        Ok(())
    })
}

/// The same, of which gzip's checksum is right.
pub(super) fn tar() -> Check {
    let mut archive = archive();
    Box::new(move |bytes| {
        let mut gzip = GzEncoder::new(vec![], Compression::none());
        gzip.write_all(bytes).expect("memory takes it");
        archive(&gzip.finish().expect("memory takes an end"))
    })
}

const TEST: &str = "test_32x32.mat";
const TRAIN: &str = "train_32x32.mat";

/// SVHN with one image; the input is what it is tested or trained on.
pub(super) fn mat() -> Check {
    let whole = svhn([
        &element_of("X", &[32, 32, 3, 1], 2, &[5; 3072]),
        &element_of("y", &[1, 1], 2, &[7]),
    ]);
    let scratch = Scratch::with([(TRAIN, whole.clone()), (TEST, whole)]);
    Box::new(move |bytes| {
        scratch.write(TRAIN, bytes);
        load("svhn", &scratch);
        Ok(())
    })
}

/// The same with an array that is compressed, as the published files have them, and one that is right.
pub(super) fn element() -> Check {
    let mut mat = mat();
    Box::new(move |bytes| {
        for other in
            [element_of("X", &[32, 32, 3, 1], 2, &[5; 3072]), element_of("y", &[1, 1], 2, &[7])]
        {
            mat(&svhn([bytes, &other]))?;
        }
        Ok(())
    })
}

/// A file of two elements, the first of them compressed.
fn svhn([first, second]: [&[u8]; 2]) -> Vec<u8> {
    let mut file = vec![b' '; 124];
    file.extend([0, 1, b'I', b'M']);
    let mut packed = ZlibEncoder::new(vec![], Compression::fast());
    packed.write_all(first).expect("memory takes it");
    let packed = packed.finish().expect("memory takes an end");
    file.extend(15u32.to_le_bytes());
    file.extend((packed.len() as u32).to_le_bytes());
    file.extend(packed);
    file.extend(second);
    file
}

/// An array as an element of a file.
fn element_of(name: &str, dims: &[u32], kind: u32, numbers: &[u8]) -> Vec<u8> {
    let mut body = vec![];
    let mut part = |kind: u32, bytes: &[u8]| {
        body.extend(kind.to_le_bytes());
        body.extend((bytes.len() as u32).to_le_bytes());
        body.extend(bytes);
        body.resize(body.len().next_multiple_of(8), 0);
    };
    part(6, &[9, 0, 0, 0, 0, 0, 0, 0]);
    part(5, &dims.iter().flat_map(|dim| dim.to_le_bytes()).collect::<Vec<u8>>());
    part(1, name.as_bytes());
    part(kind, numbers);
    let mut element = 14u32.to_le_bytes().to_vec();
    element.extend((body.len() as u32).to_le_bytes());
    element.extend(body);
    element
}
