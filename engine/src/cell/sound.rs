//! Whether a line of the journal can be what this program wrote.
//!
//! Key decision: only what would make a table wrong without a word is looked at: numbers that no run can have, and fields
//! that contradict each other. Everything that parses and is possible is believed: an edit that keeps to that cannot be
//! told from a measurement. Rejected: a check sum per line, which an honest edit would break too.

use super::{Outcome, SCHEMA, Status};
use crate::lines::{Line, Unknown};
use crate::machine::moment;
use crate::plan::{MOST_PEERS, Plan, Several};

/// Longest time and largest count that a figure may be: figures are added up over runs, and beyond this they are no longer
/// exact.
const MOST: u64 = 1 << 53;

impl Line for Outcome {
    const SCHEMA: Option<u32> = Some(SCHEMA);

    fn schema(&self) -> Option<u32> {
        Some(self.schema)
    }

    fn sample() -> Self {
        Self::empty(&Plan::default(), Status::Ok)
    }

    fn unknown(&self) -> &Unknown {
        &self.unknown
    }

    fn impossible(&self) -> Option<String> {
        size(self.size)
            .or_else(|| several(self.several))
            .or_else(|| position(self))
            .or_else(|| counts(self))
            .or_else(|| figures(self))
            .or_else(|| samples(self))
    }
}

/// That a field holds what it cannot.
pub fn odd(field: &str, value: impl std::fmt::Display, allowed: &str) -> String {
    format!("field {field:?} is {value}, {allowed}")
}

/// Of a number of bytes per message.
pub fn size(size: usize) -> Option<String> {
    let possible = 1..=MOST as usize;
    (!possible.contains(&size)).then(|| odd("size", size, "and a message has 1 byte at least and less than 2^53"))
}

/// Of how many there are of what a label counts.
pub fn several(several: Several) -> Option<String> {
    let Several { outstanding, batch, peers } = several;
    let most = [("outstanding", outstanding, u32::MAX), ("batch", batch, u32::MAX), ("peers", peers, MOST_PEERS)];
    let wrong =
        most.into_iter().find_map(|(field, n, most)| Some((field, n?, most)).filter(|(_, n, _)| *n == 0 || n > &most));
    wrong.map(|(field, n, most)| odd(field, n, &format!("allowed is 1 to {most}")))
}

fn position(run: &Outcome) -> Option<String> {
    let id = &run.run;
    if id.round == u32::MAX {
        return Some(odd("run.round", id.round, "and rounds count from 0"));
    }
    let dated = id.started.is_empty() || moment(&id.started).is_some();
    (!dated)
        .then(|| odd("run.started", format!("{:?}", id.started), "and should be a time as 2026-01-31T12:00:00.000Z"))
}

fn counts(run: &Outcome) -> Option<String> {
    let Outcome { messages, elapsed_ns, bytes, .. } = *run;
    let (faults, verified) = (&run.faults, run.verified);
    let plain = [("messages", messages), ("elapsed_ns", elapsed_ns), ("bytes", bytes), ("delay_ns", run.delay_ns)];
    let found = [("first_message_ns", run.first_message_ns), ("memory_bytes", run.memory_bytes)];
    let times = [("setup_ns", run.setup_ns), ("teardown_ns", run.teardown_ns)];
    let all = plain
        .into_iter()
        .chain(found.into_iter().chain(times).filter_map(|(field, value)| Some((field, value?))))
        .chain(faults.iter().flat_map(|faults| [("faults", faults.minor), ("faults", faults.major)]))
        .chain(verified.into_iter().flat_map(|seen| [("verified", seen.messages), ("verified", seen.bytes)]))
        .chain(run.shares.iter().map(|share| ("shares", *share)))
        .chain(run.run_delay_ns.iter().map(|delay| ("run_delay_ns", *delay)))
        .chain(run.placement.migrations.iter().map(|moves| ("placement", *moves)));
    if let Some((field, value)) = all.into_iter().find(|(_, value)| *value > MOST) {
        return Some(odd(field, value, "and no run has more than 2^53 of anything"));
    }
    // The rest holds of a run with a result only.
    if run.status != Status::Ok {
        return None;
    }
    if let Some((field, _)) = [("messages", messages), ("elapsed_ns", elapsed_ns)].into_iter().find(|(_, n)| *n == 0) {
        return Some(odd(field, "missing or 0", "and field \"status\" is \"ok\""));
    }
    if let Some(why) = &run.invalid {
        return Some(odd("invalid", format!("{why:?}"), "and field \"status\" is \"ok\""));
    }
    let due = messages.checked_mul(run.size as u64);
    let contradicts = bytes != 0 && due != Some(bytes);
    contradicts
        .then(|| odd("bytes", bytes, &format!("and {messages} messages of {} bytes are not that many", run.size)))
}

/// No figure is negative, and none is so large that a sum over runs is none any more; JSON has no other impossible ones.
fn figures(run: &Outcome) -> Option<String> {
    let rtt = run.rtt_ns.iter().flat_map(|rtt| [Some(rtt.mean), rtt.stamped_mean]).flatten();
    let rates = run.throughput.iter().flat_map(|rate| [rate.messages_per_s, rate.bytes_per_s]);
    let cpu = run.cpu_ns_per_message.iter().flat_map(|cost| [cost.user, cost.system]);
    let switches = run.switches_per_message.iter().flat_map(|switches| [switches.voluntary, switches.involuntary]);
    let floor = run
        .floor
        .iter()
        .flat_map(|floor| floor.line_rtt_ns.iter().chain(&floor.handover_rtt_ns).copied().chain(floor.multiple));
    let load = run.load.iter().flat_map(|point| [point.offered_per_s, point.achieved_per_s, point.late_share]);
    let timer = run.timer.iter().map(|timer| timer.cost_ns);
    let named = |name: &'static str| move |value: f64| (name, value);
    let all = rtt
        .map(named("rtt_ns"))
        .chain(rates.map(named("throughput")))
        .chain(cpu.map(named("cpu_ns_per_message")))
        .chain(switches.map(named("switches_per_message")))
        .chain(floor.map(named("floor")))
        .chain(load.map(named("load")))
        .chain(timer.map(named("timer")));
    let possible = 0.0..=MOST as f64;
    let wrong = all.chain(run.fairness.map(named("fairness"))).find(|(_, value)| !possible.contains(value));
    if let Some((field, value)) = wrong {
        return Some(odd(field, value, "and nothing in it can be negative or beyond 2^53"));
    }
    let unfair = run.fairness.filter(|share| *share > 1.0);
    unfair.map(|share| odd("fairness", share, "and it is a share of one"))
}

/// Samples are added up over runs.
fn samples(run: &Outcome) -> Option<String> {
    let rtt = run.rtt_ns.iter().map(|rtt| ("rtt_ns.histogram", &rtt.histogram));
    let load = run.load.iter().flat_map(|point| {
        [
            ("load.from_intended.histogram", &point.from_intended.histogram),
            ("load.from_actual.histogram", &point.from_actual.histogram),
        ]
    });
    rtt.chain(load).find_map(|(field, pairs)| {
        let count = pairs.iter().try_fold(0_u64, |sum, (_, count)| sum.checked_add(*count).filter(|sum| *sum <= MOST));
        count.is_none().then(|| odd(field, "of more samples than any run has", "allowed are 2^53"))
    })
}
