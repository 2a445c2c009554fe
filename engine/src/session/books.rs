//! What each party counts in a window, and how it gets from the follower to the leader.
//!
//! Key decision: books are numbers in fixed words of the shared page, so that a follower that was killed leaves nothing half
//! written that could be read as something else.

use crate::shm::ledger::{Ledger, REPORT_WORDS};
use crate::sys::cpu;
use crate::sys::usage::Usage;
use crate::workload::Load;
use crate::workload::pattern::Sums;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What one party reports of one window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Books {
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Messages received and found right in this window.
    pub verified: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What the window consumed.
    pub usage: Usage,
    /// CPU at the start and at the end, where the kernel tells.
    pub cpus: [Option<usize>; 2],
    /// Moves between CPUs in this window, where the kernel tells.
    pub migrations: Option<u64>,
    /// Time for which the party was runnable without a CPU, ns, where the kernel tells.
    pub run_delay_ns: Option<u64>,
    /// What the party read in the [`Witness`].
    pub witness: u64,
    /// Clock when the last message was verified, or the loop ended.
    pub end_ns: u64,
    /// Clock before the first message; of the parties of a pattern only.
    pub start_ns: u64,
    /// What this party of a pattern sent or received.
    pub carried: Sums,
}

/// A word of private memory that was there before the second party was: the leader changes it afterwards, and only a
/// party that shares the leader's address space sees the change.
#[derive(Debug, Clone, Default)]
pub struct Witness(Arc<AtomicU64>);

/// What the leader writes there.
const TESTIMONY: u64 = 0x5AFE_ADD2_E55E_D001;

impl Witness {
    /// Whether a value that a party read there is the leader's.
    pub fn shared(read: u64) -> bool {
        read == TESTIMONY
    }

    /// Leaves there what tells the leader's memory from another one's.
    pub(super) fn testify(&self) {
        // Relaxed, as the reading.
        self.0.store(TESTIMONY, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        // Relaxed, as the write: the gate of the first window orders them.
        self.0.load(Ordering::Relaxed)
    }
}

/// Keeps one party's books over a window.
pub(super) struct Clerk<'a> {
    witness: &'a Witness,
    usage: Usage,
    cpu: Option<usize>,
    migrations: Option<u64>,
    run_delay: Option<u64>,
    verified: u64,
    bytes: u64,
}

impl<'a> Clerk<'a> {
    /// Opens the books. The counters are read last: what precedes is bookkeeping, not the window.
    pub(super) fn open(load: &Load, witness: &'a Witness) -> Self {
        let (cpu, migrations, run_delay) = (cpu::current(), cpu::migrations(), cpu::run_delay());
        let (verified, bytes) = (load.verified, load.bytes);
        Self { witness, cpu, migrations, run_delay, verified, bytes, usage: Usage::now() }
    }

    /// Reads the counters once more: what came since the books were opened was waiting for the start.
    pub(super) fn begin(&mut self) {
        self.usage = Usage::now();
    }

    /// Closes the books. The counters are read first: what follows is bookkeeping, not the window.
    pub(super) fn close(self, load: &Load, end_ns: u64) -> Books {
        self.close_with(Usage::now(), load, end_ns)
    }

    /// As [`close`](Self::close), with counters that were read right after the loop.
    pub(super) fn close_with(self, usage: Usage, load: &Load, end_ns: u64) -> Books {
        Books {
            pid: std::process::id(),
            tid: nix::unistd::gettid().as_raw() as u32,
            verified: load.verified - self.verified,
            bytes: load.bytes - self.bytes,
            usage: usage.since(self.usage),
            cpus: [self.cpu, cpu::current()],
            migrations: since(cpu::migrations(), self.migrations),
            run_delay_ns: since(cpu::run_delay(), self.run_delay),
            witness: self.witness.read(),
            end_ns,
            start_ns: 0,
            carried: Sums::default(),
        }
    }
}

/// Growth of a counter that only grows, where it could be read.
fn since(now: Option<u64>, before: Option<u64>) -> Option<u64> {
    Some(now?.saturating_sub(before?))
}

/// Books as numbers in the ledger. An option is the value plus one, or zero.
pub(super) fn post(ledger: &Ledger, books: &Books) {
    let optional = |value: Option<u64>| value.map_or(0, |v| v + 1);
    let usage = books.usage;
    let words = [
        u64::from(books.pid),
        u64::from(books.tid),
        books.verified,
        books.bytes,
        usage.user_ns,
        usage.system_ns,
        usage.voluntary,
        usage.involuntary,
        usage.minor_faults,
        usage.major_faults,
        optional(books.cpus[0].map(|c| c as u64)),
        optional(books.cpus[1].map(|c| c as u64)),
        optional(books.migrations),
        books.end_ns,
        optional(books.run_delay_ns),
        books.witness,
        books.start_ns,
        books.carried.count,
        books.carried.sum,
        books.carried.squares,
    ];
    const { assert!(20 <= REPORT_WORDS) };
    for (place, word) in ledger.report.iter().zip(words) {
        // Relaxed: the gate that is opened next publishes them all.
        place.store(word, Ordering::Relaxed);
    }
}

/// The books that [`post`] wrote.
pub(super) fn collect(ledger: &Ledger) -> Books {
    let word = |i: usize| ledger.report[i].load(Ordering::Relaxed);
    let optional = |i: usize| word(i).checked_sub(1);
    Books {
        pid: word(0) as u32,
        tid: word(1) as u32,
        verified: word(2),
        bytes: word(3),
        usage: Usage {
            user_ns: word(4),
            system_ns: word(5),
            voluntary: word(6),
            involuntary: word(7),
            minor_faults: word(8),
            major_faults: word(9),
            spent_ns: word(4).saturating_add(word(5)),
        },
        cpus: [optional(10).map(|c| c as usize), optional(11).map(|c| c as usize)],
        migrations: optional(12),
        end_ns: word(13),
        run_delay_ns: optional(14),
        witness: word(15),
        start_ns: word(16),
        carried: Sums { count: word(17), sum: word(18), squares: word(19) },
    }
}
