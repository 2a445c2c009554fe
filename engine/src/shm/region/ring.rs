//! A ring in a region: where its slots lie, and its ends with the slots as slices.

use super::occupants::INDICES;
use super::{PAGE, Region, View, futex};
use crate::shm::LINE;
use crate::shm::futex::Scope;
use crate::shm::nonsense::Nonsense;
use crate::shm::pace::Pace;
use crate::shm::ring::{Consumer, Indices, Manner, Producer, Stop};
use crate::shm::wait::{Berth, Peer, Rouser};
use crate::sys::map;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

/// Offsets of a ring in its region.
#[derive(Debug, Clone, Copy)]
pub struct RingShape {
    /// Bytes of a message.
    pub size: usize,
    /// Bytes from one slot to the next.
    pub stride: usize,
    /// Number of slots, a power of two.
    pub slots: usize,
}

impl RingShape {
    /// A ring for messages of `size` bytes within about `budget` bytes, with at least two slots.
    ///
    /// Small messages share lines in powers of two, so that none straddles a line; others begin at a line.
    pub fn new(size: usize, budget: usize) -> Self {
        let stride = if size <= 32 { size.next_power_of_two().max(8) } else { size.next_multiple_of(LINE) };
        let wanted = (budget / stride).max(2);
        let slots = if wanted.is_power_of_two() { wanted } else { wanted.next_power_of_two() / 2 };
        Self { size, stride, slots }
    }

    /// Bytes that a region needs for it.
    pub fn region_len(&self) -> usize {
        (PAGE + self.stride * self.slots).next_multiple_of(PAGE)
    }
}

/// Both ends of a ring for messages of `size` bytes within about `budget` bytes, in memory that a forked child shares, for
/// experiments that are about no transport. The memory is made here, so that no other ring can lie in it.
///
/// # Errors
/// What mmap(2) says.
pub fn ends(size: usize, budget: usize, manner: Manner) -> io::Result<(RingTx, RingRx)> {
    let shape = RingShape::new(size, budget);
    let region = Arc::new(map::anonymous_shared(shape.region_len())?);
    Ok((RingTx::new(&region, shape, manner).paced(size), RingRx::new(&region, shape, manner).paced(size)))
}

/// The shared indices of a ring's region.
pub fn indices(region: &Arc<Region>) -> View<Indices> {
    // SAFETY: `Indices` is all atomics (its bells and lines are).
    unsafe { View::new(region, INDICES) }
}

/// The slots of a ring as bytes.
#[derive(Debug)]
pub(in crate::shm) struct Slots {
    first: NonNull<u8>,
    shape: RingShape,
}

// SAFETY: a pointer to region memory; what makes an access exclusive is the ring protocol, not the thread.
unsafe impl Send for Slots {}

impl Slots {
    pub(in crate::shm) fn new(region: &Region, shape: RingShape) -> Self {
        let RingShape { size, stride, slots } = shape;
        let len = stride.checked_mul(slots).and_then(|len| len.checked_add(PAGE));
        assert!(size <= stride && len.is_some_and(|len| len <= region.len), "the ring does not fit its region");
        // SAFETY: PAGE is within the region by the assertion.
        Self { first: unsafe { region.base.add(PAGE) }, shape }
    }

    #[inline(always)]
    fn at(&self, index: u64) -> *mut u8 {
        debug_assert!((index as usize) < self.shape.slots);
        // SAFETY: `index` is a masked slot number, so the slot lies within the region (asserted in `new`).
        unsafe { self.first.as_ptr().add(index as usize * self.shape.stride) }
    }

    /// The message in slot `index`.
    ///
    /// # Safety
    /// Nobody may write the slot while the slice lives, and its region must be mapped.
    #[inline(always)]
    pub(in crate::shm) unsafe fn get(&self, index: u64) -> &[u8] {
        // SAFETY: the slot is in bounds, any byte is a valid u8, and the caller promises the rest.
        unsafe { std::slice::from_raw_parts(self.at(index), self.shape.size) }
    }

    /// The place for the message in slot `index`.
    ///
    /// # Safety
    /// Nobody else may read or write the slot while the slice lives, and its region must be mapped.
    #[inline(always)]
    pub(in crate::shm) unsafe fn get_mut(&mut self, index: u64) -> &mut [u8] {
        // SAFETY: the slot is in bounds, any byte is a valid u8, and the caller promises the rest.
        unsafe { std::slice::from_raw_parts_mut(self.at(index), self.shape.size) }
    }
}

/// The sending end of a ring over a region.
#[derive(Debug)]
pub struct RingTx<B: Berth = Scope> {
    producer: Producer<View<Indices>, B>,
    slots: Slots,
}

impl<B: Berth> RingTx<B> {
    /// As [`Producer::nonsense`].
    pub fn nonsense(&self) -> Option<Nonsense> {
        self.producer.nonsense()
    }

    /// As [`Producer::attach`].
    pub fn attach(&mut self) {
        self.producer.attach();
    }

    /// What wakes this end from another thread, if it ever sleeps.
    pub fn rouser(&self, region: &Arc<Region>) -> Option<Rouser> {
        self.producer.sleeper().map(|(flag, berth)| berth.rouser(futex(region, flag)))
    }

    /// The producer's end. There must be one per ring, which is why nobody outside the crate may make it: a second one
    /// would hand out the same slot again.
    pub(crate) fn new(region: &Arc<Region>, shape: RingShape, manner: Manner<B>) -> Self {
        let slots = Slots::new(region, shape);
        Self { producer: Producer::new(indices(region), shape.slots as u64, manner), slots }
    }

    /// The same end, for messages of `size` bytes, if what announces one comes through this ring: see [`Pace`].
    #[must_use]
    pub fn paced(self, size: usize) -> Self {
        Self { producer: self.producer.paced(Pace::one_way(size)), ..self }
    }

    /// As [`Producer::in_turns`].
    #[must_use]
    pub fn in_turns(self) -> Self {
        Self { producer: self.producer.in_turns(), ..self }
    }

    /// Waits for a free slot, lets `fill` write the message into it, and publishes it.
    ///
    /// # Errors
    /// As [`Producer::reserve`].
    #[inline(always)]
    pub fn send_with(&mut self, peer: impl Peer, fill: impl FnOnce(&mut [u8])) -> Result<(), Stop> {
        let index = self.producer.reserve(peer)?;
        // SAFETY: between `reserve` and `commit` the slot is the producer's alone (the consumer's acquire of a later
        // tail and our acquire of its head exclude each other); the producer's view keeps the region mapped.
        fill(unsafe { self.slots.get_mut(index) });
        self.producer.commit();
        Ok(())
    }

    /// As [`Producer::ready`].
    #[inline(always)]
    pub fn ready(&mut self) -> u64 {
        self.producer.ready()
    }

    /// As [`Producer::each`], with the slots as memory.
    ///
    /// # Errors
    /// As [`Producer::reserve`].
    #[inline(always)]
    pub fn send_each(&mut self, n: u64, peer: impl Peer, mut fill: impl FnMut(u64, &mut [u8])) -> Result<(), Stop> {
        // A copy that nobody else can reach: it stays in registers.
        let mut slots = Slots { ..self.slots };
        // SAFETY: as in `send_with`: the slot is the producer's alone while `fill` runs.
        self.producer.each(n, peer, |k, index| fill(k, unsafe { slots.get_mut(index) }))
    }

    /// As [`Producer::drain`].
    ///
    /// # Errors
    /// As [`Producer::drain`].
    pub fn drain(&mut self, peer: impl Peer) -> Result<(), Stop> {
        self.producer.drain(peer)
    }
}

/// Places for messages in memory that one party writes and others see through the kernel only: pages that a pipe refers
/// to, a file that the kernel writes, memory that a peer asks the kernel for.
#[derive(Debug)]
pub struct Places {
    slots: Slots,
    _region: Arc<Region>,
}

impl Places {
    /// The places of `shape`, whose number need not be a power of two. There must be one owner per region, as with
    /// [`RingTx::new`].
    pub(crate) fn new(region: &Arc<Region>, shape: RingShape) -> Self {
        Self { slots: Slots::new(region, shape), _region: Arc::clone(region) }
    }

    /// The place of message `count`; places go round.
    #[inline(always)]
    pub fn at(&mut self, count: u64) -> &mut [u8] {
        let RingShape { size, slots, .. } = self.slots.shape;
        // SAFETY: the place is in bounds; it is reached in this process through `&mut self` only, of which there is one.
        unsafe { std::slice::from_raw_parts_mut(self.slots.at(count % slots as u64), size) }
    }
}

/// The receiving end of a ring over a region.
#[derive(Debug)]
pub struct RingRx<B: Berth = Scope> {
    consumer: Consumer<View<Indices>, B>,
    slots: Slots,
}

impl<B: Berth> RingRx<B> {
    /// As [`Consumer::nonsense`].
    pub fn nonsense(&self) -> Option<Nonsense> {
        self.consumer.nonsense()
    }

    /// As [`Consumer::attach`].
    pub fn attach(&mut self) {
        self.consumer.attach();
    }

    /// As [`RingTx::rouser`].
    pub fn rouser(&self, region: &Arc<Region>) -> Option<Rouser> {
        self.consumer.sleeper().map(|(flag, berth)| berth.rouser(futex(region, flag)))
    }

    /// The consumer's end. There must be one per ring, as with [`RingTx::new`].
    pub(crate) fn new(region: &Arc<Region>, shape: RingShape, manner: Manner<B>) -> Self {
        let slots = Slots::new(region, shape);
        Self { consumer: Consumer::new(indices(region), shape.slots as u64, manner), slots }
    }

    /// As [`RingTx::paced`].
    #[must_use]
    pub fn paced(self, size: usize) -> Self {
        Self { consumer: self.consumer.paced(Pace::one_way(size)), ..self }
    }

    /// Waits for a message, lets `read` look at it in place, and frees the slot.
    ///
    /// # Errors
    /// As [`Consumer::peek`].
    #[inline(always)]
    pub fn recv_with<R>(&mut self, peer: impl Peer, read: impl FnOnce(&[u8]) -> R) -> Result<R, Stop> {
        let index = self.consumer.peek(peer)?;
        // SAFETY: between `peek` and `release` the slot is the consumer's alone (the producer writes it again only
        // after it acquired a head beyond it); the consumer's view keeps the region mapped.
        let result = read(unsafe { self.slots.get(index) });
        self.consumer.release();
        Ok(result)
    }

    /// As [`Consumer::ready`].
    #[inline(always)]
    pub fn ready(&mut self) -> u64 {
        self.consumer.ready()
    }

    /// As [`Consumer::each`], with the slots as memory.
    ///
    /// # Errors
    /// As [`Consumer::peek`], and, inside, what `read` says.
    #[inline(always)]
    pub fn recv_each<E>(
        &mut self,
        n: u64,
        peer: impl Peer,
        mut read: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<Result<(), E>, Stop> {
        // As in `RingTx::send_each`.
        let slots = Slots { ..self.slots };
        // SAFETY: as in `recv_with`: nobody writes the slot while `read` runs.
        self.consumer.each(n, peer, |k, index| read(k, unsafe { slots.get(index) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shm::LINE;
    use crate::shm::futex::Scope;
    use crate::shm::wait::Wait;

    #[test]
    fn who_waits_for_messages_of_a_line_learns() {
        let manner = Manner { wait: Wait::Spin, berth: Scope::Private };
        for (size, learns) in [(1, true), (LINE, true), (LINE + 1, false)] {
            let (tx, rx) = ends(size, 4096, manner).unwrap();
            let learns = learns && Pace::one_way(1).learns();
            assert_eq!([tx.producer.learns(), rx.consumer.learns()], [learns; 2], "{size}");
            // A ring of notices of such messages.
            let (tx, rx) = ends(8, 4096, manner).unwrap();
            assert_eq!([tx.paced(size).producer.learns(), rx.paced(size).consumer.learns()], [learns; 2], "{size}");
        }
    }

    #[test]
    fn a_message_of_a_line_leaves_at_once_where_its_sender_spins_and_awaits_the_answer() {
        let learns = Pace::one_way(1).learns();
        for (wait, size, leaves) in [
            (Wait::Spin, LINE, learns),
            (Wait::Spin, LINE + 1, false),
            (Wait::Hybrid(1000), LINE, false),
            (Wait::Block, LINE, false),
        ] {
            let (tx, _rx) = ends(size, 4096, Manner { wait, berth: Scope::Private }).unwrap();
            assert!(!tx.producer.lets_go(), "a stream's do not");
            assert_eq!(tx.in_turns().producer.lets_go(), leaves, "{wait} {size}");
        }
    }
}
