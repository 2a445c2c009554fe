//! The instrument checks itself: known answers, planted faults, and arithmetic that must come out.
//!
//! - [`boundary`]: the bytes really cross from one party to the other, by the tracer's count
//! - [`faults`]: a planted fault makes the run invalid, for its reason, and a healthy run is valid
//! - [`doubling`]: twice the messages take twice the time
//! - [`physics`]: no result beats its floor or the memory, and rate times latency is what was in flight
//! - [`cpu`]: CPU time and switches add up to what spinners and sleepers must use
//! - [`controls`]: the same cell twice ties, and a planted delay of 100 ns is found
//! - [`noise`]: whether anybody else used the CPUs meanwhile
//! - [`openloop`]: a consumer that stops shows in an open loop and is missed by a closed one
//! - [`tables`]: tables are a pure function of the raw files, and agree with them
//!
//! Key decision: a check compares a figure with one that is known *without* the instrument, and says both. It runs real
//! cells through the real launcher. What time decides gets at most one more batch of launches, over which the same rule
//! is applied again and which the finding admits; a check never repeats until it passes. If it fails while other programs
//! or the hypervisor took the CPUs, nothing can be said of the instrument: the finding is `skipped`, with figure and
//! reason. Rejected: unit tests only (they run on the author's machine, not on the reader's); thresholds relative to
//! earlier runs (a drift then passes).
//!
//! Each check can be seen to fail: under a [`Sabotage`] its healthy runs, or for physics the figures, are falsified.

pub mod boundary;
pub mod controls;
pub mod cpu;
pub mod doubling;
pub mod faults;
pub mod noise;
pub mod openloop;
pub mod physics;
pub mod tables;

use crate::campaign::launch::{INTERRUPTED, deadline_for, launch};
use crate::cell::{Outcome, Status};
use crate::error::{Error, Kind};
use crate::measure::stats::Estimate;
use crate::plan::{Parties, Placement, Plan, Span, Wait, Workload};
use crate::transport::Spec;
use noise::Noise;
use serde::Serialize;
use std::sync::atomic::Ordering;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As expected.
    Pass,
    /// Not as expected.
    Fail,
    /// Not possible here; `found` says why.
    Skipped,
}

/// One line of the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Name of the check.
    pub check: &'static str,
    /// What was checked.
    pub subject: String,
    /// How it ended.
    pub verdict: Verdict,
    /// The figure.
    pub found: String,
    /// What it should be.
    pub expected: String,
}

/// A falsification that the matching check must notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Sabotage {
    /// A bit of a message turns in the runs that should be healthy.
    Flip,
    /// A message is lost in them.
    Drop,
    /// A message comes twice in them.
    Double,
    /// Two messages change places in them.
    Swap,
    /// Messages are half as long as is said.
    Bytes,
    /// The longer window carries a fifth of the messages instead of twice as many.
    Ratio,
    /// Round trips are said to take a thousandth of their time.
    Floor,
    /// Round trips per second are said to be twice as many.
    Little,
    /// The spinners sleep.
    Cpu,
    /// The second half of the null pair is slower.
    Slow,
    /// The planted delay is not planted.
    Delay,
    /// The consumer does not stop.
    Stall,
    /// The journal changes between two reports.
    Tables,
}

/// What checks need and where they say what they found.
pub struct Bench<'a> {
    /// The mechanisms to check.
    pub specs: Vec<&'static Spec>,
    /// CPUs that may be used.
    pub cpus: usize,
    /// What to falsify.
    pub sabotage: Option<Sabotage>,
    /// Told of what begins.
    pub begins: &'a mut dyn FnMut(&str),
    /// Told of each finding.
    pub finds: &'a mut dyn FnMut(Finding),
}

/// Why a check has no figure.
type Tried<T> = Result<T, (Verdict, String)>;

/// One check.
pub struct Check {
    /// Its name on the command line.
    pub name: &'static str,
    /// The falsifications that it must notice.
    pub sabotages: &'static [Sabotage],
    /// What it does.
    pub run: fn(&mut Bench<'_>),
}

/// All of them, in the order in which they run.
pub const CHECKS: &[Check] = &[
    Check { name: "boundary", sabotages: &[Sabotage::Bytes], run: boundary::run },
    Check {
        name: "faults",
        sabotages: &[Sabotage::Flip, Sabotage::Drop, Sabotage::Double, Sabotage::Swap],
        run: faults::run,
    },
    Check { name: "doubling", sabotages: &[Sabotage::Ratio], run: doubling::run },
    Check { name: "physics", sabotages: &[Sabotage::Floor, Sabotage::Little], run: physics::run },
    Check { name: "cpu", sabotages: &[Sabotage::Cpu], run: cpu::run },
    Check { name: "controls", sabotages: &[Sabotage::Slow, Sabotage::Delay], run: controls::run },
    Check { name: "stall", sabotages: &[Sabotage::Stall], run: openloop::run },
    Check { name: "tables", sabotages: &[Sabotage::Tables], run: tables::run },
];

/// Whether the program was asked to stop: what is found from then on is not a finding.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

impl Bench<'_> {
    /// Says what was found of something that time decides, and which others may have disturbed since `noise`.
    fn report_timed(
        &mut self,
        check: &'static str,
        subject: impl Into<String>,
        expected: &str,
        found: Tried<(bool, String)>,
        noise: &Noise,
    ) {
        let others = noise.others().filter(|cpus| *cpus >= noise::DISTURBING && self.sabotage.is_none());
        let found = match (found, others) {
            (Ok((false, found)), Some(cpus)) => {
                Err((Verdict::Skipped, format!("{found}; others took {cpus:.1} CPUs meanwhile: repeat when idle")))
            }
            (found, _) => found,
        };
        self.report(check, subject, expected, found);
    }

    /// Says what was found.
    fn report(
        &mut self,
        check: &'static str,
        subject: impl Into<String>,
        expected: &str,
        found: Tried<(bool, String)>,
    ) {
        let (verdict, found) = match found {
            Ok((true, found)) => (Verdict::Pass, found),
            Ok((false, found)) => (Verdict::Fail, found),
            Err(other) => other,
        };
        if !interrupted() {
            (self.finds)(Finding { check, subject: subject.into(), verdict, found, expected: expected.into() });
        }
    }

    /// Launches a cell that has to be healthy.
    fn healthy(&mut self, plan: &Plan) -> Tried<Outcome> {
        let outcome = self.launch(plan);
        match outcome.status {
            Status::Ok => Ok(outcome),
            status => Err((verdict_of(status), outcome.reason.unwrap_or_default())),
        }
    }

    fn launch(&mut self, plan: &Plan) -> Outcome {
        (self.begins)(&subject(plan));
        launch(plan, deadline_for(plan))
    }

    fn sabotaged(&self, how: Sabotage) -> bool {
        self.sabotage == Some(how)
    }

    /// The cells of a check: each mechanism with each kind of parties that it connects, or with the first only.
    fn cells(&self, kinds: usize, model: &Plan) -> Vec<(&'static Spec, Plan)> {
        let cell = |spec: &'static Spec, parties: &Parties| {
            (
                spec,
                Plan {
                    mechanism: spec.name.into(),
                    parties: *parties,
                    wait: spec.wait_near(model.wait),
                    ..model.clone()
                },
            )
        };
        self.specs.iter().flat_map(|spec| spec.parties.iter().take(kinds).map(|p| cell(spec, p))).collect()
    }
}

/// Every kind of parties that a mechanism connects.
const EVERY: usize = usize::MAX;

fn verdict_of(status: Status) -> Verdict {
    if status == Status::Unsupported { Verdict::Skipped } else { Verdict::Fail }
}

fn tried<T>(result: Result<T, Error>) -> Tried<T> {
    result.map_err(|error| {
        let verdict = if error.kind() == Kind::Unsupported { Verdict::Skipped } else { Verdict::Fail };
        (verdict, error.to_string())
    })
}

/// `pipe process`, `pipe thread`, `null`.
fn subject(plan: &Plan) -> String {
    match plan.parties {
        Parties::Solo => plan.mechanism.clone(),
        parties => format!("{} {parties}", plan.mechanism),
    }
}

/// The cell that most checks use: on one CPU, where a virtual machine's wake-ups play no part and one CPU is enough.
fn one_cpu(workload: Workload, span: Span) -> Plan {
    Plan { workload, placement: Placement::SameCpu, wait: Wait::Block, span, ..Plan::default() }
}

/// Launches of a batch: the fewest over which there is an interval.
const BATCH: u32 = 6;

/// Takes a batch of samples, and if they do not `pass`, one more; what counts then is both together.
fn settle(
    bench: &mut Bench<'_>,
    mut sample: impl FnMut(&mut Bench<'_>, u32) -> Tried<f64>,
    pass: impl Fn(&Estimate) -> bool,
) -> Tried<(bool, Estimate)> {
    let mut values = Vec::new();
    loop {
        for number in 0..BATCH {
            values.push(sample(bench, number)?);
        }
        let Some(estimate) = Estimate::of(values.iter().copied()) else {
            return Err((Verdict::Fail, "no launch gave a figure".into()));
        };
        let passed = pass(&estimate);
        if passed || values.len() > BATCH as usize {
            return Ok((passed, estimate));
        }
    }
}

/// `1.99 [1.95, 2.03], 6 pairs`, and that there was a second batch.
fn shown(estimate: &Estimate, unit: &str, of: &str) -> String {
    let (low, high) = estimate.interval.unwrap_or((f64::NAN, f64::NAN));
    let again = if estimate.n > BATCH as usize { ", a second batch included" } else { "" };
    let digits = if estimate.median.abs() < 10.0 { 2 } else { 0 };
    let Estimate { n, median, .. } = estimate;
    format!("{median:.digits$}{unit} [{low:.digits$}, {high:.digits$}], {n} {of}{again}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(values: &[f64], pass: impl Fn(&Estimate) -> bool) -> (bool, Estimate) {
        let mut values = values.iter().copied();
        let mut bench =
            Bench { specs: vec![], cpus: 1, sabotage: None, begins: &mut |_| (), finds: &mut |_| unreachable!() };
        settle(&mut bench, |_, _| values.next().ok_or((Verdict::Fail, "asked too often".into())), pass).unwrap()
    }

    #[test]
    fn a_batch_that_passes_is_the_only_one() {
        let (passed, estimate) = settled(&[2.0; 6], |e| e.median > 1.0);
        assert!(passed && estimate.n == 6);
        assert_eq!(shown(&estimate, "", "pairs"), "2.00 [2.00, 2.00], 6 pairs");
    }

    #[test]
    fn there_is_one_more_batch_and_no_third_and_it_is_said() {
        let (passed, estimate) = settled(&[2.0; 12], |e| e.median > 3.0);
        assert!(!passed && estimate.n == 12);
        assert!(shown(&estimate, "", "pairs").ends_with("12 pairs, a second batch included"));
    }

    #[test]
    fn every_sabotage_has_its_check() {
        use clap::ValueEnum;
        for sabotage in Sabotage::value_variants() {
            let of = |check: &&Check| check.sabotages.contains(sabotage);
            assert_eq!(CHECKS.iter().filter(of).count(), 1, "{sabotage:?}");
        }
    }
}
