//! The follower of two parties: stands at the start line, does its half of what was ordered, and reports.

use super::books::{Clerk, Witness, post};
use super::orders::{FLOOD, FLOOR_FUTEX, FLOOR_LINE, FLOOR_LINES, FLOOR_YIELD, MESSAGES, OFFER, STAMPED};
use super::{WRONG, no_beginning, pack_of, take_place};
use crate::error::{Context, Phase};
use crate::measure::floor;
use crate::plan::{Plan, Workload};
use crate::shm::ledger::Ledger;
use crate::shm::nonsense::Nonsense;
use crate::shm::stamps::{self, Stamps};
use crate::sys::clock;
use crate::workload::half::{Follow, Half};
use crate::workload::{Fault, Load};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The follower: obeys until the leader stops or leaves; returns its exit code.
pub fn follow(
    side: Box<dyn Half>,
    plan: &Plan,
    cpu: Option<usize>,
    ledger: &Ledger,
    witness: &Witness,
    stamps: Option<&Stamps>,
) -> u8 {
    let code = obey(side, plan, cpu, ledger, witness, stamps);
    // Last of all, so that a leader that waits for a report finds the complaint complete.
    ledger.done.demolish();
    ledger.ready.demolish();
    code
}

fn obey(
    mut side: Box<dyn Half>,
    plan: &Plan,
    cpu: Option<usize>,
    ledger: &Ledger,
    witness: &Witness,
    stamps: Option<&Stamps>,
) -> u8 {
    let complain = |text: &str| {
        ledger.complain(text);
        1
    };
    if let Err(error) = take_place(cpu) {
        return complain(&no_beginning(&error));
    }
    if let Err(error) = side.attach().context(Phase::Start, "cannot attach the follower's end") {
        return complain(&no_beginning(&error));
    }
    if let Some(stamps) = stamps {
        stamps.prefault();
    }
    let (mut load, pack) = (Load::new(plan), pack_of(plan));
    ledger.ready.open(1);
    for step in 1.. {
        // A leader that dies takes a forked follower along (parent-death signal), and a thread's leader demolishes the
        // gate when it is dropped: nobody waits here for ever.
        if !ledger.go.pass(step, || true) {
            return ledger.unordered(step).map_or(0, |nonsense| complain(&nonsense.to_string()));
        }
        let n = ledger.count.load(Ordering::Relaxed);
        match ledger.command.load(Ordering::Relaxed) {
            command @ (MESSAGES | STAMPED | OFFER | FLOOD) => {
                let stamps = stamps.filter(|_| matches!(command, OFFER | FLOOD));
                let room = if stamps.is_some() { stamps::MOST as u64 } else { u64::MAX };
                if let Some(nonsense) = Nonsense::unless_within("the messages of a window", n, 0, room) {
                    return complain(&nonsense.to_string());
                }
                let received = stamps.map(|stamps| stamps.of(n as usize));
                let clerk = Clerk::open(&load, witness);
                ledger.ready.open(step + 1);
                let stall_ms = if matches!(command, STAMPED | OFFER) { plan.stall_ms } else { 0 };
                let result = match pack {
                    Some(pack) => side.follow(&mut load, n, Follow::Packed(pack)),
                    None => carry(&mut *side, plan.workload, &mut load, n, received, stall_ms),
                };
                let end = clock::now();
                if let Err(fault) = result {
                    let wrong = matches!(fault, Fault::Wrong(_));
                    return complain(&format!("{}{fault}", if wrong { WRONG } else { "" }));
                }
                post(ledger, &clerk.close(&load, end));
            }
            FLOOR_LINE => probe(floor::Kind::Line, step, ledger),
            FLOOR_LINES => probe(floor::Kind::Lines, step, ledger),
            FLOOR_YIELD => probe(floor::Kind::Yield, step, ledger),
            FLOOR_FUTEX => probe(floor::Kind::Futex, step, ledger),
            other => {
                let (word, low, high) = ("the order", u64::from(MESSAGES), u64::from(FLOOD));
                return complain(&Nonsense { word, value: u64::from(other), low, high }.to_string());
            }
        }
        ledger.done.open(step);
    }
    0
}

/// The follower's half of a window; with a planted stall it sleeps in the middle, between two calls of the same loop, so
/// that the loop is the one that is always measured.
fn carry(
    side: &mut dyn Half,
    workload: Workload,
    load: &mut Load,
    n: u64,
    received: Option<&[AtomicU64]>,
    stall_ms: u64,
) -> Result<(), Fault> {
    let mut part = |from: u64, to: u64| match (workload, received) {
        (Workload::PingPong, _) => side.follow(load, to - from, Follow::PingPong),
        (Workload::OfferedLoad, Some(received)) => {
            side.follow(load, to - from, Follow::Offered(&received[from as usize..to as usize]))
        }
        (..) => side.follow(load, to - from, Follow::Stream),
    };
    if stall_ms == 0 {
        return part(0, n);
    }
    part(0, n / 2)?;
    std::thread::sleep(Duration::from_millis(stall_ms));
    part(n / 2, n)
}

fn probe(kind: floor::Kind, step: u32, ledger: &Ledger) {
    ledger.ready.open(step + 1);
    floor::follow(kind, ledger);
}
