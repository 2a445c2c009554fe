//! From runs to rows: medians over runs with intervals, ranks with ties, paired ratios.
//!
//! Key decision: rows are ranked only within their *class* (workload, offered load, size, wait, placement, touch), and two
//! rows whose paired ratio cannot be told from one, or lies inside the noise that the null pair shows, share a rank. A
//! mechanism's process and thread rows stand next to each other, ordered by the better of the two.

use super::rows::{Class, Gathered, Row, Run, Which};
use crate::campaign::matrix::{DELAY_LABEL, NULL_LABEL};
use crate::measure::stats::{Estimate, Trend, Trends, discoveries};
use crate::plan::Workload;
use crate::workload::longest_delay;
use std::collections::BTreeMap;

/// The paired ratio of two rows' times, over the rounds in which both ran.
pub fn ratio(a: &Row, b: &Row) -> Option<Estimate> {
    let times =
        |row: &Row| -> BTreeMap<u32, f64> { row.runs.iter().filter_map(|run| Some((run.round, run.ns?))).collect() };
    let (a, b) = (times(a), times(b));
    Estimate::of_ratio(a.iter().filter_map(|(round, time)| Some((*time, *b.get(round)?))))
}

/// A cell that ran twice under two labels.
#[derive(Debug, Clone)]
pub struct NullPair {
    /// The cell.
    pub subject: String,
    /// Ratio of the second to the first: 1 within the noise.
    pub ratio: Estimate,
}

impl NullPair {
    /// How far from one a ratio must be to mean something: the pair's own interval.
    fn noise(&self) -> Option<f64> {
        self.ratio.interval.map(|(low, high)| (high - 1.0).max(1.0 / low - 1.0))
    }
}

/// A delay that was planted, and what was seen of it.
#[derive(Debug, Clone)]
pub struct Planted {
    /// The cell.
    pub subject: String,
    /// Planted, ns.
    pub ns: u64,
    /// The most that it may look like, ns.
    pub most_ns: f64,
    /// Seen, ns.
    pub seen: Estimate,
}

/// One class of comparable rows.
#[derive(Debug)]
pub struct Group {
    /// What they have in common.
    pub class: Class,
    /// Best first, twins together, controls last.
    pub rows: Vec<Row>,
    /// What the same cell against itself shows.
    pub null: Option<NullPair>,
    /// The distance from one that a ratio in this class must exceed to be a difference; infinite where it is not known.
    pub noise: f64,
}

/// Least noise that is assumed, whatever the null pair shows: one per cent.
const LEAST_NOISE: f64 = 0.01;

/// The noise of a class. `least` is what a larger sample of the same runs showed: fewer runs never make it smaller. A
/// pair that is missing or has no interval leaves it unknown, and then nothing may be told apart; an offered load has no
/// pair, because it is ranked by the rate that was carried.
fn noise_of(class: &Class, null: Option<&NullPair>, least: Option<f64>) -> f64 {
    let known = match null.and_then(NullPair::noise) {
        None if class.workload == Workload::OfferedLoad => Some(LEAST_NOISE),
        of_pair => of_pair,
    };
    known.or(least).unwrap_or(f64::INFINITY).max(least.unwrap_or(LEAST_NOISE)).max(LEAST_NOISE)
}

/// Which rows, and whether all of them together, follow the order in which the runs were made.
#[derive(Debug, Default)]
pub struct Drift {
    /// Rows with enough runs to tell.
    pub tested: usize,
    /// Names of those that move.
    pub moving: Vec<String>,
    /// The trend of all runs together, each as a multiple of its row's median.
    pub whole: Option<Trend>,
    /// These multiples in the last fifth of the runs against those in the first, by their medians.
    pub last_to_first: Option<f64>,
}

/// Largest share of rows without drift among those that are named for it.
const FALSE_DRIFT: f64 = 0.05;

impl Drift {
    /// Gives each row its trend, and sums up.
    fn of(groups: &mut [Group]) -> Self {
        let mut trends = Trends::default();
        let mut paces: Vec<(u32, f64)> = Vec::new();
        for row in groups.iter_mut().flat_map(|group| &mut group.rows) {
            let Some(time) = row.time else { continue };
            let times: Vec<_> = row.runs.iter().filter_map(|run| Some((run.order, run.ns?))).collect();
            row.drift = trends.of(&times.iter().map(|(_, ns)| *ns).collect::<Vec<_>>());
            paces.extend(times.into_iter().map(|(order, ns)| (order, ns / time.median)));
        }
        paces.sort_by_key(|(order, _)| *order);
        let paces: Vec<f64> = paces.into_iter().map(|(_, pace)| pace).collect();
        let tested = || groups.iter().flat_map(|group| &group.rows).filter_map(|row| Some((row, row.drift?.p)));
        let limit = discoveries(tested().map(|(_, p)| p), FALSE_DRIFT);
        let moves = |p: f64| limit.is_some_and(|limit| p <= limit);
        let fifth = paces.len() / 5;
        let middle = |paces: &[f64]| Some(Estimate::of(paces.iter().copied())?.median);
        Self {
            tested: tested().count(),
            moving: tested().filter(|(_, p)| moves(*p)).map(|(row, _)| row.full_name()).collect(),
            whole: trends.of(&paces),
            last_to_first: middle(&paces[paces.len() - fifth..])
                .zip(middle(&paces[..fifth]))
                .map(|(last, first)| last / first),
        }
    }
}

/// A results folder as rows, class by class.
#[derive(Debug)]
pub struct Summary {
    /// Classes in order.
    pub groups: Vec<Group>,
    /// The planted delay of the campaign.
    pub planted: Option<Planted>,
    /// The rows behind null pairs and the planted delay, which stand in no class.
    pub labelled: Vec<Row>,
    /// What moved while the campaign ran.
    pub drift: Drift,
}

impl Summary {
    /// Ranks all runs that were gathered.
    pub fn of(gathered: &Gathered) -> Self {
        Self::build(gathered, Which::All, &BTreeMap::new())
    }

    /// Ranks those without a flag, with no less noise than all of them have.
    pub fn unflagged(gathered: &Gathered, all: &Self) -> Self {
        let known = all.groups.iter().filter(|group| group.noise.is_finite());
        Self::build(gathered, Which::Unflagged, &known.map(|group| (group.class, group.noise)).collect())
    }

    fn build(gathered: &Gathered, which: Which, least: &BTreeMap<Class, f64>) -> Self {
        let (labelled, plain): (Vec<_>, Vec<_>) = gathered.rows(which).partition(|row| row.label.is_some());
        let planted = labelled.iter().find_map(|row| planted(row, &plain));
        let mut nulls: BTreeMap<Class, NullPair> =
            labelled.iter().filter_map(|row| Some((row.class, null_pair(row, &plain)?))).collect();
        let mut classes: BTreeMap<Class, Vec<Row>> = BTreeMap::new();
        for row in plain {
            classes.entry(row.class).or_default().push(row);
        }
        let group = |(class, rows)| {
            let null = nulls.remove(&class);
            let noise = noise_of(&class, null.as_ref(), least.get(&class).copied());
            Group { class, rows: ranked(rows, noise), null, noise }
        };
        let mut groups: Vec<Group> = classes.into_iter().map(group).collect();
        let drift = Drift::of(&mut groups);
        Self { groups, planted, labelled, drift }
    }

    /// Every row, those of the controls included.
    pub fn all_rows(&self) -> impl Iterator<Item = &Row> {
        self.rows().chain(&self.labelled)
    }

    /// Every row of every class.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.groups.iter().flat_map(|group| &group.rows)
    }
}

/// The unlabelled row of the same cell.
fn subject<'a>(row: &Row, plain: &'a [Row]) -> Option<&'a Row> {
    let cell = |row: &Row| (row.class, row.mechanism.clone(), row.parties);
    plain.iter().find(|other| cell(other) == cell(row))
}

fn null_pair(row: &Row, plain: &[Row]) -> Option<NullPair> {
    let first = subject(row, plain).filter(|_| row.label.as_deref() == Some(NULL_LABEL))?;
    Some(NullPair { subject: first.name(), ratio: ratio(row, first)? })
}

fn planted(row: &Row, plain: &[Row]) -> Option<Planted> {
    let first = subject(row, plain).filter(|_| row.label.as_deref() == Some(DELAY_LABEL))?;
    let ns = row.runs.first()?.delay_ns;
    let reading_ns = Estimate::of(row.runs.iter().map(|run| run.reading_ns))?.median;
    Some(Planted { subject: first.name(), ns, most_ns: longest_delay(ns, reading_ns), seen: difference(row, first)? })
}

/// The paired difference of two rows' times, ns.
fn difference(a: &Row, b: &Row) -> Option<Estimate> {
    let time = |run: &Run| Some((run.round, run.ns?));
    let b: BTreeMap<u32, f64> = b.runs.iter().filter_map(|run| time(run)).collect();
    Estimate::of(a.runs.iter().filter_map(|run| time(run)).filter_map(|(round, t)| Some(t - b.get(&round)?)))
}

/// Best first, twins together, controls last; ranks with ties.
fn ranked(rows: Vec<Row>, noise: f64) -> Vec<Row> {
    let time = |row: &Row| row.time.map_or(f64::INFINITY, |t| t.median);
    let (mut controls, ranking): (Vec<_>, Vec<_>) = rows.into_iter().partition(Row::is_control);
    controls.sort_by(|a, b| time(a).total_cmp(&time(b)));
    let mut by_mechanism: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for row in ranking {
        by_mechanism.entry(row.mechanism.clone()).or_default().push(row);
    }
    let mut families: Vec<Vec<Row>> = by_mechanism.into_values().collect();
    for family in &mut families {
        family.sort_by(|a, b| time(a).total_cmp(&time(b)));
    }
    families.sort_by(|a, b| time(&a[0]).total_cmp(&time(&b[0])));
    let mut rows: Vec<Row> = families.into_iter().flatten().collect();
    assign_ranks(&mut rows, noise);
    rows.extend(controls);
    rows
}

/// Ranks by time; a row ties with the best row of the rank before it unless their ratio is told apart.
fn assign_ranks(rows: &mut [Row], noise: f64) {
    let mut order: Vec<usize> = (0..rows.len()).filter(|i| rows[*i].time.is_some()).collect();
    order.sort_by(|a, b| {
        let time = |i: &usize| rows[*i].time.map_or(f64::INFINITY, |t| t.median);
        time(a).total_cmp(&time(b))
    });
    let mut leader: Option<usize> = None;
    let mut rank = 0;
    for (place, index) in order.into_iter().enumerate() {
        let tied = leader.is_some_and(|leader| !apart(ratio(&rows[index], &rows[leader]), noise));
        if !tied {
            leader = Some(index);
            rank = place + 1;
        }
        rows[index].rank = Some(rank);
    }
}

/// Whether a ratio is a difference: its interval excludes one, and its median lies outside the noise. Without an interval
/// nothing is told apart.
pub fn apart(ratio: Option<Estimate>, noise: f64) -> bool {
    ratio.is_some_and(|r| r.contains(1.0) == Some(false) && (r.median > 1.0 + noise || r.median < 1.0 / (1.0 + noise)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::cell::{Outcome, Rtt, Status};
    use crate::plan::{Parties, Plan, RunId};

    /// A journal line with a known round trip.
    pub fn run(mechanism: &str, parties: Parties, round: u32, ns: f64, label: Option<&str>) -> Outcome {
        let plan = Plan {
            mechanism: mechanism.into(),
            parties,
            delay_ns: if label == Some(DELAY_LABEL) { 1000 } else { 0 },
            run: RunId { round, label: label.map(Into::into), ..RunId::default() },
            ..Plan::default()
        };
        let mut outcome = Outcome::empty(&plan, Status::Ok);
        outcome.messages = 1000;
        outcome.elapsed_ns = (ns * 1000.0) as u64;
        let blank = Rtt {
            mean: ns,
            min: None,
            p50: None,
            p90: None,
            p99: None,
            p999: None,
            max: None,
            stamped_mean: None,
            histogram: vec![],
        };
        outcome.rtt_ns = Some(blank);
        outcome
    }

    fn summary(runs: Vec<Outcome>) -> Summary {
        Summary::of(&runs.into_iter().collect())
    }

    /// Six rounds of a drifting machine on which `fast` takes `a`, and `slow` takes `b`.
    fn two(a: f64, b: f64, wobble: f64) -> Vec<Row> {
        let mut runs = Vec::new();
        for round in 0..6 {
            let drift = f64::from(1 + round);
            let sign = if round % 2 == 0 { 1.0 } else { -1.0 };
            runs.push(run("pipe", Parties::Process, round, a * drift, None));
            runs.push(run("unix-stream", Parties::Process, round, b * drift * (1.0 + sign * wobble), None));
            runs.push(run("pipe", Parties::Process, round, a * drift, Some(NULL_LABEL)));
        }
        summary(runs).groups.remove(0).rows
    }

    #[test]
    fn drift_that_both_share_does_not_hide_a_difference() {
        let rows = two(1000.0, 1100.0, 0.0);
        assert_eq!(
            rows.iter().map(|r| (r.mechanism.as_str(), r.rank)).collect::<Vec<_>>(),
            [("pipe", Some(1)), ("unix-stream", Some(2))]
        );
    }

    #[test]
    fn rows_that_cannot_be_told_apart_share_a_rank() {
        let rows = two(1000.0, 1010.0, 0.05);
        assert!(rows.iter().all(|row| row.rank == Some(1)));
    }

    #[test]
    fn the_null_pairs_spread_is_the_noise_floor_and_hides_smaller_differences() {
        let mut runs = Vec::new();
        for round in 0..6 {
            let wobble = if round % 2 == 0 { 1.2 } else { 0.9 };
            runs.push(run("pipe", Parties::Process, round, 1000.0, None));
            runs.push(run("pipe", Parties::Process, round, 1000.0 * wobble, Some(NULL_LABEL)));
            runs.push(run("unix-stream", Parties::Process, round, 1100.0, None));
        }
        let summary = summary(runs);
        assert!((summary.groups[0].noise - 0.2).abs() < 1e-9);
        assert!(summary.groups[0].rows.iter().all(|row| row.rank == Some(1)), "a tenth is inside a noise of a fifth");
    }

    #[test]
    fn without_a_null_pair_nothing_is_told_apart_except_by_the_rate_of_an_offered_load() {
        let runs = |workload| {
            let mut runs = Vec::new();
            for round in 0..6 {
                runs.push(run("pipe", Parties::Process, round, 100.0, None));
                runs.push(run("unix-stream", Parties::Process, round, 900.0, None));
            }
            runs.iter_mut().for_each(|run| run.workload = workload);
            summary(runs).groups.remove(0).rows.iter().map(|row| row.rank).collect::<Vec<_>>()
        };
        assert_eq!(runs(Workload::PingPong), [Some(1), Some(1)]);
        assert_eq!(runs(Workload::OfferedLoad), [Some(1), Some(2)]);
    }

    #[test]
    fn fewer_runs_never_have_less_noise() {
        let mut runs = Vec::new();
        for round in 0..6 {
            let wobble = if round % 2 == 0 { 1.2 } else { 0.9 };
            runs.push(run("pipe", Parties::Process, round, 1000.0, None));
            let mut again = run("pipe", Parties::Process, round, 1000.0 * wobble, Some(NULL_LABEL));
            // Without these the pair has no interval.
            again.flags.extend((round == 0).then(|| "steal".into()));
            runs.push(again);
            runs.push(run("unix-stream", Parties::Process, round, 1100.0, None));
        }
        let gathered = runs.into_iter().collect();
        let all = Summary::of(&gathered);
        let unflagged = Summary::unflagged(&gathered, &all);
        assert_eq!(unflagged.groups[0].noise, all.groups[0].noise);
        assert!(unflagged.groups[0].rows.iter().all(|row| row.rank == Some(1)));
    }

    #[test]
    fn a_planted_delay_is_recovered() {
        let mut runs = Vec::new();
        for round in 0..6 {
            let base = 500.0 + f64::from(round);
            runs.push(run("pipe", Parties::Process, round, base, None));
            runs.push(run("pipe", Parties::Process, round, base + 1003.0, Some(DELAY_LABEL)));
        }
        let recovered = summary(runs).planted.unwrap().seen;
        assert_eq!(recovered.median, 1003.0);
    }

    #[test]
    fn twins_stand_together_and_an_invalid_run_is_never_counted() {
        let mut runs = Vec::new();
        for round in 0..6 {
            runs.push(run("pipe", Parties::Process, round, 300.0, None));
            runs.push(run("unix-stream", Parties::Process, round, 200.0, None));
            runs.push(run("pipe", Parties::Thread, round, 100.0, None));
            runs.push(run("pipe", Parties::Thread, round, 100.0, Some(NULL_LABEL)));
        }
        let mut wrong = run("unix-stream", Parties::Process, 6, 1.0, None);
        wrong.status = Status::Invalid;
        runs.push(wrong);
        let rows = summary(runs).groups.remove(0).rows;
        let shown: Vec<_> = rows.iter().map(|r| (r.mechanism.as_str(), r.parties, r.rank.unwrap())).collect();
        assert_eq!(
            shown,
            [("pipe", Parties::Thread, 1), ("pipe", Parties::Process, 3), ("unix-stream", Parties::Process, 2)]
        );
        assert_eq!((rows[2].time.unwrap().median, rows[2].bad.len()), (200.0, 1));
    }
}
