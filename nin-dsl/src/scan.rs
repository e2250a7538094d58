//! A look at a text's brackets and comments before the grammar sees it.
//!
//! The grammar recurses where parentheses and comments nest, so depth is limited here; and a syntax error can name the
//! bracket that was never closed.

use crate::diagnostic::{Code, Diagnostic};
use crate::limits;
use crate::span::Span;

/// The positions of the brackets still open at byte `end` of `text`, outermost first.
///
/// # Errors
/// If brackets or comments nest deeper than [`limits::NESTING`], or a comment has no end.
pub(crate) fn open_brackets(text: &str, end: usize) -> Result<Vec<usize>, Diagnostic> {
    let bytes = text.as_bytes();
    let mut open: Vec<usize> = Vec::new();
    let mut at = 0;
    while at < end {
        let rest = &bytes[at..];
        match rest[0] {
            b'/' if rest.starts_with(b"//") => {
                at += rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
                continue;
            }
            b'/' if rest.starts_with(b"/*") => {
                at = comment_end(bytes, at)?;
                continue;
            }
            b'(' | b'<' => {
                if open.len() == limits::NESTING {
                    return Err(too_deep(at, 1));
                }
                open.push(at);
            }
            closing @ (b')' | b'>') => {
                let opening = if closing == b')' { b'(' } else { b'<' };
                open.pop_if(|last| bytes[*last] == opening);
            }
            _ => {}
        }
        at += 1;
    }
    Ok(open)
}

/// One past the end of the `/* */` comment that begins at `start`.
fn comment_end(bytes: &[u8], start: usize) -> Result<usize, Diagnostic> {
    let (mut at, mut depth) = (start, 0);
    while at < bytes.len() {
        let rest = &bytes[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            if depth > limits::NESTING {
                return Err(too_deep(at, 2));
            }
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Ok(at);
            }
        } else {
            at += 1;
        }
    }
    Err(Diagnostic::new(Code::UnterminatedComment, "this comment has no end")
        .label(Span::new(start, start + 2), format!("{depth} `*/` missing")))
}

fn too_deep(at: usize, length: usize) -> Diagnostic {
    let limit = limits::NESTING;
    Diagnostic::new(Code::NestedTooDeep, format!("nesting deeper than {limit} levels"))
        .label(Span::new(at, at + length), format!("level {}", limit + 1))
}
