//! Memory of one party that its sender and its receiver share: what the controls `null` and `copy` are made of.

use std::cell::UnsafeCell;
use std::sync::Arc;

/// A buffer reached from a [`ScratchTx`] and a [`ScratchRx`] that live in one thread.
#[derive(Debug)]
struct Scratch(UnsafeCell<Box<[u8]>>);

// SAFETY: the two halves are created together and handed to one party (`Parties::Solo`), which uses them in turn from
// one thread; each access is confined to a closure call that cannot reach the other half.
unsafe impl Send for Scratch {}
// SAFETY: as above.
unsafe impl Sync for Scratch {}

/// The half that writes.
#[derive(Debug)]
pub struct ScratchTx(Arc<Scratch>);
/// The half that reads.
#[derive(Debug)]
pub struct ScratchRx(Arc<Scratch>);

/// A zeroed buffer of `len` bytes. Crate-private, because its contract is kept by the crate: both halves stay in one
/// thread (the session never starts a second party for a solo mechanism), and neither closure reaches the other half.
pub(crate) fn scratch(len: usize) -> (ScratchTx, ScratchRx) {
    let shared = Arc::new(Scratch(UnsafeCell::new(vec![0; len].into_boxed_slice())));
    (ScratchTx(Arc::clone(&shared)), ScratchRx(shared))
}

impl ScratchTx {
    /// Lets `fill` write the buffer.
    #[inline(always)]
    pub fn write(&mut self, fill: impl FnOnce(&mut [u8])) {
        // SAFETY: one thread uses both halves, one closure at a time (contract of `scratch`).
        fill(unsafe { &mut *self.0.0.get() });
    }
}

impl ScratchRx {
    /// Lets `read` look at the buffer.
    #[inline(always)]
    pub fn read<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> R {
        // SAFETY: as in `ScratchTx::write`.
        read(unsafe { &*self.0.0.get() })
    }
}
