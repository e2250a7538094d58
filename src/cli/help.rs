//! How help is laid out: every verb ends in examples that can be pasted into a shell.

use clap::builder::StyledStr;
use clap::builder::styling::Styles;

/// What stands above the examples, in help and in the manual.
pub(crate) const EXAMPLES: &str = "Examples:";

/// Examples under their heading: what a command is for, as a shell's comment, and the command. A line must fit 80 columns:
/// clap breaks longer ones, and a shell would run the parts.
pub(crate) fn examples(list: &[(&str, &str)]) -> StyledStr {
    let styles = Styles::styled();
    let heading = styles.get_header();
    let lines = list
        .iter()
        .map(|(purpose, line)| format!("  # {purpose}\n  {}", line.replace('\n', "\n  ")));
    let lines: Vec<String> = lines.collect();
    StyledStr::from(format!("{heading}{EXAMPLES}{heading:#}\n{}", lines.join("\n")))
}
