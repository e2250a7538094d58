//! `nin features`: the last mlpconv's feature maps of PNG images, as a picture and as figures.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::ValueHint;
use nin::Purpose;
use nin::data::encode;
use nin::features::{FeatureMaps, strongest};
use nin::ndarray::{Array3, Axis};
use nin_runtime::file::write_atomically;

use super::help::examples;
use super::options::{MachineArgs, PerfArgs, ShownArgs, keeps_apart, preparation, read_weights};
use super::terminal::Terminal;
use super::visible::visible;
use super::{images, pictures};

/// Side of a picture on the sheet, about.
const SIDE: usize = 96;
const GAP: usize = 4;
/// Share of an image's activations that is shown.
pub(crate) const STRONGEST: f64 = 0.1;

#[derive(clap::Args)]
#[command(after_help = examples(&[
    ("Where a trained network sees each digit", "nin features models/digits.nin examples/seven.png -o maps.png \\\n    --weights runs/Digits-1/last.safetensors"),
    ("All activations above zero, not the strongest tenth alone", "nin features models/digits.nin examples/seven.png --all -o maps.png \\\n    --weights runs/Digits-1/last.safetensors"),
]))]
pub(crate) struct Args {
    #[command(flatten)]
    shown: ShownArgs,
    /// Where to draw them, a row an image.
    #[arg(short, long, value_name = "MAPS.png", value_hint = ValueHint::FilePath)]
    output: PathBuf,
    /// Show every activation above zero.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    pub(super) machine: MachineArgs,
    #[command(flatten)]
    perf: PerfArgs,
}

pub(crate) fn features(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let inputs = [&*args.shown.model.model, &*args.shown.weights].into_iter();
    let inputs: Vec<&Path> = inputs.chain(args.shown.images.iter().map(|file| &**file)).collect();
    keeps_apart(&args.output, &inputs)?;
    let model = args.shown.model.load(terminal)?;
    let (weights, info) = read_weights(&args.shown.weights, model.graph(), terminal)?;
    let input = model.graph().input();
    let preparation = preparation(&info, &args.shown.weights, input, terminal)?;
    let machine = args.machine.machine(&model, Purpose::Inference)?;
    let mut features = FeatureMaps::new(model.graph(), &weights, machine)?;
    args.perf.write(features.program(), terminal)?;
    let share = if args.all { 1.0 } else { STRONGEST };
    let (mut rows, mut totals) = (vec![], vec![]);
    for file in &args.shown.images {
        let mut image = images::read(file, input, terminal)?;
        let shown = pictures::levels(image.view(), (0.0, 1.0));
        preparation.apply(image.as_slice_mut().expect("images are in standard layout"), input);
        let maps = strongest(&features.of(image.view())?, share);
        totals.push(maps.axis_iter(Axis(0)).map(|map| map.sum()).collect::<Vec<f32>>());
        rows.push(row(shown, &maps));
    }
    let png = encode(pictures::sheet(&rows, GAP).view());
    write_atomically(&args.output, &png).with_context(|| args.output.display().to_string())?;
    let channels = totals.first().map_or(0, Vec::len);
    let classes = info.class_names(model.graph());
    let names: Vec<String> = match classes.len() == channels {
        true => classes.iter().map(|name| visible(name).into_owned()).collect(),
        false => (0..channels).map(|channel| format!("channel {channel}")).collect(),
    };
    let mut out = terminal.results();
    for (file, totals) in args.shown.images.iter().zip(&totals) {
        let sum: f32 = totals.iter().sum();
        let mut ranked: Vec<usize> = (0..channels).filter(|&map| totals[map] > 0.0).collect();
        ranked.sort_by(|&a, &b| totals[b].total_cmp(&totals[a]));
        let told = ranked.iter().take(5);
        let told = told.map(|&map| format!("{:.1} % in {}", 100.0 * totals[map] / sum, names[map]));
        let told: Vec<String> = told.collect();
        let file = file.to_string_lossy();
        let file = visible(&file);
        match told.is_empty() {
            true => writeln!(out, "{file}: no activation above 0")?,
            false => writeln!(out, "{file}: of the activation that is drawn, {}", told.join(", "))?,
        }
    }
    out.flush()?;
    terminal
        .note("these are shares of what the maps hold, not probabilities: `nin predict` has those");
    Ok(ExitCode::SUCCESS)
}

/// An image and its maps, all about as large.
pub(crate) fn row(image: Array3<u8>, maps: &Array3<f32>) -> Vec<Array3<u8>> {
    let enlarged = |picture: &Array3<u8>| {
        let (_, height, width) = picture.dim();
        pictures::enlarged(picture, pictures::factor(SIDE, height, width))
    };
    let maps = maps.axis_iter(Axis(0)).map(|map| enlarged(&pictures::grey(map)));
    [enlarged(&image)].into_iter().chain(maps).collect()
}
