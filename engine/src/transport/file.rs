//! A regular file as a bounded ring: messages by pwrite(2) and pread(2), indices in files of their own.
//!
//! Key decision: three files, one for the payload and one per index. Sleeping means watching the *other side's index
//! file* with inotify, so that neither a payload write nor one's own index write wakes anybody. The index is written after
//! the payload, with a fence between, because the page cache itself promises no order between two writes.
//! Rejected: one file (two wake-ups per message); an append-only log (grows without bound); file locks (a second
//! mechanism under test). Source: pread(2), inotify(7).

use super::ring::{await_peer, create_new, foreign, nobody, open_existing};
use super::scribble::{Damaged, Scene, erased};
use super::{
    ALL_WAITS, BOTH, Config, Family, Meeting, Met, PATTERNS, PeerDeath, Receiver, Role, Sender, Spec, Transport,
    UNLIMITED, buffer_for,
};
use crate::error::{Context, Error, Phase, Result};
use crate::names::{self, Identity, Name, Seen, Thing};
use crate::plan::Wait;
use crate::shm::budget::Budget;
use crate::shm::nonsense::Nonsense;
use crate::shm::wait::NAP;
use crate::sys::notify::Watch;
use crate::sys::process;
use crate::sys::trust;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{Ordering, fence};

/// See the [module](self).
#[derive(Debug)]
pub struct FileRing;

/// "ipcfile" and a version.
const MAGIC: u64 = 0x6970_6366_696c_6502;
/// Looks between two checks whether the peer still lives, while not sleeping.
const LOOKS_PER_CHECK: u32 = 1 << 12;

fn slots_for(size: usize) -> u64 {
    (buffer_for(size) / size) as u64
}

/// An index file: what it holds, in words of eight bytes. Count and `left` are read together.
mod word {
    pub const COUNT: u64 = 0;
    pub const LEFT: u64 = 8;
    pub const PID: u64 = 16;
    pub const MAGIC: u64 = 24;
    pub const SIZE: u64 = 32;
}

/// The file in which one side publishes how far it got.
#[derive(Debug)]
struct Index(File);

impl Index {
    fn put(&self, word: u64, value: u64) -> io::Result<()> {
        write_at(&self.0, &value.to_le_bytes(), word)
    }

    fn get(&self, word: u64) -> io::Result<u64> {
        let mut raw = [0; 8];
        read_at(&self.0, &mut raw, word)?;
        Ok(u64::from_le_bytes(raw))
    }

    /// Count and whether the owner left, in one read.
    #[inline(always)]
    fn look(&self) -> io::Result<(u64, bool)> {
        let mut raw = [0; 16];
        read_at(&self.0, &mut raw, word::COUNT)?;
        let (count, left) = raw.split_at(8);
        Ok((u64::from_le_bytes(count.try_into().expect("eight bytes")), left != [0; 8]))
    }
}

/// Writes all of `bytes`. The call is made in place, as by [`Direct`](super::bytes::Direct): the function of the C library is
/// one return more after it, and asks about cancellation in a program of several threads.
#[inline(always)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    match rustix::io::pwrite(file, bytes, at) {
        Ok(written) if written == bytes.len() => Ok(()),
        // Interrupted, cut short or refused: rare enough to begin again.
        _ => file.write_all_at(bytes, at),
    }
}

/// Reads as much as `bytes` holds, in the same way; it is an error if there is less.
#[inline(always)]
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    match rustix::io::pread(file, &mut *bytes, at) {
        Ok(read) if read == bytes.len() => Ok(()),
        _ => file.read_exact_at(bytes, at).map_err(whole),
    }
}

/// A file that ends too early was cut by somebody: not to be taken for the end of the messages.
#[cold]
fn whole(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => io::Error::new(ErrorKind::InvalidData, "a file of the ring is shorter than it was"),
        _ => error,
    }
}

/// One side's view: payload, its own index, the other's index, and how it waits.
#[derive(Debug)]
struct End {
    data: File,
    mine: Index,
    theirs: Index,
    message: Box<[u8]>,
    slots: u64,
    /// Messages that this side is done with.
    count: u64,
    /// The other side's count when last seen.
    seen: u64,
    wait: Wait,
    budget: Budget,
    watch: Option<Watch>,
    attached: bool,
    _names: Vec<Name>,
}

impl End {
    fn attach(&mut self) -> io::Result<()> {
        self.attached = true;
        self.mine.put(word::PID, u64::from(std::process::id()))?;
        if self.wait.sleeps() {
            self.watch = Some(Watch::new(&self.theirs.0)?);
        }
        Ok(())
    }

    fn offset(&self) -> u64 {
        (self.count % self.slots) * self.message.len() as u64
    }

    /// Waits until the other side's count satisfies `ready`, which a count that cannot be does, too; `None` when it left and
    /// will never.
    ///
    /// A side that left is looked at once more: it may have published between our look and its leaving, and the kernel
    /// does not promise that a read sees two writes in their order.
    #[inline(always)]
    fn wait_for(&mut self, ready: impl Fn(u64) -> bool) -> io::Result<Option<u64>> {
        let (mut looks, mut gone) = (0_u32, false);
        loop {
            let (count, left) = self.theirs.look()?;
            if ready(count) {
                // What the other side wrote before it published the count is to be read after it.
                fence(Ordering::Acquire);
                self.budget.met();
                return Ok(Some(count));
            }
            if left || gone {
                self.sound()?;
                let (count, _) = self.theirs.look()?;
                fence(Ordering::Acquire);
                return Ok(ready(count).then_some(count));
            }
            looks = looks.wrapping_add(1);
            if !self.budget.pauses(self.wait.by_calls()) {
                let Some(watch) = &mut self.watch else { return Err(io::Error::other("the end was not attached")) };
                gone = !watch.wait(NAP)? && self.peer_gone()?;
            }
            gone |= looks % LOOKS_PER_CHECK == 0 && self.peer_gone()?;
        }
    }

    /// Whether the other side has ended; asked as seldom as that is whether our own file holds what we wrote, without which
    /// the other side may wait for us as we for it.
    fn peer_gone(&self) -> io::Result<bool> {
        self.sound()?;
        let pid = self.theirs.get(word::PID)?;
        impossible(Nonsense::unless_within("the peer's process id", pid, 0, u64::from(process::LARGEST_ID)))?;
        // The end of a process that has a watch takes the kernel more than 10 ms after it has done its last.
        Ok(process::peer_is_ending(pid as u32, std::process::id()))
    }

    /// # Errors
    /// When a word of either file cannot be.
    #[cold]
    fn sound(&self) -> io::Result<()> {
        impossible(Nonsense::unless("one's own count", self.mine.get(word::COUNT)?, self.count))?;
        impossible(Nonsense::unless("one's own farewell", self.mine.get(word::LEFT)?, 0))?;
        impossible(Nonsense::unless_within("the peer's farewell", self.theirs.get(word::LEFT)?, 0, 1))
    }

    /// Waits for a place to write to. This and the next apart from what fills and reads, as in [`bytes`](super::bytes).
    #[inline(always)]
    fn await_room(&mut self) -> io::Result<()> {
        let (count, slots) = (self.count, self.slots);
        if count - self.seen >= slots {
            let head = self.wait_for(|head| count.wrapping_sub(head) != slots)?.ok_or(ErrorKind::BrokenPipe)?;
            impossible(Nonsense::unless_within("the consumer's count", head, count - slots, count))?;
            self.seen = head;
        }
        Ok(())
    }

    /// Waits for a message to read.
    #[inline(always)]
    fn await_message(&mut self) -> io::Result<()> {
        let (count, slots) = (self.count, self.slots);
        if count == self.seen {
            let tail = self.wait_for(|tail| tail != count)?.ok_or(ErrorKind::UnexpectedEof)?;
            impossible(Nonsense::unless_within("the producer's count", tail, count, count + slots))?;
            self.seen = tail;
        }
        Ok(())
    }

    /// Publishes that this side is done with one more message.
    #[inline(always)]
    fn advance(&mut self) -> io::Result<()> {
        self.count += 1;
        // Payload before index, also on machines whose stores are not ordered.
        fence(Ordering::Release);
        self.mine.put(word::COUNT, self.count)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if self.attached {
            let _ = self.mine.put(word::LEFT, 1);
        }
    }
}

/// What was found to be impossible, as an error.
fn impossible(nonsense: Option<Nonsense>) -> io::Result<()> {
    nonsense.map_or(Ok(()), |nonsense| Err(nonsense.into()))
}

/// The sending end.
#[derive(Debug)]
pub struct Tx(End);
/// The receiving end.
#[derive(Debug)]
pub struct Rx(End);

/// Opens both ends over three files; `again` opens a file a second time.
fn ends(files: [File; 3], size: usize, wait: Wait, again: impl Fn(usize) -> io::Result<File>) -> io::Result<(Tx, Rx)> {
    let slots = slots_for(size);
    let [data, tail, head] = files;
    let end = |data, mine, theirs| End {
        data,
        mine: Index(mine),
        theirs: Index(theirs),
        message: vec![0; size].into_boxed_slice(),
        slots,
        count: 0,
        seen: 0,
        wait,
        budget: Budget::default(),
        watch: None,
        attached: false,
        _names: Vec::new(),
    };
    let rx = end(again(0)?, again(2)?, again(1)?);
    Ok((Tx(end(data, tail, head)), Rx(rx)))
}

/// Writes the whole payload file and both indices once, so that no block is allocated while time is taken.
fn lay_out(files: &[File; 3], size: usize) -> io::Result<()> {
    let zeroes = vec![0; size.max(64 << 10)];
    let total = slots_for(size) * size as u64;
    let mut at = 0;
    while at < total {
        let step = (total - at).min(zeroes.len() as u64);
        files[0].write_all_at(&zeroes[..step as usize], at)?;
        at += step;
    }
    for index in &files[1..] {
        index.write_all_at(&[0; 64], 0)?;
    }
    Ok(())
}

impl Damaged for FileRing {
    /// The words of both index files, and the lengths of all three.
    fn scene(cfg: &Config) -> Result<Scene> {
        let (tx, rx) = Self::one_way(cfg)?;
        let again = |file: &File| file.try_clone().context(Phase::Setup, "cannot have a file twice");
        let files = [again(&tx.0.mine.0)?, again(&rx.0.mine.0)?, again(&tx.0.data)?];
        let words = [word::COUNT, word::LEFT, word::PID];
        let strike = move |at: usize, value: u64| {
            // What cannot be written was not struck.
            let _ = match at / words.len() {
                side @ (0 | 1) => files[side].write_all_at(&value.to_le_bytes(), words[at % words.len()]),
                _ => files[at % words.len()].set_len(value % 64),
            };
        };
        let words = 3 * words.len();
        Ok(Scene { pair: erased(tx, rx), words, strike: Box::new(strike) })
    }
}

impl Transport for FileRing {
    const SPEC: &'static Spec = &Spec {
        name: "file",
        summary: "regular file as a bounded ring, pread and pwrite; sleeps with inotify (--dir chooses the file system)",
        family: Family::Kernel,
        parties: BOTH,
        waits: ALL_WAITS,
        copies: 2,
        max_size: UNLIMITED,
        peer_death: PeerDeath {
            text: "end-of-file or EPIPE; a killed peer is noticed within 50 ms of waiting for it",
            within_ms: 50,
            ..PeerDeath::WATCHED
        },
        patterns: PATTERNS,
        meeting: Meeting::Path,
        sources: &["pread(2)", "pwrite(2)", "inotify(7)"],
    };
    type Tx = Tx;
    type Rx = Rx;

    fn one_way(cfg: &Config) -> Result<(Tx, Rx)> {
        let make = || -> io::Result<_> {
            let mut named = Vec::new();
            for _ in 0..3 {
                let name = names::invent();
                named.push(tempfile::Builder::new().prefix(&name).rand_bytes(0).tempfile_in(&cfg.dir)?);
            }
            let files = [named[0].reopen()?, named[1].reopen()?, named[2].reopen()?];
            lay_out(&files, cfg.size)?;
            cfg.note("file system", file_system(&files[0]));
            cfg.note(super::SLOTS_NOTE, slots_for(cfg.size));
            cfg.holds(slots_for(cfg.size) as usize * cfg.size);
            // Dropping the named handles removes the names; both ends are open by then.
            ends(files, cfg.size, cfg.wait, |i| named[i].reopen())
        };
        make().map_err(|error| {
            Error::failed(Phase::Setup, format!("cannot create the ring's files in {}", cfg.dir.display()))
                .because(&error)
                .hint("choose a writable folder with space, with --dir")
                .if_refused(&error)
        })
    }

    fn meet(cfg: &Config, at: &str, role: Role) -> Result<Met<Self>> {
        let paths = ["", ".tail", ".head"].map(|suffix| PathBuf::from(format!("{at}{suffix}")));
        match role {
            Role::Producer => produce(cfg, at, &paths),
            Role::Consumer => consume(cfg, at, &paths),
        }
    }
}

fn produce(cfg: &Config, at: &str, paths: &[PathBuf; 3]) -> Result<Met<FileRing>> {
    paths.iter().for_each(|path| names::reclaim(&Thing::file(path)));
    let mut names = Vec::new();
    let mut make = |path: &Path| -> Result<File> {
        let (file, name) = names::place(path, create_new)?;
        names.push(name);
        Ok(file)
    };
    let files = [make(&paths[0])?, make(&paths[1])?, make(&paths[2])?];
    let cannot = format!("cannot write {at}");
    lay_out(&files, cfg.size).context(Phase::Start, &cannot)?;
    let (mut tx, _) = ends(files, cfg.size, cfg.wait, |i| open_existing(&paths[i])).context(Phase::Start, &cannot)?;
    tx.0._names = names;
    let tell = |index: &Index| {
        index.put(word::SIZE, cfg.size as u64)?;
        index.put(word::PID, u64::from(std::process::id()))?;
        fence(Ordering::Release);
        index.put(word::MAGIC, MAGIC)
    };
    tell(&tx.0.mine).context(Phase::Start, &cannot)?;
    let there = || Ok(tx.0.theirs.get(word::PID).is_ok_and(|pid| pid != 0).then_some(()));
    await_peer(cfg.patience, "consumer", at, there)?.ok_or_else(|| nobody("consumer", at, cfg.patience))?;
    Ok(Met::Tx(tx))
}

fn consume(cfg: &Config, at: &str, paths: &[PathBuf; 3]) -> Result<Met<FileRing>> {
    let look = || {
        let tail = match open_existing(&paths[1]).map(Index) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| {
                let passing = trust::is_being_named(&error);
                let what = format!("cannot open {at}");
                Error::failed(Phase::Start, what).because(error).hint("check who owns the files").passing_if(passing)
            })?,
        };
        // A producer waits for its consumer before it sends: one that is gone left nothing but the names, which the
        // next producer takes over.
        let pid = u32::try_from(tail.get(word::PID).unwrap_or(0)).unwrap_or(u32::MAX);
        if tail.get(word::MAGIC).unwrap_or(0) != MAGIC || process::is_gone(pid) {
            return Ok(None);
        }
        fence(Ordering::Acquire);
        Ok(tail.get(word::SIZE).ok())
    };
    let size = await_peer(cfg.patience, "producer", at, look)?.ok_or_else(|| nobody("producer", at, cfg.patience))?;
    if let Some(nonsense) = Nonsense::unless_within("the message size", size, 1, UNLIMITED as u64) {
        return Err(foreign(at, &nonsense));
    }
    let open = |i: usize| open_existing(&paths[i]);
    let cannot = format!("cannot open {at}");
    let files = (|| Ok([open(0)?, open(1)?, open(2)?]))().map_err(|error: io::Error| {
        Error::failed(Phase::Start, &cannot).because(error).hint("check who owns the files")
    })?;
    let seen = |(file, path): (&File, &PathBuf)| {
        Ok(Seen { thing: Thing::file(path), identity: Identity::of(&file.metadata()?) })
    };
    let seen: Vec<Seen> =
        files.iter().zip(paths).map(seen).collect::<io::Result<_>>().context(Phase::Start, &cannot)?;
    let (_, rx) = ends(files, size as usize, cfg.wait, open).context(Phase::Start, &cannot)?;
    rx.0.mine.put(word::PID, u64::from(std::process::id())).context(Phase::Start, &cannot)?;
    seen.iter().for_each(Seen::remove);
    Ok(Met::Rx(rx, size as usize))
}

impl Sender for Tx {
    fn size(&self) -> usize {
        self.0.message.len()
    }

    fn attach(&mut self) -> io::Result<()> {
        self.0.attach()
    }

    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        let end = &mut self.0;
        end.await_room()?;
        fill(&mut end.message);
        write_at(&end.data, &end.message, end.offset())?;
        end.advance()
    }
}

impl Receiver for Rx {
    fn attach(&mut self) -> io::Result<()> {
        self.0.attach()
    }

    #[inline(always)]
    fn recv_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        let end = &mut self.0;
        end.await_message()?;
        let at = end.offset();
        read_at(&end.data, &mut end.message, at)?;
        let result = read(&end.message);
        end.advance()?;
        Ok(result)
    }
}

/// The name of the file system that a file is on, as far as its magic number is a common one.
pub(super) fn file_system(file: &File) -> String {
    match rustix::fs::fstatfs(file).map(|stat| stat.f_type as u64) {
        Ok(0xEF53) => "ext4".into(),
        Ok(0x0102_1994) => "tmpfs".into(),
        Ok(0x794c_7630) => "overlay".into(),
        Ok(0x5846_5342) => "xfs".into(),
        Ok(0x9123_683E) => "btrfs".into(),
        Ok(0x6969) => "nfs".into(),
        Ok(other) => format!("type {other:#x}"),
        Err(_) => "unknown".into(),
    }
}
