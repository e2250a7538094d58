//! [`Straight`]: a constant matrix times a vector as straight-line code, with few operations.

use std::collections::BTreeMap;

use num_rational::Ratio;

use super::Rational;

/// One operation on values, which are numbered: the inputs first, then the terms' results.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Term {
    /// `factor * of`.
    Scaled {
        /// The constant.
        factor: f32,
        /// The value.
        of: usize,
    },
    /// `a + factor * b`.
    Sum {
        /// The first value.
        a: usize,
        /// The constant; 1 and -1 are an addition and a subtraction.
        factor: f32,
        /// The second value.
        b: usize,
    },
}

/// A product with a constant matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Straight {
    /// Numbers read.
    pub inputs: usize,
    /// Operations in order.
    pub terms: Vec<Term>,
    /// The value of each row; `None` if it is zero whatever is read.
    pub outputs: Vec<Option<usize>>,
}

/// What is left of a row: values and their coefficients, none of them zero, by number of the value.
type Row = Vec<(usize, Rational)>;

impl Straight {
    /// Code for a matrix's product. What several rows have in common is computed once: as long as two rows share a pair of
    /// values in one ratio, the pair that most rows share becomes a value. So rows for points `p` and `-p` come to be a sum
    /// and a difference of what is even and what is odd in them.
    pub fn of(matrix: &[Vec<Rational>]) -> Straight {
        let zero = Ratio::new(0, 1);
        let inputs = matrix.first().map_or(0, Vec::len);
        let terms = |row: &Vec<Rational>| -> Row {
            row.iter().copied().enumerate().filter(|&(_, x)| x != zero).collect()
        };
        let mut rows: Vec<Row> = matrix.iter().map(terms).collect();
        let mut terms = Vec::new();
        while let Some((a, b, ratio)) = commonest_pair(&rows) {
            let value = inputs + terms.len();
            // The value that stands alone in more of the rows is taken as it is, so that the rows need not scale the sum.
            let alone = |of: usize| {
                let coefficients = rows.iter().filter_map(|row| coefficient(row, of));
                coefficients.filter(|x| x.is_integer() && x.numer().abs() == 1).count()
            };
            let pair = if alone(b) > alone(a) { (b, a, ratio.recip()) } else { (a, b, ratio) };
            let (a, b, ratio) = pair;
            terms.push(Term::Sum { a, factor: float(ratio), b });
            for row in &mut rows {
                share(row, pair, value);
            }
        }
        let outputs = rows.iter().map(|row| sum(row, inputs, &mut terms)).collect();
        Straight { inputs, terms, outputs }
    }
}

/// A pair of values and the ratio of the second's coefficient to the first's.
type Pair = (usize, usize, Rational);

/// The pair that most rows have, if more than one has it: the first of several.
fn commonest_pair(rows: &[Row]) -> Option<Pair> {
    let mut counts: BTreeMap<Pair, usize> = BTreeMap::new();
    for row in rows {
        for (at, &(a, first)) in row.iter().enumerate() {
            for &(b, second) in &row[at + 1..] {
                *counts.entry((a, b, second / first)).or_default() += 1;
            }
        }
    }
    let most = counts.iter().rev().max_by_key(|&(_, count)| count)?;
    (*most.1 > 1).then_some(*most.0)
}

/// What a row multiplies a value by.
fn coefficient(row: &Row, of: usize) -> Option<Rational> {
    row.iter().find(|(value, _)| *value == of).map(|&(_, x)| x)
}

/// Puts `value` in the place of a pair that a row has.
fn share(row: &mut Row, (a, b, ratio): Pair, value: usize) {
    let (Some(first), Some(second)) = (coefficient(row, a), coefficient(row, b)) else { return };
    if second / first == ratio {
        row.retain(|&(value, _)| value != a && value != b);
        row.push((value, first));
    }
}

/// Adds up what is left of a row.
fn sum(row: &Row, inputs: usize, terms: &mut Vec<Term>) -> Option<usize> {
    let one = Ratio::new(1, 1);
    let first = row.iter().position(|&(_, x)| x == one).unwrap_or(0);
    let &(start, coefficient) = row.get(first)?;
    let mut push = |step: Term| {
        terms.push(step);
        inputs + terms.len() - 1
    };
    let mut total = match coefficient == one {
        true => start,
        false => push(Term::Scaled { factor: float(coefficient), of: start }),
    };
    for (_, &(b, x)) in row.iter().enumerate().filter(|&(at, _)| at != first) {
        total = push(Term::Sum { a: total, factor: float(x), b });
    }
    Some(total)
}

/// The nearest float32.
fn float(x: Rational) -> f32 {
    (*x.numer() as f64 / *x.denom() as f64) as f32
}
