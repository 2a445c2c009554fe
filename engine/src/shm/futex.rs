//! A 32-bit word that a thread of any process can sleep on.
//!
//! Key decision: the kernel's futex through `rustix`, with the *shared* key unless both ends are known to be threads of
//! one process. `std`'s and the popular crates' waits use the private key, which silently never wakes another process.
//! Under the model checker the kernel's promise (compare and sleep are one step as seen by a waker) is a mutex and a
//! condition variable. Source: futex(2); Drepper, "Futexes Are Tricky".

use super::sync::{AtomicU32, Ordering};
use std::time::Duration;

/// Who may sleep on and wake a [`Futex`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Threads of one process only: the kernel's key is the virtual address, which is cheaper to compute.
    Private,
    /// Any process that maps the page: the key is the page and offset.
    Shared,
}

/// A futex word.
#[derive(Debug)]
#[cfg_attr(not(loom), repr(transparent))]
pub struct Futex {
    word: AtomicU32,
    #[cfg(loom)]
    queue: (loom::sync::Mutex<()>, loom::sync::Condvar),
}

impl Futex {
    /// A word that holds `value`.
    #[allow(clippy::missing_const_for_fn)]
    pub fn new(value: u32) -> Self {
        Self {
            word: AtomicU32::new(value),
            #[cfg(loom)]
            queue: (loom::sync::Mutex::new(()), loom::sync::Condvar::new()),
        }
    }

    /// The word itself.
    #[inline(always)]
    pub fn word(&self) -> &AtomicU32 {
        &self.word
    }

    /// Sleeps while the word holds `expected`, at most for `limit`, if there is one: each limit has the kernel arm a timer, a
    /// tenth of a round trip. Returns early for any reason at all (a wake, a signal, a changed word, the limit): the caller
    /// looks at its own condition again. Says whether it slept: not when the word had changed before.
    #[cfg(not(loom))]
    #[inline(always)]
    pub fn wait(&self, expected: u32, scope: Scope, limit: Option<Duration>) -> bool {
        use rustix::thread::futex;
        // EINTR and ETIMEDOUT mean "look again", as EAGAIN (word changed) and a wake do.
        let limit = limit.map(crate::sys::clock::timespec);
        futex::wait(&self.word, flags(scope), expected, limit.as_ref()) != Err(rustix::io::Errno::AGAIN)
    }

    /// Wakes one sleeper, if there is one.
    #[cfg(not(loom))]
    #[inline(always)]
    pub fn wake(&self, scope: Scope) {
        let _ = rustix::thread::futex::wake(&self.word, flags(scope), 1);
    }

    /// Model of the kernel's wait: the comparison and the sleep are one step under the queue's lock. It never times
    /// out, so that a lost wake-up shows as a deadlock.
    #[cfg(loom)]
    pub fn wait(&self, expected: u32, _: Scope, _: Option<Duration>) -> bool {
        let guard = self.queue.0.lock().unwrap();
        let sleeps = self.word.load(Ordering::Relaxed) == expected;
        if sleeps {
            drop(self.queue.1.wait(guard).unwrap());
        }
        sleeps
    }

    /// Model of the kernel's wake.
    #[cfg(loom)]
    pub fn wake(&self, _: Scope) {
        drop(self.queue.0.lock().unwrap());
        self.queue.1.notify_one();
    }

    /// Reads the word without ordering anything.
    #[inline(always)]
    pub fn peek(&self) -> u32 {
        self.word.load(Ordering::Relaxed)
    }
}

#[cfg(not(loom))]
fn flags(scope: Scope) -> rustix::thread::futex::Flags {
    match scope {
        Scope::Private => rustix::thread::futex::Flags::PRIVATE,
        Scope::Shared => rustix::thread::futex::Flags::empty(),
    }
}
