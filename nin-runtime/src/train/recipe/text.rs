//! Reading recipes as TOML: every mistake has a line and a column, and a misspelt setting the one that was perhaps meant.

use std::ops::Range;

use nin_dsl::diagnostic::nearest;
use nin_dsl::{Source, Span};
use toml::de::{DeTable, DeValue};

use super::{Recipe, RecipeError};
use crate::compile::MAX_BATCH;

/// What the value of a setting is.
enum Kind {
    Text,
    /// One of these texts.
    Word(&'static [&'static str]),
    /// From the first to the second.
    Whole(u64, u64),
    /// Whole or not.
    Number,
    /// A list of them.
    Numbers,
    Table(&'static [(&'static str, Kind)]),
}

/// The settings of a [`Recipe`] as its text has them.
const SETTINGS: &[(&str, Kind)] = &[
    ("data", Kind::Text),
    ("weights", Kind::Text),
    ("epochs", Kind::Whole(1, u32::MAX as u64)),
    ("batch", Kind::Whole(1, MAX_BATCH as u64)),
    ("seed", Kind::Whole(0, i64::MAX as u64)),
    ("validation", Kind::Number),
    ("lr", Kind::Number),
    ("momentum", Kind::Number),
    ("weight_decay", Kind::Number),
    ("clip", Kind::Number),
    (
        "schedule",
        Kind::Table(&[("kind", Kind::Word(&["constant", "cosine"])), ("warmup", Kind::Number)]),
    ),
    ("init", Kind::Table(&[("kind", Kind::Word(&["he", "gaussian"])), ("std", Kind::Number)])),
    (
        "last_layer",
        Kind::Table(&[("weights", Kind::Number), ("bias", Kind::Number), ("lr", Kind::Number)]),
    ),
    ("normalisation", Kind::Table(&[("mean", Kind::Numbers), ("deviation", Kind::Numbers)])),
];

/// A part of the text and what is wrong with it.
type Mistake = (Range<usize>, String);

/// Reads a recipe whose numbers are all in their ranges.
pub(super) fn read(text: &str) -> Result<Recipe, RecipeError> {
    parse(text).map_err(|(place, problem)| {
        let source = Source::new("recipe", text);
        let place = source.location(Span::new(place.start, place.start));
        RecipeError::Text { line: place.line, column: place.column, problem }
    })
}

fn parse(text: &str) -> Result<Recipe, Mistake> {
    if u32::try_from(text.len()).is_err() {
        return Err((0..0, "a recipe is shorter than 4 GiB".to_owned()));
    }
    let mistake = |error: toml::de::Error| -> Mistake {
        (error.span().unwrap_or_default(), error.message().replace('\n', "; "))
    };
    let table = DeTable::parse(text).map_err(mistake)?;
    let mut found = vec![];
    check_table("", table.get_ref(), SETTINGS, &mut found);
    if let Some(first) = found.into_iter().min_by_key(|(place, _)| place.start) {
        return Err(first);
    }
    // What is left to find are settings of a table that do not go together.
    let recipe: Recipe = toml::from_str(text).map_err(|error| {
        let (place, problem) = mistake(error);
        let within = table.get_ref().iter().find(|(_, value)| value.span().contains(&place.start));
        let name = within.map_or(String::new(), |(name, _)| format!("`{}`: ", name.get_ref()));
        (place, format!("{name}{problem}"))
    })?;
    match recipe.check() {
        Ok(()) => Ok(recipe),
        Err(error) => {
            let place = error.setting().and_then(|name| place_of(name, table.get_ref()));
            Err((place.unwrap_or_default(), error.to_string()))
        }
    }
}

/// Looks for settings that do not exist and values of another kind.
fn check_table(
    prefix: &str,
    table: &DeTable<'_>,
    settings: &[(&str, Kind)],
    found: &mut Vec<Mistake>,
) {
    for (name, value) in table {
        let full = format!("{prefix}{}", name.get_ref());
        match settings.iter().find(|(known, _)| name.get_ref() == known) {
            Some((_, kind)) => check_value(&full, value.get_ref(), value.span(), kind, found),
            None => {
                let names = || settings.iter().map(|&(name, _)| name);
                let help = match nearest(name.get_ref(), names()) {
                    Some(meant) => format!("did you mean `{prefix}{meant}`?"),
                    None => {
                        let all: Vec<String> =
                            names().map(|name| format!("`{prefix}{name}`")).collect();
                        format!("there are {}", all.join(", "))
                    }
                };
                found.push((name.span(), format!("there is no setting `{full}`; {help}")));
            }
        }
    }
}

fn check_value(
    name: &str,
    value: &DeValue<'_>,
    place: Range<usize>,
    kind: &Kind,
    found: &mut Vec<Mistake>,
) {
    let is_number = |value: &DeValue<'_>| value.is_float() || value.is_integer();
    let (fits, expected) = match kind {
        Kind::Text => (value.is_str(), "a text in quotes".to_owned()),
        Kind::Word(words) => {
            let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
            (value.as_str().is_some_and(|word| words.contains(&word)), quoted.join(" or "))
        }
        Kind::Whole(least, most) => {
            let number = value.as_integer().map(|number| (number.as_str(), number.radix()));
            let number = number.and_then(|(text, radix)| u64::from_str_radix(text, radix).ok());
            let fits = number.is_some_and(|number| (*least..=*most).contains(&number));
            (fits, format!("a whole number from {least} to {most}"))
        }
        Kind::Number => (is_number(value), "a number".to_owned()),
        Kind::Numbers => {
            let numbers =
                |list: &toml::de::DeArray<'_>| list.iter().all(|x| is_number(x.get_ref()));
            (value.as_array().is_some_and(numbers), "a list of numbers".to_owned())
        }
        Kind::Table(settings) => match value.as_table() {
            Some(table) => return check_table(&format!("{name}."), table, settings, found),
            None => (false, format!("a table, `[{name}]` with its settings below")),
        },
    };
    if !fits {
        found.push((place, format!("`{name}` is {}; it must be {expected}", shown(value))));
    }
}

/// A value as a message has it: itself if it is short.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.len() <= 40 => format!("{text:?}"),
        DeValue::String(_) => "a text".to_owned(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// Where the value of a setting such as `schedule.warmup` stands.
fn place_of(name: &str, table: &DeTable<'_>) -> Option<Range<usize>> {
    let (first, rest) = match name.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (name, None),
    };
    let (_, value) = table.iter().find(|(name, _)| name.get_ref() == first)?;
    match rest {
        None => Some(value.span()),
        Some(rest) => place_of(rest, value.get_ref().as_table()?),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Init, Schedule};
    use super::*;
    use crate::data::Normalisation;

    #[test]
    fn mistakes_are_named_with_their_place() {
        let cases = [
            ("epochs = [", "1:11: unclosed array, expected `]`"),
            ("lr = 1\nlr = 2", "2:1: duplicate key"),
            ("epoch = 3", "1:1: there is no setting `epoch`; did you mean `epochs`?"),
            (
                "\n learning_rate = 1",
                "2:2: there is no setting `learning_rate`; there are `data`, `weights`, `epochs`, ",
            ),
            (
                "[schedule]\nwarmpu = 1",
                "2:1: there is no setting `schedule.warmpu`; did you mean `schedule.warmup`?",
            ),
            (
                "lr = 1\nepochs = \"x\"",
                "2:10: `epochs` is \"x\"; it must be a whole number from 1 to 4294967295",
            ),
            ("epochs = 0", "1:10: `epochs` is 0; it must be a whole number from 1 to "),
            ("batch = -4", "1:9: `batch` is -4; it must be a whole number from 1 to 1048576"),
            ("batch = 1.5", "1:9: `batch` is 1.5; "),
            ("seed = 99999999999999999999", "1:8: `seed` is 99999999999999999999; "),
            ("lr = nan", "1:6: `lr` is NaN; it must be above 0"),
            ("momentum = true", "1:12: `momentum` is true; it must be a number"),
            (
                "lr = 1\nweight_decay = -0.5",
                "2:16: `weight_decay` is -0.5; it must be from 0 to below 1",
            ),
            (
                "[schedule]\nkind = \"cosine\"\nwarmup = 2",
                "3:10: `schedule.warmup` is 2; it must be from 0 to below 1",
            ),
            (
                "schedule = \"cosine\"",
                "1:12: `schedule` is \"cosine\"; it must be a table, `[schedule]` with ",
            ),
            (
                "[schedule]\nkind = \"step\"",
                "2:8: `schedule.kind` is \"step\"; it must be \"constant\" or \"cosine\"",
            ),
            ("[schedule]\nkind = \"cosine\"", "1:1: `schedule`: missing field `warmup`"),
            (
                "[normalisation]\nmean = [0, \"x\"]",
                "2:8: `normalisation.mean` is a list; it must be a list of numbers",
            ),
            ("data = 3", "1:8: `data` is 3; it must be a text in quotes"),
            (
                "data = \"minst:x\"",
                "1:8: `data`: there is no dataset `minst` (did you mean `mnist`?)",
            ),
        ];
        for (text, expected) in cases {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}\n{error}\nexpected {expected}");
        }
    }

    /// The table of settings is that of the type's fields: a setting that is missing here could not be written.
    #[test]
    fn every_setting_is_in_the_table() {
        fn keys(prefix: &str, table: &toml::Table, into: &mut Vec<String>) {
            for (name, value) in table {
                match value {
                    toml::Value::Table(table) => keys(&format!("{prefix}{name}."), table, into),
                    _ => into.push(format!("{prefix}{name}")),
                }
            }
        }
        fn known(prefix: &str, settings: &[(&str, Kind)], into: &mut Vec<String>) {
            for (name, kind) in settings {
                match kind {
                    Kind::Table(settings) => known(&format!("{prefix}{name}."), settings, into),
                    _ => into.push(format!("{prefix}{name}")),
                }
            }
        }
        let recipe = Recipe {
            data: Some("mnist-10k".to_owned()),
            weights: Some("w.safetensors".to_owned()),
            schedule: Schedule::Cosine { warmup: 0.5 },
            init: Init::Gaussian { std: 1.0 },
            normalisation: Some(Normalisation { mean: vec![0.0], deviation: vec![1.0] }),
            ..Recipe::default()
        };
        let text = recipe.to_toml();
        assert_eq!(read(&text), Ok(recipe));
        let (mut written, mut table) = (vec![], vec![]);
        keys("", &text.parse().unwrap(), &mut written);
        known("", SETTINGS, &mut table);
        written.sort();
        table.sort();
        assert_eq!(written, table);
    }
}
