//! Memory of one party that its sender and its receiver share: what the controls `null` and `copy` are made of.
//!
//! Key decision: a guard of two plain words (which thread, and whether a closure is running) instead of a lock: it costs
//! a fraction of a nanosecond, and a control that costs more than what it is the control of is none.

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A buffer that one thread reaches from two ends.
#[derive(Debug)]
struct Scratch {
    bytes: UnsafeCell<Box<[u8]>>,
    /// Address of a thread-local of the one thread that uses the buffer; 0 before its first use.
    owner: AtomicUsize,
    /// Whether a closure holds the buffer.
    busy: AtomicBool,
}

// SAFETY: the buffer is reached only through `enter`, which admits one thread for good and one closure at a time.
unsafe impl Send for Scratch {}
// SAFETY: as above.
unsafe impl Sync for Scratch {}

thread_local! {
    static MARK: u8 = const { 0 };
}

impl Scratch {
    /// Runs `body` with the buffer.
    ///
    /// # Panics
    /// When a second thread comes, or `body` comes back for the buffer that it holds.
    #[inline(always)]
    fn enter<R>(&self, body: impl FnOnce(*mut Box<[u8]>) -> R) -> R {
        let me = MARK.with(|mark| std::ptr::from_ref(mark) as usize);
        // Relaxed: a thread always sees its own writes, and the one that is not the owner goes no further.
        if self.owner.load(Ordering::Relaxed) != me {
            self.claim(me);
        }
        assert!(!self.busy.load(Ordering::Relaxed), "a control's buffer is in use");
        self.busy.store(true, Ordering::Relaxed);
        let result = body(self.bytes.get());
        self.busy.store(false, Ordering::Relaxed);
        result
    }

    #[cold]
    fn claim(&self, me: usize) {
        let claimed = self.owner.compare_exchange(0, me, Ordering::Relaxed, Ordering::Relaxed);
        assert!(claimed.is_ok(), "a control's two ends belong to one thread");
    }
}

/// The half that writes.
#[derive(Debug)]
pub struct ScratchTx(Arc<Scratch>);
/// The half that reads.
#[derive(Debug)]
pub struct ScratchRx(Arc<Scratch>);

/// A zeroed buffer of `len` bytes, for the first thread that uses either half.
pub fn scratch(len: usize) -> (ScratchTx, ScratchRx) {
    let bytes = UnsafeCell::new(vec![0; len].into_boxed_slice());
    let shared = Arc::new(Scratch { bytes, owner: AtomicUsize::new(0), busy: AtomicBool::new(false) });
    (ScratchTx(Arc::clone(&shared)), ScratchRx(shared))
}

impl ScratchTx {
    /// Lets `fill` write the buffer.
    ///
    /// # Panics
    /// In a second thread, or inside another closure of either half.
    #[inline(always)]
    pub fn write(&mut self, fill: impl FnOnce(&mut [u8])) {
        // SAFETY: `enter` admits one closure at a time, so this is the only reference.
        self.0.enter(|bytes| fill(unsafe { &mut *bytes }));
    }
}

impl ScratchRx {
    /// Lets `read` look at the buffer.
    ///
    /// # Panics
    /// In a second thread, or inside another closure of either half.
    #[inline(always)]
    pub fn read<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> R {
        // SAFETY: as in `ScratchTx::write`.
        self.0.enter(|bytes| read(unsafe { &*bytes }))
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
