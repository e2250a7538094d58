//! Dropout masks: a counter-based hash, so that every executor agrees and no mask is stored.
//!
//! The mask of an element depends on (seed, step, dropout, image in the batch, element of the image) alone. Generated
//! code computes the same function; `codegen` names the constants from here.

/// Odd constants that spread the parts of the counter before mixing (fractional parts of the golden ratio and kin).
pub const SPREAD: [u64; 3] = [0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03, 0x8cb9_2ba7_2f3d_8dd7];
/// Multiplies the element's index.
pub const ELEMENT: u32 = 0x9e37_79b9;
/// Multipliers of the 32-bit finaliser (Murmur3's).
pub const FINAL: [u32; 2] = [0x85eb_ca6b, 0xc2b2_ae35];
/// Multipliers of the 64-bit finaliser (SplitMix64's).
pub const FINAL64: [u64; 2] = [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb];
/// Bits of the hash that are compared with the probability.
pub const BITS: u32 = 24;

/// The key of one dropout in one step.
pub fn layer_key(seed: u64, step: u64, dropout: u32) -> u64 {
    mix64(mix64(seed ^ step.wrapping_mul(SPREAD[0])) ^ u64::from(dropout).wrapping_mul(SPREAD[1]))
}

/// The key of one image under a [`layer_key`]; `image` counts from the start of the batch.
pub fn image_key(layer_key: u64, image: u64) -> u32 {
    (mix64(layer_key ^ image.wrapping_mul(SPREAD[2])) >> 32) as u32
}

/// Whether an element survives. `element` counts channels-last: `(y * width + x) * channels + channel`.
pub fn keeps(image_key: u32, element: u32, threshold: u32) -> bool {
    let mut x = element.wrapping_mul(ELEMENT) ^ image_key;
    x = (x ^ (x >> 16)).wrapping_mul(FINAL[0]);
    x = (x ^ (x >> 13)).wrapping_mul(FINAL[1]);
    (x ^ (x >> 16)) >> (32 - BITS) >= threshold
}

/// The smallest hash that survives dropout with probability `p` of a zero.
pub fn threshold(p: f64) -> u32 {
    (p * f64::from(1u32 << BITS)).round() as u32
}

/// What a surviving element is multiplied by.
pub fn scale(p: f64) -> f32 {
    (1.0 / (1.0 - p)) as f32
}

/// SplitMix64's finaliser.
fn mix64(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(FINAL64[0]);
    x = (x ^ (x >> 27)).wrapping_mul(FINAL64[1]);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share kept, and its independence of the neighbour, over a square of images and elements.
    #[test]
    fn masks_are_fair_and_uncorrelated() {
        for p in [0.1, 0.5, 0.8] {
            let key = layer_key(7, 3, 1);
            let bit = |image, element| keeps(image_key(key, image), element, threshold(p));
            let (mut kept, mut pairs_x, mut pairs_y) = (0.0, 0.0, 0.0);
            let side = 400u32;
            for image in 0..side {
                for element in 0..side {
                    let here = bit(u64::from(image), element);
                    kept += f64::from(here);
                    pairs_x += f64::from(here && bit(u64::from(image), element + 1));
                    pairs_y += f64::from(here && bit(u64::from(image) + 1, element));
                }
            }
            let n = f64::from(side * side);
            let q: f64 = 1.0 - p;
            // Four standard deviations.
            let within = |share: f64, expected: f64| {
                (share - expected).abs() < 4.0 * (expected * (1.0 - expected) / n).sqrt() * 1.5
            };
            assert!(within(kept / n, q), "p {p}: kept {}", kept / n);
            assert!(within(pairs_x / n, q * q), "p {p}: neighbours in an image {}", pairs_x / n);
            assert!(within(pairs_y / n, q * q), "p {p}: neighbours across images {}", pairs_y / n);
        }
    }

    #[test]
    fn every_part_of_the_counter_matters() {
        let mask = |seed, step, dropout, image| -> Vec<bool> {
            let key = image_key(layer_key(seed, step, dropout), image);
            (0..64).map(|element| keeps(key, element, threshold(0.5))).collect()
        };
        let base = mask(1, 1, 1, 1);
        for other in [mask(2, 1, 1, 1), mask(1, 2, 1, 1), mask(1, 1, 2, 1), mask(1, 1, 1, 2)] {
            assert_ne!(base, other);
        }
    }
}
