//! A single-producer single-consumer ring: who may touch which slot, and nothing else.
//!
//! Key decision: *cached indices*. Each side keeps its own index in private memory and a stale copy of the other's; it
//! reads the other's line only when the stale copy says "possibly full" or "possibly empty". A stream then moves about
//! one shared line per batch instead of two per message. The slots' memory is somebody else's business
//! ([`crate::shm::region`]), so the same code runs over heap and mappings, and under the model checker.
//! Rejected: a shared count (two writers on one line); a stamp in every slot, which moves fewer lines per
//! ping-pong and more when small messages stream (`shm-slot` is there for the ping-pong).
//! Source: Lamport 1983; Giacomoni et al., "FastForward", PPoPP 2008; Lee et al., "MCRingBuffer", 2010.

use super::Line;
use super::futex::Scope;
use super::sync::{AtomicU32, AtomicU64, Ordering};
use super::wait::{Bell, Berth, Wait};
use std::ops::Deref;

/// The shared half of a ring. All zero is an empty, open ring.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Indices {
    /// Messages ever committed; written by the producer only.
    tail: Line<AtomicU64>,
    /// Messages ever released; written by the consumer only.
    head: Line<AtomicU64>,
    /// The consumer sleeps here.
    filled: Bell,
    /// The producer sleeps here.
    freed: Bell,
    /// Bit 0: producer left. Bit 1: consumer left. Read often, written twice in a lifetime.
    left: Line<AtomicU32>,
}

const PRODUCER_LEFT: u32 = 1;
const CONSUMER_LEFT: u32 = 2;

/// Why a ring operation cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The other side closed or died.
    Gone,
    /// The other side's index is impossible: somebody scribbled over the header.
    Corrupt,
    /// The other side died while it held the lock.
    Died,
}

/// How one end behaves while it waits.
#[derive(Debug, Clone, Copy)]
pub struct Manner<B = Scope> {
    /// Spin, yield, sleep or spin and sleep.
    pub wait: Wait,
    /// Where to sleep, and where the other side does: of a futex, whether it may be in another process.
    pub berth: B,
}

/// The producer's private half.
#[derive(Debug)]
pub struct Producer<C: Deref<Target = Indices>, B: Berth = Scope> {
    shared: C,
    slots: u64,
    manner: Manner<B>,
    tail: u64,
    head_seen: u64,
    attached: bool,
}

/// The consumer's private half.
#[derive(Debug)]
pub struct Consumer<C: Deref<Target = Indices>, B: Berth = Scope> {
    shared: C,
    slots: u64,
    manner: Manner<B>,
    head: u64,
    tail_seen: u64,
    attached: bool,
}

impl<C: Deref<Target = Indices>, B: Berth> Producer<C, B> {
    /// The producer of a ring of `slots` slots. There must be one producer per ring.
    ///
    /// # Panics
    /// If `slots` is not a power of two.
    pub fn new(shared: C, slots: u64, manner: Manner<B>) -> Self {
        assert!(slots.is_power_of_two(), "a ring needs a power of two of slots, not {slots}");
        // Relaxed: nobody else writes the tail; the head is only a hint until it is read again with acquire.
        let tail = shared.tail.0.load(Ordering::Relaxed);
        let head_seen = shared.head.0.load(Ordering::Acquire);
        Self { shared, slots, manner, tail, head_seen, attached: false }
    }

    /// Says that this end is in use from now on: only then does dropping it tell the other side that it left. A fork
    /// leaves a copy of each end on the wrong side, and dropping that copy must not close the ring.
    pub fn attach(&mut self) {
        self.attached = true;
    }

    /// Waits for a free slot and returns its number; the slot is the producer's until [`commit`](Self::commit).
    ///
    /// # Errors
    /// [`Stop::Gone`] when the consumer left, [`Stop::Corrupt`] when its index is impossible.
    #[inline(always)]
    pub fn reserve(&mut self, gone: impl FnMut() -> bool) -> Result<u64, Stop> {
        // Relaxed: a hint to stop early; nothing is read that the consumer wrote before it left.
        if self.shared.left.0.load(Ordering::Relaxed) & CONSUMER_LEFT != 0 {
            return Err(Stop::Gone);
        }
        if self.tail.wrapping_sub(self.head_seen) >= self.slots {
            self.await_space(gone)?;
        }
        Ok(self.tail & (self.slots - 1))
    }

    #[inline(always)]
    fn await_space(&mut self, gone: impl FnMut() -> bool) -> Result<(), Stop> {
        let (shared, slots, tail) = (&self.shared, self.slots, self.tail);
        // Acquire: pairs with the consumer's release in `release`, so that its reads of the slot are over before we
        // write into it again.
        let space = || Some(shared.head.0.load(Ordering::Acquire)).filter(|head| tail.wrapping_sub(*head) != slots);
        let left = || shared.left.0.load(Ordering::Acquire) & CONSUMER_LEFT != 0;
        let head =
            shared.freed.wait(self.manner.wait, &self.manner.berth, space, left, gone).map_err(|_| Stop::Gone)?;
        if tail.wrapping_sub(head) > slots {
            return Err(Stop::Corrupt);
        }
        self.head_seen = head;
        Ok(())
    }

    /// Hands the reserved slot to the consumer, and wakes it if it sleeps.
    #[inline(always)]
    pub fn commit(&mut self) {
        self.tail = self.tail.wrapping_add(1);
        // Release: the slot's bytes are visible before the new tail is.
        self.shared.tail.0.store(self.tail, Ordering::Release);
        self.shared.filled.ring(self.manner.wait, &self.manner.berth);
    }

    /// Waits until the consumer has released everything that was committed, for a producer whose messages end with it.
    ///
    /// # Errors
    /// [`Stop::Gone`] when the consumer left before that, or `gone` says that there is nothing to wait for.
    pub fn drain(&mut self, gone: impl FnMut() -> bool) -> Result<(), Stop> {
        let (shared, tail) = (&self.shared, self.tail);
        // Acquire: the consumer's reads of the last slot are over before its memory is given to somebody else.
        let drained = || (shared.head.0.load(Ordering::Acquire) == tail).then_some(());
        let left = || shared.left.0.load(Ordering::Acquire) & CONSUMER_LEFT != 0;
        shared.freed.wait(self.manner.wait, &self.manner.berth, drained, left, gone).map_err(|_| Stop::Gone)
    }
}

impl<C: Deref<Target = Indices>, B: Berth> Drop for Producer<C, B> {
    fn drop(&mut self) {
        if self.attached {
            leave(&self.shared, PRODUCER_LEFT, &self.shared.filled, &self.manner);
        }
    }
}

impl<C: Deref<Target = Indices>, B: Berth> Consumer<C, B> {
    /// The consumer of a ring of `slots` slots. There must be one consumer per ring.
    ///
    /// # Panics
    /// If `slots` is not a power of two.
    pub fn new(shared: C, slots: u64, manner: Manner<B>) -> Self {
        assert!(slots.is_power_of_two(), "a ring needs a power of two of slots, not {slots}");
        let head = shared.head.0.load(Ordering::Relaxed);
        // A stale tail would do; "empty" makes the first `peek` read it with acquire.
        Self { shared, slots, manner, head, tail_seen: head, attached: false }
    }

    /// Says that this end is in use from now on: only then does dropping it tell the other side that it left. A fork
    /// leaves a copy of each end on the wrong side, and dropping that copy must not close the ring.
    pub fn attach(&mut self) {
        self.attached = true;
    }

    /// Waits for a message and returns its slot; the slot is the consumer's until [`release`](Self::release).
    ///
    /// # Errors
    /// [`Stop::Gone`] when the producer left and everything it committed was consumed, [`Stop::Corrupt`] when its
    /// index is impossible.
    #[inline(always)]
    pub fn peek(&mut self, gone: impl FnMut() -> bool) -> Result<u64, Stop> {
        if self.head == self.tail_seen {
            self.await_message(gone)?;
        }
        Ok(self.head & (self.slots - 1))
    }

    #[inline(always)]
    fn await_message(&mut self, gone: impl FnMut() -> bool) -> Result<(), Stop> {
        let (shared, head) = (&self.shared, self.head);
        // Acquire: pairs with the producer's release in `commit`, so that the slot's bytes are there to be read.
        let message = || Some(shared.tail.0.load(Ordering::Acquire)).filter(|tail| *tail != head);
        // Acquire: pairs with the release in `leave`; the tail is looked at once more after this says yes.
        let left = || shared.left.0.load(Ordering::Acquire) & PRODUCER_LEFT != 0;
        let tail =
            shared.filled.wait(self.manner.wait, &self.manner.berth, message, left, gone).map_err(|_| Stop::Gone)?;
        if tail.wrapping_sub(head) > self.slots {
            return Err(Stop::Corrupt);
        }
        self.tail_seen = tail;
        Ok(())
    }

    /// Gives the slot back to the producer, and wakes it if it sleeps.
    #[inline(always)]
    pub fn release(&mut self) {
        self.head = self.head.wrapping_add(1);
        // Release: our reads of the slot are over before the producer may write it.
        self.shared.head.0.store(self.head, Ordering::Release);
        self.shared.freed.ring(self.manner.wait, &self.manner.berth);
    }
}

impl<C: Deref<Target = Indices>, B: Berth> Drop for Consumer<C, B> {
    fn drop(&mut self) {
        if self.attached {
            leave(&self.shared, CONSUMER_LEFT, &self.shared.freed, &self.manner);
        }
    }
}

/// Says good-bye and wakes the other side, whatever it waits with.
fn leave(shared: &Indices, who: u32, bell: &Bell, manner: &Manner<impl Berth>) {
    // Release: what we committed or released before is visible to whoever sees that we left.
    shared.left.0.fetch_or(who, Ordering::Release);
    bell.ring(manner.wait, &manner.berth);
}
