//! [`Mutator`]: bytes that are nearly right, from a seed.
//!
//! Its own, since libraries that mutate bytes either need a guide (libFuzzer, libAFL) or know nothing of a format's words and
//! of other inputs, where most of what is nearly right comes from.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// The most bytes of an input.
const MOST_BYTES: usize = 64 << 10;
/// The longest piece that an edit moves.
const MOST_MOVED: usize = 64;

/// Whole numbers at the edges of their types.
const INTEGERS: [u64; 12] = [
    0,
    1,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x1_0000_0000,
    i64::MAX as u64,
    i64::MIN as u64,
    u64::MAX,
];
/// The same, and some that are not whole, as texts have them.
const NUMERALS: [&str; 14] = [
    "0",
    "-1",
    "1",
    "255",
    "65536",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "0.5",
    "1e308",
    "nan",
    "-inf",
];

/// An endless supply of inputs for one target; the same seed, the same inputs.
pub struct Mutator<'a> {
    rng: ChaCha8Rng,
    seeds: &'a [Vec<u8>],
    words: &'a [&'a str],
}

/// A change of bytes.
#[derive(Clone, Copy)]
enum Edit {
    FlipBit,
    SetByte,
    SetInteger,
    SetNumeral,
    Insert,
    InsertWord,
    Delete,
    Double,
    Move,
    Truncate,
    Splice,
}

const EDITS: [Edit; 11] = [
    Edit::FlipBit,
    Edit::SetByte,
    Edit::SetInteger,
    Edit::SetNumeral,
    Edit::Insert,
    Edit::InsertWord,
    Edit::Delete,
    Edit::Double,
    Edit::Move,
    Edit::Truncate,
    Edit::Splice,
];

impl<'a> Mutator<'a> {
    /// Inputs made of these seeds, of which there is at least one, and of a format's words.
    pub fn new(seed: u64, seeds: &'a [Vec<u8>], words: &'a [&'a str]) -> Mutator<'a> {
        assert!(!seeds.is_empty(), "mutations start from something");
        Mutator { rng: ChaCha8Rng::seed_from_u64(seed), seeds, words }
    }

    /// The next input.
    pub fn input(&mut self) -> Vec<u8> {
        let mut bytes = self.pick(self.seeds).clone();
        let edits = 1 << self.rng.random_range(0..5);
        for _ in 0..edits {
            let edit = *self.pick(&EDITS);
            self.edit(edit, &mut bytes);
        }
        bytes.truncate(MOST_BYTES);
        bytes
    }

    fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.rng.random_range(0..of.len())]
    }

    /// A short piece of `length` bytes, which may be empty.
    fn piece(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.rng.random_range(0..=length);
        let longest = if self.rng.random_ratio(1, 8) { length } else { MOST_MOVED };
        start..length.min(start + self.rng.random_range(0..=longest))
    }

    fn edit(&mut self, edit: Edit, bytes: &mut Vec<u8>) {
        let at = self.rng.random_range(0..=bytes.len());
        match edit {
            Edit::FlipBit => {
                let bit = self.rng.random_range(0..8);
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit);
            }
            Edit::SetByte => {
                let value = self.rng.random();
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = value);
            }
            Edit::SetInteger => self.set_integer(&mut bytes[at..]),
            Edit::SetNumeral => self.set_numeral(at, bytes),
            Edit::Insert => {
                let count = self.rng.random_range(1..=8);
                let new: Vec<u8> = (0..count).map(|_| self.rng.random()).collect();
                bytes.splice(at..at, new);
            }
            Edit::InsertWord if self.words.is_empty() => {}
            Edit::InsertWord => {
                let word = *self.pick(self.words);
                bytes.splice(at..at, word.bytes());
            }
            Edit::Delete => {
                let piece = self.piece(bytes.len());
                bytes.drain(piece);
            }
            Edit::Double => {
                let copy = bytes[self.piece(bytes.len())].to_vec();
                let times = 1 << self.rng.random_range(0..4);
                bytes.splice(at..at, copy.repeat(times));
            }
            Edit::Move => {
                let piece = self.piece(bytes.len());
                let moved: Vec<u8> = bytes.drain(piece).collect();
                let to = self.rng.random_range(0..=bytes.len());
                bytes.splice(to..to, moved);
            }
            Edit::Truncate => {
                if self.rng.random_ratio(1, 4) {
                    bytes.truncate(at);
                }
            }
            Edit::Splice => {
                let other = self.pick(self.seeds);
                let from = self.piece(other.len());
                let over = self.piece(bytes.len());
                bytes.splice(over, other[from].iter().copied());
            }
        }
    }

    /// Writes an integer over the first bytes, in either byte order.
    fn set_integer(&mut self, bytes: &mut [u8]) {
        let value = *self.pick(&INTEGERS);
        let width = 1 << self.rng.random_range(0..4);
        let mut word = value.to_le_bytes()[..width].to_vec();
        if self.rng.random() {
            word.reverse();
        }
        bytes.iter_mut().zip(word).for_each(|(byte, new)| *byte = new);
    }

    /// Puts another number in place of the first one after a place, or there if there is none.
    fn set_numeral(&mut self, at: usize, bytes: &mut Vec<u8>) {
        let numeral = *self.pick(&NUMERALS);
        let first = bytes[at..].iter().position(u8::is_ascii_digit).map_or(at, |first| at + first);
        let digits = bytes[first..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        bytes.splice(first..first + digits, numeral.bytes());
    }
}
