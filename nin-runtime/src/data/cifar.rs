//! CIFAR-10 and CIFAR-100 in their binary version: records of label bytes and 3x32x32 pixels, in a folder or in the archive
//! that their authors publish.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};

use ndarray::Array4;

use super::{DataError, Dataset, Split, sniff, tarball};
use crate::file::{self, Limited};

const CHANNELS: usize = 3;
const SIDE: usize = 32;
const PIXELS: usize = CHANNELS * SIDE * SIDE;
/// A file of a set is at most this long; the published ones are a third of it.
const MOST_BYTES: u64 = 1 << 28;
const MOST_OF_A_FILE: &str = "the most that nin reads of a file of the set";

/// One of the two sets as it is published.
struct Published {
    name: &'static str,
    title: &'static str,
    train: &'static [&'static str],
    test: &'static [&'static str],
    /// The folder that the archive unpacks to.
    folder: &'static str,
    archive: &'static str,
    /// The forms that nin does not read.
    others: [Version; 2],
    /// Bytes before the pixels of a record; the last of them is the label.
    labels: usize,
    classes: &'static [&'static str],
}

/// A form of a set that it is published in beside the binary one.
struct Version {
    whose: &'static str,
    folder: &'static str,
    archive: &'static str,
    /// What its files' names end in, in place of `.bin`.
    extension: &'static str,
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
    others: [
        Version {
            whose: "Python",
            folder: "cifar-10-batches-py",
            archive: "cifar-10-python.tar.gz",
            extension: "",
        },
        Version {
            whose: "MATLAB",
            folder: "cifar-10-batches-mat",
            archive: "cifar-10-matlab.tar.gz",
            extension: ".mat",
        },
    ],
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
    others: [
        Version {
            whose: "Python",
            folder: "cifar-100-python",
            archive: "cifar-100-python.tar.gz",
            extension: "",
        },
        Version {
            whose: "MATLAB",
            folder: "cifar-100-matlab",
            archive: "cifar-100-matlab.tar.gz",
            extension: ".mat",
        },
    ],
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
        let archive = if folder.is_dir() { folder.join(self.archive) } else { folder.to_owned() };
        let mut place = match unpacked.into_iter().find(|place| self.begins_in(place)) {
            Some(place) => Place::Folder(place),
            None if archive.exists() => {
                let files = self.unpack(&archive)?;
                Place::Archive(archive, files)
            }
            None => match self.others.iter().find(|other| other.lies_in(self, folder)) {
                Some(other) => return Err(self.but_found(other, folder)),
                None => Place::Folder(folder.to_owned()),
            },
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
        self.files().any(|name| folder.join(name).exists())
    }

    /// The error about another version of the set.
    fn but_found(&self, other: &Version, place: &Path) -> DataError {
        let Published { title, archive, .. } = *self;
        DataError::Version { place: place.to_owned(), whose: other.whose, title, archive }
    }

    /// The set's files out of an archive, in whatever folder of it they lie.
    fn unpack(&self, archive: &Path) -> Result<BTreeMap<&'static str, Vec<u8>>, DataError> {
        let opened = file::open(archive).map_err(|error| DataError::io(archive, error))?;
        let damaged = |error: io::Error| DataError::Format {
            file: archive.to_owned(),
            expected: format!("a tar archive of {}, gzipped or not", self.title),
            found: format!("a damaged or another one ({error})"),
        };
        let (mut files, mut other) = (BTreeMap::new(), None);
        let each = |name: &[u8], from: &mut dyn io::Read| {
            other = other.or(self
                .others
                .iter()
                .find(|other| other.files(self).any(|file| file.as_bytes() == name)));
            if let Some(known) = self.files().find(|known| known.as_bytes() == name) {
                let mut bytes = Vec::new();
                Limited::new(from, MOST_BYTES, MOST_OF_A_FILE).read_to_end(&mut bytes)?;
                files.insert(known, bytes);
            }
            Ok(())
        };
        tarball::files(BufReader::new(opened), each).map_err(damaged)?;
        match other {
            Some(other) if files.is_empty() => Err(self.but_found(other, archive)),
            _ => Ok(files),
        }
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
                    found: format!("{} bytes{}", bytes.len(), sniff::bracketed(&bytes)),
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
                if !file.exists() {
                    let names: Vec<&str> = self.files().chain([self.archive]).collect();
                    return Err(DataError::missing(
                        folder,
                        format!("`{name}` of {}", self.title),
                        &names,
                    ));
                }
                match file::read(&file, MOST_BYTES, MOST_OF_A_FILE) {
                    Ok(bytes) => Ok((file, bytes)),
                    Err(error) => Err(DataError::io(&file, error)),
                }
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

impl Version {
    /// The names of a set's files in this version.
    fn files(&self, set: &Published) -> impl Iterator<Item = String> {
        set.files().map(|name| format!("{}{}", name.trim_end_matches(".bin"), self.extension))
    }

    /// Whether it, or any of its files, lies in a folder.
    fn lies_in(&self, set: &Published, folder: &Path) -> bool {
        folder.join(self.folder).is_dir()
            || folder.join(self.archive).is_file()
            || self.files(set).any(|name| folder.join(name).is_file())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use std::io::Write as _;

    use flate2::Compression;
    use flate2::read::GzDecoder;
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

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
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
        let packed = archive("cifar-10-batches-bin", &ten());
        fs::write(folder.path().join("packed/cifar-10-binary.tar.gz"), &packed).unwrap();
        // As browsers leave it that unpack what they load down, and as pigz and bgzip pack it.
        let mut tar = vec![];
        GzDecoder::new(packed.as_slice()).read_to_end(&mut tar).unwrap();
        fs::create_dir(folder.path().join("unpacked")).unwrap();
        fs::write(folder.path().join("unpacked/cifar-10-binary.tar.gz"), &tar).unwrap();
        let members: Vec<u8> = tar.chunks(20_000).flat_map(gzip).collect();
        fs::write(folder.path().join("members"), members).unwrap();
        for place in
            ["plain", "packed", "deep", "packed/cifar-10-binary.tar.gz", "unpacked", "members"]
        {
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

    /// Names longer than a header has room for, of either kind, and what is no file of the set, whatever it is called.
    #[test]
    fn archives_of_any_kind_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.tar");
        let deep = ["deep"; 40].join("/");
        fs::write(&file, archive(&deep, &ten())).unwrap();
        assert_eq!(cifar10(&file).unwrap().test().labels(), [5, 9], "GNU's long names");
        let mut tar = tar::Builder::new(vec![]);
        for (name, bytes) in ten() {
            let path = format!("{deep}/{name}");
            let records = [("comment", b"long".as_slice()), ("path", path.as_bytes())];
            tar.append_pax_extensions(records).unwrap();
            let mut link = tar::Header::new_ustar();
            link.set_entry_type(tar::EntryType::Symlink);
            link.set_size(0);
            for (header, name, bytes) in
                [(tar::Header::new_ustar(), "short", bytes.as_slice()), (link, name, &[])]
            {
                let mut header = header;
                header.set_path(name).unwrap();
                if !bytes.is_empty() {
                    header.set_size(bytes.len() as u64);
                }
                header.set_cksum();
                tar.append(&header, bytes).unwrap();
            }
        }
        fs::write(&file, tar.into_inner().unwrap()).unwrap();
        assert_eq!(cifar10(&file).unwrap().test().labels(), [5, 9], "pax");
        let python = archive("cifar-10-batches-py", &[("data_batch_1", vec![0x80, 2])]);
        fs::write(&file, python).unwrap();
        let error = cifar10(&file).unwrap_err().to_string();
        assert!(error.contains("a.tar: this is CIFAR-10 in its Python version"), "{error}");
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
