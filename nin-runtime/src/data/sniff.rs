//! What a file is, by its first bytes: for messages about one that is not what its name says.

/// What [`kind`] calls the images that nin reads.
pub(super) const PNG: &str = "a PNG image";
/// What it calls what `numpy.savez` writes, among others.
pub(super) const ZIP: &str = "a zip archive";

/// A kind of file, and the bytes at a place that tell it.
struct Mark {
    at: usize,
    bytes: &'static [u8],
    kind: &'static str,
}

const fn mark(at: usize, bytes: &'static [u8], kind: &'static str) -> Mark {
    Mark { at, bytes, kind }
}

const MARKS: &[Mark] = &[
    mark(0, b"\x89PNG\r\n\x1a\n", PNG),
    mark(0, b"\xff\xd8\xff", "a JPEG image"),
    mark(0, b"GIF8", "a GIF image"),
    mark(8, b"WEBP", "a WebP image"),
    mark(0, b"II*\0", "a TIFF image"),
    mark(0, b"MM\0*", "a TIFF image"),
    mark(4, b"ftypavi", "an AVIF image"),
    mark(4, b"ftyphei", "a HEIC image"),
    mark(4, b"ftypmif", "a HEIC image"),
    mark(0, b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    mark(0, b"\xff\x0a", "a JPEG XL image"),
    mark(0, b"%PDF-", "a PDF document"),
    mark(0, b"PK\x03\x04", ZIP),
    mark(0, b"\x1f\x8b", "a gzip archive"),
    mark(0, b"BZh", "a bzip2 archive"),
    mark(0, b"\xfd7zXZ\0", "an xz archive"),
    mark(0, b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    mark(257, b"ustar", "a tar archive"),
    mark(0, b"\x93NUMPY", "a NumPy array"),
    mark(0, b"\x89HDF", "an HDF5 file"),
    mark(0, b"MATLAB ", "a MAT file"),
    mark(0, b"\x80\x02", "a pickle of Python's"),
    mark(0, b"\x80\x03", "a pickle of Python's"),
    mark(0, b"\x80\x04", "a pickle of Python's"),
    mark(0, b"\x80\x05", "a pickle of Python's"),
    mark(
        0,
        b"version https://git-lfs",
        "a pointer to a file in Git LFS (`git lfs pull` fetches it)",
    ),
];

/// What a file seems to be; `None` of bytes that nothing here begins with.
pub(super) fn kind(first: &[u8]) -> Option<&'static str> {
    let marked =
        |mark: &&Mark| first.get(mark.at..).is_some_and(|rest| rest.starts_with(mark.bytes));
    if let Some(mark) = MARKS.iter().find(marked) {
        return Some(mark.kind);
    }
    // Two letters alone begin many a text: the four bytes of zeros after a bitmap's length do not.
    if first.starts_with(b"BM") && first.get(6..10) == Some(&[0; 4]) {
        return Some("a BMP image");
    }
    let text = first.trim_ascii_start();
    let opens =
        |with: &[u8]| text.get(..with.len()).is_some_and(|head| head.eq_ignore_ascii_case(with));
    if opens(b"<!doctype html") || opens(b"<html") {
        return Some("an HTML page");
    }
    (opens(b"<svg") || opens(b"<?xml")).then_some("an XML text")
}

/// ` (a PNG image)`, for the end of a message; nothing of bytes that nothing here begins with.
pub(super) fn bracketed(first: &[u8]) -> String {
    kind(first).map_or(String::new(), |kind| format!(" ({kind})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_their_first_bytes() {
        let told = [
            (&b"\xff\xd8\xff\xe0\0\x10JFIF"[..], "a JPEG image"),
            (b"GIF89a", "a GIF image"),
            (b"RIFF\x24\0\0\0WEBPVP8 ", "a WebP image"),
            (b"BM\x36\x0c\0\0\0\0\0\0\x36\0", "a BMP image"),
            (b"\0\0\0\x1cftypavif", "an AVIF image"),
            (b"\n<!DOCTYPE HTML>", "an HTML page"),
            (b"PK\x03\x04", "a zip archive"),
        ];
        for (bytes, expected) in told {
            assert_eq!(kind(bytes), Some(expected));
        }
        for bytes in [&b""[..], b"B", b"BM is how I begin", b"\0\0\x08\x03", &[7; 512]] {
            assert_eq!(kind(bytes), None, "{bytes:?}");
        }
    }
}
