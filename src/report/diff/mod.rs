//! Two results folders held against each other: which rows are slower, and whether that can be said at all.
//!
//! - [`surroundings`]: what differs around the numbers
//! - [`page`]: for people, on a terminal or in markdown; and the CSV file
//!
//! Key decision: runs of two folders are two *independent* samples. A round of one and the round of the same number of
//! the other were hours apart and have nothing in common, so pairing them would only pretend that a drift cancels. They
//! are paired exactly where the rounds of both alternate in time on one machine (or the folders are copies). A difference is
//! what is one by the interval *and* lies outside the noise that either folder's null pair shows. Where the bare hand-over
//! or cache line itself took another time, the machine changed: each row is then also compared in multiples of the floor
//! that was measured in its own runs, and one that is shown to be only as much slower as its floor is not called slower.
//! Rejected: correcting for the number of rows (six runs against six cannot reach such a p-value at all); instead the
//! number that chance alone would put outside is said.

pub mod page;
pub mod surroundings;

use super::Report;
use super::choice::Choice;
use super::rows::{Class, Row, Run, Which};
use super::summary::apart;
use crate::campaign::runner::FEWEST_ROUNDS;
use crate::cell::Status;
use crate::error::Result;
use crate::machine::moment;
use crate::measure::limits::Limits;
use crate::measure::shift::{Shift, Shifts};
use crate::measure::stats::{Estimate, interval_rank};
use crate::plan::{Parties, Workload};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;
use surroundings::Surroundings;

/// A results folder that is to be compared.
#[derive(Debug)]
pub struct Side {
    /// Its rows.
    pub report: Report,
    /// What the machine itself cost, where that was measured and can be read.
    pub limits: Option<Limits>,
    /// When each round began its first and its last run; nothing where a run does not say when.
    rounds: Option<BTreeMap<u32, (SystemTime, SystemTime)>>,
}

impl Side {
    /// Reads a results folder.
    ///
    /// # Errors
    /// As [`Report::load`].
    pub fn load(dir: &Path) -> Result<Self> {
        let mut rounds = Some(BTreeMap::new());
        let report = Report::load_with(dir, &mut |run| match (moment(&run.run.started), &mut rounds) {
            (Some(at), Some(rounds)) => {
                let span = rounds.entry(run.run.round).or_insert((at, at));
                *span = (span.0.min(at), span.1.max(at));
            }
            _ => rounds = None,
        })?;
        // What is wrong with the file is among the report's remarks.
        let limits = Limits::read(dir).unwrap_or(None);
        Ok(Self { report, limits, rounds })
    }
}

/// Whether the rounds of two folders ran in turn, so that a round of both saw one machine.
fn in_turn(a: &Side, b: &Side) -> bool {
    let (Some(first), Some(second)) = (&a.rounds, &b.rounds) else { return false };
    let host = |side: &Side| (side.report.saved.host.slug.clone(), side.report.saved.host.kernel.clone());
    let both: Vec<_> = first
        .iter()
        .filter_map(|(round, (from, to))| second.get(round).map(|other| (*from.min(&other.0), *to.max(&other.1))))
        .collect();
    host(a) == host(b)
        && both.len() >= FEWEST_ROUNDS as usize
        && both.windows(2).all(|rounds| rounds[0].1 <= rounds[1].0)
}

/// What a row's two figures say about each other.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Inside the interval or the noise.
    NoDifference,
    /// The second folder's row takes longer.
    Slower,
    /// It takes less time.
    Faster,
    /// It takes longer, and not longer than its floor does.
    SlowerWithFloor,
    /// It takes less time, and not less than its floor does.
    FasterWithFloor,
    /// Nothing can be said, for this reason.
    Unknown(String),
}

/// One row that both folders have.
#[derive(Debug, Clone, Serialize)]
pub struct Compared {
    /// Its mechanism, and what was changed about it.
    pub mechanism: String,
    /// Processes, threads or one party.
    pub parties: Parties,
    /// Whether it is a control, which tells of the machine and the harness and is never counted.
    pub control: bool,
    /// Time per message or round trip in each folder, ns.
    pub ns: [Option<Estimate>; 2],
    /// Runs that count in each.
    pub n: [usize; 2],
    /// The second folder's time as a multiple of the first one's.
    pub ratio: Option<Estimate>,
    /// The same of the times as multiples of the floor next to them; where that floor differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor_ratio: Option<Estimate>,
    /// Probability that the interval misses 1 although nothing changed.
    pub miss: f64,
    /// What follows.
    pub verdict: Verdict,
    /// Whether it is slower by more than was allowed.
    pub fails: bool,
    /// Whether it had a time and now fails.
    pub lost: bool,
}

/// How the floor of a class differs.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Floor {
    /// What it is.
    pub what: &'static str,
    /// Median of each folder, ns.
    pub ns: [f64; 2],
    /// The second as a multiple of the first.
    pub ratio: Estimate,
    /// Whether that is another machine, or the same in another state.
    pub moved: bool,
}

/// A class that both folders have.
#[derive(Debug, Serialize)]
pub struct ClassDiff {
    /// What its rows have in common.
    #[serde(serialize_with = "as_text")]
    pub class: Class,
    /// How far from one a ratio must be to mean something; absent where that is unknown.
    pub noise: Option<f64>,
    /// The floor beside its runs, where both have one.
    pub floor: Option<Floor>,
    /// Its rows, in the order of the second folder.
    pub rows: Vec<Compared>,
}

fn as_text<S: serde::Serializer>(class: &Class, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(class)
}

/// What comparing many rows at once means.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct Tally {
    /// Rows of which something can be said, controls excepted.
    pub compared: usize,
    /// How many of their intervals would miss 1 if nothing had changed, before the noise is asked.
    pub by_chance: f64,
    /// Rows that are slower.
    pub slower: usize,
    /// Rows that are faster.
    pub faster: usize,
    /// Rows that moved with their floor only.
    pub with_floor: usize,
    /// Rows of which nothing can be said.
    pub unknown: usize,
}

/// Two results folders, held against each other.
#[derive(Debug, Serialize)]
pub struct Diff {
    /// Whether runs of a round are pairs.
    pub paired: bool,
    /// What differs around the numbers.
    pub surroundings: Surroundings,
    /// Classes that both have.
    pub classes: Vec<ClassDiff>,
    /// Rows that only one of them has.
    pub only: [Vec<String>; 2],
    /// The sum.
    pub tally: Tally,
    /// The most that a row may be slower, as a share; absent where nothing was demanded.
    pub fail_above: Option<f64>,
    /// Rows that are slower than that.
    pub failed: Vec<String>,
    /// Rows that have a time in the first folder and failed in the second.
    pub lost: Vec<String>,
    /// What is wrong with the folders.
    pub remarks: Vec<String>,
}

/// Change of a floor that is always called one: that at which a run is flagged for it. A smaller one counts where rows are
/// judged more sharply.
const FLOOR_MOVED: f64 = 0.1;

impl Diff {
    /// Compares what was chosen of two folders.
    pub fn of(a: &Side, b: &Side, which: Which, choice: &Choice, fail_above: Option<f64>) -> Self {
        let paired = in_turn(a, b);
        let (first, second) = (a.report.summary(which), b.report.summary(which));
        let mut shifts = Shifts::default();
        let mut classes = Vec::new();
        let mut only = [vec![], vec![]];
        let same = |row: &Row, other: &Row| row.mechanism == other.mechanism && row.parties == other.parties;
        for group in &second.groups {
            let there = first.groups.iter().find(|other| other.class == group.class);
            let rows: Vec<_> = group.rows.iter().filter(|row| choice.row(row)).collect();
            let twin = |row: &Row| there.and_then(|there| there.rows.iter().find(|other| same(row, other)));
            only[1].extend(rows.iter().filter(|row| twin(row).is_none()).map(|row| row.full_name()));
            let pairs: Vec<(&Row, &Row)> = rows.iter().filter_map(|row| Some((twin(row)?, *row))).collect();
            if pairs.is_empty() {
                continue;
            }
            let noise = there.map_or(f64::INFINITY, |there| there.noise.max(group.noise));
            let least = FLOOR_MOVED.min(noise).min(fail_above.unwrap_or(FLOOR_MOVED));
            let floor = floor(&pairs, least, &mut shifts);
            let moved = floor.is_some_and(|floor| floor.moved);
            let mut judge = Judge { paired, noise, moved, fail_above, shifts: &mut shifts };
            let rows = pairs.iter().map(|(a, b)| judge.compare(a, b)).collect();
            classes.push(ClassDiff { class: group.class, noise: Some(noise).filter(|n| n.is_finite()), floor, rows });
        }
        let there = |row: &Row| second.rows().any(|other| other.class == row.class && same(row, other));
        only[0].extend(first.rows().filter(|row| choice.row(row) && !there(row)).map(Row::full_name));
        let tally = Tally::of(&classes);
        let named = |of: fn(&Compared) -> bool| {
            let names = |class: &ClassDiff| -> Vec<String> {
                class.rows.iter().filter(|row| of(row)).map(|row| row.name(&class.class)).collect()
            };
            classes.iter().flat_map(names).collect::<Vec<_>>()
        };
        let (failed, lost) = (named(|row| row.fails), named(|row| row.lost));
        let remarks = [("A", a), ("B", b)]
            .into_iter()
            .flat_map(|(name, side)| side.report.saved.remarks.iter().map(move |remark| format!("{name}: {remark}")));
        Self {
            paired,
            surroundings: Surroundings::of(a, b),
            classes,
            only,
            tally,
            fail_above,
            failed,
            lost,
            remarks: remarks.collect(),
        }
    }
}

impl Compared {
    /// Its name with that of its class.
    pub fn name(&self, class: &Class) -> String {
        let parties = if self.control { String::new() } else { format!(" ({})", self.parties) };
        format!("{}{parties}, {class}", self.mechanism)
    }
}

impl Tally {
    fn of(classes: &[ClassDiff]) -> Self {
        let mut tally = Self::default();
        for row in classes.iter().flat_map(|class| &class.rows).filter(|row| !row.control) {
            match row.verdict {
                Verdict::Unknown(_) => {
                    tally.unknown += 1;
                    continue;
                }
                Verdict::Slower => tally.slower += 1,
                Verdict::Faster => tally.faster += 1,
                Verdict::SlowerWithFloor | Verdict::FasterWithFloor => tally.with_floor += 1,
                Verdict::NoDifference => {}
            }
            tally.compared += 1;
            tally.by_chance += row.miss;
        }
        tally
    }
}

/// How the rows of a class are compared.
struct Judge<'a> {
    paired: bool,
    noise: f64,
    moved: bool,
    fail_above: Option<f64>,
    shifts: &'a mut Shifts,
}

/// A figure of each round.
type Rounds = BTreeMap<u32, f64>;

impl Judge<'_> {
    /// The second as a multiple of the first: of the same rounds where they are pairs and enough, else of two samples.
    fn shift(&mut self, a: &Rounds, b: &Rounds) -> Option<Shift> {
        let both = b.iter().filter_map(|(round, b)| Some((*b, *a.get(round)?)));
        let of_rounds = Estimate::of_ratio(both).filter(|ratio| self.paired && ratio.interval.is_some());
        let pairs =
            of_rounds.map(|ratio| Shift { ratio, miss: interval_rank(ratio.n).map_or(0.0, |k| miss(ratio.n, k)) });
        let values = |rounds: &Rounds| rounds.values().copied().collect::<Vec<_>>();
        pairs.or_else(|| self.shifts.of(&values(a), &values(b)))
    }

    fn compare(&mut self, a: &Row, b: &Row) -> Compared {
        let times = |row: &Row| row.runs.iter().filter_map(|run| Some((run.round, run.ns?))).collect::<Rounds>();
        let shift = self.shift(&times(a), &times(b));
        let (ratio, miss) = (shift.map(|shift| shift.ratio), shift.map_or(0.0, |shift| shift.miss));
        let control = b.is_control();
        let in_floors = |row: &Row| -> Rounds {
            row.runs.iter().filter_map(|run| Some((run.round, run.ns? / beside(run, row)?))).collect()
        };
        let floor_ratio = if self.moved && !control {
            self.shift(&in_floors(a), &in_floors(b)).map(|shift| shift.ratio)
        } else {
            None
        };
        let verdict = self.verdict(ratio, floor_ratio, [a, b]);
        let beyond = |limit: f64| ratio.and_then(|ratio| ratio.interval).is_some_and(|(low, _)| low > 1.0 + limit);
        let fails = !control && verdict == Verdict::Slower && self.fail_above.is_some_and(beyond);
        // What this machine cannot do is no fault of what is compared.
        let failed = b.bad.iter().any(|run| run.status != Status::Unsupported);
        Compared {
            mechanism: b.variant(),
            parties: b.parties,
            control,
            ns: [a.time, b.time],
            n: [a.runs.len(), b.runs.len()],
            ratio,
            floor_ratio,
            miss,
            verdict,
            fails,
            lost: a.time.is_some() && b.time.is_none() && failed,
        }
    }

    fn verdict(&self, ratio: Option<Estimate>, in_floors: Option<Estimate>, rows: [&Row; 2]) -> Verdict {
        let unknown = |why: &str| Verdict::Unknown(why.into());
        let without = rows.iter().zip(["A", "B"]).find(|(row, _)| row.time.is_none());
        match (without, ratio) {
            (Some((_, name)), _) => return unknown(&format!("no result in {name}")),
            (_, None) => return unknown("no round in common"),
            (_, Some(Estimate { interval: None, .. })) => return unknown("too few runs for an interval"),
            _ if !self.noise.is_finite() => return unknown("the noise of the class is unknown"),
            _ if !rows[1].class.is_timed() => return unknown("only its rate could be compared"),
            _ => {}
        }
        let longer =
            |ratio: Option<Estimate>| apart(ratio, self.noise).then(|| ratio.is_some_and(|ratio| ratio.median > 1.0));
        // Of multiples that cannot be told from one it is not shown that they are one.
        let most = 1.0 + self.noise.max(self.fail_above.unwrap_or(FLOOR_MOVED));
        let steady = |(low, high): (f64, f64)| low >= 1.0 / most && high <= most;
        let undecided = || unknown("the floor moved, and multiples of it do not decide");
        match (longer(ratio), in_floors) {
            (None, _) => Verdict::NoDifference,
            (Some(true), Some(_)) if longer(in_floors) == Some(true) => Verdict::Slower,
            (Some(false), Some(_)) if longer(in_floors) == Some(false) => Verdict::Faster,
            (Some(true), Some(multiples)) if multiples.interval.is_some_and(steady) => Verdict::SlowerWithFloor,
            (Some(false), Some(multiples)) if multiples.interval.is_some_and(steady) => Verdict::FasterWithFloor,
            (Some(_), Some(_)) => undecided(),
            (Some(true), None) => Verdict::Slower,
            (Some(false), None) => Verdict::Faster,
        }
    }
}

/// Probability that the interval between the k-th smallest and largest of n values misses the median.
fn miss(n: usize, k: usize) -> f64 {
    let mut p = 0.5_f64.powi(i32::try_from(n).unwrap_or(i32::MAX));
    let mut below = 0.0;
    for i in 0..k {
        below += p;
        p *= (n - i) as f64 / (i + 1) as f64;
    }
    2.0 * below
}

/// The column with the floor that the rows of a workload stand on: a round trip is a hand-over there and back.
fn floor_key(workload: Workload) -> &'static str {
    if workload == Workload::PingPong { "handover_rtt_ns" } else { "line_rtt_ns" }
}

/// The floor that was measured beside this run.
fn beside(run: &Run, row: &Row) -> Option<f64> {
    run.fact(floor_key(row.class.workload)).filter(|ns| *ns > 0.0)
}

/// How the floor of these rows differs: of each round the median over the rows, because rows of a round saw one machine
/// and are no samples of their own.
fn floor(pairs: &[(&Row, &Row)], least: f64, shifts: &mut Shifts) -> Option<Floor> {
    let of = |rows: &mut dyn Iterator<Item = &Row>| -> Vec<f64> {
        let mut rounds = BTreeMap::<u32, Vec<f64>>::new();
        for row in rows {
            for run in &row.runs {
                rounds.entry(run.round).or_default().extend(beside(run, row));
            }
        }
        rounds.into_values().filter_map(|round| Some(Estimate::of(round)?.median)).collect()
    };
    let (a, b) = (of(&mut pairs.iter().map(|pair| pair.0)), of(&mut pairs.iter().map(|pair| pair.1)));
    let ratio = shifts.of(&a, &b)?.ratio;
    let ns = [Estimate::of(a)?.median, Estimate::of(b)?.median];
    let what = match pairs.first()?.1.class.workload {
        Workload::PingPong => "bare hand-over, round trip",
        _ => "cache line, round trip",
    };
    Some(Floor { what, ns, ratio, moved: apart(Some(ratio), least) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paired_interval_misses_as_often_as_the_binomial_says() {
        assert!((miss(6, 1) - 2.0 / 64.0).abs() < 1e-12);
        // 2 (1 + 10) / 1024.
        assert!((miss(10, 2) - 22.0 / 1024.0).abs() < 1e-12);
    }
}
