//! Images, filters and maps as bytes, alone and in sheets.

use nin::data::Images;
use nin::ndarray::{Array3, ArrayView2, ArrayView3, Axis, s};

/// What is between the pictures of a sheet.
const PAPER: u8 = 255;

/// The least and the largest of all pixels: what black and white stand for.
pub(crate) fn range(images: &Images) -> (f32, f32) {
    match images {
        Images::Bytes(_) => (0.0, 1.0),
        Images::Floats(images) => ends(images.iter().copied()),
    }
}

fn ends(numbers: impl Iterator<Item = f32>) -> (f32, f32) {
    let none = (f32::INFINITY, f32::NEG_INFINITY);
    numbers.fold(none, |(least, most), x| (least.min(x), most.max(x)))
}

/// An image with one or three channels; of any other number the first is shown.
pub(crate) fn image(images: &Images, index: usize, range: (f32, f32)) -> Array3<u8> {
    let levels = match images {
        Images::Bytes(images) => images.index_axis(Axis(0), index).to_owned(),
        Images::Floats(images) => levels(images.index_axis(Axis(0), index), range),
    };
    if levels.dim().0 == 3 { levels } else { levels.slice_move(s![..1, .., ..]) }
}

/// Numbers as levels from black to white.
pub(crate) fn levels(numbers: ArrayView3<'_, f32>, (least, most): (f32, f32)) -> Array3<u8> {
    let span = (most - least).max(f32::MIN_POSITIVE);
    numbers.mapv(|x| (255.0 * ((x - least) / span)).round() as u8)
}

/// Numbers as levels, zero in the middle of grey and the farthest from it black or white.
pub(crate) fn signed_levels(numbers: ArrayView3<'_, f32>) -> Array3<u8> {
    let farthest = numbers.iter().fold(0f32, |most, x| most.max(x.abs()));
    levels(numbers, (-farthest, farthest))
}

/// Numbers from 0 to 1 as a grey picture.
pub(crate) fn grey(numbers: ArrayView2<'_, f32>) -> Array3<u8> {
    levels(numbers.insert_axis(Axis(0)), (0.0, 1.0))
}

/// Every pixel as a square of `factor` pixels.
pub(crate) fn enlarged(picture: &Array3<u8>, factor: usize) -> Array3<u8> {
    let (channels, height, width) = picture.dim();
    Array3::from_shape_fn((channels, factor * height, factor * width), |(c, y, x)| {
        picture[[c, y / factor, x / factor]]
    })
}

/// The factor that makes a picture of `height` and `width` about `side` pixels, at least as large as it is.
pub(crate) fn factor(side: usize, height: usize, width: usize) -> usize {
    (side / height.max(width)).max(1)
}

/// Rows of pictures, each in a cell as large as the largest, in colour if any is.
pub(crate) fn sheet(rows: &[Vec<Array3<u8>>], gap: usize) -> Array3<u8> {
    let all = || rows.iter().flatten().map(Array3::dim);
    let largest = |side: fn((usize, usize, usize)) -> usize| all().map(side).max().unwrap_or(0);
    let (channels, height, width) = (largest(|d| d.0), largest(|d| d.1), largest(|d| d.2));
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let dims = (channels, rows.len() * (height + gap) + gap, columns * (width + gap) + gap);
    let mut sheet = Array3::from_elem(dims, PAPER);
    for (y, row) in rows.iter().enumerate() {
        for (x, picture) in row.iter().enumerate() {
            let (_, h, w) = picture.dim();
            let (top, left) = (y * (height + gap) + gap, x * (width + gap) + gap);
            let mut cell = sheet.slice_mut(s![.., top..top + h, left..left + w]);
            match picture.dim().0 == channels {
                true => cell.assign(picture),
                false => cell.assign(&picture.slice(s![..1, .., ..])),
            }
        }
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_holds_grey_and_colours_in_cells() {
        let grey = Array3::from_elem((1, 2, 2), 7u8);
        let colour = Array3::from_shape_fn((3, 1, 2), |(c, ..)| c as u8);
        let sheet = sheet(&[vec![grey.clone(), colour], vec![enlarged(&grey, 1)]], 1);
        assert_eq!(sheet.dim(), (3, 7, 7));
        let at = |y: usize, x: usize| sheet.slice(s![.., y, x]).to_vec();
        assert_eq!(
            (at(0, 0), at(1, 1), at(1, 4), at(2, 4), at(4, 2), at(4, 4)),
            (vec![255; 3], vec![7; 3], vec![0, 1, 2], vec![255; 3], vec![7; 3], vec![255; 3])
        );
    }
}
