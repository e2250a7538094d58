//! Variants: every model that lists of values for a model's parameters make.

use anyhow::anyhow;
use nin::{Diagnostic, Model, ModelError, Number};
use nin_dsl::Source;

use super::amounts::grouped;
use super::options::{ModelArgs, Usage, named, read_model};
use super::terminal::Terminal;

/// Most variants: more would take the best part of an hour.
const MOST: usize = 1000;

/// A parameter and the values it takes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    pub(crate) name: String,
    pub(crate) values: Vec<Number>,
}

impl Axis {
    /// Reads `name=a,b,c`.
    pub(crate) fn parse(text: &str) -> Result<Axis, String> {
        let expected = || "expected `NAME=A,B,...`, such as `width=64,96,128`".to_owned();
        let (name, list) = named(text).ok_or_else(expected)?;
        let mut values: Vec<Number> = vec![];
        for word in list.split(',').map(str::trim) {
            let value = word.parse::<Number>().map_err(|error| error.to_string())?;
            if values.contains(&value) {
                return Err(format!("`{value}` is listed twice"));
            }
            values.push(value);
        }
        Ok(Axis { name: name.to_owned(), values })
    }
}

/// A variant of the model, and its place on each axis.
pub(crate) struct Variant {
    pub(crate) values: Vec<Number>,
    pub(crate) model: Model,
}

/// Checks every variant before any is run, the last axis going round first.
///
/// # Errors
/// [`Usage`] if a parameter is given twice or the variants are too many; the first variant that is no model.
pub(crate) fn variants(
    args: &ModelArgs,
    axes: &[Axis],
    terminal: &Terminal,
) -> anyhow::Result<Vec<Variant>> {
    let given = args.variant.define.iter().map(|(name, _)| name);
    let mut names: Vec<&String> = given.chain(axes.iter().map(|axis| &axis.name)).collect();
    names.sort();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Usage(format!("`{}` is given twice", pair[0])).into());
    }
    let product = |count: usize, axis: &Axis| count.checked_mul(axis.values.len());
    let count = axes.iter().try_fold(1, product).filter(|&count| count <= MOST);
    let count = count.ok_or_else(|| {
        Usage(format!("these are more than {} variants: list fewer values", grouped(MOST as u64)))
    })?;
    let mut variants: Vec<Variant> = vec![];
    for values in (0..count).map(|at| place(axes, at)) {
        let source = variants.first().map(|variant| variant.model.source());
        let model = load(args, source, axes, &values, terminal)?;
        // Most variants are warned of the same.
        let said = |warning: &&Diagnostic| {
            variants.iter().any(|variant| variant.model.warnings().contains(warning))
        };
        let news: Vec<Diagnostic> =
            model.warnings().iter().filter(|warning| !said(warning)).cloned().collect();
        terminal.diagnostics(model.source(), &news);
        variants.push(Variant { values, model });
    }
    Ok(variants)
}

/// The values of the variant at a place in their order.
fn place(axes: &[Axis], mut at: usize) -> Vec<Number> {
    let mut values = vec![];
    for axis in axes.iter().rev() {
        values.push(axis.values[at % axis.values.len()]);
        at /= axis.values.len();
    }
    values.reverse();
    values
}

/// One variant, from the text that others were read from if there are any.
fn load(
    args: &ModelArgs,
    source: Option<&Source>,
    axes: &[Axis],
    values: &[Number],
    terminal: &Terminal,
) -> anyhow::Result<Model> {
    let swept = axes.iter().zip(values).map(|(axis, &value)| (axis.name.clone(), value));
    let define: Vec<(String, Number)> = args.variant.define.iter().cloned().chain(swept).collect();
    let read = match source {
        Some(source) => {
            Model::from_text(&source.name, &source.text, &define).map_err(anyhow::Error::from)
        }
        None => read_model(&args.model, &define),
    };
    let accepted = read.and_then(|model| Ok(args.variant.accept(model)?));
    accepted.map_err(|error| match error.downcast_ref() {
        Some(ModelError::Invalid { text, diagnostics }) => {
            terminal.diagnostics(text, diagnostics);
            let variant = titled(axes, values);
            anyhow!("the model is not valid with {variant}; none was run")
        }
        _ => error,
    })
}

/// `width = 64, depth = 2`.
pub(crate) fn titled(axes: &[Axis], values: &[Number]) -> String {
    let pairs = axes.iter().zip(values).map(|(axis, value)| format!("{} = {value}", axis.name));
    pairs.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(text: &str) -> Axis {
        Axis::parse(text).unwrap()
    }

    #[test]
    fn a_list_names_a_parameter_and_its_values() {
        let values = vec![Number::Whole(64), Number::Whole(96)];
        assert_eq!(axis(" width = 64, 96 "), Axis { name: "width".to_owned(), values });
        assert_eq!(axis("p=0.5").values, [Number::Real(0.5)]);
        for wrong in ["", "width", "width=", "=1", "width=1,", "width=1,,2", "width=a", "w=1,2,1"] {
            assert!(Axis::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_last_axis_goes_round_first() {
        let axes = [axis("a=1,2"), axis("b=3,4,5")];
        let titles: Vec<_> = (0..6).map(|at| titled(&axes, &place(&axes, at))).collect();
        assert_eq!(titles[..2], ["a = 1, b = 3", "a = 1, b = 4"]);
        assert_eq!(titles[3..5], ["a = 2, b = 3", "a = 2, b = 4"]);
    }
}
