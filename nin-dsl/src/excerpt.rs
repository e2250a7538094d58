//! Pieces of a user's text as messages show them: short, and with a name for what nobody can see.

use std::borrow::Cow;

/// Letters of a longer piece that are shown.
const SHOWN: usize = 60;

/// A piece of a text, without its end where it is long, and with codes for characters that a terminal does not print.
pub fn excerpt(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => Cow::Owned(format!("{}…", printable(&text[..end]))),
        None => printable(text),
    }
}

/// A text with codes such as `\u{1b}` for characters that a terminal does not print.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_printable) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match is_printable(c) {
            true => shown.push(c),
            false => shown.extend(c.escape_debug()),
        }
    }
    Cow::Owned(shown)
}

/// Whether a character leaves a mark of its own. Combining ones do not: they change the one before.
pub(crate) fn is_printable(c: char) -> bool {
    matches!(c, '"' | '\'' | '\\') || c.escape_debug().len() == 1
}

/// A character as a message names it: itself, with its code where it may look like another, or what it is where nobody
/// can see it.
pub(crate) fn named(c: char) -> String {
    if c.is_ascii() && is_printable(c) {
        return format!("`{c}`");
    }
    let code = u32::from(c);
    if is_printable(c) {
        return format!("`{c}` (U+{code:04X})");
    }
    let what = match c {
        '\0' => "a NUL",
        '\r' => "a carriage return",
        '\u{1b}' => "an escape character",
        '\u{a0}' => "a no-break space",
        '\u{ad}' => "a soft hyphen",
        '\u{200b}' => "a zero-width space",
        '\u{200c}' => "a zero-width non-joiner",
        '\u{200d}' => "a zero-width joiner",
        '\u{200e}' => "a left-to-right mark",
        '\u{200f}' => "a right-to-left mark",
        '\u{202f}' => "a narrow no-break space",
        '\u{2060}' => "a word joiner",
        '\u{3000}' => "an ideographic space",
        '\u{feff}' => "a byte order mark",
        '\u{300}'..='\u{36f}' => "a combining accent",
        c if c.is_control() => "a control character",
        c if c.is_whitespace() => "a special blank",
        _ => "an invisible character",
    };
    format!("{what} (U+{code:04X})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_loses_its_end() {
        assert_eq!(excerpt("relu"), "relu");
        assert_eq!(excerpt(&"ö".repeat(SHOWN)), "ö".repeat(SHOWN));
        assert_eq!(excerpt(&"ö".repeat(1 << 20)), format!("{}…", "ö".repeat(SHOWN)));
    }

    #[test]
    fn what_nobody_sees_is_named() {
        assert_eq!(printable("a \"é\" \\ b"), "a \"é\" \\ b");
        assert_eq!(printable("\u{1b}[31m\u{202e}\u{a0}"), "\\u{1b}[31m\\u{202e}\\u{a0}");
        assert_eq!(named('\u{a0}'), "a no-break space (U+00A0)");
        assert_eq!(named('\u{7}'), "a control character (U+0007)");
        assert_eq!(named('\u{2066}'), "an invisible character (U+2066)");
        assert_eq!(named('а'), "`а` (U+0430)");
        assert_eq!(named('}'), "`}`");
    }
}
