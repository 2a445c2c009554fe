//! What an open-loop window showed: latencies, backlog, and whether the rate was reached.
//!
//! Key decision: computed after the window from three times per message (due, sent, received), so that the backlog is
//! the true maximum at any instant and not the largest that somebody happened to look at.

use super::Histogram;
use crate::workload::offered::Schedule;
use serde::{Deserialize, Serialize};

/// A rate is reached when this share of it is, and no more than the rest is still under way at the window's end.
const REACHED: f64 = 0.98;
/// Messages that may always be under way at the end.
const FEW: u64 = 2;
/// A message sent this much after its time was late, ns: more than a look at the clock or a system call takes, less than
/// a turn of the scheduler.
pub const LATE_NS: u64 = 10_000;

/// Latencies in ns. A percentile is absent with fewer than ten samples beyond it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latencies {
    /// Median.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p50: Option<u64>,
    /// 90th percentile.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p90: Option<u64>,
    /// 99th percentile.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p99: Option<u64>,
    /// 99.9th percentile.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p999: Option<u64>,
    /// Largest.
    pub max: u64,
    /// Pairs of latency and count, two digits; percentiles of several runs come from these, merged.
    pub histogram: Vec<(u64, u64)>,
}

impl Latencies {
    fn of(samples: impl Iterator<Item = u64>) -> Self {
        let mut histogram = Histogram::default();
        samples.for_each(|ns| histogram.record(ns));
        let at = |q| histogram.quantile(q);
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
            histogram: histogram.to_pairs(),
        }
    }
}

/// One rate, offered for one window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadPoint {
    /// Messages per second that were due.
    pub offered_per_s: f64,
    /// The same as a share of the saturation measured in the same launch; absent when the rate was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub share: Option<f64>,
    /// Messages per second from the start to the last one verified, or to the end of the schedule if that is later; never
    /// more than offered.
    pub achieved_per_s: f64,
    /// Messages of the window.
    pub messages: u64,
    /// Of these, verified by the consumer.
    pub verified: u64,
    /// From the time at which a message was due until it was verified.
    pub from_intended: Latencies,
    /// From the time at which it was sent.
    pub from_actual: Latencies,
    /// Largest number of messages that were due and not yet verified; one when each is there before the next is due.
    pub backlog_max: u64,
    /// The same number at the end of the schedule.
    pub backlog_end: u64,
    /// Share of the messages that were sent more than [`LATE_NS`] after they were due.
    pub late_share: f64,
    /// Messages that seem to have arrived before they were sent: the clocks of the two CPUs disagree.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub early: u64,
    /// At least 98 % of the offered rate was achieved, and at most 2 % of the messages (or two) were still under way at
    /// the end of the schedule. Otherwise the latencies grow with the length of the window and describe nothing else.
    pub reached: bool,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl LoadPoint {
    /// What a window that started at `start` showed; `sent` and `received` are readings of the clock, one per message.
    pub fn of(schedule: &Schedule, start: u64, sent: &[u64], received: &[u64]) -> Self {
        let n = received.len() as u64;
        let due = || schedule.due.iter().map(|due| start + due);
        let since = |from: u64, at: &u64| at.saturating_sub(from);
        let elapsed = received.last().map_or(0, |last| since(start, last)).max(schedule.end_ns).max(1);
        // As a share first: a rate that is kept is then exactly the offered one.
        let kept = schedule.end_ns.max(1) as f64 / elapsed as f64;
        let backlog_end = n - received.partition_point(|at| *at <= start + schedule.end_ns) as u64;
        let still = ((n as f64 * (1.0 - REACHED)) as u64).max(FEW);
        let late = due().zip(sent).filter(|(due, sent)| since(*due, sent) > LATE_NS).count();
        Self {
            offered_per_s: schedule.rate,
            share: None,
            achieved_per_s: schedule.rate * kept,
            messages: n,
            verified: 0,
            from_intended: Latencies::of(due().zip(received).map(|(due, at)| since(due, at))),
            from_actual: Latencies::of(sent.iter().zip(received).map(|(sent, at)| since(*sent, at))),
            backlog_max: backlog_max(due(), received),
            backlog_end,
            late_share: late as f64 / n.max(1) as f64,
            early: sent.iter().zip(received).filter(|(sent, at)| at < sent).count() as u64,
            reached: kept >= REACHED && backlog_end <= still,
        }
    }
}

/// The backlog only grows when a message becomes due and is largest right before one is received. Both are in order.
fn backlog_max(due: impl Iterator<Item = u64>, received: &[u64]) -> u64 {
    let mut due = due.peekable();
    let (mut came_due, mut most) = (0_u64, 0);
    for (before, at) in (0_u64..).zip(received) {
        while due.next_if(|due| due <= at).is_some() {
            came_due += 1;
        }
        most = most.max(came_due.saturating_sub(before));
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Arrivals;

    /// A message per microsecond, 5000 of them, each sent on time and received as the function says, 50 us into the clock.
    fn window(received: impl Fn(u64) -> u64) -> LoadPoint {
        let schedule = Schedule::new(1e6, Arrivals::Constant, 0, 5000);
        let sent: Vec<u64> = schedule.due.iter().map(|due| 50_000 + due).collect();
        let received: Vec<u64> = sent.iter().map(|sent| received(*sent)).collect();
        LoadPoint::of(&schedule, 50_000, &sent, &received)
    }

    #[test]
    fn a_consumer_that_keeps_up_reaches_the_rate_with_one_message_under_way() {
        let point = window(|sent| sent + 300);
        assert!(point.reached);
        assert_eq!((point.achieved_per_s, point.backlog_max, point.backlog_end), (1e6, 1, 0));
        assert_eq!((point.from_intended.p50, point.from_intended.p99), (Some(300), Some(300)));
        assert_eq!((point.from_intended.p999, point.late_share), (None, 0.0), "five samples lie beyond p99.9");
    }

    #[test]
    fn a_consumer_of_half_the_rate_has_half_of_the_messages_left_at_the_end() {
        let point = window(|sent| 50_000 + 2 * (sent - 50_000));
        assert!(!point.reached);
        assert!((point.achieved_per_s / 0.5e6 - 1.0).abs() < 0.001, "{}", point.achieved_per_s);
        assert_eq!((point.backlog_max, point.backlog_end), (2500, 2499));
    }

    #[test]
    fn a_stall_is_in_every_message_that_was_due_meanwhile() {
        let point = window(|sent| sent.max(1_050_000));
        assert_eq!((point.backlog_max, point.backlog_end, point.reached), (1001, 0, true));
        assert!(point.from_intended.max >= 1_000_000 && point.from_intended.p90.unwrap() > 400_000);
    }

    #[test]
    fn a_late_producer_shows_from_the_intended_time_only() {
        let schedule = Schedule::new(1e6, Arrivals::Constant, 0, 1000);
        let sent: Vec<u64> = schedule.due.iter().map(|due| due + 20_000).collect();
        let received: Vec<u64> = sent.iter().map(|sent| sent + 100).collect();
        let point = LoadPoint::of(&schedule, 0, &sent, &received);
        assert_eq!((point.late_share, point.from_actual.p50, point.early), (1.0, Some(100), 0));
        assert!(point.from_intended.p50.unwrap() >= 20_000);
    }

    #[test]
    fn a_message_that_arrives_before_it_was_sent_is_counted() {
        let point = window(|sent| if sent == 60_000 { sent - 1 } else { sent });
        assert_eq!((point.early, point.from_actual.max), (1, 0));
    }
}
