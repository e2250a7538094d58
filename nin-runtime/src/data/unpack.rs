//! [`Unpacked`], what a file holds whether it is gzipped or not: the first bytes say so, not the name.

use std::io::{self, BufRead, ErrorKind, Read};

use flate2::bufread::GzDecoder;

/// What the first two bytes of a gzip archive are.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A file's bytes, or those that it holds gzipped.
pub(super) enum Unpacked<R> {
    Plain(R),
    Gzipped(Members<R>),
}

impl<R: BufRead> Unpacked<R> {
    /// Looks at the first bytes.
    pub(super) fn new(mut packed: R) -> io::Result<Unpacked<R>> {
        match packed.fill_buf()?.starts_with(&GZIP) {
            true => Ok(Unpacked::Gzipped(Members { current: Some(GzDecoder::new(packed)) })),
            false => Ok(Unpacked::Plain(packed)),
        }
    }
}

impl<R: BufRead> Read for Unpacked<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Unpacked::Plain(plain) => plain.read(into),
            Unpacked::Gzipped(members) => members.read(into),
        }
    }
}

/// What all members of a gzip archive hold, one after the other, as of `cat a.gz b.gz` and of what pigz and bgzip write.
///
/// Zeros after the last one are padding, as to gunzip and to Python; anything else there is an error.
pub(super) struct Members<R> {
    /// The member under way; none after the last.
    current: Option<GzDecoder<R>>,
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.current {
            let count = member.read(into)?;
            if count > 0 || into.is_empty() {
                return Ok(count);
            }
            let rest = self.current.take().map(GzDecoder::into_inner);
            self.current = rest.map(next).transpose()?.flatten();
        }
        Ok(0)
    }
}

/// The member after one that has ended, if there is one.
fn next<R: BufRead>(mut rest: R) -> io::Result<Option<GzDecoder<R>>> {
    loop {
        let bytes = rest.fill_buf()?;
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        match bytes.get(zeros) {
            // Only the first byte of the next member may have been read yet.
            Some(&byte) if byte == GZIP[0] => {
                rest.consume(zeros);
                return Ok(Some(GzDecoder::new(rest)));
            }
            Some(_) => {
                let reason = "something else follows the gzip archive: `gunzip` passes over it";
                return Err(io::Error::new(ErrorKind::InvalidData, reason));
            }
            None if zeros == 0 => return Ok(None),
            None => rest.consume(zeros),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        io::Write::write_all(&mut encoder, bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Through a buffer of every small size, so that members end anywhere in it.
    fn unpacked(packed: &[u8]) -> io::Result<Vec<u8>> {
        let whole = |buffer: usize| {
            let mut bytes = vec![];
            let read = Unpacked::new(BufReader::with_capacity(buffer, packed))
                .and_then(|mut unpacked| unpacked.read_to_end(&mut bytes));
            read.map(|_| bytes)
        };
        let all: Vec<io::Result<Vec<u8>>> = (2..40).map(whole).collect();
        let told = |result: &io::Result<Vec<u8>>| match result {
            Ok(bytes) => Ok(bytes.clone()),
            Err(error) => Err(error.to_string()),
        };
        assert!(all.iter().all(|one| told(one) == told(&all[0])), "{all:?}");
        all.into_iter().next().unwrap()
    }

    #[test]
    fn members_follow_one_another_and_zeros_the_last() {
        let (a, b) = (gzip(b"one and "), gzip(b"two"));
        assert_eq!(unpacked(b"plain").unwrap(), b"plain");
        assert_eq!(unpacked(&a).unwrap(), b"one and ");
        let both = [a.as_slice(), &b].concat();
        assert_eq!(unpacked(&both).unwrap(), b"one and two");
        let padded = [a.as_slice(), &[0; 13], &gzip(b""), &b, &[0; 700]].concat();
        assert_eq!(unpacked(&padded).unwrap(), b"one and two");
    }

    #[test]
    fn what_is_cut_off_or_added_is_an_error() {
        let both = [gzip(b"one and "), gzip(b"two")].concat();
        for cut in 1..both.len() - gzip(b"one and ").len() {
            assert!(unpacked(&both[..both.len() - cut]).is_err(), "{cut} bytes cut off");
        }
        let error = unpacked(&[both.as_slice(), b"\0\0<html>"].concat()).unwrap_err();
        assert!(error.to_string().contains("something else follows"), "{error}");
        assert!(unpacked(&[both.as_slice(), b"\x1f"].concat()).is_err());
        let mut spoilt = both;
        let at = spoilt.len() - 8;
        spoilt[at] ^= 1;
        assert!(unpacked(&spoilt).is_err(), "the last member's checksum");
    }
}
