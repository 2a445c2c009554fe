//! The loop of a campaign: rounds of fresh launches, each journalled before the next.
//!
//! Key decision: the loop knows neither clocks nor processes. It is given a launcher, so that scheduling, early ends and
//! interruption are tested in an instant with a launcher that launches nothing.
//!
//! A continued campaign goes through the same loop from the beginning; positions that the journal holds are replayed
//! instead of launched, so that order, dropped cells and counts come out as if nothing had happened. Rejected: storing
//! where to go on, which is a second truth beside the journal.
//!
//! # Optional stopping
//! After the complete blocks, rounds of a reduced set may follow, as long as somebody names cells for them. That choice
//! looks at the width of intervals and never at who wins ([`crate::report::headline`]), and the budget looks at the clock.

use super::journal::{Campaign, Done, Journal};
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
    /// Runs in the journal.
    pub runs: usize,
    /// Of these, launched now and not in an earlier sitting.
    pub fresh: usize,
    /// Runs that the campaign consists of, as far as is known.
    pub total: usize,
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
pub const FEWEST_ROUNDS: u32 = 6;

/// How long it all may take.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Length of one run.
    pub run: Span,
    /// Length of the campaign, if limited.
    pub total: Option<Duration>,
}

/// A campaign and everybody who has a part in it.
pub struct Runner<'a> {
    /// What to run.
    pub campaign: &'a Campaign,
    /// How long it may take.
    pub budget: Budget,
    /// What earlier sittings finished.
    pub done: Done,
    /// Who shows progress.
    pub progress: &'a mut dyn Progress,
    /// Runs one cell.
    pub launch: &'a mut dyn FnMut(&Plan) -> Outcome,
    /// Names the cells of a round after the complete blocks; none end the campaign.
    pub extend: &'a mut dyn FnMut(u32) -> Result<Vec<usize>>,
    /// Whether somebody asked to stop.
    pub interrupted: &'a dyn Fn() -> bool,
}

/// Where the loop stands.
struct Standing {
    start: Instant,
    tally: Tally,
    /// Cells that failed or hung and are not launched again.
    broken: HashSet<usize>,
}

impl Runner<'_> {
    /// Runs the campaign until it is done, interrupted, or (after six rounds) out of time. A cell that failed or hung is
    /// not launched again.
    ///
    /// # Errors
    /// When the journal cannot be written; what was written before stays.
    pub fn run(&mut self, journal: &mut Journal) -> Result<Tally> {
        let all = self.campaign.cells.len();
        let most = self.campaign.terms.map_or(0, |terms| terms.most_rounds).max(self.campaign.rounds);
        let tally = Tally { total: all * self.campaign.rounds as usize, ..Tally::default() };
        let mut standing = Standing { start: Instant::now(), tally, broken: HashSet::new() };
        for round in 0..most {
            let extra = round >= self.campaign.rounds;
            let cells = if extra { (self.extend)(round)? } else { (0..all).collect() };
            let order: Vec<(u32, usize)> = schedule::order(self.campaign.seed, round, cells.len())
                .into_iter()
                .enumerate()
                .map(|(place, index)| (round * all as u32 + place as u32, cells[index]))
                .collect();
            if order.is_empty() {
                break;
            }
            if round >= FEWEST_ROUNDS && self.too_late(&standing, &order, extra) {
                standing.tally.out_of_time = true;
                break;
            }
            if extra {
                standing.tally.total += order.len();
            }
            self.round(&order, round, journal, &mut standing)?;
            if standing.tally.interrupted {
                break;
            }
            standing.tally.rounds += 1;
        }
        Ok(standing.tally)
    }

    fn round(&mut self, order: &[(u32, usize)], round: u32, journal: &mut Journal, at: &mut Standing) -> Result<()> {
        for (position, index) in order {
            if at.broken.contains(index) {
                continue;
            }
            let status = match self.done.runs.get(position) {
                Some(status) => *status,
                None => {
                    let plan =
                        numbered(&self.campaign.cells[*index], self.campaign.seed, round, *position, self.budget.run);
                    self.progress.starts(at.tally.runs, at.tally.total, &plan);
                    let outcome = (self.launch)(&plan);
                    if (self.interrupted)() {
                        at.tally.interrupted = true;
                        return Ok(());
                    }
                    journal.append(&outcome)?;
                    at.tally.fresh += 1;
                    self.progress.ended(&outcome);
                    outcome.status
                }
            };
            at.tally.runs += 1;
            at.tally.bad += usize::from(matches!(status, Status::Invalid | Status::Failed | Status::Timeout));
            if matches!(status, Status::Failed | Status::Timeout | Status::Unsupported) {
                at.broken.insert(*index);
            }
        }
        Ok(())
    }

    /// Whether the budget is better kept without this round. A complete block may end a little late, by half of its
    /// length at most; an extension may not. A round that has begun is always finished.
    fn too_late(&self, at: &Standing, order: &[(u32, usize)], extra: bool) -> bool {
        let Some(limit) = self.budget.total else { return false };
        if order.iter().any(|(position, _)| self.done.runs.contains_key(position)) {
            return false;
        }
        let spent = self.done.spent + at.start.elapsed();
        let runs = order.iter().filter(|(_, index)| !at.broken.contains(index)).count();
        let next = spent.div_f64(at.tally.runs.max(1) as f64).mul_f64(runs as f64);
        spent + if extra { next } else { next / 2 } > limit
    }
}

fn numbered(cell: &Plan, seed: u64, round: u32, order: u32, span: Span) -> Plan {
    let label = cell.run.label.clone();
    let run = RunId { round, order, seed, started: crate::machine::timestamp(), label };
    Plan { span, run, ..cell.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::journal::{Terms, read};
    use crate::campaign::matrix::Profile;
    use crate::host::Host;
    use std::cell::Cell;
    use std::path::Path;

    struct Silent;
    impl Progress for Silent {
        fn starts(&mut self, _: usize, _: usize, _: &Plan) {}
        fn ended(&mut self, _: &Outcome) {}
    }

    fn cell(size: usize) -> Plan {
        Plan { mechanism: "pipe".into(), size, ..Plan::default() }
    }

    fn campaign(rounds: u32, most_rounds: u32) -> Campaign {
        let terms = Terms { profile: Profile::Full, run: Span::Millis(1), budget_ms: 1000, most_rounds };
        let cells = vec![cell(1), cell(2), cell(3)];
        Campaign { seed: 5, rounds, terms: Some(terms), cells, unsupported: vec![] }
    }

    /// What a test decides about a sitting with a launcher that launches nothing.
    struct Script<'a> {
        status: &'a dyn Fn(&Plan) -> Status,
        stop_after: usize,
        extend: &'a dyn Fn(u32) -> Vec<usize>,
        total: Option<Duration>,
    }

    const PLAIN: Script<'static> =
        Script { status: &|_| Status::Ok, stop_after: usize::MAX, extend: &|_| vec![], total: None };

    fn sit(campaign: &Campaign, journal: &mut Journal, done: Done, script: &Script) -> Tally {
        let launched = Cell::new(0);
        let mut launch = |plan: &Plan| {
            launched.set(launched.get() + 1);
            Outcome { messages: 1, elapsed_ns: 1, ..Outcome::empty(plan, (script.status)(plan)) }
        };
        let mut runner = Runner {
            campaign,
            budget: Budget { run: Span::Millis(1), total: script.total },
            done,
            progress: &mut Silent,
            launch: &mut launch,
            extend: &mut |round| Ok((script.extend)(round)),
            interrupted: &|| launched.get() > script.stop_after,
        };
        runner.run(journal).unwrap()
    }

    fn runs(dir: &Path) -> Vec<Outcome> {
        let mut runs = Vec::new();
        read(dir, &mut |run| runs.push(run)).unwrap();
        runs
    }

    /// Plays a whole campaign in as many sittings as it takes.
    fn play_in_sittings(campaign: &Campaign, script: &Script) -> (Tally, Vec<Outcome>) {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("r");
        let mut journal = Journal::create(&dir, &Host::default(), campaign).unwrap();
        let mut tally = sit(campaign, &mut journal, Done::default(), script);
        while tally.interrupted && script.stop_after > 0 {
            drop(journal);
            let saved;
            let done;
            (journal, saved, done) = Journal::resume(&dir, &Host::default()).unwrap();
            tally = sit(&saved.campaign, &mut journal, done, script);
        }
        (tally, runs(&dir))
    }

    /// A campaign of three cells over `rounds` rounds that nobody continues.
    fn play(rounds: u32, status: impl Fn(&Plan) -> Status, stop_after: usize) -> (Tally, Vec<Outcome>) {
        let dir = tempfile::tempdir().unwrap();
        let campaign = campaign(rounds, rounds);
        let mut journal = Journal::create(&dir.path().join("r"), &Host::default(), &campaign).unwrap();
        let tally = sit(&campaign, &mut journal, Done::default(), &Script { status: &status, stop_after, ..PLAIN });
        (tally, runs(journal.dir()))
    }

    fn positions(runs: &[Outcome]) -> Vec<(u32, u32, usize)> {
        runs.iter().map(|run| (run.run.round, run.run.order, run.size)).collect()
    }

    #[test]
    fn a_campaign_in_sittings_runs_what_an_unbroken_one_runs_in_the_same_order() {
        let campaign = campaign(4, 6);
        let extend = |round: u32| if round == 4 { vec![0, 2] } else { vec![1] };
        let (whole, unbroken) = play_in_sittings(&campaign, &Script { extend: &extend, ..PLAIN });
        for stop_after in 1..6 {
            let (tally, runs) = play_in_sittings(&campaign, &Script { extend: &extend, stop_after, ..PLAIN });
            assert_eq!(positions(&runs), positions(&unbroken), "{stop_after} launches a sitting");
            assert_eq!((tally.runs, tally.rounds, tally.bad), (whole.runs, whole.rounds, whole.bad));
        }
        assert_eq!(unbroken.len(), 4 * 3 + 2 + 1);
    }

    #[test]
    fn a_cell_that_was_dropped_stays_dropped_when_the_campaign_goes_on() {
        let status = |plan: &Plan| if plan.size == 2 { Status::Timeout } else { Status::Ok };
        let (tally, runs) = play_in_sittings(&campaign(5, 5), &Script { status: &status, stop_after: 2, ..PLAIN });
        assert_eq!(runs.iter().filter(|run| run.size == 2).count(), 1);
        assert_eq!((tally.bad, tally.runs), (1, 11));
    }

    #[test]
    fn a_finished_campaign_has_nothing_left_to_launch() {
        let dir = tempfile::tempdir().unwrap();
        let (dir, campaign) = (dir.path().join("r"), campaign(4, 4));
        let mut journal = Journal::create(&dir, &Host::default(), &campaign).unwrap();
        sit(&campaign, &mut journal, Done::default(), &PLAIN);
        drop(journal);
        let (mut journal, _, done) = Journal::resume(&dir, &Host::default()).unwrap();
        let never = |_: &Plan| -> Status { unreachable!("nothing is left") };
        let tally = sit(&campaign, &mut journal, done, &Script { status: &never, ..PLAIN });
        assert_eq!((tally.fresh, tally.runs, tally.rounds), (0, 12, 4));
        assert!(!dir.join("resumed.jsonl").exists());
    }

    #[test]
    fn the_budget_ends_a_campaign_after_six_rounds_and_before_it_is_overrun() {
        let dir = tempfile::tempdir().unwrap();
        let campaign = campaign(20, 20);
        let mut journal = Journal::create(&dir.path().join("a"), &Host::default(), &campaign).unwrap();
        let tally = sit(&campaign, &mut journal, Done::default(), &Script { total: Some(Duration::ZERO), ..PLAIN });
        assert_eq!((tally.rounds, tally.out_of_time), (6, true));
        // Earlier sittings count: ten minutes for six rounds leave no room for a seventh in eleven.
        let spent = |total: u64| {
            let runs = (0..18).map(|position| (position, Status::Ok)).collect();
            let mut journal =
                Journal::create(&dir.path().join(total.to_string()), &Host::default(), &campaign).unwrap();
            let done = Done { runs, spent: Duration::from_secs(600) };
            sit(&campaign, &mut journal, done, &Script { total: Some(Duration::from_secs(total)), ..PLAIN }).fresh
        };
        assert_eq!(spent(640), 0, "half of the next round would lie beyond the budget");
        assert!(spent(660) > 0);
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
