//! `nin init`: fresh weights.

use std::path::PathBuf;
use std::process::ExitCode;

use nin::train::{self, Info, Recipe};
use nin::weights;

use super::options::ModelArgs;
use super::terminal::Terminal;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Seed of the random numbers; otherwise the recipe's.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..1 << 63))]
    seed: Option<u64>,
    /// A recipe whose initialisation to follow.
    #[arg(long, value_name = "R.toml")]
    recipe: Option<PathBuf>,
    /// Where to write them (safetensors).
    #[arg(short, long, value_name = "W.safetensors")]
    output: PathBuf,
}

pub(crate) fn init(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let model = args.model.load(terminal)?;
    let mut recipe = args.recipe.as_deref().map(Recipe::from_file).transpose()?.unwrap_or_default();
    if let Some(seed) = args.seed {
        recipe = Recipe { seed, ..recipe };
    }
    recipe.check()?;
    let fresh = train::init(model.graph(), &recipe);
    let info =
        Info { model: Some(model.resolved_text()), seed: Some(recipe.seed), ..Info::default() };
    weights::save(&args.output, fresh.tensors(), None, &info.metadata())?;
    let (count, tensors) = (model.graph().params_total(), fresh.tensors().len());
    terminal.note(format_args!("{count} weights in {tensors} tensors: {}", args.output.display()));
    Ok(ExitCode::SUCCESS)
}
