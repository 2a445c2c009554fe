//! The lock under which a name is removed.
//!
//! Key decision: the lock is on the object itself, which is open for its owner only, so that no other user can hold it. A
//! socket or a named pipe cannot be opened for that without being mistaken for a peer: there it is on the folder, which
//! others may hold locked too; the name then stays for `ipcost clean`. Everybody
//! in this tool who removes a name locks first and compares identities afterwards, so a name that was given to something new
//! meanwhile is never removed. Source: flock(2).

use crate::sys::lock::exclusive;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The lock under which the name `path` may be removed; it is given back when the file is closed.
///
/// # Errors
/// What open(2) says; `TimedOut`.
pub(super) fn for_removal(path: &Path) -> io::Result<File> {
    let open = |path: &Path, more| OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | more).open(path);
    let file = if std::fs::symlink_metadata(path)?.is_file() {
        open(path, libc::O_NONBLOCK)?
    } else {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(folder)?
    };
    exclusive(&file)?;
    Ok(file)
}
