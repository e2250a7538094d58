//! `nin explain`: the long form of a diagnostic.

use std::io::Write as _;
use std::process::ExitCode;

use nin_dsl::Code;

use super::terminal::Terminal;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The code, such as N012; all are listed without one.
    code: Option<Code>,
}

pub(crate) fn explain(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let mut out = terminal.results();
    match args.code {
        Some(code) => {
            let (severity, title) = (code.severity(), code.title());
            writeln!(out, "{severity}[{code}]: {title}\n\n{}", code.explanation())?;
        }
        None => {
            for code in Code::ALL {
                writeln!(out, "{code}  {:<7}  {}", code.severity().to_string(), code.title())?;
            }
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
