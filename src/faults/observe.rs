//! What the parties of an injection tell the observer, and what they leave behind.
//!
//! Key decision: words in shared memory that only one side writes, because whoever is killed can say nothing afterwards;
//! and an inventory of the names, queues, segments, descriptors and children of *this* launch before and after, told from
//! everybody else's by the process ids in them. Rejected: a count of all names, which any other program changes.

use super::injection::Seen;
use super::{Harm, Moment, Order, Plant};
use crate::error::{Context, Phase, Result};
use crate::names::{Identity, Owner, Thing};
use crate::shm::board::Board;
use crate::shm::region::View;
use crate::sys::{clock, harm, map, process, sysv};
use crate::transport::{Role, Sign};
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A word of the board.
#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    /// A party is there.
    Attached(Role),
    /// Both may begin.
    Go,
    /// When the victim came to harm.
    Harmed,
    /// The victim may leave.
    Leave,
    /// It has.
    Left,
    /// The survivor may go on.
    Released,
    /// Messages sent.
    Sent,
    /// Messages received that were right.
    Right,
    /// And that were not.
    Wrong,
    /// The one that the consumer waits for.
    Due,
    /// The sign that the survivor saw, by its place in [`Sign::ALL`] and one more.
    Told,
    /// When.
    ToldAt,
    /// Number of an error that kept a party from starting.
    Errno,
}

impl What {
    fn place(self) -> usize {
        match self {
            What::Attached(role) => role as usize,
            What::Go => 2,
            What::Harmed => 3,
            What::Leave => 4,
            What::Left => 5,
            What::Released => 6,
            What::Told => 7,
            What::ToldAt => 8,
            What::Errno => 9,
            // In lines of their own: each is written for every message.
            What::Sent => 16,
            What::Right => 32,
            What::Wrong => 33,
            What::Due => 34,
        }
    }
}

/// Pause of a party that rests.
const REST: Duration = Duration::from_micros(100);

/// What is agreed on before the parties start, and the board.
#[derive(Clone)]
pub(super) struct Scene {
    board: View<Board>,
    victim: Role,
    pub(super) harm: Harm,
    pub(super) moment: Moment,
    /// Messages before the moment.
    pub(super) before: u64,
    /// Bytes of the message in whose middle a producer comes to harm.
    pub(super) place: usize,
    /// What passes before a victim is struck from outside.
    pub(super) pause: Duration,
    plant: Option<Plant>,
}

impl Scene {
    pub(super) fn new(order: &Order, before: u64, place: usize, pause_us: u64) -> Result<Self> {
        let region = map::anonymous_shared(Board::LEN).context(Phase::Setup, "cannot map shared memory")?;
        let board = Board::lay(&Arc::new(region));
        let super::Cell { victim, harm, moment, .. } = order.cell;
        Ok(Self {
            board,
            victim,
            harm,
            moment,
            before,
            place,
            pause: Duration::from_micros(pause_us),
            plant: order.plant,
        })
    }

    pub(super) fn get(&self, what: What) -> u64 {
        // Acquire: what was written before the word is there.
        self.board.words[what.place()].load(Ordering::Acquire)
    }

    pub(super) fn set(&self, what: What, value: u64) {
        // Release: pairs with the acquire in `get`.
        self.board.words[what.place()].store(value, Ordering::Release);
    }

    pub(super) fn is_victim(&self, role: Role) -> bool {
        self.victim == role
    }

    /// Says that a party is there, and waits for the start.
    pub(super) fn arrive(&self, role: Role) {
        self.set(What::Attached(role), 1);
        self.rest(What::Go);
    }

    /// Waits for a word; whoever waits in vain dies with the launched process.
    pub(super) fn rest(&self, word: What) {
        while self.get(word) == 0 {
            std::thread::sleep(REST);
        }
    }

    pub(super) fn harmed(&self) {
        self.set(What::Harmed, clock::now());
    }

    /// The victim comes to harm here.
    pub(super) fn suffer(&self) {
        self.harmed();
        if let Some(fault) = self.harm.fault() {
            harm::come_to(fault);
        }
    }

    /// Whether message `seq` is planted to be spoiled, or to be lost.
    pub(super) fn spoils(&self, seq: u64) -> bool {
        self.plant == Some(Plant::Torn) && seq + 1 == self.before
    }

    pub(super) fn loses(&self, seq: u64) -> bool {
        // Not the last one, so that the next shows that it is missing; with one alone there is none.
        self.plant == Some(Plant::Lost) && seq == 0 && self.before > 1
    }

    /// The survivor was told.
    pub(super) fn tell(&self, sign: Sign) {
        self.set(What::ToldAt, clock::now());
        self.set(What::Told, 1 + Sign::ALL.iter().position(|one| *one == sign).unwrap_or(0) as u64);
    }

    pub(super) fn told(&self) -> Option<Sign> {
        Sign::ALL.get(self.get(What::Told).checked_sub(1)? as usize).copied()
    }

    /// What can be said of this injection once the survivor was told or was not. `fresh` and `ended` are found later.
    pub(super) fn seen(&self) -> Seen {
        let told = self.told();
        let after_ns = told.map(|_| self.get(What::ToldAt).saturating_sub(self.get(What::Harmed)));
        Seen {
            sign: told.unwrap_or(Sign::Nothing),
            after_ns,
            sent: self.get(What::Sent),
            right: self.get(What::Right),
            wrong: self.get(What::Wrong),
            fresh: false,
            ended: false,
        }
    }

    /// Says why a party cannot start or go on; its exit code.
    pub(super) fn complain(&self, error: &std::io::Error) -> u8 {
        self.set(What::Errno, error.raw_os_error().unwrap_or(libc::EIO) as u64);
        1
    }

    /// What kept a party from starting, or from going on before the moment, if something did.
    pub(super) fn complaint(&self) -> String {
        match (self.error(), self.told()) {
            (None, None) => "no party said why".into(),
            (None, Some(sign)) => format!("a party was told: {}", sign.word()),
            (Some(error), _) => error.to_string(),
        }
    }

    /// The error that a party complained of.
    pub(super) fn error(&self) -> Option<std::io::Error> {
        Some(self.get(What::Errno))
            .filter(|errno| *errno != 0)
            .map(|errno| std::io::Error::from_raw_os_error(errno as i32))
    }
}

/// Where names may stay.
fn folders() -> BTreeSet<PathBuf> {
    ["/dev/shm", "/dev/mqueue", "/tmp"].map(PathBuf::from).into_iter().chain([std::env::temp_dir()]).collect()
}

/// Who invented the name of this file, if a program of this kind did.
fn owner_of(path: &Path) -> Option<Owner> {
    Owner::of_name(path.file_name()?.to_str()?)
}

/// What exists outside the launched process, and its descriptors.
#[derive(Debug)]
pub(super) struct Inventory {
    names: BTreeSet<PathBuf>,
    queues: Vec<sysv::Found>,
    segments: BTreeSet<i32>,
    descriptors: usize,
    children: bool,
}

impl Inventory {
    /// Every name and queue, and what else these processes have made, the calling one among them.
    pub(super) fn take(pids: &[u32]) -> Self {
        let named = |folder: &Path| {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).filter(|path| owner_of(path).is_some()).collect::<Vec<_>>()
        };
        Self {
            names: folders().iter().flat_map(|folder| named(folder)).collect(),
            queues: sysv::queues(),
            segments: pids.iter().flat_map(|pid| sysv::segments_of(*pid)).collect(),
            descriptors: std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
            children: process::has_children(),
        }
    }

    /// Removes what these processes made and was not there before, and says what that was. A name or a queue that was there is
    /// nobody's of them, though process ids come round.
    pub(super) fn clear_since(&self, before: &Self, pids: &[u32]) -> Vec<String> {
        let mut left = Vec::new();
        let new = self.names.difference(&before.names);
        for path in new.filter(|path| owner_of(path).is_some_and(|owner| pids.contains(&owner.pid))) {
            left.push(format!("the name {}", path.parent().map_or_else(String::new, |p| p.display().to_string())));
            remove(path);
        }
        let new = self.queues.iter().filter(|queue| before.queues.iter().all(|old| old.id != queue.id));
        for queue in new.filter(|queue| queue.users.iter().any(|pid| pids.contains(pid))) {
            left.push("a System V queue".into());
            let _ = Thing::SysvQueue(queue.id).remove();
        }
        for id in self.segments.difference(&before.segments) {
            left.push("a System V segment".into());
            let _ = Thing::SysvSegment(*id).remove();
        }
        if self.descriptors > before.descriptors {
            left.push(format!("{} descriptors", self.descriptors - before.descriptors));
        }
        if self.children {
            left.push("a child process".into());
        }
        left
    }
}

/// Removes what is this user's.
fn remove(path: &Path) {
    let Ok(meta) = std::fs::symlink_metadata(path) else { return };
    if meta.uid() != nix::unistd::geteuid().as_raw() {
        return;
    }
    if meta.is_dir() {
        let _ = std::fs::remove_dir_all(path);
    } else {
        let _ = Thing::file(path).remove_this(Identity::of(&meta));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::invent;

    #[test]
    fn what_stays_is_named_and_removed_and_what_others_made_or_was_there_is_neither() {
        let me = std::process::id();
        let before = Inventory { children: false, ..Inventory::take(&[u32::MAX]) };
        let file = std::env::temp_dir().join(invent());
        std::fs::write(&file, "").unwrap();
        let taken = |names: &[&PathBuf]| {
            let names = names.iter().map(|path| (*path).clone()).collect();
            Inventory { names, children: false, descriptors: 0, ..Inventory::take(&[u32::MAX]) }
        };
        let foreign = std::env::temp_dir().join(format!("ipcost-{me}-0"));
        let after = taken(&[&file, &foreign]);
        assert!(Inventory::take(&[me]).names.contains(&file));
        assert!(after.clear_since(&before, &[me + 1]).is_empty());
        assert!(after.clear_since(&taken(&[&file]), &[me]).is_empty() && file.exists());
        assert_eq!(after.clear_since(&before, &[7, me]), [format!("the name {}", std::env::temp_dir().display())]);
        assert!(!file.exists());
    }
}
