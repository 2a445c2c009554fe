//! Names that exist outside the process while it runs, and their removal whatever ends it.
//!
//! Key decision: every name is in one process-wide list from the moment it exists. Dropping its guard removes it; a
//! handled signal removes all of them; and only the very thing that was made is removed (same device and inode, or the
//! same System V identifier, which is not used again soon), so that a namesake made by somebody else in the meantime
//! survives. SIGKILL cannot be handled: what it leaves is found by the next run that wants the same name, which checks
//! whether the owner still lives.

use crate::sys::{mqueue, sysv};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

static NAMES: Mutex<Vec<(Thing, Identity)>> = Mutex::new(Vec::new());

/// Device and inode; zeroes for System V objects, whose identifier says it all.
type Identity = (u64, u64);

/// What outlives a process unless somebody removes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thing {
    /// A file, socket or POSIX shared memory object.
    File(PathBuf),
    /// A POSIX message queue, by name.
    Queue(String),
    /// A System V message queue, by identifier.
    SysvQueue(i32),
    /// A System V shared memory segment, by identifier.
    SysvSegment(i32),
}

impl Thing {
    /// Takes the name away, whoever made it; who has it open keeps it, but for a System V queue, which is gone at once.
    pub fn remove(&self) {
        match self {
            Thing::File(path) => drop(fs::remove_file(path)),
            Thing::Queue(name) => mqueue::unlink(name),
            Thing::SysvQueue(id) => sysv::remove_queue(*id),
            Thing::SysvSegment(id) => sysv::remove_segment(*id),
        }
    }

    fn identity(&self) -> Option<Identity> {
        match self {
            Thing::File(path) => fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino())),
            Thing::Queue(name) => mqueue::identity(name).ok(),
            Thing::SysvQueue(_) | Thing::SysvSegment(_) => Some((0, 0)),
        }
    }
}

/// A name that is removed when this is dropped.
#[derive(Debug)]
pub struct Name {
    thing: Thing,
}

impl Name {
    /// Takes charge of a file, socket or shared memory object that this process has just made.
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self::of(Thing::File(path.as_ref().to_path_buf()))
    }

    /// Takes charge of something that this process has just made.
    pub fn of(thing: Thing) -> Self {
        if let Some(identity) = thing.identity() {
            names().push((thing.clone(), identity));
        }
        Self { thing }
    }

    /// Leaves the thing to somebody else, who removes it from now on.
    pub fn hand_over(self) {
        names().retain(|(thing, _)| *thing != self.thing);
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let mut names = names();
        if let Some(place) = names.iter().position(|(thing, _)| *thing == self.thing) {
            let (thing, identity) = names.swap_remove(place);
            remove(&thing, identity);
        }
    }
}

fn names() -> MutexGuard<'static, Vec<(Thing, Identity)>> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes every name that is still in charge of this process; for the end of a process that does not unwind.
pub fn remove_all() {
    // A signal may come while the list is locked: then the holder is about to remove its name itself.
    if let Ok(mut names) = NAMES.try_lock() {
        for (thing, identity) in names.drain(..) {
            remove(&thing, identity);
        }
    }
}

fn remove(thing: &Thing, identity: Identity) {
    if thing.identity() == Some(identity) {
        thing.remove();
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

    #[test]
    fn a_name_that_was_handed_over_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "").unwrap();
        Name::file(&path).hand_over();
        assert!(path.exists());
    }
}
