//! `nin fmt`: a model's file in canonical layout.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::ValueHint;
use nin::ModelError;
use nin_dsl::{Source, format};
use nin_runtime::file::write_atomically;

use super::WRONG;
use super::help::examples;
use super::options::read_text;
use super::terminal::Terminal;

#[derive(clap::Args)]
#[command(after_help = examples(&[
    ("Lay a file out", "nin fmt models/digits.nin"),
    ("Fail if a file is not laid out, as for CI", "nin fmt --check models/digits.nin models/nin-mnist.nin"),
]))]
pub(crate) struct Args {
    /// The models' files.
    #[arg(value_name = "MODEL.nin", required = true, value_hint = ValueHint::FilePath)]
    models: Vec<PathBuf>,
    /// Change nothing; fail if a file is not laid out.
    #[arg(long)]
    check: bool,
}

pub(crate) fn fmt(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    // A file that cannot be laid out keeps no other from it.
    for file in &args.models {
        if let Err(error) = lay_out(file, args.check, terminal) {
            terminal.error(&error);
            code = ExitCode::from(WRONG);
        }
    }
    Ok(code)
}

/// Lays out one file, or fails if it would change and may not.
fn lay_out(file: &Path, check: bool, terminal: &Terminal) -> anyhow::Result<()> {
    let text = Source::new(file.to_string_lossy(), read_text(file)?);
    let laid_out = format::source(&text)
        .map_err(|diagnostics| ModelError::Invalid { text: text.clone(), diagnostics })?;
    if laid_out == *text.text {
        terminal.detail(format_args!("{} is laid out", text.name));
    } else if check {
        bail!("{0} is not laid out; `nin fmt {0}` does it", text.name);
    } else {
        let written = write_atomically(file, laid_out.as_bytes());
        written.with_context(|| text.name.to_string())?;
        terminal.note(format_args!("{} has been laid out", text.name));
    }
    Ok(())
}
