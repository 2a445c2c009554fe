//! Which cells a full campaign runs again after its complete blocks.
//!
//! Key decision: a *headline row* is one that a reader quotes: of two parties, and first in its class or tied with the
//! first. Those whose interval is still wide run on, round by round, and so does the null pair of their class, because
//! the noise that a ratio is held against must stay as well known as the ratio. The rows are chosen once, from the
//! complete blocks; afterwards only the width of their intervals counts, never who is ahead, so a row cannot be measured
//! until it wins. All of it is a pure function of the runs of earlier rounds: a continued campaign decides alike.
//! Rejected: extending every row (the budget would go to rows that nobody quotes).

use super::rows::{Gathered, Key, Row, Which, key_of};
use super::summary::Summary;
use crate::campaign::journal::{Campaign, read};
use crate::campaign::matrix::NULL_LABEL;
use crate::cell::{Outcome, Status};
use crate::error::Result;
use crate::plan::Parties;
use std::collections::HashSet;
use std::path::Path;

/// Largest width of an interval, as a share of its median, that is narrow enough.
pub const NARROW: f64 = 0.05;

/// The cells of the campaign in `dir` that `round`, one after the complete blocks, is to run; none when every headline row
/// is narrow enough.
///
/// # Errors
/// As [`read`].
pub fn wide_cells(dir: &Path, campaign: &Campaign, round: u32) -> Result<Vec<usize>> {
    let (mut blocks, mut before) = (Gathered::default(), Gathered::default());
    read(dir, &mut |run| {
        if run.run.round < campaign.rounds {
            blocks.add(run.clone());
        }
        if run.run.round < round {
            before.add(run);
        }
    })?;
    Ok(choose(&blocks, &before, campaign))
}

fn choose(blocks: &Gathered, before: &Gathered, campaign: &Campaign) -> Vec<usize> {
    let key = |row: &Row| (row.class, row.mechanism.clone(), row.parties, row.label.clone());
    let best = |row: &&Row| row.rank == Some(1) && row.parties != Parties::Solo;
    let headlines: HashSet<Key> = Summary::of(blocks).rows().filter(best).map(key).collect();
    let goes_on = |row: &Row| wide(row) && !dropped(row);
    let mut keys: HashSet<Key> =
        before.rows(Which::All).filter(goes_on).map(|row| key(&row)).filter(|key| headlines.contains(key)).collect();
    let cells: Vec<Key> = campaign.cells.iter().map(|plan| key_of(&Outcome::empty(plan, Status::Ok))).collect();
    let classes: HashSet<_> = keys.iter().map(|(class, ..)| *class).collect();
    for (class, mechanism, parties, label) in &cells {
        if label.as_deref() == Some(NULL_LABEL) && classes.contains(class) {
            keys.extend([label, &None].map(|label| (*class, mechanism.clone(), *parties, label.clone())));
        }
    }
    (0..cells.len()).filter(|index| keys.contains(&cells[*index])).collect()
}

/// Whether a row has an interval that is wider than it should be.
fn wide(row: &Row) -> bool {
    row.time.is_some_and(|time| time.interval.is_some_and(|(low, high)| high - low > NARROW * time.median))
}

/// Whether the campaign gave the cell up: one that failed or hung is not launched again.
fn dropped(row: &Row) -> bool {
    row.bad.iter().any(|bad| bad.status != Status::Invalid)
}

#[cfg(test)]
mod tests {
    use super::super::summary::tests::run;
    use super::*;
    use crate::plan::{Plan, RunId};

    /// A campaign of a fast and a slow mechanism, a thread twin, a control and the null pair of the slow one.
    fn campaign() -> Campaign {
        let cell = |(mechanism, parties, label): (&str, Parties, Option<&str>)| Plan {
            mechanism: mechanism.into(),
            parties,
            run: RunId { label: label.map(Into::into), ..RunId::default() },
            ..Plan::default()
        };
        Campaign { rounds: 6, cells: CELLS.map(cell).to_vec(), ..Campaign::default() }
    }

    const CELLS: [(&str, Parties, Option<&str>); 5] = [
        ("unix-stream", Parties::Process, None),
        ("pipe", Parties::Process, None),
        ("shm-ring", Parties::Process, None),
        ("null", Parties::Solo, None),
        ("unix-stream", Parties::Process, Some(NULL_LABEL)),
    ];

    /// Six rounds in which each cell takes its time, more or less by its spread.
    fn runs(times: [(f64, f64); 5]) -> Gathered {
        let one = |(round, sign): (u32, f64)| {
            let each = CELLS.iter().zip(times);
            each.map(move |((mechanism, parties, label), (ns, spread))| {
                run(mechanism, *parties, round, ns * (1.0 + sign * spread), *label)
            })
        };
        (0..6).map(|round| (round, f64::from(round % 3) - 1.0)).flat_map(one).collect()
    }

    #[test]
    fn a_wide_leader_runs_on_with_the_null_pair_of_its_class() {
        let runs = runs([(9000.0, 0.1), (5000.0, 0.001), (1000.0, 0.04), (10.0, 0.2), (9000.0, 0.1)]);
        assert_eq!(choose(&runs, &runs, &campaign()), [0, 2, 4]);
    }

    #[test]
    fn narrow_leaders_end_the_campaign_however_wide_the_others_are() {
        let runs = runs([(9000.0, 0.1), (5000.0, 0.1), (1000.0, 0.01), (10.0, 0.2), (9000.0, 0.1)]);
        assert!(choose(&runs, &runs, &campaign()).is_empty());
    }

    #[test]
    fn later_rounds_look_at_widths_and_never_choose_another_leader() {
        let blocks = runs([(9000.0, 0.0), (5000.0, 0.0), (1000.0, 0.1), (10.0, 0.0), (9000.0, 0.0)]);
        let now = runs([(9000.0, 0.0), (500.0, 0.1), (1000.0, 0.0), (10.0, 0.0), (9000.0, 0.0)]);
        assert!(choose(&blocks, &now, &campaign()).is_empty(), "pipe leads now, but was no headline");
    }
}
