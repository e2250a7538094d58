//! `nin init`: fresh weights.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueHint;
use nin::train::{self, Info, Recipe};
use nin::weights;

use super::amounts::grouped;
use super::help::examples;
use super::options::{ModelArgs, keeps_apart, seed};
use super::terminal::Terminal;

#[derive(clap::Args)]
#[command(after_help = examples(&[
    ("The weights that training would start from", "nin init models/digits.nin -o fresh.safetensors"),
    ("Others", "nin init models/digits.nin --seed 7 -o seven.safetensors"),
]))]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Seed of the random numbers; otherwise the recipe's.
    #[arg(long, value_name = "N", value_parser = seed(), allow_negative_numbers = true)]
    seed: Option<u64>,
    /// A recipe whose initialisation to follow.
    #[arg(long, value_name = "R.toml", value_hint = ValueHint::FilePath)]
    recipe: Option<PathBuf>,
    /// Where to write them (safetensors).
    #[arg(short, long, value_name = "W.safetensors", value_hint = ValueHint::FilePath)]
    output: PathBuf,
}

pub(crate) fn init(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let recipe = args.recipe.as_deref().into_iter();
    keeps_apart(&args.output, &recipe.chain([&*args.model.model]).collect::<Vec<_>>())?;
    let model = args.model.load(terminal)?;
    let mut recipe = args.recipe.as_deref().map(Recipe::from_file).transpose()?.unwrap_or_default();
    if let Some(seed) = args.seed {
        recipe = Recipe { seed, ..recipe };
    }
    recipe.check()?;
    recipe.check_layers(model.graph())?;
    let fresh = train::init(model.graph(), &recipe);
    let info =
        Info { model: Some(model.resolved_text()), seed: Some(recipe.seed), ..Info::default() };
    weights::save(&args.output, fresh.tensors(), weights::Moments::default(), &info.metadata())?;
    for tensor in fresh.tensors() {
        terminal.detail(format_args!("  {} {:?}", tensor.name, tensor.dims));
    }
    let (count, tensors) = (grouped(model.graph().params_total()), fresh.tensors().len());
    terminal.note(format_args!("{count} weights in {tensors} tensors: {}", args.output.display()));
    Ok(ExitCode::SUCCESS)
}
