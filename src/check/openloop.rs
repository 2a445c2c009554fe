//! A consumer that stops for 100 ms: an open loop must see it, and a closed loop must be seen to miss it.
//!
//! The same stall, once, in the middle of a window of 4000 messages over a pipe. In an *offered load* of 10 000 a second
//! some thousand messages become due meanwhile, and those of the first half of the stall wait longer than half of it, by
//! construction: at least 499. In a *ping-pong* the producer stops asking while it waits: a single round trip is long, and
//! the 99th percentile of 4000 does not hold it. Source: Tene, How NOT to Measure Latency (coordinated omission).

use super::{Bench, Noise, Sabotage, Tried, one_cpu};
use crate::cell::Outcome;
use crate::plan::{Arrivals, Offered, Plan, Span, Wait, Workload};

const STALL_MS: u64 = 100;
const RATE: u64 = 10_000;
const MESSAGES: u64 = 4000;
/// Longer than this counts as stalled: half the stall, and more than anything else is likely to take.
const LONG_NS: u64 = STALL_MS * 1_000_000 / 2;
/// Messages that are due in the first half of the stall, less the one that is under way.
const SEEN: u64 = RATE * STALL_MS / 2000 - 1;
/// One round trip holds the stall; a few more may be somebody else's doing, and the 99th percentile ignores forty.
const MISSED: u64 = 4;

/// See the [module](self).
pub fn run(bench: &mut Bench<'_>) {
    let stall_ms = if bench.sabotaged(Sabotage::Stall) { 0 } else { STALL_MS };
    let model = one_cpu(Workload::OfferedLoad, Span::Messages(MESSAGES));
    let offered = Some(Offered { rate: Some(RATE), arrivals: Arrivals::Constant });
    // With `yield` the consumer looks while the producer, which never sleeps, waits for the next time.
    let open = Plan { mechanism: "pipe".into(), wait: Wait::Yield, offered, stall_ms, ..model };
    let closed = Plan { workload: Workload::PingPong, offered: None, ..open.clone() };
    let noise = Noise::on(&open);
    let found = bench.healthy(&open).map(|run| seen(&run));
    let least = format!("at least {SEEN} messages late by {} ms", LONG_NS / 1_000_000);
    bench.report_timed("stall", "100 ms in an open loop", &least, found, &noise);
    let noise = Noise::on(&closed);
    let found: Tried<_> = bench.healthy(&closed).map(|run| missed(&run));
    let most = format!("1 to {MISSED} long round trips, none in the p99");
    bench.report_timed("stall", "100 ms in a closed loop", &most, found, &noise);
}

fn long(histogram: &[(u64, u64)]) -> u64 {
    histogram.iter().filter(|(ns, _)| *ns >= LONG_NS).map(|(_, count)| count).sum()
}

fn seen(run: &Outcome) -> (bool, String) {
    let late = run.load.iter().map(|point| long(&point.from_intended.histogram)).sum::<u64>();
    (late >= SEEN, format!("{late} of {MESSAGES} messages late"))
}

fn missed(run: &Outcome) -> (bool, String) {
    let Some(rtt) = &run.rtt_ns else { return (false, "no round trips".into()) };
    let (held, p99) = (long(&rtt.histogram), rtt.p99.unwrap_or(u64::MAX));
    let ms = p99 as f64 / 1e6;
    ((1..=MISSED).contains(&held) && p99 < LONG_NS, format!("{held} of {MESSAGES} round trips long, p99 {ms:.3} ms"))
}
