//! How SVG is written: numbers, texts and lines.

use std::fmt::{self, Write as _};

use super::measure::text_width;

/// A length with one decimal, if it needs it.
#[derive(Clone, Copy)]
pub(super) struct N(pub(super) f64);

impl fmt::Display for N {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Adding zero makes of a negative zero a positive one.
        write!(f, "{}", (self.0 * 10.0).round() / 10.0 + 0.0)
    }
}

/// A text in which nothing is markup. What XML has no place for is replaced.
pub(super) struct Escaped<'t>(pub(super) &'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            c if c.is_control() && c != '\n' => f.write_char('\u{FFFD}'),
            '\u{FFFE}' | '\u{FFFF}' => f.write_char('\u{FFFD}'),
            c => f.write_char(c),
        })
    }
}

/// Appends a line.
pub(super) fn line(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

/// A text that is no wider than `room`.
pub(super) fn cut(text: &str, room: f64) -> String {
    if text_width(text) <= room {
        return text.to_owned();
    }
    let ends = text.char_indices().map(|(start, c)| start + c.len_utf8());
    let fits = |end: &usize| text_width(&text[..*end]) + text_width("…") <= room;
    let end = ends.take_while(fits).last().unwrap_or(0);
    format!("{}…", &text[..end])
}
