//! Sleeping on and waking through an eventfd. Source: eventfd(2).

use crate::shm::futex::Futex;
use crate::shm::wait::Berth;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
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
    /// Sleeps in read(2), without a limit: eventfd has none, and a poll(2) before every read would be a second call.
    fn sleep(&self, _: &Futex, _: Duration) {
        // EINTR means "look again", as a wake-up does.
        let _ = self.mine.read();
    }

    fn wake(&self, _: &Futex) {
        // The counter cannot overflow: a wake-up needs a raised flag, and each sleep takes the count back to zero.
        let _ = self.theirs.write(1);
    }
}
