//! [`Terminal`]: results to standard output, everything else to standard error.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal as _, StdoutLock, Write};

use anstream::{AutoStream, ColorChoice};
use nin::{Diagnostic, ModelError};
use nin_dsl::Source;
use nin_dsl::diagnostic::render;

use super::visible::{Visible, visible, visible_drawing, visible_lines};

/// Where and how to speak.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    quiet: bool,
    verbose: bool,
    /// Standard error takes colours.
    colour: bool,
    /// Standard error is a terminal that can redraw a line.
    interactive: bool,
}

impl Terminal {
    /// Looks at standard error, `TERM`, `NO_COLOR`, `CLICOLOR` and `CLICOLOR_FORCE`, as clap does for its own messages.
    pub(crate) fn new(quiet: bool, verbose: bool) -> Terminal {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let interactive = io::stderr().is_terminal() && !dumb;
        let colour = AutoStream::choice(&io::stderr()) != ColorChoice::Never;
        Terminal { quiet, verbose, colour, interactive }
    }

    /// Whether more was asked for.
    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// Whether progress is shown as a bar; otherwise as a line every few seconds.
    pub(crate) fn shows_bar(&self) -> bool {
        self.interactive && !self.quiet
    }

    /// Standard output. Flush it before the verb ends: its errors are lost otherwise.
    pub(crate) fn results(&self) -> Visible<Results> {
        Visible(Results(BufWriter::new(io::stdout().lock())))
    }

    /// A line to standard error.
    pub(crate) fn note(&self, line: impl Display) {
        if !self.quiet {
            say(told(line));
        }
    }

    /// A line to standard error while another thread may be drawing a bar there: it takes the bar's place.
    pub(crate) fn interject(&self, line: impl Display) {
        let clear = if self.shows_bar() { "\r\x1b[2K" } else { "" };
        self.note(format_args!("{clear}{line}"));
    }

    /// A line for those who asked for more.
    pub(crate) fn detail(&self, line: impl Display) {
        if self.verbose {
            say(told(line));
        }
    }

    /// Something that is probably not meant.
    pub(crate) fn warn(&self, line: impl Display) {
        if !self.quiet {
            let mark = if self.colour { "\x1b[1;33mwarning\x1b[0m" } else { "warning" };
            say(format_args!("{mark}: {}", told(line)));
        }
    }

    /// What the checker says of a text, errors even when quiet.
    pub(crate) fn diagnostics(&self, source: &Source, diagnostics: &[Diagnostic]) {
        // The drawing shows what is odd in the text by other characters, but not in the text's name.
        let name = visible(&source.name);
        let named = matches!(name, Cow::Owned(_)).then(|| Source::new(&*name, &*source.text));
        let source = named.as_ref().unwrap_or(source);
        for diagnostic in diagnostics {
            if !self.quiet || diagnostic.severity == nin_dsl::Severity::Error {
                let drawing = render(diagnostic, source, self.colour);
                say(format_args!("{}\n", visible_drawing(&drawing)));
            }
        }
    }

    /// The error that ends the command: diagnostics drawn as rustc draws its own, anything else with its causes.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        if let Some(ModelError::Invalid { text, diagnostics }) = error.downcast_ref() {
            self.diagnostics(text, diagnostics);
            return;
        }
        let mark = if self.colour { "\x1b[1;31merror\x1b[0m" } else { "error" };
        say(format_args!("{mark}: {}", told(with_causes(error))));
    }
}

/// Standard output, buffered, whose errors say what could not be written.
pub(crate) struct Results(BufWriter<StdoutLock<'static>>);

impl Write for Results {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(of_results)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(of_results)
    }
}

/// What went wrong with standard output; of the kind it was, by which a closed pipe is known.
pub(crate) fn of_results(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("standard output: {error}"))
}

/// An error and its causes in a line, without those that the ones before them have told already.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// A message with nothing in it that steers a terminal, and no line that seems to be another message.
fn told(line: impl Display) -> String {
    visible_lines(&line.to_string()).replace('\n', "\n  ")
}

/// Prints what clap says: help to standard output, mistakes to standard error.
///
/// # Errors
/// Those of the stream.
pub(crate) fn usage(error: &clap::Error) -> io::Result<()> {
    let steers = |arg: OsString| matches!(visible(&arg.to_string_lossy()), Cow::Owned(_));
    if !error.use_stderr() || !std::env::args_os().any(steers) {
        return error.print();
    }
    // What was typed is a part of the message.
    say(visible_lines(&error.render().to_string()));
    Ok(())
}

/// Nothing can be done about a standard error that is closed.
fn say(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
