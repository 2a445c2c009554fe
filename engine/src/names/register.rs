//! What this process has made under names that people chose (`--at`), written down where the next run finds it.
//!
//! Key decision: a chosen name cannot say whose it is, so a register does: one file for each such process in the user's
//! private folder, with a line for each thing, written *before* the thing has its name. The process holds an exclusive
//! lock on its register for as long as it lives; whoever gets that lock knows that the owner is dead, also across
//! containers, and nobody else acts on the register meanwhile. A measured run makes no register: its names say whose they
//! are, and writing one would be part of its set-up time. Rejected: a mark inside the thing, which sockets and named pipes
//! do not have.
//!
//! A POSIX queue can neither be renamed nor say who made it, so its line says first that it is about to be made, with its
//! shape and the time ([`Intent`]), and a second line, when it is there, which one it is. Who is killed between the two leaves
//! a queue that has the name, the shape and the owner that the line says, is empty, and is no older than the line: that one is
//! taken for the dead's, unless a living process has written down that name. A queue of another program of this user that has
//! all of these would be mistaken for it; one that lacks any is named and left alone.
//!
//! A register says in which mount and IPC name spaces its names are. Whoever reads it in others removes what is the very
//! thing there too, and leaves the register unless that was everything. Source: flock(2), namespaces(7).

use super::{Identity, Owner, State, Thing, private};
use crate::error::{Context, Phase, Result};
use crate::sys::lock::{exclusive, try_exclusive};
use crate::sys::mqueue::Intent;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The folder of registers.
const RUNS: &str = "runs";

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Line {
    /// This is, or will at once be, under its name.
    Thing(Thing, Identity),
    /// Names are invented in this folder.
    Folder(PathBuf),
    /// This queue is about to be made.
    Intent(Intent),
    /// Where the names are: the mount and the IPC name space, as the links in /proc/self/ns say.
    Within(String, String),
}

/// The name spaces of this process.
fn within() -> Line {
    let space = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap_or_default().display().to_string();
    Line::Within(space("mnt"), space("ipc"))
}

/// The register of this process.
static MINE: Mutex<Option<(File, PathBuf)>> = Mutex::new(None);

/// Writes a line, into a new register if there is none.
pub(super) fn enter(line: &Line) -> Result<()> {
    let mut mine = MINE.lock().unwrap_or_else(PoisonError::into_inner);
    if mine.is_none() {
        let path = private::subfolder(RUNS)?.join(super::invent());
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path);
        let file = file.context(Phase::Start, format!("cannot keep the register {}", path.display()))?;
        exclusive(&file).context(Phase::Start, format!("cannot lock the register {}", path.display()))?;
        if file.metadata().is_ok_and(|meta| meta.nlink() == 0) {
            // A program of another name space, to which this process is nobody, had the lock first and took it for a dead one's.
            drop(mine);
            return enter(line);
        }
        *mine = Some((file, path));
        drop(mine);
        enter(&within())?;
        return enter(line);
    }
    if let Some((file, path)) = &mut *mine {
        let line = serde_json::to_string(line).context(Phase::Start, "a name cannot be written down")? + "\n";
        file.write_all(line.as_bytes()).context(Phase::Start, format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Forgets the register: nothing of this process's is left.
pub(super) fn close() {
    if let Ok(mut mine) = MINE.try_lock()
        && let Some((_file, path)) = mine.take()
    {
        // The lock is held until the name is gone.
        let _ = fs::remove_file(path);
    }
}

/// A register whose owner is dead, and which is locked for us.
#[derive(Debug)]
pub(super) struct Dead {
    pub(super) owner: Owner,
    pub(super) lines: Vec<Line>,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    _lock: File,
}

impl Dead {
    /// Whether its names are where this process's are.
    pub(super) fn is_here(&self) -> bool {
        let here = within();
        self.lines.iter().all(|line| !matches!(line, Line::Within(..)) || *line == here)
    }

    /// The queues that it was about to make and of which it did not say that they are there.
    pub(super) fn unfulfilled(&self) -> impl Iterator<Item = &Intent> {
        let named = |name: &str| {
            let is = |line: &Line| matches!(line, Line::Thing(Thing::Queue(there), _) if there == name);
            self.lines.iter().any(is)
        };
        self.lines.iter().filter_map(move |line| match line {
            Line::Intent(intent) if !named(&intent.name) => Some(intent),
            _ => None,
        })
    }
}

/// What the registers say.
#[derive(Debug, Default)]
pub(super) struct Registers {
    pub(super) dead: Vec<Dead>,
    /// What the living have written down.
    pub(super) living: Vec<Line>,
}

impl Registers {
    /// What the living have made under names that people chose.
    pub(super) fn in_use(&self) -> impl Iterator<Item = &Thing> {
        self.living.iter().filter_map(|line| match line {
            Line::Thing(thing, identity) if thing.identity() == Some(*identity) => Some(thing),
            _ => None,
        })
    }

    /// Whether a living process has made a queue of that name, or is about to, as the registers say by now: to be asked after the
    /// queue was seen, because the living write first and make then.
    pub(super) fn claims(&self, name: &str) -> bool {
        let mut others = paths().filter(|(path, _)| self.dead.iter().all(|dead| dead.path != *path));
        let claims = |line: &Line| match line {
            Line::Intent(intent) => intent.name == name,
            Line::Thing(Thing::Queue(there), _) => there == name,
            _ => false,
        };
        others.any(|(path, owner)| matches!(examine(&path, owner), Some(Err(lines)) if lines.iter().any(claims)))
    }
}

/// Reads every register of this user, and locks those of the dead.
pub(super) fn read() -> Registers {
    let mut found = Registers::default();
    for (path, owner) in paths() {
        match examine(&path, owner) {
            Some(Ok(dead)) => found.dead.push(dead),
            Some(Err(lines)) => found.living.extend(lines),
            None => {}
        }
    }
    found
}

/// Where the registers of this user are, and whose.
fn paths() -> impl Iterator<Item = (PathBuf, Owner)> {
    let entries = |folder: PathBuf| fs::read_dir(folder.join(RUNS)).into_iter().flatten().flatten();
    let register = |entry: fs::DirEntry| Some((entry.path(), Owner::of_name(entry.file_name().to_str()?)?));
    private::existing().into_iter().flat_map(entries).filter_map(register)
}

/// A register: of the dead, or what the living has written; `None` when it is not there any more.
fn examine(path: &Path, owner: Owner) -> Option<Result<Dead, Vec<Line>>> {
    let options = || OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path);
    let mut file = options().ok()?;
    crate::sys::trust::own(&file, crate::sys::trust::Kind::File).ok()?;
    let free = try_exclusive(&file);
    // After it is locked: until then its owner may write, and be killed.
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    // The last line of a killed process may be cut.
    let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    // Between its making and its locking a register is free and its owner alive.
    if !free || owner.state() == State::Alive {
        return Some(Err(lines));
    }
    // Somebody may have taken it away between our opening and our locking.
    let there = fs::symlink_metadata(path).ok()?;
    let ours = file.metadata().ok()?;
    ((there.dev(), there.ino()) == (ours.dev(), ours.ino())).then_some(Ok(Dead {
        owner,
        lines,
        path: path.into(),
        bytes: ours.len(),
        _lock: file,
    }))
}
