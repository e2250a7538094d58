//! Small files that promise or hold gigabytes, files that never end, and what is no file: each is refused soon and in little
//! memory, and the process that reads it is ended here if it is not.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use flate2::{Compress, Compression, FlushCompress};

use crate::bench::Bench;

/// No file here needs as much, though all of them hold or promise more.
const MOST_MEMORY: u64 = 400 << 20;
/// On a busy machine and unoptimised; alone each takes a second at most.
const MOST_TIME: Duration = Duration::from_secs(60);
const GIB: usize = 1 << 30;

struct Bomb {
    what: &'static str,
    /// Makes it in a folder with `m.nin`, `pets`, `arrays`, `w.safetensors` and a run, `run`.
    make: fn(&Path),
    line: &'static str,
    /// What is said of it; nothing of what may also be read, since it takes no more than its header says.
    says: &'static str,
}

/// Runs a command and ends it where it takes too much; its exit code and what it said.
fn watched(mut command: Command) -> (Option<i32>, String) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let (start, status) = (Instant::now(), format!("/proc/{}/status", child.id()));
    let peak = || -> Option<u64> {
        let text = fs::read_to_string(&status).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(1024 * line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?)
    };
    let mut ended = None;
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        let peak = peak().unwrap_or(0);
        if peak > MOST_MEMORY || start.elapsed() > MOST_TIME {
            child.kill().unwrap();
            ended = Some(format!("ended with {} MiB after {:?}; ", peak >> 20, start.elapsed()));
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let mut said = ended.unwrap_or_default();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (code, said)
}

#[test]
fn no_reader_takes_more_than_a_header_or_a_format_allows() {
    let whole = Bench::new(4);
    whole.run("init m.nin -o w.safetensors");
    whole.run("train m.nin --data npy:arrays --epochs 1 --batch 8 --threads 1 --out run");
    let mut wrong = vec![];
    for Bomb { what, make, line, says } in BOMBS.iter().chain(ENDLESS).chain(IRREGULAR) {
        let bench = whole.copy();
        make(bench.place());
        let (code, said) = watched(bench.command(line));
        let sound = code == Some(1) || says.is_empty() && code == Some(0);
        if !sound || !said.contains(says) || said.contains("panicked") {
            wrong.push(format!("{what}: nin {line}\n{code:?}, expected {says}\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A pipe that goes on for ever is read as far as what it pretends to be allows.
#[test]
fn pipes_that_never_end_are_left() {
    let bench = Bench::new(4);
    bench.run("init m.nin -o w.safetensors");
    let picture = fs::read(bench.path("pets/test/rows/0004.png")).unwrap();
    // After the header: chunks that nobody knows, which a reader may pass over.
    let chunk = png_chunk(b"niNn", &[7; 1 << 16]);
    let weights = [&[0; 8][..], &[b' '; 1 << 16]].concat();
    let feeds: [(&str, Vec<u8>, Vec<u8>); 4] = [
        ("check -", vec![], b"# a comment\n".repeat(4096)),
        ("fmt -", vec![], b"<".repeat(1 << 16)),
        ("predict m.nin /dev/stdin --weights w.safetensors", picture[..33].to_vec(), chunk),
        ("predict m.nin pets/test/rows/0004.png --weights /dev/stdin", vec![], weights),
    ];
    for (line, first, again) in feeds {
        let mut command = bench.command(line);
        let (from, mut to) = std::io::pipe().unwrap();
        command.stdin(from);
        let feed = std::thread::spawn(move || {
            let _ = to.write_all(&first);
            while to.write_all(&again).is_ok() {}
        });
        let (code, said) = watched(command);
        assert_eq!(code, Some(1), "nin {line}: {said}");
        // The feed ends when nobody reads.
        feed.join().unwrap();
    }
}

/// A gzip archive of some bytes and then zeros, made of one compressed mebibyte that is repeated. It has no end.
fn gzip_of_zeros(first: &[u8], mebibytes: usize) -> Vec<u8> {
    let mut packed = b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec();
    deflate(&mut packed, first, mebibytes);
    packed
}

/// As many zeros in zlib's form.
fn zlib_of_zeros(first: &[u8], mebibytes: usize) -> Vec<u8> {
    let mut packed = b"\x78\x9c".to_vec();
    deflate(&mut packed, first, mebibytes);
    packed
}

fn deflate(packed: &mut Vec<u8>, first: &[u8], mebibytes: usize) {
    let mut compress = Compress::new(Compression::best(), false);
    // After a full flush nothing refers to what was before: such a piece may follow itself.
    let mut piece = |bytes: &[u8]| {
        let mut piece = Vec::with_capacity(bytes.len() + 1024);
        compress.compress_vec(bytes, &mut piece, FlushCompress::Full).unwrap();
        piece
    };
    packed.extend(piece(first));
    let zeros = piece(&vec![0; 1 << 20]);
    (0..mebibytes).for_each(|_| packed.extend(&zeros));
}

/// A tar header of an entry of a type and a size.
fn tar_header(name: &str, kind: u8, size: usize) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000644\0");
    header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    header[148..156].fill(b' ');
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar  \0");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// An archive whose first entry is so long.
fn tar_bomb(folder: &Path, name: &str, kind: u8, size: usize) {
    let archive = gzip_of_zeros(&tar_header(name, kind, size), size >> 20);
    assert!(archive.len() < 8 << 20);
    fs::write(folder.join("cifar-10-binary.tar.gz"), archive).unwrap();
}

/// MNIST's training images as gzipped zeros behind a header.
fn idx_bomb(folder: &Path, sizes: [u32; 3], mebibytes: usize) {
    let words = [0x803].into_iter().chain(sizes).flat_map(u32::to_be_bytes);
    let archive = gzip_of_zeros(&words.collect::<Vec<u8>>(), mebibytes);
    fs::write(folder.join("train-images-idx3-ubyte.gz"), archive).unwrap();
    fs::write(folder.join("train-labels-idx1-ubyte"), b"\0\0\x08\x01\0\0\0\0").unwrap();
}

/// SVHN's training file with one compressed matrix, of which `named` says what stands before the numbers.
fn mat_bomb(folder: &Path, inside: &[u8]) {
    let packed = zlib_of_zeros(inside, 3 << 10);
    let mut file = b"MATLAB 5.0 MAT-file".to_vec();
    file.resize(124, b' ');
    file.extend(b"\0\x01IM\x0f\0\0\0");
    file.extend((packed.len() as u32).to_le_bytes());
    file.extend(packed);
    fs::write(folder.join("train_32x32.mat"), file).unwrap();
    fs::write(folder.join("test_32x32.mat"), "").unwrap();
}

/// An element's tag and bytes in a MAT file, padded to words.
fn mat_element(kind: u32, bytes: &[u8]) -> Vec<u8> {
    let mut element = [kind.to_le_bytes(), (bytes.len() as u32).to_le_bytes()].concat();
    element.extend(bytes);
    element.resize(element.len().next_multiple_of(8), 0);
    element
}

/// What a matrix `X` of 32x32x3x10 says of itself before its numbers.
fn mat_matrix() -> Vec<u8> {
    let dims: Vec<u8> = [32u32, 32, 3, 10].into_iter().flat_map(u32::to_le_bytes).collect();
    let said =
        [mat_element(6, &[9, 0, 0, 0, 0, 0, 0, 0]), mat_element(5, &dims), mat_element(1, b"X")];
    [&[14, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], said.concat().as_slice()].concat()
}

/// A chunk of a PNG file.
fn png_chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let named = [kind, data].concat();
    let mut crc = flate2::Crc::new();
    crc.update(&named);
    [&(data.len() as u32).to_be_bytes(), named.as_slice(), &crc.sum().to_be_bytes()].concat()
}

/// A grey image of 8x8 in a class's folder, with chunks after its header.
fn png_bomb(folder: &Path, sides: u32, chunks: &[Vec<u8>]) {
    let sides = sides.to_be_bytes().repeat(2);
    let header = png_chunk(b"IHDR", &[sides.as_slice(), &[8, 0, 0, 0, 0]].concat());
    let file = [b"\x89PNG\r\n\x1a\n".as_slice(), &header, &chunks.concat()].concat();
    assert!(file.len() < 8 << 20);
    fs::write(folder.join("pets/train/columns/0000.png"), file).unwrap();
}

/// A file of so many bytes of which nearly none are on the disk.
fn sparse(file: &Path, first: &[u8], length: u64) {
    let mut file = File::create(file).unwrap();
    file.write_all(first).unwrap();
    file.set_len(length).unwrap();
}

/// A safetensors file's header.
fn safetensors(header: &str) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat()
}

/// NumPy's header of bytes of a shape.
fn npy(shape: &str) -> Vec<u8> {
    let text = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}");
    [&b"\x93NUMPY\x01\0\x76\0"[..], format!("{text:117}\n").as_bytes()].concat()
}

const TRAIN: &str = "train m.nin --data npy:arrays";

const BOMBS: &[Bomb] = &[
    Bomb {
        what: "a long name of 3 GiB",
        make: |folder| tar_bomb(folder, "././@LongLink", b'L', 3 * GIB),
        line: "data cifar10:.",
        says: "cifar-10-binary.tar.gz: expected a tar archive of CIFAR-10, gzipped or not, found a damaged or another one \
               (one with a header of 3221225472 bytes)",
    },
    Bomb {
        what: "a pax header of 3 GiB",
        make: |folder| tar_bomb(folder, "pax", b'x', 3 * GIB),
        line: "data cifar10:.",
        says: "one with a header of 3221225472 bytes",
    },
    Bomb {
        what: "a global pax header of 3 GiB",
        make: |folder| tar_bomb(folder, "pax", b'g', 3 * GIB),
        line: "data cifar10:.",
        says: "longer than 1073741824 bytes, the most that nin unpacks of an archive",
    },
    Bomb {
        what: "a link of 3 GiB",
        make: |folder| tar_bomb(folder, "link", b'2', 3 * GIB),
        line: "data cifar10:.",
        says: "longer than 1073741824 bytes, the most that nin unpacks of an archive",
    },
    Bomb {
        what: "a file of the set of 3 GiB",
        make: |folder| tar_bomb(folder, "data_batch_1.bin", b'0', 3 * GIB),
        line: "data cifar10:.",
        says: "longer than 268435456 bytes",
    },
    Bomb {
        what: "ten images and 8 GiB",
        make: |folder| idx_bomb(folder, [10, 28, 28], 8 << 10),
        line: "data mnist:.",
        says: "train-images-idx3-ubyte.gz: expected 10 x 28 x 28 bytes after a header of 16, found more",
    },
    Bomb {
        what: "more images than memory",
        make: |folder| idx_bomb(folder, [u32::MAX, 280, 280], 1),
        line: "data mnist:.",
        says: "train-images-idx3-ubyte.gz: no memory for 336725435928000 bytes of images",
    },
    Bomb {
        what: "a name of 3 GiB in a MAT file",
        make: |folder| {
            let mut inside = mat_matrix();
            // The name's length, in its tag.
            let at = inside.len() - 12;
            inside[at..at + 4].copy_from_slice(&(3 * GIB as u32).to_le_bytes());
            mat_bomb(folder, &inside);
        },
        line: "data svhn:.",
        says: "train_32x32.mat: expected a MAT file of version 5, found a damaged one",
    },
    Bomb {
        what: "numbers of 3 GiB in a MAT file whose dimensions need 30,720",
        make: |folder| {
            let tag = [2u32.to_le_bytes(), (3 * GIB as u32).to_le_bytes()].concat();
            mat_bomb(folder, &[mat_matrix(), tag].concat());
        },
        line: "data svhn:.",
        says: "found `X` of [32, 32, 3, 10] with 3221225472 numbers",
    },
    Bomb {
        what: "a NumPy header of 4 GiB",
        make: |folder| {
            let first = b"\x93NUMPY\x02\0\xff\xff\xff\xff{";
            sparse(&folder.join("arrays/train_images.npy"), first, 5 << 30);
        },
        line: TRAIN,
        says: "train_images.npy: expected a NumPy file of uint8 or float32 images [N, C, H, W] or [N, H, W], found one with a \
               header of 4294967295 bytes",
    },
    Bomb {
        what: "an array of a tebibyte",
        make: |folder| {
            let file = folder.join("arrays/train_images.npy");
            sparse(&file, &npy("(1048576, 1024, 1024)"), (1 << 40) + 128);
        },
        line: TRAIN,
        says: "train_images.npy: no memory for 1099511627776 bytes of images",
    },
    Bomb {
        what: "a colour profile of 3 GiB",
        make: |folder| {
            let profile = [b"bomb\0\0".as_slice(), &zlib_of_zeros(&[], 3 << 10)].concat();
            png_bomb(folder, 8, &[png_chunk(b"iCCP", &profile)]);
        },
        line: "data images:pets",
        says: "pets/train/columns/0000.png: not read as PNG",
    },
    Bomb {
        what: "a text of 3 GiB",
        make: |folder| {
            let text = [b"bomb\0\0".as_slice(), &zlib_of_zeros(&[], 3 << 10)].concat();
            png_bomb(folder, 8, &[png_chunk(b"zTXt", &text)]);
        },
        line: "data images:pets",
        says: "pets/train/columns/0000.png: not read as PNG",
    },
    Bomb {
        what: "pixels of 3 GiB where 64 belong",
        make: |folder| {
            let pixels = zlib_of_zeros(&[], 3 << 10);
            png_bomb(folder, 8, &[png_chunk(b"IDAT", &pixels), png_chunk(b"IEND", &[])]);
        },
        line: "data images:pets",
        says: "",
    },
    Bomb {
        what: "an image of 2^32 pixels",
        make: |folder| {
            png_bomb(folder, 0x1_0000, &[png_chunk(b"IDAT", &[]), png_chunk(b"IEND", &[])]);
        },
        line: "data images:pets",
        says: "it is 65536x65536; nin reads images of up to 268435456 numbers",
    },
    Bomb {
        what: "a header of weights of 2^63 bytes",
        make: |folder| {
            fs::write(folder.join("w.safetensors"), [[0xff; 8], *b"{\"a\":1} "].concat()).unwrap();
        },
        line: "eval m.nin --weights w.safetensors --data npy:arrays",
        says: "w.safetensors: not a whole safetensors file: its header would be 18446744073709551615 bytes long",
    },
    Bomb {
        what: "a header that promises 2^60 bytes of weights",
        make: |folder| {
            let header = format!(
                r#"{{"a":{{"dtype":"F32","shape":[{}],"data_offsets":[0,{}]}}}}"#,
                1u64 << 58,
                1u64 << 60
            );
            fs::write(folder.join("w.safetensors"), safetensors(&header)).unwrap();
        },
        line: "eval m.nin --weights w.safetensors --data npy:arrays",
        says: "its header promises 1152921504606846976 bytes of numbers",
    },
    Bomb {
        what: "100 GiB after the weights",
        make: |folder| sparse(&folder.join("w.safetensors"), &safetensors("{}"), 100 << 30),
        line: "eval m.nin --weights w.safetensors --data npy:arrays",
        says: "its header promises 0 bytes of numbers, and there is more",
    },
    Bomb {
        what: "a recipe of 100 GiB",
        make: |folder| sparse(&folder.join("r.toml"), b"epochs = 1\n", 100 << 30),
        line: "train m.nin --data npy:arrays --recipe r.toml",
        says: "r.toml: longer than 4194304 bytes",
    },
    Bomb {
        what: "a model of 100 GiB",
        make: |folder| sparse(&folder.join("m.nin"), b"model M <", 100 << 30),
        line: "check m.nin",
        says: "m.nin: longer than 4194304 bytes",
    },
    Bomb {
        what: "a model within brackets within brackets",
        make: |folder| fs::write(folder.join("m.nin"), "<".repeat(4 << 20)).unwrap(),
        line: "check m.nin",
        says: "m.nin",
    },
    Bomb {
        what: "a recipe within brackets within brackets",
        make: |folder| {
            fs::write(folder.join("r.toml"), format!("parts = {}", "[".repeat(1 << 20))).unwrap();
        },
        line: "train m.nin --data npy:arrays --recipe r.toml",
        says: "r.toml",
    },
];

/// What never ends, under the name of something that is read.
const ENDLESS: &[Bomb] = &[
    Bomb {
        what: "endless MNIST",
        make: |folder| symlink("/dev/zero", folder.join("train-images-idx3-ubyte")).unwrap(),
        line: "data mnist:.",
        says: "train-images-idx3-ubyte: this is a device, not a file",
    },
    Bomb {
        what: "endless CIFAR-10",
        make: |folder| symlink("/dev/zero", folder.join("data_batch_1.bin")).unwrap(),
        line: "data cifar10:.",
        says: "data_batch_1.bin: this is a device, not a file",
    },
    Bomb {
        what: "an endless archive",
        make: |_| {},
        line: "data cifar10:/dev/zero",
        says: "/dev/zero: this is a device, not a file",
    },
    Bomb {
        what: "endless SVHN",
        make: |folder| {
            symlink("/dev/zero", folder.join("train_32x32.mat")).unwrap();
            symlink("/dev/zero", folder.join("test_32x32.mat")).unwrap();
        },
        line: "data svhn:.",
        says: "train_32x32.mat: this is a device, not a file",
    },
    Bomb {
        what: "an endless array",
        make: |folder| replace(folder, "arrays/train_images.npy"),
        line: TRAIN,
        says: "train_images.npy: this is a device, not a file",
    },
    Bomb {
        what: "an endless image in a folder",
        make: |folder| replace(folder, "pets/train/rows/0008.png"),
        line: "data images:pets",
        says: "pets/train/rows/0008.png: expected a PNG image, found a device",
    },
    Bomb {
        what: "an endless image",
        make: |_| {},
        line: "predict m.nin /dev/zero --weights w.safetensors",
        says: "/dev/zero: not read as PNG",
    },
    Bomb {
        what: "endless weights",
        make: |_| {},
        line: "eval m.nin --weights /dev/zero --data npy:arrays",
        says: "/dev/zero: not a whole safetensors file",
    },
    Bomb {
        what: "an endless input",
        make: |_| {},
        line: "run m.nin --weights w.safetensors --input /dev/zero -o y.npy",
        says: "/dev/zero: this is a device, not a file",
    },
    Bomb {
        what: "an endless model",
        make: |_| {},
        line: "check /dev/zero",
        says: "/dev/zero: longer than 4194304 bytes",
    },
    Bomb {
        what: "an endless recipe",
        make: |_| {},
        line: "train m.nin --data npy:arrays --recipe /dev/zero",
        says: "/dev/zero: longer than 4194304 bytes",
    },
    Bomb {
        what: "endless metrics",
        make: |folder| replace(folder, "run/metrics.jsonl"),
        line: "train --resume run",
        says: "run/metrics.jsonl: this is a device, not a file",
    },
    Bomb {
        what: "an endless plan",
        make: |folder| replace(folder, "run/plan.txt"),
        line: "train --resume run",
        says: "plan.txt",
    },
];

/// What is no file, under the name of one.
const IRREGULAR: &[Bomb] = &[
    Bomb {
        what: "a pipe among images",
        make: |folder| fifo(&folder.join("pets/train/rows/a.png")),
        line: "data images:pets",
        says: "pets/train/rows/a.png: expected a PNG image, found a named pipe",
    },
    Bomb {
        what: "a socket among images",
        make: |folder| {
            let place = folder.join("pets/train/rows/a.png");
            std::mem::forget(std::os::unix::net::UnixListener::bind(place).unwrap());
        },
        line: "data images:pets",
        says: "pets/train/rows/a.png: expected a PNG image, found a socket",
    },
    Bomb {
        what: "a link to itself among images",
        make: |folder| symlink("a.png", folder.join("pets/train/rows/a.png")).unwrap(),
        line: "data images:pets",
        says: "pets/train/rows/a.png: Too many levels of symbolic links",
    },
    Bomb {
        what: "a link to nothing among images",
        make: |folder| symlink("nowhere.png", folder.join("pets/train/rows/a.png")).unwrap(),
        line: "data images:pets",
        says: "pets/train/rows/a.png: No such file",
    },
    Bomb {
        what: "a link to the folder above among images",
        make: |folder| symlink("..", folder.join("pets/train/rows/a.png")).unwrap(),
        line: "data images:pets",
        says: "pets/train/rows/a.png: expected a PNG image, found a folder",
    },
    Bomb {
        what: "a class that is a link to itself",
        make: |folder| symlink("loop", folder.join("pets/train/loop")).unwrap(),
        line: "data images:pets",
        says: "pets/train/loop: Too many levels of symbolic links",
    },
    Bomb {
        what: "a pipe for an array",
        make: |folder| {
            fs::remove_file(folder.join("arrays/test_labels.npy")).unwrap();
            fifo(&folder.join("arrays/test_labels.npy"));
        },
        line: TRAIN,
        says: "test_labels.npy: this is a named pipe, not a file",
    },
    Bomb {
        what: "a pipe for MNIST's labels",
        make: |folder| fifo(&folder.join("train-images-idx3-ubyte.gz")),
        line: "data mnist:.",
        says: "train-images-idx3-ubyte.gz: this is a named pipe, not a file",
    },
    Bomb {
        what: "a folder for an archive's file",
        make: |folder| fs::create_dir(folder.join("data_batch_1.bin")).unwrap(),
        line: "data cifar10:.",
        says: "data_batch_1.bin: this is a folder, not a file",
    },
    Bomb {
        what: "a folder for an array",
        make: |folder| {
            fs::remove_file(folder.join("arrays/train_labels.npy")).unwrap();
            fs::create_dir(folder.join("arrays/train_labels.npy")).unwrap();
        },
        line: TRAIN,
        says: "train_labels.npy: this is a folder, not a file",
    },
    Bomb {
        what: "a folder for an image",
        make: |_| {},
        line: "predict m.nin pets --weights w.safetensors",
        says: "pets: Is a directory",
    },
    Bomb {
        what: "a folder for metrics",
        make: |folder| {
            fs::remove_file(folder.join("run/metrics.jsonl")).unwrap();
            fs::create_dir(folder.join("run/metrics.jsonl")).unwrap();
        },
        line: "train --resume run",
        says: "metrics.jsonl: this is a folder, not a file",
    },
];

/// Puts a link to what never ends in a file's place.
fn replace(folder: &Path, file: &str) {
    fs::remove_file(folder.join(file)).unwrap();
    symlink("/dev/zero", folder.join(file)).unwrap();
}

fn fifo(place: &Path) {
    assert!(Command::new("mkfifo").arg(place).status().unwrap().success());
}
