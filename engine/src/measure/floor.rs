//! What a hand-over costs at least: the bare turn between the two parties of a run, without any transport.
//!
//! Key decision: measured between *the very two parties* of the run, in the run's own shared page, right before and right
//! after the measured windows. A virtual machine moves its CPUs while one looks: a floor from a minute ago is no floor.
//! Three kinds, one per way of waiting: a cache line that both poll, a line with a call of the scheduler between looks,
//! and a futex. Every probe that polls gives up after a stated time, because polling on one CPU takes a time slice per turn.
//! The futex is waited for without a limit, as a timer for every sleep would make the floor higher than what stands on it
//! (semaphores and event counters were seen at 0.8 of it): a follower that is killed while it is probed leaves the leader
//! to the deadline of whoever launched the run; a leader that dies takes its follower along.

use crate::plan::Wait;
use crate::shm::ledger::Ledger;
use crate::sys::clock;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};

/// Which bare hand-over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Both write one cache line in turn and poll it.
    Line,
    /// Each writes a line of its own and polls the other's. Which of the two is faster depends on how far apart the CPUs
    /// are; the floor is the faster one.
    Lines,
    /// Both poll one cache line and call sched_yield(2) between looks.
    Yield,
    /// Both sleep on a futex.
    Futex,
}

impl Kind {
    /// The hand-over that a transport with this wait cannot beat.
    pub fn for_wait(wait: Wait) -> Self {
        match wait {
            Wait::Spin => Kind::Line,
            Wait::Yield => Kind::Yield,
            Wait::Block | Wait::Hybrid(_) | Wait::Poll | Wait::Epoll => Kind::Futex,
        }
    }

    fn turns(self) -> u64 {
        match self {
            Kind::Line | Kind::Lines => 2000,
            Kind::Yield => 1000,
            Kind::Futex => 300,
        }
    }
}

/// The turn number that says "stop".
pub(super) const STOP: u64 = u64::MAX;
/// Longest time that a probe takes, ns.
const LIMIT_NS: u64 = 15_000_000;
/// Turns that are not timed.
const WARM_UP: u64 = 20;
/// Fewest timed turns that make a figure.
const FEWEST: u64 = 50;
const LOOKS_PER_CHECK: u32 = 1 << 10;

/// The leader's half: the mean round trip in ns, or `None` if too few turns fitted into the limit.
pub fn lead(kind: Kind, ledger: &Ledger) -> Option<f64> {
    let limit = clock::now() + LIMIT_NS;
    let mut start = 0;
    let mut timed = 0;
    for turn in 1..=WARM_UP + kind.turns() {
        if turn == WARM_UP + 1 {
            start = clock::now();
        }
        if !trip(kind, ledger, turn, limit) {
            break;
        }
        timed = turn.saturating_sub(WARM_UP);
    }
    let elapsed = clock::now() - start;
    hand_over(kind, ledger, STOP);
    (timed >= FEWEST).then(|| elapsed as f64 / timed as f64)
}

/// One turn there and back; false when the limit has passed.
#[inline(always)]
fn trip(kind: Kind, ledger: &Ledger, turn: u64, limit: u64) -> bool {
    hand_over(kind, ledger, turn);
    let late = || clock::now() > limit;
    match kind {
        Kind::Line => await_line(kind, &ledger.lines[0].0, 2 * turn, late),
        Kind::Lines | Kind::Yield => await_line(kind, &ledger.lines[1].0, 2 * turn, late),
        Kind::Futex => {
            await_hop(ledger, 1, turn as u32);
            clock::now() < limit
        }
    }
}

#[inline(always)]
fn hand_over(kind: Kind, ledger: &Ledger, turn: u64) {
    match kind {
        Kind::Futex => hop(ledger, 0, turn as u32),
        // The follower may write the line too, so "stop" has a line of its own: a late reply must not overwrite it.
        _ if turn == STOP => ledger.line_stop.0.store(1, Ordering::Release),
        _ => ledger.lines[0].0.store(2 * turn + 1, Ordering::Release),
    }
}

/// Polls the line until it holds `due`; false when `over`, asked now and then, said yes first.
#[inline(always)]
pub(super) fn await_line(kind: Kind, line: &AtomicU64, due: u64, over: impl Fn() -> bool) -> bool {
    loop {
        for _ in 0..LOOKS_PER_CHECK {
            if line.load(Ordering::Acquire) == due {
                return true;
            }
            if kind == Kind::Yield { crate::shm::sync::yield_now() } else { std::hint::spin_loop() }
        }
        if over() {
            return false;
        }
    }
}

pub(super) fn hop(ledger: &Ledger, index: usize, turn: u32) {
    ledger.hop[index].0.word().store(turn, Ordering::Release);
    ledger.hop[index].0.wake(ledger.scope());
}

/// Sleeps until the hop holds `turn` or says stop; returns what it holds.
pub(super) fn await_hop(ledger: &Ledger, index: usize, turn: u32) -> u32 {
    loop {
        let now = ledger.hop[index].0.word().load(Ordering::Acquire);
        if now == turn || now == STOP as u32 {
            return now;
        }
        ledger.hop[index].0.wait(now, ledger.scope(), None);
    }
}

/// The follower's half; returns when the leader says stop.
pub fn follow(kind: Kind, ledger: &Ledger) {
    match kind {
        Kind::Line | Kind::Lines | Kind::Yield => {
            let stopped = || ledger.line_stop.0.load(Ordering::Acquire) != 0;
            let reply = if kind == Kind::Line { &ledger.lines[0].0 } else { &ledger.lines[1].0 };
            for turn in 1_u64.. {
                if !await_line(kind, &ledger.lines[0].0, 2 * turn + 1, stopped) {
                    return;
                }
                reply.store(2 * turn, Ordering::Release);
            }
        }
        Kind::Futex => {
            for turn in 1.. {
                if await_hop(ledger, 0, turn) != turn {
                    return;
                }
                hop(ledger, 1, turn);
            }
        }
    }
}

/// Puts the probes back to their start. Only while neither half runs.
pub fn reset(ledger: &Ledger) {
    ledger.line_stop.0.store(0, Ordering::Release);
    for line in &ledger.lines {
        line.0.store(0, Ordering::Release);
    }
    for hop in &ledger.hop {
        hop.0.word().store(0, Ordering::Release);
    }
}
