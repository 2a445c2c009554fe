//! Many parties at work: the hub orders windows, its peers obey, and each peer has a ledger of its own.
//!
//! Key decision: the same start protocol as between two parties (an order, "ready", the window, a report), with one more
//! step: when everybody is ready, all meet at one starting line ([`Muster`]), because any of them may be a producer and the
//! hub can no longer start the window by sending. What a party does in a window is its [`Part`], dealt out before the first
//! window ([`cast`](super::cast)). Rejected: the two-party session with a list of followers (its
//! start and its clock are those of a leader that sends).

use super::books::{Books, Clerk, Witness, collect, post};
use super::cast::Part;
use super::{Measured, WRONG, Windows, complained, no_open_loop};
use crate::error::{Context, Error, Phase, Result};
use crate::measure::load::LoadPoint;
use crate::measure::{Histogram, floor};
use crate::party::EachAlive;
use crate::plan::{Plan, Via, Workload};
use crate::shm::ledger::Ledger;
use crate::shm::muster::Muster;
use crate::shm::region::View;
use crate::sys::clock;
use crate::sys::map;
use crate::sys::usage::Usage;
use crate::workload::Fault;
use crate::workload::offered::Schedule;
use crate::workload::pattern::Sums;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// One window of one party whose books are open and whose "ready" was said: start together, carry, close the books.
/// `None` when the start never came.
fn take_part(
    part: &mut Part,
    mut clerk: Clerk<'_>,
    order: (u32, u64),
    line: (&Muster, usize),
    alive: impl Fn() -> bool,
) -> Option<Result<Books, Fault>> {
    let ((step, n), (muster, parties)) = (order, line);
    if !muster.start(step, parties, alive) {
        return None;
    }
    clerk.begin();
    let start_ns = clock::now();
    let result = part.carry(n, muster);
    let end_ns = clock::now();
    let usage = Usage::now();
    Some(result.map(|carried| Books { start_ns, carried, ..clerk.close_with(usage, &part.load, end_ns) }))
}

/// The page of all, and the ledger of each peer.
#[derive(Debug, Clone)]
pub struct Papers {
    /// What all parties share.
    pub muster: View<Muster>,
    /// A ledger for each peer.
    pub ledgers: Vec<View<Ledger>>,
}

impl Papers {
    /// Papers for so many peers.
    ///
    /// # Errors
    /// When shared memory cannot be mapped.
    pub fn lay_out(peers: usize) -> Result<Self> {
        let page = map::anonymous_shared(Muster::bytes(peers)).context(Phase::Setup, "cannot map the ledgers")?;
        let (muster, ledgers) = Muster::lay(&Arc::new(page), peers);
        Ok(Self { muster, ledgers })
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.muster.over();
        self.0.ledgers.iter().for_each(|ledger| ledger.go.demolish());
    }
}

/// The hub's hold on the papers: letting go of it ends the peers.
struct Presence(Papers);

/// The party that orders the windows of a pattern.
pub struct Hub<'a> {
    /// Dropped first: peers that find the transport closed after that are not lost.
    papers: Presence,
    part: Part,
    plan: &'a Plan,
    via: Option<Via>,
    witness: Witness,
    alive: EachAlive<'a>,
    step: u32,
}

impl<'a> Hub<'a> {
    /// Takes the hub's part and waits until every peer has taken its own.
    ///
    /// # Errors
    /// When the hub cannot be pinned or a peer does not come.
    pub fn begin(
        mut part: Part,
        plan: &'a Plan,
        via: Option<Via>,
        cpu: Option<usize>,
        papers: Papers,
        witness: Witness,
        alive: EachAlive<'a>,
    ) -> Result<Self> {
        witness.testify();
        let attached =
            super::take_place(cpu).and_then(|()| part.work.attach().context(Phase::Start, "cannot attach the hub"));
        let hub = Self { papers: Presence(papers), part, plan, via, witness, alive, step: 0 };
        attached?;
        hub.await_ready(1, Phase::Start)?;
        Ok(hub)
    }

    /// Lets go of the hub's ends of the transport and returns how long that took, ns; then of the peers.
    pub fn end(self) -> u64 {
        let Self { part, papers, .. } = self;
        // From here on a peer that finds its transport closed and ends is not lost.
        papers.0.muster.over();
        let start = clock::now();
        drop(part);
        let elapsed = clock::now() - start;
        drop(papers);
        elapsed
    }

    fn ledgers(&self) -> impl Iterator<Item = (usize, &View<Ledger>)> {
        self.papers.0.ledgers.iter().enumerate()
    }

    fn await_ready(&self, step: u32, phase: Phase) -> Result<()> {
        match self.ledgers().all(|(index, ledger)| ledger.ready.pass(step, || (self.alive)(index))) {
            true => Ok(()),
            false => Err(self.lost(phase)),
        }
    }

    /// What a peer complained about: a wrong message before anything else, which can only be a consequence of it.
    fn complaint(&self) -> Option<Error> {
        let told = |(index, ledger): (usize, &View<Ledger>)| Some((ledger.complaint()?, index));
        let told: Vec<_> = self.ledgers().filter_map(told).collect();
        let (text, index) = told.iter().find(|(text, _)| text.starts_with(WRONG)).or(told.first())?;
        Some(complained(text, &self.plan.name_of(*index)))
    }

    fn lost(&self, phase: Phase) -> Error {
        let complaint = self.complaint().map(|error| error.during(phase));
        complaint.unwrap_or_else(|| match self.ledgers().find_map(|(_, ledger)| ledger.impossible(self.step)) {
            Some(nonsense) => Error::failed(phase, "the parties' books cannot be read").because(nonsense),
            None => Error::failed(phase, "a peer died"),
        })
    }

    /// A fault of the hub: if a peer complained, its complaint is the cause and the hub's is the symptom.
    fn fault(&self, fault: &Fault) -> Error {
        if let Fault::Wrong(_) = fault {
            return Error::invalid(format!("the hub received a wrong message: {fault}"));
        }
        let limit = clock::now() + 200_000_000;
        let quiet = || self.complaint().is_none() && self.papers.0.muster.lost().is_none();
        while quiet() && clock::now() < limit {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        self.complaint().unwrap_or_else(|| Error::failed(Phase::Measure, "the hub stopped").because(fault))
    }

    fn window(&mut self, n: u64) -> Result<Measured> {
        self.step += 1;
        let (step, first) = (self.step, self.part.load.next);
        self.papers.0.muster.reset();
        for (_, ledger) in self.ledgers() {
            ledger.count.store(n, Ordering::Relaxed);
            ledger.go.open(step);
        }
        self.await_ready(step + 1, Phase::Measure)?;
        let alive = self.alive;
        let Self { part, papers: Presence(papers), witness, .. } = &mut *self;
        let peers = papers.ledgers.len();
        let clerk = Clerk::open(&part.load, witness);
        let everybody = || (0..peers).all(alive);
        let mine = match take_part(part, clerk, (step, n), (&papers.muster, peers + 1), everybody) {
            None => return Err(self.lost(Phase::Measure)),
            Some(Err(fault)) => return Err(self.fault(&fault)),
            Some(Ok(books)) => books,
        };
        let done = self.ledgers().all(|(index, ledger)| ledger.done.pass(step, || (self.alive)(index)));
        if !done || self.complaint().is_some() {
            return Err(self.lost(Phase::Measure));
        }
        let books: Vec<Books> = std::iter::once(mine).chain(self.ledgers().map(|(_, l)| collect(l))).collect();
        self.balance(&books, first, n)?;
        let starts = self.of(Side::Sends, &books).map(|books| books.start_ns);
        let ends = self.of(Side::Receives, &books).map(|books| books.end_ns);
        let elapsed_ns = ends.max().unwrap_or(0).saturating_sub(starts.min().unwrap_or(0)).max(1);
        // Shares are those of the parties that compete, or are served: not of the hub.
        let served = matches!(self.plan.workload, Workload::FanOut | Workload::Broadcast);
        let side = if served { Side::Receives } else { Side::Sends };
        let shares = self.of(side, &books).map(|books| books.carried.count).collect();
        Ok(Measured { messages: n, elapsed_ns, books, shares })
    }

    /// The books of the parties on one side.
    fn of<'b>(&self, side: Side, books: &'b [Books]) -> impl Iterator<Item = &'b Books> + use<'b> {
        let workload = self.plan.workload;
        books.iter().enumerate().filter(move |(party, _)| Side::of(workload, *party) == Some(side)).map(|(_, b)| b)
    }

    /// That what was sent is what was received, message for message.
    fn balance(&self, books: &[Books], first: u64, n: u64) -> Result<()> {
        let total = |side| self.of(side, books).fold(Sums::default(), |sum, books| sum.plus(books.carried));
        let (sent, received) = (total(Side::Sends), total(Side::Receives));
        if self.plan.workload == Workload::Broadcast {
            let counts: Vec<u64> = self.of(Side::Receives, books).map(|books| books.carried.count).collect();
            let all = sent.count == n && counts.iter().all(|count| *count == n);
            let what = || format!("of {n} messages {} were sent and {counts:?} received, not by each all", sent.count);
            return if all { Ok(()) } else { Err(Error::invalid(what())) };
        }
        if (sent.count, received.count) != (n, n) {
            let what = format!("of {n} messages {} were sent and {} received", sent.count, received.count);
            return Err(Error::invalid(what));
        }
        if self.plan.workload == Workload::FanOut && self.via == Some(Via::Shared) && received != Sums::of(first, n) {
            return Err(Error::invalid(format!("of {n} messages some came twice and others never")));
        }
        let uneven = |pair: &[Books]| pair[0].carried.count != pair[1].carried.count;
        if self.plan.workload == Workload::Pairs && books[1..].chunks_exact(2).any(uneven) {
            return Err(Error::invalid("a pair received more or less than it sent"));
        }
        Ok(())
    }
}

/// What a party does with messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Sends,
    Receives,
}

impl Side {
    /// The side of a party, counted from the hub; the hub of pairs has none.
    fn of(workload: Workload, party: usize) -> Option<Self> {
        let sends = match (workload, party) {
            (Workload::FanIn, party) => party > 0,
            (Workload::FanOut | Workload::Broadcast, party) => party == 0,
            (_, 0) => return None,
            (_, party) => party % 2 == 1,
        };
        Some(if sends { Side::Sends } else { Side::Receives })
    }
}

impl Windows for Hub<'_> {
    fn messages(&mut self, n: u64, _: Option<&mut Histogram>) -> Result<Measured> {
        self.window(n)
    }

    fn offer(&mut self, _: &Schedule) -> Result<(Measured, LoadPoint)> {
        Err(no_open_loop())
    }

    fn floor(&mut self, _: floor::Kind) -> Result<Option<f64>> {
        Ok(None)
    }
}

/// A peer: obeys until the hub stops or leaves; returns its exit code.
pub fn obey(mut part: Part, cpu: Option<usize>, index: usize, papers: &Papers, witness: &Witness) -> u8 {
    let ledger = &papers.ledgers[index];
    // The part is let go of after this: a complaint is there before anybody can see its consequences.
    let code = match serve(&mut part, cpu, papers, ledger, witness) {
        Ok(()) => 0,
        Err(complaint) => {
            ledger.complain(&complaint);
            1
        }
    };
    drop(part);
    // Last of all, so that a hub that waits for a report finds the complaint complete.
    ledger.done.demolish();
    ledger.ready.demolish();
    code
}

fn serve(
    part: &mut Part,
    cpu: Option<usize>,
    papers: &Papers,
    ledger: &Ledger,
    witness: &Witness,
) -> Result<(), String> {
    let begun = super::take_place(cpu).and_then(|()| part.work.attach().context(Phase::Start, "cannot attach its end"));
    begun.map_err(|error| super::no_beginning(&error))?;
    let parties = papers.ledgers.len() + 1;
    ledger.ready.open(1);
    for step in 1.. {
        // As between two parties, nobody waits here for ever: a hub that leaves demolishes the gate, one that dies takes
        // its processes along.
        if !ledger.go.pass(step, || true) {
            return ledger.unordered(step).map_or(Ok(()), |nonsense| Err(nonsense.to_string()));
        }
        let n = ledger.count.load(Ordering::Relaxed);
        let clerk = Clerk::open(&part.load, witness);
        ledger.ready.open(step + 1);
        match take_part(part, clerk, (step, n), (&papers.muster, parties), || true) {
            None => break,
            Some(Ok(books)) => post(ledger, &books),
            Some(Err(fault @ Fault::Wrong(_))) => return Err(format!("{WRONG}{fault}")),
            Some(Err(fault)) => return Err(fault.to_string()),
        }
        ledger.done.open(step);
    }
    Ok(())
}
