//! [`Model`], a checked model with its text: from a string, a file or the `nin!` macro.

use std::fs::File;
use std::path::{Path, PathBuf};

use nin_dsl::graph::Graph;
use nin_dsl::{Diagnostic, Number, Source, limits};

use crate::compile::{self, Options};
use crate::error::Error;
use crate::file::read_text;
use crate::run::exec::Program;

/// A checked model.
#[derive(Clone, Debug)]
pub struct Model {
    source: Source,
    graph: Graph,
    warnings: Vec<Diagnostic>,
}

/// Why there is no model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The file could not be read.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// The text is no valid model.
    #[error("{}", all(text, diagnostics))]
    Invalid {
        /// The text.
        text: Source,
        /// What is wrong with it, at least one error.
        diagnostics: Vec<Diagnostic>,
    },
}

/// Every diagnostic with its place, one after the other.
fn all(text: &Source, diagnostics: &[Diagnostic]) -> String {
    let briefs =
        diagnostics.iter().map(|diagnostic| format!("{}:{}", text.name, diagnostic.brief(text)));
    briefs.collect::<Vec<_>>().join("\n")
}

impl Model {
    /// Reads and checks a text. `name` is what messages call it, and the name of a model that has none.
    ///
    /// `overrides` replace defaults of the model's parameters.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] with everything that is wrong.
    ///
    /// # Examples
    /// ```
    /// let text = "model M(width = 8) < input(1, 9, 9) conv(width) gap softmax >";
    /// let model = nin::Model::from_text("m.nin", text, &[])?;
    /// assert_eq!(model.graph().params_total(), 8 * 9 + 8);
    /// # Ok::<(), nin::ModelError>(())
    /// ```
    pub fn from_text(
        name: &str,
        text: &str,
        overrides: &[(String, Number)],
    ) -> Result<Model, ModelError> {
        let source = Source::new(name, text);
        match nin_dsl::read(&source, overrides) {
            Ok((graph, warnings)) => Ok(Model { source, graph, warnings }),
            Err(diagnostics) => Err(ModelError::Invalid { text: source, diagnostics }),
        }
    }

    /// Reads and checks a `.nin` file.
    ///
    /// # Errors
    /// [`ModelError::Io`] if the file cannot be read as a text, [`ModelError::Invalid`] with everything that is wrong in it.
    pub fn from_file(
        file: impl AsRef<Path>,
        overrides: &[(String, Number)],
    ) -> Result<Model, ModelError> {
        let file = file.as_ref();
        let read = File::open(file).and_then(|open| read_text(open, limits::TEXT_BYTES));
        let text = read.map_err(|source| ModelError::Io { file: file.to_owned(), source })?;
        Model::from_text(&file.to_string_lossy(), &text, overrides)
    }

    /// The checked graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The text.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The model's canonical text with each parameter's default replaced by the value it has here: a text of its own for
    /// this variant.
    pub fn resolved_text(&self) -> String {
        let resolved = nin_dsl::parse(&self.source)
            .and_then(|model| nin_dsl::format::resolved(&model, self.graph.params()));
        resolved.expect("a checked text is a model (a bug in nin)").to_string()
    }

    /// What the checker warned of.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// Compiles the model to machine code for this CPU.
    ///
    /// # Errors
    /// See [`compile::compile`].
    pub fn compile(&self, options: &Options) -> Result<Program, Error> {
        compile::compile(&self.graph, options)
    }
}
