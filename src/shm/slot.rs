//! A mailbox for one message: the stamp that says "full" lies in the first line of the message itself.
//!
//! Key decision: each direction is one *lane*, and the acknowledgement of what a side took travels in the lane that it
//! writes itself, next to its own stamp. In a ping-pong the reply therefore carries the acknowledgement in a line that
//! moves anyway: one line transfer per message, the physical minimum. The acknowledgement is published lazily, with the
//! next send or before the next wait, because publishing it at once would pull the line away from the peer that polls it.
//! Rejected: one word per direction that both sides write ("full" set and cleared): the line bounces twice per message.

use super::Line;
use super::ring::{Manner, Stop};
use super::sync::{AtomicU32, Ordering};
use super::wait::Bell;
use std::ops::Deref;

/// Bytes of a lane's first line that the protocol takes before the payload begins.
pub const HEADER: usize = 8;

/// The words at the start of a lane. Written by the lane's owner only. All zero is an empty lane.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Stamps {
    /// Messages ever put into this lane.
    put: AtomicU32,
    /// Messages that the owner of this lane ever took from the other lane.
    took: AtomicU32,
}

/// What is needed besides the lanes, away from their lines. All zero is open.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Lobby {
    /// One bell per side; side `i` sleeps on `bells[i]` for either reason (a message came, its message was taken).
    bells: [Bell; 2],
    /// Bit `i`: side `i` closed its sending half; bit `i + 2`: its receiving half.
    left: Line<AtomicU32>,
}

const SENDING: u32 = 1;
const RECEIVING: u32 = 4;

/// What one side knows without looking at shared memory; its sender and its receiver share it.
///
/// The private counters are atomics only so that both halves may hold a reference: every access is a plain load or
/// store. The halves of one side are meant to stay with one thread. Used from two threads at once they may publish the
/// acknowledgement late or forget it, and may sleep through a bell, which can stall the peer for good, but cannot make
/// a lane look free that is not.
#[derive(Debug)]
pub struct Side<C, L> {
    /// 0 or 1.
    index: usize,
    /// The lane that this side writes.
    mine: C,
    /// The lane that the other side writes.
    theirs: C,
    lobby: L,
    manner: Manner,
    /// Messages put, messages taken, and how many of the taken ones the peer was told of.
    put: AtomicU32,
    taken: AtomicU32,
    told: AtomicU32,
}

impl<C: Deref<Target = Stamps>, L: Deref<Target = Lobby>> Side<C, L> {
    /// Side `index` (0 or 1) of a mailbox pair.
    pub fn new(index: usize, mine: C, theirs: C, lobby: L, manner: Manner) -> Self {
        let zero = || AtomicU32::new(0);
        Self { index, mine, theirs, lobby, manner, put: zero(), taken: zero(), told: zero() }
    }

    /// Waits until the peer took the last message; then the lane is ours to write until [`put`](Self::put).
    ///
    /// # Errors
    /// [`Stop::Gone`] when the peer closed its receiving half.
    #[inline(always)]
    pub fn reserve(&self, gone: impl FnMut() -> bool) -> Result<(), Stop> {
        let put = self.put.load(Ordering::Relaxed);
        let left = || self.peer_left(RECEIVING);
        if left() {
            return Err(Stop::Gone);
        }
        // Acquire: pairs with the release of `took`, so that the peer's reads of our lane are over.
        let taken = || (self.theirs.took.load(Ordering::Acquire) == put).then_some(());
        if taken().is_some() {
            return Ok(());
        }
        self.tell();
        self.wait(taken, left, gone)
    }

    /// Publishes the message in our lane together with what we took so far.
    #[inline(always)]
    pub fn put(&self) {
        let put = self.put.load(Ordering::Relaxed).wrapping_add(1);
        self.put.store(put, Ordering::Relaxed);
        self.acknowledge();
        // Release: payload (and `took`) are visible before the stamp.
        self.mine.put.store(put, Ordering::Release);
        self.ring();
    }

    /// Waits for a message in the peer's lane; it is ours to read until [`take`](Self::take).
    ///
    /// # Errors
    /// [`Stop::Gone`] when the peer closed its sending half and everything was taken.
    #[inline(always)]
    pub fn peek(&self, gone: impl FnMut() -> bool) -> Result<(), Stop> {
        self.peek_and(|| {}, gone)
    }

    /// As [`peek`](Self::peek), with something to do at every look: touching the lines of the message that the stamp is
    /// not in, so that they are on their way together with it.
    ///
    /// # Errors
    /// As [`peek`](Self::peek).
    #[inline(always)]
    pub fn peek_and(&self, glance: impl Fn(), gone: impl FnMut() -> bool) -> Result<(), Stop> {
        let next = self.taken.load(Ordering::Relaxed).wrapping_add(1);
        // Acquire: pairs with the release of `put`: the payload is there.
        let message = || {
            let put = self.theirs.put.load(Ordering::Acquire);
            glance();
            (put == next).then_some(())
        };
        if message().is_some() {
            return Ok(());
        }
        self.tell();
        self.wait(message, || self.peer_left(SENDING), gone)
    }

    /// Ends the reading of the message. The peer learns of it with our next message, or before we next wait.
    #[inline(always)]
    pub fn take(&self) {
        // Release: pairs with `acknowledge`, should the other half, in another thread, be the one that tells the peer.
        self.taken.store(self.taken.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }

    #[inline(always)]
    fn wait(
        &self,
        ready: impl FnMut() -> Option<()>,
        left: impl FnMut() -> bool,
        gone: impl FnMut() -> bool,
    ) -> Result<(), Stop> {
        self.lobby.bells[self.index]
            .wait(self.manner.wait, self.manner.scope, ready, left, gone)
            .map_err(|_| Stop::Gone)
    }

    #[inline(always)]
    fn ring(&self) {
        self.lobby.bells[1 - self.index].ring(self.manner.wait, self.manner.scope);
    }

    #[inline(always)]
    fn peer_left(&self, half: u32) -> bool {
        // Acquire: what the peer published before it left is looked at once more after this says yes.
        self.lobby.left.0.load(Ordering::Acquire) & (half << (1 - self.index)) != 0
    }

    /// Writes what we took into our lane, if the peer does not know yet; says whether it wrote.
    #[inline(always)]
    fn acknowledge(&self) -> bool {
        // Acquire: the release below then also covers what the receiving half read, whichever thread it is in.
        let taken = self.taken.load(Ordering::Acquire);
        if self.told.load(Ordering::Relaxed) == taken {
            return false;
        }
        self.told.store(taken, Ordering::Relaxed);
        // Release: our reads of the peer's lane are over before it may write there.
        self.mine.took.store(taken, Ordering::Release);
        true
    }

    /// Acknowledges without a message to carry it.
    #[inline(always)]
    fn tell(&self) {
        if self.acknowledge() {
            self.ring();
        }
    }

    /// Closes the sending half.
    pub fn close_sending(&self) {
        self.leave(SENDING);
    }

    /// Closes the receiving half, after telling the peer what was taken.
    pub fn close_receiving(&self) {
        self.tell();
        self.leave(RECEIVING);
    }

    fn leave(&self, half: u32) {
        self.lobby.left.0.fetch_or(half << self.index, Ordering::Release);
        self.ring();
    }
}
