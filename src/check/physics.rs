//! No result beats its physical floor, and rate times latency is what was in flight.
//!
//! Rules, each over three fresh launches of a ping-pong per mechanism:
//! - *floor*: the round trip is at least the bare hand-over between the same parties, the lower of the two probes of
//!   that launch, less the 10 % by which a probe may move before a run is flagged. It fails if every launch is below: one
//!   may be, when the machine moved a CPU between a probe and the window; all of them cannot.
//! - *little*: a ping-pong between two parties has one message in flight, so round trips per second (batch window) times
//!   the mean round trip (stamped window) is 1 within 20 % and a clock reading. The median over the launches counts; if it does not lie
//!   there, three launches more, and the median of all. The messages in flight of a *stream* need a one-way latency,
//!   which a closed loop does not have.
//! - *bandwidth*: bytes per second times the copies of the mechanism's model are no more than two CPUs can copy out of
//!   the cache, by the fastest of many copies of 64 KiB.

use super::{Bench, EVERY, Noise, Sabotage, Tried, Verdict, one_cpu, subject};
use crate::cell::Outcome;
use crate::plan::{Parties, Placement, Plan, Span, Wait, Workload};
use crate::sys::clock;
use std::hint::black_box;

const LAUNCHES: usize = 3;
const SPAN: Span = Span::Millis(50);
const SIZE: usize = 64 << 10;

/// See the [module](self).
pub fn run(bench: &mut Bench<'_>) {
    let blocking = one_cpu(Workload::PingPong, SPAN);
    let spinning = Plan { wait: Wait::Spin, placement: Placement::CrossCpu, ..blocking.clone() };
    for (_, plan) in bench.cells(1, &blocking).into_iter().filter(|(_, plan)| plan.parties != Parties::Solo) {
        above_floor(bench, &plan, "on one CPU");
        let noise = Noise::on(&plan);
        let found = in_flight(bench, &plan);
        bench.report_timed("little", subject(&plan), "1 in flight, within 20 %", found, &noise);
    }
    if bench.cpus >= 2 {
        for (_, plan) in bench.cells(1, &spinning).into_iter().filter(|(_, plan)| plan.parties != Parties::Solo) {
            above_floor(bench, &plan, "spinning");
        }
    }
    if bench.cpus < 2 {
        let why = "two parties that spin need two CPUs and one is allowed here";
        bench.report("floor", "spinning", FLOOR, Err((Verdict::Skipped, why.into())));
    }
    bandwidth(bench);
}

const FLOOR: &str = "at least 1 x floor, less 10 %";
/// By how much a floor may move within a run before the run is flagged for it.
const MOVED: f64 = 0.10;

fn above_floor(bench: &mut Bench<'_>, plan: &Plan, how: &str) {
    let noise = Noise::on(plan);
    let found = launches(bench, plan).and_then(|runs| floor(bench, &runs));
    bench.report_timed("floor", format!("{} {how}", subject(plan)), FLOOR, found, &noise);
}

fn launches(bench: &mut Bench<'_>, plan: &Plan) -> Tried<Vec<Outcome>> {
    (0..LAUNCHES).map(|_| bench.healthy(plan)).collect()
}

fn floor(bench: &Bench<'_>, runs: &[Outcome]) -> Tried<(bool, String)> {
    let falsified = if bench.sabotaged(Sabotage::Floor) { 1000.0 } else { 1.0 };
    let figure = |run: &Outcome| {
        let lower = run.floor.as_ref()?.handover_rtt_ns.iter().copied().min_by(f64::total_cmp)?;
        Some(run.per_message_ns()? / falsified / lower)
    };
    let figures: Vec<f64> = runs.iter().filter_map(figure).collect();
    let best = figures.iter().copied().max_by(f64::total_cmp);
    let multiple = best.ok_or((Verdict::Skipped, "the hand-over could not be probed".to_string()))?;
    Ok((multiple >= 1.0 - MOVED, format!("{multiple:.2} x floor, {} launches", figures.len())))
}

fn in_flight(bench: &mut Bench<'_>, plan: &Plan) -> Tried<(bool, String)> {
    let falsified = if bench.sabotaged(Sabotage::Little) { 2.0 } else { 1.0 };
    let mut figures: Vec<(f64, f64)> = Vec::new();
    loop {
        for run in launches(bench, plan)? {
            let rate = run.throughput.as_ref().map(|t| t.messages_per_s * falsified);
            let mean = run.rtt_ns.as_ref().and_then(|rtt| rtt.stamped_mean);
            let (Some(rate), Some(mean), Some(timer)) = (rate, mean, run.timer) else {
                return Err((Verdict::Fail, "a launch has no rate or no stamped mean".into()));
            };
            // A stamped round trip holds one clock reading that the batch window does not have.
            figures.push((rate * mean / 1e9, 0.2 + rate * timer.cost_ns / 1e9));
        }
        figures.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (product, slack) = figures[figures.len() / 2];
        let passed = (product - 1.0).abs() <= slack;
        if passed || figures.len() > LAUNCHES {
            let again = if figures.len() > LAUNCHES { ", a second batch included" } else { "" };
            return Ok((passed, format!("{product:.2} in flight, {} launches{again}", figures.len())));
        }
    }
}

fn bandwidth(bench: &mut Bench<'_>) {
    let placement = if bench.cpus >= 2 { Placement::CrossCpu } else { Placement::SameCpu };
    let model = Plan { size: SIZE, placement, ..one_cpu(Workload::Stream, SPAN) };
    let limit = 2.0 * copy_rate();
    for (spec, plan) in bench.cells(EVERY, &model) {
        if spec.copies == 0 {
            continue;
        }
        let falsified = if bench.sabotaged(Sabotage::Floor) { 1000.0 } else { 1.0 };
        let found = bench.healthy(&plan).map(|run| {
            let rate = run.throughput.map_or(0.0, |t| t.bytes_per_s) * f64::from(spec.copies) * falsified;
            (rate <= limit, format!("{:.1} GB/s copied", rate / 1e9))
        });
        bench.report("bandwidth", subject(&plan), &format!("at most {:.1} GB/s on two CPUs", limit / 1e9), found);
    }
}

/// Bytes per second of the fastest of many copies within the cache.
fn copy_rate() -> f64 {
    let (from, mut to) = (vec![1_u8; SIZE], vec![0_u8; SIZE + 4096]);
    // The distance of the two within a page matters: loads right behind a store of the same page offset wait for it.
    let mut copy = |shift: usize| {
        let start = clock::now();
        for _ in 0..16 {
            to[shift..shift + SIZE].copy_from_slice(black_box(&from));
            black_box(&mut to);
        }
        (clock::now() - start).max(1)
    };
    let fastest = (0..512).map(|turn| copy(turn % 8 * 512)).min().unwrap_or(1);
    16.0 * SIZE as f64 * 1e9 / fastest as f64
}
