//! POSIX semaphores, robust mutexes and condition variables in memory that processes share. Source: sem_overview(7),
//! sem_init(3), pthread_mutexattr_setrobust(3), pthread_mutexattr_setpshared(3), pthread_cond_init(3).
//!
//! Key decision: wrappers around the C library's objects in place, not objects of our own, because they are what programs
//! use. All of them are `Sync` and take `&self`: the object lies in memory of which every process has its own view, and
//! the C library alone reaches inside. Nothing is destroyed: on Linux the objects are plain memory, and the process
//! that unmaps it last does not know that it is the last.
//!
//! There is no robust condition variable: nobody tells a sleeper that whoever was to signal is dead. So a wait has a limit,
//! after which the caller looks for itself, by a clock that nobody sets (pthread_condattr_setclock(3)).

use super::rouse::roused;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use std::cell::UnsafeCell;
use std::io;
use std::time::Duration;

fn checked(code: i32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

/// A counting semaphore. To be [initialised](Self::init) in place before anybody else uses it.
#[repr(transparent)]
pub struct Semaphore(UnsafeCell<libc::sem_t>);

// SAFETY: the functions of the C library on an initialised semaphore may be called from any thread of any process at once.
unsafe impl Sync for Semaphore {}
// SAFETY: as above.
unsafe impl Send for Semaphore {}

impl Semaphore {
    /// Makes it a semaphore between processes with `value` to take.
    ///
    /// # Errors
    /// EINVAL when `value` is larger than a semaphore counts, ENOSYS without semaphores between processes.
    pub fn init(&self, value: u32) -> io::Result<()> {
        // SAFETY: the memory is a semaphore's in size and alignment, and nobody uses it yet.
        if unsafe { libc::sem_init(self.0.get(), 1, value) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Takes one, sleeping until there is one; false when the C library says that this is no semaphore any more, and when
    /// the process was [roused].
    #[inline(always)]
    pub fn wait(&self) -> bool {
        loop {
            // SAFETY: initialised.
            if unsafe { libc::sem_wait(self.0.get()) } == 0 {
                return true;
            }
            // Of an intact semaphore the one error is EINTR.
            if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted || roused() {
                return false;
            }
        }
    }

    /// Takes one if there is one; says whether there was.
    #[inline(always)]
    pub fn try_wait(&self) -> bool {
        // SAFETY: initialised.
        unsafe { libc::sem_trywait(self.0.get()) == 0 }
    }

    /// How many there are to take at this moment; one where the C library says that this is no semaphore any more, so that
    /// whoever takes it is told.
    #[inline(always)]
    pub fn value(&self) -> u64 {
        let mut value = 0;
        // SAFETY: initialised, and the value goes where it may be written.
        let told = unsafe { libc::sem_getvalue(self.0.get(), &mut value) };
        if told == 0 { u64::try_from(value).unwrap_or(0) } else { 1 }
    }

    /// Puts one back and wakes a sleeper.
    #[inline(always)]
    pub fn post(&self) {
        // SAFETY: initialised. It fails above SEM_VALUE_MAX only, which no buffer reaches.
        unsafe { libc::sem_post(self.0.get()) };
    }
}

/// A robust mutex: when its owner dies, the next to lock it is told. To be [initialised](Self::init) in place.
#[repr(transparent)]
pub struct Mutex(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: the functions of the C library on an initialised mutex may be called from any thread of any process at once.
unsafe impl Sync for Mutex {}
// SAFETY: as above; a lock that is held is a `Locked`, which stays in its thread.
unsafe impl Send for Mutex {}

impl Mutex {
    /// Makes it a robust mutex between processes.
    ///
    /// # Errors
    /// ENOTSUP or ENOSYS where the C library or the kernel has none.
    pub fn init(&self) -> io::Result<()> {
        // SAFETY: all zero is a valid value to initialise, whatever is in it.
        let mut attributes: libc::pthread_mutexattr_t = unsafe { std::mem::zeroed() };
        // SAFETY: the attributes are initialised before they are set and used, and destroyed once; the memory of the mutex
        // is one in size and alignment, and nobody uses it yet.
        unsafe {
            checked(libc::pthread_mutexattr_init(&mut attributes))?;
            let made = checked(libc::pthread_mutexattr_setpshared(&mut attributes, libc::PTHREAD_PROCESS_SHARED))
                .and_then(|()| checked(libc::pthread_mutexattr_setrobust(&mut attributes, libc::PTHREAD_MUTEX_ROBUST)))
                .and_then(|()| checked(libc::pthread_mutex_init(self.0.get(), &attributes)));
            libc::pthread_mutexattr_destroy(&mut attributes);
            made
        }
    }

    /// Locks it, sleeping until it is free.
    ///
    /// # Errors
    /// Of an intact mutex none. What the C library says where a peer scribbled over it and it notices: EINVAL,
    /// ENOTRECOVERABLE, EDEADLK, EAGAIN.
    #[inline(always)]
    pub fn lock(&self) -> io::Result<Locked<'_>> {
        // SAFETY: initialised, and not held by this thread: a `Locked` borrows the only way to it.
        let code = unsafe { libc::pthread_mutex_lock(self.0.get()) };
        Ok(Locked { mutex: self, orphaned: self.adopt(code)?, _here: std::marker::PhantomData })
    }

    /// Whether the last owner died while it held the lock, which is ours now. The mutex is declared usable again.
    #[inline(always)]
    fn adopt(&self, code: i32) -> io::Result<bool> {
        match code {
            0 => Ok(false),
            libc::EOWNERDEAD => {
                // SAFETY: EOWNERDEAD says that this thread holds the lock.
                unsafe { libc::pthread_mutex_consistent(self.0.get()) };
                Ok(true)
            }
            _ => Err(io::Error::from_raw_os_error(code)),
        }
    }
}

/// A mutex that this thread holds, until this is dropped.
#[must_use]
pub struct Locked<'a> {
    mutex: &'a Mutex,
    /// Whether the owner before us died while it held the lock.
    pub orphaned: bool,
    /// Only the thread that locked may unlock.
    _here: std::marker::PhantomData<*const ()>,
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // SAFETY: this thread holds the lock.
        unsafe { libc::pthread_mutex_unlock(self.mutex.0.get()) };
    }
}

/// A condition variable. To be [initialised](Self::init) in place before anybody else uses it.
#[repr(transparent)]
pub struct Condition(UnsafeCell<libc::pthread_cond_t>);

// SAFETY: the functions of the C library on an initialised condition may be called from any thread of any process at once.
unsafe impl Sync for Condition {}
// SAFETY: as above.
unsafe impl Send for Condition {}

impl Condition {
    /// Makes it a condition variable between processes.
    ///
    /// # Errors
    /// ENOSYS where the C library has none.
    pub fn init(&self) -> io::Result<()> {
        // SAFETY: all zero is a valid value to initialise, whatever is in it.
        let mut attributes: libc::pthread_condattr_t = unsafe { std::mem::zeroed() };
        // SAFETY: as in `Mutex::init`.
        unsafe {
            checked(libc::pthread_condattr_init(&mut attributes))?;
            let made = checked(libc::pthread_condattr_setpshared(&mut attributes, libc::PTHREAD_PROCESS_SHARED))
                .and_then(|()| checked(libc::pthread_condattr_setclock(&mut attributes, libc::CLOCK_MONOTONIC)))
                .and_then(|()| checked(libc::pthread_cond_init(self.0.get(), &attributes)));
            libc::pthread_condattr_destroy(&mut attributes);
            made
        }
    }

    /// Lets go of the lock, sleeps until somebody [signals](Self::signal), for no reason, or for `limit` where there is one, and
    /// locks again. Says whether it was for that long.
    ///
    /// # Errors
    /// As [`Mutex::lock`].
    #[inline(always)]
    pub fn wait(&self, locked: &mut Locked<'_>, limit: Option<Duration>) -> io::Result<bool> {
        let code = if let Some(limit) = limit {
            // The clock of every process; it cannot fail where the condition was initialised with it.
            let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap_or(TimeSpec::new(0, 0));
            let until = now + TimeSpec::from_duration(limit);
            // SAFETY: initialised, and this thread holds the lock, before and after, also when the time is over.
            unsafe { libc::pthread_cond_timedwait(self.0.get(), locked.mutex.0.get(), until.as_ref()) }
        } else {
            // SAFETY: as above.
            unsafe { libc::pthread_cond_wait(self.0.get(), locked.mutex.0.get()) }
        };
        let late = code == libc::ETIMEDOUT;
        // A lock that is not ours any more is refused when `locked` gives it back.
        locked.orphaned |= !late && locked.mutex.adopt(code)?;
        Ok(late)
    }

    /// Wakes one sleeper.
    #[inline(always)]
    pub fn signal(&self) {
        // SAFETY: initialised.
        unsafe { libc::pthread_cond_signal(self.0.get()) };
    }
}

macro_rules! opaque {
    ($($name:ident),+) => { $(impl std::fmt::Debug for $name {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct(stringify!($name)).finish_non_exhaustive()
        }
    })+ };
}
opaque!(Semaphore, Mutex, Condition);
