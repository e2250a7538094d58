//! Where branches stand: with their word on one line if they are short, else each on a line of its own, else its layers too.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::{INDENT, WIDTH, width};
use crate::token::{Kind, Token};

/// Columns of a word with all its branches on one line: longer ones are easier to read one below the other.
const SHORT: usize = 60;

/// Takes the beginnings of lines out of the branches that stand on one line.
///
/// Only what was written decides, never on which lines it was, so that what is laid out stays so.
pub(super) fn place_branches(tokens: &mut [Token]) {
    let joins = joins(tokens);
    let mut depth = 0;
    // All up to here has its place.
    let mut placed = 0;
    for i in 0..tokens.len() {
        if let Some(branches) = joins.words.get(&i).filter(|_| i >= placed) {
            let end = branches.last().map_or(i, |branch| *branch.end());
            let whole = &tokens[i..=end];
            if fits(whole, depth) && width(whole) <= SHORT {
                placed = one_line(tokens, i..=end);
            }
        }
        match tokens[i].kind {
            Kind::ChainOpen => depth += 1,
            Kind::ChainClose => depth -= 1,
            Kind::BranchOpen => {
                let end = joins.ends.get(&i).copied().unwrap_or(i);
                if i >= placed && fits(&tokens[i..=end], depth + 1) {
                    placed = one_line(tokens, i..=end);
                }
                depth += 2;
            }
            Kind::BranchClose => depth -= 2,
            Kind::Text
            | Kind::Negation
            | Kind::ListOpen
            | Kind::ListClose
            | Kind::Comma
            | Kind::GroupOpen
            | Kind::GroupClose
            | Kind::GroupComma
            | Kind::Doc
            | Kind::Comment => {}
        }
    }
}

/// The branches among tokens.
#[derive(Default)]
struct Joins {
    /// Those of each word, by the places of the word's token and of theirs.
    words: BTreeMap<usize, Vec<RangeInclusive<usize>>>,
    /// Where the `>` of each `<` stands.
    ends: BTreeMap<usize, usize>,
}

fn joins(tokens: &[Token]) -> Joins {
    let mut joins = Joins::default();
    // The last word of each chain around, and the branches around.
    let (mut words, mut open) = (vec![0], vec![]);
    for (i, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::ChainOpen => words.push(i),
            Kind::BranchOpen => {
                open.push(i);
                words.push(i);
            }
            Kind::ChainClose => {
                words.pop();
            }
            Kind::BranchClose => {
                words.pop();
                if let (Some(start), Some(&word)) = (open.pop(), words.last()) {
                    joins.ends.insert(start, i);
                    joins.words.entry(word).or_default().push(start..=i);
                }
            }
            Kind::Text
            | Kind::Negation
            | Kind::ListOpen
            | Kind::ListClose
            | Kind::Comma
            | Kind::GroupOpen
            | Kind::GroupClose
            | Kind::GroupComma
            | Kind::Doc
            | Kind::Comment => {
                if let Some(word) = words.last_mut().filter(|_| token.starts) {
                    *word = i;
                }
            }
        }
    }
    joins
}

/// Whether tokens fit on one line: comments go on lines of their own choice.
fn fits(tokens: &[Token], depth: usize) -> bool {
    // The first look keeps long texts from being measured once for every branch around.
    tokens.len() <= WIDTH
        && !tokens.iter().any(Token::is_comment)
        && INDENT * depth + width(tokens) <= WIDTH
}

/// Makes one line of tokens, whose first may begin it. Returns where what follows begins.
fn one_line(tokens: &mut [Token], place: RangeInclusive<usize>) -> usize {
    let (start, end) = place.into_inner();
    tokens[start + 1..=end].iter_mut().for_each(|token| token.starts = false);
    end + 1
}
