//! Words and locks that the workers of an experiment share, be they threads or processes.
//!
//! Key decision: one fixed layout of atomics for all experiments, in one anonymous shared mapping that is made before the
//! workers start. Threads use the same mapping, so that nothing but the kind of worker differs. Rejected: a layout for each
//! experiment, each with its own `unsafe`.

use super::Line;
use super::lock::Lock;
use super::region::{Region, View};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most workers that have a line of their own.
pub const WORKERS: usize = 16;

/// What is shared. All zero is "nothing happened yet".
#[derive(Debug)]
#[repr(C)]
pub struct Board {
    /// Workers that stand at the start line.
    pub ready: Line<AtomicU64>,
    /// When they begin, as the clock counts; 0 while nobody said.
    pub go: Line<AtomicU64>,
    /// A word for each worker, in lines of their own.
    pub own: [Line<AtomicU64>; WORKERS],
    /// Words that share lines: word *i* lies 8 *i* bytes behind the start of a line.
    pub words: [AtomicU64; 64],
    /// Locks, in lines of their own.
    pub locks: [Lock; 2],
    /// What each worker reports.
    pub reports: [Line<AtomicU64>; WORKERS],
}

impl Board {
    /// Bytes that a region needs for it.
    pub const LEN: usize = size_of::<Self>();

    /// A board at the start of zeroed shared memory.
    ///
    /// # Panics
    /// If the region is too short.
    pub fn lay(region: &Arc<Region>) -> View<Board> {
        // SAFETY: `Board` is all atomics (its lines and locks are).
        unsafe { View::new(region, 0) }
    }

    /// Wipes every word; the locks stay as they are. For when no worker runs.
    pub fn wipe(&self) {
        let lines = self.own.iter().chain(&self.reports).chain([&self.ready, &self.go]).map(|line| &line.0);
        // Relaxed: starting a worker orders this before all that it does.
        lines.chain(&self.words).for_each(|word| word.store(0, Ordering::Relaxed));
    }
}
