//! A few pairs of words, each word a step further than the last, in vector registers.
//!
//! Key decision: both directions by intrinsics. What is written by scalar stores and read back by vector loads on one CPU
//! waits for the stores to reach the cache, and the compiler chooses scalar for the one and vector for the other as it
//! likes: 12 ns a message instead of 5. SSE2 is part of every x86-64; elsewhere plain code does the same. Loops that count,
//! because `map`, `from_fn` and `zip` rest on functions that are not `#[inline]`, which stay calls where units of code are
//! not optimised as one (`null`: 32 ns a message instead of 3). Rejected: forms of the plain code that happen to be
//! compiled to vectors (each lasts until the loop around it changes).

/// Bytes of a pair of words.
const PAIR: usize = 16;

#[cfg(target_arch = "x86_64")]
mod lanes {
    use super::PAIR;
    use core::arch::x86_64::{
        __m128i, _mm_add_epi64, _mm_cmpeq_epi8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi64x,
        _mm_setzero_si128, _mm_xor_si128,
    };

    /// Each pair by itself from the first word, so that none waits for the one before it.
    #[inline(always)]
    fn lanes<const N: usize>(word: u64, step: u64) -> [__m128i; N] {
        // SAFETY: SSE2 is part of x86-64, and this works on values alone.
        let mut lanes = [unsafe { _mm_set1_epi64x(word as i64) }; N];
        let mut pair = 0;
        while pair < N {
            let low = step.wrapping_mul(2 * pair as u64);
            // SAFETY: as above.
            lanes[pair] =
                unsafe { _mm_add_epi64(lanes[pair], _mm_set_epi64x(low.wrapping_add(step) as i64, low as i64)) };
            pair += 1;
        }
        lanes
    }

    #[inline(always)]
    pub fn pairs<const N: usize>(word: u64, step: u64) -> [[u8; PAIR]; N] {
        let (lanes, mut pairs, mut pair) = (lanes::<N>(word, step), [[0; PAIR]; N], 0);
        while pair < N {
            // SAFETY: both are 16 bytes without padding, and any bit pattern is a value of either.
            pairs[pair] = unsafe { std::mem::transmute::<__m128i, [u8; PAIR]>(lanes[pair]) };
            pair += 1;
        }
        pairs
    }

    #[inline(always)]
    pub fn are<const N: usize>(found: &[[u8; PAIR]; N], word: u64, step: u64) -> bool {
        let (due, mut pair) = (lanes::<N>(word, step), 0);
        // SAFETY: as in `lanes`.
        let mut wrong = unsafe { _mm_setzero_si128() };
        while pair < N {
            // SAFETY: as in `pairs`; the bytes are read as a value, so their alignment does not matter.
            let found = unsafe { std::mem::transmute::<[u8; PAIR], __m128i>(found[pair]) };
            // SAFETY: as in `lanes`.
            wrong = unsafe { _mm_or_si128(wrong, _mm_xor_si128(found, due[pair])) };
            pair += 1;
        }
        // SAFETY: as in `lanes`.
        unsafe { _mm_movemask_epi8(_mm_cmpeq_epi8(wrong, _mm_setzero_si128())) == 0xFFFF }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod lanes {
    use super::PAIR;

    #[inline(always)]
    pub fn pairs<const N: usize>(word: u64, step: u64) -> [[u8; PAIR]; N] {
        let (mut low, mut pairs) = (word, [[0; PAIR]; N]);
        for pair in &mut pairs {
            *pair = (u128::from(low) | u128::from(low.wrapping_add(step)) << 64).to_le_bytes();
            low = low.wrapping_add(step.wrapping_mul(2));
        }
        pairs
    }

    #[inline(always)]
    pub fn are<const N: usize>(found: &[[u8; PAIR]; N], word: u64, step: u64) -> bool {
        *found == pairs::<N>(word, step)
    }
}

/// `N` pairs of little-endian words: `word`, and each a `step` further, modulo 2^64.
#[inline(always)]
pub fn pairs<const N: usize>(word: u64, step: u64) -> [[u8; PAIR]; N] {
    lanes::pairs(word, step)
}

/// Whether `found` is [`pairs`]`(word, step)`.
#[inline(always)]
pub fn are_pairs<const N: usize>(found: &[[u8; PAIR]; N], word: u64, step: u64) -> bool {
    lanes::are(found, word, step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn holds<const N: usize>(word: u64, step: u64, bit: usize) {
        let mut found = pairs::<N>(word, step);
        let due: Vec<u8> =
            (0..2 * N as u64).flat_map(|k| word.wrapping_add(step.wrapping_mul(k)).to_le_bytes()).collect();
        assert_eq!(found.as_flattened(), due);
        assert!(are_pairs(&found, word, step));
        let at = bit / 8 % due.len();
        found.as_flattened_mut()[at] ^= 1 << (bit % 8);
        assert!(!are_pairs(&found, word, step));
    }

    proptest! {
        #[test]
        fn pairs_are_the_words_and_no_other_bytes_are_they(word in any::<u64>(), step in any::<u64>(), bit in 0_usize..512) {
            holds::<1>(word, step, bit);
            holds::<2>(word, step, bit);
            holds::<3>(word, step, bit);
            holds::<4>(word, step, bit);
        }
    }
}
