//! A lock in memory that several processes see, and that its holder's death leaves locked for ever.
//!
//! Key decision: three states in one futex word (free, held, held with somebody asleep), so that neither side makes a
//! system call unless somebody sleeps; waiting always has a limit, so that an experiment about deadlocks and dead holders
//! ends. Rejected: `std::sync::Mutex`, whose futex is private to the process; no limit, as a textbook's lock has none.
//! Source: Drepper, "Futexes Are Tricky", mutex 2.

use super::futex::{Futex, Scope};
use super::sync::Ordering;
use std::time::{Duration, Instant};

/// A lock. All zero is free. It knows nothing of who holds it: whoever dies inside it leaves it held.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct Lock(Futex);

const FREE: u32 = 0;
const HELD: u32 = 1;
/// Held, and somebody may sleep.
const CONTENDED: u32 = 2;

impl Lock {
    /// Takes the lock if it is free.
    #[inline(always)]
    pub fn try_lock(&self) -> bool {
        // Acquire: pairs with the release in `unlock`, so that what the last holder wrote is visible.
        self.0.word().compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Takes the lock, sleeping for it at most for `limit`; false when it was not to be had.
    #[inline(always)]
    pub fn lock_within(&self, scope: Scope, limit: Duration) -> bool {
        self.try_lock() || self.sleep_for_it(scope, limit)
    }

    #[cold]
    fn sleep_for_it(&self, scope: Scope, limit: Duration) -> bool {
        let start = Instant::now();
        // Acquire as in `try_lock`. Who takes the lock this way cannot know whether others still sleep and says they do.
        while self.0.word().swap(CONTENDED, Ordering::Acquire) != FREE {
            let Some(rest) = limit.checked_sub(start.elapsed()).filter(|rest| !rest.is_zero()) else { return false };
            self.0.wait(CONTENDED, scope, Some(rest));
        }
        true
    }

    /// Gives the lock back and wakes one sleeper, if there may be one. For its holder only.
    #[inline(always)]
    pub fn unlock(&self, scope: Scope) {
        // Release: what was written under the lock is visible to the next holder.
        if self.0.word().swap(FREE, Ordering::Release) == CONTENDED {
            self.0.wake(scope);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn a_lock_excludes_and_wakes_who_waits() {
        let (lock, count) = (Lock(Futex::new(FREE)), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        assert!(lock.lock_within(Scope::Private, SOON));
                        // Not one step: only the lock keeps the sum right.
                        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                        lock.unlock(Scope::Private);
                    }
                });
            }
        });
        assert_eq!(count.into_inner(), 8000);
    }

    #[test]
    fn a_lock_that_nobody_gives_back_is_given_up() {
        let lock = Lock(Futex::new(FREE));
        assert!(lock.try_lock() && !lock.try_lock());
        assert!(!lock.lock_within(Scope::Shared, Duration::from_millis(5)));
        lock.unlock(Scope::Shared);
        assert!(lock.lock_within(Scope::Shared, SOON));
    }
}
