//! `nin data`: what a dataset holds, as figures and as a picture.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::ValueHint;
use nin::Dataset;
use nin::data::{Images, Spec, Split, encode};
use nin::ndarray::{Array3, ArrayView3, Axis, s};
use nin_runtime::file::write_atomically;

use super::check::grouped;
use super::help::examples;
use super::terminal::Terminal;
use super::train::load;

/// Pixels that a sheet is wide, nearly.
const SHEET: usize = 900;
/// Images of a class on a sheet, if it has as many.
const MOST_ACROSS: usize = 20;
/// What an image is enlarged to, at least.
const LEAST_SIDE: usize = 32;
/// The gap between two images.
const GAP: usize = 2;
const PAPER: u8 = 255;

#[derive(clap::Args)]
#[command(after_help = examples(&[
    ("The digits that ship inside nin", "nin data mnist-10k"),
    ("With a picture of them, a row a digit", "nin data mnist-10k -o digits.png"),
]))]
pub(crate) struct Args {
    /// The dataset: `mnist-10k`, or a kind and a folder: `mnist:DIR`, `cifar10:DIR`, `cifar100:DIR`, `svhn:DIR`; your own
    /// as `images:DIR` or `npy:DIR`.
    #[arg(value_name = "DATA")]
    data: Spec,
    /// Write a contact sheet of training images, a row for each class.
    #[arg(short, long, value_name = "SHEET.png", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
}

pub(crate) fn data(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let data = load(&args.data, terminal)?;
    if let Some(file) = &args.output {
        let png = encode(sheet(data.train(), data.classes().len()).view());
        write_atomically(file, &png).with_context(|| file.display().to_string())?;
    }
    let mut out = terminal.results();
    table(&mut out, &data)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn table(out: &mut impl Write, data: &Dataset) -> io::Result<()> {
    let (splits, classes) = ([data.train(), data.test()], data.classes());
    let [train, test] = splits.map(|split| grouped(split.len() as u64));
    writeln!(
        out,
        "{}: {train} training and {test} test images, {}, {} classes",
        data.name(),
        data.shape(),
        classes.len()
    )?;
    let listed = |numbers: &[f32]| {
        let numbers: Vec<String> = numbers.iter().map(|number| format!("{number:.4}")).collect();
        numbers.join(" ")
    };
    let normalisation = data.normalisation();
    writeln!(
        out,
        "channel means {}, deviations {}\n",
        listed(&normalisation.mean),
        listed(&normalisation.deviation)
    )?;
    let counts = splits.map(|split| counts(split, classes.len()));
    let width =
        classes.iter().map(|class| class.chars().count()).max().unwrap_or(0).max("class".len());
    writeln!(out, "{:width$}  {:>18}  {:>18}", "class", "training", "test")?;
    let share = |count: u64, split: &Split| match split.len() {
        0 => 0.0,
        images => 100.0 * count as f64 / images as f64,
    };
    for (class, name) in classes.iter().enumerate() {
        write!(out, "{name:width$}")?;
        for (counts, split) in counts.iter().zip(splits) {
            let count = counts[class];
            write!(out, "  {:>9} {:>6.2} %", grouped(count), share(count, split))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Images of each class.
fn counts(split: &Split, classes: usize) -> Vec<u64> {
    let mut counts = vec![0; classes];
    split.labels().iter().for_each(|&label| counts[label as usize] += 1);
    counts
}

/// The first images of each class in a row, all enlarged by the same whole factor. Of images with neither one nor three
/// channels the first is shown.
fn sheet(split: &Split, classes: usize) -> Array3<u8> {
    let (_, channels, height, width) = split.images().dims();
    let shown = if channels == 3 { 3 } else { 1 };
    let factor = LEAST_SIDE.div_ceil(height.min(width));
    let (cell_height, cell_width) = (factor * height + GAP, factor * width + GAP);
    let across = (SHEET / cell_width).clamp(1, MOST_ACROSS);
    let dims = (shown, classes * cell_height + GAP, across * cell_width + GAP);
    let mut sheet = Array3::from_elem(dims, PAPER);
    let mut filled = vec![0; classes];
    let range = range(split.images());
    for (image, &class) in split.labels().iter().enumerate() {
        let column = &mut filled[class as usize];
        if *column == across {
            continue;
        }
        let (top, left) = (class as usize * cell_height + GAP, *column * cell_width + GAP);
        let place = s![.., top..top + factor * height, left..left + factor * width];
        let pixels = levels(split.images(), image, range);
        let enlarged = |(c, y, x): (usize, usize, usize)| pixels[[c, y / factor, x / factor]];
        let dims = (shown, factor * height, factor * width);
        sheet.slice_mut(place).assign(&Array3::from_shape_fn(dims, enlarged));
        *column += 1;
    }
    sheet
}

/// The least and the largest of floats.
fn range(images: &Images) -> (f32, f32) {
    match images {
        Images::Bytes(_) => (0.0, 1.0),
        Images::Floats(images) => {
            let ends = (f32::INFINITY, f32::NEG_INFINITY);
            images.iter().fold(ends, |(least, most), &x| (least.min(x), most.max(x)))
        }
    }
}

/// An image's levels; floats are spread from black to white.
fn levels(images: &Images, image: usize, (least, most): (f32, f32)) -> Array3<u8> {
    match images {
        Images::Bytes(images) => images.index_axis(Axis(0), image).to_owned(),
        Images::Floats(images) => {
            let image: ArrayView3<'_, f32> = images.index_axis(Axis(0), image);
            let span = (most - least).max(f32::MIN_POSITIVE);
            image.mapv(|x| (255.0 * ((x - least) / span)).round() as u8)
        }
    }
}
