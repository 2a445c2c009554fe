//! Names that exist outside the process while it runs, and their removal whatever ends it.
//!
//! Key decision: every name is in one process-wide list from the moment it exists. Dropping its guard removes it; a
//! handled signal removes all of them; and only the very file that was made is removed (same device and inode), so that
//! a namesake made by somebody else in the meantime survives. SIGKILL cannot be handled: what it leaves is found by the
//! next run that wants the same name, which checks whether the owner still lives.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

static NAMES: Mutex<Vec<(PathBuf, Identity)>> = Mutex::new(Vec::new());

/// Device and inode.
type Identity = (u64, u64);

/// A path that is removed when this is dropped.
#[derive(Debug)]
pub struct Name {
    path: PathBuf,
}

impl Name {
    /// Takes charge of a file, socket or shared memory object that this process has just made.
    pub fn file(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_path_buf();
        if let Some(identity) = identify(&path) {
            NAMES.lock().unwrap_or_else(PoisonError::into_inner).push((path.clone(), identity));
        }
        Self { path }
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = names.iter().position(|(path, _)| *path == self.path) {
            let (path, identity) = names.swap_remove(place);
            remove(&path, identity);
        }
    }
}

/// Removes every name that is still in charge of this process; for the end of a process that does not unwind.
pub fn remove_all() {
    // A signal may come while the list is locked: then the holder is about to remove its name itself.
    if let Ok(mut names) = NAMES.try_lock() {
        for (path, identity) in names.drain(..) {
            remove(&path, identity);
        }
    }
}

fn identify(path: &Path) -> Option<Identity> {
    fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

fn remove(path: &Path, identity: Identity) {
    if identify(path) == Some(identity) {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_name_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "").unwrap();
        drop(Name::file(&path));
        assert!(!path.exists());
    }

    #[test]
    fn a_namesake_made_by_somebody_else_survives() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&path, "ours").unwrap();
        fs::write(&other, "theirs").unwrap();
        let name = Name::file(&path);
        fs::rename(&other, &path).unwrap();
        drop(name);
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
    }
}
