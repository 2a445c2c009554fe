//! Many parties at work: the hub orders windows, its peers obey, and each peer has a ledger of its own.
//!
//! Key decision: the same start protocol as between two parties (an order, "ready", the window, a report), with one more
//! step: when everybody is ready, all meet at one starting line ([`Muster`]), because any of them may be a producer and the
//! hub can no longer start the window by sending. What a party does in a window is its [`Part`], chosen before the first
//! window from the pattern and from what the transport has. Rejected: the two-party session with a list of followers (its
//! start and its clock are those of a leader that sends).

use super::{Books, Clerk, Measured, TESTIMONY, WRONG, Windows, Witness, collect, complained, no_open_loop, post};
use crate::error::{Context, Error, Phase, Result};
use crate::measure::load::LoadPoint;
use crate::measure::{Histogram, floor};
use crate::party::EachAlive;
use crate::plan::{Plan, Plant, Via, Workload};
use crate::shm::ledger::Ledger;
use crate::shm::muster::Muster;
use crate::shm::region::View;
use crate::sys::clock;
use crate::sys::map;
use crate::sys::usage::Usage;
use crate::transport::{Config, Ends, Receiver, Sender, Shape, Transport};
use crate::workload::offered::Schedule;
use crate::workload::pattern::{self, Lane, Sums, first_of, quota};
use crate::workload::{Fault, Load};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How many messages of a window a party sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    /// All of them, or those that are served in turn with the others'.
    Quota { index: usize, of: usize },
    /// What it can claim before so many claimants, itself included, have claimed everything.
    Claims { of: usize },
}

/// What a party does in a window, and the ends that it does it with.
enum Work<T: Transport> {
    /// Orders only: the hub of independent pairs.
    Idle,
    /// Sends its share, then so many end messages.
    Send { tx: T::Tx, share: Share, ends: usize },
    /// Sends to each peer in turn.
    Deal(Vec<Lane<T::Tx>>),
    /// Receives from each peer in turn.
    Collect(Vec<Lane<T::Rx>>),
    /// Receives whatever comes from any peer through one object.
    Gather { rx: T::Rx, nexts: Vec<u64> },
    /// Receives one producer's messages to its end message.
    ReceiveAll(T::Rx),
    /// Receives what it gets of the messages that all compete for.
    ReceiveShare(T::Rx),
}

/// A party's part in a pattern: its work, and its payload account.
pub struct Part<T: Transport> {
    work: Work<T>,
    load: Load,
}

/// The parts of all parties.
pub struct Cast<T: Transport> {
    /// The hub's.
    pub hub: Part<T>,
    /// Those of the others, in their order.
    pub peers: Vec<Part<T>>,
    /// Through what they are connected.
    pub via: Option<Via>,
}

impl<T: Transport> Cast<T> {
    /// Creates the transport of a pattern and deals the parts.
    ///
    /// # Errors
    /// What [`Transport::shared`] and [`Transport::one_way`] say.
    pub fn set_up(plan: &Plan, cfg: &Config) -> Result<Self> {
        let of = plan.peers();
        // A planted fault is one party's: the hub's if it sends, else the first peer's.
        let part = |work, producer: usize, plant: Option<Plant>| {
            let mut load = Load::new(&Plan { plant, ..plan.clone() });
            load.next = first_of(producer);
            Part { work, load }
        };
        let first = |index: usize| plan.plant.filter(|_| index == 0);
        // Who competes may get nothing, but a planted fault has to be committed.
        let share = |index| if plan.plant.is_some() { Share::Quota { index, of } } else { Share::Claims { of } };
        let channels = || (0..of).map(|_| T::one_way(cfg)).collect::<Result<Vec<_>>>();
        let shape = match plan.workload {
            Workload::FanIn => Shape::FanIn(of),
            Workload::FanOut => Shape::FanOut(of),
            _ => {
                let pair = |(index, (tx, rx))| {
                    let work = Work::Send { tx, share: share(index), ends: 1 };
                    [part(work, index, first(index)), part(Work::ReceiveAll(rx), index, None)]
                };
                let peers = channels()?.into_iter().enumerate().flat_map(pair).collect();
                return Ok(Self { hub: part(Work::Idle, 0, None), peers, via: None });
            }
        };
        let Some(Ends { txs, rxs }) = T::shared(cfg, shape)? else {
            let (txs, rxs): (Vec<_>, Vec<_>) = channels()?.into_iter().unzip();
            let via = Some(Via::InTurn);
            return Ok(match shape {
                Shape::FanIn(_) => {
                    let send = |index, tx| Work::Send { tx, share: Share::Quota { index, of }, ends: 0 };
                    let peers = txs.into_iter().enumerate().map(|(i, tx)| part(send(i, tx), i, first(i))).collect();
                    Self { hub: part(Work::Collect(lanes(rxs)), 0, None), peers, via }
                }
                Shape::FanOut(_) => {
                    let receive = |(index, rx)| part(Work::ReceiveAll(rx), index, None);
                    let peers = rxs.into_iter().enumerate().map(receive).collect();
                    Self { hub: part(Work::Deal(lanes(txs)), 0, plan.plant), peers, via }
                }
            });
        };
        let (via, few) = (Some(Via::Shared), || Error::failed(Phase::Setup, "a shared object has no end for the hub"));
        Ok(match shape {
            Shape::FanIn(_) => {
                let rx = rxs.into_iter().next().ok_or_else(few)?;
                let send = |index, tx| Work::Send { tx, share: share(index), ends: 0 };
                let peers = txs.into_iter().enumerate().map(|(i, tx)| part(send(i, tx), i, first(i))).collect();
                let nexts = (0..of).map(first_of).collect();
                Self { hub: part(Work::Gather { rx, nexts }, 0, None), peers, via }
            }
            Shape::FanOut(_) => {
                let tx = txs.into_iter().next().ok_or_else(few)?;
                let send = Work::Send { tx, share: Share::Quota { index: 0, of: 1 }, ends: of };
                let peers = rxs.into_iter().map(|rx| part(Work::ReceiveShare(rx), 0, None)).collect();
                Self { hub: part(send, 0, plan.plant), peers, via }
            }
        })
    }
}

fn lanes<E>(ends: Vec<E>) -> Vec<Lane<E>> {
    ends.into_iter().enumerate().map(|(index, end)| Lane { end, next: first_of(index) }).collect()
}

impl<T: Transport> Part<T> {
    fn attach(&mut self) -> io::Result<()> {
        match &mut self.work {
            Work::Idle => Ok(()),
            Work::Send { tx, .. } => tx.attach(),
            Work::Deal(lanes) => lanes.iter_mut().try_for_each(|lane| lane.end.attach()),
            Work::Collect(lanes) => lanes.iter_mut().try_for_each(|lane| lane.end.attach()),
            Work::Gather { rx, .. } | Work::ReceiveAll(rx) | Work::ReceiveShare(rx) => rx.attach(),
        }
    }

    /// The part's half of a window of `n` messages, and what it carried of them.
    fn carry(&mut self, n: u64, muster: &Muster) -> Result<Sums, Fault> {
        let Self { work, load } = self;
        let first = load.next;
        match work {
            Work::Idle => {}
            Work::Send { tx, share, ends } => {
                match *share {
                    Share::Quota { index, of } => pattern::send(tx, load, quota(n, index, of))?,
                    Share::Claims { of } => {
                        while let Some(block) = muster.claim(n, of) {
                            pattern::send(tx, load, block)?;
                        }
                    }
                }
                (0..*ends).try_for_each(|_| pattern::say_end(tx, load.payload))?;
            }
            Work::Deal(lanes) => pattern::deal(lanes, load, n)?,
            Work::Collect(lanes) => pattern::collect(lanes, load, n)?,
            Work::Gather { rx, nexts } => pattern::gather(rx, load, nexts, n)?,
            Work::ReceiveAll(rx) => return pattern::receive_all(rx, load),
            Work::ReceiveShare(rx) => return pattern::receive_share(rx, load, n),
        }
        Ok(Sums { count: load.next - first, ..Sums::default() })
    }
}

/// One window of one party whose books are open and whose "ready" was said: start together, carry, close the books.
/// `None` when the start never came.
fn take_part<T: Transport>(
    part: &mut Part<T>,
    mut clerk: Clerk<'_>,
    order: (u32, u64),
    line: (&Muster, usize),
    alive: impl Fn() -> bool,
) -> Option<Result<Books, Fault>> {
    let ((step, n), (muster, parties)) = (order, line);
    if !muster.start(step, parties, alive) {
        return None;
    }
    clerk.usage = Usage::now();
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
pub struct Hub<'a, T: Transport> {
    /// Dropped first: peers that find the transport closed after that are not lost.
    papers: Presence,
    part: Part<T>,
    plan: &'a Plan,
    via: Option<Via>,
    witness: Witness,
    alive: EachAlive<'a>,
    step: u32,
}

impl<'a, T: Transport> Hub<'a, T> {
    /// Takes the hub's part and waits until every peer has taken its own.
    ///
    /// # Errors
    /// When the hub cannot be pinned or a peer does not come.
    pub fn begin(
        mut part: Part<T>,
        plan: &'a Plan,
        via: Option<Via>,
        cpu: Option<usize>,
        papers: Papers,
        witness: Witness,
        alive: EachAlive<'a>,
    ) -> Result<Self> {
        witness.0.store(TESTIMONY, Ordering::Relaxed);
        let attached =
            super::take_place(cpu).and_then(|()| part.attach().context(Phase::Start, "cannot attach the hub"));
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
        complaint.unwrap_or_else(|| Error::failed(phase, "a peer died"))
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
        let side = if self.plan.workload == Workload::FanOut { Side::Receives } else { Side::Sends };
        let shares = self.of(side, &books).map(|books| books.carried.count).collect();
        Ok(Measured { messages: n, elapsed_ns, books, shares })
    }

    /// The books of the parties on one side.
    fn of<'b>(&self, side: Side, books: &'b [Books]) -> impl Iterator<Item = &'b Books> + use<'b, T> {
        let workload = self.plan.workload;
        books.iter().enumerate().filter(move |(party, _)| Side::of(workload, *party) == Some(side)).map(|(_, b)| b)
    }

    /// That what was sent is what was received, message for message.
    fn balance(&self, books: &[Books], first: u64, n: u64) -> Result<()> {
        let total = |side| self.of(side, books).fold(Sums::default(), |sum, books| sum.plus(books.carried));
        let (sent, received) = (total(Side::Sends), total(Side::Receives));
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
            (Workload::FanOut, party) => party == 0,
            (_, 0) => return None,
            (_, party) => party % 2 == 1,
        };
        Some(if sends { Side::Sends } else { Side::Receives })
    }
}

impl<T: Transport> Windows for Hub<'_, T> {
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
pub fn obey<T: Transport>(
    mut part: Part<T>,
    cpu: Option<usize>,
    index: usize,
    papers: &Papers,
    witness: &Witness,
) -> u8 {
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

fn serve<T: Transport>(
    part: &mut Part<T>,
    cpu: Option<usize>,
    papers: &Papers,
    ledger: &Ledger,
    witness: &Witness,
) -> Result<(), String> {
    let begun = super::take_place(cpu).and_then(|()| part.attach().context(Phase::Start, "cannot attach its end"));
    begun.map_err(|error| super::no_beginning(&error))?;
    let parties = papers.ledgers.len() + 1;
    ledger.ready.open(1);
    for step in 1.. {
        // As between two parties, nobody waits here for ever: a hub that leaves demolishes the gate, one that dies takes
        // its processes along.
        if !ledger.go.pass(step, || true) {
            break;
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
