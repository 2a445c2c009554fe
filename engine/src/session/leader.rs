//! The leader of two parties: orders each window and does its own half of it.

use super::books::{Books, Clerk, Witness, collect};
use super::orders::{FLOOD, MESSAGES, OFFER, STAMPED, command_of};
use super::{Measured, Windows, complained, no_open_loop, pack_of, take_place, whole};
use crate::error::{Context, Error, Phase, Result};
use crate::measure::load::LoadPoint;
use crate::measure::{Histogram, floor};
use crate::party::Alive;
use crate::plan::{Parties, Plan, Workload};
use crate::shm::ledger::Ledger;
use crate::shm::region::View;
use crate::shm::stamps::Stamps;
use crate::sys::clock;
use crate::sys::usage::Usage;
use crate::workload::batched::Pack;
use crate::workload::half::{Half, Lead};
use crate::workload::offered::{Pace, Schedule};
use crate::workload::{Fault, Load};
use std::ops::Deref;
use std::sync::atomic::Ordering;

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
        witness.testify();
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
