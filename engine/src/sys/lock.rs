//! Exclusive locks on open files, with an end to waiting. Source: flock(2).
//!
//! Key decision: asking again and again, since flock(2) knows no deadline and a signal (alarm(2)) is the whole process's.

use rustix::fs::{FlockOperation, flock};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Longest wait for a lock: whoever has it only compares and removes, unless it was stopped.
const LIMIT: Duration = Duration::from_secs(2);

/// Takes the lock if it is free; it is given back when what `fd` opened is closed.
pub fn try_exclusive(fd: impl AsFd) -> bool {
    flock(fd, FlockOperation::NonBlockingLockExclusive).is_ok()
}

/// Waits for the lock, at most two seconds.
///
/// # Errors
/// `TimedOut`.
pub fn exclusive(fd: impl AsFd) -> io::Result<()> {
    let start = Instant::now();
    while !try_exclusive(&fd) {
        if start.elapsed() > LIMIT {
            return Err(io::Error::new(ErrorKind::TimedOut, "somebody holds it locked"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_somebody_keeps_is_not_waited_for_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let open = || std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(dir.path().join("a"));
        let (first, second) = (open().unwrap(), open().unwrap());
        exclusive(&first).unwrap();
        assert!(!try_exclusive(&second));
        assert_eq!(exclusive(&second).unwrap_err().kind(), ErrorKind::TimedOut);
        drop(first);
        exclusive(&second).unwrap();
    }
}
