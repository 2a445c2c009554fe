//! Memory that both parties see, and the slices that the protocols hand out of it.
//!
//! Key decision: a region is a base pointer and whatever keeps it mapped; the typed views into it ([`View`]) and the slot
//! slices are made here and in the files below, so that every pointer computation of the crate is in this folder. Rejected:
//! `memmap2::MmapMut`, whose `Deref` makes a `&mut [u8]` of the whole mapping, which is wrong as soon as the peer runs.

mod mailbox;
mod occupants;
mod ring;

pub(super) use mailbox::Desk;
pub use mailbox::{LaneShape, MailRx, MailTx, Mailbox};
pub(super) use occupants::INDICES;
pub use occupants::{Farewell, Occupants, occupants};
pub(super) use ring::Slots;
pub use ring::{Places, RingRx, RingShape, RingTx, ends, indices};

use super::futex::Futex;
use crate::sys::map;
use std::alloc::Layout;
use std::any::Any;
use std::ops::{Deref, Range};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

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
