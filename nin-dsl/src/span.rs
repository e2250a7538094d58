//! Where a piece of model text stands: [`Source`] is the text, [`Span`] a byte range of it.

use std::sync::Arc;

/// A half-open byte range of a [`Source`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes `start..end`.
    pub fn new(start: usize, end: usize) -> Span {
        let small = |offset| u32::try_from(offset).expect("a source is shorter than 4 GiB");
        Span { start: small(start), end: small(end) }
    }

    /// The smallest span that holds both.
    #[must_use]
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// A model's text and the name it is known by (a path, or `nin!`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What a diagnostic calls the text.
    pub name: Arc<str>,
    /// The text itself.
    pub text: Arc<str>,
}

/// A place a person can look up: both from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Source {
    /// Names a text.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Source {
        Source { name: name.into(), text: text.into() }
    }

    /// The text under a span; empty if the span does not fit this source.
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.start as usize..span.end as usize).unwrap_or("")
    }

    /// The line and column of a span's first byte.
    pub fn location(&self, span: Span) -> Location {
        let before = self.text.get(..span.start as usize).unwrap_or(&self.text);
        // Editors do not count a byte order mark.
        let line_start = match before.rfind('\n') {
            Some(newline) => newline + 1,
            None => before.len() - before.trim_start_matches('\u{feff}').len(),
        };
        Location {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let source = Source::new("m", "a\n/* é */ relu");
        let span = Span::new(11, 15);
        assert_eq!(source.slice(span), "relu");
        assert_eq!(source.location(span), Location { line: 2, column: 9 });
    }
}
