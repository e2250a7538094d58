//! [`Diagnostic`], what nin says about a model: a [`Code`], a message, the places it is about, and what to do.

use std::fmt;

pub use crate::code::{Code, Severity, UnknownCode};
use crate::span::{Source, Span};

/// One error or warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What it is about.
    pub code: Code,
    /// Error or warning.
    pub severity: Severity,
    /// One line, without an end mark.
    pub message: String,
    /// The places it is about, the guilty one first. Empty where nothing in the text is to blame.
    pub labels: Vec<Label>,
    /// What to do about it, a line each.
    pub help: Vec<String>,
}

/// A place with a remark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// The remark; may be empty.
    pub text: String,
}

impl Diagnostic {
    /// A diagnostic without a place; its severity is its code's.
    pub fn new(code: Code, message: impl Into<String>) -> Diagnostic {
        let message = message.into();
        Diagnostic { code, severity: code.severity(), message, labels: vec![], help: vec![] }
    }

    /// Adds a place; the first one added is the guilty one.
    #[must_use]
    pub fn label(mut self, span: Span, text: impl Into<String>) -> Diagnostic {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    /// Adds a line of advice.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Diagnostic {
        self.help.push(text.into());
        self
    }

    /// The same as an error, for those who tolerate no warnings.
    #[must_use]
    pub fn denied(self) -> Diagnostic {
        Diagnostic { severity: Severity::Error, ..self }
    }

    /// The guilty place.
    pub fn span(&self) -> Option<Span> {
        self.labels.first().map(|label| label.span)
    }

    /// `line:column: severity[code]: message`, then the remarks and the advice, without a drawing. Put the text's name
    /// and a colon before it.
    pub fn brief(&self, source: &Source) -> String {
        let place = self.span().map_or(String::new(), |span| {
            let at = source.location(span);
            format!("{}:{}:", at.line, at.column)
        });
        format!("{place} {self}{}", self.remarks(source))
    }

    /// What comes after the message, each on a line of its own: what the labels add to it, then the advice. For where
    /// nothing can be drawn, or only the guilty place.
    pub fn remarks(&self, source: &Source) -> String {
        let line = |span| source.location(span).line;
        let guilty = self.span().map(line);
        let labels = self.labels.iter().enumerate().filter_map(|(i, label)| {
            let there = source.slice(label.span).lines().next().unwrap_or("");
            let said = label.text.is_empty() || self.message.contains(&label.text);
            let text = label.text.as_str();
            if i == 0 || there.is_empty() {
                return (!said).then(|| format!("\nnote: {text}"));
            }
            match (Some(line(label.span)) == guilty, said) {
                (true, true) => None,
                (true, false) => Some(format!("\nnote: `{there}`: {text}")),
                (false, true) => Some(format!("\nnote: line {}: `{there}`", line(label.span))),
                (false, false) => {
                    Some(format!("\nnote: line {}: `{there}`: {text}", line(label.span)))
                }
            }
        });
        let help = self.help.iter().map(|help| format!("\nhelp: {help}"));
        labels.chain(help).collect()
    }
}

impl fmt::Display for Diagnostic {
    /// `severity[code]: message`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]: {}", self.severity, self.code, self.message)
    }
}

/// Draws a diagnostic as rustc draws its own; with terminal colours if `colour` is set. No newline at the end.
#[cfg(feature = "render")]
pub fn render(diagnostic: &Diagnostic, source: &Source, colour: bool) -> String {
    use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = level
        .primary_title(diagnostic.message.as_str())
        .id(diagnostic.code.number())
        .elements(None::<Snippet<'_, annotate_snippets::Annotation<'_>>>);
    if !diagnostic.labels.is_empty() {
        let annotations = diagnostic.labels.iter().enumerate().map(|(i, label)| {
            let kind = if i == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
            let text = (!label.text.is_empty()).then_some(label.text.as_str());
            kind.span(label.span.start as usize..label.span.end as usize).label(text)
        });
        group = group.element(
            Snippet::source(&*source.text).path(Some(&*source.name)).annotations(annotations),
        );
    }
    let help = diagnostic.help.iter().map(|help| Level::HELP.message(help.as_str()));
    let report = [group.elements(help)];
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    renderer.render(&report)
}

/// `names` as a person lists them: `a`, `b` or `c`, each in backquotes.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>, conjunction: &str) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    join(&names, conjunction)
}

/// `items` as a person lists them: a, b or c.
pub(crate) fn join(items: &[String], conjunction: &str) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [most @ .., last] => format!("{} {conjunction} {last}", most.join(", ")),
    }
}

/// The name a person may have meant: the nearest of `names`, if it is near enough to be a slip.
pub fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Longer words are no slip of any name, and comparing takes time.
    const LONGEST: usize = 64;
    if written.len() > LONGEST {
        return None;
    }
    let lower = written.to_lowercase();
    let allowed = written.chars().count().max(3) / 3;
    names
        .into_iter()
        .filter(|name| name.len() <= LONGEST)
        .map(|name| (strsim::osa_distance(&lower, &name.to_lowercase()), name))
        .filter(|&(distance, _)| distance <= allowed)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, name)| name)
}
