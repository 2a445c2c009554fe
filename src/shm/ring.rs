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
use super::nonsense::Nonsense;
#[cfg(not(loom))]
use super::scribble::Word;
use super::sync::{AtomicU32, AtomicU64, Ordering, relax};
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

/// Pauses of a side that [falls back](Waiter::slips): some hundred nanoseconds, the price of a line or two from afar.
const SLIP: u32 = 16;

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
    nonsense: Option<Nonsense>,
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
    nonsense: Option<Nonsense>,
}

impl<C: Deref<Target = Indices>, B: Berth> Producer<C, B> {
    /// The producer of a ring of `slots` slots that nobody has used yet. There must be one producer per ring. It does not
    /// look at the shared words: who made the ring left zeroes there, and what else there is the first wait finds.
    ///
    /// # Panics
    /// If `slots` is not a power of two.
    pub fn new(shared: C, slots: u64, manner: Manner<B>) -> Self {
        assert!(slots.is_power_of_two(), "a ring needs a power of two of slots, not {slots}");
        Self { shared, slots, manner, tail: 0, head_seen: 0, attached: false, nonsense: None }
    }

    /// Which word made [`Stop::Corrupt`] of the last call.
    pub fn nonsense(&self) -> Option<Nonsense> {
        self.nonsense
    }

    /// Says that this end is in use from now on: only then does dropping it tell the other side that it left. A fork
    /// leaves a copy of each end on the wrong side, and dropping that copy must not close the ring.
    pub fn attach(&mut self) {
        self.attached = true;
    }

    /// Waits for a free slot and returns its number; the slot is the producer's until [`commit`](Self::commit).
    ///
    /// # Errors
    /// [`Stop::Gone`] when the consumer left, [`Stop::Corrupt`] when its index is impossible or somebody else wrote ours.
    #[inline(always)]
    pub fn reserve(&mut self, gone: impl FnMut() -> bool) -> Result<u64, Stop> {
        // Relaxed: a hint to stop early; nothing is read that the consumer wrote before it left.
        if self.shared.left.0.load(Ordering::Relaxed) & CONSUMER_LEFT != 0 {
            return Err(self.ended());
        }
        if self.tail.wrapping_sub(self.head_seen) >= self.slots {
            let tail = self.tail;
            self.head_seen = self.waiter().await_space(tail, gone)?;
        }
        Ok(self.tail & (self.slots - 1))
    }

    #[inline(always)]
    fn waiter(&mut self) -> Waiter<'_, B> {
        Waiter { shared: &self.shared, slots: self.slots, manner: &self.manner, nonsense: &mut self.nonsense }
    }

    /// Why there is nothing more to wait for.
    #[cold]
    fn ended(&mut self) -> Stop {
        let tail = self.tail;
        self.waiter().no_consumer(tail)
    }

    /// Sends `n` messages: reserves a slot for each, lets `fill` write message `k` into it, and commits it. What a single
    /// [`reserve`](Self::reserve) and [`commit`](Self::commit) read and write in memory stays in registers, which takes
    /// a tenth off a message of 64 bytes. A consumer that left is noticed when the ring is full.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve).
    #[inline(always)]
    pub fn each(&mut self, n: u64, mut gone: impl FnMut() -> bool, mut fill: impl FnMut(u64, u64)) -> Result<(), Stop> {
        // Relaxed: as in `reserve`.
        if self.shared.left.0.load(Ordering::Relaxed) & CONSUMER_LEFT != 0 {
            return Err(self.ended());
        }
        let (mut tail, mut limit) = (self.tail, self.head_seen.wrapping_add(self.slots));
        let (slots, how) = (self.slots, self.manner.wait);
        let mut waiter = Waiter { shared: &self.shared, slots, manner: &self.manner, nonsense: &mut self.nonsense };
        for k in 0..n {
            if tail == limit {
                let mut head = waiter.await_space(tail, &mut gone)?;
                if waiter.slips(head.wrapping_add(slots).wrapping_sub(tail), n - k) {
                    head = waiter.await_space(tail, &mut gone)?;
                }
                self.head_seen = head;
                limit = head.wrapping_add(slots);
            }
            fill(k, tail & (slots - 1));
            tail = tail.wrapping_add(1);
            // Kept up to date for every message: should `fill` unwind, its slot is not committed and all before it are.
            self.tail = tail;
            // Release: as in `commit`.
            waiter.shared.tail.0.store(tail, Ordering::Release);
            waiter.shared.filled.ring(how, &waiter.manner.berth);
        }
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
    pub fn drain(&mut self, mut gone: impl FnMut() -> bool) -> Result<(), Stop> {
        let Self { shared, slots, manner, tail, nonsense, .. } = self;
        let (shared, slots, tail) = (&**shared, *slots, *tail);
        // Acquire: the consumer's reads of the last slot are over before its memory is given to somebody else.
        let drained = || (shared.head.0.load(Ordering::Acquire) == tail).then_some(());
        let left = || shared.left.0.load(Ordering::Acquire) & CONSUMER_LEFT != 0;
        let gone = || {
            *nonsense = shared.producer_sees(tail, slots);
            nonsense.is_some() || gone()
        };
        shared.freed.wait(manner.wait, &manner.berth, drained, left, gone).map_err(|_| self.ended())
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
    /// The consumer of a ring of `slots` slots from which nobody has taken anything yet; there may be messages. There must
    /// be one consumer per ring. As with [`Producer::new`] the shared words are not looked at.
    ///
    /// # Panics
    /// If `slots` is not a power of two.
    pub fn new(shared: C, slots: u64, manner: Manner<B>) -> Self {
        assert!(slots.is_power_of_two(), "a ring needs a power of two of slots, not {slots}");
        // "Empty" makes the first `peek` read the tail with acquire.
        Self { shared, slots, manner, head: 0, tail_seen: 0, attached: false, nonsense: None }
    }

    /// As [`Producer::nonsense`].
    pub fn nonsense(&self) -> Option<Nonsense> {
        self.nonsense
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
    /// index is impossible or somebody else wrote ours.
    #[inline(always)]
    pub fn peek(&mut self, gone: impl FnMut() -> bool) -> Result<u64, Stop> {
        if self.head == self.tail_seen {
            let head = self.head;
            self.tail_seen = self.waiter().await_message(head, gone)?;
        }
        Ok(self.head & (self.slots - 1))
    }

    #[inline(always)]
    fn waiter(&mut self) -> Waiter<'_, B> {
        Waiter { shared: &self.shared, slots: self.slots, manner: &self.manner, nonsense: &mut self.nonsense }
    }

    /// Receives `n` messages: waits for each, lets `read` look at message `k` in its slot, and releases it. As
    /// [`Producer::each`]. A message that `read` does not like is released, and the last.
    ///
    /// # Errors
    /// As [`peek`](Self::peek), and, inside, what `read` says.
    #[inline(always)]
    pub fn each<E>(
        &mut self,
        n: u64,
        mut gone: impl FnMut() -> bool,
        mut read: impl FnMut(u64, u64) -> Result<(), E>,
    ) -> Result<Result<(), E>, Stop> {
        let (mut head, mut tail_seen) = (self.head, self.tail_seen);
        let (slots, how) = (self.slots, self.manner.wait);
        let mut waiter = Waiter { shared: &self.shared, slots, manner: &self.manner, nonsense: &mut self.nonsense };
        for k in 0..n {
            if head == tail_seen {
                tail_seen = waiter.await_message(head, &mut gone)?;
                if waiter.slips(tail_seen.wrapping_sub(head), n - k) {
                    tail_seen = waiter.await_message(head, &mut gone)?;
                }
                self.tail_seen = tail_seen;
            }
            let liked = read(k, head & (slots - 1));
            head = head.wrapping_add(1);
            // As in `Producer::each`.
            self.head = head;
            // Release: as in `release`.
            waiter.shared.head.0.store(head, Ordering::Release);
            waiter.shared.freed.ring(how, &waiter.manner.berth);
            if liked.is_err() {
                return Ok(liked);
            }
        }
        Ok(Ok(()))
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

/// What a side needs when it has to wait: not its own index and what it last saw of the other's, which are values, so that
/// a loop may keep them in registers.
struct Waiter<'a, B: Berth> {
    shared: &'a Indices,
    slots: u64,
    manner: &'a Manner<B>,
    nonsense: &'a mut Option<Nonsense>,
}

impl<B: Berth> Waiter<'_, B> {
    /// For the producer, whose index is `tail`, until there is room: the consumer's index.
    #[inline(always)]
    fn await_space(&mut self, tail: u64, mut gone: impl FnMut() -> bool) -> Result<u64, Stop> {
        let Self { shared, slots, manner, nonsense } = self;
        let slots = *slots;
        // Acquire: pairs with the consumer's release in `release`, so that its reads of the slot are over before we
        // write into it again.
        let space = || Some(shared.head.0.load(Ordering::Acquire)).filter(|head| tail.wrapping_sub(*head) != slots);
        let left = || shared.left.0.load(Ordering::Acquire) & CONSUMER_LEFT != 0;
        let gone = || {
            **nonsense = shared.producer_sees(tail, slots);
            nonsense.is_some() || gone()
        };
        match shared.freed.wait(manner.wait, &manner.berth, space, left, gone) {
            Ok(head) if tail.wrapping_sub(head) <= slots => Ok(head),
            Ok(head) => Err(self.impossible(head_in(head, tail, slots))),
            Err(_) => Err(self.no_consumer(tail)),
        }
    }

    /// For the consumer, whose index is `head`, until there is a message: the producer's index.
    #[inline(always)]
    fn await_message(&mut self, head: u64, mut gone: impl FnMut() -> bool) -> Result<u64, Stop> {
        let Self { shared, slots, manner, nonsense } = self;
        let slots = *slots;
        // Acquire: pairs with the producer's release in `commit`, so that the slot's bytes are there to be read.
        let message = || Some(shared.tail.0.load(Ordering::Acquire)).filter(|tail| *tail != head);
        // Acquire: pairs with the release in `leave`; the tail is looked at once more after this says yes.
        let left = || shared.left.0.load(Ordering::Acquire) & PRODUCER_LEFT != 0;
        let gone = || {
            **nonsense = shared.consumer_sees(head, slots);
            nonsense.is_some() || gone()
        };
        match shared.filled.wait(manner.wait, &manner.berth, message, left, gone) {
            Ok(tail) if tail.wrapping_sub(head) <= slots => Ok(tail),
            Ok(tail) => Err(self.impossible(tail_in(tail, head, slots))),
            Err(_) => Err(self.no_producer(head)),
        }
    }

    /// Falls back a little behind the other side when it was found only `gained` slots ahead and `wanted` are still to
    /// come, and says whether it did: then it is worth another look. A spinning side that follows on the other's heels
    /// takes its index away after every message, and both crawl at the speed of the line between them (52 to 89 ns a
    /// message of 64 bytes where they otherwise take 4 to 9). Only in a run, whose next messages are wanted anyway, and
    /// only where slots are small and many. Source: "temporal slipping" in Giacomoni et al., 2008.
    #[inline(always)]
    fn slips(&self, gained: u64, wanted: u64) -> bool {
        let slips = matches!(self.manner.wait, Wait::Spin | Wait::Hybrid(_)) && gained < wanted.min(self.slots >> 6);
        if slips {
            (0..SLIP).for_each(|_| relax());
        }
        slips
    }

    /// Why the producer has nothing more to wait for: the consumer left, unless a word says otherwise.
    #[cold]
    fn no_consumer(&mut self, tail: u64) -> Stop {
        *self.nonsense = self.nonsense.or_else(|| self.shared.producer_sees(tail, self.slots));
        if self.nonsense.is_some() { Stop::Corrupt } else { Stop::Gone }
    }

    /// As [`no_consumer`](Self::no_consumer), for the consumer.
    #[cold]
    fn no_producer(&mut self, head: u64) -> Stop {
        *self.nonsense = self.nonsense.or_else(|| self.shared.consumer_sees(head, self.slots));
        if self.nonsense.is_some() { Stop::Corrupt } else { Stop::Gone }
    }

    #[cold]
    fn impossible(&mut self, what: Option<Nonsense>) -> Stop {
        *self.nonsense = what;
        Stop::Corrupt
    }
}

/// Says good-bye and wakes the other side, whatever it waits with.
fn leave(shared: &Indices, who: u32, bell: &Bell, manner: &Manner<impl Berth>) {
    // Release: what we committed or released before is visible to whoever sees that we left.
    shared.left.0.fetch_or(who, Ordering::Release);
    bell.toll(manner.wait, &manner.berth);
}

fn head_in(head: u64, tail: u64, slots: u64) -> Option<Nonsense> {
    Nonsense::unless_within("the consumer's index", head, tail.wrapping_sub(slots), tail)
}

fn tail_in(tail: u64, head: u64, slots: u64) -> Option<Nonsense> {
    Nonsense::unless_within("the producer's index", tail, head, head.wrapping_add(slots))
}

#[cfg(not(loom))]
impl Indices {
    pub(super) fn words(&self) -> Vec<Word<'_>> {
        vec![
            Word::full("tail", &self.tail.0),
            Word::full("head", &self.head.0),
            Word::half("the consumer's bell", self.filled.word()),
            Word::half("the producer's bell", self.freed.word()),
            Word::half("left", &self.left.0),
        ]
    }
}

/// What a side that waits looks at as seldom as it asks whether its peer lives. Everything is `Relaxed`: the numbers are
/// judged and not used, and a side always sees at least what it wrote or read before.
impl Indices {
    /// What the producer, whose index is `tail`, finds impossible.
    fn producer_sees(&self, tail: u64, slots: u64) -> Option<Nonsense> {
        Nonsense::unless("the producer's index", self.tail.0.load(Ordering::Relaxed), tail)
            .or_else(|| head_in(self.head.0.load(Ordering::Relaxed), tail, slots))
            .or_else(|| self.left_without(PRODUCER_LEFT))
    }

    /// What the consumer, whose index is `head`, finds impossible.
    fn consumer_sees(&self, head: u64, slots: u64) -> Option<Nonsense> {
        Nonsense::unless("the consumer's index", self.head.0.load(Ordering::Relaxed), head)
            .or_else(|| tail_in(self.tail.0.load(Ordering::Relaxed), head, slots))
            .or_else(|| self.left_without(CONSUMER_LEFT))
    }

    /// What is impossible of the farewells as long as `me` is here.
    fn left_without(&self, me: u32) -> Option<Nonsense> {
        let left = self.left.0.load(Ordering::Relaxed);
        Nonsense::unless("one's own farewell", u64::from(left & me), 0).or_else(|| {
            Nonsense::unless("a farewell of neither side", u64::from(left & !(PRODUCER_LEFT | CONSUMER_LEFT)), 0)
        })
    }
}
