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
        enough_beyond(self.len(), quantile).then(|| self.0.value_at_quantile(quantile))
    }

    /// The samples as pairs of latency and count, to two digits: small enough to keep with every run.
    pub fn to_pairs(&self) -> Vec<(u64, u64)> {
        let mut coarse = Histogram::with_digits(2);
        for value in self.0.iter_recorded() {
            let _ = coarse.0.record_n(value.value_iterated_to(), value.count_at_value());
        }
        coarse.0.iter_recorded().map(|value| (value.value_iterated_to(), value.count_at_value())).collect()
    }
}

/// Fewest samples that must lie beyond a percentile: with fewer, the figure is the luck of a few.
const BEYOND: f64 = 10.0;

fn enough_beyond(samples: u64, quantile: f64) -> bool {
    samples as f64 * (1.0 - quantile) + 1e-6 >= BEYOND
}

/// The kept samples of several runs together: latencies in ns with their counts, ascending.
///
/// Key decision: only what occurred is stored, some hundred pairs for a row, where a histogram of fixed bounds takes
/// 230 KB and a campaign has thousands of rows. The latencies are the edges that [`Histogram::to_pairs`] wrote, so
/// percentiles of the sum are exact to those edges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merged {
    pairs: Vec<(u64, u64)>,
    len: u64,
}

impl Merged {
    /// Adds pairs of latency and count, in any order.
    pub fn add(&mut self, pairs: &[(u64, u64)]) {
        self.len = pairs.iter().fold(self.len, |len, (_, count)| len.saturating_add(*count));
        self.pairs.extend_from_slice(pairs);
        // A stable sort finds the two ascending parts and merges them.
        self.pairs.sort_by_key(|(latency, _)| *latency);
        self.pairs.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 = kept.1.saturating_add(next.1);
            }
            same
        });
        self.pairs.shrink_to_fit();
    }

    /// Number of samples.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Largest latency in ns.
    pub fn max(&self) -> Option<u64> {
        self.pairs.last().map(|(latency, _)| *latency)
    }

    /// As [`Histogram::quantile`], by the same rule.
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        if !enough_beyond(self.len, quantile) {
            return None;
        }
        let due = ((quantile * self.len as f64).ceil() as u64).max(1);
        let mut seen = 0;
        self.pairs.iter().find_map(|(latency, count)| {
            seen += count;
            (seen >= due).then_some(*latency)
        })
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

    /// A lump, a shoulder and a tail.
    fn latency(i: u64) -> u64 {
        80 + i % 700 * 7 + if i.is_multiple_of(50) { i * 13 } else { 0 }
    }

    #[test]
    fn merged_runs_have_the_percentiles_of_all_their_samples() {
        let (mut all, mut merged) = (Histogram::default(), Merged::default());
        for run in 0..4 {
            let mut one = Histogram::default();
            (0..5000).map(|i| latency(i * 4 + run)).for_each(|ns| {
                one.record(ns);
                all.record(ns);
            });
            merged.add(&one.to_pairs());
        }
        assert_eq!(merged.len(), 20_000);
        for q in [0.5, 0.9, 0.99, 0.999] {
            let (a, b) = (all.quantile(q).unwrap() as f64, merged.quantile(q).unwrap() as f64);
            assert!((b / a - 1.0).abs() < 0.02, "{q}: {a} became {b}");
        }
        assert!(merged.quantile(0.9999).is_none(), "two samples lie beyond");
        assert!(merged.max().unwrap() as f64 / all.max() as f64 - 1.0 < 0.02);
    }

    #[test]
    fn the_order_in_which_runs_are_merged_does_not_matter() {
        let runs: [&[(u64, u64)]; 3] = [&[(10, 1), (30, 2)], &[(20, 5)], &[(30, 1), (40, 4)]];
        let merge = |order: [usize; 3]| {
            let mut merged = Merged::default();
            order.iter().for_each(|i| merged.add(runs[*i]));
            merged
        };
        assert_eq!(merge([0, 1, 2]), merge([2, 0, 1]));
        assert_eq!(merge([0, 1, 2]).pairs, [(10, 1), (20, 5), (30, 3), (40, 4)]);
    }

    #[test]
    fn a_percentile_of_merged_runs_needs_ten_samples_beyond_it_in_all() {
        let mut merged = Merged::default();
        merged.add(&[(100, 500), (200, 9)]);
        assert!(merged.quantile(0.99).is_none());
        merged.add(&[(100, 490), (300, 1)]);
        assert_eq!(merged.quantile(0.99), Some(100));
        assert!(Merged::default().quantile(0.5).is_none());
    }

    #[test]
    fn a_latency_beyond_the_bounds_is_kept_as_the_bound() {
        let mut histogram = Histogram::default();
        histogram.record(u64::MAX);
        assert_eq!(histogram.len(), 1);
        assert!(histogram.max() >= LONGEST);
    }
}
