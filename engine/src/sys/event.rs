//! Sleeping on and waking through an eventfd. Source: eventfd(2).

use crate::shm::futex::Futex;
use crate::shm::region::View;
use crate::shm::wait::{Berth, Rouser};
use crate::sys::fd::doze;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

/// The eventfd on which one side sleeps, and the one on which the other side does.
///
/// A wake-up is counted until somebody reads it, so one that comes before the sleep is not lost, and one that comes after
/// its reason is gone makes the next sleep return at once, which the waiter takes for a look that found nothing.
#[derive(Debug, Clone)]
pub struct Events {
    mine: Arc<EventFd>,
    theirs: Arc<EventFd>,
}

impl Events {
    /// Two eventfds, as each of the two sides sees them.
    ///
    /// # Errors
    /// What eventfd(2) says.
    pub fn pair() -> io::Result<[Self; 2]> {
        let new = || EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC).map(Arc::new);
        let (a, b) = (new()?, new()?);
        Ok([Self { mine: Arc::clone(&a), theirs: Arc::clone(&b) }, Self { mine: b, theirs: a }])
    }
}

impl Berth for Events {
    /// Sleeps in read(2), which has no limit: where there is one, a poll(2) before it keeps it. Here and in `wake` the call is
    /// made in place: the C library's function is a point of cancellation, and in a program of several threads, which each end
    /// with a watcher is, it asks for that before and after the call.
    #[inline(always)]
    fn sleep(&self, _: &Futex, limit: Option<Duration>) -> bool {
        if limit.is_none_or(|limit| doze([self.mine.as_fd()], limit) == [true]) {
            // EINTR means "look again", as a wake-up does.
            let _ = rustix::io::read(&*self.mine, &mut [0; size_of::<u64>()]);
        }
        // A read does not tell whether the count was there before.
        true
    }

    #[inline(always)]
    fn wake(&self, _: &Futex) {
        // The counter cannot overflow: a wake-up needs a raised flag, and each sleep takes the count back to zero.
        let _ = rustix::io::write(&*self.theirs, &1_u64.to_ne_bytes());
    }

    fn rouser(&self, _: View<Futex>) -> Rouser {
        let (mine, fd) = (Arc::clone(&self.mine), self.mine.as_fd().as_raw_fd());
        // As above; a sleeper that was roused reads the count.
        Rouser { wake: Box::new(move || _ = mine.write(1)), fd: Some(fd) }
    }
}
