//! From what the windows found to the journal's fields.

use super::Numbers;
use super::outcome::{CpuCost, Faults, Floor, Outcome, Rtt, Switches, Throughput, Verified};
use crate::measure::{Histogram, floor};
use crate::plan::{Parties, Plan, Workload};
use crate::session::{Books, Witness};
use crate::sys::clock;
use crate::workload::pattern::fairness;

/// Turns what was found into the journal's fields.
pub(super) fn enter(outcome: &mut Outcome, plan: &Plan, numbers: Numbers, timer: clock::Timer) {
    let Numbers { first_ns, warm_up, batch, histogram, load, line, handover, flags } = numbers;
    let per = batch.per_message_ns();
    let books: Vec<Books> = batch.books;
    let each = batch.messages.max(1) as f64;
    outcome.messages = batch.messages;
    outcome.bytes = batch.messages * plan.size as u64;
    outcome.elapsed_ns = batch.elapsed_ns;
    outcome.first_message_ns = Some(first_ns);
    outcome.warm_up_messages = warm_up;
    outcome.flags = flags;
    outcome.load = load;
    outcome.throughput = Some(Throughput { messages_per_s: 1e9 / per, bytes_per_s: 1e9 / per * plan.size as f64 });
    for party in &books {
        let usage = party.usage;
        outcome
            .cpu_ns_per_message
            .push(CpuCost { user: usage.user_ns as f64 / each, system: usage.system_ns as f64 / each });
        outcome
            .switches_per_message
            .push(Switches { voluntary: usage.voluntary as f64 / each, involuntary: usage.involuntary as f64 / each });
        outcome.faults.push(Faults { minor: usage.minor_faults, major: usage.major_faults });
        outcome.pids.push(party.pid);
        let mut seen: Vec<usize> = party.cpus.into_iter().flatten().collect();
        seen.dedup();
        outcome.placement.observed.push(seen);
        outcome.placement.migrations.extend(party.migrations);
        outcome.run_delay_ns.extend(party.run_delay_ns);
    }
    if outcome.run_delay_ns.len() != books.len() {
        outcome.run_delay_ns.clear();
    }
    // The leader's own word is beyond doubt; that of each other party tells whether it shares the leader's memory. One
    // that differs from the others is the one that counts, as it cannot be right.
    let shared = |party: &Books| Witness::shared(party.witness);
    let others = books.get(1..).unwrap_or_default();
    let expected = plan.parties == Parties::Thread;
    let odd = others.iter().map(shared).find(|shared| *shared != expected);
    outcome.one_address_space = odd.or(others.first().map(shared));
    outcome.fairness = fairness(&batch.shares);
    outcome.shares = batch.shares;
    if outcome.placement.migrations.len() != books.len() {
        outcome.placement.migrations.clear();
    }
    // The receiver's check is the one that counts; in a ping-pong the leader's replies must agree with it.
    // A message of a broadcast is verified once every consumer has done it.
    let checks = books.iter().filter(|b| b.verified > 0).map(|b| (b.verified, b.bytes));
    let verified = match plan.workload {
        Workload::Broadcast => books[1..].iter().map(|b| (b.verified, b.bytes)).min(),
        workload if workload.has_peers() => {
            checks.reduce(|all, one| (all.0.saturating_add(one.0), all.1.saturating_add(one.1)))
        }
        _ => checks.min(),
    };
    outcome.verified = verified.map(|(messages, bytes)| Verified { messages, bytes });
    // Little's law: with one request under way, a round trip lasts as long as the time between two of them.
    let window = plan.several.outstanding() as f64;
    if plan.workload == Workload::PingPong {
        outcome.rtt_ns = Some(rtt(window * per, histogram.as_ref()));
        if let Some(histogram) = histogram.filter(|h| h.len() >= 1000) {
            let apart = (histogram.mean() / window - per).abs();
            if apart > 3.0 * timer.cost_ns + 0.25 * per {
                outcome.flags.push("batch-and-stamped-disagree".into());
            }
        }
    }
    let mean = |pair: &[f64]| (!pair.is_empty()).then(|| pair.iter().sum::<f64>() / pair.len() as f64);
    if !line.is_empty() || !handover.is_empty() {
        let one_at_a_time = plan.workload == Workload::PingPong && plan.several.outstanding.is_none();
        for (name, pair) in [("line-floor-moved", &line), ("handover-floor-moved", &handover)] {
            if let [before, after] = pair[..]
                && (before / after - 1.0).abs() > 0.10
            {
                outcome.flags.push(name.into());
            }
        }
        outcome.floor = Some(Floor {
            multiple: mean(&handover).filter(|_| one_at_a_time).map(|floor| per / floor),
            kind: (!handover.is_empty()).then(|| floor::Kind::for_wait(plan.wait)),
            line_rtt_ns: line,
            handover_rtt_ns: handover,
        });
    }
}

fn rtt(mean: f64, histogram: Option<&Histogram>) -> Rtt {
    let stamped = histogram.filter(|h| !h.is_empty());
    let at = |q| stamped.and_then(|h| h.quantile(q));
    Rtt {
        mean,
        min: stamped.map(Histogram::min),
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: stamped.map(Histogram::max),
        stamped_mean: stamped.map(Histogram::mean),
        histogram: stamped.map(Histogram::to_pairs).unwrap_or_default(),
    }
}
