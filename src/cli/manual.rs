//! `nin completions` and `nin man`: what shells and readers of manuals need, from the same definitions as `--help`.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, ValueHint};
use clap_complete::Shell;
use clap_mangen::Man;
use nin_runtime::file::write_atomically;

use super::help::{EXAMPLES, examples};
use super::options::Usage;
use super::terminal::Terminal;

/// Which shell to complete for.
#[derive(clap::Args)]
#[command(after_help = examples(&[
    ("For bash, from the next shell on", "nin completions bash > ~/.local/share/bash-completion/completions/nin"),
    ("For zsh, in a folder of its $fpath", "nin completions zsh > ~/.zfunc/_nin"),
    ("For fish", "nin completions fish > ~/.config/fish/completions/nin.fish"),
]))]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

/// Which pages to write.
#[derive(clap::Args)]
#[command(after_help = examples(&[
    ("Read a verb's page", "nin man train | man -l -"),
    ("Install all pages for this user", "nin man --out ~/.local/share/man/man1"),
]))]
pub(crate) struct ManArgs {
    /// The verb; the page of `nin` itself without one.
    #[arg(value_name = "VERB")]
    verb: Option<String>,
    /// Write the pages of nin and of all verbs to this folder.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "verb")]
    out: Option<PathBuf>,
}

pub(crate) fn completions(args: &CompletionsArgs, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    // The generator takes writing for certain; a pipe may be closed.
    let mut script = vec![];
    clap_complete::generate(args.shell, &mut super::Command::command(), "nin", &mut script);
    let mut out = terminal.results();
    out.write_all(&script)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn man(args: &ManArgs, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let mut nin = super::Command::command().disable_help_subcommand(true);
    nin.build();
    if let Some(folder) = &args.out {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        for command in [&nin].into_iter().chain(nin.get_subcommands()) {
            let file = folder.join(Man::new(command.clone()).get_filename());
            let written = page(command).and_then(|page| write_atomically(&file, &page));
            written.with_context(|| file.display().to_string())?;
            terminal.note(file.display());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let command = match &args.verb {
        None => &nin,
        Some(verb) => nin.find_subcommand(verb).ok_or_else(|| {
            let verbs: Vec<&str> = nin.get_subcommands().map(clap::Command::get_name).collect();
            Usage(format!("there is no verb `{verb}`; there are {}", verbs.join(", ")))
        })?,
    };
    let mut out = terminal.results();
    out.write_all(&page(command)?)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// A command's page of the manual.
fn page(command: &clap::Command) -> io::Result<Vec<u8>> {
    let page = Man::new(command.clone()).source(concat!("nin ", env!("CARGO_PKG_VERSION")));
    let mut out = vec![];
    page.render_title(&mut out)?;
    page.render_name_section(&mut out)?;
    page.render_synopsis_section(&mut out)?;
    page.render_description_section(&mut out)?;
    page.render_options_section(&mut out)?;
    if command.has_subcommands() {
        page.render_subcommands_section(&mut out)?;
    }
    // The generator would fill the examples' lines like those of a paragraph.
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let examples = examples.strip_prefix(EXAMPLES).unwrap_or(&examples).trim_start_matches('\n');
    if !examples.is_empty() {
        let examples = examples.replace('\\', "\\e").replace('-', "\\-");
        writeln!(out, ".SH EXAMPLES\n.nf\n{examples}\n.fi")?;
    }
    Ok(out)
}
