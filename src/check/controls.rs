//! The same cell twice ties, and a planted delay of 100 ns is found.
//!
//! Both use the ring between two processes on one CPU with `yield`: of all cells the one whose round trip varied least
//! between launches on a virtual machine (3.6 us within 1 %, while 0.4 us across two CPUs came with jumps of 40 ns).
//!
//! Rules, over six pairs of fresh launches and at most six more. *Null pair*: the interval of the ratios contains 1, or
//! their median is within 2 % of it. *Delay*: the interval of the differences excludes 0, and their median lies between
//! 70 and 300 ns, or what two readings of a slow clock add: the delay is a loop around the clock.

use super::{Bench, Noise, Sabotage, Tried, Verdict, one_cpu, settle, shown};
use crate::measure::stats::Estimate;
use crate::plan::{Plan, RunId, Span, Wait, Workload};
use crate::sys::clock::Timer;
use crate::workload::longest_delay;

/// Planted, ns.
const DELAY_NS: u64 = 100;
/// What it may look like, ns, or more where the clock is slow.
const LEAST_NS: f64 = 70.0;
const MOST_NS: f64 = 300.0;
/// With a wider interval that contains what was planted, nothing was shown, ns.
const TELLING_NS: f64 = 200.0;
/// The sabotaged half of the null pair, ns: half as much again as the round trip.
const SLOW_NS: u64 = 2000;

/// See the [module](self).
pub fn run(bench: &mut Bench<'_>) {
    let model = one_cpu(Workload::PingPong, Span::Millis(60));
    let plan = Plan { mechanism: "shm-ring".into(), wait: Wait::Yield, ..model };
    let slow = if bench.sabotaged(Sabotage::Slow) { SLOW_NS } else { 0 };
    let noise = Noise::on(&plan);
    let ratios = settle(
        bench,
        |bench, number| pair(bench, &plan, slow, number).map(|[first, second]| second / first),
        |e| e.contains(1.0) == Some(true) || (e.median - 1.0).abs() < 0.02,
    );
    let found = ratios.map(|(passed, estimate)| (passed, shown(&estimate, "", "pairs")));
    let tie = "1 in the interval, or a median within 2 %";
    bench.report_timed("null-pair", "the same cell twice", tie, found, &noise);
    let delay = if bench.sabotaged(Sabotage::Delay) { 0 } else { DELAY_NS };
    let most = longest_delay(DELAY_NS, Timer::measure().cost_ns).max(MOST_NS);
    let noise = Noise::on(&plan);
    let differences = settle(
        bench,
        |bench, number| pair(bench, &plan, delay, number).map(|[first, second]| second - first),
        |e| e.interval.is_some_and(|(low, _)| low > 0.0) && (LEAST_NS..=most).contains(&e.median),
    );
    let hides = |e: &Estimate| {
        e.interval.is_some_and(|(low, high)| high - low > TELLING_NS) && e.contains(DELAY_NS as f64) == Some(true)
    };
    let found = differences.and_then(|(passed, estimate)| match shown(&estimate, " ns", "pairs") {
        found if !passed && hides(&estimate) && bench.sabotage.is_none() => {
            Err((Verdict::Skipped, format!("{found}; launches differ by more than that: repeat when idle")))
        }
        found => Ok((passed, found)),
    });
    let seen = format!("a median of {LEAST_NS} to {most:.0} ns, an interval above 0");
    bench.report_timed("delay", "100 ns in each reply", &seen, found, &noise);
}

/// The round trips of two launches, the second with a delay; which runs first alternates.
fn pair(bench: &mut Bench<'_>, plan: &Plan, delay_ns: u64, number: u32) -> Tried<[f64; 2]> {
    let labelled = |label: &str| RunId { round: number, label: Some(label.into()), ..RunId::default() };
    let plain = Plan { run: labelled("first"), ..plan.clone() };
    let delayed = Plan { run: labelled("second"), delay_ns, ..plan.clone() };
    let mut time = |plan: &Plan| bench.healthy(plan).map(|run| run.per_message_ns().unwrap_or(f64::NAN));
    if number.is_multiple_of(2) {
        Ok([time(&plain)?, time(&delayed)?])
    } else {
        let second = time(&delayed)?;
        Ok([time(&plain)?, second])
    }
}
