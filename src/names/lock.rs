//! Exclusive locks on what is about to be removed, with an end to waiting.
//!
//! Key decision: the lock is on the object itself, which is open for its owner only, so that no other user can hold it. A
//! socket or a named pipe cannot be opened for that without being mistaken for a peer: there it is on the folder, which
//! others may hold locked too; the name then stays for `ipcost clean`. Everybody
//! in this tool who removes a name locks first and compares identities afterwards, so a name that was given to something new
//! meanwhile is never removed. Source: flock(2).

use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest wait for a lock: whoever has it only compares and removes, unless it was stopped.
const LIMIT: Duration = Duration::from_secs(2);

/// Takes the lock if it is free; it is given back when the file is closed.
pub(super) fn try_exclusive(file: &File) -> bool {
    flock(file, FlockOperation::NonBlockingLockExclusive).is_ok()
}

fn exclusive(file: File) -> io::Result<File> {
    let start = Instant::now();
    while !try_exclusive(&file) {
        if start.elapsed() > LIMIT {
            return Err(io::Error::new(ErrorKind::TimedOut, "somebody holds it locked"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(file)
}

/// The lock under which the name `path` may be removed.
///
/// # Errors
/// What open(2) says; `TimedOut`.
pub(super) fn for_removal(path: &Path) -> io::Result<File> {
    let open = |path: &Path, more| OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | more).open(path);
    if std::fs::symlink_metadata(path)?.is_file() {
        return exclusive(open(path, libc::O_NONBLOCK)?);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    exclusive(OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(folder)?)
}
