//! Bytes cross the boundary: what the tracer counts is what the producer sent, and they go where the mechanism says.
//!
//! Expected of a stream, per message. *Kernel* mechanisms: the payload, to the byte, in the producer's sending calls and
//! in the consumer's receiving ones (in one of the two, where the kernel copies once), and no shared memory that could
//! hold a message. *Shared memory* between processes: no payload in system calls, two processes with two address spaces,
//! and a mapping of the same object (device and inode) in both that can hold a message, where the consumer may be one that
//! only reads. *Threads*: one process, one address space. *Controls*: one party, and nothing in system calls.

use super::{Bench, EVERY, Sabotage, Tried, Verdict, one_cpu, tried};
use crate::campaign::trace::{LIMIT, Mapping, Trace, trace};
use crate::plan::{Parties, Plan, Span, Workload};
use crate::shm::ledger::Ledger;
use crate::transport::{Family, Spec};

const SIZE: usize = 16 << 10;
const MESSAGES: u64 = 40;
/// Bytes per message of wake-ups that go through a descriptor (eventfd: eight each way).
const WAKE_UPS: f64 = 16.0;
/// What the protocol of a framework adds to such a message, in bytes: the header of its one fragment (ipc-channel), flags and
/// length of a long frame (ZMTP 3).
const FRAMES: [(&str, usize); 3] = [("ipc-channel", 16), ("zeromq", 9), ("zeromq-tcp", 9)];

/// See the [module](self).
pub fn run(bench: &mut Bench<'_>) {
    let model = Plan { size: SIZE, ..one_cpu(Workload::Stream, Span::Messages(MESSAGES)) };
    let part = if bench.sabotaged(Sabotage::Bytes) { 2 } else { 1 };
    for (spec, plan) in bench.cells(EVERY, &model) {
        let subject = super::subject(&plan);
        (bench.begins)(&subject);
        let sent = Plan { size: plan.size / part, ..plan.clone() };
        let found = tried(trace(&sent, MESSAGES, LIMIT)).and_then(|trace| judge(&trace, spec, plan.size));
        bench.report("boundary", subject, &expected(spec, &plan), found);
    }
}

/// Bytes by which a message of this size crosses the boundary.
fn carried(spec: &Spec, size: usize) -> usize {
    size + FRAMES.iter().find(|(name, _)| *name == spec.name).map_or(0, |(_, frame)| *frame)
}

fn expected(spec: &Spec, plan: &Plan) -> String {
    let size = carried(spec, plan.size);
    let bytes = match spec.family {
        Family::Kernel if spec.copies >= 2 => format!("{size} B out, {size} B in"),
        Family::Kernel => format!("{size} B out or in"),
        _ => "0 B by system calls".into(),
    };
    let place = match (spec.family, plan.parties) {
        (Family::SharedMemory, Parties::Process) => "two address spaces, an object in both",
        (_, Parties::Process) => "two address spaces, no object in both",
        (_, Parties::Thread) => "one address space",
        (_, Parties::Solo) => "one party",
    };
    format!("{bytes}; {place}")
}

fn judge(trace: &Trace, spec: &Spec, size: usize) -> Tried<(bool, String)> {
    if trace.calls.iter().any(|calls| calls.contains_key("io_uring_enter")) {
        return Err((Verdict::Skipped, "the payload moves by io_uring, where a tracer sees no bytes".into()));
    }
    let (whole, how) = bytes(trace, spec, size);
    let (placed, place) = place(trace, spec);
    Ok((whole && placed, format!("{how}; {place}")))
}

fn bytes(trace: &Trace, spec: &Spec, size: usize) -> (bool, String) {
    let (out, into) = match trace.bytes[..] {
        [producer, consumer] => (producer.most_out, consumer.most_in),
        _ => (0.0, 0.0),
    };
    let whole = |bytes: f64| bytes == carried(spec, size) as f64;
    match spec.family {
        Family::Kernel if spec.copies >= 2 => (whole(out) && whole(into), format!("{out} B out, {into} B in")),
        Family::Kernel => (whole(out) || whole(into), format!("{out} B out, {into} B in")),
        _ => {
            let all = trace.bytes.iter().fold(0.0, |sum, moved| sum + moved.out + moved.into);
            (all <= WAKE_UPS, format!("{all} B by system calls"))
        }
    }
}

fn place(trace: &Trace, spec: &Spec) -> (bool, String) {
    let memory = match trace.one_memory {
        Some(true) => "one address space",
        Some(false) => "two address spaces",
        None => "address spaces not told",
    };
    match (trace.parties, &trace.pids[..]) {
        (Parties::Solo, [_]) => (true, "one party".into()),
        (Parties::Thread, [a, b]) => (a == b && trace.one_memory != Some(false), memory.into()),
        (Parties::Process, [a, b]) => {
            let shared = shared(trace);
            let fits = shared.is_some() == (spec.family == Family::SharedMemory);
            let sharing = shared.map_or("no object in both".into(), |object| format!("{object} in both"));
            (a != b && trace.one_memory != Some(true) && fits, format!("{memory}, {sharing}"))
        }
        _ => (false, "a party is missing".into()),
    }
}

/// An object that both parties map, that the producer may write, and that can hold a message.
fn shared(trace: &Trace) -> Option<&str> {
    let [producer, consumer] = &trace.maps[..] else { return None };
    // The ledger that the parties of every cell share is no object of the mechanism.
    let ledger = Ledger::region_len() as u64;
    let holds = |mapping: &&Mapping| mapping.bytes >= trace.size as u64 && mapping.bytes > ledger;
    let there = |mapping: &&Mapping| consumer.iter().filter(holds).any(|other| other.object == mapping.object);
    let written = producer.iter().filter(|mapping| mapping.writable);
    written.filter(holds).find(there).map(|mapping| mapping.object.as_str())
}
