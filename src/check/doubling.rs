//! Twice the messages take twice the time: no fixed cost hides in a window, and the clock runs all along.
//!
//! Rule: six pairs of fresh launches that carry `n` and `2n` messages, in turn. The median of the paired ratios lies in
//! [1.8, 2.2]; if not, six more pairs, and the interval of all twelve must touch that range.

use super::{BATCH, Bench, Noise, Sabotage, Tried, Verdict, one_cpu, settle, shown, subject};
use crate::plan::{Plan, Span, Workload};
use crate::transport::io_uring::enough_cpus;
use crate::transport::{Config, IoUringSqpoll, Transport};
use std::ops::RangeInclusive;

const DOUBLE: RangeInclusive<f64> = 1.8..=2.2;
/// Length of the shorter window.
const WINDOW_NS: f64 = 12e6;

/// See the [module](self).
pub fn run(bench: &mut Bench<'_>) {
    for (_, plan) in bench.cells(1, &one_cpu(Workload::Stream, Span::Millis(30))) {
        let noise = Noise::on(&plan);
        let found = polled(bench, &plan).and_then(|()| ratio(bench, &plan));
        bench.report_timed("doubling", subject(&plan), "2 within 10 % for twice the messages", found, &noise);
    }
}

/// Refuses a mechanism whose time is that of the scheduler's slices: with fewer CPUs than parties and threads that poll for
/// them, twice the messages take between one and five times as long.
fn polled(bench: &Bench<'_>, plan: &Plan) -> Tried<()> {
    if plan.mechanism != IoUringSqpoll::SPEC.name {
        return Ok(());
    }
    enough_cpus(&Config::new(plan), bench.cpus).map_err(|error| (Verdict::Skipped, error.to_string()))
}

fn ratio(bench: &mut Bench<'_>, plan: &Plan) -> Tried<(bool, String)> {
    let per = bench.healthy(plan)?.per_message_ns().unwrap_or(1e3);
    let n = ((WINDOW_NS / per) as u64).max(100);
    let more = if bench.sabotaged(Sabotage::Ratio) { n / 5 } else { 2 * n };
    let touches = |(low, high): (f64, f64)| low <= *DOUBLE.end() && high >= *DOUBLE.start();
    let (passed, estimate) = settle(
        bench,
        |bench, number| {
            // Which comes first alternates, so that a drift of the machine is no ratio.
            let mut sizes = [n, more];
            sizes.rotate_left(number as usize % 2);
            let mut times = [0.0; 2];
            for (time, messages) in times.iter_mut().zip(sizes) {
                let plan = Plan { span: Span::Messages(messages), ..plan.clone() };
                *time = bench.healthy(&plan)?.elapsed_ns as f64;
            }
            times.rotate_right(number as usize % 2);
            Ok(times[1] / times[0])
        },
        |e| DOUBLE.contains(&e.median) || (e.n > BATCH as usize && e.interval.is_some_and(touches)),
    )?;
    Ok((passed, shown(&estimate, "", "pairs")))
}
