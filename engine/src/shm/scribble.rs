//! The words by which two parties steer a protocol, for whoever damages them on purpose.
//!
//! Key decision: named references to the atomics of the layouts themselves, so that a test strikes what the protocol reads,
//! with the width with which it reads it, and a word that is added to a layout is added here. Rejected: offsets into the
//! header's bytes, which would race with the protocol as a defect of the test's own. The objects of the C library in
//! `bounded` are not here: what it does with damaged ones is not defined (`docs/SECURITY.md`).

use super::bounded;
use super::region::{Desk, LaneShape, Occupants, Region, View, indices, occupants};
use super::ring::Indices;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A word of a header.
#[derive(Debug)]
pub struct Word<'a> {
    /// What it is.
    pub name: &'static str,
    at: At<'a>,
}

#[derive(Debug)]
enum At<'a> {
    Half(&'a AtomicU32),
    Full(&'a AtomicU64),
}

impl<'a> Word<'a> {
    pub(super) fn half(name: &'static str, at: &'a AtomicU32) -> Self {
        Self { name, at: At::Half(at) }
    }

    pub(super) fn full(name: &'static str, at: &'a AtomicU64) -> Self {
        Self { name, at: At::Full(at) }
    }

    /// Writes over it; of a short word the value's low half.
    pub fn strike(&self, value: u64) {
        match self.at {
            // Relaxed: whoever scribbles orders nothing.
            At::Half(word) => word.store(value as u32, Ordering::Relaxed),
            At::Full(word) => word.store(value, Ordering::Relaxed),
        }
    }

    /// What it holds.
    pub fn look(&self) -> u64 {
        match self.at {
            At::Half(word) => u64::from(word.load(Ordering::Relaxed)),
            At::Full(word) => word.load(Ordering::Relaxed),
        }
    }
}

/// All words that steer what lies in a region.
#[derive(Debug, Clone)]
pub struct Header {
    occupants: View<Occupants>,
    protocol: Protocol,
}

#[derive(Debug, Clone)]
enum Protocol {
    Ring(View<Indices>),
    Slot(Desk),
    Mutex(View<bounded::Books>),
    Semaphores(View<bounded::Tokens>),
}

impl Header {
    fn new(region: &Arc<Region>, protocol: Protocol) -> Self {
        Self { occupants: occupants(region), protocol }
    }

    /// Of a ring.
    pub fn ring(region: &Arc<Region>) -> Self {
        Self::new(region, Protocol::Ring(indices(region)))
    }

    /// Of a mailbox pair.
    pub fn slot(region: &Arc<Region>, shape: LaneShape) -> Self {
        Self::new(region, Protocol::Slot(shape.views(region)))
    }

    /// Of a buffer under a mutex.
    pub fn mutex(region: &Arc<Region>) -> Self {
        Self::new(region, Protocol::Mutex(bounded::books(region)))
    }

    /// Of a buffer under semaphores.
    pub fn semaphores(region: &Arc<Region>) -> Self {
        Self::new(region, Protocol::Semaphores(bounded::tokens(region)))
    }

    /// Its words.
    pub fn words(&self) -> Vec<Word<'_>> {
        let mut words = self.occupants.words();
        match &self.protocol {
            Protocol::Ring(indices) => words.extend(indices.words()),
            Protocol::Slot(Desk { lobby, stamp, lanes, last }) => {
                words.extend(lobby.words());
                words.extend(stamp.words("stamp"));
                words.extend(lanes.iter().flat_map(|lane| lane.words()));
                words.extend(last.iter().flat_map(|last| last.words("last word")));
            }
            Protocol::Mutex(books) => words.extend(books.words()),
            Protocol::Semaphores(tokens) => words.extend(tokens.words()),
        }
        words
    }
}
