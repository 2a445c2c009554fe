//! What became of the requests, by the ledger: what was lost or done twice, and backlog and latency around the kill.

use super::shop::{Ledger, Schedule};
use crate::claim::record::least_squares;
use crate::claim::{Values, values};
use std::sync::atomic::Ordering;

/// What became of the requests.
#[derive(Default)]
pub(super) struct Books {
    /// When each request was due and, if ever, done.
    times: Vec<(u64, Option<u64>)>,
    lost: u64,
    waiting: u64,
    doubled: u64,
}

impl Books {
    /// `alive` is whether somebody was left to empty the queue: then what was not done by the end is lost, also where
    /// nobody said that he had taken it.
    pub(super) fn of(ledger: &Ledger, schedule: &Schedule, alive: bool) -> Self {
        let mut books = Self::default();
        for request in schedule.requests().take_while(|request| ledger.due(*request).load(Ordering::Acquire) > 0) {
            let done = ledger.done(request).load(Ordering::Acquire);
            books.times.push((schedule.due(request), (done > 0).then_some(done)));
            let taken = alive || ledger.taken(request).load(Ordering::Acquire) > 0;
            books.lost += u64::from(done == 0 && taken);
            books.waiting += u64::from(done == 0 && !taken);
            books.doubled += ledger.times(request).load(Ordering::Relaxed).saturating_sub(1);
        }
        books
    }

    /// Requests that were due and not done at that time.
    fn backlog(&self, time: u64) -> f64 {
        let open = |(due, done): &&(u64, Option<u64>)| *due <= time && done.is_none_or(|done| done > time);
        self.times.iter().filter(open).count() as f64
    }

    /// The 99th percentile of the latency of what was due in that time, ns. Whoever was never served waited to the end.
    fn p99(&self, due: std::ops::Range<u64>) -> Option<f64> {
        let end = self.times.iter().map(|(due, done)| done.unwrap_or(*due)).max()?;
        let chosen = self.times.iter().filter(|(time, _)| due.contains(time));
        let mut waits: Vec<u64> = chosen.map(|(due, done)| done.unwrap_or(end).saturating_sub(*due)).collect();
        waits.sort_unstable();
        waits.get((waits.len() * 99).div_ceil(100).max(1) - 1).map(|wait| *wait as f64)
    }
}

/// Length of a bin, ms, and how many lie before and after the kill at most.
pub(super) const BIN_MS: i64 = 10;
pub(super) const BINS: std::ops::Range<i64> = -30..60;

pub(super) fn bin(number: i64) -> String {
    format!("p99_ns_at_{}_ms", number * BIN_MS)
}

/// What the books say of the time around the kill.
pub(super) fn account(books: &Books, killed: u64, capacity: f64) -> Values {
    const MS: i64 = 1_000_000;
    let last = books.times.last().map_or(killed, |(due, _)| *due);
    let at = |ms: i64| killed.saturating_add_signed(ms * MS);
    // Two milliseconds for the death to take effect.
    let looks = (2..).step_by(5).map(at).take_while(|time| *time <= last);
    let points: Vec<(f64, f64)> = looks.map(|time| (time as f64 / 1e9, books.backlog(time))).collect();
    let slope = least_squares(&points);
    let mut found = values([
        ("sent", books.times.len() as f64),
        ("lost", books.lost as f64),
        ("waiting", books.waiting as f64),
        ("doubled", books.doubled as f64),
    ]);
    let mut add = |name: &str, value: Option<f64>| found.extend(value.map(|value| (name.to_string(), value)));
    add("backlog_slope_per_s", slope);
    add("slope_share", slope.map(|slope| slope / capacity));
    add("p99_before_ns", books.p99(0..killed));
    add("p99_after_ns", books.p99(at(2)..last));
    for number in BINS {
        add(&bin(number), books.p99(at(number * BIN_MS)..at((number + 1) * BIN_MS).min(last)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_of_an_overload_show_its_slope_and_what_was_lost() {
        const MS: u64 = 1_000_000;
        // From 100 ms on, two come each millisecond and one is done.
        let times = (0..400).map(|i| {
            let due = 100 * MS + i * MS / 2;
            (due, Some(100 * MS + i * MS))
        });
        let books = Books { times: times.collect(), lost: 1, waiting: 0, doubled: 2 };
        let found = account(&books, 100 * MS, 2000.0);
        assert!((found["slope_share"] - 0.5).abs() < 0.01, "{found:?}");
        assert_eq!((found["lost"], found["doubled"], found["sent"]), (1.0, 2.0, 400.0));
        assert!(found[&bin(1)] < found[&bin(10)] && !found.contains_key(&bin(-1)));
    }
}
