//! Weights and checkpoints: safetensors files.

use nin_dsl::graph::Graph;
use nin_runtime::model::Model;
use nin_runtime::train::{Checkpoint, Info};
use nin_runtime::weights::{Moments, WeightsFile, save};

use super::Check;
use super::scratch::Scratch;

/// What stands in headers.
pub(super) const WORDS: &[&str] = &[
    "\"__metadata__\":{",
    "\"dtype\":\"F32\"",
    "\"F16\"",
    "\"BF16\"",
    "\"I64\"",
    "\"shape\":[",
    "\"data_offsets\":[0,0]",
    "\"conv1.weight\"",
    "\"conv1.bias\"",
    "\"momentum/conv1.weight\"",
    "\"squares/conv1.bias\"",
    "\"format_version\":\"1\"",
    "\"step\":\"",
    "\"epoch\":\"",
    "\"epoch_loss\":\"",
    "\"epoch_correct\":\"",
    "\"epoch_images\":\"",
    "\"best_accuracy\":\"",
    "\"plateau\":\"",
    "\"diagnosis\":\"",
    "\"data_digest\":\"",
    "\"normalisation\":\"",
    "\"preprocessing\":\"",
    "\"classes\":\"[]\"",
    "\"model\":\"",
    "\\\"",
    "\\u0000",
];

/// Bytes of numbers after a header.
const NUMBERS: usize = 256;

/// The model that the files of the corpus belong to.
pub(super) fn graph() -> Graph {
    let text = "model Two < input(1, 6, 6) conv(2, kernel = 3) gap softmax >";
    Model::from_text("two.nin", text, &[]).expect("a model").graph().clone()
}

/// A file is refused, or what is read of it is written and read again to the same.
pub(super) fn file() -> Check {
    let (scratch, graph) = (Scratch::new(), graph());
    Box::new(move |bytes| examine(&scratch, &graph, bytes))
}

/// The same with the header's length and some numbers put around it.
pub(super) fn header() -> Check {
    let (scratch, graph) = (Scratch::new(), graph());
    Box::new(move |header| {
        let length = (header.len() as u64).to_le_bytes();
        examine(&scratch, &graph, &[&length, header, &[0x3f; NUMBERS]].concat())
    })
}

fn examine(scratch: &Scratch, graph: &Graph, bytes: &[u8]) -> Result<(), String> {
    let path = scratch.write("w.safetensors", bytes);
    let file = match WeightsFile::read(&path) {
        Ok(file) => file,
        Err(error) => return named(&error.to_string()),
    };
    let _ = (file.weights(graph), file.momentum(graph), file.squares(graph));
    if let Ok(info) = Info::read(&path, &file, graph) {
        let _ = (info.preparation(&path), info.class_names(graph));
        let again = scratch.file("again.safetensors");
        save(&again, file.tensors(), Moments::default(), &info.metadata())
            .map_err(|error| format!("is not written: {error}"))?;
        let same = WeightsFile::read(&again).map_err(|error| format!("is not read: {error}"))?;
        let tensors = |file: &WeightsFile| format!("{:?}", file.tensors().collect::<Vec<_>>());
        if tensors(&same) != tensors(&file) {
            return Err("is written as other tensors".to_owned());
        }
        let told = Info::read(&again, &same, graph).map_err(|error| error.to_string())?;
        if told != info {
            return Err(format!("is described as {told:?} instead of {info:?}"));
        }
    }
    match Checkpoint::read(&path, graph) {
        Ok(checkpoint) => reads_back(scratch, graph, &checkpoint),
        Err(error) => named(&error.to_string()),
    }
}

/// A message names its file.
fn named(message: &str) -> Result<(), String> {
    if message.contains("w.safetensors") {
        return Ok(());
    }
    Err(format!("`{message}` names no file"))
}

fn reads_back(scratch: &Scratch, graph: &Graph, checkpoint: &Checkpoint) -> Result<(), String> {
    let again = scratch.file("again.safetensors");
    checkpoint.save(&again).map_err(|error| format!("is not written: {error}"))?;
    match Checkpoint::read(&again, graph) {
        Ok(same) if format!("{same:?}") == format!("{checkpoint:?}") => Ok(()),
        other => Err(format!("is written as {other:?}")),
    }
}
