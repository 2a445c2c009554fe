//! Reasons for doubt: what each flag means, and what leaving flagged runs out would change.
//!
//! Key decision: this table is the one place where a flag is explained; the tables' footer and `docs/FLAGS.md` print it.
//! A flag is set without a look at the result (but for a rate that was not reached), the run counts, and both summaries exist; which of the two is right is the
//! reader's decision, so the difference between them is named row by row. Rejected: leaving flagged runs out by itself.

use super::rows::Row;
use super::summary::{Group, Summary};
use crate::campaign::runner::FEWEST_ROUNDS;
use std::collections::BTreeMap;

/// Every flag with its meaning.
pub const FLAGS: &[(&str, &str)] = &[
    ("batch-and-stamped-disagree", "batch mean and stamped mean differ by over 25 % and three clock readings"),
    ("clocks-disagree", "a message of an offered load seems to have arrived before it was sent"),
    ("few-messages", "fewer than 1000 messages in a batch shorter than 100 ms"),
    (
        "foreign-cpu",
        "other programs took over 10 % of a CPU for each two CPUs that the parties could use, and at least 30 ms",
    ),
    ("handover-floor-moved", "the bare hand-over took over 10 % more or less after the run than before it"),
    ("harness-cpu", "the program that launches the runs used over 1 % of a CPU meanwhile"),
    ("line-floor-moved", "the cache-line round trip took over 10 % more or less after the run than before it"),
    ("major-faults", "a party waited for a page from a device"),
    ("rate-not-reached", "the offered rate was not reached, so the latencies grow with the length of the run"),
    ("run-delay", "a party on a CPU of its own was ready and had no CPU for over 2 % of the batch"),
    ("steal", "the hypervisor gave CPU time to somebody else"),
    ("swap", "pages came back from swap, of whatever program"),
    ("warm-up-not-steady", "two warm-up windows in a row did not agree within 5 % before the limit"),
];

/// What a flag means.
pub fn meaning(flag: &str) -> &'static str {
    FLAGS.iter().find(|(word, _)| *word == flag).map_or("written by another version", |(_, meaning)| meaning)
}

/// How many runs of these rows carry each flag.
pub fn counts<'a>(rows: impl Iterator<Item = &'a Row>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for flag in rows.flat_map(|row| &row.runs).flat_map(|run| &run.flags) {
        *counts.entry(flag.as_str()).or_insert(0) += 1;
    }
    counts
}

/// What leaving the flagged runs out would change.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// Rows with a result.
    pub rows: usize,
    /// Rows whose median would move by more than the noise of their class.
    pub moved: Vec<String>,
    /// Rows that keep six runs and whose rank would change.
    pub reranked: Vec<String>,
    /// Rows that would keep fewer than six runs, and so have no interval and no rank that means anything.
    pub thin: usize,
}

impl Effect {
    /// Compares a summary of all runs with one of the unflagged ones.
    pub fn of(all: &Summary, unflagged: &Summary) -> Self {
        let mut effect = Self::default();
        let key = |row: &Row| (row.class, row.mechanism.clone(), row.parties);
        let rows = unflagged.groups.iter().flat_map(|group| &group.rows);
        let without: BTreeMap<_, _> = rows.map(|row| (key(row), (row.runs.len(), row.rank))).collect();
        let enough = |runs: usize| runs >= FEWEST_ROUNDS as usize;
        for (group, row) in all.groups.iter().flat_map(|group| group.rows.iter().map(move |row| (group, row))) {
            let Some((left, rank)) = without.get(&key(row)).filter(|_| row.time.is_some()) else { continue };
            effect.rows += 1;
            if moves(row, group) {
                effect.moved.push(row.full_name());
            }
            if enough(*left) && *rank != row.rank {
                effect.reranked.push(row.full_name());
            }
            effect.thin += usize::from(enough(row.runs.len()) && !enough(*left));
        }
        effect
    }
}

fn moves(row: &Row, group: &Group) -> bool {
    let (Some(all), Some(without)) = (row.time, row.unflagged()) else { return false };
    let ratio = without.median / all.median;
    ratio.max(1.0 / ratio) > 1.0 + group.noise
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_prints_this_table() {
        let page = include_str!("../../docs/FLAGS.md");
        for (flag, meaning) in FLAGS {
            let line = format!("| `{flag}` | {meaning} |");
            assert!(page.lines().any(|other| other == line), "docs/FLAGS.md lacks\n{line}");
        }
        let listed = page.lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(listed, FLAGS.len(), "docs/FLAGS.md lists a flag that does not exist");
    }

    #[test]
    fn flags_are_in_order_and_unique() {
        assert!(FLAGS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
