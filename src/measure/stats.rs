//! Statistics over runs: medians with exact order-statistic intervals, and paired ratios.
//!
//! Key decision: distribution-free. Run-to-run noise on shared machines has two humps and long tails, for which a
//! mean with a t-interval is a fiction. The interval for the median between the k-th smallest and the k-th largest of n
//! runs covers it with a probability that is plain binomial arithmetic. Source: David & Nagaraja, Order Statistics, 7.1.

use serde::{Deserialize, Serialize};

/// A median over runs, with its interval where there are enough runs for one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Number of runs.
    pub n: usize,
    /// Median over runs.
    pub median: f64,
    /// At least 95 % interval for the median; absent below six runs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub interval: Option<(f64, f64)>,
}

impl Estimate {
    /// The estimate from one value per run; `None` from none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        if n == 0 {
            return None;
        }
        let median = if n % 2 == 1 { sorted[n / 2] } else { f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]) };
        let interval = interval_rank(n).map(|k| (sorted[k - 1], sorted[n - k]));
        Some(Self { n, median, interval })
    }

    /// The paired ratio `a / b`: the estimate over `a_i / b_i` of the same round.
    pub fn of_ratio(pairs: impl IntoIterator<Item = (f64, f64)>) -> Option<Self> {
        Self::of(pairs.into_iter().map(|(a, b)| a / b))
    }

    /// Whether the interval contains `value`; unknown without an interval.
    pub fn contains(&self, value: f64) -> Option<bool> {
        self.interval.map(|(low, high)| (low..=high).contains(&value))
    }
}

/// The largest `k` for which the k-th smallest and the k-th largest of `n` values enclose the median with at least 95 %
/// probability: `1 - 2 * P(Binomial(n, 1/2) < k) >= 0.95`. `None` below six values, where even the extremes do not.
pub fn interval_rank(n: usize) -> Option<usize> {
    let mut below = 0.0;
    let mut probability = 0.5_f64.powi(i32::try_from(n).ok()?);
    let mut rank = None;
    for k in 1..=n / 2 {
        // `probability` is P(X = k - 1); `below` becomes P(X < k).
        below += probability;
        if 1.0 - 2.0 * below < 0.95 {
            break;
        }
        rank = Some(k);
        probability *= (n - k + 1) as f64 / k as f64;
    }
    rank
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_the_tables() {
        assert_eq!(interval_rank(5), None);
        assert_eq!(interval_rank(6), Some(1));
        assert_eq!(interval_rank(8), Some(1));
        assert_eq!(interval_rank(9), Some(2));
        assert_eq!(interval_rank(10), Some(2));
        assert_eq!(interval_rank(20), Some(6));
        assert_eq!(interval_rank(40), Some(14));
    }

    #[test]
    fn six_runs_span_from_smallest_to_largest() {
        let estimate = Estimate::of([3.0, 1.0, 2.0, 6.0, 5.0, 4.0]).unwrap();
        assert_eq!((estimate.median, estimate.interval), (3.5, Some((1.0, 6.0))));
    }

    #[test]
    fn five_runs_have_no_interval() {
        assert_eq!(Estimate::of([1.0; 5]).unwrap().interval, None);
        assert!(Estimate::of([]).is_none());
    }

    #[test]
    fn a_ratio_is_paired_and_cancels_a_drift_that_both_share() {
        let drift = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
        let ratio = Estimate::of_ratio(drift.map(|d| (3.0 * d, 2.0 * d))).unwrap();
        assert_eq!((ratio.median, ratio.interval), (1.5, Some((1.5, 1.5))));
    }
}
