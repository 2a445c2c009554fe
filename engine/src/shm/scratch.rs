//! Memory of one party that its sender and its receiver share: what the controls `null` and `copy` are made of.
//!
//! Key decision: a guard of one plain word (which thread may enter, or that a closure is running) instead of a lock: it
//! costs a fraction of a nanosecond, and a control that costs more than what it is the control of is none. Rejected: two
//! words, one of them no atomic (a comparison more for each half, and the compiler does not see that both halves mean the
//! same word, so it leaves out no store).

use crate::sys::thread;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A buffer that one thread reaches from two ends.
#[derive(Debug)]
struct Scratch {
    /// Made by [`scratch`] from a box, which this owns.
    bytes: NonNull<[u8]>,
    /// Mark of the one thread that may enter, [`UNUSED`] before the first one did, [`BUSY`] while a closure holds the
    /// buffer. Once claimed it is written by that thread alone.
    admits: AtomicUsize,
}

/// No marks.
const UNUSED: usize = 0;
const BUSY: usize = 1;

// SAFETY: the buffer is reached only through `enter`, which admits one thread for good and one closure at a time.
unsafe impl Send for Scratch {}
// SAFETY: as above.
unsafe impl Sync for Scratch {}

impl Scratch {
    /// Runs `body`, which alone may use the buffer meanwhile.
    ///
    /// # Panics
    /// When a second thread comes, or `body` comes back for the buffer that it holds.
    #[inline(always)]
    fn enter<R>(&self, body: impl FnOnce() -> R) -> R {
        let me = thread::mark();
        // A thread always sees its own writes, and the one that is not admitted goes no further. Acquire, and the last store
        // Release: a mark may come again once its thread has ended.
        if self.admits.load(Ordering::Acquire) != me {
            self.claim(me);
        }
        self.admits.store(BUSY, Ordering::Relaxed);
        let result = body();
        self.admits.store(me, Ordering::Release);
        result
    }

    #[cold]
    fn claim(&self, me: usize) {
        match self.admits.compare_exchange(UNUSED, me, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => {}
            Err(BUSY) => panic!("a control's buffer is in use"),
            Err(_) => panic!("a control's two ends belong to one thread"),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // SAFETY: it came from a box, and no half is left that could reach it.
        drop(unsafe { Box::from_raw(self.bytes.as_ptr()) });
    }
}

/// The half that writes.
#[derive(Debug)]
pub struct ScratchTx(Half);
/// The half that reads.
#[derive(Debug)]
pub struct ScratchRx(Half);

/// What each half remembers of the buffer, so that its length need not be read again for every message.
#[derive(Debug)]
struct Half {
    scratch: Arc<Scratch>,
    bytes: NonNull<[u8]>,
}

// SAFETY: `bytes` is the buffer of `scratch`, which lives as long and is reached only through its `enter`.
unsafe impl Send for Half {}

/// A zeroed buffer of `len` bytes, for the first thread that uses either half.
pub fn scratch(len: usize) -> (ScratchTx, ScratchRx) {
    let bytes = NonNull::from(Box::leak(vec![0; len].into_boxed_slice()));
    let scratch = Arc::new(Scratch { bytes, admits: AtomicUsize::new(UNUSED) });
    let half = || Half { scratch: Arc::clone(&scratch), bytes };
    (ScratchTx(half()), ScratchRx(half()))
}

impl ScratchTx {
    /// Lets `fill` write the buffer.
    ///
    /// # Panics
    /// In a second thread, or inside another closure of either half.
    #[inline(always)]
    pub fn write(&mut self, fill: impl FnOnce(&mut [u8])) {
        let Half { scratch, bytes } = &mut self.0;
        // SAFETY: `enter` admits one closure at a time, so this is the only reference.
        scratch.enter(|| fill(unsafe { bytes.as_mut() }));
    }
}

impl ScratchRx {
    /// Lets `read` look at the buffer.
    ///
    /// # Panics
    /// In a second thread, or inside another closure of either half.
    #[inline(always)]
    pub fn read<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> R {
        let Half { scratch, bytes } = &self.0;
        // SAFETY: as in `ScratchTx::write`.
        scratch.enter(|| read(unsafe { bytes.as_ref() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_thread_is_refused() {
        let (mut tx, mut rx) = scratch(8);
        tx.write(|bytes| bytes.fill(7));
        assert!(std::thread::spawn(move || rx.read(|bytes| bytes[0])).join().is_err());
    }

    #[test]
    fn a_closure_cannot_reach_the_other_half() {
        let (mut tx, mut rx) = scratch(8);
        let nested = std::panic::AssertUnwindSafe(|| rx.read(|_| tx.write(|bytes| bytes.fill(1))));
        assert!(std::panic::catch_unwind(nested).is_err());
    }
}
