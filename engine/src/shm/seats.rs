//! A page on which the parties of an experiment leave words for each other.
//!
//! Key decision: a futex and a number for each of a fixed number of seats, each on cache lines of its own, in one shared
//! mapping made before anybody starts: the same code then serves threads and processes. Rejected: the ledger, whose two
//! parties have roles.

use super::Line;
use super::futex::Futex;
use super::region::{Region, View};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Most parties of an experiment.
pub const SEATS: usize = 16;

/// What lies on the page. All zero is "nothing happened yet".
#[derive(Debug)]
#[repr(C)]
pub struct Table {
    /// For each seat a word to sleep on.
    pub tokens: [Line<Futex>; SEATS],
    /// For each seat a number.
    pub words: [Line<AtomicU64>; SEATS],
}

impl Table {
    /// Bytes of a mapping that holds one, in whole pages as the kernel counts them.
    pub fn region_len() -> usize {
        size_of::<Self>().next_multiple_of(rustix::param::page_size())
    }

    /// A table at the start of zeroed shared memory.
    ///
    /// # Panics
    /// If the region is too short.
    pub fn lay(region: &Arc<Region>) -> View<Table> {
        // SAFETY: `Table` is all atomics.
        unsafe { View::new(region, 0) }
    }
}
