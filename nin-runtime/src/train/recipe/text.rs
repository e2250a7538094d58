//! Reading recipes as TOML: every mistake has a line and a column, and a misspelt setting the one that was perhaps meant.

use std::ops::Range;

use nin_dsl::diagnostic::nearest;
use nin_dsl::{Source, Span};
use toml::de::{DeTable, DeValue};

use super::{MAX_KERNEL, MAX_PAD, Recipe, RecipeError};
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
    /// True or false.
    Flag,
    /// A list of tables.
    Tables(&'static [(&'static str, Kind)]),
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
    ("bias_lr", Kind::Number),
    ("momentum", Kind::Number),
    ("weight_decay", Kind::Number),
    ("clip", Kind::Number),
    ("label_smoothing", Kind::Number),
    (
        "optimizer",
        Kind::Table(&[
            ("kind", Kind::Word(&["sgd", "nesterov", "adam", "adamw"])),
            ("squares", Kind::Number),
            ("epsilon", Kind::Number),
        ]),
    ),
    (
        "preprocessing",
        Kind::Table(&[
            ("kind", Kind::Word(&["normalise", "mean", "zca", "lcn"])),
            ("scale", Kind::Number),
            ("bias", Kind::Number),
            ("kernel", Kind::Whole(1, MAX_KERNEL as u64)),
            ("threshold", Kind::Number),
        ]),
    ),
    ("augment", Kind::Table(&[("pad", Kind::Whole(0, MAX_PAD as u64)), ("flip", Kind::Flag)])),
    (
        "schedule",
        Kind::Table(&[
            ("kind", Kind::Word(&["constant", "step", "plateau", "cosine", "one_cycle"])),
            ("warmup", Kind::Number),
            ("parts", Kind::Numbers),
            ("factor", Kind::Number),
            ("patience", Kind::Whole(1, u32::MAX as u64)),
            ("start", Kind::Number),
            ("end", Kind::Number),
        ]),
    ),
    ("init", Kind::Table(&[("kind", Kind::Word(&["he", "gaussian"])), ("std", Kind::Number)])),
    (
        "last_layer",
        Kind::Table(&[("weights", Kind::Number), ("bias", Kind::Number), ("lr", Kind::Number)]),
    ),
    ("normalisation", Kind::Table(&[("mean", Kind::Numbers), ("deviation", Kind::Numbers)])),
    (
        "layers",
        Kind::Tables(&[
            ("name", Kind::Text),
            ("lr", Kind::Number),
            ("bias_lr", Kind::Number),
            ("weight_decay", Kind::Number),
            ("std", Kind::Number),
        ]),
    ),
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
        Kind::Flag => (value.is_bool(), "true or false".to_owned()),
        Kind::Tables(settings) => {
            let tables: Option<Vec<&DeTable<'_>>> = value
                .as_array()
                .and_then(|list| list.iter().map(|value| value.get_ref().as_table()).collect());
            match tables {
                Some(tables) => {
                    for table in tables {
                        check_table(&format!("{name}."), table, settings, found);
                    }
                    return;
                }
                None => (false, format!("tables, each `[[{name}]]` with its settings below")),
            }
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
        Some(rest) => match value.get_ref().as_table() {
            Some(table) => place_of(rest, table),
            // Of a list of tables, its beginning.
            None => Some(value.span()),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{Init, LayerSettings};
    use super::*;
    use crate::compiler::optimizer::{Optimizer, Squares};
    use crate::data::{Normalisation, Preprocessing};
    use crate::train::{Augment, Schedule};

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
                "[schedule]\nkind = \"linear\"",
                "2:8: `schedule.kind` is \"linear\"; it must be \"constant\" or \"step\" or \"plateau\" or ",
            ),
            (
                "[schedule]\nkind = \"step\"\nfactor = 0.1\nparts = [1, 0]",
                "4:9: `schedule.parts` is 0; it must be at least one number, each above 0",
            ),
            (
                "[schedule]\nkind = \"cosine\"\nwarmup = 0\nfactor = 0.1",
                "1:1: `schedule`: unknown field `factor`, expected `warmup`",
            ),
            (
                "[preprocessing]\nkind = \"lcn\"\nkernel = 4",
                "3:10: `preprocessing.kernel` is 4; it must be an odd number below 256",
            ),
            ("[augment]\nflip = 1", "2:8: `augment.flip` is 1; it must be true or false"),
            (
                "[augment]\npad = -1",
                "2:7: `augment.pad` is -1; it must be a whole number from 0 to 1024",
            ),
            (
                "[optimizer]\nkind = \"adma\"",
                "2:8: `optimizer.kind` is \"adma\"; it must be \"sgd\" or ",
            ),
            (
                "[optimizer]\nkind = \"adam\"\nsquares = 1",
                "3:11: `optimizer.squares` is 1; it must be from 0 to below 1",
            ),
            ("[[layers]]\nlr = 2", "1:1: `layers`: missing field `name`"),
            (
                "[[layers]]\nname = \"a\"\nrate = 2",
                "3:1: there is no setting `layers.rate`; there are ",
            ),
            (
                "layers = 3",
                "1:10: `layers` is 3; it must be tables, each `[[layers]]` with its settings below",
            ),
            ("[[layers]]\nname = \"a\"\nstd = -2", "1:1: `layers.std` is -2; it must be above 0"),
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
        fn keys(prefix: &str, table: &toml::Table, into: &mut BTreeSet<String>) {
            for (name, value) in table {
                let within = format!("{prefix}{name}.");
                match value {
                    toml::Value::Table(table) => keys(&within, table, into),
                    toml::Value::Array(list) if list.iter().all(toml::Value::is_table) => {
                        list.iter()
                            .flat_map(toml::Value::as_table)
                            .for_each(|t| keys(&within, t, into));
                    }
                    _ => drop(into.insert(format!("{prefix}{name}"))),
                }
            }
        }
        fn known(prefix: &str, settings: &[(&str, Kind)], into: &mut BTreeSet<String>) {
            for (name, kind) in settings {
                match kind {
                    Kind::Table(settings) | Kind::Tables(settings) => {
                        known(&format!("{prefix}{name}."), settings, into);
                    }
                    _ => drop(into.insert(format!("{prefix}{name}"))),
                }
            }
        }
        let layer = LayerSettings {
            name: "conv1".to_owned(),
            lr: Some(2.0),
            bias_lr: Some(3.0),
            weight_decay: Some(0.5),
            std: Some(0.25),
        };
        let recipe = Recipe {
            data: Some("mnist-10k".to_owned()),
            weights: Some("w.safetensors".to_owned()),
            optimizer: Optimizer::AdamW(Squares::default()),
            augment: Augment { pad: 4, flip: true },
            init: Init::Gaussian { std: 1.0 },
            normalisation: Some(Normalisation { mean: vec![0.0], deviation: vec![1.0] }),
            layers: vec![layer.clone(), LayerSettings { name: "fc1".to_owned(), ..layer }],
            ..Recipe::default()
        };
        let schedules = [
            Schedule::Constant { warmup: 0.1 },
            Schedule::Step { parts: vec![2.0, 1.0], factor: 0.1, warmup: 0.1 },
            Schedule::Plateau { factor: 0.5, patience: 3, warmup: 0.1 },
            Schedule::Cosine { warmup: 0.5 },
            Schedule::OneCycle { warmup: 0.3, start: 0.1, end: 0.0 },
        ];
        let (mut written, mut table) = (BTreeSet::new(), BTreeSet::new());
        let preparations = [
            Preprocessing::Normalise,
            Preprocessing::Mean { scale: 1.5 },
            Preprocessing::Zca { scale: 1.5, bias: 0.5 },
            Preprocessing::Lcn { kernel: 5, threshold: 0.5 },
            Preprocessing::Normalise,
        ];
        for (schedule, preprocessing) in schedules.into_iter().zip(preparations) {
            let recipe = Recipe { schedule, preprocessing, ..recipe.clone() };
            let text = recipe.to_toml();
            assert_eq!(read(&text).as_ref(), Ok(&recipe), "{text}");
            keys("", &text.parse().unwrap(), &mut written);
        }
        known("", SETTINGS, &mut table);
        assert_eq!(written, table);
    }
}
