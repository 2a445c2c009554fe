//! Statistics over runs: medians with exact order-statistic intervals, paired ratios, and a test for drift.
//!
//! Key decision: distribution-free. Run-to-run noise on shared machines has two humps and long tails, for which a
//! mean with a t-interval is a fiction. The interval for the median between the k-th smallest and the k-th largest of n
//! runs covers it with a probability that is plain binomial arithmetic. Source: David & Nagaraja, Order Statistics, 7.1.
//!
//! Drift is a rank correlation with its permutation distribution, for the same reason; a fitted slope was rejected. Where
//! many rows are tested at once, [`discoveries`] bounds the share of false ones among those that are named. Holm's bound
//! on even one false name was rejected: of 75 rows with six runs each, none could ever be named, because the smallest
//! p-value of six runs is 1/360. Sources: Spearman 1904; Benjamini & Hochberg 1995.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;

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

    /// The same in another unit: everything times `factor`, which is greater than zero.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        let interval = self.interval.map(|(low, high)| (low * factor, high * factor));
        Self { n: self.n, median: self.median * factor, interval }
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
    // As a logarithm: half to the power of a thousand and more is zero for a double.
    let mut log_probability = -(n as f64) * std::f64::consts::LN_2;
    let mut rank = None;
    for k in 1..=n / 2 {
        // That is P(X = k - 1); `below` becomes P(X < k).
        below += log_probability.exp();
        if 1.0 - 2.0 * below < 0.95 {
            break;
        }
        rank = Some(k);
        log_probability += ((n - k + 1) as f64 / k as f64).ln();
    }
    rank
}

/// How closely values follow the order in which they came.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// Spearman's rank correlation: 1 when each value is larger than the one before, -1 when each is smaller.
    pub rho: f64,
    /// Probability of a correlation at least as far from 0, had the values come in random order.
    pub p: f64,
}

/// Fewest values for which a trend is looked for: those that give an interval.
const FEWEST: usize = 6;
/// Up to here every permutation is looked at: 8! are 40 320.
const ALL_UP_TO: usize = 8;
/// Up to here permutations are drawn; beyond, `rho * sqrt(n - 1)` is normal to well within what a p-value means.
const DRAWN_UP_TO: usize = 60;
const DRAWS: usize = 99_999;

/// What |rho| is when there is no trend, worked out once for each length. The draws have a fixed seed, so that the same
/// values always give the same p-value.
#[derive(Debug, Default)]
pub struct Trends(HashMap<Vec<i64>, Vec<f64>>);

impl Trends {
    /// The trend of values in the order in which they came; `None` below six of them, or when all are equal.
    pub fn of(&mut self, values: &[f64]) -> Option<Trend> {
        let n = values.len();
        if n < FEWEST {
            return None;
        }
        let scores = centred_ranks(values);
        let rho = correlation(&scores).filter(|rho| rho.is_finite())?;
        let p = match n {
            _ if n <= ALL_UP_TO => {
                let null = self.null(scores);
                beyond(null, rho) as f64 / null.len() as f64
            }
            // Ties change neither mean nor variance of rho without a trend, so the distribution without ties serves all.
            _ if n <= DRAWN_UP_TO => {
                let null = self.null(untied(n));
                (beyond(null, rho) + 1) as f64 / (null.len() + 1) as f64
            }
            _ => two_sided_normal(rho * ((n - 1) as f64).sqrt()),
        };
        Some(Trend { rho, p })
    }

    /// |rho| of the permutations of these scores, ascending.
    fn null(&mut self, mut scores: Vec<i64>) -> &[f64] {
        scores.sort_unstable();
        self.0.entry(scores).or_insert_with_key(|scores| {
            let mut scores = scores.clone();
            let mut null = Vec::new();
            if scores.len() <= ALL_UP_TO {
                each_permutation(&mut scores, &mut |order| null.extend(correlation(order).map(f64::abs)));
            } else {
                let mut rng = fastrand::Rng::with_seed(scores.len() as u64);
                for _ in 0..DRAWS {
                    rng.shuffle(&mut scores);
                    null.extend(correlation(&scores).map(f64::abs));
                }
            }
            null.sort_by(f64::total_cmp);
            null
        })
    }
}

/// How many of an ascending list are at least as far from 0 as `rho`.
fn beyond(null: &[f64], rho: f64) -> usize {
    null.len() - null.partition_point(|other| *other < rho.abs())
}

/// Twice the rank less its mean, which is a whole number also for the shared ranks of ties.
fn centred_ranks(values: &[f64]) -> Vec<i64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut scores = vec![0; values.len()];
    let mut start = 0;
    for tied in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let (first, last) = (start + 1, start + tied.len());
        tied.iter().for_each(|index| scores[*index] = (first + last) as i64 - (values.len() + 1) as i64);
        start = last;
    }
    scores
}

/// The scores of `n` different values.
fn untied(n: usize) -> Vec<i64> {
    (0..n as i64).map(|i| 2 * i - (n as i64 - 1)).collect()
}

/// Correlation of centred ranks with their position; `None` when all ranks are equal.
fn correlation(scores: &[i64]) -> Option<f64> {
    let n = scores.len() as i64;
    let (mut product, mut square, mut places) = (0_i64, 0_i64, 0_i64);
    for (i, score) in scores.iter().enumerate() {
        let place = 2 * i as i64 - (n - 1);
        product += place * score;
        square += score * score;
        places += place * place;
    }
    (square > 0).then(|| product as f64 / (square as f64 * places as f64).sqrt())
}

/// Calls `look` with every permutation of `items`. Source: Heap 1963.
fn each_permutation(items: &mut [i64], look: &mut impl FnMut(&[i64])) {
    fn step(k: usize, items: &mut [i64], look: &mut impl FnMut(&[i64])) {
        if k <= 1 {
            return look(items);
        }
        for i in 0..k {
            step(k - 1, items, look);
            if i + 1 < k {
                items.swap(if k.is_multiple_of(2) { i } else { 0 }, k - 1);
            }
        }
    }
    step(items.len(), items, look);
}

/// Probability that a standard normal value is at least as far from 0 as `z`, within 2e-7. Source: Abramowitz & Stegun,
/// 7.1.26.
fn two_sided_normal(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let series = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    series.iter().fold(0.0, |sum, a| (sum + a) * t) * (-x * x).exp()
}

/// The largest p-value of those to believe when at most the share `rate` of the believed ones may be chance; `None` when
/// there is none.
pub fn discoveries(p_values: impl IntoIterator<Item = f64>, rate: f64) -> Option<f64> {
    let mut sorted: Vec<f64> = p_values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let all = sorted.len() as f64;
    sorted.iter().enumerate().rev().find(|(i, p)| **p <= rate * (i + 1) as f64 / all).map(|(_, p)| *p)
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

    fn trend(values: &[f64]) -> Trend {
        Trends::default().of(values).unwrap()
    }

    #[test]
    fn six_values_that_only_rise_or_fall_have_the_smallest_p_value_there_is() {
        let rising = trend(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!((rising.rho, rising.p), (1.0, 2.0 / 720.0));
        let falling = trend(&[6.0, 5.0, 4.0, 3.0, 2.0, 1.0]);
        assert_eq!((falling.rho, falling.p), (-1.0, 2.0 / 720.0));
    }

    #[test]
    fn a_p_value_agrees_with_the_published_table() {
        // Critical values of Spearman's rho at 5 %, two-sided (Zar 1972): 0.886 for 6 and 0.447 for 20 values.
        let six = trend(&[1.0, 2.0, 3.0, 5.0, 6.0, 4.0]);
        assert!((six.rho - 0.829).abs() < 1e-3 && (0.05..0.06).contains(&six.p), "{six:?}");
        let six = trend(&[1.0, 3.0, 2.0, 4.0, 6.0, 5.0]);
        assert!((six.rho - 0.886).abs() < 1e-3 && (0.03..0.04).contains(&six.p), "{six:?}");
        let null = Trends::default().null(untied(20)).to_vec();
        let critical = null[(0.95 * null.len() as f64) as usize];
        assert!((critical - 0.447).abs() < 0.005, "{critical}");
    }

    #[test]
    fn tied_values_share_a_rank() {
        assert_eq!(centred_ranks(&[5.0, 7.0, 5.0, 9.0]), [-2, 1, -2, 3]);
        // Two groups of three: of the 20 ways to arrange them, the two extreme ones are at least this far.
        let two = trend(&[1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
        assert!((two.p - 0.1).abs() < 1e-12, "{two:?}");
        assert!(Trends::default().of(&[3.0; 8]).is_none(), "equal values have no order");
        assert!(Trends::default().of(&[1.0, 2.0, 3.0, 4.0, 5.0]).is_none(), "five runs have no interval either");
    }

    #[test]
    fn drawn_and_normal_p_values_agree_where_they_meet() {
        let mut rng = fastrand::Rng::with_seed(3);
        let values: Vec<f64> = (0..DRAWN_UP_TO).map(|i| i as f64 + 160.0 * rng.f64()).collect();
        let Trend { rho, p } = trend(&values);
        let normal = two_sided_normal(rho * ((values.len() - 1) as f64).sqrt());
        assert!(p < 0.05 && (p / normal - 1.0).abs() < 0.5, "drawn {p}, normal {normal}");
        assert!((two_sided_normal(1.96) - 0.05).abs() < 1e-4);
        assert_eq!(trend(&values), trend(&values), "the draws have a fixed seed");
    }

    #[test]
    fn chance_names_few_rows_and_a_planted_effect_is_named() {
        let mut rng = fastrand::Rng::with_seed(11);
        let noise: Vec<f64> = (0..100).map(|_| rng.f64()).collect();
        assert_eq!(discoveries(noise.clone(), 0.05), None, "uniform p-values are no discoveries");
        let limit = discoveries(noise.into_iter().chain([1e-5, 2e-4]), 0.05).unwrap();
        assert_eq!(limit, 2e-4);
        assert_eq!(discoveries([], 0.05), None);
    }
}
