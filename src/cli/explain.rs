//! `nin explain`: the long form of a diagnostic.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Error};
use nin_dsl::Code;

use super::help::examples;
use super::terminal::Terminal;

#[derive(clap::Args)]
#[command(after_help = examples(&[
    ("What an error means and what to do", "nin explain N040"),
    ("Every code in a line", "nin explain"),
    ("All of them at length", "nin explain -v | less"),
]))]
pub(crate) struct Args {
    /// The code, such as N012; all are listed without one, at length with `-v`.
    #[arg(value_name = "CODE", value_parser = CodeParser, hide_possible_values = true)]
    code: Option<Code>,
}

/// Takes codes as they parse; a shell completes them, but no message lists them all.
#[derive(Clone)]
struct CodeParser;

impl TypedValueParser for CodeParser {
    type Value = Code;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Code, Error> {
        let parser = |text: &str| text.parse::<Code>();
        TypedValueParser::parse_ref(&parser, command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let value = |code: &Code| PossibleValue::new(code.number()).help(code.title());
        Some(Box::new(Code::ALL.iter().map(value)))
    }
}

pub(crate) fn explain(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let mut out = terminal.results();
    match args.code {
        Some(code) => at_length(&mut out, code)?,
        None if terminal.is_verbose() => {
            for (index, &code) in Code::ALL.iter().enumerate() {
                if index > 0 {
                    writeln!(out)?;
                }
                at_length(&mut out, code)?;
            }
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

fn at_length(out: &mut impl Write, code: Code) -> io::Result<()> {
    let (severity, title) = (code.severity(), code.title());
    writeln!(out, "{severity}[{code}]: {title}\n\n{}", code.explanation())
}
