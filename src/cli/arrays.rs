//! Arrays in NumPy's files, as untrusted as any input.

use std::fs::File;
use std::io::{BufReader, Seek as _};
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use ndarray_npy::npy::header::{Header, Layout};
use ndarray_npy::{ReadNpyError, ReadNpyExt as _, ReadableElement};
use nin::ndarray::ArrayD;

/// Reads an array of one element type in C order, of any rank. `expected` says what, in messages.
pub(crate) fn array<T: ReadableElement>(file: &Path, expected: &str) -> anyhow::Result<ArrayD<T>> {
    let open = File::open(file).with_context(|| file.display().to_string())?;
    read(open).with_context(|| format!("{}: expected {expected}", file.display()))
}

/// Compares the size that the header announces with the file's before anything of that size is allocated: a header may
/// announce any.
fn read<T: ReadableElement>(file: File) -> anyhow::Result<ArrayD<T>> {
    let mut reader = BufReader::new(file);
    let Header { layout, shape, .. } = Header::from_reader(&mut reader)?;
    if layout != Layout::Standard {
        bail!("it is in Fortran order; save numpy.ascontiguousarray(x), which is in C order");
    }
    let body = reader.get_ref().metadata()?.len().saturating_sub(reader.stream_position()?);
    // A side of zero must not hide that the others' product overflows.
    let bytes = shape
        .iter()
        .try_fold(size_of::<T>() as u64, |bytes, &side| bytes.checked_mul(side.max(1) as u64));
    ensure!(
        bytes.is_some_and(|bytes| bytes <= body || shape.contains(&0)),
        "it ends before the numbers of the shape it announces, {shape:?}"
    );
    reader.rewind()?;
    ArrayD::read_npy(reader).map_err(|error| match error {
        ReadNpyError::WrongDescriptor(found) => anyhow::anyhow!("it holds {found}"),
        other => other.into(),
    })
}
