//! Workers, their queue, the schedule of their client, and the ledger in which requests leave their times.
//!
//! Key decision: the ledger is shared memory, so that what a worker wrote there outlives it.

use super::{BURST, MOST, SERVICE, WORKERS};
use crate::error::{Context, Error, Phase, Result};
use crate::measure::stats::Estimate;
use crate::plan::Parties;
use crate::shm::tally::Tally;
use crate::sys::process::{Child, fork_child};
use crate::sys::{clock, fd};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What requests leave behind: for each, when it was due, who took it, when it was done, and how often.
#[derive(Clone)]
pub(super) struct Ledger(Tally);

impl Ledger {
    fn new() -> Result<Self> {
        Ok(Self(Tally::new(1 + 4 * MOST as usize).context(Phase::Setup, "cannot make shared memory")?))
    }

    fn word(&self, request: u64, which: usize) -> &AtomicU64 {
        &self.0[1 + 4 * (request % MOST) as usize + which]
    }

    pub(super) fn due(&self, request: u64) -> &AtomicU64 {
        self.word(request, 0)
    }

    /// The worker's number plus one.
    pub(super) fn taken(&self, request: u64) -> &AtomicU64 {
        self.word(request, 1)
    }

    pub(super) fn done(&self, request: u64) -> &AtomicU64 {
        self.word(request, 2)
    }

    pub(super) fn times(&self, request: u64) -> &AtomicU64 {
        self.word(request, 3)
    }

    /// When the replacement ran its first instruction.
    pub(super) fn replaced(&self) -> &AtomicU64 {
        &self.0[0]
    }

    /// The times between the ends of what one worker did, ns.
    fn cycles(&self, worker: u64, requests: std::ops::Range<u64>) -> Vec<f64> {
        let its = requests.filter(|request| self.taken(*request).load(Ordering::Acquire) == worker);
        let mut ends: Vec<u64> = its.map(|request| self.done(request).load(Ordering::Acquire)).collect();
        ends.sort_unstable();
        ends.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect()
    }
}

/// Workers, their queue and their books.
pub(super) struct Shop {
    parties: Parties,
    pub(super) ledger: Ledger,
    queue: (PipeReader, PipeWriter),
}

impl Shop {
    pub(super) fn new(parties: Parties) -> Result<Self> {
        let make = || -> io::Result<_> {
            let queue = io::pipe()?;
            // A client that waited for room would not send at its rate. The default length holds what most launches
            // need.
            let _ = fd::set_pipe_capacity(&queue.1, 1 << 18);
            fd::set_nonblocking(&queue.1, true)?;
            Ok(queue)
        };
        Ok(Self { parties, ledger: Ledger::new()?, queue: make().context(Phase::Setup, "cannot make a queue")? })
    }

    /// Puts a request into the queue; false when there is no room.
    fn send(&self, request: u64) -> bool {
        (&self.queue.1).write_all(&request.to_le_bytes()).is_ok()
    }

    /// One worker, until it is killed.
    fn work(&self, number: u64) -> io::Result<()> {
        loop {
            let mut bytes = [0; 8];
            // All requests are of one length and written whole, so they are read whole: pipe(7).
            (&self.queue.0).read_exact(&mut bytes)?;
            let request = u64::from_le_bytes(bytes);
            self.ledger.taken(request).store(number + 1, Ordering::Release);
            std::thread::sleep(SERVICE);
            self.ledger.times(request).fetch_add(1, Ordering::Relaxed);
            // The first answer counts. Release: the count above is visible to whoever sees it done.
            let _ = self.ledger.done(request).compare_exchange(0, clock::now(), Ordering::Release, Ordering::Relaxed);
        }
    }

    /// The workers with these numbers: a process each, or one process with a thread each.
    pub(super) fn hire(&self, numbers: &[u64]) -> Result<Vec<Child>> {
        let announce = || {
            let _ = self.ledger.replaced().compare_exchange(0, clock::now(), Ordering::Relaxed, Ordering::Relaxed);
        };
        let alone = |number: &u64| {
            fork_child(|| {
                announce();
                u8::from(self.work(*number).is_err())
            })
        };
        let together = || {
            announce();
            std::thread::scope(|scope| numbers.iter().for_each(|number| drop(scope.spawn(|| self.work(*number)))));
            0
        };
        let children: io::Result<Vec<Child>> = match self.parties {
            Parties::Thread => fork_child(together).map(|child| vec![child]),
            _ => numbers.iter().map(alone).collect(),
        };
        children.context(Phase::Start, "cannot start a worker")
    }

    /// What all workers do together, requests per second.
    pub(super) fn capacity(&self) -> Result<f64> {
        let deadline = clock::now() + 5_000_000_000;
        (0..BURST).for_each(|request| _ = self.send(request));
        while (0..BURST).any(|request| self.ledger.done(request).load(Ordering::Acquire) == 0) {
            if clock::now() > deadline {
                return Err(Error::timeout(Phase::WarmUp, "the workers do not answer"));
            }
            std::thread::sleep(SERVICE);
        }
        let cycles = (1..=WORKERS).flat_map(|worker| self.ledger.cycles(worker, 0..BURST));
        // The median, since whatever disturbs a worker only makes it slower for a moment.
        let cycle = Estimate::of(cycles).map_or(SERVICE.as_nanos() as f64, |cycle| cycle.median);
        Ok(WORKERS as f64 * 1e9 / cycle)
    }

    /// The client: sends requests evenly from `start` on.
    pub(super) fn offer(&self, schedule: &Schedule) {
        for request in schedule.requests() {
            let due = schedule.due(request);
            while let wait @ 1.. = due.saturating_sub(clock::now()) {
                std::thread::sleep(Duration::from_nanos(wait));
            }
            self.ledger.due(request).store(due, Ordering::Release);
            if !self.send(request) {
                break;
            }
        }
    }

    /// Sends again what these dead workers had taken and not done; with `planted`, also some that were done.
    pub(super) fn again(&self, dead: &[u64], schedule: &Schedule, planted: bool) {
        let dead: Vec<u64> = dead.iter().map(|number| number + 1).collect();
        let of_dead = |request: &u64| dead.contains(&self.ledger.taken(*request).load(Ordering::Acquire));
        let is_done = |request: &u64| self.ledger.done(*request).load(Ordering::Acquire) > 0;
        schedule.requests().filter(of_dead).filter(|r| !is_done(r)).for_each(|request| _ = self.send(request));
        if planted {
            schedule.requests().filter(is_done).take(5).for_each(|request| _ = self.send(request));
        }
    }
}

/// When requests are due.
pub(super) struct Schedule {
    pub(super) start: u64,
    pub(super) period_ns: f64,
    pub(super) number: u64,
}

impl Schedule {
    pub(super) fn requests(&self) -> std::ops::Range<u64> {
        BURST..BURST + self.number
    }

    pub(super) fn due(&self, request: u64) -> u64 {
        self.start + ((request - BURST) as f64 * self.period_ns) as u64
    }

    pub(super) fn end(&self) -> u64 {
        self.start + (self.number as f64 * self.period_ns) as u64
    }
}

/// Waits until the queue is empty and nobody alive is at a request, seen several times in a row: a worker that has just
/// read a request has not said so yet.
pub(super) fn drain(shop: &Shop, schedule: &Schedule, dead: &[u64]) -> Result<()> {
    let (mut calm, end) = (0, clock::now() + 5_000_000_000);
    let at_rest = |request: u64| {
        let taken = shop.ledger.taken(request).load(Ordering::Acquire);
        let by_dead = dead.iter().any(|number| number + 1 == taken);
        taken == 0 || by_dead || shop.ledger.done(request).load(Ordering::Acquire) > 0
    };
    while calm < 5 {
        if clock::now() > end {
            return Err(Error::timeout(Phase::Measure, "the workers do not empty the queue"));
        }
        std::thread::sleep(SERVICE);
        let quiet = fd::pending(&shop.queue.0).is_ok_and(|bytes| bytes == 0) && schedule.requests().all(at_rest);
        calm = if quiet { calm + 1 } else { 0 };
    }
    Ok(())
}
