//! Texts: models by either door, and names on the command line.

use nin_dsl::{Diagnostic, Graph, Number, Source, ast, check, format, parse, read};
use nin_runtime::compiler::Isa;
use nin_runtime::compiler::plan::Algos;
use nin_runtime::data::Spec;
use proc_macro2::{TokenStream, TokenTree};

use super::Check;
use crate::expand;
use crate::token_text::TokenText;

/// Words and marks of the language.
pub(super) const WORDS: &[&str] = &[
    "model ",
    "pub ",
    "block ",
    "repeat(2) < ",
    " > ",
    "< ",
    "input(3, 8, 8) ",
    "conv(4) ",
    "mlpconv(4, 4) ",
    "maxpool(2) ",
    "avgpool(2) ",
    "dropout(0.5) ",
    "batchnorm ",
    "relu ",
    "leaky_relu(0.1) ",
    "elu(1.0) ",
    "relu6 ",
    "sigmoid ",
    "tanh ",
    "silu ",
    "gelu ",
    "hard_sigmoid ",
    "hard_swish ",
    "prelu ",
    "scale(-2.0) ",
    "gap ",
    "fc(3) ",
    "softmax ",
    "kernel = ",
    "stride = ",
    "pad = ",
    "bias = 0",
    "round = ceil",
    "round = floor",
    "same",
    "eps = ",
    "momentum = ",
    "a = 2",
    " + ",
    " - ",
    " * ",
    " / ",
    "(",
    ")",
    ",",
    ";",
    "//",
    "///",
    "/*",
    "*/",
    "\n",
    "\r\n",
    "'",
    "\"",
    "0x1",
    "1.",
    "1e",
    "r#",
    "é",
    "\u{feff}",
    "\u{200b}",
];

/// Of names on the command line.
pub(super) const SPECS: &[&str] = &[
    "mnist",
    "mnist-10k",
    "cifar10",
    "cifar100",
    "svhn",
    "images",
    "npy",
    ":",
    "auto",
    "direct",
    "winograd",
    "tuned",
    "avx2",
    "avx512",
    "portable",
    ",",
    "=",
    ".",
    "mlpconv1",
    "forward",
    "input",
    "kernel",
];

/// Any text is judged in words that point into it, and what passes reads back from each of its prints.
pub(super) fn model() -> Check {
    Box::new(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        let source = Source::new("m.nin", &*text);
        let model = match parse(&source) {
            Ok(model) => model,
            Err(diagnostics) => return judged(&source, &diagnostics, true),
        };
        lays_out(&source)?;
        let (graph, diagnostics) = check(&model, &[]);
        judged(&source, &diagnostics, graph.is_none())?;
        let Some(graph) = graph else { return Ok(()) };
        graph.verify();
        let resolved =
            format::resolved(&model, &[]).map_err(|_| "a checked model has no resolved text")?;
        reads_back(&model, &graph)?;
        reads_back(&resolved, &graph)
    })
}

/// Whether diagnostics point into the text and draw, and there is one if the text was refused.
fn judged(source: &Source, diagnostics: &[Diagnostic], refused: bool) -> Result<(), String> {
    for diagnostic in diagnostics {
        for label in &diagnostic.labels {
            let (start, end) = (label.span.start as usize, label.span.end as usize);
            if source.text.get(start..end).is_none() {
                return Err(format!("{diagnostic}: {label:?} is not in the text"));
            }
        }
        nin_dsl::diagnostic::render(diagnostic, source, false);
    }
    match refused && diagnostics.is_empty() {
        true => Err("refused without a reason".to_owned()),
        false => Ok(()),
    }
}

/// Whether a text that parses is laid out to what parses to the same and is laid out already.
fn lays_out(source: &Source) -> Result<(), String> {
    let laid = format::source(source).map_err(|_| "a model is not laid out")?;
    let again = Source::new("m.nin", laid.as_str());
    match (parse(source), parse(&again)) {
        (Ok(model), Ok(same)) if model.to_string() == same.to_string() => {}
        _ => return Err(format!("is laid out as another model:\n{laid}")),
    }
    match format::source(&again) {
        Ok(same) if same == laid => Ok(()),
        other => Err(format!("is laid out anew:\n{laid}\n{other:?}")),
    }
}

/// Whether a model's print is read as the model and is its own print.
fn reads_back(model: &ast::Model, graph: &Graph) -> Result<(), String> {
    let printed = model.to_string();
    let source = Source::new("m.nin", printed.as_str());
    let again =
        parse(&source).map_err(|errors| format!("{printed}\ndoes not parse: {errors:?}"))?;
    if again.to_string() != printed {
        return Err(format!("{printed}\nis printed as\n{again}"));
    }
    match check(&again, &[]).0 {
        Some(same) if placeless(&same) == placeless(graph) => Ok(()),
        _ => Err(format!("{printed}\nis another model")),
    }
}

/// A graph without the places of its text.
fn placeless(graph: &Graph) -> Graph {
    graph.clone().without_places()
}

/// Any tokens are expanded, and a text that is made of tokens is the same model by both doors.
pub(super) fn tokens() -> Check {
    Box::new(|bytes| {
        // Places of tokens are kept for as long as a thread lives, unless one says otherwise.
        proc_macro2::extra::invalidate_current_thread_spans();
        let text = String::from_utf8_lossy(bytes);
        let Ok(tokens) = text.parse::<TokenStream>() else { return Ok(()) };
        // A string alone is the path of a file, which may be any file of the machine's.
        let mut trees = tokens.clone().into_iter();
        if let (Some(TokenTree::Literal(_)), None) = (trees.next(), trees.next()) {
            return Ok(());
        }
        let laid_out = TokenText::new(tokens.clone());
        let expansion = expand::nin(quote::quote!(nin #tokens)).to_string();
        let by_tokens = read(&Source::new("m", laid_out.text.as_str()), &[]);
        if by_tokens.is_ok() == expansion.contains("compile_error !") {
            return Err(format!("is read as {by_tokens:?}\nand expands to {expansion}"));
        }
        match (read(&Source::new("m", &*text), &[]), by_tokens) {
            (Ok((graph, _)), Ok((same, _))) if placeless(&graph) == placeless(&same) => Ok(()),
            (Ok(_), Ok(_)) => Err(format!("is another model by tokens:\n{}", laid_out.text)),
            (Ok(_), Err(errors)) => {
                Err(format!("is refused by tokens:\n{}\n{errors:?}", laid_out.text))
            }
            // The macro's door is wider: comments that the language has no end of, numbers that Rust writes otherwise.
            (Err(_), _) => Ok(()),
        }
    })
}

/// A name is refused, or is read back from its print.
pub(super) fn words() -> Check {
    Box::new(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        reads_back_as::<Spec>(&text)?;
        reads_back_as::<Algos>(&text)?;
        reads_back_as::<Isa>(&text)?;
        reads_back_as::<Number>(&text)
    })
}

fn reads_back_as<T>(text: &str) -> Result<(), String>
where
    T: std::str::FromStr<Err: std::fmt::Display> + std::fmt::Display + PartialEq,
{
    let read = match text.parse::<T>() {
        Ok(read) => read,
        Err(error) => {
            let _said = error.to_string();
            return Ok(());
        }
    };
    let printed = read.to_string();
    match printed.parse::<T>() {
        Ok(again) if again == read => Ok(()),
        _ => Err(format!("`{text}` is printed as `{printed}`, which is something else")),
    }
}
