//! Who is at the two ends of a region, and whether they said that they left.

use super::{Region, View};
use crate::shm::nonsense::Nonsense;
use crate::shm::ring::Indices;
use crate::shm::scribble::Word;
use crate::sys::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const OCCUPANTS: usize = 0;
/// Where a mechanism's own words begin.
pub(in crate::shm) const INDICES: usize = 256;
const _: () = assert!(INDICES + size_of::<Indices>() <= super::PAGE);
const _: () = assert!(size_of::<Occupants>() <= INDICES);

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
    pub(in crate::shm) fn words(&self) -> Vec<Word<'_>> {
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
    /// What names the process at the other end from `me` to a [watcher](crate::shm::vigil); 0 while nobody took up that post.
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

/// The occupants' record of a region.
pub fn occupants(region: &Arc<Region>) -> View<Occupants> {
    // SAFETY: `Occupants` is all atomics.
    unsafe { View::new(region, OCCUPANTS) }
}
