//! A single-producer single-consumer ring: who may touch which slot, and nothing else.
//!
//! Key decision: *cached indices*. Each side keeps its own index in private memory and a stale copy of the other's; it
//! reads the other's line only when the stale copy says "possibly full" or "possibly empty". A stream then moves about
//! one shared line per batch instead of two per message. The slots' memory is somebody else's business
//! ([`crate::shm::region`]), so the same code runs over heap and mappings, and under the model checker.
//! Both ends are one type: each has an index and a limit at which it must look at the other's, and only the lead differs
//! ([`Side`]). Rejected: two ends written out, mirror images that drift apart; a shared count (two writers on one line); a stamp in every slot, which moves fewer lines per
//! ping-pong and more when small messages stream (`shm-slot` is there for the ping-pong).
//! A producer that sleeps because the ring is full is woken when a quarter of it is free: one that is woken for a slot or two sleeps
//! again right away, and where both share a CPU every few messages took a switch. That holds up nothing that was sent, and
//! leaves the consumer enough to do until the producer runs.
//! Source: Lamport 1983; Giacomoni et al., "FastForward", PPoPP 2008; Lee et al., "MCRingBuffer", 2010.

use super::Line;
use super::budget::Budget;
#[cfg(not(loom))]
use super::futex::Futex;
use super::futex::Scope;
use super::nonsense::Nonsense;
use super::pace::{Pace, let_go};
#[cfg(not(loom))]
use super::scribble::Word;
use super::sync::{AtomicU32, AtomicU64, Ordering};
use super::wait::{Bell, Berth, Judged, Peer, Wait};
use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
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

/// One of the two ends, as a type: which words are its own, and how far ahead of the other's index its own may be.
pub trait Side: fmt::Debug + Sized {
    /// Its bit in the farewells.
    const ME: u32;
    /// The other's.
    const PEER: u32;
    /// What its index is called.
    const INDEX: &'static str;
    /// What the other's is called.
    const PEER_INDEX: &'static str;
    /// Its own index may be as many messages ahead of the other's.
    fn lead(slots: u64) -> u64;
    /// Whether the other side is worth waking, if it sleeps, while this one has so many slots still to pass on.
    fn worth_waking(left: u64, slots: u64) -> bool;
    /// The index that it writes and the bell at which it sleeps.
    fn own(shared: &Indices) -> (&AtomicU64, &Bell);
    /// The same of the other side.
    fn peer(shared: &Indices) -> (&AtomicU64, &Bell);
}

/// The side that fills slots.
#[derive(Debug)]
pub struct Filling;

/// The side that empties them.
#[derive(Debug)]
pub struct Emptying;

impl Side for Filling {
    const ME: u32 = PRODUCER_LEFT;
    const PEER: u32 = CONSUMER_LEFT;
    const INDEX: &'static str = "the producer's index";
    const PEER_INDEX: &'static str = "the consumer's index";

    #[inline(always)]
    fn lead(slots: u64) -> u64 {
        slots
    }

    #[inline(always)]
    fn worth_waking(_: u64, _: u64) -> bool {
        true
    }

    #[inline(always)]
    fn own(shared: &Indices) -> (&AtomicU64, &Bell) {
        (&shared.tail.0, &shared.freed)
    }

    #[inline(always)]
    fn peer(shared: &Indices) -> (&AtomicU64, &Bell) {
        (&shared.head.0, &shared.filled)
    }
}

impl Side for Emptying {
    const ME: u32 = CONSUMER_LEFT;
    const PEER: u32 = PRODUCER_LEFT;
    const INDEX: &'static str = Filling::PEER_INDEX;
    const PEER_INDEX: &'static str = Filling::INDEX;

    #[inline(always)]
    fn lead(_: u64) -> u64 {
        0
    }

    // The producer sleeps because the ring was full, or until all was taken: it is woken at a quarter, and at the end.
    #[inline(always)]
    fn worth_waking(left: u64, slots: u64) -> bool {
        left <= slots - slots.div_ceil(4)
    }

    #[inline(always)]
    fn own(shared: &Indices) -> (&AtomicU64, &Bell) {
        Filling::peer(shared)
    }

    #[inline(always)]
    fn peer(shared: &Indices) -> (&AtomicU64, &Bell) {
        Filling::own(shared)
    }
}

/// The private half of an end: the same for both, but for what [`Side`] says.
#[derive(Debug)]
pub struct End<C: Deref<Target = Indices>, B: Berth, S: Side> {
    shared: C,
    slots: u64,
    manner: Manner<B>,
    budget: Budget,
    pace: Pace,
    /// This end's index, of which the shared one is a copy that only this end writes.
    at: u64,
    /// The index at which it has to look at the other's again: what it last saw there, and its lead.
    limit: u64,
    attached: bool,
    /// Whether each message [leaves this CPU](let_go) before its sender does anything else.
    lets_go: bool,
    nonsense: Option<Nonsense>,
    side: PhantomData<S>,
}

/// The end that reserves slots, fills them and commits them.
pub type Producer<C, B = Scope> = End<C, B, Filling>;

/// The end that peeks at slots and releases them.
pub type Consumer<C, B = Scope> = End<C, B, Emptying>;

impl<C: Deref<Target = Indices>, B: Berth, S: Side> End<C, B, S> {
    /// One end of a ring of `slots` slots on which this side has done nothing yet; the other may have. There must be one
    /// producer and one consumer per ring. It does not look at the shared words: who made the ring left zeroes there, and
    /// what else there is the first wait finds.
    ///
    /// # Panics
    /// If `slots` is not a power of two.
    pub fn new(shared: C, slots: u64, manner: Manner<B>) -> Self {
        assert!(slots.is_power_of_two(), "a ring needs a power of two of slots, not {slots}");
        // The other's index as if it were 0: a consumer then reads the tail, with acquire, before its first message.
        let (limit, side) = (S::lead(slots), PhantomData);
        let (budget, pace) = (Budget::default(), Pace::default());
        let (at, attached, lets_go, nonsense) = (0, false, false, None);
        Self { shared, slots, manner, budget, pace, at, limit, attached, lets_go, nonsense, side }
    }

    /// The same end, with looks that are as far apart as `pace` says, and not at every pause.
    #[must_use]
    pub fn paced(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// Whether this end has each message leave its CPU.
    #[cfg(all(test, not(loom)))]
    pub(super) fn lets_go(&self) -> bool {
        self.lets_go
    }

    /// Whether this end learns how far apart looks should be.
    #[cfg(all(test, not(loom)))]
    pub(super) fn learns(&self) -> bool {
        self.pace.learns()
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

    /// Where this end sleeps, if it ever does.
    #[cfg(not(loom))]
    pub(super) fn sleeper(&self) -> Option<(&Futex, &B)> {
        let Manner { wait, berth } = &self.manner;
        wait.sleeps().then(|| (S::own(&self.shared).1.flag(), berth))
    }

    #[inline(always)]
    fn waiter(&mut self) -> Waiter<'_, B, S> {
        let Self { shared, slots, manner, budget, pace, nonsense, .. } = self;
        Waiter { shared, slots: *slots, manner, budget, pace, nonsense, side: PhantomData }
    }

    /// Stops where the other side has left.
    #[inline(always)]
    fn attended(&mut self) -> Result<(), Stop> {
        // Relaxed: a hint to stop early; nothing is read that the other side wrote before it left.
        if self.shared.left.0.load(Ordering::Relaxed) & S::PEER != 0 {
            let at = self.at;
            return Err(self.waiter().alone(at));
        }
        Ok(())
    }

    /// How many slots are this side's already, without waiting for one. At least one where the other side left or its index
    /// is impossible: the call that uses the slot says which.
    #[inline(always)]
    pub fn ready(&mut self) -> u64 {
        if self.at == self.limit {
            // Acquire: as in `until`.
            let other = S::peer(&self.shared).0.load(Ordering::Acquire);
            let limit = other.wrapping_add(S::lead(self.slots));
            let found = limit.wrapping_sub(self.at);
            if found == 0 {
                // Relaxed: a hint; whoever follows it looks at the index again, behind an acquire.
                return u64::from(self.shared.left.0.load(Ordering::Relaxed) & S::PEER != 0);
            }
            if found > self.slots {
                return 1;
            }
            self.limit = limit;
        }
        self.limit.wrapping_sub(self.at)
    }

    /// Waits for a slot that is this side's, and returns its number.
    #[inline(always)]
    fn slot(&mut self, mut peer: impl Peer) -> Result<u64, Stop> {
        if self.at == self.limit {
            let at = self.at;
            self.limit = self.waiter().limit(at, &mut peer)?;
        }
        Ok(self.at & (self.slots - 1))
    }

    /// Gives the slot to the other side, and wakes it if it sleeps and that is [worth it](Side::worth_waking).
    #[inline(always)]
    fn pass_on(&mut self) {
        debug_assert!(self.at != self.limit, "a slot is passed on that was not waited for");
        self.at = self.at.wrapping_add(1);
        let (at, limit) = (self.at, self.limit);
        self.waiter().publish(at, limit);
    }

    /// Waits for `n` slots one after the other, lets `work` do message `k` in its slot, passes each on, and lets `work` do
    /// without the slot (`None`) what needs none. What a single message reads and writes in memory stays in registers, which
    /// takes a tenth off one of 64 bytes. The message that `work` does not like is passed on, and the last.
    #[inline(always)]
    fn run<E>(
        &mut self,
        n: u64,
        mut peer: impl Peer,
        mut work: impl FnMut(u64, Option<u64>) -> Result<(), E>,
    ) -> Result<Result<(), E>, Stop> {
        let Self { shared, slots, manner, budget, pace, nonsense, at: kept, limit: kept_limit, .. } = self;
        let (mut at, mut limit, slots) = (*kept, *kept_limit, *slots);
        let mut waiter = Waiter::<B, S> { shared, slots, manner, budget, pace, nonsense, side: PhantomData };
        for k in 0..n {
            if at == limit {
                limit = waiter.limit(at, &mut peer)?;
                if waiter.slips(limit.wrapping_sub(at), n - k) {
                    limit = waiter.limit(at, &mut peer)?;
                }
                *kept_limit = limit;
            }
            let liked = work(k, Some(at & (slots - 1)));
            at = at.wrapping_add(1);
            // Kept up to date for every message: should `work` unwind, its slot is not passed on and all before it are.
            *kept = at;
            waiter.publish(at, limit);
            let liked = liked.and_then(|()| work(k, None));
            if liked.is_err() {
                return Ok(liked);
            }
        }
        Ok(Ok(()))
    }
}

impl<C: Deref<Target = Indices>, B: Berth> Producer<C, B> {
    /// Waits for a free slot and returns its number; the slot is the producer's until [`commit`](Self::commit).
    ///
    /// # Errors
    /// [`Stop::Gone`] when the consumer left, [`Stop::Corrupt`] when its index is impossible or somebody else wrote ours.
    #[inline(always)]
    pub fn reserve(&mut self, peer: impl Peer) -> Result<u64, Stop> {
        self.attended()?;
        self.slot(peer)
    }

    /// Hands the reserved slot to the consumer, and wakes it if it sleeps.
    #[inline(always)]
    pub fn commit(&mut self) {
        self.pass_on();
        if self.lets_go {
            let_go();
        }
    }

    /// The same producer of a party that awaits the answer to each message of its, one at a time. If it spins and its pace
    /// is that of messages of one line, each [leaves this CPU](let_go) at once. One that may sleep has a fence in its bell, and a
    /// pause behind that made no difference.
    #[must_use]
    pub fn in_turns(mut self) -> Self {
        self.lets_go = self.manner.wait == Wait::Spin && self.pace.learns();
        self
    }

    /// Sends `n` messages: reserves a slot for each, lets `fill` write message `k` into it, and commits it. A consumer that
    /// left is noticed when the ring is full.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve).
    #[inline(always)]
    pub fn each(&mut self, n: u64, peer: impl Peer, mut fill: impl FnMut(u64, u64)) -> Result<(), Stop> {
        self.attended()?;
        self.run(n, peer, |k, slot| {
            slot.into_iter().for_each(|slot| fill(k, slot));
            Ok::<(), Infallible>(())
        })
        .map(|Ok(())| ())
    }

    /// Waits until the consumer has released everything that was committed, for a producer whose messages end with it.
    ///
    /// # Errors
    /// [`Stop::Gone`] when the consumer left before that, or `peer` says that there is nothing to wait for.
    pub fn drain(&mut self, mut peer: impl Peer) -> Result<(), Stop> {
        let at = self.at;
        self.waiter().until(at, |head| head == at, &mut peer).map(|_| ())
    }
}

impl<C: Deref<Target = Indices>, B: Berth> Consumer<C, B> {
    /// Waits for a message and returns its slot; the slot is the consumer's until [`release`](Self::release).
    ///
    /// # Errors
    /// [`Stop::Gone`] when the producer left and everything it committed was consumed, [`Stop::Corrupt`] when its
    /// index is impossible or somebody else wrote ours.
    #[inline(always)]
    pub fn peek(&mut self, peer: impl Peer) -> Result<u64, Stop> {
        self.slot(peer)
    }

    /// Gives the slot back to the producer, and wakes it if it sleeps and a quarter of the ring is free, or all that was seen is
    /// taken. So a consumer that stops short of that must not wait for this producer in another way, with more than a ring
    /// of messages under way.
    #[inline(always)]
    pub fn release(&mut self) {
        self.pass_on();
    }

    /// Receives `n` messages: waits for each, lets `read` look at message `k` in its slot, and releases it. A message that
    /// `read` does not like is released, and the last.
    ///
    /// # Errors
    /// As [`peek`](Self::peek), and, inside, what `read` says.
    #[inline(always)]
    pub fn each<E>(
        &mut self,
        n: u64,
        peer: impl Peer,
        mut read: impl FnMut(u64, u64) -> Result<(), E>,
    ) -> Result<Result<(), E>, Stop> {
        self.run(n, peer, |k, slot| slot.map_or(Ok(()), |slot| read(k, slot)))
    }

    /// As [`each`](Self::each), for messages that are taken out of their slots: `read` looks at message `k` after its slot was
    /// released, so that fetching a message and fetching what the next slot refers to overlap.
    ///
    /// # Errors
    /// As [`each`](Self::each).
    #[inline(always)]
    pub(super) fn take_each<E>(
        &mut self,
        n: u64,
        peer: impl Peer,
        work: impl FnMut(u64, Option<u64>) -> Result<(), E>,
    ) -> Result<Result<(), E>, Stop> {
        self.run(n, peer, work)
    }
}

impl<C: Deref<Target = Indices>, B: Berth, S: Side> Drop for End<C, B, S> {
    fn drop(&mut self) {
        if self.attached {
            // Release: what we passed on before is visible to whoever sees that we left.
            self.shared.left.0.fetch_or(S::ME, Ordering::Release);
            S::peer(&self.shared).1.toll(self.manner.wait, &self.manner.berth);
        }
    }
}

/// What an end needs when it has to wait: not its index and its limit, which are values, so that a loop may keep them in
/// registers.
struct Waiter<'a, B: Berth, S: Side> {
    shared: &'a Indices,
    slots: u64,
    manner: &'a Manner<B>,
    budget: &'a Budget,
    pace: &'a Pace,
    nonsense: &'a mut Option<Nonsense>,
    side: PhantomData<S>,
}

impl<B: Berth, S: Side> Waiter<'_, B, S> {
    /// Publishes `at` as this side's index, below `limit`, and wakes the other side if it sleeps and that is worth it.
    #[inline(always)]
    fn publish(&self, at: u64, limit: u64) {
        // Release: pairs with the acquire in `until`. The slot's bytes are visible before the new tail is, and our reads
        // of the slot are over before the new head lets the producer write it.
        S::own(self.shared).0.store(at, Ordering::Release);
        let worth = || S::worth_waking(limit.wrapping_sub(at), self.slots);
        S::peer(self.shared).1.ring_if(self.manner.wait, &self.manner.berth, worth);
    }

    /// Waits until an end at `at` has a slot: its new limit.
    #[inline(always)]
    fn limit(&mut self, at: u64, peer: &mut impl Peer) -> Result<u64, Stop> {
        let lead = S::lead(self.slots);
        let other = self.until(at, |other| other.wrapping_add(lead) != at, peer)?;
        let limit = other.wrapping_add(lead);
        if limit.wrapping_sub(at) > self.slots {
            return Err(self.impossible(other, at));
        }
        Ok(limit)
    }

    /// Waits until the other side's index is as an end at `at` wants it, and returns it.
    #[inline(always)]
    fn until(&mut self, at: u64, wanted: impl Fn(u64) -> bool, peer: &mut impl Peer) -> Result<u64, Stop> {
        let Self { shared, slots, manner, budget, pace, nonsense, .. } = self;
        let (index, bell) = (S::peer(shared).0, S::own(shared).1);
        // Acquire: pairs with the release in `publish`, so that a message's bytes are there to be read, and the other's
        // reads of a slot are over before we write into it again.
        let ready = || Some(index.load(Ordering::Acquire)).filter(|other| wanted(*other));
        // Acquire: pairs with the release of the farewell; the index is looked at once more after this says yes.
        let left = || shared.left.0.load(Ordering::Acquire) & S::PEER != 0;
        let judge = || {
            **nonsense = shared.odd::<S>(at, *slots);
            nonsense.is_some()
        };
        match bell.wait::<false, _>((manner.wait, budget, pace), &manner.berth, ready, left, Judged(judge, peer)) {
            Ok(other) => Ok(other),
            Err(_) => Err(self.alone(at)),
        }
    }

    /// Falls back a little behind the other side when it was found only `gained` slots ahead and `wanted` are still to
    /// come, and says whether it did: then it is worth another look. A spinning side that follows on the other's heels
    /// takes its index away after every message, and both crawl at the speed of the line between them (52 to 89 ns a
    /// message of 64 bytes where they otherwise take 4 to 9). Only in a run, whose next messages are wanted anyway, and
    /// only where slots are small and many. One that blocks falls back as [`Pace::slips`] says.
    #[inline(always)]
    fn slips(&self, gained: u64, wanted: u64) -> bool {
        gained < wanted.min(self.slots >> 6) && self.pace.slips(self.manner.wait, gained)
    }

    /// Why there is nothing more to wait for: the other side left, unless a word says otherwise.
    #[cold]
    fn alone(&mut self, at: u64) -> Stop {
        *self.nonsense = self.nonsense.or_else(|| self.shared.odd::<S>(at, self.slots));
        if self.nonsense.is_some() { Stop::Corrupt } else { Stop::Gone }
    }

    #[cold]
    fn impossible(&mut self, other: u64, at: u64) -> Stop {
        *self.nonsense = peer_odd::<S>(other, at, self.slots);
        Stop::Corrupt
    }
}

/// What is impossible of the other side's index for an end at `at`.
fn peer_odd<S: Side>(other: u64, at: u64, slots: u64) -> Option<Nonsense> {
    let low = at.wrapping_sub(S::lead(slots));
    Nonsense::unless_within(S::PEER_INDEX, other, low, low.wrapping_add(slots))
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

impl Indices {
    /// What an end at `at` finds impossible: looked at as seldom as it asks whether its peer lives. Everything is
    /// `Relaxed`: the numbers are judged and not used, and a side always sees at least what it wrote or read before.
    fn odd<S: Side>(&self, at: u64, slots: u64) -> Option<Nonsense> {
        let read = |index: &AtomicU64| index.load(Ordering::Relaxed);
        let left = self.left.0.load(Ordering::Relaxed);
        Nonsense::unless(S::INDEX, read(S::own(self).0), at)
            .or_else(|| peer_odd::<S>(read(S::peer(self).0), at, slots))
            .or_else(|| Nonsense::unless("one's own farewell", u64::from(left & S::ME), 0))
            .or_else(|| Nonsense::unless("a farewell of neither side", u64::from(left & !(S::ME | S::PEER)), 0))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::region::View;
    use super::super::wait::Rouser;
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;
    use std::time::Duration;

    /// Where nobody sleeps, but wake-ups are counted.
    #[derive(Clone, Default)]
    struct Counted(Rc<Cell<u32>>);

    impl Berth for Counted {
        fn sleep(&self, _: &Futex, _: Option<Duration>) -> bool {
            true
        }

        fn wake(&self, _: &Futex) {
            self.0.set(self.0.get() + 1);
        }

        fn rouser(&self, _: View<Futex>) -> Rouser {
            unreachable!("nobody watches")
        }
    }

    #[test]
    fn a_producer_that_sleeps_is_woken_when_a_quarter_of_the_ring_is_free_and_a_consumer_at_once() {
        let (slots, woken) = (8, Counted::default());
        let manner = || Manner { wait: Wait::Block, berth: woken.clone() };
        let shared = Indices::default();
        let mut producer = Producer::new(&shared, slots, manner());
        let mut consumer = Consumer::new(&shared, slots, manner());
        let alive = || false;
        shared.filled.word().store(1, Ordering::Relaxed);
        for _ in 0..slots {
            producer.reserve(alive).unwrap();
            producer.commit();
        }
        assert_eq!(woken.0.take(), 1, "the first message wakes");
        shared.freed.word().store(1, Ordering::Relaxed);
        let woken_by = |release: u64| {
            consumer.peek(alive).unwrap();
            consumer.release();
            (release, woken.0.take())
        };
        let found: Vec<_> = (1..=slots).map(woken_by).collect();
        assert_eq!(found, [(1, 0), (2, 1), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0)]);
    }
}
