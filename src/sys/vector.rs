//! Sixty-four bytes of eight words, each a step further than the last, in vector registers.
//!
//! Key decision: both directions by intrinsics. What is written by scalar stores and read back by vector loads on one CPU
//! waits for the stores to reach the cache, and the compiler chooses scalar for the one and vector for the other as it
//! likes: 12 ns a message instead of 5. SSE2 is part of every x86-64; elsewhere plain code does the same. Rejected: forms of
//! the plain code that happen to be compiled to vectors (each lasts until the loop around it changes).

/// Bytes of a block.
pub const BLOCK: usize = 64;

#[cfg(target_arch = "x86_64")]
mod lanes {
    use super::BLOCK;
    use core::arch::x86_64::{
        __m128i, _mm_add_epi64, _mm_cmpeq_epi8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi64x,
        _mm_setzero_si128, _mm_xor_si128,
    };

    type Lanes = [__m128i; BLOCK / 16];

    #[inline(always)]
    fn lanes(word: u64, step: u64) -> Lanes {
        // SAFETY: SSE2 is part of x86-64, and these work on values alone.
        unsafe {
            let twice = _mm_set1_epi64x(step.wrapping_mul(2) as i64);
            let first = _mm_set_epi64x(word.wrapping_add(step) as i64, word as i64);
            let second = _mm_add_epi64(first, twice);
            let third = _mm_add_epi64(second, twice);
            [first, second, third, _mm_add_epi64(third, twice)]
        }
    }

    #[inline(always)]
    pub fn block(word: u64, step: u64) -> [u8; BLOCK] {
        // SAFETY: both are 64 bytes without padding, and any bit pattern is a value of either.
        unsafe { std::mem::transmute::<Lanes, [u8; BLOCK]>(lanes(word, step)) }
    }

    #[inline(always)]
    pub fn is(found: &[u8; BLOCK], word: u64, step: u64) -> bool {
        // SAFETY: as in `block`; the bytes are read as a value, so their alignment does not matter.
        let found = unsafe { std::mem::transmute::<[u8; BLOCK], Lanes>(*found) };
        let due = lanes(word, step);
        // SAFETY: as in `lanes`.
        unsafe {
            let wrong = [0, 1, 2, 3].map(|i: usize| _mm_xor_si128(found[i], due[i]));
            let wrong = _mm_or_si128(_mm_or_si128(wrong[0], wrong[1]), _mm_or_si128(wrong[2], wrong[3]));
            _mm_movemask_epi8(_mm_cmpeq_epi8(wrong, _mm_setzero_si128())) == 0xFFFF
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod lanes {
    use super::BLOCK;

    #[inline(always)]
    pub fn block(word: u64, step: u64) -> [u8; BLOCK] {
        let mut bytes = [0; BLOCK];
        for (k, place) in bytes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            *place = word.wrapping_add(step.wrapping_mul(k as u64)).to_le_bytes();
        }
        bytes
    }

    #[inline(always)]
    pub fn is(found: &[u8; BLOCK], word: u64, step: u64) -> bool {
        *found == block(word, step)
    }
}

/// Eight little-endian words: `word`, and each a `step` further, modulo 2^64.
#[inline(always)]
pub fn block(word: u64, step: u64) -> [u8; BLOCK] {
    lanes::block(word, step)
}

/// Whether `found` is [`block`]`(word, step)`.
#[inline(always)]
pub fn is_block(found: &[u8; BLOCK], word: u64, step: u64) -> bool {
    lanes::is(found, word, step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_block_is_eight_words_and_no_other_bytes_are_it(word in any::<u64>(), step in any::<u64>(), bit in 0_usize..512) {
            let mut bytes = block(word, step);
            for (k, chunk) in bytes.as_chunks::<8>().0.iter().enumerate() {
                prop_assert_eq!(u64::from_le_bytes(*chunk), word.wrapping_add(step.wrapping_mul(k as u64)));
            }
            prop_assert!(is_block(&bytes, word, step));
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!is_block(&bytes, word, step));
        }
    }
}
