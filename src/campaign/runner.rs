//! The loop of a campaign: rounds of fresh launches, each journalled before the next.
//!
//! Key decision: the loop knows neither clocks nor processes. It is given a launcher, so that scheduling, early ends and
//! interruption are tested in an instant with a launcher that launches nothing.

use super::journal::{Campaign, Journal};
use super::schedule;
use crate::cell::{Outcome, Status};
use crate::error::Result;
use crate::plan::{Plan, RunId, Span};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// What the loop tells whoever shows progress.
pub trait Progress {
    /// A run is about to start.
    fn starts(&mut self, done: usize, total: usize, plan: &Plan);
    /// It ended like this.
    fn ended(&mut self, outcome: &Outcome);
}

/// How a campaign ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Runs journalled.
    pub runs: usize,
    /// Complete rounds.
    pub rounds: u32,
    /// Runs that failed, hung or were not believed.
    pub bad: usize,
    /// It was interrupted.
    pub interrupted: bool,
    /// The budget ended it before all rounds were done.
    pub out_of_time: bool,
}

/// Rounds below which a campaign is not cut short: fewer give no interval.
const FEWEST_ROUNDS: u32 = 6;

/// How long it all may take.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Length of one run.
    pub run: Span,
    /// Length of the campaign, if limited.
    pub total: Option<Duration>,
}

/// Runs the campaign with `launch`, until it is done, interrupted, or (after six rounds) out of time. A cell that failed
/// or hung is not launched again.
///
/// # Errors
/// When the journal cannot be written; what was written before stays.
pub fn run(
    campaign: &Campaign,
    budget: Budget,
    journal: &mut Journal,
    progress: &mut dyn Progress,
    launch: &mut dyn FnMut(&Plan) -> Outcome,
    interrupted: &dyn Fn() -> bool,
) -> Result<Tally> {
    let start = Instant::now();
    let total = campaign.cells.len() * campaign.rounds as usize;
    let mut tally = Tally::default();
    let mut broken = HashSet::new();
    for round in 0..campaign.rounds {
        let late = budget.total.is_some_and(|limit| start.elapsed() > limit);
        if late && round >= FEWEST_ROUNDS {
            tally.out_of_time = true;
            break;
        }
        for (place, index) in schedule::order(campaign.seed, round, campaign.cells.len()).into_iter().enumerate() {
            if broken.contains(&index) {
                continue;
            }
            let order = round * campaign.cells.len() as u32 + place as u32;
            let plan = numbered(&campaign.cells[index], campaign.seed, round, order, budget.run);
            progress.starts(order as usize, total, &plan);
            let outcome = launch(&plan);
            if interrupted() {
                tally.interrupted = true;
                return Ok(tally);
            }
            journal.append(&outcome)?;
            tally.runs += 1;
            match outcome.status {
                Status::Ok => {}
                Status::Invalid => tally.bad += 1,
                Status::Failed | Status::Timeout => {
                    tally.bad += 1;
                    broken.insert(index);
                }
                Status::Unsupported => {
                    broken.insert(index);
                }
            }
            progress.ended(&outcome);
        }
        tally.rounds += 1;
    }
    Ok(tally)
}

fn numbered(cell: &Plan, seed: u64, round: u32, order: u32, span: Span) -> Plan {
    let label = cell.run.label.clone();
    let run = RunId { round, order, seed, started: crate::host::timestamp(), label };
    Plan { span, run, ..cell.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use std::cell::Cell;

    struct Silent;
    impl Progress for Silent {
        fn starts(&mut self, _: usize, _: usize, _: &Plan) {}
        fn ended(&mut self, _: &Outcome) {}
    }

    fn cell(size: usize) -> Plan {
        Plan { mechanism: "pipe".into(), size, ..Plan::default() }
    }

    /// Runs a campaign of three cells over `rounds` rounds with a launcher that launches nothing.
    fn play(rounds: u32, status: impl Fn(&Plan) -> Status, stop_after: usize) -> (Tally, Vec<Outcome>) {
        let dir = tempfile::tempdir().unwrap();
        let campaign = Campaign { seed: 5, rounds, cells: vec![cell(1), cell(2), cell(3)], unsupported: vec![] };
        let mut journal = Journal::create(&dir.path().join("r"), &Host::default(), &campaign).unwrap();
        let launched = Cell::new(0);
        let mut launch = |plan: &Plan| {
            launched.set(launched.get() + 1);
            Outcome::empty(plan, status(plan))
        };
        let interrupted = || launched.get() > stop_after;
        let budget = Budget { run: Span::Millis(1), total: None };
        let tally = run(&campaign, budget, &mut journal, &mut Silent, &mut launch, &interrupted).unwrap();
        (tally, super::super::journal::read(journal.dir()).unwrap().runs)
    }

    #[test]
    fn every_cell_runs_once_per_round_and_is_numbered() {
        let (tally, runs) = play(4, |_| Status::Ok, 1000);
        assert_eq!((tally.runs, tally.rounds, tally.bad), (12, 4, 0));
        for round in 0..4 {
            let mut sizes: Vec<_> = runs.iter().filter(|r| r.run.round == round).map(|r| r.size).collect();
            sizes.sort_unstable();
            assert_eq!(sizes, [1, 2, 3]);
        }
        assert!(runs.iter().enumerate().all(|(i, r)| r.run.order as usize == i));
    }

    #[test]
    fn a_cell_that_fails_is_kept_once_and_the_others_go_on() {
        let (tally, runs) = play(4, |plan| if plan.size == 2 { Status::Failed } else { Status::Ok }, 1000);
        assert_eq!(tally.bad, 1);
        assert_eq!(runs.iter().filter(|r| r.size == 2).count(), 1);
        assert_eq!(runs.len(), 9);
    }

    #[test]
    fn an_interrupted_campaign_keeps_what_was_finished() {
        let (tally, runs) = play(4, |_| Status::Ok, 5);
        assert!(tally.interrupted);
        assert_eq!(runs.len(), 5);
    }
}
