//! `nin fmt`: a model's file in canonical layout.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use nin::ModelError;
use nin_dsl::{Source, format};
use nin_runtime::file::write_atomically;

use super::WRONG;
use super::options::read_text;
use super::terminal::Terminal;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The models' files.
    #[arg(value_name = "MODEL.nin", required = true)]
    models: Vec<PathBuf>,
    /// Change nothing; fail if a file is not laid out.
    #[arg(long)]
    check: bool,
}

pub(crate) fn fmt(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for file in &args.models {
        let text = Source::new(file.to_string_lossy(), read_text(file)?);
        let laid_out = format::source(&text)
            .map_err(|diagnostics| ModelError::Invalid { text: text.clone(), diagnostics })?;
        if laid_out == *text.text {
            terminal.detail(format_args!("{} is laid out", text.name));
        } else if args.check {
            terminal.warn(format_args!("{0} is not laid out; `nin fmt {0}` does it", text.name));
            code = ExitCode::from(WRONG);
        } else {
            // What a link points at is replaced, not the link.
            let place = file.canonicalize();
            let written = place.and_then(|place| write_atomically(&place, laid_out.as_bytes()));
            written.with_context(|| text.name.to_string())?;
            terminal.note(format_args!("{} has been laid out", text.name));
        }
    }
    Ok(code)
}
