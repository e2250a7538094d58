//! `report.html`: a run on one page that needs nothing else: curves, confusion, worst mistakes, filters and feature maps.

mod curves;
mod page;

use std::path::PathBuf;

use anyhow::Context as _;
use nin::data::{Preparation, Split, encode};
use nin::features::{FeatureMaps, strongest};
use nin::ndarray::{Array3, Array4, Axis, s};
use nin::train::{Evaluation, Evaluator, Info, Recipe, RunFolder};

use nin::Machine;
use nin::weights::WeightsFile;
use nin::{Dataset, Graph, Model, Weights};
use nin_dsl::graph::Role;
use nin_runtime::file::write_atomically;

use super::features::{self, STRONGEST};
use super::pictures;

/// Mistakes that are shown.
const MISTAKES: usize = 32;
/// Images whose feature maps are shown, one a class.
const EXAMPLES: usize = 10;
/// Maps of an image that are shown.
const MOST_MAPS: usize = 20;
/// Filters of the first layer that are shown.
const MOST_FILTERS: usize = 256;
/// Side of a picture, about.
const SIDE: usize = 64;
const GAP: usize = 3;

/// What a page is made of.
struct Facts {
    model: String,
    text: String,
    recipe: String,
    data: String,
    classes: Vec<String>,
    params: u64,
    /// Of the test images, if there are any.
    test: Option<Evaluation>,
    curves: Option<String>,
    mistakes: Vec<Mistake>,
    /// PNG files.
    filters: Option<Vec<u8>>,
    maps: Option<Vec<u8>>,
}

/// A test image that was taken for another class.
struct Mistake {
    image: u32,
    label: usize,
    predicted: usize,
    /// Of the class it was taken for.
    probability: f64,
    png: Vec<u8>,
}

/// Writes the page of a run, about its best weights, and returns where it is.
pub(crate) fn write(
    folder: &RunFolder,
    model: &Model,
    data: &Dataset,
    machine: Machine,
) -> anyhow::Result<PathBuf> {
    let graph = model.graph();
    let read = WeightsFile::read(&folder.best())?;
    let (weights, info) = (read.weights(graph)?, Info::read(&folder.best(), &read, graph)?);
    let recipe = folder.recipe()?;
    let preparation = info.preparation(&folder.best())?.context("a run knows its preparation")?;
    let (test, mistakes) = judged(graph, &weights, &recipe, data, &preparation, &machine)?;
    let metrics = folder.read_metrics().unwrap_or_default();
    let facts = Facts {
        model: graph.name().to_owned(),
        text: model.resolved_text(),
        recipe: recipe.to_toml(),
        data: data.name().to_owned(),
        classes: data.classes().to_vec(),
        params: graph.params_total(),
        test,
        curves: curves::draw(&metrics)?,
        mistakes,
        filters: filters(graph, &weights),
        maps: maps(graph, &weights, data.test(), &preparation, machine)?,
    };
    let file = folder.report();
    write_atomically(&file, page::html(&facts).as_bytes())
        .with_context(|| file.display().to_string())?;
    Ok(file)
}

/// What the weights make of the test images, and the mistakes they are surest of.
fn judged(
    graph: &Graph,
    weights: &Weights,
    recipe: &Recipe,
    data: &Dataset,
    preparation: &Preparation,
    machine: &Machine,
) -> anyhow::Result<(Option<Evaluation>, Vec<Mistake>)> {
    let split = data.test();
    if split.is_empty() {
        return Ok((None, vec![]));
    }
    let all: Vec<u32> = (0..).take(split.len()).collect();
    let mut evaluator = Evaluator::new(graph, weights, recipe.batch, machine)?;
    let mut wrong: Vec<(f64, u32, usize, usize)> = vec![];
    let test = evaluator.evaluate_each(split, &all, preparation, |answer| {
        let (predicted, label) = (answer.predicted(), answer.label as usize);
        if predicted != label {
            wrong.push((answer.probability(predicted), answer.image, label, predicted));
        }
    })?;
    wrong.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let range = pictures::range(split.images());
    let shown = |(probability, image, label, predicted)| {
        let picture = pictures::image(split.images(), image as usize, range);
        let (_, height, width) = picture.dim();
        let picture = pictures::enlarged(&picture, pictures::factor(SIDE, height, width));
        Mistake { image, label, predicted, probability, png: encode(picture.view()) }
    };
    Ok((Some(test), wrong.into_iter().take(MISTAKES).map(shown).collect()))
}

/// The kernels of the first convolution, in colour if it reads colours; `None` if they are single pixels.
fn filters(graph: &Graph, weights: &Weights) -> Option<Vec<u8>> {
    let first = graph.weights().iter().find(|weight| weight.role == Role::Kernel)?;
    let [out, channels, height, width] = first.dims[..] else { return None };
    if height * width == 1 {
        return None;
    }
    let values = weights.get(&first.name)?.values.clone();
    let kernels = Array4::from_shape_vec((out, channels, height, width), values);
    let kernels = kernels.expect("a weight has its dimensions");
    let shown = if channels == 3 { 3 } else { 1 };
    let factor = pictures::factor(SIDE / 2, height, width);
    let filters: Vec<Array3<u8>> = kernels
        .axis_iter(Axis(0))
        .take(MOST_FILTERS)
        .map(|kernel| pictures::signed_levels(kernel.slice(s![..shown, .., ..])))
        .map(|kernel| pictures::enlarged(&kernel, factor))
        .collect();
    let rows: Vec<Vec<Array3<u8>>> = filters.chunks(16).map(<[_]>::to_vec).collect();
    Some(encode(pictures::sheet(&rows, GAP).view()))
}

/// The strongest activations of the last maps for the first test image of each class.
fn maps(
    graph: &Graph,
    weights: &Weights,
    split: &Split,
    preparation: &Preparation,
    machine: Machine,
) -> anyhow::Result<Option<Vec<u8>>> {
    let classes = (0..EXAMPLES as u32).filter_map(|class| {
        let at = split.labels().iter().position(|&label| label == class)?;
        u32::try_from(at).ok()
    });
    let chosen: Vec<u32> = classes.collect();
    let channels = graph.feature_maps().output().channels();
    if chosen.is_empty() || channels > MOST_MAPS {
        return Ok(None);
    }
    let mut features = FeatureMaps::new(graph, weights, machine)?;
    let (_, c, h, w) = split.images().dims();
    let mut batch = Array4::zeros((chosen.len(), c, h, w));
    split.gather(&chosen, preparation, &mut batch, &mut vec![]);
    let range = pictures::range(split.images());
    let mut rows = vec![];
    for (&index, image) in chosen.iter().zip(batch.axis_iter(Axis(0))) {
        let maps = strongest(&features.of(image)?, STRONGEST);
        let picture = pictures::image(split.images(), index as usize, range);
        rows.push(features::row(picture, &maps));
    }
    Ok(Some(encode(pictures::sheet(&rows, GAP).view())))
}
