//! A lock between processes that the kernel gives back when its holder dies.
//!
//! C: `int pthread_mutexattr_setrobust(pthread_mutexattr_t *attr, int robustness);`
//!
//! Key decision: the C library's robust mutex. Its holder's thread keeps a list of such locks which the kernel walks when
//! the thread ends; the list belongs to the C library, so a lock of our own could not be on it. Source:
//! pthread_mutexattr_setrobust(3), set_robust_list(2), the kernel's Documentation/locking/robust-futexes.rst.

use memmap2::{MmapOptions, MmapRaw};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

/// A lock in a page that forked children share.
#[derive(Debug)]
pub struct RobustLock(MmapRaw);

/// How the lock was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// From nobody.
    Free,
    /// From a holder that died with it.
    OfTheDead,
}

impl RobustLock {
    /// A free lock in fresh shared memory.
    ///
    /// # Errors
    /// What mmap(2) or the C library say; ENOTSUP where it has no such locks.
    pub fn new() -> io::Result<Self> {
        let map = MmapOptions::new().map_raw(&super::map::sealed_memfd(crate::shm::region::PAGE)?)?;
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        // SAFETY: the attributes are initialised by the first call before the others use them and are destroyed once; the
        // mutex lies at the start of a mapped, zeroed page that is larger than it and that nobody else knows yet.
        unsafe {
            check(libc::pthread_mutexattr_init(attributes.as_mut_ptr()))?;
            let shared = libc::pthread_mutexattr_setpshared(attributes.as_mut_ptr(), libc::PTHREAD_PROCESS_SHARED);
            let robust = libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), libc::PTHREAD_MUTEX_ROBUST);
            let made = libc::pthread_mutex_init(map.as_mut_ptr().cast(), attributes.as_ptr());
            libc::pthread_mutexattr_destroy(attributes.as_mut_ptr());
            [shared, robust, made].into_iter().try_for_each(check)?;
        }
        Ok(Self(map))
    }

    fn raw(&self) -> *mut libc::pthread_mutex_t {
        self.0.as_mut_ptr().cast()
    }

    /// Takes the lock, sleeping for it at most for `limit`. A lock of the dead is made usable again.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`], and what pthread_mutex_timedlock(3) says.
    pub fn lock_within(&self, limit: Duration) -> io::Result<Taken> {
        let until = clock_gettime(ClockId::CLOCK_REALTIME)? + TimeSpec::from_duration(limit);
        // SAFETY: `new` initialised the mutex, and it stays mapped as long as `self` lives.
        match unsafe { libc::pthread_mutex_timedlock(self.raw(), until.as_ref()) } {
            libc::EOWNERDEAD => {
                // SAFETY: as above; the calling thread holds the lock.
                check(unsafe { libc::pthread_mutex_consistent(self.raw()) })?;
                Ok(Taken::OfTheDead)
            }
            code => check(code).map(|()| Taken::Free),
        }
    }

    /// Gives the lock back. For the thread that holds it; for any other one the C library refuses and nothing happens.
    pub fn unlock(&self) {
        // SAFETY: as in `lock_within`; a robust mutex checks its owner.
        unsafe { libc::pthread_mutex_unlock(self.raw()) };
    }
}

fn check(code: libc::c_int) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn a_lock_of_the_dead_is_handed_on_once() {
        let lock = Arc::new(RobustLock::new().unwrap());
        let theirs = Arc::clone(&lock);
        // A thread that ends with the lock is as dead as a process.
        std::thread::spawn(move || theirs.lock_within(SOON).unwrap()).join().unwrap();
        assert_eq!(lock.lock_within(SOON).unwrap(), Taken::OfTheDead);
        lock.unlock();
        assert_eq!(lock.lock_within(SOON).unwrap(), Taken::Free);
        let theirs = Arc::clone(&lock);
        let refused = std::thread::spawn(move || theirs.lock_within(Duration::from_millis(5))).join().unwrap();
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::TimedOut);
        lock.unlock();
    }
}
