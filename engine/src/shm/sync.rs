//! The one switch between real atomics and the model checker's.
//!
//! Everything lock-free in [`crate::shm`] takes its atomics from here, so that the code that ships is the code that
//! `RUSTFLAGS="--cfg loom" cargo test --release --test loom` explores. Two copies, one for each, were rejected: they drift.

#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// One turn of a busy wait. Under the model checker it hands the turn to another thread, because a loop that never
/// yields has infinitely many schedules.
#[inline(always)]
pub fn relax() {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(not(loom))]
    std::hint::spin_loop();
}

/// Gives the CPU to whoever else is ready to run. A call in place, as [those that sleep](super::futex).
#[inline(always)]
pub fn yield_now() {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(not(loom))]
    rustix::thread::sched_yield();
}
