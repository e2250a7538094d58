//! CIFAR-10 and CIFAR-100 in their binary version: records of label bytes and 3x32x32 pixels, in a folder or in the archive
//! that their authors publish.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use ndarray::Array4;
use tar::Archive;

use super::{DataError, Dataset, Split};

const CHANNELS: usize = 3;
const SIDE: usize = 32;
const PIXELS: usize = CHANNELS * SIDE * SIDE;
/// A file of a set is at most this long; what claims to be longer is no file of a set.
const MOST_BYTES: u64 = 1 << 30;

/// One of the two sets as it is published.
struct Published {
    name: &'static str,
    title: &'static str,
    train: &'static [&'static str],
    test: &'static [&'static str],
    /// The folder that the archive unpacks to.
    folder: &'static str,
    archive: &'static str,
    /// Bytes before the pixels of a record; the last of them is the label.
    labels: usize,
    classes: &'static [&'static str],
}

const CIFAR_10: Published = Published {
    name: "cifar10",
    title: "CIFAR-10",
    train: &[
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
    ],
    test: &["test_batch.bin"],
    folder: "cifar-10-batches-bin",
    archive: "cifar-10-binary.tar.gz",
    labels: 1,
    classes: &[
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ],
};

/// The first label byte of a record is one of 20 coarse classes, which nin passes over.
const CIFAR_100: Published = Published {
    name: "cifar100",
    title: "CIFAR-100",
    train: &["train.bin"],
    test: &["test.bin"],
    folder: "cifar-100-binary",
    archive: "cifar-100-binary.tar.gz",
    labels: 2,
    #[rustfmt::skip]
    classes: &[
        "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
        "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
        "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur",
        "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard",
        "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
        "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree",
        "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket",
        "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
        "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor",
        "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
    ],
};

/// 50,000 and 10,000 images of ten classes.
pub(super) fn cifar10(folder: &Path) -> Result<Dataset, DataError> {
    CIFAR_10.read(folder)
}

/// 50,000 and 10,000 images of a hundred classes.
pub(super) fn cifar100(folder: &Path) -> Result<Dataset, DataError> {
    CIFAR_100.read(folder)
}

/// Where a set's files are.
enum Place {
    Folder(PathBuf),
    /// The archive, and the bytes of those of its files that belong to the set.
    Archive(PathBuf, BTreeMap<&'static str, Vec<u8>>),
}

impl Published {
    /// Reads the set from its files, in the folder or in the one that the archive unpacks to, or else from the archive.
    fn read(&self, folder: &Path) -> Result<Dataset, DataError> {
        let unpacked = [folder.to_owned(), folder.join(self.folder)];
        let archive = if folder.is_file() { folder.to_owned() } else { folder.join(self.archive) };
        let mut place = match unpacked.into_iter().find(|place| self.begins_in(place)) {
            Some(place) => Place::Folder(place),
            None if archive.is_file() => {
                let files = self.unpack(&archive)?;
                Place::Archive(archive, files)
            }
            None => Place::Folder(folder.to_owned()),
        };
        let (train, test) =
            (self.split(&mut place, self.train)?, self.split(&mut place, self.test)?);
        let classes = self.classes.iter().map(|&class| class.to_owned()).collect();
        Dataset::new(self.name, train, test, classes)
    }

    fn files(&self) -> impl Iterator<Item = &'static str> {
        self.train.iter().chain(self.test).copied()
    }

    /// Whether any of the files lies in a folder.
    fn begins_in(&self, folder: &Path) -> bool {
        self.files().any(|name| folder.join(name).is_file())
    }

    /// The set's files out of an archive, in whatever folder of it they lie.
    fn unpack(&self, archive: &Path) -> Result<BTreeMap<&'static str, Vec<u8>>, DataError> {
        let opened = File::open(archive).map_err(|error| DataError::io(archive, error))?;
        let damaged = |error: io::Error| DataError::Format {
            file: archive.to_owned(),
            expected: format!("a gzipped tar archive of {}", self.title),
            found: format!("a damaged or another one ({error})"),
        };
        let mut files = BTreeMap::new();
        let mut tar = Archive::new(GzDecoder::new(BufReader::new(opened)));
        for entry in tar.entries().map_err(damaged)? {
            let entry = entry.map_err(damaged)?;
            let path = entry.path().map_err(damaged)?.into_owned();
            let known =
                self.files().find(|&name| path.file_name().is_some_and(|file| file == name));
            if let Some(name) = known {
                let mut bytes = Vec::new();
                entry.take(MOST_BYTES).read_to_end(&mut bytes).map_err(damaged)?;
                files.insert(name, bytes);
            }
        }
        // The checksum is at the very end.
        io::copy(&mut tar.into_inner(), &mut io::sink()).map_err(damaged)?;
        Ok(files)
    }

    fn split(&self, place: &mut Place, names: &[&'static str]) -> Result<Split, DataError> {
        let (mut pixels, mut labels) = (vec![], vec![]);
        for &name in names {
            let (file, bytes) = self.file(place, name)?;
            let record = self.labels + PIXELS;
            if bytes.is_empty() || bytes.len() % record != 0 {
                return Err(DataError::Format {
                    file,
                    expected: format!("whole records of {record} bytes, as in {}", self.title),
                    found: format!("{} bytes", bytes.len()),
                });
            }
            pixels.reserve_exact(bytes.len() / record * PIXELS);
            for (number, record) in bytes.chunks_exact(record).enumerate() {
                let (label, image) = (record[self.labels - 1], &record[self.labels..]);
                if usize::from(label) >= self.classes.len() {
                    return Err(DataError::Format {
                        file,
                        expected: format!("labels below {}", self.classes.len()),
                        found: format!("{label} in record {number} (from 0)"),
                    });
                }
                labels.push(u32::from(label));
                pixels.extend_from_slice(image);
            }
        }
        let dims = (labels.len(), CHANNELS, SIDE, SIDE);
        let images = Array4::from_shape_vec(dims, pixels).expect("a record holds an image");
        Split::new(images, labels)
    }

    /// A file of the set: what messages call it, and its bytes.
    fn file(&self, place: &mut Place, name: &'static str) -> Result<(PathBuf, Vec<u8>), DataError> {
        match place {
            Place::Folder(folder) => {
                let file = folder.join(name);
                if !file.is_file() {
                    let names: Vec<&str> = self.files().chain([self.archive]).collect();
                    return Err(DataError::missing(
                        folder,
                        format!("`{name}` of {}", self.title),
                        &names,
                    ));
                }
                let bytes = fs::read(&file).map_err(|error| DataError::io(&file, error))?;
                Ok((file, bytes))
            }
            Place::Archive(archive, files) => match files.remove(name) {
                Some(bytes) => Ok((archive.join(name), bytes)),
                None => Err(DataError::Format {
                    file: archive.clone(),
                    expected: format!("an archive of {} with `{name}` in it", self.title),
                    found: "none of this name".to_owned(),
                }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::super::Images;
    use super::*;

    /// Records whose label bytes end in the label, and whose pixels tell where they lie.
    fn records(before: &[u8], labels: &[u8]) -> Vec<u8> {
        let record = |&label: &u8| {
            let pixels = (0..PIXELS).map(move |at| (at % 251) as u8 ^ label);
            before.iter().copied().chain([label]).chain(pixels)
        };
        labels.iter().flat_map(record).collect()
    }

    /// An archive with a file beside those of the set.
    fn archive(folder: &str, files: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let readme = ("readme.html", b"<html>".to_vec());
        for (name, bytes) in files.iter().chain([&readme]) {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, format!("{folder}/{name}"), bytes.as_slice()).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    fn ten() -> Vec<(&'static str, Vec<u8>)> {
        let batch = |number: u8| records(&[], &[number, number + 4]);
        CIFAR_10.files().zip(0..).map(|(name, number)| (name, batch(number))).collect()
    }

    #[test]
    fn files_and_archive_hold_the_same_set() {
        let folder = tempfile::tempdir().unwrap();
        for place in ["plain", "packed", "deep/cifar-10-batches-bin"] {
            fs::create_dir_all(folder.path().join(place)).unwrap();
        }
        for (name, bytes) in ten() {
            fs::write(folder.path().join("plain").join(name), &bytes).unwrap();
            fs::write(folder.path().join("deep/cifar-10-batches-bin").join(name), &bytes).unwrap();
        }
        let packed = folder.path().join("packed/cifar-10-binary.tar.gz");
        fs::write(&packed, archive("cifar-10-batches-bin", &ten())).unwrap();
        for place in ["plain", "packed", "deep", "packed/cifar-10-binary.tar.gz"] {
            let data = cifar10(&folder.path().join(place)).unwrap();
            assert_eq!(data.train().labels(), [0, 4, 1, 5, 2, 6, 3, 7, 4, 8], "{place}");
            assert_eq!(data.test().labels(), [5, 9]);
            assert_eq!(data.shape().to_string(), "3x32x32");
            let Images::Bytes(images) = data.train().images() else { panic!("bytes stay bytes") };
            // Red, green and blue planes, row by row.
            assert_eq!(images[[3, 2, 5, 7]], ((2 * 1024 + 5 * 32 + 7) % 251) as u8 ^ 5);
            assert_eq!(data.classes()[9], "truck");
        }
    }

    #[test]
    fn the_hundred_classes_are_the_fine_ones() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("train.bin"), records(&[19], &[99, 0])).unwrap();
        fs::write(folder.path().join("test.bin"), records(&[3], &[41])).unwrap();
        let data = cifar100(folder.path()).unwrap();
        assert_eq!((data.train().labels(), data.test().labels()), (&[99, 0][..], &[41][..]));
        assert!(data.classes().is_sorted() && data.classes().len() == 100);
    }

    #[test]
    fn damaged_archives_are_errors_that_name_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(CIFAR_10.archive);
        let error = |bytes: &[u8]| {
            fs::write(&file, bytes).unwrap();
            cifar10(folder.path()).unwrap_err().to_string()
        };
        let whole = archive("cifar-10-batches-bin", &ten());
        for length in [0, 5, 100, whole.len() / 2, whole.len() - 9] {
            let message = error(&whole[..length]);
            assert!(message.contains("cifar-10-binary.tar.gz: expected a"), "{length}: {message}");
        }
        let message = error(&archive("cifar-100-binary", &[("train.bin", vec![])]));
        assert!(message.contains("an archive of CIFAR-10 with `data_batch_1.bin`"), "{message}");
    }
}
