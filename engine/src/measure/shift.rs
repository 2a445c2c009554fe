//! By what factor one sample lies above another that was taken at another time.
//!
//! Key decision: the median of all ratios `b_j / a_i` (Hodges & Lehmann) between two of these ratios, which Mann and
//! Whitney's distribution chooses. If nothing changed between the two samples, the interval holds 1 with at least 95 %
//! probability whatever the distribution is, two humps and long tails included; and it needs no pairs, which runs of
//! different hours do not have. What it supposes beyond that is that a change stretches the whole distribution.
//! Rejected: Welch's interval (means of such runs are fiction); the two medians' own intervals divided by each other (of
//! six runs each, only a change larger than both spreads together would ever show). Sources: Hodges & Lehmann 1963;
//! Hollander & Wolfe, Nonparametric Statistical Methods, 4.2 and 4.3.

use super::stats::Estimate;
use std::collections::HashMap;

/// Runs of one sample up to which the distribution is counted out; beyond, it is normal to well within a rank.
const COUNTED_UP_TO: usize = 50;
/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_964;

/// Which ratios bound the interval of so many runs, and how often chance alone puts 1 outside.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bounds {
    /// The k-th smallest and the k-th largest ratio.
    rank: usize,
    /// Probability that such an interval misses what it is about.
    miss: f64,
}

/// A ratio of two independent samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shift {
    /// The ratio, with an interval from four runs each on; its `n` is that of the smaller sample.
    pub ratio: Estimate,
    /// Probability that the interval misses 1 although nothing changed; 0 without an interval.
    pub miss: f64,
}

/// Works out ratios; what depends on the numbers of runs alone is found once.
#[derive(Debug, Default)]
pub struct Shifts(HashMap<(usize, usize), Option<Bounds>>);

impl Shifts {
    /// By what factor `b` lies above `a`; `None` where one of them has no value. Values that are not above zero are none.
    pub fn of(&mut self, a: &[f64], b: &[f64]) -> Option<Shift> {
        let sorted = |values: &[f64]| {
            let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite() && *v > 0.0).collect();
            sorted.sort_by(f64::total_cmp);
            sorted
        };
        let (a, b) = (sorted(a), sorted(b));
        let all = a.len() * b.len();
        if all == 0 {
            return None;
        }
        let median = f64::midpoint(nth(&a, &b, all.div_ceil(2)), nth(&a, &b, all / 2 + 1));
        let bounds = *self.0.entry((a.len(), b.len())).or_insert_with(|| bounds(a.len(), b.len()));
        let interval = bounds.map(|Bounds { rank, .. }| (nth(&a, &b, rank), nth(&a, &b, all + 1 - rank)));
        let ratio = Estimate { n: a.len().min(b.len()), median, interval };
        Some(Shift { ratio, miss: bounds.map_or(0.0, |bounds| bounds.miss) })
    }
}

/// The k-th smallest, from 1, of all ratios of the ascending `b` to the ascending `a`, without making them all: the
/// smallest number that so many of them do not exceed. Positive doubles are ordered as their bits are.
fn nth(a: &[f64], b: &[f64], k: usize) -> f64 {
    let (mut low, mut high) = (0_u64, (b[b.len() - 1] / a[0]).to_bits());
    while low < high {
        let middle = low + (high - low) / 2;
        if up_to(a, b, f64::from_bits(middle)) >= k { high = middle } else { low = middle + 1 }
    }
    f64::from_bits(low)
}

/// How many ratios do not exceed `limit`.
fn up_to(a: &[f64], b: &[f64], limit: f64) -> usize {
    let mut below = 0;
    a.iter().fold(0, |sum, a| {
        while below < b.len() && b[below] / a <= limit {
            below += 1;
        }
        sum + below
    })
}

/// The largest `k` for which the k-th smallest and the k-th largest of all ratios enclose the true one with at least 95 %
/// probability: `1 - 2 P(U < k)`. `None` where even the extremes do not.
fn bounds(n: usize, m: usize) -> Option<Bounds> {
    if n.max(m) > COUNTED_UP_TO {
        let (pairs, runs) = ((n * m) as f64, (n + m + 1) as f64);
        let rank = pairs / 2.0 - Z * (pairs * runs / 12.0).sqrt();
        return (rank >= 1.0).then_some(Bounds { rank: rank as usize, miss: 0.05 });
    }
    let mut below = 0.0;
    let mut best = None;
    for (u, p) in distribution(n, m).into_iter().enumerate() {
        below += p;
        if 2.0 * below > 0.05 {
            break;
        }
        best = Some(Bounds { rank: u + 1, miss: 2.0 * below });
    }
    best
}

/// P(U = u) for u up to the middle, where U counts the pairs in which the value of the sample of `m` is below that of the
/// sample of `n`, all orders being as likely. The largest value is of one sample or the other, and what is left is the
/// same for one run less; every term is above zero, so nothing cancels.
fn distribution(n: usize, m: usize) -> Vec<f64> {
    let most = n * m / 2;
    let certain = || {
        let mut only = vec![0.0; most + 1];
        only[0] = 1.0;
        only
    };
    // Row i, place j: the distribution for i and j runs.
    let mut row: Vec<Vec<f64>> = vec![certain(); m + 1];
    for i in 1..=n {
        let mut next = vec![certain()];
        for j in 1..=m {
            let share = i as f64 / (i + j) as f64;
            let first = |u: usize| if u >= j { row[j][u - j] } else { 0.0 };
            let values = (0..=most).map(|u| share * first(u) + (1.0 - share) * next[j - 1][u]).collect();
            next.push(values);
        }
        row = next;
    }
    row.swap_remove(m)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shift(a: &[f64], b: &[f64]) -> Shift {
        Shifts::default().of(a, b).unwrap()
    }

    #[test]
    fn ranks_are_those_of_the_published_table() {
        // Largest U that is significant at 5 %, two-sided (Mann & Whitney 1947, as reprinted by Hollander & Wolfe): one less
        // than the rank.
        for ((n, m), critical) in [((4, 4), 0), ((5, 5), 2), ((6, 6), 5), ((6, 8), 8), ((10, 10), 23), ((20, 20), 127)]
        {
            assert_eq!(bounds(n, m).unwrap().rank, critical + 1, "{n} and {m} runs");
            assert_eq!(bounds(m, n), bounds(n, m).map(|b| Bounds { miss: bounds(m, n).unwrap().miss, ..b }));
        }
        assert_eq!(bounds(3, 3), None, "of six in all, the extremes are too likely");
        assert!((bounds(4, 4).unwrap().miss - 2.0 / 70.0).abs() < 1e-12);
    }

    #[test]
    fn counting_and_the_normal_distribution_agree_where_they_meet() {
        let counted = bounds(COUNTED_UP_TO, COUNTED_UP_TO).unwrap().rank as f64;
        let next = bounds(COUNTED_UP_TO, COUNTED_UP_TO + 1).unwrap().rank as f64;
        // One run more adds fifty ratios, of which nearly half lie below the interval.
        assert!((0.0..40.0).contains(&(next - counted)), "{counted} and {next}");
    }

    #[test]
    fn the_nth_ratio_is_that_of_the_sorted_list() {
        let mut rng = fastrand::Rng::with_seed(5);
        let mut sample = |n: usize| {
            let mut values: Vec<f64> = (0..n).map(|_| (1.0 + 9.0 * rng.f64()).round()).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let (a, b) = (sample(7), sample(9));
        let mut all: Vec<f64> = a.iter().flat_map(|a| b.iter().map(move |b| b / a)).collect();
        all.sort_by(f64::total_cmp);
        for (index, ratio) in all.iter().enumerate() {
            assert_eq!(nth(&a, &b, index + 1), *ratio, "{index}");
        }
    }

    #[test]
    fn a_stretched_sample_shows_its_factor_and_the_same_sample_shows_one() {
        let a: Vec<f64> = (0..6).map(|i| 1000.0 + f64::from(i)).collect();
        let b: Vec<f64> = a.iter().map(|ns| 1.1 * ns).collect();
        let ratio = shift(&a, &b).ratio;
        assert!((ratio.median - 1.1).abs() < 1e-3 && ratio.interval.unwrap().0 > 1.09, "{ratio:?}");
        assert_eq!(shift(&a, &a).ratio.median, 1.0);
        assert_eq!(shift(&a, &a).ratio.contains(1.0), Some(true));
        assert_eq!(shift(&a[..3], &b).ratio.n, 3);
        assert!(Shifts::default().of(&[], &b).is_none() && Shifts::default().of(&[0.0, f64::NAN], &b).is_none());
    }

    #[test]
    fn two_humps_that_did_not_change_are_told_apart_as_rarely_as_is_said() {
        let mut rng = fastrand::Rng::with_seed(9);
        let mut sample = || -> Vec<f64> { (0..6).map(|_| if rng.bool() { 70.0 } else { 440.0 } + rng.f64()).collect() };
        let mut shifts = Shifts::default();
        let (tries, mut outside) = (4000, 0);
        for _ in 0..tries {
            let shift = shifts.of(&sample(), &sample()).unwrap();
            assert!((shift.miss - 0.041).abs() < 0.001, "{}", shift.miss);
            outside += u32::from(shift.ratio.contains(1.0) == Some(false));
        }
        let share = f64::from(outside) / f64::from(tries);
        assert!((0.030..0.052).contains(&share), "{share}");
    }
}
