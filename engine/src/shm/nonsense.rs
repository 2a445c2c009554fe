//! A word of shared memory that holds what no cooperating peer leaves there: which, what, and what was allowed.
//!
//! Key decision: a plain value that the end keeps, beside the small [`Stop`](super::ring::Stop) that travels through the
//! timed loops. Rejected: the same facts inside `Stop`, because the result of every message is moved about, and forty
//! bytes of it cost as much as a tenth of a ring's message ([`crate::workload::payload`] boxes its mismatch for that).

use std::fmt;

/// See the [module](self). The allowed values run from `low` to `high`, and around the end of the numbers if `high` is
/// the smaller one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonsense {
    /// Name of the word.
    pub word: &'static str,
    /// What was read there, once.
    pub value: u64,
    /// First allowed value.
    pub low: u64,
    /// Last allowed value.
    pub high: u64,
}

impl Nonsense {
    /// What is wrong with `value`, if it does not lie from `low` to `high`.
    #[inline(always)]
    pub fn unless_within(word: &'static str, value: u64, low: u64, high: u64) -> Option<Self> {
        (value.wrapping_sub(low) > high.wrapping_sub(low)).then_some(Self { word, value, low, high })
    }

    /// What is wrong with `value`, if it is not `due`: a word that only the reader writes.
    #[inline(always)]
    pub fn unless(word: &'static str, value: u64, due: u64) -> Option<Self> {
        Self::unless_within(word, value, due, due)
    }
}

impl fmt::Display for Nonsense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { word, value, low, high } = self;
        write!(f, "the shared header holds an impossible value: {word} is {value}, allowed is ")?;
        if low == high { write!(f, "{low} only") } else { write!(f, "{low} to {high}") }
    }
}

impl std::error::Error for Nonsense {}

impl From<Nonsense> for std::io::Error {
    fn from(nonsense: Nonsense) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, nonsense)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_range_may_run_around_the_end_of_the_numbers() {
        let odd = |value, low, high| Nonsense::unless_within("tail", value, low, high).is_some();
        assert!([5, 6, 7].iter().all(|value| !odd(*value, 5, 7)) && odd(4, 5, 7) && odd(8, 5, 7));
        assert!([u64::MAX, 0, 1].iter().all(|value| !odd(*value, u64::MAX, 1)) && odd(2, u64::MAX, 1));
        assert_eq!(Nonsense::unless("head", 3, 3), None);
        let text = Nonsense::unless("head", 4, 3).unwrap().to_string();
        assert!(text.ends_with("head is 4, allowed is 3 only"), "{text}");
    }
}
