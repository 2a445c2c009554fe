//! What every channel of buffers has in common, whichever crate it comes from.
//!
//! Key decision: *buffers go round*. A channel of [`Buffer`]s takes filled ones to the consumer and a second one
//! brings the empty ones back, so that nothing is allocated for a message and the number of buffers bounds what is
//! under way. The pool, the waits and the ends are here and once; a mechanism adds the four calls of its [`Channel`],
//! so that two of these rows differ by the crate only. Rejected: a fresh buffer for each message (measures the
//! allocator, and one side frees what the other allocated); messages by value within the channel (the size would be
//! part of the type).

use super::{Config, Family, Meeting, NEAR, PATTERNS, PeerDeath, Receiver, Sender, Spec, Transport, UNLIMITED};
use crate::error::{Error, Result};
use crate::heap;
use crate::plan::{Parties, Wait, WaitKind};
use crate::shm::LINE;
use crate::shm::budget::Budget;
pub use crate::shm::buffer::Buffer;
use crate::shm::pace::{SLIP, slip};
use std::io::{self, ErrorKind};
use std::marker::PhantomData;
use std::sync::mpsc::TryRecvError;

/// Most buffers of a pool: each is an allocation of its own.
const DEEPEST: usize = 1024;

/// Largest message of a spinning party whose pool is better near: with as many buffers as fill a quarter of a first-level
/// cache, a stream through `rtrb` took 0.6 of the time for 64 B to 1 KiB and `crossbeam` 0.7, but 3.3 times as long for 4 KiB.
const SMALL: usize = 1 << 10;

/// Buffers of a pool, at least two.
pub fn depth(cfg: &Config) -> usize {
    // A buffer has lines of its own.
    let lines = cfg.size.div_ceil(LINE).saturating_mul(LINE);
    let fits = cfg.turns.is_none_or(|turns| 2 * turns.saturating_mul(lines) <= NEAR);
    let near = cfg.wait == Wait::Spin && cfg.size <= SMALL && cfg.peers == 0 && fits;
    let room = if near { NEAR / lines } else { cfg.memory() / cfg.size };
    room.min(DEEPEST)
}

/// Pauses of a party that falls back behind the other one because it found the next buffer of a run missing: about one for
/// each message that may be under way, so that the other one gets far enough ahead for both to work out of each other's
/// sight for a while, and some microseconds at most. With [`SLIP`] messages of 64 B through `crossbeam` and `mpsc`, which
/// take 100 ns each, took twice as long. Among many parties, and between those that take turns, somebody waits for the
/// buffer meanwhile.
fn fall_back(cfg: &Config, depth: usize) -> u32 {
    if cfg.peers > 0 || cfg.turns.is_some() { SLIP } else { (depth as u32).clamp(4 * SLIP, 16 * SLIP) }
}

/// Writes down what a pool of `depth` buffers is.
pub(super) fn record(cfg: &Config, depth: usize) {
    cfg.note(super::SLOTS_NOTE, depth);
    cfg.holds(depth * cfg.size);
}

/// A mechanism that hands buffers from one thread of a process to another.
pub(super) const fn spec(
    name: &'static str,
    summary: &'static str,
    waits: &'static [WaitKind],
    sources: &'static [&'static str],
) -> Spec {
    Spec {
        name,
        summary,
        family: Family::Heap,
        parties: &[Parties::Thread],
        waits,
        copies: 0,
        max_size: UNLIMITED,
        peer_death: PeerDeath::THREADS,
        patterns: PATTERNS,
        meeting: Meeting::Never,
        sources,
    }
}

/// A bounded channel of one crate.
pub trait Channel: Sized + 'static {
    /// What the mechanism over this channel is.
    const SPEC: &'static Spec;
    /// Its sending half.
    type Tx: Send;
    /// Its receiving half.
    type Rx: Send;

    /// A channel with room for `depth` buffers.
    fn bounded(depth: usize) -> (Self::Tx, Self::Rx);

    /// Whether the other end is still there, where sending does not tell. Asked for single messages; in a run, a sender whose
    /// receiver left finds no buffer soon.
    fn attended(tx: &Self::Tx) -> bool {
        let _ = tx;
        true
    }

    /// Sends one of the at most `depth` buffers that there are, so that it never has to wait; false when it is known that
    /// nobody will ever take it.
    fn put(tx: &mut Self::Tx, buffer: Buffer) -> bool;

    /// Looks once.
    ///
    /// # Errors
    /// `Disconnected` when the channel is empty and will stay so.
    fn look(rx: &mut Self::Rx) -> std::result::Result<Buffer, TryRecvError>;

    /// Sleeps as the crate does it until a buffer comes; `None` when the channel is empty and will stay so.
    fn sleep(rx: &mut Self::Rx) -> Option<Buffer>;
}

/// How an end waits for its next buffer.
#[derive(Debug)]
struct Waiter {
    wait: Wait,
    budget: Budget,
    fall_back: u32,
}

/// Takes a buffer as `waiter` says, the first of so many in a `run`; `None` when the other end is gone and nothing is left.
#[inline(always)]
fn take<C: Channel>(rx: &mut C::Rx, waiter: &Waiter, run: u64) -> Option<Buffer> {
    let Waiter { wait, ref budget, fall_back } = *waiter;
    // The call that sleeps looks first, each crate in its own way: a look before it would be a second one.
    if wait == Wait::Block {
        return C::sleep(rx);
    }
    // Once in each wait: who follows on the other's heels takes a line away with each look that the other is about to write.
    let mut fresh = run > 1;
    loop {
        match C::look(rx) {
            Ok(buffer) => {
                budget.met();
                return Some(buffer);
            }
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => {}
        }
        if !budget.looks_on(wait) {
            budget.met();
            return C::sleep(rx);
        }
        if !(std::mem::take(&mut fresh) && slip(wait, fall_back)) {
            wait.pause();
        }
    }
}

/// A transport over two channels of a crate. See the [module](self).
#[derive(Debug)]
pub struct Buffers<C>(PhantomData<C>);

/// The sending end.
pub struct Tx<C: Channel> {
    empty: C::Rx,
    full: C::Tx,
    size: usize,
    waiter: Waiter,
}

/// The receiving end.
pub struct Rx<C: Channel> {
    full: C::Rx,
    empty: C::Tx,
    waiter: Waiter,
}

impl<C: Channel> Transport for Buffers<C> {
    const SPEC: &'static Spec = C::SPEC;
    type Tx = Tx<C>;
    type Rx = Rx<C>;

    fn one_way(cfg: &Config) -> Result<(Tx<C>, Rx<C>)> {
        if !C::SPEC.waits.contains(&cfg.wait.kind()) {
            return Err(Error::unsupported(format!("{} cannot wait by {}", C::SPEC.name, cfg.wait)));
        }
        let depth = depth(cfg);
        record(cfg, depth);
        let [(mut full_tx, mut full_rx), (mut empty_tx, empty_rx)] = [(); 2].map(|()| {
            heap::scatter();
            C::bounded(depth)
        });
        // Through both channels, so that each has grown to its full length and touched its memory before the first
        // message.
        for _ in 0..depth {
            C::put(&mut full_tx, Buffer::new(cfg.size));
        }
        while let Ok(buffer) = C::look(&mut full_rx) {
            C::put(&mut empty_tx, buffer);
        }
        let Config { size, wait, .. } = *cfg;
        let waiter = || Waiter { wait, budget: Budget::default(), fall_back: fall_back(cfg, depth) };
        let tx = Tx { empty: empty_rx, full: full_tx, size, waiter: waiter() };
        Ok((tx, Rx { full: full_rx, empty: empty_tx, waiter: waiter() }))
    }
}

impl<C: Channel> Sender for Tx<C> {
    fn size(&self) -> usize {
        self.size
    }

    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        self.send_of(1, fill)
    }

    #[inline(always)]
    fn send_of(&mut self, run: u64, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        let buffer = take::<C>(&mut self.empty, &self.waiter, run);
        let mut buffer = buffer.filter(|_| run > 1 || C::attended(&self.full)).ok_or(ErrorKind::BrokenPipe)?;
        fill(&mut buffer);
        if C::put(&mut self.full, buffer) { Ok(()) } else { Err(ErrorKind::BrokenPipe.into()) }
    }
}

impl<C: Channel> Receiver for Rx<C> {
    #[inline(always)]
    fn recv_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        self.recv_of(1, read)
    }

    #[inline(always)]
    fn recv_of<R>(&mut self, run: u64, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        let buffer = take::<C>(&mut self.full, &self.waiter, run).ok_or(ErrorKind::UnexpectedEof)?;
        let result = read(&buffer);
        // A sender that is gone needs no buffers; what it sent before is still to be received.
        C::put(&mut self.empty, buffer);
        Ok(result)
    }
}
