//! `nin predict`: the likeliest classes of PNG images.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::ensure;
use nin::Purpose;
use nin::ndarray::{ArrayView4, Axis};
use nin_dsl::graph::Op;
use serde_json::{Value, json};

use super::help::examples;
use super::images;
use super::options::{
    MachineArgs, PerfArgs, ShownArgs, compiled, preparation, read_weights, whole,
};
use super::terminal::Terminal;
use super::visible::visible;

#[derive(clap::Args)]
#[command(after_help = examples(&[
    ("What a picture shows", "nin predict models/digits.nin examples/seven.png \\\n    --weights runs/Digits-1/last.safetensors"),
    ("The likeliest class of each, for a program to read", "nin predict models/digits.nin examples/*.png --top 1 --json \\\n    --weights runs/Digits-1/last.safetensors"),
]))]
pub(crate) struct Args {
    #[command(flatten)]
    shown: ShownArgs,
    /// How many classes to name.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = whole::<usize>(1..=1 << 28), allow_negative_numbers = true)]
    top: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) machine: MachineArgs,
    #[command(flatten)]
    perf: PerfArgs,
}

pub(crate) fn predict(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let model = args.shown.model.load(terminal)?;
    let graph = model.graph();
    if matches!(graph.output(), nin::Shape::Map { .. }) {
        anyhow::bail!("the model yields maps of {}, not one number a class", graph.output());
    }
    let (weights, info) = read_weights(&args.shown.weights, graph, terminal)?;
    let input = graph.input();
    let preparation = preparation(&info, &args.shown.weights, input, terminal)?;
    let machine = args.machine.machine(&model, Purpose::Inference)?;
    let program = model.compile(&machine.options(1, Purpose::Inference))?;
    compiled(&program, terminal);
    args.perf.write(&program, terminal)?;
    let mut session = program.session(&weights)?;
    let classes = info.class_names(graph);
    let softmax = graph.nodes().last().is_some_and(|node| node.op == Op::Softmax);
    let mut listed = vec![];
    for file in &args.shown.images {
        let mut image = images::read(file, input, terminal)?;
        preparation.apply(image.as_slice_mut().expect("images are in standard layout"), input);
        let image: ArrayView4<'_, f32> = image.view().insert_axis(Axis(0));
        let output = session.forward(image)?;
        let mut outputs: Vec<f32> = output.iter().copied().collect();
        if !softmax {
            to_probabilities(&mut outputs);
        }
        ensure!(
            outputs.iter().all(|output| output.is_finite()),
            "{}: the model's outputs are not finite: they overflow with the weights of {}",
            file.display(),
            args.shown.weights.display()
        );
        let mut ranked: Vec<usize> = (0..outputs.len()).collect();
        ranked.sort_by(|&a, &b| outputs[b].total_cmp(&outputs[a]));
        let top: Vec<(&str, f32)> = ranked
            .into_iter()
            .take(args.top)
            .map(|class| (classes[class].as_str(), outputs[class]))
            .collect();
        listed.push((file.display().to_string(), top));
    }
    let mut out = terminal.results();
    if args.json {
        let one = |(class, probability): &(&str, f32)| json!({ "class": class, "probability": probability });
        let images: Value = listed
            .iter()
            .map(|(file, top)| json!({ "file": file, "top": top.iter().map(one).collect::<Vec<_>>() }))
            .collect();
        writeln!(out, "{}", json!({ "images": images }))?;
    } else {
        for (file, top) in &listed {
            let top: Vec<String> = top
                .iter()
                .map(|(class, chance)| format!("{} {:.1} %", visible(class), 100.0 * chance))
                .collect();
            writeln!(out, "{}: {}", visible(file), top.join(", "))?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Softmax, for a model that ends in logits.
fn to_probabilities(logits: &mut [f32]) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.iter_mut().for_each(|x| *x = (*x - largest).exp());
    let sum: f32 = logits.iter().sum();
    logits.iter_mut().for_each(|x| *x /= sum);
}
