//! A latency histogram that allocates once.
//!
//! Key decision: `hdrhistogram` with fixed bounds (1 ns to 60 s, three digits), all of its memory touched before the
//! first sample. A vector of samples was rejected: it streams through the caches of the loop that is being measured.
//! Source: Tene, HdrHistogram.

use hdrhistogram::Histogram as Hdr;

/// Longest latency that is told apart from longer ones: a minute, in ns.
const LONGEST: u64 = 60_000_000_000;

/// Latencies in nanoseconds.
#[derive(Debug, Clone)]
pub struct Histogram(Hdr<u64>);

impl Default for Histogram {
    fn default() -> Self {
        Self::with_digits(3)
    }
}

impl Histogram {
    fn with_digits(digits: u8) -> Self {
        let mut hdr = Hdr::new_with_bounds(1, LONGEST, digits).expect("the bounds are constants");
        // Writes zeroes everywhere: without this the first sample of each size would fault a page in.
        hdr.reset();
        Self(hdr)
    }

    /// Adds one latency; longer than a minute counts as a minute.
    #[inline(always)]
    pub fn record(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds);
    }

    /// Number of latencies.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Mean in ns.
    pub fn mean(&self) -> f64 {
        self.0.mean()
    }

    /// Smallest in ns.
    pub fn min(&self) -> u64 {
        self.0.min()
    }

    /// Largest in ns.
    pub fn max(&self) -> u64 {
        self.0.max()
    }

    /// The latency that the share `quantile` (0 to 1) of all is at or below, if at least ten samples lie beyond it:
    /// with fewer, the figure is the luck of a few.
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        let beyond = self.len() as f64 * (1.0 - quantile);
        (beyond + 1e-6 >= 10.0).then(|| self.0.value_at_quantile(quantile))
    }

    /// Adds the other one's samples.
    pub fn merge(&mut self, other: &Histogram) {
        self.0.add(&other.0).expect("all histograms have the same bounds");
    }

    /// The samples as pairs of latency and count, to two digits: small enough to keep with every run.
    pub fn to_pairs(&self) -> Vec<(u64, u64)> {
        let mut coarse = Histogram::with_digits(2);
        for value in self.0.iter_recorded() {
            let _ = coarse.0.record_n(value.value_iterated_to(), value.count_at_value());
        }
        coarse.0.iter_recorded().map(|value| (value.value_iterated_to(), value.count_at_value())).collect()
    }

    /// The histogram that those pairs came from, to two digits.
    pub fn from_pairs(pairs: &[(u64, u64)]) -> Self {
        let mut histogram = Self::default();
        for (value, count) in pairs {
            let _ = histogram.0.record_n((*value).min(LONGEST), *count);
        }
        histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_needs_ten_samples_beyond_it() {
        let mut histogram = Histogram::default();
        (1..=999).for_each(|ns| histogram.record(ns));
        assert!(histogram.quantile(0.99).is_none(), "9.99 samples lie beyond the 99th percentile");
        histogram.record(1000);
        assert_eq!(histogram.quantile(0.99), Some(990));
        assert!(histogram.quantile(0.999).is_none());
    }

    #[test]
    fn pairs_keep_the_count_and_two_digits() {
        let mut histogram = Histogram::default();
        (0..10_000).for_each(|i| histogram.record(80 + i * 7));
        let again = Histogram::from_pairs(&histogram.to_pairs());
        assert_eq!(again.len(), histogram.len());
        let (a, b) = (histogram.quantile(0.5).unwrap() as f64, again.quantile(0.5).unwrap() as f64);
        assert!((a / b - 1.0).abs() < 0.02, "{a} became {b}");
    }

    #[test]
    fn a_latency_beyond_the_bounds_is_kept_as_the_bound() {
        let mut histogram = Histogram::default();
        histogram.record(u64::MAX);
        assert_eq!(histogram.len(), 1);
        assert!(histogram.max() >= LONGEST);
    }
}
