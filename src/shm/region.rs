//! Memory that both parties see, and the slices that the protocols hand out of it.
//!
//! Key decision: a region is a base pointer and whatever keeps it mapped; the typed views into it ([`View`]) and the slot
//! slices are made here and nowhere else, so that every pointer computation of the crate is in this file. Rejected:
//! `memmap2::MmapMut`, whose `Deref` makes a `&mut [u8]` of the whole mapping, which is wrong as soon as the peer runs.

use super::futex::{Futex, Scope};
use super::nonsense::Nonsense;
use super::ring::{Consumer, Indices, Manner, Producer, Stop};
use super::scribble::Word;
use super::slot::{Lobby, Place, Side, Stamp, Words};
use super::wait::{Berth, Peer, Rouser};
use crate::sys::{map, process};
use std::alloc::Layout;
use std::any::Any;
use std::ops::{Deref, Range};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Regions begin at a page boundary and slots lie at offsets relative to it.
pub const PAGE: usize = 4096;

/// Shared memory: where it is, how long, and what keeps it there.
pub struct Region {
    base: NonNull<u8>,
    len: usize,
    _keep: Keep,
}

enum Keep {
    Owned { _owner: Box<dyn Any + Send + Sync> },
    Heap { _heap: Heap },
}

struct Heap {
    base: NonNull<u8>,
    layout: Layout,
}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: `base` came from `alloc_zeroed` with this very layout and is freed only here.
        unsafe { std::alloc::dealloc(self.base.as_ptr(), self.layout) }
    }
}

// SAFETY: a region is plain memory; it is reached through atomics and through slices whose exclusiveness the protocols
// in `ring` and `slot` guarantee, and its keeper is itself Send and Sync or frees memory only.
unsafe impl Send for Region {}
// SAFETY: as above; `&Region` hands out only `View`s of all-atomic types and raw slot pointers.
unsafe impl Sync for Region {}

impl std::fmt::Debug for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Region").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Region {
    /// Page-aligned zeroed memory of the heap, as one allocation.
    pub fn heap(len: usize) -> Self {
        let layout = Layout::from_size_align(len.max(1), PAGE).expect("a region's length fits a layout");
        // SAFETY: the layout's size is not zero.
        let base = unsafe { std::alloc::alloc_zeroed(layout) };
        let Some(base) = NonNull::new(base) else { std::alloc::handle_alloc_error(layout) };
        Self { base, len, _keep: Keep::Heap { _heap: Heap { base, layout } } }
    }

    /// `len` bytes at `base`, which stay mapped readable and writable while `owner` lives.
    ///
    /// # Safety
    /// The bytes must be valid for reads and writes until `owner` is dropped, start at a page boundary, hold zeroes or
    /// what a peer of this crate left there, and be reached only through this crate's protocols.
    pub unsafe fn owned(base: *mut u8, len: usize, owner: Box<dyn Any + Send + Sync>) -> Self {
        let base = NonNull::new(base).expect("a mapping never lies at address zero");
        assert_eq!(base.as_ptr() as usize % PAGE, 0, "a mapping begins at a page boundary");
        Self { base, len, _keep: Keep::Owned { _owner: owner } }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the region has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of the region as words.
    ///
    /// # Safety
    /// The region must be reached through words only.
    pub(super) unsafe fn words(&self) -> &[AtomicU64] {
        // SAFETY: in bounds, at a page boundary and mapped while `self` lives; any bytes are valid atomics, and nothing
        // but atomics reaches them by this function's contract.
        unsafe { std::slice::from_raw_parts(self.base.cast().as_ptr(), self.len / size_of::<AtomicU64>()) }
    }

    /// Where it begins, for the layouts of this module.
    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Touches every page for writing, so that no fault is left for the timed part. Each party calls this for its own
    /// page table. The kernel does it where it can, without an access of this program: a peer that is there already may be
    /// writing messages.
    pub fn prefault(&self) {
        // SAFETY: the region is mapped while `self` lives.
        let populated = unsafe { map::populate(self.base.as_ptr(), self.len) };
        if populated.is_err() {
            self.write_pages(0..self.len);
        }
    }

    /// Writes into every page that begins in `range` without changing what is there.
    ///
    /// # Panics
    /// When the range ends beyond the region.
    pub fn write_pages(&self, range: Range<usize>) {
        assert!(range.end <= self.len, "a range ends beyond its region");
        for offset in range.step_by(PAGE) {
            // SAFETY: in bounds by the assertion; an atomic access may race with any other atomic access, and payload slices do not
            // exist yet: parties of a run prefault before the first message, and those that meet before they say so.
            let byte = unsafe { AtomicU8::from_ptr(self.base.as_ptr().add(offset)) };
            // An addition of zero that the compiler knows to be one is removed, and the page with it.
            byte.fetch_or(std::hint::black_box(0), Ordering::Relaxed);
        }
    }

    /// Reads one byte at every `stride` bytes of `range` and returns their sum.
    ///
    /// # Panics
    /// When the range ends beyond the region.
    pub fn read(&self, range: Range<usize>, stride: usize) -> u64 {
        assert!(range.end <= self.len, "a range ends beyond its region");
        let mut sum = 0;
        for offset in range.step_by(stride) {
            // SAFETY: in bounds by the assertion; for the same reasons as in `write_pages`.
            let byte = unsafe { AtomicU8::from_ptr(self.base.as_ptr().add(offset)) };
            sum += u64::from(byte.load(Ordering::Relaxed));
        }
        sum
    }
}

/// A word of this region on which somebody sleeps, as a window that keeps the region alive.
///
/// # Panics
/// When the word is none of the region's.
fn futex(region: &Arc<Region>, word: &Futex) -> View<Futex> {
    let at = std::ptr::from_ref(word) as usize;
    let offset = at.checked_sub(region.base.as_ptr() as usize).expect("the word lies in the region");
    // SAFETY: `Futex` is an atomic, and the word is one already.
    unsafe { View::new(region, offset) }
}

/// A typed window into a region, kept alive by it.
pub struct View<T> {
    at: NonNull<T>,
    region: Arc<Region>,
}

// SAFETY: a view is a shared reference to a Sync value plus a reference count.
unsafe impl<T: Sync> Send for View<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for View<T> {}

impl<T> std::fmt::Debug for View<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("View").field(&self.region).finish()
    }
}

impl<T> Clone for View<T> {
    fn clone(&self) -> Self {
        Self { at: self.at, region: Arc::clone(&self.region) }
    }
}

impl<T> View<T> {
    /// The `T` that lies `offset` bytes into the region.
    ///
    /// # Safety
    /// `T` must consist of atomics only, or of objects that are made to be shared (`sys::sync`), and be valid whatever
    /// bytes it holds.
    pub(super) unsafe fn new(region: &Arc<Region>, offset: usize) -> Self {
        assert!(offset + size_of::<T>() <= region.len, "a view ends beyond its region");
        // SAFETY: in bounds by the assertion.
        let at = unsafe { region.base.add(offset) }.cast::<T>();
        assert!(at.is_aligned(), "a view is not aligned");
        Self { at, region: Arc::clone(region) }
    }
}

impl<T> Deref for View<T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: in bounds and aligned (checked in `new`), mapped while `region` lives, all-atomic by `new`'s contract.
        unsafe { self.at.as_ref() }
    }
}

/// Who is at the two ends of a region, so that a waiter can ask whether the other one still lives.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Occupants {
    /// Tag that says "laid out by this crate, in this version".
    pub magic: AtomicU32,
    /// Bytes per message, for a peer that was started separately.
    pub size: AtomicU32,
    /// Slots, likewise.
    pub slots: AtomicU32,
    /// Process ids of producer (or side 0) and consumer (or side 1); 0 while unknown.
    pub pids: [AtomicU32; 2],
}

impl Occupants {
    /// Those that are read while messages flow.
    pub(super) fn words(&self) -> Vec<Word<'_>> {
        let [producer, consumer] = &self.pids;
        vec![Word::half("process id of the producer", producer), Word::half("process id of the consumer", consumer)]
    }

    /// Whether the process at the other end from `me` has ended. Slow, if that is another process: it asks the kernel. One
    /// that has not taken up its post is not gone.
    pub fn peer_gone(&self, me: usize) -> bool {
        // Acquire: pairs with the release by which the peer left its id.
        let peer = self.pids[1 - me].load(Ordering::Acquire);
        // Relaxed: this side's own, which it left itself.
        process::peer_is_gone(peer, self.pids[me].load(Ordering::Relaxed))
    }
}

impl View<Occupants> {
    /// What names the process at the other end from `me` to a [watcher](super::vigil); 0 while nobody took up that post.
    pub fn peer_of(&self, me: usize) -> impl Fn() -> u32 + Send + Sync + 'static {
        let occupants = self.clone();
        // Acquire: as in `peer_gone`.
        move || occupants.pids[1 - me].load(Ordering::Acquire)
    }
}

/// Which of the two parties said that it left: for mechanisms whose kernel objects do not tell. All zero is nobody.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Farewell {
    left: [AtomicU32; 2],
}

impl Farewell {
    /// The record of a region in which nothing but it and the [`Occupants`] lie.
    pub fn lay(region: &Arc<Region>) -> View<Self> {
        // SAFETY: `Farewell` is all atomics.
        unsafe { View::new(region, INDICES) }
    }

    /// Says that party 0 (the producer) or 1 (the consumer) left.
    pub fn say(&self, who: usize) {
        // Release: what the party did before is visible to whoever sees that it left.
        self.left[who].store(1, Ordering::Release);
    }

    /// Whether the party left.
    ///
    /// # Errors
    /// When its flag holds neither "no" nor "yes".
    #[inline(always)]
    pub fn said(&self, who: usize) -> Result<bool, Nonsense> {
        // Acquire: pairs with `say`.
        match self.left[who].load(Ordering::Acquire) {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(Nonsense { word: "a farewell", value: u64::from(value), low: 0, high: 1 }),
        }
    }
}

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
        let stride = if size <= 32 { size.next_power_of_two().max(8) } else { size.next_multiple_of(64) };
        let wanted = (budget / stride).max(2);
        let slots = if wanted.is_power_of_two() { wanted } else { wanted.next_power_of_two() / 2 };
        Self { size, stride, slots }
    }

    /// Bytes that a region needs for it.
    pub fn region_len(&self) -> usize {
        (PAGE + self.stride * self.slots).next_multiple_of(PAGE)
    }
}

const OCCUPANTS: usize = 0;
/// Where a mechanism's own words begin.
pub(super) const INDICES: usize = 256;
const _: () = assert!(INDICES + size_of::<Indices>() <= PAGE);
const _: () = assert!(size_of::<Occupants>() <= INDICES);

/// The occupants' record of a region.
pub fn occupants(region: &Arc<Region>) -> View<Occupants> {
    // SAFETY: `Occupants` is all atomics.
    unsafe { View::new(region, OCCUPANTS) }
}

/// The shared indices of a ring's region.
pub fn indices(region: &Arc<Region>) -> View<Indices> {
    // SAFETY: `Indices` is all atomics (its bells and lines are).
    unsafe { View::new(region, INDICES) }
}

/// The slots of a ring as bytes.
#[derive(Debug)]
pub(super) struct Slots {
    first: NonNull<u8>,
    shape: RingShape,
}

// SAFETY: a pointer to region memory; what makes an access exclusive is the ring protocol, not the thread.
unsafe impl Send for Slots {}

impl Slots {
    pub(super) fn new(region: &Region, shape: RingShape) -> Self {
        assert!(shape.region_len() <= region.len, "the ring does not fit its region");
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
    pub(super) unsafe fn get(&self, index: u64) -> &[u8] {
        // SAFETY: the slot is in bounds, any byte is a valid u8, and the caller promises the rest.
        unsafe { std::slice::from_raw_parts(self.at(index), self.shape.size) }
    }

    /// The place for the message in slot `index`.
    ///
    /// # Safety
    /// Nobody else may read or write the slot while the slice lives, and its region must be mapped.
    #[inline(always)]
    pub(super) unsafe fn get_mut(&mut self, index: u64) -> &mut [u8] {
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

/// Offsets of a mailbox pair in its region: the shared slot, then the two lanes.
#[derive(Debug, Clone, Copy)]
pub struct LaneShape {
    /// Bytes of a message.
    pub size: usize,
}

/// Bytes before the payload of the shared slot and of a lane.
const SHARED_HEADER: usize = size_of::<Stamp>();
const LANE_HEADER: usize = size_of::<Words>();
const _: () = assert!(SHARED_HEADER == 8 && LANE_HEADER == 16);

impl LaneShape {
    const LOBBY: usize = 256;

    fn place_len(self) -> usize {
        // At least two lines of distance, so that the pair prefetcher never drags another place along.
        (LANE_HEADER + self.size).next_multiple_of(256)
    }

    /// Bytes that a region needs for it.
    pub fn region_len(self) -> usize {
        (PAGE + 3 * self.place_len()).next_multiple_of(PAGE)
    }

    /// Whether messages are short enough for the slot that both sides write in turn: see [`slot`](super::slot).
    fn shares(self) -> bool {
        self.size <= size_of::<u64>()
    }

    fn shared(self) -> usize {
        PAGE
    }

    fn lane(self, index: usize) -> usize {
        PAGE + (1 + index) * self.place_len()
    }

    /// The words of the pair: for both, of the shared slot, and of the two lanes.
    pub(super) fn views(self, region: &Arc<Region>) -> (View<Lobby>, View<Stamp>, [View<Words>; 2]) {
        // SAFETY: `Words` is all atomics.
        let lanes = [0, 1].map(|lane| unsafe { View::new(region, self.lane(lane)) });
        // SAFETY: `Stamp` is an atomic, `Lobby` all atomics.
        unsafe { (View::new(region, Self::LOBBY), View::new(region, self.shared()), lanes) }
    }
}

/// One side of a mailbox pair over a region; its sender and receiver share it.
#[derive(Debug)]
pub struct Mailbox {
    side: Side<View<Stamp>, View<Words>, View<Lobby>>,
    shared: NonNull<u8>,
    mine: NonNull<u8>,
    theirs: NonNull<u8>,
    size: usize,
}

// SAFETY: pointers into a region kept alive by `side`'s views; the slot protocol makes accesses exclusive.
unsafe impl Send for Mailbox {}
// SAFETY: `&Mailbox` hands out `&mut [u8]` only through `MailTx`, of which there is one per mailbox.
unsafe impl Sync for Mailbox {}

impl Mailbox {
    /// Side `index` of the pair; returns its two halves. There must be one of each side, which is why nobody outside the
    /// crate may make it: a second one would hand out the same places again.
    pub(crate) fn open(region: &Arc<Region>, shape: LaneShape, index: usize, manner: Manner) -> (MailTx, MailRx) {
        assert!(shape.region_len() <= region.len, "the mailbox does not fit its region");
        assert!(index < 2, "a mailbox has sides 0 and 1");
        let (lobby, stamp, lanes) = shape.views(region);
        let words = [&lanes[index], &lanes[1 - index]].map(View::clone);
        let payload = |offset| {
            // SAFETY: the payloads lie within the region by the first assertion.
            unsafe { region.base.add(offset) }
        };
        let side = Side::new(index, stamp, words, lobby, manner);
        let mailbox = Arc::new(Self {
            side: if shape.shares() { side } else { side.lanes_only() },
            shared: payload(shape.shared() + SHARED_HEADER),
            mine: payload(shape.lane(index) + LANE_HEADER),
            theirs: payload(shape.lane(1 - index) + LANE_HEADER),
            size: shape.size,
        });
        (MailTx { mailbox: Arc::clone(&mailbox), attached: false }, MailRx { mailbox, attached: false })
    }
}

/// The sending half of a mailbox side.
#[derive(Debug)]
pub struct MailTx {
    mailbox: Arc<Mailbox>,
    attached: bool,
}

impl MailTx {
    /// As [`Side::nonsense`].
    pub fn nonsense(&self) -> Option<Nonsense> {
        self.mailbox.side.nonsense()
    }

    /// Says that this half is in use: only then does dropping it close it for the peer.
    pub fn attach(&mut self) {
        self.mailbox.side.used_here();
        self.attached = true;
    }

    /// As [`RingTx::rouser`], for both halves of the side.
    pub fn rouser(&self, region: &Arc<Region>) -> Option<Rouser> {
        self.mailbox.side.sleeper().map(|(flag, berth)| berth.rouser(futex(region, flag)))
    }

    /// Waits for a free place, lets `fill` write the message into it, and publishes it.
    ///
    /// # Errors
    /// As [`Side::reserve`].
    #[inline(always)]
    pub fn send_with(&mut self, peer: impl Peer, fill: impl FnOnce(&mut [u8])) -> Result<(), Stop> {
        let mailbox = &*self.mailbox;
        let place = mailbox.side.reserve(peer)?;
        let at = if place == Place::Shared { mailbox.shared } else { mailbox.mine };
        // SAFETY: after `reserve` and until `put` the place is this half's alone (nobody but its owner touches the shared
        // slot, and the peer took the last message from our lane), `&mut self` makes this half unique, and the payload
        // was checked to lie within the region.
        let payload = unsafe { std::slice::from_raw_parts_mut(at.as_ptr(), mailbox.size) };
        fill(payload);
        mailbox.side.put(place);
        Ok(())
    }
}

impl Drop for MailTx {
    fn drop(&mut self) {
        if self.attached {
            self.mailbox.side.close_sending();
        }
    }
}

/// The receiving half of a mailbox side.
#[derive(Debug)]
pub struct MailRx {
    mailbox: Arc<Mailbox>,
    attached: bool,
}

impl MailRx {
    /// As [`Side::nonsense`].
    pub fn nonsense(&self) -> Option<Nonsense> {
        self.mailbox.side.nonsense()
    }

    /// Says that this half is in use: only then does dropping it close it for the peer.
    pub fn attach(&mut self) {
        self.mailbox.side.used_here();
        self.attached = true;
    }

    /// As [`RingTx::rouser`], for both halves of the side.
    pub fn rouser(&self, region: &Arc<Region>) -> Option<Rouser> {
        self.mailbox.side.sleeper().map(|(flag, berth)| berth.rouser(futex(region, flag)))
    }

    /// Waits for a message and lets `read` look at it in place.
    ///
    /// # Errors
    /// As [`Side::peek`].
    #[inline(always)]
    pub fn recv_with<R>(&mut self, peer: impl Peer, read: impl FnOnce(&[u8]) -> R) -> Result<R, Stop> {
        let mailbox = &*self.mailbox;
        let place = mailbox.side.peek(peer)?;
        let at = if place == Place::Shared { mailbox.shared } else { mailbox.theirs };
        // SAFETY: after `peek` the peer writes this place again only after it saw that we took the message (its lane), or
        // got the slot back from us (the shared slot). Our sending half gets neither done before `take`.
        let payload = unsafe { std::slice::from_raw_parts(at.as_ptr(), mailbox.size) };
        let result = read(payload);
        mailbox.side.take(place);
        Ok(result)
    }
}

impl Drop for MailRx {
    fn drop(&mut self) {
        if self.attached {
            self.mailbox.side.close_receiving();
        }
    }
}
