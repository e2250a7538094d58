//! What this machine does at most, measured: what every figure of `nin bench` is compared with.
//!
//! For the multiply-add peak each thread runs independent chains of multiply-adds in the widest vectors its CPU has, whatever
//! instruction set the generated code uses: the peak is the machine's, not ours. For the bandwidth a thread reads a buffer
//! that its second-level cache holds, over and over.
#![allow(unsafe_code)]

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

/// Multiply-adds of one chain between two looks at the clock.
const STEPS: usize = 1 << 16;
/// Chains of one thread: more than latency times pipes on any CPU, few enough for its registers.
const CHAINS: usize = 12;
/// How often a loop is timed; the best counts.
const TRIES: usize = 24;
/// Words of the buffer that is read: 256 KiB, which no first-level cache holds and nearly every second-level cache does.
const WORDS: usize = 1 << 16;
/// Times the buffer is read between two looks at the clock.
const READS: usize = 8;

/// A loop of [`CHAINS`] chains of `steps` vector multiply-adds.
struct Loop {
    lanes: usize,
    run: fn(usize),
}

/// Floating-point operations a second (a multiply-add is two) that `threads` threads reach together.
pub fn flops_per_second(threads: usize) -> f64 {
    let chains = widest();
    let start = Barrier::new(threads);
    let one_thread = || {
        (chains.run)(STEPS);
        start.wait();
        let timed = (0..TRIES).map(|_| {
            let begin = Instant::now();
            (chains.run)(STEPS);
            begin.elapsed().as_secs_f64()
        });
        let best = timed.fold(f64::INFINITY, f64::min);
        (2 * CHAINS * chains.lanes * STEPS) as f64 / best
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(one_thread)).collect();
        let mine = one_thread();
        others.into_iter().map(|other| other.join().expect("the loop cannot panic")).sum::<f64>()
            + mine
    })
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
fn baseline(steps: usize) {
    let (scale, offset) = (black_box(0.999_f32), black_box(0.001_f32));
    let mut sums = [[0.0_f32; 4]; CHAINS];
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
    black_box(sums);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_set1_ps, _mm512_fmadd_ps, _mm512_set1_ps};
    use std::hint::black_box;

    use super::CHAINS;

    #[target_feature(enable = "avx512f")]
    pub(super) fn avx512(steps: usize) {
        let (scale, offset) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(0.001)));
        let mut sums = [offset; CHAINS];
        for _ in 0..steps {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, scale, offset);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn avx2(steps: usize) {
        let (scale, offset) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(0.001)));
        let mut sums = [offset; CHAINS];
        for _ in 0..steps {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, scale, offset);
            }
        }
        black_box(sums);
    }
}
