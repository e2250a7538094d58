//! [`Number`], the language's one kind of value, and its arithmetic.

use std::fmt;
use std::str::FromStr;

use crate::excerpt::excerpt;

/// A number of the language: whole numbers divide and print differently from real ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A whole number.
    Whole(i64),
    /// A real number, always finite.
    Real(f64),
}

/// `+ - * /`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`, which truncates between whole numbers.
    Divide,
}

/// Why an operation has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArithmeticError {
    /// The result does not fit 64 bits.
    Overflow,
    /// The divisor is zero.
    DivisionByZero,
}

impl Number {
    /// The number as a real one.
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Whole(n) => n as f64,
            Number::Real(x) => x,
        }
    }

    /// `self operator other`: whole if both are, real otherwise.
    ///
    /// # Errors
    /// If the result does not fit 64 bits, or on a division by zero.
    pub fn apply(self, operator: Operator, other: Number) -> Result<Number, ArithmeticError> {
        if operator == Operator::Divide && other.as_f64() == 0.0 {
            return Err(ArithmeticError::DivisionByZero);
        }
        match (self, other) {
            (Number::Whole(a), Number::Whole(b)) => match operator {
                Operator::Add => a.checked_add(b),
                Operator::Subtract => a.checked_sub(b),
                Operator::Multiply => a.checked_mul(b),
                Operator::Divide => a.checked_div(b),
            }
            .map(Number::Whole),
            _ => {
                let (a, b) = (self.as_f64(), other.as_f64());
                let result = match operator {
                    Operator::Add => a + b,
                    Operator::Subtract => a - b,
                    Operator::Multiply => a * b,
                    Operator::Divide => a / b,
                };
                result.is_finite().then_some(Number::Real(result))
            }
        }
        .ok_or(ArithmeticError::Overflow)
    }

    /// The number with its sign changed.
    ///
    /// # Errors
    /// If the result does not fit 64 bits.
    pub fn negate(self) -> Result<Number, ArithmeticError> {
        match self {
            Number::Whole(n) => n.checked_neg().map(Number::Whole).ok_or(ArithmeticError::Overflow),
            Number::Real(x) => Ok(Number::Real(-x)),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Whole(n) => write!(f, "{n}"),
            // Debug keeps the point: `1.0` stays real when it is read again.
            Number::Real(x) => write!(f, "{x:?}"),
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operator::Add => "+",
            Operator::Subtract => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
        })
    }
}

/// A text that is not a number of the language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseNumberError {
    /// Not `12`, `0.5` or `1e-5`.
    Malformed(String),
    /// Too large for 64 bits.
    OutOfRange(String),
}

impl fmt::Display for ParseNumberError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseNumberError::Malformed(text) => {
                write!(f, "`{}` is not a number such as 12, 0.5 or 1e-5", excerpt(text))
            }
            ParseNumberError::OutOfRange(text) => {
                write!(f, "`{}` does not fit 64 bits", excerpt(text))
            }
        }
    }
}

impl std::error::Error for ParseNumberError {}

impl FromStr for Number {
    type Err = ParseNumberError;

    /// Reads `12`, `0.5` or `1e-5`, with a sign before it if there is one. Digits alone make a whole number.
    fn from_str(text: &str) -> Result<Number, ParseNumberError> {
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if digits(unsigned) {
            let out_of_range = |_| ParseNumberError::OutOfRange(text.to_owned());
            return text.parse().map(Number::Whole).map_err(out_of_range);
        }
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => {
                (mantissa, exponent.strip_prefix(['-', '+']).unwrap_or(exponent))
            }
            None => (unsigned, "0"),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
        if !digits(whole) || !digits(fraction) || !digits(exponent) {
            return Err(ParseNumberError::Malformed(text.to_owned()));
        }
        match text.parse::<f64>() {
            Ok(x) if x.is_finite() => Ok(Number::Real(x)),
            _ => Err(ParseNumberError::OutOfRange(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_alone_are_whole() {
        let read = |text: &str| text.parse::<Number>();
        assert_eq!(read("96"), Ok(Number::Whole(96)));
        assert_eq!(read("-3"), Ok(Number::Whole(-3)));
        assert_eq!(read("0.5"), Ok(Number::Real(0.5)));
        assert_eq!(read("1e-5"), Ok(Number::Real(1e-5)));
        assert_eq!(read("-9223372036854775808"), Ok(Number::Whole(i64::MIN)));
        for malformed in ["", "-", "1.", ".5", "1e", "inf", "NaN", "0x10", "1_000", "٣", "--1"] {
            assert!(matches!(read(malformed), Err(ParseNumberError::Malformed(_))), "{malformed}");
        }
        for large in ["9223372036854775808", "1e999"] {
            assert!(matches!(read(large), Err(ParseNumberError::OutOfRange(_))), "{large}");
        }
    }

    #[test]
    fn whole_division_truncates_and_nothing_wraps() {
        use Number::{Real, Whole};
        assert_eq!(Whole(-7).apply(Operator::Divide, Whole(2)), Ok(Whole(-3)));
        assert_eq!(Whole(7).apply(Operator::Divide, Real(2.0)), Ok(Real(3.5)));
        let overflow = Err(ArithmeticError::Overflow);
        assert_eq!(Whole(i64::MAX).apply(Operator::Add, Whole(1)), overflow);
        assert_eq!(Whole(i64::MIN).apply(Operator::Divide, Whole(-1)), overflow);
        assert_eq!(Real(1e300).apply(Operator::Multiply, Real(1e300)), overflow);
        assert_eq!(Whole(i64::MIN).negate(), overflow);
        let by_zero = Err(ArithmeticError::DivisionByZero);
        assert_eq!(Whole(1).apply(Operator::Divide, Real(0.0)), by_zero);
    }
}
