//! What a message says, so that every byte of it can be checked.
//!
//! Key decision: word `k` of message `seq` is `salt + seq * STRIDE + k * STEP`, all odd constants, modulo 2^64. Both
//! sides run at the speed of memory with plain vector additions; every byte depends on sequence number and position, so
//! a lost, doubled, swapped, shifted, stale or flipped message is found even when it is one byte long; and the sequence
//! number can be computed back from a wrong message for the error. Rejected: random bytes (slower than a 64-byte
//! transfer), a checksum (finds no stale message with a valid checksum), a constant fill (finds almost nothing).

use crate::plan::Touch;
use crate::sys::vector;
use std::fmt;

/// Bytes that are the header of a message: its sequence number, mixed.
pub const HEADER: usize = 8;

const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
const STRIDE: u64 = 0xD1B5_4A32_D192_ED03;

/// The direction of a message, so that an echoed ping is not taken for a pong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the leader or producer.
    Out,
    /// The reply.
    Back,
}

/// Writes and verifies messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    /// Bytes from the start of a message that are written and verified.
    touched: usize,
}

/// How a message was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Sequence number that was due.
    pub expected: u64,
    /// Sequence number that the message seems to have, where it is long enough to tell.
    pub seems: Option<u64>,
    /// First wrong byte.
    pub offset: usize,
    /// Length of the message.
    pub len: usize,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mismatch { expected, seems, offset, len } = self;
        match seems {
            Some(seems) if seems < expected => {
                write!(f, "message {expected} was due and message {seems} came again (doubled or reordered)")
            }
            Some(seems) if seems > expected => {
                write!(f, "message {expected} was due and message {seems} came (lost or reordered)")
            }
            _ => write!(f, "message {expected} of {len} bytes is wrong from byte {offset} on"),
        }
    }
}

#[inline(always)]
fn first_word(way: Way, seq: u64) -> u64 {
    let salt: u64 = match way {
        Way::Out => 0x1234_5678_9ABC_DE01,
        Way::Back => 0x8BAD_F00D_5EED_4270,
    };
    salt.wrapping_add(seq.wrapping_mul(STRIDE))
}

impl Payload {
    /// Payload that is written and verified as far as `touch` says.
    pub fn new(touch: Touch) -> Self {
        let touched = match touch {
            Touch::Whole => usize::MAX,
            Touch::Header => HEADER,
        };
        Self { touched }
    }

    /// Writes message `seq`.
    #[inline(always)]
    pub fn fill(self, way: Way, seq: u64, message: &mut [u8]) {
        let len = message.len().min(self.touched);
        let (word, touched) = (first_word(way, seq), &mut message[..len]);
        // Up to a cache line, the size that most comparisons use, as straight-line vector code: with the general loop the
        // payload work of 64 bytes took 7 ns, and the fastest mechanisms carry them in little more. The line and the word by
        // comparisons: a jump through a table for each message costs a third of the line. The other lengths are told apart by
        // another number than the length, or the compiler makes one table of all.
        match touched.len() {
            64 => put::<4>(word, touched),
            8 => put_word(word, touched),
            _ => match pairs(touched) {
                3 => put::<3>(word, touched),
                2 => put::<2>(word, touched),
                1 => put::<1>(word, touched),
                _ => fill_any(word, touched),
            },
        }
    }

    /// Turns one bit of the last byte that is verified.
    pub fn spoil(self, message: &mut [u8]) {
        let touched = message.len().min(self.touched);
        if let Some(byte) = message[..touched].last_mut() {
            *byte ^= 1;
        }
    }

    /// The sequence number that a message of at least eight bytes claims to have; 0 of a shorter one.
    #[inline(always)]
    pub fn sequence(self, way: Way, message: &[u8]) -> u64 {
        const INVERSE: u64 = inverse(STRIDE);
        message
            .first_chunk::<8>()
            .map_or(0, |raw| u64::from_le_bytes(*raw).wrapping_sub(first_word(way, 0)).wrapping_mul(INVERSE))
    }

    /// Verifies message `seq` and returns its length.
    ///
    /// # Errors
    /// How it is wrong; boxed, because the result of every message is moved about, and forty bytes of it took 2 ns.
    #[inline(always)]
    pub fn check(self, way: Way, seq: u64, message: &[u8]) -> Result<usize, Box<Mismatch>> {
        let (word, touched) = (first_word(way, seq), &message[..message.len().min(self.touched)]);
        // As in `fill`.
        let right = match touched.len() {
            64 => is::<4>(word, touched),
            8 => touched == word.to_le_bytes(),
            _ => match pairs(touched) {
                3 => is::<3>(word, touched),
                2 => is::<2>(word, touched),
                1 => is::<1>(word, touched),
                _ => check_any(word, touched) == 0,
            },
        };
        if right { Ok(message.len()) } else { Err(diagnose(way, seq, touched)) }
    }
}

/// How many pairs of words a message is; 0 of one that is none.
#[inline(always)]
fn pairs(message: &[u8]) -> usize {
    let (pairs, rest) = message.as_chunks::<16>();
    if rest.is_empty() { pairs.len() } else { 0 }
}

/// Writes a message of one word.
#[inline(always)]
fn put_word(word: u64, message: &mut [u8]) {
    if let Some(place) = message.first_chunk_mut() {
        *place = word.to_le_bytes();
    }
}

/// Writes a message of `N` pairs of words.
#[inline(always)]
fn put<const N: usize>(word: u64, message: &mut [u8]) {
    if let Some(pairs) = message.as_chunks_mut().0.first_chunk_mut::<N>() {
        *pairs = vector::pairs(word, STEP);
    }
}

/// Whether a message of `N` pairs of words is right.
#[inline(always)]
fn is<const N: usize>(word: u64, message: &[u8]) -> bool {
    message.as_chunks().0.first_chunk::<N>().is_some_and(|pairs| vector::are_pairs(pairs, word, STEP))
}

#[inline(never)]
fn fill_any(mut word: u64, message: &mut [u8]) {
    let (words, rest) = message.as_chunks_mut::<8>();
    for place in words {
        *place = word.to_le_bytes();
        word = word.wrapping_add(STEP);
    }
    // Only where there is a rest: what copies it is a call, however short it is.
    if let len @ 1.. = rest.len() {
        rest.copy_from_slice(&word.to_le_bytes()[..len]);
    }
}

/// Zero if the message is right.
#[inline(never)]
fn check_any(mut word: u64, message: &[u8]) -> u64 {
    let (words, rest) = message.as_chunks::<8>();
    let mut wrong = 0;
    for place in words {
        wrong |= u64::from_le_bytes(*place) ^ word;
        word = word.wrapping_add(STEP);
    }
    for (byte, due) in rest.iter().zip(word.to_le_bytes()) {
        wrong |= u64::from(byte ^ due);
    }
    wrong
}

#[cold]
#[inline(never)]
fn diagnose(way: Way, seq: u64, message: &[u8]) -> Box<Mismatch> {
    let mut due = vec![0; message.len()];
    Payload::new(Touch::Whole).fill(way, seq, &mut due);
    let offset = due.iter().zip(message).position(|(a, b)| a != b).unwrap_or(0);
    let seems = (message.len() >= 8).then(|| Payload::new(Touch::Whole).sequence(way, message));
    // A number far away is not a sequence number but a damaged word.
    let seems = seems.filter(|found| found.abs_diff(seq) < 1 << 32);
    Box::new(Mismatch { expected: seq, seems, offset, len: message.len() })
}

/// The multiplicative inverse of an odd number modulo 2^64, by Newton's iteration.
const fn inverse(odd: u64) -> u64 {
    let (mut x, mut step) = (odd, 0);
    while step < 6 {
        x = x.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(x)));
        step += 1;
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WHOLE: Payload = Payload { touched: usize::MAX };

    fn message(seq: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0xAA; len];
        WHOLE.fill(Way::Out, seq, &mut bytes);
        bytes
    }

    #[test]
    fn the_inverse_is_one() {
        assert_eq!(inverse(STRIDE).wrapping_mul(STRIDE), 1);
    }

    #[test]
    fn a_neighbour_is_never_taken_for_the_message_even_at_one_byte() {
        for seq in 0..1000 {
            let bytes = message(seq, 1);
            for near in [seq + 1, seq + 2, seq.wrapping_sub(1)] {
                assert!(WHOLE.check(Way::Out, near, &bytes).is_err());
            }
        }
    }

    #[test]
    fn errors_name_what_came_instead() {
        let text = |due, came| WHOLE.check(Way::Out, due, &message(came, 64)).unwrap_err().to_string();
        assert!(text(7, 6).contains("message 7 was due and message 6 came again"));
        assert!(text(7, 9).contains("message 7 was due and message 9 came (lost"));
    }

    #[test]
    fn a_ping_is_no_pong() {
        assert!(WHOLE.check(Way::Back, 3, &message(3, 64)).is_err());
    }

    #[test]
    fn header_touch_leaves_the_rest_alone() {
        let mut bytes = vec![0xAA; 64];
        Payload::new(Touch::Header).fill(Way::Out, 1, &mut bytes);
        assert!(bytes[8..].iter().all(|byte| *byte == 0xAA));
        assert_eq!(Payload::new(Touch::Header).check(Way::Out, 1, &bytes), Ok(64));
    }

    proptest! {
        #[test]
        fn a_message_tells_its_number(seq in any::<u64>(), len in 8_usize..300) {
            prop_assert_eq!(WHOLE.sequence(Way::Out, &message(seq, len)), seq);
        }

        #[test]
        fn every_flipped_bit_is_found(seq in any::<u64>(), len in 1_usize..300, at in any::<usize>(), bit in 0_u8..8) {
            let mut bytes = message(seq, len);
            prop_assert_eq!(WHOLE.check(Way::Out, seq, &bytes), Ok(len));
            bytes[at % len] ^= 1 << bit;
            let wrong = WHOLE.check(Way::Out, seq, &bytes).unwrap_err();
            prop_assert_eq!(wrong.offset, at % len);
        }
    }
}
