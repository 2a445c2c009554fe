//! A planted fault makes a run invalid for the right reason, and the same run without it is valid.

use super::{Bench, EVERY, Sabotage, Tried, one_cpu, subject};
use crate::cell::Status;
use crate::plan::{Parties, Plan, Plant, Span, Workload};

const MESSAGES: Span = Span::Messages(200);

/// What the reason must say. A receiver cannot tell a lost message from the first of two that were swapped.
fn word(plant: Plant) -> &'static str {
    match plant {
        Plant::Flip => "is wrong from byte",
        Plant::Drop => "(lost",
        Plant::Double => "(doubled",
        Plant::Swap => "reordered)",
    }
}

/// See the [module](self).
pub fn run(bench: &mut Bench<'_>) {
    let plant = match bench.sabotage {
        Some(Sabotage::Flip) => Some(Plant::Flip),
        Some(Sabotage::Drop) => Some(Plant::Drop),
        Some(Sabotage::Double) => Some(Plant::Double),
        Some(Sabotage::Swap) => Some(Plant::Swap),
        _ => None,
    };
    for (_, mut healthy) in bench.cells(EVERY, &one_cpu(Workload::Stream, MESSAGES)) {
        let solo = healthy.parties == Parties::Solo;
        healthy.plant = plant.filter(|plant| !solo || *plant == Plant::Flip);
        let expected = if solo { "flip" } else { "flip, drop, double, swap" };
        let found = check(bench, &healthy);
        bench.report("faults", subject(&healthy), &format!("healthy ok, {expected} caught"), found);
    }
}

fn check(bench: &mut Bench<'_>, healthy: &Plan) -> Tried<(bool, String)> {
    bench.healthy(healthy)?;
    let offered = if healthy.parties == Parties::Solo { &[Plant::Flip] } else { Plant::ALL };
    let streams = offered.iter().map(|plant| (Workload::Stream, *plant));
    // A message that never comes is waited for in a ping-pong: only a wrong one can be noticed there.
    let cells = streams.chain([(Workload::PingPong, Plant::Flip)]);
    let mut missed = Vec::new();
    for (workload, plant) in cells {
        let outcome = bench.launch(&Plan { workload, plant: Some(plant), ..healthy.clone() });
        let reason = outcome.reason.unwrap_or_default();
        if outcome.status != Status::Invalid || !reason.contains(word(plant)) {
            missed.push(format!("{workload} with {plant}: {:?} {reason}", outcome.status));
        }
    }
    let caught = offered.iter().map(|plant| plant.word()).collect::<Vec<_>>().join(", ");
    let found = if missed.is_empty() { format!("healthy ok, {caught} caught") } else { missed.join("; ") };
    Ok((missed.is_empty(), found))
}
