//! Two parties at work: the leader orders windows, the follower obeys, the ledger carries both.
//!
//! Key decision: a run is a sequence of *windows* (so many messages, or a floor probe), and a window begins only when the
//! follower stands at the start line. Set-up, warm-up, batch and stamped timing, the probes and the endless benches are
//! all windows, so there is one start protocol and one timing loop. Rejected: two programs that agree on a message count
//! beforehand (no calibration, no probes between); commands through the transport under test.

pub mod cast;
pub mod hub;

use crate::error::{Context, Error, Kind, Phase, Result};
use crate::measure::load::LoadPoint;
use crate::measure::{Histogram, floor};
use crate::party::Alive;
use crate::plan::{Parties, Plan, Workload};
use crate::shm::ledger::{Ledger, REPORT_WORDS};
use crate::shm::nonsense::Nonsense;
use crate::shm::region::View;
use crate::shm::stamps::{self, Stamps};
use crate::sys::clock;
use crate::sys::cpu;
use crate::sys::usage::Usage;
use crate::workload::batched::Pack;
use crate::workload::half::{Follow, Half, Lead, Solo, Whole};
use crate::workload::offered::{Pace, Schedule};
use crate::workload::pattern::Sums;
use crate::workload::{Fault, Load};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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

/// A window of messages, measured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Measured {
    /// Messages (round trips).
    pub messages: u64,
    /// From the first message built to the last one verified.
    pub elapsed_ns: u64,
    /// Leader's and follower's books; a solo party has one, a hub comes before its peers.
    pub books: Vec<Books>,
    /// How many messages each peer (each pair) of a pattern carried; else empty.
    pub shares: Vec<u64>,
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

    /// Offers the messages of `schedule`, each at its own time.
    ///
    /// # Errors
    /// As [`messages`](Self::messages); `unsupported` where nothing was laid out for it.
    fn offer(&mut self, schedule: &Schedule) -> Result<(Measured, LoadPoint)>;

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
/// As [`MESSAGES`], in a window that yields percentiles: a planted stall goes here.
const STAMPED: u32 = 6;
const OFFER: u32 = 7;
/// As [`OFFER`], to find the saturation: without the stall.
const FLOOD: u32 = 8;

fn command_of(kind: floor::Kind) -> u32 {
    match kind {
        floor::Kind::Line => FLOOR_LINE,
        floor::Kind::Lines => FLOOR_LINES,
        floor::Kind::Yield => FLOOR_YIELD,
        floor::Kind::Futex => FLOOR_FUTEX,
    }
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

    fn read(&self) -> u64 {
        // Relaxed, as the write: the gate of the first window orders them.
        self.0.load(Ordering::Relaxed)
    }
}

/// Keeps one party's books over a window.
struct Clerk<'a> {
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
    fn open(load: &Load, witness: &'a Witness) -> Self {
        let (cpu, migrations, run_delay) = (cpu::current(), cpu::migrations(), cpu::run_delay());
        let (verified, bytes) = (load.verified, load.bytes);
        Self { witness, cpu, migrations, run_delay, verified, bytes, usage: Usage::now() }
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

/// What the parties of an offered load share besides the ledger.
#[derive(Debug, Clone)]
pub struct OpenLoop {
    /// Where the follower leaves its times.
    pub stamps: View<Stamps>,
    /// Whether the parties share a CPU, so that a leader that waits has to let the follower run.
    pub polite: bool,
}

/// The leader of two parties.
pub struct Leader<'a> {
    side: Box<dyn Half>,
    load: Load,
    workload: Workload,
    window: u64,
    pack: Option<Pack>,
    ledger: Presence,
    witness: Witness,
    open: Option<OpenLoop>,
    alive: Alive<'a>,
    step: u32,
}

/// The leader's hold on the ledger: letting go of it ends the follower.
struct Presence(View<Ledger>);

impl Deref for Presence {
    type Target = Ledger;
    fn deref(&self) -> &Ledger {
        &self.0
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.go.demolish();
    }
}

impl<'a> Leader<'a> {
    /// Takes the leader's side and waits until the follower has taken its own.
    ///
    /// # Errors
    /// When the leader cannot be pinned or the follower does not come.
    pub fn begin(
        mut side: Box<dyn Half>,
        plan: &Plan,
        cpu: Option<usize>,
        ledger: View<Ledger>,
        witness: Witness,
        open: Option<OpenLoop>,
        alive: Alive<'a>,
    ) -> Result<Self> {
        witness.0.store(TESTIMONY, Ordering::Relaxed);
        if plan.parties == Parties::Thread {
            ledger.within_one_process();
        }
        let attached =
            take_place(cpu).and_then(|()| side.attach().context(Phase::Start, "cannot attach the leader's end"));
        let (load, ledger) = (Load::new(plan), Presence(ledger));
        let (workload, window, pack) = (plan.workload, plan.several.outstanding(), pack_of(plan));
        let leader = Self { side, load, workload, window, pack, ledger, witness, open, alive, step: 0 };
        attached?;
        if !leader.ledger.ready.pass(1, leader.alive) {
            return Err(leader.lost(Phase::Start));
        }
        Ok(leader)
    }

    /// Lets go of the leader's side of the transport and returns how long that took, ns; then of the follower.
    pub fn end(self) -> u64 {
        let Self { side, ledger, .. } = self;
        let start = clock::now();
        drop(side);
        let elapsed = clock::now() - start;
        drop(ledger);
        elapsed
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
                return Err(complained(&complaint, "the follower"));
            }
            Ok(collect(&self.ledger))
        } else {
            Err(self.lost(Phase::Measure))
        }
    }

    fn lost(&self, phase: Phase) -> Error {
        match self.ledger.complaint() {
            Some(complaint) => complained(&complaint, "the follower").during(phase),
            None => match self.ledger.impossible(self.step) {
                Some(nonsense) => Error::failed(phase, "the parties' books cannot be read").because(nonsense),
                None => Error::failed(phase, "the peer died"),
            },
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
            Some(complaint) => complained(&complaint, "the follower"),
            None if !(self.alive)() => Error::failed(Phase::Measure, "the peer died").because(fault),
            None => Error::failed(Phase::Measure, "the leader stopped").because(fault),
        }
    }
}

/// A party's complaint as an error: a wrong message makes the run invalid, anything else failed.
fn complained(text: &str, who: &str) -> Error {
    if let Some(why) = text.strip_prefix(REFUSED) {
        return Error::unsupported(format!("{who} could not begin: {why}"));
    }
    match text.strip_prefix(WRONG) {
        Some(how) => Error::invalid(format!("{who} received a wrong message: {how}")),
        None => Error::failed(Phase::Measure, format!("{who} stopped")).because(text),
    }
}

const WRONG: &str = "wrong: ";
/// What a party says first that the machine does not let begin.
const REFUSED: &str = "refused: ";

/// A complaint of a party that could not begin.
fn no_beginning(error: &Error) -> String {
    if error.kind() == Kind::Unsupported { format!("{REFUSED}{error}") } else { error.to_string() }
}

impl Leader<'_> {
    /// A window of `n` messages, of which `what` is the leader's half, given the clock at the window's start.
    fn window<'w>(&mut self, command: u32, n: u64, what: impl FnOnce(u64) -> Lead<'w>) -> Result<Measured> {
        self.order(command, n)?;
        let clerk = Clerk::open(&self.load, &self.witness);
        let start = clock::now();
        let result = self.side.lead(&mut self.load, n, what(start));
        let end = clock::now();
        if let Err(fault) = result {
            return Err(self.fault(&fault));
        }
        // On a shared CPU the consumer drains the last messages only when this party waits: no bookkeeping before that.
        let usage = Usage::now();
        let theirs = self.finish()?;
        let mine = clerk.close_with(usage, &self.load, end);
        // In one direction the clock stops at the consumer, whose last message is later than our last send.
        let end = if self.workload == Workload::PingPong { end } else { theirs.end_ns };
        let elapsed_ns = end.saturating_sub(start).max(1);
        Ok(Measured { messages: n, elapsed_ns, books: vec![mine, theirs], shares: vec![] })
    }
}

/// How the messages of a stream are packed, if they are.
fn pack_of(plan: &Plan) -> Option<Pack> {
    let count = plan.several.batch();
    (count > 1).then_some(Pack { size: plan.size, count })
}

/// `n` messages in whole batches.
fn whole(n: u64, pack: Option<Pack>) -> u64 {
    pack.map_or(n, |pack| n.next_multiple_of(pack.count as u64))
}

impl Windows for Leader<'_> {
    fn messages(&mut self, n: u64, histogram: Option<&mut Histogram>) -> Result<Measured> {
        let command = if histogram.is_some() { STAMPED } else { MESSAGES };
        let n = whole(n, self.pack);
        let what = match (self.load.due(n), self.pack, self.workload) {
            (Some(fault), _, workload) => Lead::Planted(workload, fault),
            (_, Some(pack), _) => Lead::Packed(pack),
            (_, _, Workload::PingPong) if self.window > 1 => Lead::Requests(self.window, histogram),
            (_, _, Workload::PingPong) => Lead::PingPong(histogram),
            _ => Lead::Stream,
        };
        self.window(command, n, |_| what)
    }

    fn offer(&mut self, schedule: &Schedule) -> Result<(Measured, LoadPoint)> {
        let Some(OpenLoop { stamps, polite }) = self.open.clone() else { return Err(no_open_loop()) };
        let n = schedule.due.len();
        // Written, not merely zeroed: pages that are zeroed on first use would be faulted in by the loop.
        let mut sent = vec![u64::MAX; n];
        let mut began = 0;
        let command = if schedule.rate.is_finite() { OFFER } else { FLOOD };
        let measured = self.window(command, n as u64, |start| {
            began = start;
            Lead::Offered(Pace { start, polite }, &schedule.due, &mut sent)
        })?;
        // Relaxed: the gate at the window's end stands between these and the follower's stores.
        let received: Vec<u64> = stamps.of(n).iter().map(|at| at.load(Ordering::Relaxed)).collect();
        let verified = measured.books.get(1).map_or(0, |books| books.verified);
        Ok((measured, LoadPoint { verified, ..LoadPoint::of(schedule, began, &sent, &received) }))
    }

    fn floor(&mut self, kind: floor::Kind) -> Result<Option<f64>> {
        floor::reset(&self.ledger);
        self.order(command_of(kind), 0)?;
        let found = floor::lead(kind, &self.ledger);
        self.finish()?;
        Ok(found)
    }
}

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

fn no_open_loop() -> Error {
    Error::unsupported("a load can only be offered in a run of that workload, between two parties")
}

/// One party that does both halves.
pub struct Alone {
    sides: Box<dyn Whole>,
    load: Load,
    workload: Workload,
    pack: Option<Pack>,
    witness: Witness,
}

impl Alone {
    /// Takes both sides.
    ///
    /// # Errors
    /// When the party cannot be pinned.
    pub fn begin(mut sides: Box<dyn Whole>, plan: &Plan, cpu: Option<usize>) -> Result<Self> {
        take_place(cpu)?;
        sides.attach().context(Phase::Start, "cannot attach")?;
        let (load, pack) = (Load::new(plan), pack_of(plan));
        Ok(Self { sides, load, workload: plan.workload, pack, witness: Witness::default() })
    }

    /// Lets go of the transport and returns how long that took, ns.
    pub fn end(self) -> u64 {
        let start = clock::now();
        drop(self.sides);
        clock::now() - start
    }
}

impl Windows for Alone {
    fn messages(&mut self, n: u64, histogram: Option<&mut Histogram>) -> Result<Measured> {
        let n = whole(n, self.pack);
        let what = match (self.load.due(n), self.pack, self.workload) {
            (Some(_), ..) => Solo::Planted,
            (_, Some(pack), _) => Solo::Packed(pack),
            (_, _, Workload::PingPong) => Solo::PingPong(histogram),
            _ => Solo::Stream,
        };
        let clerk = Clerk::open(&self.load, &self.witness);
        let start = clock::now();
        let result = self.sides.alone(&mut self.load, n, what);
        let end = clock::now();
        result.map_err(|fault| Error::invalid(format!("the control received a wrong message: {fault}")))?;
        Ok(Measured {
            messages: n,
            elapsed_ns: (end - start).max(1),
            books: vec![clerk.close(&self.load, end)],
            shares: vec![],
        })
    }

    fn offer(&mut self, _: &Schedule) -> Result<(Measured, LoadPoint)> {
        Err(no_open_loop())
    }

    fn floor(&mut self, _: floor::Kind) -> Result<Option<f64>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use crate::cell::Outcome;
    use crate::conduct::Measure;
    use crate::plan::{Arrivals, Offered, Parties, Placement, Plan, Span, Wait, Workload};
    use crate::transport::find;

    const STALL_MS: u64 = 200;
    /// Half the stall: longer than anything else that is likely to happen to a message.
    const LONG_NS: u64 = STALL_MS * 500_000;

    /// Samples above half the stall.
    fn long(pairs: &[(u64, u64)]) -> u64 {
        pairs.iter().filter(|(ns, _)| *ns >= LONG_NS).map(|(_, count)| count).sum()
    }

    fn run(mechanism: &str, plan: Plan) -> Outcome {
        let unpinned = Plan { parties: Parties::Thread, placement: Placement::Unpinned, ..plan };
        let outcome =
            find(mechanism).unwrap().run(&Plan { mechanism: mechanism.into(), ..unpinned }, &mut Measure).unwrap();
        assert_eq!(outcome.invalid, None);
        outcome
    }

    fn load(rate: Option<u64>, arrivals: Arrivals, messages: u64) -> Plan {
        let offered = Some(Offered { rate, arrivals });
        Plan { workload: Workload::OfferedLoad, offered, span: Span::Messages(messages), ..Plan::default() }
    }

    #[test]
    fn a_stall_delays_every_message_that_is_due_meanwhile_but_only_one_round_trip() {
        let (rate, n) = (20_000, 12_000);
        for mechanism in ["heap-ring", "pipe"] {
            let plan = Plan { stall_ms: STALL_MS, ..load(Some(rate), Arrivals::Constant, n) };
            let open = run(mechanism, plan.clone());
            let point = &open.load[0];
            // The consumer sleeps after a message that was due 50 us before the next one.
            assert!(point.from_intended.max >= STALL_MS * 1_000_000 - 50_000, "{point:?}");
            let affected = long(&point.from_intended.histogram);
            assert!(affected >= rate * STALL_MS / 2000 - 1, "{mechanism}: {affected} messages saw the stall");
            if mechanism == "pipe" {
                // The pipe holds 1024 of the 4000 messages that come due: the rest are sent late, and look fast from then.
                assert!(long(&point.from_actual.histogram) < affected, "{point:?}");
                assert!(point.late_share > 0.1, "{point:?}");
            }
            assert!(point.backlog_max >= rate * STALL_MS / 1000 - 1, "{mechanism}: {}", point.backlog_max);

            let plan = Plan { workload: Workload::PingPong, offered: None, ..plan };
            let closed = long(&run(mechanism, plan).rtt_ns.unwrap().histogram);
            // One by construction; the machine may have had a pause of its own.
            assert!((1..10).contains(&closed), "{mechanism}: {closed} round trips saw the stall");
        }
    }

    #[test]
    fn a_rate_beyond_any_saturation_is_not_reached_and_every_message_arrives() {
        let outcome = run("heap-ring", load(Some(1_000_000_000), Arrivals::Poisson, 50_000));
        let point = &outcome.load[0];
        assert!(!point.reached && point.achieved_per_s < 0.98e9, "{point:?}");
        assert!(point.backlog_end > 1000, "{point:?}");
        assert!(outcome.flags.iter().any(|flag| flag == "rate-not-reached"), "{:?}", outcome.flags);
        assert_eq!((point.messages, point.verified), (50_000, 50_000));
        assert_eq!(outcome.verified.unwrap().messages, 50_000);
    }

    #[test]
    fn a_sweep_has_eleven_rising_shares_of_what_it_found() {
        let outcome = run("mutex-queue", load(None, Arrivals::Poisson, 500));
        let saturation = outcome.throughput.unwrap().messages_per_s;
        let shares: Vec<_> = outcome.load.iter().map(|point| (10.0 * point.share.unwrap()).round() as u64).collect();
        assert_eq!(shares, (1..=11).collect::<Vec<_>>());
        for point in &outcome.load {
            assert!((point.offered_per_s / point.share.unwrap() / saturation - 1.0).abs() < 1e-9);
            assert!(point.achieved_per_s <= point.offered_per_s);
            assert_eq!((point.messages, point.verified), (500, 500));
        }
    }

    #[test]
    fn nothing_is_offered_to_one_party() {
        let plan = Plan { mechanism: "null".into(), parties: Parties::Solo, ..load(None, Arrivals::Poisson, 10) };
        let refused = find("null").unwrap().run(&plan, &mut Measure).unwrap_err().to_string();
        assert!(refused.contains("one party"), "{refused}");
    }

    #[test]
    fn parties_that_yield_can_be_offered_a_load_too() {
        let plan = Plan { wait: Wait::Yield, ..load(Some(10_000), Arrivals::Poisson, 200) };
        assert_eq!(run("shm-ring", plan).load[0].verified, 200);
    }
}
