//! What tensors' names mean: those of other systems set beside the model's.

use std::collections::BTreeMap;
use std::fmt;

use nin_dsl::diagnostic::nearest;

use super::Difference;

/// A name from a file, as messages show it: of any length and with any character in it.
pub(super) struct Name<'a>(pub(super) &'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 80;
        for c in self.0.chars().take(LONGEST) {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        if self.0.chars().nth(LONGEST).is_some() { f.write_str("...") } else { Ok(()) }
    }
}

/// Pairs of a name that is none of the model's and of one that was not given: by the end of the name, as wrappers put words
/// before it, by a slip, and else by place, among tensors of one shape and one kind.
pub(super) fn meant(differences: &[Difference]) -> Vec<(&str, &str)> {
    let mut extra: Vec<(&str, &[usize])> = vec![];
    let mut missing: Vec<(&str, &[usize])> = vec![];
    for difference in differences {
        match difference {
            Difference::Missing { name, expected } => missing.push((name, expected)),
            Difference::Extra { name, found } => extra.push((name, found)),
            Difference::Shape { .. } | Difference::Order(_) => {}
        }
    }
    extra.sort_by_cached_key(|(name, _)| in_order(name));
    let by_name = |&(name, dims): &(&str, &[usize])| {
        let same = extra.iter().filter(|(_, found)| *found == dims).map(|(found, _)| *found);
        let wrapped =
            |found: &&str| found.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
        same.clone().find(wrapped).or_else(|| nearest(name, same))
    };
    let found: Vec<Option<&str>> = missing.iter().map(by_name).collect();
    if found.iter().any(Option::is_some) {
        let pairs = found.into_iter().zip(&missing);
        return pairs.filter_map(|(found, (name, _))| Some((found?, *name))).collect();
    }
    by_place(&extra, &missing)
}

/// A tensor's shape and the last word of its name.
type Kind<'a> = (&'a [usize], &'a str);

/// The first of a kind is meant for the first of that kind, and so on, where there are as many of both.
fn by_place<'a>(
    extra: &[(&'a str, &'a [usize])],
    missing: &[(&'a str, &'a [usize])],
) -> Vec<(&'a str, &'a str)> {
    let kinds = |tensors: &[(&'a str, &'a [usize])]| {
        let mut kinds: BTreeMap<Kind<'a>, Vec<&'a str>> = BTreeMap::new();
        for &(name, dims) in tensors {
            let word = name.rsplit('.').next().unwrap_or(name);
            kinds.entry((dims, word)).or_default().push(name);
        }
        kinds
    };
    let (extra, wanted) = (kinds(extra), kinds(missing));
    let mut pairs: BTreeMap<&str, &str> = BTreeMap::new();
    for (kind, names) in &wanted {
        if let Some(found) = extra.get(kind).filter(|found| found.len() == names.len()) {
            pairs.extend(names.iter().copied().zip(found.iter().copied()));
        }
    }
    let in_model = missing.iter().filter_map(|(name, _)| Some((*pairs.get(name)?, *name)));
    in_model.collect()
}

/// A name's parts such that `features.2` comes before `features.10`.
fn in_order(name: &str) -> Vec<(u64, &str)> {
    let part = |part| match str::parse::<u64>(part) {
        Ok(number) => (number, ""),
        Err(_) => (u64::MAX, part),
    };
    name.split('.').map(part).collect()
}
