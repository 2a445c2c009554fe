//! Sleeping until a file changes. Source: inotify(7).

use super::fd::readable;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

/// Watches one file for writes.
///
/// Events queue up from the moment the watch exists, so a write between a look at the file and [`wait`](Self::wait) makes
/// the wait return at once: no wake-up is lost. Adjacent equal events are merged by the kernel, so the queue stays short.
#[derive(Debug)]
pub struct Watch {
    events: File,
}

impl Watch {
    /// Watches the open file, which may have lost its name already.
    ///
    /// # Errors
    /// EMFILE when the user has too many watchers (`/proc/sys/fs/inotify/max_user_instances`).
    pub fn new(file: &File) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC)?;
        // The descriptor's entry in /proc leads to the file itself, whatever became of its name.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        inotify.add_watch(path.as_str(), AddWatchFlags::IN_MODIFY)?;
        Ok(Self { events: File::from(OwnedFd::from(inotify)) })
    }

    /// Sleeps until the file was written to since the last call, at most for `limit`, and forgets all such writes. Says
    /// whether there were any.
    ///
    /// # Errors
    /// What poll(2) or read(2) say, except EINTR.
    pub fn wait(&mut self, limit: Duration) -> io::Result<bool> {
        let [written] = readable([self.events.as_fd()], limit)?;
        if written { self.events.read(&mut [0_u8; 1024]).map(|_| true) } else { Ok(false) }
    }
}
