//! `nin data`: what a dataset holds, as figures and as a picture.

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::ValueHint;
use nin::Dataset;
use nin::data::{Images, Spec, Split, encode};
use nin::ndarray::Array3;
use nin_runtime::file::write_atomically;

use super::amounts::{bytes, grouped};
use super::help::examples;
use super::pictures;
use super::terminal::Terminal;
use super::train::load;
use super::visible::visible;

/// Pixels that a sheet is wide, nearly.
const SHEET: usize = 900;
/// Images of a class on a sheet, if it has as many.
const MOST_ACROSS: usize = 20;
/// What an image is enlarged to, at least.
const LEAST_SIDE: usize = 32;
/// The gap between two images.
const GAP: usize = 2;

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
    let images = |split: &Split| match split.images() {
        Images::Bytes(images) => images.len() as u64,
        Images::Floats(images) => (images.len() * size_of::<f32>()) as u64,
    };
    terminal.detail(format_args!(
        "{} of images in memory",
        bytes(images(data.train()) + images(data.test()))
    ));
    if let Some(file) = &args.output {
        let png = encode(contact_sheet(data.train(), data.classes().len()).view());
        write_atomically(file, &png).with_context(|| file.display().to_string())?;
    }
    let mut out = terminal.results();
    table(&mut out, &data)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn table(out: &mut impl Write, data: &Dataset) -> io::Result<()> {
    let splits = [data.train(), data.test()];
    let classes: Vec<Cow<'_, str>> = data.classes().iter().map(|name| visible(name)).collect();
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
    let absent = |class: &usize| counts.iter().all(|counts| counts[*class] == 0);
    for (class, name) in classes.iter().enumerate().filter(|(class, _)| !absent(class)) {
        write!(out, "{name:width$}")?;
        for (counts, split) in counts.iter().zip(splits) {
            let count = counts[class];
            write!(out, "  {:>9} {:>6.2} %", grouped(count), share(count, split))?;
        }
        writeln!(out)?;
    }
    match (0..classes.len()).filter(absent).count() {
        0 => Ok(()),
        count => writeln!(out, "{} classes without an image", grouped(count as u64)),
    }
}

/// Images of each class.
fn counts(split: &Split, classes: usize) -> Vec<u64> {
    let mut counts = vec![0; classes];
    split.labels().iter().for_each(|&label| counts[label as usize] += 1);
    counts
}

/// The first images of each class in a row, all enlarged by the same whole factor.
fn contact_sheet(split: &Split, classes: usize) -> Array3<u8> {
    let (_, _, height, width) = split.images().dims();
    let factor = LEAST_SIDE.div_ceil(height.min(width));
    let across = (SHEET / (factor * width + GAP)).clamp(1, MOST_ACROSS);
    let range = pictures::range(split.images());
    let mut rows = vec![vec![]; classes];
    for (index, &class) in split.labels().iter().enumerate() {
        let row = &mut rows[class as usize];
        if row.len() < across {
            let picture = pictures::image(split.images(), index, range);
            row.push(pictures::enlarged(&picture, factor));
        }
    }
    rows.retain(|row| !row.is_empty());
    pictures::sheet(&rows, GAP)
}
