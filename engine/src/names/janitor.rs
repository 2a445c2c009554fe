//! What dead runs of this tool left, found and removed.
//!
//! Key decision: proof before removal. A thing is removed only if it is this user's and says that a process of this tool made
//! it which has ended: by its own name ([`Owner::of_name`]), by the register of that process, whose lock nobody holds any
//! more, or by the process ids that the kernel keeps in a System V object with one of our keys. What cannot be told is
//! left alone and counted. A run that starts meanwhile is safe: its names are new, and a name that a person chose is removed
//! only for the very thing that the dead one made ([`Thing::remove_this`]).

use super::register::{self, Dead, Line, Registers};
use super::{Identity, Owner, State, Thing};
use crate::sys::mqueue::{self, Intent};
use crate::sys::sysv;
use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where POSIX shared memory objects have their names.
const SHM: &str = "/dev/shm";

/// One thing that a dead run left.
#[derive(Debug)]
pub struct Leftover {
    /// Its name.
    pub name: String,
    /// What it occupies, bytes.
    pub bytes: u64,
    /// Whose it was.
    pub owner: String,
    /// Why it is still there, if it should have been removed.
    pub trouble: Option<io::Error>,
}

/// Why something that looks like ours was left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Its owner runs.
    InUse,
    /// Another user's.
    Foreign,
    /// Its owner is in another name space, or nobody has used it yet.
    Unknown,
}

impl Reason {
    /// In words, for after a number of things.
    pub fn words(self) -> &'static str {
        match self {
            Reason::InUse => "in use by a living run",
            Reason::Foreign => "another user's",
            Reason::Unknown => "of an owner that cannot be seen from here",
        }
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// What the dead left; removed unless it was a dry run.
    pub leftovers: Vec<Leftover>,
    /// What was left alone, and why.
    pub left_alone: Vec<(Reason, String)>,
    /// What could not be looked at.
    pub remarks: Vec<String>,
}

/// Looks for what dead runs of this user left: in the usual places, those that their registers name, and `dirs`. Removes it
/// if `really`.
pub fn sweep(dirs: &[PathBuf], really: bool) -> Found {
    let mut found = Found::default();
    let mut folders = usual(dirs.iter().cloned());
    let registers = register::read();
    for dead in &registers.dead {
        folders.extend(dead.lines.iter().filter_map(|line| match line {
            Line::Folder(folder) => Some(folder.clone()),
            _ => None,
        }));
        found.leftovers.extend(bury(dead, &registers, really));
        let there = |intent: &&Intent| mqueue::identity(&intent.name).is_ok() && !registers.claims(&intent.name);
        let doubtful = dead.unfulfilled().filter(there).filter(|intent| really || intent.fulfilled().is_none());
        found.left_alone.extend(doubtful.map(|intent| (Reason::Unknown, Thing::Queue(intent.name.clone()).words())));
    }
    found.left_alone.extend(registers.in_use().map(|thing| (Reason::InUse, thing.words())));
    folders.iter().for_each(|folder| scan(folder, &|_| true, really, &mut found));
    queues(&|_| true, really, &mut found);
    system_v(really, &mut found);
    found
}

/// Removes what dead processes of this user invented that started at `start` ([`crate::sys::stat::Stat::start`]) or later: for
/// a launcher whose cell was killed, in the usual places and these folders.
pub fn sweep_after(start: u64, dirs: impl IntoIterator<Item = PathBuf>) {
    let later = |owner: Owner| owner.start >= start;
    let mut found = Found::default();
    usual(dirs).iter().for_each(|folder| scan(folder, &later, true, &mut found));
    queues(&later, true, &mut found);
}

/// Removes the files and folders that this process invented, in the usual places: for its end without unwinding.
pub fn sweep_mine() {
    let mine = |entry: &fs::DirEntry| entry.file_name().to_str().and_then(Owner::of_name) == Some(Owner::me());
    for folder in usual([]) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten().filter(mine) {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.uid() == nix::unistd::geteuid().as_raw() {
                let path = entry.path();
                let _ = if meta.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            }
        }
    }
}

/// These folders, and those in which names are invented when nobody says where.
fn usual(dirs: impl IntoIterator<Item = PathBuf>) -> BTreeSet<PathBuf> {
    let usual = [PathBuf::from(SHM), "/tmp".into(), std::env::temp_dir()];
    dirs.into_iter().chain(usual).map(|dir| absolute(&dir)).collect()
}

fn absolute(dir: &Path) -> PathBuf {
    fs::canonicalize(dir).unwrap_or_else(|_| dir.into())
}

/// Removes what a register of the dead names, if it is still what the dead made, and then the register.
pub(super) fn bury(dead: &Dead, all: &Registers, really: bool) -> Vec<Leftover> {
    let owner = dead.owner.to_string();
    let mut buried = Vec::new();
    let mut missing = false;
    let fulfilled = dead.unfulfilled().filter_map(|intent| {
        let (dev, ino) = intent.fulfilled()?;
        let this = (Thing::Queue(intent.name.clone()), Identity { dev, ino, born: 0 });
        (!all.claims(&intent.name)).then_some(this)
    });
    let made = dead.lines.iter().filter_map(|line| match line {
        Line::Thing(thing, identity) => Some((thing.clone(), *identity)),
        _ => None,
    });
    for (thing, identity) in made.chain(fulfilled.collect::<Vec<_>>()) {
        if thing.identity() == Some(identity) {
            let bytes = size_of_thing(&thing);
            buried.extend(remove(thing.words(), bytes, owner.clone(), really, || thing.remove_this(identity)));
        } else {
            missing = true;
        }
    }
    if buried.iter().all(|one| one.trouble.is_none()) && (dead.is_here() || !missing) {
        let name = dead.path.display().to_string();
        // A register that names nothing that is left is no leftover to speak of.
        let removed = remove(name, dead.bytes, owner, really, || fs::remove_file(&dead.path).map(|()| true));
        buried.extend(removed.filter(|_| !buried.is_empty()));
    }
    buried
}

fn size_of_thing(thing: &Thing) -> u64 {
    match thing {
        Thing::File(path) => fs::symlink_metadata(path).map_or(0, |meta| occupied(&meta)),
        Thing::Queue(name) => mqueue::held(name).unwrap_or(0),
        Thing::SysvQueue(_) | Thing::SysvSegment(_) => 0,
    }
}

fn occupied(meta: &Metadata) -> u64 {
    meta.blocks() * 512
}

/// A leftover, removed by `act` if `really`; `None` when it turned out to be gone.
fn remove(
    name: String,
    bytes: u64,
    owner: String,
    really: bool,
    act: impl FnOnce() -> io::Result<bool>,
) -> Option<Leftover> {
    let trouble = match really.then(act) {
        Some(Ok(false)) => return None,
        Some(Err(error)) => Some(error),
        _ => None,
    };
    Some(Leftover { name, bytes, owner, trouble })
}

/// Goes through the names of a folder that owners who are `wanted` invented.
fn scan(folder: &Path, wanted: &dyn Fn(Owner) -> bool, really: bool, found: &mut Found) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        // A folder that a dead run's register names may be gone by now; one that was asked for was looked for before.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            found.remarks.push(format!("{} was not looked through: {error}", folder.display()));
            return;
        }
    };
    for entry in entries.flatten() {
        let Some(owner) = entry.file_name().to_str().and_then(Owner::of_name).filter(|owner| wanted(*owner)) else {
            continue;
        };
        let path = entry.path();
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let name = path.display().to_string();
        if let Some(reason) = spared(owner, meta.uid()) {
            found.left_alone.push((reason, name));
        } else if meta.is_dir() {
            let act = || fs::remove_dir_all(&path).map(|()| true);
            found.leftovers.extend(remove(name, within(&path), owner.to_string(), really, act));
        } else if !meta.is_symlink() {
            let (thing, identity) = (Thing::File(path), Identity::of(&meta));
            let act = || thing.remove_this(identity);
            found.leftovers.extend(remove(name, occupied(&meta), owner.to_string(), really, act));
        }
    }
}

/// Why a thing with an invented name is left alone; `None` when it is a dead run's of this user.
fn spared(owner: Owner, user: u32) -> Option<Reason> {
    if user != nix::unistd::geteuid().as_raw() {
        return Some(Reason::Foreign);
    }
    match owner.state() {
        State::Alive => Some(Reason::InUse),
        State::Elsewhere => Some(Reason::Unknown),
        State::Dead => None,
    }
}

/// What the files in a folder occupy, to a depth that no folder of ours has.
fn within(folder: &Path) -> u64 {
    fn sum(folder: &Path, depth: u32) -> u64 {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let each = |entry: fs::DirEntry| match fs::symlink_metadata(entry.path()) {
            Ok(meta) if meta.is_dir() && depth > 0 => occupied(&meta) + sum(&entry.path(), depth - 1),
            Ok(meta) => occupied(&meta),
            Err(_) => 0,
        };
        entries.map(each).sum()
    }
    sum(folder, 16)
}

/// Goes through the names of POSIX message queues that owners who are `wanted` invented.
fn queues(wanted: &dyn Fn(Owner) -> bool, really: bool, found: &mut Found) {
    let names = match mqueue::list() {
        Ok(names) => names,
        Err(error) => {
            let what = format!("message queues cannot be listed ({error})");
            found.remarks.push(format!("{what}; as root: mkdir /dev/mqueue; mount -t mqueue none /dev/mqueue"));
            return;
        }
    };
    for name in names {
        let Some(owner) = Owner::of_name(name.trim_start_matches('/')).filter(|owner| wanted(*owner)) else { continue };
        let thing = Thing::Queue(name.clone());
        // A queue that this user cannot open is another's.
        let (user, identity) = match (mqueue::owner(&name), thing.identity()) {
            (Ok(user), Some(identity)) => (user, identity),
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => continue,
            _ => {
                found.left_alone.push((Reason::Foreign, thing.words()));
                continue;
            }
        };
        match spared(owner, user) {
            Some(reason) => found.left_alone.push((reason, thing.words())),
            None => {
                let act = || thing.remove_this(identity);
                let bytes = mqueue::held(&name).unwrap_or(0);
                found.leftovers.extend(remove(thing.words(), bytes, owner.to_string(), really, act));
            }
        }
    }
}

/// Goes through the System V objects with our keys.
fn system_v(really: bool, found: &mut Found) {
    for object in sysv::objects() {
        let (name, user) = (object.words(), object.user);
        let reason = match user == nix::unistd::geteuid().as_raw() {
            false => Some(Reason::Foreign),
            true if object.is_abandoned() => None,
            true if object.is_used() => Some(Reason::InUse),
            true => Some(Reason::Unknown),
        };
        match reason {
            Some(reason) => found.left_alone.push((reason, name)),
            None => {
                let owner =
                    object.users.iter().find(|pid| **pid != 0).map_or("nobody".into(), |pid| format!("process {pid}"));
                let act = || object.remove().map(|()| true);
                found.leftovers.extend(remove(name, object.bytes, owner, really, act));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_dead_that_started_later_invented_is_swept_after_them() {
        let dir = tempfile::tempdir().unwrap();
        let me = Owner::me();
        // Of this process's number, but other times: processes that have ended.
        let name = |owner: Owner| dir.path().join(owner.name(1));
        let (earlier, later) = (Owner { start: me.start - 1, ..me }, Owner { start: me.start + 5, ..me });
        let elsewhere = Owner { space: me.space ^ 1, ..later };
        for owner in [earlier, later, me, elsewhere] {
            fs::write(name(owner), "x").unwrap();
        }
        sweep_after(me.start + 1, [dir.path().to_path_buf()]);
        let left = [earlier, later, me, elsewhere].map(|owner| name(owner).exists());
        assert_eq!(left, [true, false, true, true]);
    }
}
