//! What this process has made under names that people chose (`--at`), written down where the next run finds it.
//!
//! Key decision: a chosen name cannot say whose it is, so a register does: one file for each such process in the user's
//! private folder, with a line for each thing, written *before* the thing has its name. The process holds an exclusive
//! lock on its register for as long as it lives; whoever gets that lock knows that the owner is dead, also across
//! containers, and nobody else acts on the register meanwhile. A measured run makes no register: its names say whose they
//! are, and writing one would be part of its set-up time. Rejected: a mark inside the thing, which sockets and named pipes
//! do not have. Source: flock(2).

use super::{Identity, Owner, State, Thing, lock, private};
use crate::error::{Context, Phase, Result};
use rustix::fs::{FlockOperation, flock};
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
        flock(&file, FlockOperation::LockExclusive).context(Phase::Start, "cannot lock the register")?;
        if file.metadata().is_ok_and(|meta| meta.nlink() == 0) {
            // A program of another name space, to which this process is nobody, had the lock first and took it for a dead one's.
            drop(mine);
            return enter(line);
        }
        *mine = Some((file, path));
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

/// What the registers say.
#[derive(Debug, Default)]
pub(super) struct Registers {
    pub(super) dead: Vec<Dead>,
    /// What the living have.
    pub(super) living: Vec<String>,
}

/// Reads every register of this user, and locks those of the dead.
pub(super) fn read() -> Registers {
    let mut found = Registers::default();
    for folder in private::existing() {
        for entry in fs::read_dir(folder.join(RUNS)).into_iter().flatten().flatten() {
            let Some(owner) = entry.file_name().to_str().and_then(Owner::of_name) else { continue };
            match examine(&entry.path(), owner) {
                Some(Ok(dead)) => found.dead.push(dead),
                Some(Err(lines)) => found.living.extend(lines.iter().filter_map(|line| match line {
                    Line::Thing(thing, identity) if thing.identity() == Some(*identity) => Some(thing.words()),
                    _ => None,
                })),
                None => {}
            }
        }
    }
    found
}

/// A register: of the dead, or what the living has written; `None` when it is not there any more.
fn examine(path: &Path, owner: Owner) -> Option<Result<Dead, Vec<Line>>> {
    let options = || OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path);
    let mut file = options().ok()?;
    crate::sys::trust::own(&file, crate::sys::trust::Kind::File).ok()?;
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    // The last line of a killed process may be cut.
    let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let free = lock::try_exclusive(&file);
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
