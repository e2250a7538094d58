//! [`Diagnostic`], what nin says about a model: a [`Code`], a message, the places it is about, and what to do.

use std::fmt;

pub use crate::code::{Code, Severity, UnknownCode};
use crate::excerpt::excerpt;
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
            let there = excerpt(source.slice(label.span).lines().next().unwrap_or(""));
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

/// Draws a diagnostic as rustc draws its own; with terminal colours if `colour` is set. No newline at the end. Of a long
/// line there is only what lies around the labels, and no character of the text moves a terminal's cursor.
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
    let path = crate::excerpt::printable(&source.name);
    // Control characters of ASCII get marks in the drawing; those of Latin-1 do not, and terminals obey them. The mark in their
    // place is as long in bytes.
    let latin_control = |c: char| matches!(c, '\u{80}'..='\u{9f}');
    let text = source.text.replace(latin_control, "\u{b7}");
    let (near, far) = near_and_far(diagnostic, source);
    if !near.is_empty() {
        let annotations = near.iter().enumerate().map(|(i, label)| {
            let kind = if i == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
            let text = (!label.text.is_empty()).then_some(label.text.as_str());
            kind.span(label.span.start as usize..label.span.end as usize).label(text)
        });
        group = group.element(Snippet::source(&*text).path(Some(&*path)).annotations(annotations));
    }
    let notes = far.into_iter().map(|label| {
        let at = source.location(label.span);
        let there = excerpt(source.slice(label.span).lines().next().unwrap_or(""));
        Level::NOTE.message(format!("{}:{}: `{there}`: {}", at.line, at.column, label.text))
    });
    let group = group.elements(notes);
    let help = diagnostic.help.iter().map(|help| Level::HELP.message(help.as_str()));
    let report = [group.elements(help)];
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    renderer.render(&report)
}

/// A diagnostic's labels: those to be drawn, the guilty one first, and those so far from one of them on its line that a
/// drawing of both would be as long as the line.
#[cfg(feature = "render")]
fn near_and_far<'d>(
    diagnostic: &'d Diagnostic,
    source: &Source,
) -> (Vec<&'d Label>, Vec<&'d Label>) {
    /// Bytes between two labels of one drawing, about a terminal's width.
    const FAR: usize = 120;
    let apart = |a: Span, b: Span| {
        let between = a.end.min(b.end) as usize..a.start.max(b.start) as usize;
        let text = source.text.get(between).unwrap_or("");
        text.len() > FAR && !text.contains('\n')
    };
    let (mut near, mut far): (Vec<&Label>, Vec<&Label>) = (vec![], vec![]);
    for label in &diagnostic.labels {
        let is_far = near.iter().any(|drawn| apart(drawn.span, label.span));
        if is_far { far.push(label) } else { near.push(label) }
    }
    (near, far)
}

/// `names` as a person lists them: `a`, `b` or `c`, each in backquotes; of very many the first.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>, conjunction: &str) -> String {
    /// More are not read.
    const LISTED: usize = 40;
    let mut names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    if names.len() > LISTED {
        let others = names.split_off(LISTED).len();
        names.push(format!("{others} others"));
    }
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
