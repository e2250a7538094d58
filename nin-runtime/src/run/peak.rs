//! What this machine does at most, measured: what every figure of `nin bench` is compared with.
//!
//! For the multiply-add peak each thread runs independent chains of multiply-adds in the widest vectors its CPU has, whatever
//! instruction set the generated code uses: the peak is the machine's, not ours. All threads run over the same interval, so
//! that threads which share a core count for one core. For the bandwidth a thread reads a buffer that its second-level cache
//! holds, over and over.
#![allow(unsafe_code)]

use std::hint::black_box;
use std::sync::{Barrier, Mutex, OnceLock};
use std::time::Instant;

use crate::error::Error;
use crate::run::exec;

/// Multiply-adds of one chain between two looks at the clock: some microseconds, so that a thread that stands still in the middle
/// of them leaves little doubt about when they were done.
const STEPS: usize = 1 << 13;
/// Chains of one thread: more than latency times pipes on any CPU, few enough for its registers.
const CHAINS: usize = 12;
/// Seconds for which all threads run.
const SPAN: f64 = 0.08;
/// Seconds of the interval that counts, the one in which they did most: short enough to fall between what else the machine does.
const WINDOW: f64 = 0.002;
/// Intervals that are looked at.
const WINDOWS: usize = 1000;
/// How often the buffer's loop is timed; the best counts.
const TRIES: usize = 24;
/// Words of the buffer that is read: 256 KiB, which no first-level cache holds and nearly every second-level cache does.
const WORDS: usize = 1 << 16;
/// Times the buffer is read between two looks at the clock.
const READS: usize = 8;

/// A loop of [`CHAINS`] chains of vector multiply-adds, as many of each as it is called with.
struct Loop {
    lanes: usize,
    /// Returns the sum over the lanes of all chains.
    run: fn(usize) -> f32,
}

impl Loop {
    /// Floating-point operations of `steps` multiply-adds of every chain: a multiply-add is two.
    fn operations(&self, steps: usize) -> f64 {
        (2 * CHAINS * self.lanes * steps) as f64
    }
}

/// Floating-point operations a second (a multiply-add is two) that `threads` threads reach together, at the same time.
///
/// # Errors
/// [`Error::Threads`] if the system starts no more.
pub fn flops_per_second(threads: usize) -> Result<f64, Error> {
    let chains = widest();
    let (start, begun) = (Barrier::new(threads), OnceLock::new());
    let clocks = Mutex::new(Vec::with_capacity(threads));
    exec::start(threads)?.run(threads, |_| {
        black_box((chains.run)(STEPS));
        start.wait();
        let begun: &Instant = begun.get_or_init(Instant::now);
        let mut clock = vec![begun.elapsed().as_secs_f64()];
        while clock[clock.len() - 1] < SPAN {
            black_box((chains.run)(STEPS));
            clock.push(begun.elapsed().as_secs_f64());
        }
        clocks.lock().expect("the loop cannot panic").push(clock);
    })?;
    let clocks = clocks.into_inner().expect("the loop cannot panic");
    Ok(most_together(&clocks) * chains.operations(STEPS))
}

/// Loops a second that all threads did together in the best interval of [`WINDOW`] seconds. A clock holds the times between a
/// thread's loops, from before the first to after the last.
fn most_together(clocks: &[Vec<f64>]) -> f64 {
    let together = |time: f64| -> f64 { clocks.iter().map(|clock| done(clock, time)).sum() };
    let starts = (0..WINDOWS).map(|window| window as f64 * (SPAN - WINDOW) / WINDOWS as f64);
    let most = starts.map(|start| together(start + WINDOW) - together(start)).fold(0.0, f64::max);
    most / WINDOW
}

/// Loops that a thread had done at a time, each done evenly from its begin to its end.
fn done(clock: &[f64], time: f64) -> f64 {
    let ended = clock.partition_point(|&end| end <= time);
    match ended {
        0 => 0.0,
        _ if ended == clock.len() => (ended - 1) as f64,
        _ => {
            let (begin, end) = (clock[ended - 1], clock[ended]);
            (ended - 1) as f64 + (time - begin) / (end - begin)
        }
    }
}

/// Bytes a second that one thread reads of what lies in its second-level cache.
pub fn read_bytes_per_second() -> f64 {
    let buffer = vec![1_u32; WORDS];
    let timed = (0..TRIES).map(|_| {
        let begin = Instant::now();
        for _ in 0..READS {
            black_box(sum(black_box(&buffer)));
        }
        begin.elapsed().as_secs_f64()
    });
    let best = timed.fold(f64::INFINITY, f64::min);
    (READS * WORDS * size_of::<u32>()) as f64 / best
}

/// Reads every word. A sum of whole numbers may be taken in any order, so compilers make vectors of it on their own, and the
/// narrowest are as fast as a second-level cache.
#[inline(never)]
fn sum(words: &[u32]) -> u32 {
    words.iter().fold(0, |sum, &word| sum.wrapping_add(word))
}

/// The loop in the widest vectors of this CPU.
fn widest() -> Loop {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the CPU has the feature the function is compiled for.
            return Loop { lanes: 16, run: |steps| unsafe { x86::avx512(steps) } };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the CPU has the features the function is compiled for.
            return Loop { lanes: 8, run: |steps| unsafe { x86::avx2(steps) } };
        }
    }
    Loop { lanes: 4, run: baseline }
}

/// Vectors of four, as the compiler makes them for every CPU of the architecture.
fn baseline(steps: usize) -> f32 {
    let (scale, offset) = (black_box(0.999_f32), black_box(0.001_f32));
    let mut sums = [[offset; 4]; CHAINS];
    for _ in 0..steps {
        for sum in &mut sums {
            for lane in sum {
                *lane = if cfg!(target_arch = "aarch64") {
                    lane.mul_add(scale, offset)
                } else {
                    *lane * scale + offset
                };
            }
        }
    }
    sums.iter().flatten().sum()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        _mm_add_ps, _mm_cvtss_f32, _mm_hadd_ps, _mm256_castps256_ps128, _mm256_extractf128_ps,
        _mm256_fmadd_ps, _mm256_set1_ps, _mm512_fmadd_ps, _mm512_reduce_add_ps, _mm512_set1_ps,
    };
    use std::hint::black_box;

    use super::CHAINS;

    #[target_feature(enable = "avx512f")]
    pub(super) fn avx512(steps: usize) -> f32 {
        let (scale, offset) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(0.001)));
        let mut sums = [offset; CHAINS];
        for _ in 0..steps {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, scale, offset);
            }
        }
        sums.into_iter().map(|sum| _mm512_reduce_add_ps(sum)).sum()
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn avx2(steps: usize) -> f32 {
        let (scale, offset) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(0.001)));
        let mut sums = [offset; CHAINS];
        for _ in 0..steps {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, scale, offset);
            }
        }
        let lanes = sums.into_iter().map(|sum| {
            let halves = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
            let pairs = _mm_hadd_ps(halves, halves);
            _mm_cvtss_f32(_mm_hadd_ps(pairs, pairs))
        });
        lanes.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The loops that this CPU can run.
    fn loops() -> Vec<Loop> {
        vec![widest(), Loop { lanes: 4, run: baseline }]
    }

    /// A lane that starts at 0.001 and is multiplied by 0.999 and added to so often is `1 - 0.999^(steps + 1)`: what all lanes
    /// add up to says how many there are, and how far they have come.
    #[test]
    fn a_peak_counts_two_operations_for_every_multiply_add_that_was_done() {
        for chains in loops() {
            for steps in [1, 50, 700] {
                let lane = 1.0 - 0.999_f64.powi(steps as i32 + 1);
                let multiply_adds = f64::from((chains.run)(steps)) / lane * steps as f64;
                let counted = chains.operations(steps) / multiply_adds;
                assert!((counted - 2.0).abs() < 1e-3, "{counted} operations a multiply-add");
            }
        }
    }

    /// A thread's clock: a loop a millisecond from one time to another, and none before or after.
    fn clock(from: usize, to: usize) -> Vec<f64> {
        (from..=to).map(|millisecond| millisecond as f64 / 1000.0).collect()
    }

    #[test]
    fn threads_that_take_turns_reach_what_one_does() {
        let close = |clocks: &[Vec<f64>], loops: f64| {
            let found = most_together(clocks);
            assert!((found / loops - 1.0).abs() < 1e-6, "{found}, expected {loops}");
        };
        close(&[clock(0, 80)], 1000.0);
        close(&[clock(0, 80), clock(0, 80)], 2000.0);
        close(&[clock(0, 40), clock(40, 80)], 1000.0);
        close(&[clock(0, 41), clock(41, 80), clock(0, 80)], 2000.0);
        // Standing still in the middle of a loop is no work either.
        let mut paused = clock(0, 20);
        paused.extend(clock(61, 80));
        close(&[paused.clone(), clock(20, 61)], 1000.0 + 1000.0 / 41.0);
    }
}
