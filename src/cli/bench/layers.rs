//! [`Layers`], where the time of a call goes: every part of the generated code beside what the machine does at most.

use std::io::{self, Write};

use nin::{Error, PartTime};
use nin_runtime::run::peak;
use serde_json::{Value, json};

use crate::cli::amounts::bytes;

/// The parts of a pass over one image, each on one thread.
pub(super) struct Layers {
    parts: Vec<PartTime>,
    /// Floating-point operations a second that one thread reaches at most.
    peak: f64,
    /// Bytes a second that it reads of its second-level cache.
    bandwidth: f64,
}

/// What a part that cannot be much faster is limited by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    /// The multiply-add units.
    Fma,
    /// Loads and stores.
    Memory,
}

impl Bound {
    fn word(self) -> &'static str {
        match self {
            Bound::Fma => "fma",
            Bound::Memory => "memory",
        }
    }

    /// The limit that takes more of a part's time, if it takes more than half.
    fn near(fma: f64, memory: f64) -> Option<Bound> {
        if fma.max(memory) <= 0.5 {
            None
        } else if fma >= memory {
            Some(Bound::Fma)
        } else {
            Some(Bound::Memory)
        }
    }
}

/// A part's figures.
struct Row<'p> {
    part: &'p PartTime,
    seconds: f64,
    /// Shares of its time that its operations would take at the peak: those of the direct algorithm, and its own.
    nominal: f64,
    fma: f64,
    /// The share that its bytes would take at the bandwidth.
    memory: f64,
}

impl Row<'_> {
    fn gflops(&self) -> f64 {
        self.part.flops as f64 / self.seconds / 1e9
    }

    fn bound(&self) -> Option<Bound> {
        Bound::near(self.fma, self.memory)
    }
}

impl Layers {
    /// Measures what the machine does at most, right after the parts.
    pub(super) fn new(parts: Vec<PartTime>) -> Result<Layers, Error> {
        let (peak, bandwidth) = (peak::flops_per_second(1)?, peak::read_bytes_per_second());
        Ok(Layers { parts, peak, bandwidth })
    }

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.parts.iter().map(|part| {
            let seconds = part.time.as_secs_f64().max(1e-9);
            let nominal = part.flops as f64 / self.peak / seconds;
            let fma = (2 * part.multiply_adds) as f64 / self.peak / seconds;
            let memory = part.moved.total() as f64 / self.bandwidth / seconds;
            Row { part, seconds, nominal, fma, memory }
        })
    }

    /// A list of parts.
    pub(super) fn json(&self) -> Value {
        let described = |row: Row<'_>| {
            json!({
                "name": row.part.name,
                "kernel": row.part.what,
                "median_ms": 1e3 * row.seconds,
                "gflops": row.gflops(),
                "percent_of_peak": 100.0 * row.nominal,
                "percent_of_peak_real": 100.0 * row.fma,
                "bytes": row.part.moved.total(),
                "percent_of_bandwidth": 100.0 * row.memory,
                "bound": row.bound().map(Bound::word),
            })
        };
        self.rows().map(described).collect()
    }

    /// A line a part.
    pub(super) fn table(&self, out: &mut impl Write) -> io::Result<()> {
        let total: f64 = self.rows().map(|row| row.seconds).sum();
        let (peak, bandwidth) = (self.peak / 1e9, self.bandwidth / 1e9);
        writeln!(
            out,
            "\none image on one thread, which can reach {peak:.1} GFLOP/s, and {bandwidth:.1} GB/s from its second-level cache;\n\
             GFLOP/s and % peak are nominal, % real is of the multiply-adds that are really done"
        )?;
        writeln!(out, "      us  share  GFLOP/s  % peak  % real     moved    GB/s  bound   part")?;
        let mut block = "";
        for row in self.rows() {
            if row.part.name != block {
                block = &row.part.name;
                writeln!(out, "{:>66}{block}", "")?;
            }
            let figures = [row.gflops(), 100.0 * row.nominal, 100.0 * row.fma];
            let [gflops, percent, real] = figures.map(|figure| match row.part.flops {
                0 => String::new(),
                _ => format!("{figure:.1}"),
            });
            let moved = row.part.moved.total();
            writeln!(
                out,
                "{:>8.1}  {:>4.1}%  {gflops:>7}  {percent:>6}  {real:>6}  {:>8}  {:>6.1}  {:<6}    {}",
                1e6 * row.seconds,
                100.0 * row.seconds / total,
                bytes(moved),
                moved as f64 / row.seconds / 1e9,
                row.bound().map_or("-", Bound::word),
                row.part.what
            )?;
        }
        writeln!(out, "{:>8.1}  all parts", 1e6 * total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_near_the_limit_that_takes_more_than_half_of_its_time() {
        assert_eq!(Bound::near(0.5, 0.3), None);
        assert_eq!(Bound::near(0.51, 0.3), Some(Bound::Fma));
        assert_eq!(Bound::near(0.3, 0.51), Some(Bound::Memory));
        assert_eq!(Bound::near(0.8, 1.2), Some(Bound::Memory), "both");
    }
}
