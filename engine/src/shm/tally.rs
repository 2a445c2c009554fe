//! Counters that the workers of an experiment share, be they threads or processes.
//!
//! Key decision: any number of plain words in one anonymous shared mapping, made before the workers start, so that what a
//! worker wrote survives its death. Rejected: messages about what was done, which die with whoever was about to send them.

use super::region::Region;
use std::io;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Words that start at zero. Clones are the same words, and so are those of a forked child.
#[derive(Debug, Clone)]
pub struct Tally {
    region: Arc<Region>,
    len: usize,
}

impl Tally {
    /// That many words.
    ///
    /// # Errors
    /// As [`anonymous_shared`](crate::sys::map::anonymous_shared).
    pub fn new(len: usize) -> io::Result<Self> {
        let region = crate::sys::map::anonymous_shared(len * size_of::<AtomicU64>())?;
        Ok(Self { region: Arc::new(region), len })
    }
}

impl Deref for Tally {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the region was made in `new` and is handed to nobody, so this is the only way to it.
        let words = unsafe { self.region.words() };
        &words[..self.len]
    }
}
