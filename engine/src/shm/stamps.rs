//! Where the consumer of an open-loop window leaves the time at which it had verified each message.
//!
//! Key decision: one word per message in one anonymous shared mapping, made before the peer starts; the leader turns the
//! times into histograms after the window. The consumer's own part is then one store into memory that it has to itself:
//! no schedule to compute, no histogram to update, and no line that the producer writes. The price is 8 bytes of memory
//! traffic a message, in address order. Rejected: histograms in the consumer, which would need the producer's send times
//! in shared memory and take a line from its cache every eighth message.
//!
//! # Ordering
//! The consumer stores with `Relaxed`, then opens the ledger's `done` gate (`Release`); the leader reads only after it
//! has passed that gate (`Acquire`). The gate orders all the stores of a window before all the reads, whatever the
//! transport between the two orders or does not.

use super::region::{PAGE, Region, View};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most messages of one window: 8 MiB of times.
pub const MOST: usize = 1 << 20;

/// The times of one window, in the order of its messages.
#[derive(Debug)]
#[repr(C)]
pub struct Stamps {
    times: [AtomicU64; MOST],
}

impl Stamps {
    /// Room for a window's times at the start of shared memory.
    ///
    /// # Panics
    /// If the region is too short.
    pub fn lay(region: &Arc<Region>) -> View<Stamps> {
        // SAFETY: `Stamps` is all atomics.
        unsafe { View::new(region, 0) }
    }

    /// The places of the first `n` messages.
    ///
    /// # Panics
    /// If `n` is more than [`MOST`].
    pub fn of(&self, n: usize) -> &[AtomicU64] {
        &self.times[..n]
    }

    /// Writes into every page, so that no fault is left for a window. For the party that will store, before the first one.
    pub fn prefault(&self) {
        let each_page = self.times.iter().step_by(PAGE / size_of::<AtomicU64>());
        each_page.for_each(|time| time.store(0, Ordering::Relaxed));
    }
}
