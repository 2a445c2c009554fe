//! Two parties at work: the leader orders windows, the follower obeys, the ledger carries both.
//!
//! Key decision: a run is a sequence of *windows* (so many messages, or a floor probe), and a window begins only when the
//! follower stands at the start line. Set-up, warm-up, batch and stamped timing, the probes and the endless benches are
//! all windows, so there is one start protocol and one timing loop. Rejected: two programs that agree on a message count
//! beforehand (no calibration, no probes between); commands through the transport under test.

use crate::error::{Error, Phase, Result};
use crate::measure::{Histogram, floor};
use crate::party::Alive;
use crate::plan::{Plan, Workload};
use crate::shm::ledger::{Ledger, REPORT_WORDS};
use crate::shm::region::View;
use crate::sys::clock;
use crate::sys::cpu;
use crate::sys::usage::Usage;
use crate::transport::{Side, Transport};
use crate::workload::{Batch, Fault, Load, Stamped, ping_pong, plant, stream};
use std::sync::atomic::Ordering;

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
    /// Moves between CPUs so far in the thread's life, where the kernel tells.
    pub migrations: Option<u64>,
    /// Clock when the last message was verified, or the loop ended.
    pub end_ns: u64,
}

/// A window of messages, measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measured {
    /// Messages (round trips).
    pub messages: u64,
    /// From the first message built to the last one verified.
    pub elapsed_ns: u64,
    /// Leader's and follower's books; a solo party has one.
    pub books: [Option<Books>; 2],
}

impl Measured {
    /// Time per message (per round trip) in ns.
    pub fn per_message_ns(&self) -> f64 {
        self.elapsed_ns as f64 / self.messages.max(1) as f64
    }
}

/// What a conductor can order.
pub trait Windows {
    /// Carries `n` messages; with a histogram every round trip is stamped into it, without one the clock is read twice.
    ///
    /// # Errors
    /// When the transport fails, the peer dies, or a message is wrong.
    fn messages(&mut self, n: u64, histogram: Option<&mut Histogram>) -> Result<Measured>;

    /// Probes the bare hand-over between the parties; `None` when it is too slow to tell, or there is one party only.
    ///
    /// # Errors
    /// When the peer dies.
    fn floor(&mut self, kind: floor::Kind) -> Result<Option<f64>>;
}

const MESSAGES: u32 = 1;
const FLOOR_LINE: u32 = 2;
const FLOOR_LINES: u32 = 3;
const FLOOR_YIELD: u32 = 4;
const FLOOR_FUTEX: u32 = 5;

fn command_of(kind: floor::Kind) -> u32 {
    match kind {
        floor::Kind::Line => FLOOR_LINE,
        floor::Kind::Lines => FLOOR_LINES,
        floor::Kind::Yield => FLOOR_YIELD,
        floor::Kind::Futex => FLOOR_FUTEX,
    }
}

/// Keeps one party's books over a window.
struct Clerk {
    usage: Usage,
    cpu: Option<usize>,
    verified: u64,
    bytes: u64,
}

impl Clerk {
    fn open(load: &Load) -> Self {
        Self { usage: Usage::now(), cpu: cpu::current(), verified: load.verified, bytes: load.bytes }
    }

    /// Closes the books. The counters are read first: what follows is bookkeeping, not the window.
    fn close(self, load: &Load, end_ns: u64) -> Books {
        self.close_with(Usage::now(), load, end_ns)
    }

    /// As [`close`](Self::close), with counters that were read right after the loop.
    fn close_with(self, usage: Usage, load: &Load, end_ns: u64) -> Books {
        Books {
            pid: std::process::id(),
            tid: nix::unistd::gettid().as_raw() as u32,
            verified: load.verified - self.verified,
            bytes: load.bytes - self.bytes,
            usage: usage.since(self.usage),
            cpus: [self.cpu, cpu::current()],
            migrations: cpu::migrations(),
            end_ns,
        }
    }
}

/// Books as numbers in the ledger. An option is the value plus one, or zero.
fn post(ledger: &Ledger, books: &Books) {
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
    ];
    const { assert!(14 <= REPORT_WORDS) };
    for (place, word) in ledger.report.iter().zip(words) {
        // Relaxed: the gate that is opened next publishes them all.
        place.store(word, Ordering::Relaxed);
    }
}

fn collect(ledger: &Ledger) -> Books {
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
        },
        cpus: [optional(10).map(|c| c as usize), optional(11).map(|c| c as usize)],
        migrations: optional(12),
        end_ns: word(13),
    }
}

/// Pins the calling party, if it is to be pinned.
///
/// # Errors
/// `unsupported` when the kernel refuses.
pub fn take_place(cpu: Option<usize>) -> Result<()> {
    let Some(cpu) = cpu else { return Ok(()) };
    cpu::pin(cpu).map_err(|error| {
        Error::unsupported(format!("cannot pin a party to CPU {cpu}"))
            .because(error)
            .hint("use --placement unpinned where affinity is not permitted")
    })
}

/// The leader of two parties.
pub struct Leader<'a, T: Transport> {
    side: Side<T>,
    load: Load,
    workload: Workload,
    ledger: View<Ledger>,
    alive: Alive<'a>,
    step: u32,
}

impl<'a, T: Transport> Leader<'a, T> {
    /// Takes the leader's side and waits until the follower has taken its own.
    ///
    /// # Errors
    /// When the leader cannot be pinned or the follower does not come.
    pub fn begin(
        mut side: Side<T>,
        plan: &Plan,
        cpu: Option<usize>,
        ledger: View<Ledger>,
        alive: Alive<'a>,
    ) -> Result<Self> {
        let attached = take_place(cpu).and_then(|()| {
            side.attach().map_err(|e| Error::failed(Phase::Start, "cannot attach the leader's end").because(e))
        });
        let leader = Self { side, load: Load::new(plan), workload: plan.workload, ledger, alive, step: 0 };
        attached?;
        if !leader.ledger.ready.pass(1, leader.alive) {
            return Err(leader.lost(Phase::Start));
        }
        Ok(leader)
    }

    /// Orders a window and returns when the follower stands at its start line.
    fn order(&mut self, command: u32, count: u64) -> Result<()> {
        self.step += 1;
        self.ledger.command.store(command, Ordering::Relaxed);
        self.ledger.count.store(count, Ordering::Relaxed);
        self.ledger.go.open(self.step);
        // The follower's first "ready" (step 1) said that it had attached; windows count on from there.
        if self.ledger.ready.pass(self.step + 1, self.alive) { Ok(()) } else { Err(self.lost(Phase::Measure)) }
    }

    fn finish(&self) -> Result<Books> {
        if self.ledger.done.pass(self.step, self.alive) {
            if let Some(complaint) = self.ledger.complaint() {
                return Err(complained(&complaint));
            }
            Ok(collect(&self.ledger))
        } else {
            Err(self.lost(Phase::Measure))
        }
    }

    fn lost(&self, phase: Phase) -> Error {
        match self.ledger.complaint() {
            Some(complaint) => complained(&complaint).during(phase),
            None => Error::failed(phase, "the peer died"),
        }
    }

    /// A fault of the leader: if the follower complained, its complaint is the cause and the leader's is the symptom.
    fn fault(&self, fault: &Fault) -> Error {
        if let Fault::Wrong(_) = fault {
            return Error::invalid(format!("the leader received a wrong message: {fault}"));
        }
        // A follower that stops complains right after it let go of its ends: give it a moment, but not for ever, since
        // a healthy follower waits for our next message.
        let limit = clock::now() + 200_000_000;
        self.ledger.done.pass(self.step, || (self.alive)() && clock::now() < limit);
        match self.ledger.complaint() {
            Some(complaint) => complained(&complaint),
            None if !(self.alive)() => Error::failed(Phase::Measure, "the peer died").because(fault),
            None => Error::failed(Phase::Measure, "the leader stopped").because(fault),
        }
    }
}

/// A follower's complaint as an error: a wrong message makes the run invalid, anything else failed.
fn complained(text: &str) -> Error {
    match text.strip_prefix(WRONG) {
        Some(how) => Error::invalid(format!("the follower received a wrong message: {how}")),
        None => Error::failed(Phase::Measure, "the follower stopped").because(text),
    }
}

const WRONG: &str = "wrong: ";

impl<T: Transport> Windows for Leader<'_, T> {
    fn messages(&mut self, n: u64, histogram: Option<&mut Histogram>) -> Result<Measured> {
        self.order(MESSAGES, n)?;
        let clerk = Clerk::open(&self.load);
        let start = clock::now();
        let (side, load) = (&mut self.side, &mut self.load);
        let result = match (self.workload, histogram, load.due(n)) {
            (workload, _, Some(fault)) => plant::lead(side, load, n, workload, fault),
            (Workload::PingPong, None, _) => ping_pong::lead(side, load, n, &mut Batch),
            (Workload::PingPong, Some(histogram), _) => ping_pong::lead(side, load, n, &mut Stamped::new(histogram)),
            (Workload::Stream, ..) => stream::lead(side, load, n),
        };
        let end = clock::now();
        if let Err(fault) = result {
            return Err(self.fault(&fault));
        }
        // On a shared CPU the consumer drains the last messages only when this party waits: no bookkeeping before that.
        let usage = Usage::now();
        let theirs = self.finish()?;
        let mine = clerk.close_with(usage, &self.load, end);
        // In a stream the clock stops at the consumer, whose last message is later than our last send.
        let end = if self.workload == Workload::Stream { theirs.end_ns } else { end };
        Ok(Measured { messages: n, elapsed_ns: end.saturating_sub(start).max(1), books: [Some(mine), Some(theirs)] })
    }

    fn floor(&mut self, kind: floor::Kind) -> Result<Option<f64>> {
        floor::reset(&self.ledger);
        self.order(command_of(kind), 0)?;
        let found = floor::lead(kind, &self.ledger);
        self.finish()?;
        Ok(found)
    }
}

impl<T: Transport> Drop for Leader<'_, T> {
    fn drop(&mut self) {
        self.ledger.go.demolish();
    }
}

/// The follower: obeys until the leader stops or leaves; returns its exit code.
pub fn follow<T: Transport>(side: Side<T>, plan: &Plan, cpu: Option<usize>, ledger: &Ledger) -> u8 {
    let code = obey(side, plan, cpu, ledger);
    // Last of all, so that a leader that waits for a report finds the complaint complete.
    ledger.done.demolish();
    ledger.ready.demolish();
    code
}

fn obey<T: Transport>(mut side: Side<T>, plan: &Plan, cpu: Option<usize>, ledger: &Ledger) -> u8 {
    let complain = |text: &str| {
        ledger.complain(text);
        1
    };
    if let Err(error) = take_place(cpu) {
        return complain(&error.to_string());
    }
    if let Err(error) = side.attach() {
        return complain(&format!("cannot attach the follower's end: {error}"));
    }
    let mut load = Load::new(plan);
    ledger.ready.open(1);
    for step in 1.. {
        // A leader that dies takes a forked follower along (parent-death signal), and a thread's leader demolishes the
        // gate when it is dropped: nobody waits here for ever.
        if !ledger.go.pass(step, || true) {
            return 0;
        }
        let n = ledger.count.load(Ordering::Relaxed);
        match ledger.command.load(Ordering::Relaxed) {
            MESSAGES => {
                let clerk = Clerk::open(&load);
                ledger.ready.open(step + 1);
                let result = match plan.workload {
                    Workload::PingPong => ping_pong::follow(&mut side, &mut load, n),
                    Workload::Stream => stream::follow(&mut side, &mut load, n),
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
            _ => return 0,
        }
        ledger.done.open(step);
    }
    0
}

fn probe(kind: floor::Kind, step: u32, ledger: &Ledger) {
    ledger.ready.open(step + 1);
    floor::follow(kind, ledger);
}

/// One party that does both halves.
pub struct Alone<T: Transport> {
    sides: [Side<T>; 2],
    load: Load,
    workload: Workload,
}

impl<T: Transport> Alone<T> {
    /// Takes both sides.
    ///
    /// # Errors
    /// When the party cannot be pinned.
    pub fn begin(mut sides: [Side<T>; 2], plan: &Plan, cpu: Option<usize>) -> Result<Self> {
        take_place(cpu)?;
        for side in &mut sides {
            side.attach().map_err(|e| Error::failed(Phase::Start, "cannot attach").because(e))?;
        }
        Ok(Self { sides, load: Load::new(plan), workload: plan.workload })
    }
}

impl<T: Transport> Windows for Alone<T> {
    fn messages(&mut self, n: u64, histogram: Option<&mut Histogram>) -> Result<Measured> {
        let clerk = Clerk::open(&self.load);
        let start = clock::now();
        let (sides, load) = (&mut self.sides, &mut self.load);
        let result = match (self.workload, histogram, load.due(n)) {
            (_, _, Some(_)) => plant::alone(sides, load, n),
            (Workload::PingPong, None, _) => ping_pong::alone(sides, load, n, &mut Batch),
            (Workload::PingPong, Some(histogram), _) => ping_pong::alone(sides, load, n, &mut Stamped::new(histogram)),
            (Workload::Stream, ..) => stream::alone(sides, load, n),
        };
        let end = clock::now();
        result.map_err(|fault| Error::invalid(format!("the control received a wrong message: {fault}")))?;
        Ok(Measured {
            messages: n,
            elapsed_ns: (end - start).max(1),
            books: [Some(clerk.close(&self.load, end)), None],
        })
    }

    fn floor(&mut self, _: floor::Kind) -> Result<Option<f64>> {
        Ok(None)
    }
}
