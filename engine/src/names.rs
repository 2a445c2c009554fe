//! Names that exist outside the process while it runs, and their removal whatever ends it.
//!
//! Key decision: every name is in one process-wide list from the moment it exists. Dropping its guard removes it; a
//! handled signal removes all of them; and only the very thing that was made is removed, compared under a lock (device,
//! inode and time of birth, or the System V identifier, which is not used again soon), so that a namesake made by somebody
//! else in the meantime survives. SIGKILL cannot be handled: a name that this tool invents says whose it is ([`Owner`]),
//! and one that a person chose is in a register before it exists: a file with its identity ([`place`]), a queue with what can
//! be known of it ([`intend`]). The next run that wants the name, and `ipcost clean`, remove what the dead left.

use crate::error::{Context, Phase, Result};
use crate::sys::mqueue::{self, Intent};
use crate::sys::sysv;
use register::Line;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

pub mod janitor;
mod lock;
pub(crate) mod owner;
pub mod private;
mod register;

pub use owner::{Owner, State, invent};

static NAMES: Mutex<Vec<(Thing, Identity)>> = Mutex::new(Vec::new());

/// What tells a thing from a later one of the same name; zeroes for System V objects, whose identifier says it all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    dev: u64,
    ino: u64,
    /// Nanoseconds since 1970, where the file system keeps it: inode numbers are used again.
    born: u64,
}

impl Identity {
    /// That of an open file.
    pub fn of(meta: &fs::Metadata) -> Self {
        let born = meta.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Self { dev: meta.dev(), ino: meta.ino(), born: born.map_or(0, |since| since.as_nanos() as u64) }
    }
}

/// What outlives a process unless somebody removes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Thing {
    /// A file, socket, named pipe or POSIX shared memory object.
    File(PathBuf),
    /// A POSIX message queue, by name.
    Queue(String),
    /// A System V message queue, by identifier.
    SysvQueue(i32),
    /// A System V shared memory segment, by identifier.
    SysvSegment(i32),
}

impl Thing {
    /// The file of that name, wherever the process goes later.
    pub fn file(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        Thing::File(std::path::absolute(path).unwrap_or_else(|_| path.into()))
    }

    /// Takes the name away, whoever made it; who has it open keeps it, but for a System V queue, which is gone at once.
    ///
    /// # Errors
    /// What the system says; not when it is gone already.
    pub fn remove(&self) -> io::Result<()> {
        let removed = match self {
            Thing::File(path) => fs::remove_file(path),
            Thing::Queue(name) => mqueue::unlink(name),
            Thing::SysvQueue(id) => sysv::remove_queue(*id),
            Thing::SysvSegment(id) => sysv::remove_segment(*id),
        };
        removed.or_else(|error| if is_gone(&error) { Ok(()) } else { Err(error) })
    }

    /// What has the name now; `None` when nothing has.
    pub fn identity(&self) -> Option<Identity> {
        match self {
            Thing::File(path) => fs::symlink_metadata(path).ok().map(|meta| Identity::of(&meta)),
            Thing::Queue(name) => mqueue::identity(name).ok().map(|(dev, ino)| Identity { dev, ino, born: 0 }),
            Thing::SysvQueue(_) | Thing::SysvSegment(_) => Some(Identity::default()),
        }
    }

    /// Takes the name away if it still stands for that very thing; says whether it did.
    ///
    /// # Errors
    /// When the thing cannot be locked or its name not be taken away.
    pub fn remove_this(&self, identity: Identity) -> io::Result<bool> {
        if self.identity() != Some(identity) {
            return Ok(false);
        }
        match self {
            Thing::File(path) => {
                let lock = match lock::for_removal(path) {
                    Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
                    other => other?,
                };
                // Whoever removes takes the same lock, so from here on the name can only be ours to remove or another's.
                let still = self.identity() == Some(identity);
                if still {
                    fs::remove_file(path)?;
                }
                drop(lock);
                Ok(still)
            }
            Thing::Queue(name) => {
                let queue = match mqueue::Queue::open(name, mqueue::Use::Receive) {
                    Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
                    other => other?,
                };
                queue.lock()?;
                let still = self.identity() == Some(identity);
                if still {
                    mqueue::unlink(name)?;
                }
                Ok(still)
            }
            _ => self.remove().map(|()| true),
        }
    }
}

/// Whether an error says that there is nothing to remove: no such name, or no such System V object.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EIDRM))
}

/// A thing that somebody else made, as it was when it was opened.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its name.
    pub thing: Thing,
    /// What had the name.
    pub identity: Identity,
}

impl Seen {
    /// Takes the name away if it still stands for what was seen.
    pub fn remove(&self) {
        let _ = self.thing.remove_this(self.identity);
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
        Self::of(Thing::file(path))
    }

    /// Takes charge of something that this process has just made.
    pub fn of(thing: Thing) -> Self {
        if let Some(identity) = thing.identity() {
            names().push((thing.clone(), identity));
        }
        Self { thing }
    }

    /// As [`of`](Self::of), for what has a name that a person chose: it is written down for the case that this process is
    /// killed.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn written(thing: Thing) -> Result<Self> {
        let name = Self::of(thing);
        match name.thing.identity() {
            Some(identity) => register::enter(&Line::Thing(name.thing.clone(), identity)).map(|()| name),
            None => Ok(name),
        }
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
            let _ = thing.remove_this(identity);
        }
        if names.is_empty() {
            register::close();
        }
    }
}

/// A folder of an invented name in `dir` that nobody else can enter, removed when it is dropped.
///
/// # Errors
/// What mkdir(2) says.
pub fn folder_in(dir: &Path) -> io::Result<tempfile::TempDir> {
    // The crate leaves the mode to the umask unless it is told.
    let private = fs::Permissions::from_mode(0o700);
    tempfile::Builder::new().prefix(&invent()).rand_bytes(0).permissions(private).tempdir_in(dir)
}

/// A file in `dir` that has no name, for its owner alone: one that was opened through /proc would have its mode. Where the file
/// system has none without a name, it has one for a moment. Source: open(2), O_TMPFILE.
///
/// # Errors
/// What open(2) says.
pub fn nameless_in(dir: &Path) -> io::Result<fs::File> {
    let flags = libc::O_TMPFILE | libc::O_EXCL;
    let file = fs::OpenOptions::new().read(true).write(true).custom_flags(flags).mode(0o600).open(dir);
    match file.as_ref().map_err(io::Error::raw_os_error) {
        // What kernels and file systems without it say.
        Err(Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)) => {
            Ok(tempfile::Builder::new().prefix(&invent()).rand_bytes(0).tempfile_in(dir)?.into_file())
        }
        _ => file,
    }
}

/// Gives what `make` makes the name `path`, which a person chose, if nothing has it; from its first moment under that name it
/// is complete, and written down as this process's.
///
/// # Errors
/// What `make` says of the draft that it is to make; `AlreadyExists` when the name is taken.
pub fn place<R>(path: &Path, make: impl FnOnce(&Path) -> io::Result<R>) -> Result<(R, Name)> {
    let cannot = || format!("cannot create {}", path.display());
    let advise = |error: crate::Error| error.hint("choose another name with --at, or make space");
    let thing = Thing::file(path);
    let Thing::File(path) = &thing else { unreachable!("it was made as a file") };
    let folder = path.parent().unwrap_or(Path::new("/"));
    register::enter(&Line::Folder(folder.into()))?;
    let draft = folder.join(invent());
    let made = make(&draft).context(Phase::Start, cannot()).map_err(advise)?;
    let given = || {
        let meta = fs::symlink_metadata(&draft).context(Phase::Start, cannot())?;
        register::enter(&Line::Thing(thing.clone(), Identity::of(&meta)))?;
        rename(&draft, path).context(Phase::Start, cannot()).map_err(advise)?;
        Ok(Identity::of(&meta))
    };
    let identity = given().inspect_err(|_| drop(fs::remove_file(&draft)))?;
    names().push((thing.clone(), identity));
    Ok((made, Name { thing }))
}

/// Gives a draft its name if nothing has it.
fn rename(draft: &Path, path: &Path) -> io::Result<()> {
    match renameat_with(CWD, draft, CWD, path, RenameFlags::NOREPLACE) {
        // A file system that cannot; a second name fails where there is a first.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            fs::hard_link(draft, path)?;
            fs::remove_file(draft)
        }
        renamed => Ok(renamed?),
    }
}

/// Removes what a dead process of this user left under the name of `thing`, with all else that it left; leaves everything else
/// alone.
pub fn reclaim(thing: &Thing) {
    let registers = register::read();
    for dead in &registers.dead {
        let named = |line: &Line| matches!(line, Line::Thing(named, identity) if named == thing && thing.identity() == Some(*identity));
        let intended = |intent: &Intent| *thing == Thing::Queue(intent.name.clone()) && intent.fulfilled().is_some();
        if dead.lines.iter().any(named) || dead.unfulfilled().any(intended) {
            eprintln!("removing {}, left behind by {}", thing.words(), dead.owner);
            janitor::bury(dead, &registers, true);
        }
    }
}

/// Writes down that a queue under a name that a person chose is about to be made, for the case that this process is killed
/// before it can say which one that is ([`Name::written`]).
///
/// # Errors
/// When it cannot be written down.
pub fn intend(name: &str, depth: usize, size: usize) -> Result<()> {
    register::enter(&Line::Intent(Intent::now(name, depth, size)))
}

impl Thing {
    /// What to call it.
    pub fn words(&self) -> String {
        match self {
            Thing::File(path) => path.display().to_string(),
            Thing::Queue(name) => format!("message queue {name}"),
            Thing::SysvQueue(id) => format!("System V queue {id}"),
            Thing::SysvSegment(id) => format!("System V segment {id}"),
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
            let _ = thing.remove_this(identity);
        }
        register::close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_name_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = nameless_in(dir.path()).unwrap();
        let meta = file.metadata().unwrap();
        assert_eq!((meta.nlink(), meta.mode() & 0o177), (0, 0));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(nameless_in(&dir.path().join("none")).is_err());
    }

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
    fn a_name_that_is_given_to_something_new_before_it_is_locked_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a"), dir.path().join("b"));
        for kind in ["file", "socket"] {
            let make = |path: &Path, text: &str| match kind {
                "file" => fs::write(path, text).unwrap(),
                _ => drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
            };
            make(&path, "dead");
            make(&other, "new");
            let thing = Thing::file(&path);
            let identity = thing.identity().unwrap();
            // Somebody else is about to remove it, has compared, and holds the lock.
            let first = lock::for_removal(&path).unwrap();
            let second = std::thread::spawn(move || thing.remove_this(identity).unwrap());
            // Whether it waits for the lock already does not matter: from there on it only compares again.
            std::thread::sleep(std::time::Duration::from_millis(100));
            fs::rename(&other, &path).unwrap();
            drop(first);
            assert!(!second.join().unwrap(), "{kind}");
            assert!(path.exists(), "{kind}: the new one was removed");
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_chosen_name_is_written_down_before_it_exists_and_a_taken_one_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let make = |draft: &Path| fs::write(draft, "ours");
        let ((), name) = place(&path, make).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "ours");
        let refused = place(&path, |draft| fs::write(draft, "second")).unwrap_err().to_string();
        assert!(refused.contains(path.to_str().unwrap()), "{refused}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a draft was left");
        assert_eq!(fs::read_to_string(&path).unwrap(), "ours");
        drop(name);
        assert!(!path.exists());
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
