//! Names from files as a terminal, JSON or a page can show them without being steered by them: [`visible`], and [`Visible`],
//! through which everything goes to standard output.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Whether a character moves a cursor, colours, hides or turns text round, in place of being seen.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            // Marks and embeddings of direction, line separators, and tags that nothing shows.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// A name with such characters as JSON would write them: `\u001b`, `\n`.
pub(crate) fn visible(name: &str) -> Cow<'_, str> {
    replaced(name, |_| false)
}

/// A text of lines, which stay lines, as do tabs.
pub(crate) fn visible_lines(text: &str) -> Cow<'_, str> {
    replaced(text, |c| matches!(c, '\n' | '\t'))
}

/// A drawing of a text with a place in it, in colours: what the drawing itself steers stays.
pub(crate) fn visible_drawing(drawing: &str) -> Cow<'_, str> {
    replaced(drawing, |c| matches!(c, '\n' | '\t' | '\x1b'))
}

fn replaced(text: &str, stays: fn(char) -> bool) -> Cow<'_, str> {
    let odd = |c: char| steers(c) && !stays(c);
    if !text.chars().any(odd) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            _ if !odd(c) => out.push(c),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                write!(out, "\\u{unit:04x}").expect("a string takes any text");
            }),
        }
    }
    Cow::Owned(out)
}

/// A writer of text, every piece of it whole characters, through [`visible_lines`]. JSON stays the same JSON.
#[derive(Debug)]
pub(crate) struct Visible<W>(pub(crate) W);

impl<W: Write> Write for Visible<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(visible_lines(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_is_written_out_and_nothing_else() {
        assert_eq!(
            visible("cat\x1b[2J\u{9b}31m\u{202e}gpj.tac\r\n"),
            "cat\\u001b[2J\\u009b31m\\u202egpj.tac\\r\\n"
        );
        assert_eq!(visible("\u{e0041}\x07\0\x7f"), "\\udb40\\udc41\\u0007\\u0000\\u007f");
        // Families of joined emoji, accents and scripts written from right to left are names like any other.
        for name in ["größe", "\u{1f468}\u{200d}\u{1f469}", "קטן", "e\u{301}", r"C:\new"] {
            assert!(matches!(visible(name), Cow::Borrowed(same) if same == name));
        }
        assert_eq!(visible_lines("a\tb\nc\x1b"), "a\tb\nc\\u001b");
    }

    #[test]
    fn json_means_the_same_afterwards() {
        let value = serde_json::json!({ "class": "\x1b]0;\u{9b}\u{202e}\u{e0041}\n\"\\" });
        let mut out = Visible(vec![]);
        write!(out, "{value}").unwrap();
        let text = String::from_utf8(out.0).unwrap();
        assert!(text.is_ascii(), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
