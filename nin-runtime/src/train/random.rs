//! Where training's random numbers come from: a stream for each (seed, purpose, number), independent of all others.
//!
//! Nothing has to be carried from one epoch to the next, so a resumed run draws what an uninterrupted one would have.

use rand::SeedableRng as _;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom as _;

/// What a stream is for. The numbers are a part of a run's bits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stream {
    /// Initial weights; numbered by weight.
    Init = 1,
    /// The order of the images; numbered by epoch.
    Order = 2,
    /// The choice of validation images.
    Validation = 3,
    /// What is done to images; numbered by epoch.
    Augment = 4,
}

/// The generator of one stream.
pub(super) fn stream(seed: u64, purpose: Stream, number: u32) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream((purpose as u64) << 32 | u64::from(number));
    rng
}

/// The generator of one image in an epoch: a place of its own in the epoch's stream.
pub(super) fn image_stream(seed: u64, epoch: u32, image: u32) -> ChaCha8Rng {
    /// Words between two images' places, a block of the cipher.
    const WORDS: u128 = 16;
    let mut rng = stream(seed, Stream::Augment, epoch);
    rng.set_word_pos(u128::from(image) * WORDS);
    rng
}

/// The order in which an epoch visits `indices`.
pub(super) fn shuffled(indices: &[u32], seed: u64, purpose: Stream, number: u32) -> Vec<u32> {
    let mut order = indices.to_vec();
    order.shuffle(&mut stream(seed, purpose, number));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_permutations_that_differ_by_seed_and_epoch() {
        let indices: Vec<u32> = (0..50).collect();
        let order = |seed, epoch| shuffled(&indices, seed, Stream::Order, epoch);
        let mut sorted = order(1, 0);
        assert_eq!(sorted, order(1, 0));
        assert_ne!(sorted, order(1, 1));
        assert_ne!(sorted, order(2, 0));
        assert_ne!(sorted, shuffled(&indices, 1, Stream::Validation, 0));
        sorted.sort_unstable();
        assert_eq!(sorted, indices);
    }
}
