//! Starting parties, ending them, and the new pair that has to work right after a death.
//!
//! Key decision: both parties are forked and the launched process keeps nothing, so that a party's descriptors are its own
//! alone; threads are started the same way where processes are not connected. Rejected: the leader's half in the launched
//! process, as in a measured run, which could then not be killed.

use crate::error::{Context, Error, Phase, Result};
use crate::plan::{Parties, Touch};
use crate::sys::harm;
use crate::sys::process::{self, Child};
use crate::transport::dynamic::{AnyRx, AnyTx};
use crate::transport::{Config, Runner};
use crate::workload::payload::{Payload, Way};
use std::cell::Cell;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long anything may take that should happen at once, on a loaded machine.
pub(super) const SOON: Duration = Duration::from_secs(10);
/// Round trips of the new pair.
const ROUND_TRIPS: u64 = 8;

/// A party at work.
pub(super) enum Life {
    Process(Child),
    Thread(JoinHandle<u8>),
}

impl Life {
    /// Its process, if it is one of its own.
    pub(super) fn pid(&self) -> Option<u32> {
        match self {
            Life::Process(child) => Some(child.id()),
            Life::Thread(_) => None,
        }
    }

    /// Whether it has ended.
    pub(super) fn gone(&self) -> bool {
        match self {
            Life::Process(child) => !child.alive(),
            Life::Thread(thread) => thread.is_finished(),
        }
    }

    /// Waits for the end, of a process at most so long and then kills it; whether it ended by itself and well. A thread that
    /// hangs ends with the launched process.
    pub(super) fn end(self, patience: Duration) -> bool {
        until(patience, || self.gone());
        match self {
            Life::Process(mut child) => {
                child.kill();
                child.wait().is_ok()
            }
            Life::Thread(thread) => thread.is_finished() && thread.join().is_ok_and(|code| code == 0),
        }
    }
}

/// Looks ten thousand times a second, which disturbs nobody, whether something is so; false when it took too long.
pub(super) fn until(patience: Duration, mut is: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !is() {
        if start.elapsed() > patience {
            return false;
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    true
}

/// Starts both parties, neither of which has anything of the other one's half.
pub(super) fn start_both(
    parties: Parties,
    first: impl FnOnce() -> u8 + Send + 'static,
    second: impl FnOnce() -> u8 + Send + 'static,
) -> Result<[Life; 2]> {
    if parties == Parties::Thread {
        return Ok([Life::Thread(std::thread::spawn(first)), Life::Thread(std::thread::spawn(second))]);
    }
    let second = Cell::new(Some(second));
    let first = fork(|| {
        drop(second.take());
        first()
    })?;
    let second = second.take().ok_or_else(|| Error::failed(Phase::Start, "a party's half vanished"))?;
    Ok([first, fork(second)?])
}

/// Forks a party that may crash.
fn fork(body: impl FnOnce() -> u8) -> Result<Life> {
    let child = process::fork_child(|| {
        harm::leave_no_core();
        harm::crash_at_once();
        body()
    });
    child.map(Life::Process).context(Phase::Start, "cannot fork a party")
}

/// Two healthy parties right afterwards, that carry messages there and back and leave.
pub(super) fn new_pair(runner: &dyn Runner, cfg: &Config) -> Result<()> {
    let ((there_tx, there_rx), (back_tx, back_rx)) = (runner.ends(cfg)?, runner.ends(cfg)?);
    let parties = if cfg.processes { Parties::Process } else { Parties::Thread };
    let lives = start_both(
        parties,
        move || u8::from(lead(there_tx, back_rx).is_err()),
        move || u8::from(follow(back_tx, there_rx).is_err()),
    )?;
    let [first, second] = lives.map(|life| life.end(SOON));
    if first && second { Ok(()) } else { Err(Error::failed(Phase::Measure, "a new pair failed")) }
}

fn wrong() -> std::io::Error {
    std::io::Error::other("a wrong message")
}

fn lead(mut tx: Box<dyn AnyTx>, mut rx: Box<dyn AnyRx>) -> std::io::Result<()> {
    tx.attach()?;
    rx.attach()?;
    let payload = Payload::new(Touch::Whole);
    for seq in 0..ROUND_TRIPS {
        tx.send(&mut |place| payload.fill(Way::Out, seq, place))?;
        let mut right = false;
        rx.receive(&mut |message| right = payload.check(Way::Back, seq, message).is_ok())?;
        right.then_some(()).ok_or_else(wrong)?;
    }
    Ok(())
}

fn follow(mut tx: Box<dyn AnyTx>, mut rx: Box<dyn AnyRx>) -> std::io::Result<()> {
    // The other way round than the leader: who makes a connection while it attaches meets its peer.
    rx.attach()?;
    tx.attach()?;
    let payload = Payload::new(Touch::Whole);
    for seq in 0..ROUND_TRIPS {
        let mut right = false;
        rx.receive(&mut |message| right = payload.check(Way::Out, seq, message).is_ok())?;
        right.then_some(()).ok_or_else(wrong)?;
        tx.send(&mut |place| payload.fill(Way::Back, seq, place))?;
    }
    Ok(())
}
