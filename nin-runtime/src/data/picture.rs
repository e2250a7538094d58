//! [`Picture`]: a PNG file as bytes, for datasets of image files and for single images; and [`encode`], the other way.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use ndarray::{Array3, ArrayView3};
use nin_dsl::limits::ACTIVATION_ELEMENTS;
use png::{BitDepth, ColorType, Decoder, DecodingError, Reader, Transformations};

use super::{DataError, sniff};
use crate::file::Limited;
use crate::host::memory;

/// Bytes of a file: twice those of the largest image's pixels, which are hardly ever stored as they are.
const MOST_BYTES: u64 = 2 * ACTIVATION_ELEMENTS;

/// Bytes that deflate, which packs pixels, unpacks a byte to, at most.
const MOST_UNPACKED: u64 = 1032;

/// A PNG file of which the header has been read.
///
/// Palettes and small depths become bytes, 16 bits the nearest byte, and transparent pixels are laid over black. What is
/// stored as grey has one channel, all else three: red, green and blue. Gamma and colour profiles are ignored.
pub struct Picture {
    file: PathBuf,
    reader: Reader<BufReader<Limited<File>>>,
}

impl Picture {
    /// Reads a file's header.
    ///
    /// # Errors
    /// A file that cannot be read or is no PNG image, and one larger than any model's input.
    pub fn open(file: &Path) -> Result<Picture, DataError> {
        let opened = File::open(file).map_err(|error| DataError::io(file, error))?;
        let limited = Limited::new(opened, MOST_BYTES, "the most that nin reads of an image");
        let mut bytes = BufReader::new(limited);
        let first = bytes.fill_buf().map_err(|error| DataError::io(file, error))?;
        if let Some(kind) = sniff::kind(first).filter(|&kind| kind != sniff::PNG) {
            let problem = format!("it is {kind}, whatever its name says: convert it to PNG");
            return Err(DataError::Picture { file: file.to_owned(), problem });
        }
        let mut decoder = Decoder::new(bytes);
        decoder.set_transformations(Transformations::EXPAND);
        decoder.set_ignore_text_chunk(true);
        decoder.set_ignore_iccp_chunk(true);
        let reader = decoder.read_info().map_err(|error| unreadable(file, &error))?;
        let picture = Picture { file: file.to_owned(), reader };
        let [channels, height, width] = picture.dims().map(|side| side as u64);
        // Each is below 2^32, so one product fits and the other may not.
        let elements = (height * width).checked_mul(channels);
        if elements.is_none_or(|elements| elements > ACTIVATION_ELEMENTS) {
            let problem = format!(
                "it is {height}x{width}; nin reads images of up to {ACTIVATION_ELEMENTS} numbers"
            );
            return Err(DataError::Picture { file: file.to_owned(), problem });
        }
        Ok(picture)
    }

    /// Channels (1 or 3), height and width.
    pub fn dims(&self) -> [usize; 3] {
        let channels = match self.reader.output_color_type().0 {
            ColorType::Grayscale | ColorType::GrayscaleAlpha => 1,
            ColorType::Rgb | ColorType::Rgba | ColorType::Indexed => 3,
        };
        let info = self.reader.info();
        [channels, info.height as usize, info.width as usize]
    }

    /// The pixels, `[C, H, W]`, of an animation's first frame.
    ///
    /// # Errors
    /// A file that is truncated or damaged.
    pub fn read(mut self) -> Result<Array3<u8>, DataError> {
        let [channels, height, width] = self.dims();
        let file = self.file;
        let wrong =
            |problem: &str| DataError::Picture { file: file.clone(), problem: problem.to_owned() };
        let size = self.reader.output_buffer_size().ok_or_else(|| wrong("it is too large"))?;
        // A header's word is not enough to allocate for.
        let packed = fs::metadata(&file).map_err(|error| DataError::io(&file, error))?;
        let raw = self.reader.info().raw_bytes() as u64;
        if packed.is_file() && raw.div_ceil(MOST_UNPACKED) > packed.len() {
            return Err(wrong("it is too short for pixels of its size"));
        }
        memory::check(size)
            .map_err(|_| DataError::Memory { bytes: size }.within(file.display()))?;
        let mut bytes = vec![0; size];
        let frame =
            self.reader.next_frame(&mut bytes).map_err(|error| unreadable(&file, &error))?;
        if (frame.height as usize, frame.width as usize) != (height, width) {
            return Err(wrong("its first frame is not the whole picture"));
        }
        let (samples, depth) = (frame.color_type.samples(), frame.bit_depth);
        let largest =
            if depth == BitDepth::Sixteen { u64::from(u16::MAX) } else { u64::from(u8::MAX) };
        let sample = |y: usize, x: usize, at: usize| {
            let (row, at) = (&bytes[y * frame.line_size..], x * samples + at);
            match depth {
                BitDepth::Sixteen => u64::from(u16::from_be_bytes([row[2 * at], row[2 * at + 1]])),
                _ => u64::from(row[at]),
            }
        };
        let transparent = samples > channels;
        Ok(Array3::from_shape_fn((channels, height, width), |(c, y, x)| {
            let alpha = if transparent { sample(y, x, channels) } else { largest };
            let whole = largest * largest;
            ((sample(y, x, c) * alpha * 255 + whole / 2) / whole) as u8
        }))
    }
}

/// A PNG file of pixels `[C, H, W]`: grey for one channel, red, green and blue for three.
///
/// # Panics
/// If there are as many channels as neither has, or no pixels.
pub fn encode(pixels: ArrayView3<'_, u8>) -> Vec<u8> {
    let (channels, height, width) = pixels.dim();
    let colour = match channels {
        1 => ColorType::Grayscale,
        3 => ColorType::Rgb,
        _ => panic!("a picture of {channels} channels"),
    };
    let side = |pixels: usize| u32::try_from(pixels).expect("a picture of less than 2^32 rows");
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, side(width), side(height));
    encoder.set_color(colour);
    let interleaved: Vec<u8> = pixels.permuted_axes([1, 2, 0]).iter().copied().collect();
    let mut writer = encoder.write_header().expect("memory takes a header");
    writer.write_image_data(&interleaved).expect("memory takes as many bytes as were announced");
    writer.finish().expect("memory takes an end");
    file
}

fn unreadable(file: &Path, error: &DecodingError) -> DataError {
    DataError::Picture { file: file.to_owned(), problem: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Every kind of PNG that Pillow writes, and what Pillow reads from it.
    #[test]
    fn pictures_are_read_as_other_software_reads_them() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pictures");
        let mut count = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let file = entry.unwrap().path();
            if file.extension().is_some_and(|extension| extension == "png") {
                let expected: Array3<u8> =
                    ndarray_npy::read_npy(file.with_extension("npy")).unwrap();
                let picture = Picture::open(&file).unwrap();
                assert_eq!(picture.dims(), expected.shape(), "{}", file.display());
                assert_eq!(picture.read().unwrap(), expected, "{}", file.display());
                count += 1;
            }
        }
        assert_eq!(count, 9);
    }

    #[test]
    fn what_is_encoded_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.png");
        for channels in [1, 3] {
            let pixels =
                Array3::from_shape_fn((channels, 5, 7), |(c, y, x)| (90 * c + 9 * y + x) as u8);
            fs::write(&file, encode(pixels.view())).unwrap();
            assert_eq!(Picture::open(&file).and_then(Picture::read).unwrap(), pixels);
        }
    }

    #[test]
    fn what_is_no_picture_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.png");
        let whole = include_bytes!("../../tests/fixtures/pictures/rgb.png");
        let error = |bytes: &[u8]| {
            fs::write(&file, bytes).unwrap();
            let read = Picture::open(&file).and_then(Picture::read);
            let message = read.unwrap_err().to_string();
            assert!(message.contains("a.png: not read as PNG: "), "{message}");
            message
        };
        for length in [0, 7, 20, 60, whole.len() - 30] {
            assert!(error(&whole[..length]).contains("end of file"), "{length} bytes");
        }
        assert!(error(b"a photograph, they said").contains("signature"));
        let message = error(b"\xff\xd8\xff\xe0 a photograph");
        assert!(message.ends_with("it is a JPEG image, whatever its name says: convert it to PNG"));
        let mut flipped = whole.to_vec();
        flipped[60] ^= 1;
        assert!(error(&flipped).contains("CRC"));
        // A header that promises more than there can be must not be believed.
        let mut huge = whole[..8].to_vec();
        let header = [b"IHDR".as_slice(), &[0, 0, 0xea, 0x60].repeat(2), &[8, 2, 0, 0, 0]].concat();
        let mut crc = flate2::Crc::new();
        crc.update(&header);
        huge.extend([&13u32.to_be_bytes(), header.as_slice(), &crc.sum().to_be_bytes()].concat());
        huge.extend_from_slice(&whole[33..]);
        assert!(error(&huge).contains("numbers"));
    }
    /// No byte that is spoilt brings the reader down, whatever it makes of the picture.
    #[test]
    fn any_byte_may_be_spoilt() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.png");
        for whole in [
            include_bytes!("../../tests/fixtures/pictures/palette-4bit-transparent.png").as_slice(),
            include_bytes!("../../tests/fixtures/pictures/grey-16bit.png"),
        ] {
            for at in 0..whole.len() {
                for flip in [1, 0x80, 0xff] {
                    let mut bytes = whole.to_vec();
                    bytes[at] ^= flip;
                    fs::write(&file, &bytes).unwrap();
                    let _ = Picture::open(&file).and_then(Picture::read);
                }
            }
        }
    }
}
