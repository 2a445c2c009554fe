//! Two workers and two locks, trial after trial, beside a watchdog that breaks each deadlock.
//!
//! Key decision: a worker that gives up without being told to makes the launch invalid, so that no deadlock goes
//! uncounted.

use super::crew::Crew;
use crate::claim::{Values, values};
use crate::error::{Error, Result};
use crate::shm::board::Board;
use crate::shm::futex::Scope;
use crate::sys::clock;
use std::hint::spin_loop;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The words of the deadlock trials, 128 bytes apart: which trial is on, how many arrivals and ends there were, which trial
/// the watchdog broke, and whether it is over.
const TRIAL: usize = 0;
const ARRIVED: usize = 16;
const ENDED: usize = 32;
const BROKEN: usize = 48;
/// What the trial number becomes when it is over.
const OVER: u64 = u64::MAX;
/// A worker that waits longer than this for a lock gives up, whatever the watchdog says.
const NET: Duration = Duration::from_secs(2);
/// A worker that waits looks this often whether it is to give up.
const SLICE: Duration = Duration::from_micros(200);
/// Computing between the two locks, steps of about a nanosecond and more.
const BETWEEN: u32 = 500;
/// Pause of the watchdog between two looks.
const LOOK: Duration = Duration::from_micros(50);

/// Trials, deadlocks, and how long the watchdog took to see each, by crossed and by ordered locks.
pub(super) fn deadlock(crew: &Crew, window: u64, planted: bool) -> Result<Values> {
    let crossed = trials(crew, window / 2, true, false)?;
    let ordered = trials(crew, window / 2, planted, planted)?;
    let mut found = values([
        ("crossed_trials", crossed.made as f64),
        ("crossed_deadlocks", crossed.deadlocks as f64),
        ("crossed_share", crossed.deadlocks as f64 / crossed.made.max(1) as f64),
        ("ordered_trials", ordered.made as f64),
        ("ordered_deadlocks", ordered.deadlocks as f64),
    ]);
    if crossed.deadlocks > 0 {
        found.insert("seen_after_ns".into(), crossed.waited_ns as f64 / crossed.deadlocks as f64);
    }
    Ok(found)
}

#[derive(Default)]
struct Trials {
    made: u64,
    deadlocks: u64,
    /// From when each deadlock was inevitable until it was seen, in sum.
    waited_ns: u64,
}

/// Two workers that take both locks, again and again, watched by the leader. With `meet`, each waits until the other holds
/// its first lock, which makes a deadlock certain if they differ.
fn trials(crew: &Crew, window: u64, crossed: bool, meet: bool) -> Result<Trials> {
    let (board, scope, mut found) = (&*crew.board, crew.scope(), Trials::default());
    let watchdog = || {
        let end = clock::now() + window;
        while clock::now() < end {
            found.made += 1;
            watch(board, &mut found);
        }
        board.words[TRIAL].store(OVER, Ordering::Release);
    };
    let gave_up = crew.run(2, |index, _| work_in_trials(board, scope, index, crossed, meet), watchdog)?;
    match gave_up.iter().sum::<u64>() {
        0 => Ok(found),
        n => Err(Error::invalid(format!("{n} deadlocks were not seen by the watchdog"))),
    }
}

/// Begins the next trial and watches it to its end.
///
/// Each worker writes the trial's number into its own word once it holds its first lock, and takes it back before it gives
/// any lock back. If both words hold the number, and the first one still does on a second look, both held their first
/// locks at the same time: had one of them been through before, the other could have its first lock only after the word
/// was taken back. Each then wants what the other holds, and neither can go on.
fn watch(board: &Board, found: &mut Trials) {
    let trial = found.made;
    board.words[TRIAL].store(trial, Ordering::Release);
    let holds = |worker: usize| board.own[worker].0.load(Ordering::Acquire) == trial;
    while board.words[ENDED].load(Ordering::Acquire) < 2 * trial {
        let both = holds(0) && holds(1) && holds(0);
        if both && board.words[BROKEN].load(Ordering::Relaxed) != trial {
            let since = [2, 3].map(|place: usize| board.own[place].0.load(Ordering::Relaxed));
            found.deadlocks += 1;
            found.waited_ns += clock::now().saturating_sub(since[0].max(since[1]));
            board.words[BROKEN].store(trial, Ordering::Release);
        }
        std::thread::sleep(LOOK);
    }
}

/// One worker's trials; how often it gave up without being told to.
fn work_in_trials(board: &Board, scope: Scope, index: usize, crossed: bool, meet: bool) -> u64 {
    let [first, second] = if crossed && index == 1 { [1, 0] } else { [0, 1] }.map(|lock| &board.locks[lock]);
    let holds = &board.own[index].0;
    let (mut last, mut gave_up) = (0, 0);
    loop {
        let trial = await_until(|| Some(board.words[TRIAL].load(Ordering::Acquire)).filter(|trial| *trial != last));
        if trial == OVER {
            return gave_up;
        }
        last = trial;
        board.words[ARRIVED].fetch_add(1, Ordering::AcqRel);
        await_until(|| (board.words[ARRIVED].load(Ordering::Acquire) >= 2 * trial).then_some(()));
        if first.lock_within(scope, NET) {
            board.own[2 + index].0.store(clock::now(), Ordering::Relaxed);
            holds.store(trial, Ordering::Release);
            (0..BETWEEN).for_each(|_| spin_loop());
            let broken = || board.words[BROKEN].load(Ordering::Acquire) == trial;
            if meet {
                // A worker that looks late finds the trial broken already, and the other one gone.
                let met = || board.own[1 - index].0.load(Ordering::Acquire) == trial || broken();
                await_until(|| met().then_some(()));
            }
            let told = || index == 1 && broken();
            let limit = clock::now() + NET.as_nanos() as u64;
            let got = loop {
                if second.lock_within(scope, SLICE) {
                    break true;
                }
                if told() || clock::now() >= limit {
                    break false;
                }
            };
            gave_up += u64::from(!got && !told());
            holds.store(0, Ordering::Release);
            if got {
                second.unlock(scope);
            }
            first.unlock(scope);
        } else {
            gave_up += 1;
        }
        board.words[ENDED].fetch_add(1, Ordering::AcqRel);
    }
}

/// Looks until there is something, at first without and then with letting others run.
fn await_until<R>(mut look: impl FnMut() -> Option<R>) -> R {
    let mut looks = 0_u32;
    loop {
        if let Some(found) = look() {
            return found;
        }
        looks = looks.saturating_add(1);
        if looks < 200 { spin_loop() } else { std::thread::yield_now() }
    }
}
