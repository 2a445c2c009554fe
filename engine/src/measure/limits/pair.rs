//! The two parties between which the floors are measured.
//!
//! Key decision: one forked follower for everything; each task says on which CPU it is to be done, and the follower moves
//! there first. It sleeps between tasks, so it is in nobody's way on the leader's CPU. Rejected: a run of a transport
//! (it would set up what is not measured), a follower per CPU.

use crate::error::{Error, Phase, Result};
use crate::measure::floor::{self, Kind};
use crate::party::Alive;
use crate::shm::ledger::Ledger;
use crate::shm::region::View;
use crate::sys::{clock, cpu};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What the follower can be told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    Floor(Kind),
    Sleep,
}

/// A task's place is its number in the ledger.
const TASKS: [Task; 4] = [Task::Floor(Kind::Line), Task::Floor(Kind::Lines), Task::Floor(Kind::Futex), Task::Sleep];

/// Long enough for the sleeper's CPU to run out of things to do, polling of the guest's idle loop (200 us) included.
const IDLE: Duration = Duration::from_millis(1);
/// A wake that takes longer than this ends the repetition.
const PATIENCE_NS: u64 = 50_000_000;

/// The leader's end.
pub(super) struct Pair<'a> {
    ledger: View<Ledger>,
    alive: Alive<'a>,
    step: u32,
}

impl<'a> Pair<'a> {
    pub fn new(ledger: View<Ledger>, alive: Alive<'a>) -> Self {
        Self { ledger, alive, step: 0 }
    }

    /// Mean round trip of a bare hand-over with the follower on `cpu`, in ns; `None` when it is too slow to tell.
    pub fn floor(&mut self, kind: Kind, cpu: usize) -> Result<Option<f64>> {
        self.order(Task::Floor(kind), cpu)?;
        let found = floor::lead(kind, &self.ledger);
        self.finish()?;
        Ok(found)
    }

    /// Wakes the follower `count` times on an idle `cpu`, not the leader's own; how long each wake took, in ns.
    ///
    /// # Timing model
    /// `wake = (first clock reading of the woken) - (last reading before the word is written and FUTEX_WAKE is called)`,
    /// both of one clock that the CPUs share.
    pub fn wakes(&mut self, cpu: usize, count: u32) -> Result<Vec<u64>> {
        self.order(Task::Sleep, cpu)?;
        let mut found = Vec::with_capacity(count as usize);
        for turn in 1..=count {
            std::thread::sleep(IDLE);
            let stamp = clock::now();
            floor::hop(&self.ledger, 0, turn);
            let late = || clock::now() > stamp + PATIENCE_NS;
            if !floor::await_line(Kind::Line, &self.ledger.lines[1].0, u64::from(turn), late) {
                break;
            }
            // Relaxed: the line that said "awake" published it.
            found.push(self.ledger.report[0].load(Ordering::Relaxed).saturating_sub(stamp));
        }
        floor::hop(&self.ledger, 0, floor::STOP as u32);
        self.finish()?;
        Ok(found)
    }

    /// Orders a task and returns when the follower is in its place.
    fn order(&mut self, task: Task, cpu: usize) -> Result<()> {
        self.step += 1;
        floor::reset(&self.ledger);
        let number = TASKS.iter().position(|other| *other == task).unwrap_or(TASKS.len());
        // Relaxed: the gate that is opened next publishes both.
        self.ledger.command.store(number as u32, Ordering::Relaxed);
        self.ledger.count.store(cpu as u64, Ordering::Relaxed);
        self.ledger.go.open(self.step);
        if self.ledger.ready.pass(self.step, self.alive) { Ok(()) } else { Err(self.lost()) }
    }

    fn finish(&self) -> Result<()> {
        if self.ledger.done.pass(self.step, self.alive) { Ok(()) } else { Err(self.lost()) }
    }

    fn lost(&self) -> Error {
        let why = self.ledger.complaint().unwrap_or_else(|| "it died".into());
        Error::failed(Phase::Measure, "the other party stopped").because(why)
    }
}

impl Drop for Pair<'_> {
    fn drop(&mut self) {
        self.ledger.go.demolish();
    }
}

/// The follower: does its tasks until the leader leaves; returns its exit code.
pub(super) fn follow(ledger: &Ledger) -> u8 {
    let code = obey(ledger);
    // Last of all, so that a leader that waits finds the complaint complete.
    ledger.done.demolish();
    ledger.ready.demolish();
    code
}

fn obey(ledger: &Ledger) -> u8 {
    for step in 1.. {
        // A leader that dies takes its forked follower along: nobody waits here for ever.
        if !ledger.go.pass(step, || true) {
            return 0;
        }
        let place = ledger.count.load(Ordering::Relaxed) as usize;
        if let Err(error) = cpu::pin(place) {
            ledger.complain(&format!("it cannot be pinned to CPU {place}: {error}"));
            return 1;
        }
        let task = TASKS.get(ledger.command.load(Ordering::Relaxed) as usize);
        ledger.ready.open(step);
        match task {
            Some(Task::Floor(kind)) => floor::follow(*kind, ledger),
            Some(Task::Sleep) => sleep(ledger),
            None => return 1,
        }
        ledger.done.open(step);
    }
    0
}

/// Sleeps, stamps the moment of waking, says so, and sleeps again, until told to stop.
fn sleep(ledger: &Ledger) {
    for turn in 1_u32.. {
        if floor::await_hop(ledger, 0, turn) != turn {
            return;
        }
        let awake = clock::now();
        ledger.report[0].store(awake, Ordering::Relaxed);
        // Release: the stamp before the line.
        ledger.lines[1].0.store(u64::from(turn), Ordering::Release);
    }
}
