//! The workers of one injection: the victim, the others, and what they share.
//!
//! A lock that was given back by its holder's unwinding is free; who waits for any other looks who holds it, and is
//! called blocked only when that is the victim.

use super::{Moment, With};
use crate::error::{Context, Error, Phase, Result};
use crate::plan::{Parties, Touch, Wait};
use crate::shm::board::Board;
use crate::shm::region::{self, RingRx, RingTx, View};
use crate::shm::ring::Manner;
use crate::sys::harm;
use crate::sys::process::{self, Child};
use crate::sys::robust::{RobustLock, Taken};
use crate::sys::{clock, map};
use crate::workload::payload::{Payload, Way};
use std::io::{PipeReader, PipeWriter};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Workers besides the victim, which is number 0.
pub(super) const OTHERS: usize = 2;
/// Pause of an idle worker between two heartbeats.
const BEAT: Duration = Duration::from_micros(200);
/// How long a worker waits for a lock before it looks who holds it.
const LOOK: Duration = Duration::from_millis(20);
/// What a healthy worker, descriptor or lock takes on any machine.
pub(super) const SOON: Duration = Duration::from_secs(5);
/// Messages that the victim sends before the one in whose middle it comes to harm.
const MESSAGES: u64 = 8;
const SHAPE: (usize, usize) = (64, 1024);

/// Words of the board, in lines of their own: time to come to harm; when it came; a call for a sign of life; who holds the
/// lock; that somebody waits for the robust lock; when it was handed on; messages that the victim committed.
pub(super) const GO: usize = 0;
pub(super) const HARMED: usize = 16;
pub(super) const CALL: usize = 32;
const HOLDER: usize = 48;
/// The same in the lines of workers that are not there.
const WAITING: usize = 8;
pub(super) const HANDED_ON: usize = 9;
pub(super) const COMMITTED: usize = 10;

/// The victim's mark in [`HOLDER`].
const VICTIM: u64 = 1;
/// Answers to a call.
const WELL: u64 = 1;
pub(super) const BLOCKED: u64 = 2;

/// What the workers of one injection share.
pub(super) struct Scene {
    pub(super) with: With,
    pub(super) board: View<Board>,
    robust: RobustLock,
    /// Both ends, each until its party takes it.
    ends: Mutex<(Option<RingTx>, Option<RingRx>)>,
}

impl Scene {
    pub(super) fn new(with: With) -> Result<Self> {
        let cannot = "cannot map shared memory";
        let region = Arc::new(map::anonymous_shared(Board::LEN).context(Phase::Setup, cannot)?);
        let robust = RobustLock::new().context(Phase::Setup, "cannot make a robust lock")?;
        // Nobody ever waits there: there is room for all messages, and they are read when the victim has come to harm.
        let manner = Manner { wait: Wait::Spin, berth: with.scope() };
        let (tx, rx) = region::ends(SHAPE.0, SHAPE.1, manner).context(Phase::Setup, cannot)?;
        Ok(Self { with, board: Board::lay(&region), robust, ends: Mutex::new((Some(tx), Some(rx))) })
    }

    pub(super) fn ends(&self) -> MutexGuard<'_, (Option<RingTx>, Option<RingRx>)> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn word(&self, place: usize) -> &AtomicU64 {
        &self.board.words[place]
    }

    fn beat(&self, worker: usize) {
        self.board.own[worker].0.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(BEAT);
    }

    /// Writes down the time and comes to harm; without a fault, goes on beating for ever.
    fn harm(&self) {
        self.word(HARMED).store(clock::now(), Ordering::Release);
        match self.with.fault {
            Some(fault) => harm::come_to(fault),
            None => loop {
                self.beat(0);
            },
        }
    }

    /// The victim's life. It owns the writing end of a pipe that nobody else has.
    fn suffer(&self, _pipe: PipeWriter) {
        let Some(mut tx) = self.ends().0.take() else { return };
        let payload = Payload::new(Touch::Whole);
        if self.with.moment == Moment::Message {
            for seq in 0..MESSAGES {
                let _ = tx.send_with(|| false, |message| payload.fill(Way::Out, seq, message));
                self.board.own[COMMITTED].0.store(seq + 1, Ordering::Release);
            }
        }
        while self.word(GO).load(Ordering::Acquire) == 0 {
            self.beat(0);
        }
        match self.with.moment {
            Moment::Idle => self.harm(),
            Moment::Message => {
                let _ = tx.send_with(
                    || false,
                    |message| {
                        let half = message.len() / 2;
                        payload.fill(Way::Out, MESSAGES, &mut message[..half]);
                        self.harm();
                    },
                );
            }
            Moment::Lock => {
                let _held = Held::take(self);
                self.harm();
            }
            Moment::RobustLock => {
                let _held = Held::take(self);
                // Until somebody waits for it, and surely sleeps.
                while self.board.own[WAITING].0.load(Ordering::Acquire) == 0 {
                    self.beat(0);
                }
                (0..5).for_each(|_| self.beat(0));
                self.harm();
            }
        }
    }

    /// The life of another worker: beats, and gives a sign of life when it is called.
    fn live(&self, me: usize) {
        let mut heard = 0;
        loop {
            self.beat(me);
            let waits = self.with.moment == Moment::RobustLock && me == 1 && heard == 0;
            if waits && self.word(HOLDER).load(Ordering::Acquire) == VICTIM {
                self.board.own[WAITING].0.store(1, Ordering::Release);
                if self.robust.lock_within(SOON).is_ok_and(|taken| taken == Taken::OfTheDead) {
                    self.board.own[HANDED_ON].0.store(clock::now(), Ordering::Release);
                    self.word(HOLDER).store(0, Ordering::Release);
                }
                self.robust.unlock();
                heard = u64::MAX;
            }
            let call = self.word(CALL).load(Ordering::Acquire);
            if call != 0 && self.board.reports[me].0.load(Ordering::Relaxed) == 0 {
                let answer = if self.works() { WELL } else { BLOCKED };
                self.board.reports[me].0.store(answer, Ordering::Release);
            }
        }
    }

    /// Whether a worker can take the lock that it needs for its work. It cannot when the victim holds it for ever.
    fn works(&self) -> bool {
        let limit = clock::now() + SOON.as_nanos() as u64;
        let held_by_the_victim = || self.word(HOLDER).load(Ordering::Acquire) == VICTIM;
        match self.with.moment {
            Moment::Idle | Moment::Message => true,
            Moment::Lock => loop {
                if self.board.locks[0].lock_within(self.with.scope(), LOOK) {
                    self.board.locks[0].unlock(self.with.scope());
                    return true;
                }
                if held_by_the_victim() || clock::now() > limit {
                    return false;
                }
            },
            Moment::RobustLock => {
                let taken = self.robust.lock_within(SOON).is_ok();
                self.robust.unlock();
                taken
            }
        }
    }
}

/// The victim's hold on its lock, which unwinding gives back and nothing else does.
struct Held<'a>(&'a Scene);

impl<'a> Held<'a> {
    fn take(scene: &'a Scene) -> Self {
        match scene.with.moment {
            Moment::RobustLock => drop(scene.robust.lock_within(SOON)),
            _ => drop(scene.board.locks[0].lock_within(scene.with.scope(), SOON)),
        }
        scene.word(HOLDER).store(VICTIM, Ordering::Release);
        Self(scene)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let scene = self.0;
        scene.word(HOLDER).store(0, Ordering::Release);
        match scene.with.moment {
            Moment::RobustLock => scene.robust.unlock(),
            _ => scene.board.locks[0].unlock(scene.with.scope()),
        }
    }
}

/// A forked group.
pub(super) struct Group {
    /// The victim's process: of threads, everybody's.
    pub(super) victim: Child,
    pub(super) others: Vec<Child>,
    pub(super) eof: PipeReader,
}

/// Starts the victim's process: of threads, with all workers.
pub(super) fn start_victim(scene: &Scene) -> Result<(Child, PipeReader)> {
    let (reader, writer) = std::io::pipe().context(Phase::Setup, "cannot make a pipe")?;
    let child = process::fork_child(move || {
        harm::leave_no_core();
        match scene.with.parties {
            Parties::Process => scene.suffer(writer),
            _ => std::thread::scope(|scope| {
                let victim = scope.spawn(move || scene.suffer(writer));
                (1..=OTHERS).for_each(|me| drop(scope.spawn(move || scene.live(me))));
                drop(victim.join());
            }),
        }
        0
    });
    Ok((child.context(Phase::Start, "cannot fork the victim")?, reader))
}

pub(super) fn start_group(scene: &Scene) -> Result<Group> {
    let mut others = Vec::new();
    if scene.with.parties == Parties::Process {
        for me in 1..=OTHERS {
            let child = process::fork_child(|| {
                harm::leave_no_core();
                scene.live(me);
                0
            });
            others.push(child.context(Phase::Start, "cannot fork a worker")?);
        }
    }
    // Last, so that nobody else has the writing end of its pipe.
    let (victim, eof) = start_victim(scene)?;
    let group = Group { victim, others, eof };
    await_beats(scene, &[0; 1 + OTHERS])?;
    Ok(group)
}

/// Waits until the heart of each worker has beaten more often than this.
pub(super) fn await_beats(scene: &Scene, than: &[u64]) -> Result<()> {
    let limit = clock::now() + SOON.as_nanos() as u64;
    let beats = || than.iter().zip(&scene.board.own).all(|(than, own)| own.0.load(Ordering::Relaxed) > *than);
    while !beats() {
        if clock::now() > limit {
            return Err(Error::timeout(Phase::Start, "a worker did not start"));
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    Ok(())
}
