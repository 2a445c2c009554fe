//! One ring over five kinds of memory: a sealed memfd, a mapped file, a named POSIX segment, a System V segment, the heap.
//!
//! Key decision: the ring code is *the same* and only the [`Backing`] differs, so that a difference between two of these
//! rows can only come from the memory itself: its page table, its file system, its names. This is the experiment behind
//! "threads communicate cheaply because they share the heap". Rejected: a ring per mechanism, which drift apart.

use super::scribble::{Damaged, Scene, erased};
use super::{
    ALL_WAITS, BOTH, Bound, Config, Family, Meeting, Met, PATTERNS, PeerDeath, Receiver, Role, Sender, Spec, Transport,
    UNLIMITED, buffer_for,
};
use crate::error::{Context, Error, Phase, Result};
use crate::names::{self, Identity, Name, Seen, Thing};
use crate::plan::{Parties, Wait};
use crate::shm::futex::{Futex, Scope};
use crate::shm::nonsense::Nonsense;
use crate::shm::region::{Occupants, PAGE, Region, RingRx, RingShape, RingTx, View, occupants};
use crate::shm::ring::{Manner, Stop};
use crate::shm::scribble::Header;
use crate::shm::vigil::Vigil;
use crate::shm::wait::{Berth, Peer, Rouser};
use crate::sys::trust::{self, Kind};
use crate::sys::{map, process};
use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::marker::PhantomData;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// "ipc" and a version: what the first word of a laid-out region says.
const MAGIC: u32 = 0x6970_6302;

/// The memory under a ring.
pub trait Backing: Sized + 'static {
    /// What the mechanism over this memory is.
    const SPEC: &'static Spec;

    /// As [`Transport::bound`].
    fn bound() -> Bound {
        Bound { size: Self::SPEC.max_size, set_by: None }
    }

    /// `len` zeroed bytes without a name.
    ///
    /// # Errors
    /// What the system says, with what to do about a full file system.
    fn region(cfg: &Config, len: usize) -> Result<Region>;

    /// `len` zeroed bytes that another program can open as `at`.
    ///
    /// # Errors
    /// When the name is taken or the mechanism has no names.
    fn create(at: &str, len: usize) -> Result<(Region, Name)> {
        let _ = (at, len);
        Err(unnamed(Self::SPEC))
    }

    /// What another program made as `at`, or `None` while there is nothing of use yet.
    ///
    /// # Errors
    /// When the mechanism has no names, or what lies there cannot be opened.
    fn open(at: &str) -> Result<Option<(Region, Seen)>> {
        let _ = at;
        Err(unnamed(Self::SPEC))
    }

    /// Removes what a dead program of this user left as `at`; leaves everything else alone.
    ///
    /// # Errors
    /// When `at` is no name.
    fn reclaim(at: &str) -> Result<()> {
        let _ = at;
        Ok(())
    }
}

fn unnamed(spec: &Spec) -> Error {
    Error::unsupported(format!("{} connects threads of one process, not two programs", spec.name))
}

/// A ring over some memory. See the [module](self).
#[derive(Debug)]
pub struct Ring<B>(PhantomData<B>);

/// `shm-ring`.
pub type ShmRing = Ring<Memfd>;
/// `mmap-file`.
pub type MmapFile = Ring<MappedFile>;
/// `posix-shm`.
pub type PosixShm = Ring<Segment>;
/// `heap-ring`.
pub type HeapRing = Ring<Heap>;

/// What both kinds of ends know about where they are.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) region: Arc<Region>,
    occupants: View<Occupants>,
    /// 0: producer (or side 0); 1: consumer (or side 1).
    me: usize,
    /// This process's id, once it took up its post: a wait between threads asks often, and the C library asks the kernel.
    my_pid: u32,
    /// The pages have been touched.
    ready: bool,
    /// The peer's process id, once it was seen: what is written over it afterwards is not looked at.
    peer: Cell<u32>,
    vigil: Option<Vigil>,
    /// The peer is another program, which chose its own wait.
    met: bool,
}

/// The party at the other end of a [`Post`].
#[derive(Debug)]
pub(super) struct Watched<'a>(&'a Post);

impl Peer for Watched<'_> {
    #[cold]
    fn gone(&mut self) -> bool {
        self.0.peer_gone()
    }

    fn sleep(&mut self, berth: &dyn Berth, flag: &Futex) {
        Vigil::guard(self.0.vigil.as_ref(), |limit| berth.sleep(flag, limit));
    }
}

impl Post {
    pub(super) fn new(region: &Arc<Region>, me: usize) -> Self {
        Self {
            region: Arc::clone(region),
            occupants: occupants(region),
            me,
            my_pid: 0,
            ready: false,
            peer: Cell::new(0),
            vigil: None,
            met: false,
        }
    }

    /// Touches every page, once, and leaves this process's id for the peer, who may write messages from then on.
    pub(super) fn take_up(&mut self) {
        self.prepare();
        self.my_pid = std::process::id();
        self.occupants.pids[self.me].store(self.my_pid, Ordering::Release);
    }

    fn prepare(&mut self) {
        if !std::mem::replace(&mut self.ready, true) {
            self.region.prefault();
        }
    }

    /// Process id of the party at the other end; 0 while it has not taken up its post. May be one that no process has.
    #[inline(always)]
    pub(super) fn peer(&self) -> u32 {
        if self.peer.get() == 0 {
            self.peer.set(self.occupants.pids[1 - self.me].load(Ordering::Acquire));
        }
        self.peer.get()
    }

    /// The peer, as a side that waits for it sees it.
    #[inline(always)]
    pub(super) fn watched(&self) -> Watched<'_> {
        Watched(self)
    }

    /// Says that the peer is another program.
    fn met(mut self) -> Self {
        self.met = true;
        self
    }

    /// Has the peer watched from now on, for an end that `rouser` wakes. An end that never sleeps has none, and needs no watch; nor
    /// does one without a thread for it, whose sleeps keep their limit. Nor is another program watched: one that never sleeps
    /// never rings either, and its peer, which may, has to look for itself.
    pub(super) fn keep_vigil(&mut self, rouser: Option<Rouser>) {
        let rouser = rouser.filter(|_| !self.met);
        self.vigil = rouser.and_then(|rouser| Vigil::over(self.occupants.peer_of(self.me), rouser).ok());
    }

    /// Whether the process at the other end has ended. Slow: it asks the kernel. A peer that has not taken up its post
    /// is not gone, and a thread of our own process ends only together with us or by closing its end.
    pub(super) fn peer_gone(&self) -> bool {
        process::peer_is_gone(self.peer(), self.my_pid)
    }

    /// What the stopped protocol of an end at this post means, given the word that the end found impossible, if one.
    #[cold]
    pub(super) fn stopped(&self, stop: Stop, role: Role, nonsense: Option<Nonsense>) -> io::Error {
        // "Gone" may rest on a process id that cannot be.
        match nonsense.filter(|_| stop == Stop::Corrupt).or_else(|| self.impossible()) {
            Some(nonsense) => nonsense.into(),
            None => stopped(stop, role),
        }
    }

    fn impossible(&self) -> Option<Nonsense> {
        let word = if self.me == 0 { "the consumer's process id" } else { "the producer's process id" };
        Nonsense::unless_within(word, u64::from(self.peer()), 0, u64::from(process::LARGEST_ID))
    }
}

/// What a producer said in [`host_as`], which of it cannot be, and how large it may be. Each word is read once.
///
/// # Errors
/// When a word cannot be: which, and what was allowed.
pub(super) fn announced(region: &Arc<Region>, at: &str) -> Result<(usize, usize)> {
    let header = occupants(region);
    let (size, slots) = (header.size.load(Ordering::Relaxed), header.slots.load(Ordering::Relaxed));
    match Nonsense::unless_within("the message size", u64::from(size), 1, UNLIMITED as u64) {
        Some(nonsense) => Err(foreign(at, &nonsense)),
        None => Ok((size as usize, slots as usize)),
    }
}

/// That what lies at `at` was not laid out by this version of this program, or was scribbled over since.
pub(super) fn foreign(at: &str, why: &dyn std::fmt::Display) -> Error {
    Error::failed(Phase::Start, format!("{at} holds no ring of this version"))
        .because(why)
        .hint("start both programs from the same build, or choose another --at")
}

/// Refuses a ring of `slots` slots in this region that is not exactly `shape` in a region of its size: what is longer would
/// be touched page by page.
///
/// # Errors
/// Which of both it is.
pub(super) fn fits(region: &Region, slots: usize, shape: RingShape, len: usize, at: &str) -> Result<()> {
    Nonsense::unless("the number of slots", slots as u64, shape.slots as u64)
        .or_else(|| Nonsense::unless("the length of the memory", region.len() as u64, len as u64))
        .map_or(Ok(()), |nonsense| Err(foreign(at, &nonsense)))
}

/// What a stopped protocol means to a sender or a receiver.
#[cold]
pub(super) fn stopped(stop: Stop, role: Role) -> io::Error {
    match (stop, role) {
        (Stop::Gone, Role::Producer) => ErrorKind::BrokenPipe.into(),
        (Stop::Gone, Role::Consumer) => ErrorKind::UnexpectedEof.into(),
        (Stop::Died, _) => io::Error::new(ErrorKind::ConnectionReset, "the peer died while it held the lock"),
        (Stop::Corrupt, _) => io::Error::new(ErrorKind::InvalidData, "the shared header holds an impossible value"),
    }
}

pub(super) fn manner(wait: Wait, shared: bool) -> Manner {
    Manner { wait, berth: if shared { Scope::Shared } else { Scope::Private } }
}

/// The sending end.
#[derive(Debug)]
pub struct Tx<B: Berth = Scope> {
    ring: RingTx<B>,
    post: Post,
    size: usize,
    _name: Option<Name>,
}

/// The receiving end.
#[derive(Debug)]
pub struct Rx<B: Berth = Scope> {
    ring: RingRx<B>,
    post: Post,
}

impl<B: Berth> Tx<B> {
    /// The memory under the ring.
    pub(super) fn region(&self) -> &Arc<Region> {
        &self.post.region
    }
}

/// Both ends of a ring in `region`, the producer's and the consumer's way of waiting given.
pub(super) fn ends<B: Berth>(region: Region, shape: RingShape, manners: [Manner<B>; 2]) -> (Tx<B>, Rx<B>) {
    let region = Arc::new(region);
    let [producer, consumer] = manners;
    let tx = RingTx::new(&region, shape, producer);
    let tx = Tx { ring: tx, post: Post::new(&region, 0), size: shape.size, _name: None };
    (tx, Rx { ring: RingRx::new(&region, shape, consumer), post: Post::new(&region, 1) })
}

impl<B: Backing> Damaged for Ring<B> {
    fn scene(cfg: &Config) -> Result<Scene> {
        let (tx, rx) = Self::one_way(cfg)?;
        let header = Header::ring(&tx.post.region);
        Ok(Scene::over(erased(tx, rx), header))
    }
}

impl<B: Backing> Transport for Ring<B> {
    const SPEC: &'static Spec = B::SPEC;
    type Tx = Tx;
    type Rx = Rx;

    fn bound() -> Bound {
        B::bound()
    }

    fn one_way(cfg: &Config) -> Result<(Tx, Rx)> {
        let shape = RingShape::new(cfg.size, buffer_for(cfg.size));
        cfg.note(super::SLOTS_NOTE, shape.slots);
        cfg.holds(shape.region_len());
        Ok(ends(B::region(cfg, shape.region_len())?, shape, [manner(cfg.wait, cfg.processes); 2]))
    }

    fn meet(cfg: &Config, at: &str, role: Role) -> Result<Met<Self>> {
        match role {
            Role::Producer => {
                let shape = RingShape::new(cfg.size, buffer_for(cfg.size));
                let (post, name) = host::<B>(cfg, at, shape, |_| Ok(()))?;
                let ring = RingTx::new(&post.region, shape, manner(cfg.wait, true));
                Ok(Met::Tx(Tx { ring, post, size: shape.size, _name: Some(name) }))
            }
            Role::Consumer => {
                let (region, thing) = find::<B>(cfg, at)?;
                let shape = ring_shape(&region, at)?;
                let ring = RingRx::new(&region, shape, manner(cfg.wait, true));
                Ok(Met::Rx(Rx { ring, post: join(&region, &thing)? }, shape.size))
            }
        }
    }
}

/// The producer's half of a meeting in shared memory: makes a region that others find as `at`, lets `lay` lay out in it
/// what is not all zero, and waits for a consumer.
pub(super) fn host<B: Backing>(
    cfg: &Config,
    at: &str,
    shape: RingShape,
    lay: impl FnOnce(&Arc<Region>) -> Result<()>,
) -> Result<(Post, Name)> {
    host_as::<B>(cfg, at, MAGIC, shape.region_len(), shape, lay)
}

/// As [`host`], with a tag of its own for a region of `len` bytes that holds something else than the announced ring.
pub(super) fn host_as<B: Backing>(
    cfg: &Config,
    at: &str,
    magic: u32,
    len: usize,
    shape: RingShape,
    lay: impl FnOnce(&Arc<Region>) -> Result<()>,
) -> Result<(Post, Name)> {
    B::reclaim(at)?;
    let (region, name) = B::create(at, len)?;
    let region = Arc::new(region);
    lay(&region)?;
    let mut post = Post::new(&region, 0).met();
    post.take_up();
    post.occupants.size.store(shape.size as u32, Ordering::Relaxed);
    post.occupants.slots.store(shape.slots as u32, Ordering::Relaxed);
    // Release: a consumer that sees the tag sees the shape.
    post.occupants.magic.store(magic, Ordering::Release);
    let here = || Ok((post.peer() != 0).then_some(()));
    await_peer(cfg.patience, "consumer", at, here)?.ok_or_else(|| nobody("consumer", at, cfg.patience))?;
    Ok((post, name))
}

/// The consumer's half: waits for a region that a living producer has laid out as `at`.
pub(super) fn find<B: Backing>(cfg: &Config, at: &str) -> Result<(Arc<Region>, Seen)> {
    find_as::<B>(cfg, at, MAGIC)
}

/// As [`find`], for regions with this tag.
pub(super) fn find_as<B: Backing>(cfg: &Config, at: &str, magic: u32) -> Result<(Arc<Region>, Seen)> {
    let found = await_peer(cfg.patience, "producer", at, || {
        let Some((region, thing)) = B::open(at)? else { return Ok(None) };
        let region = Arc::new(region);
        let header = occupants(&region);
        // Acquire: pairs with the producer's release, so that the shape is there to be read.
        let laid_out = header.magic.load(Ordering::Acquire) == magic;
        if !laid_out {
            return Ok(None);
        }
        let pid = header.pids[0].load(Ordering::Acquire);
        let largest = u64::from(process::LARGEST_ID);
        if let Some(nonsense) = Nonsense::unless_within("the producer's process id", u64::from(pid), 1, largest) {
            return Err(foreign(at, &nonsense));
        }
        // A producer waits for its consumer before it sends: one that is gone left nothing but the name, which the next
        // producer takes over.
        Ok((!process::is_gone(pid)).then_some((region, thing)))
    })?;
    found.ok_or_else(|| nobody("producer", at, cfg.patience))
}

/// The shape of the ring that a producer of this version laid out.
pub(super) fn ring_shape(region: &Arc<Region>, at: &str) -> Result<RingShape> {
    let (size, slots) = announced(region, at)?;
    let shape = RingShape::new(size, buffer_for(size));
    fits(region, slots, shape, shape.region_len(), at)?;
    Ok(shape)
}

/// Ends the meeting, from the consumer's side: says that it is there. Both ends are open then: the name has done its
/// work, and a later pair may use it.
///
/// # Errors
/// When another consumer was faster: there is room for one, and the name is then that one's to remove.
pub(super) fn join(region: &Arc<Region>, seen: &Seen) -> Result<Post> {
    join_all(region, std::slice::from_ref(seen))
}

/// As [`join`], where there are more names than one: they are removed in this order.
pub(super) fn join_all(region: &Arc<Region>, seen: &[Seen]) -> Result<Post> {
    let mut post = Post::new(region, 1).met();
    post.prepare();
    // Acquire and Release as for every store of an id.
    let seat = &post.occupants.pids[1];
    if seat.compare_exchange(0, std::process::id(), Ordering::AcqRel, Ordering::Acquire).is_err() {
        return Err(Error::failed(Phase::Start, "another consumer came first").hint("start a pair of its own for each"));
    }
    post.take_up();
    seen.iter().for_each(Seen::remove);
    Ok(post)
}

/// Asks `look` until it finds the peer or patience ends. Two programs that people start have no descriptor in common to
/// wait on, so this polls, a hundred times a second, before anything is measured. A refusal that may be over in a moment is
/// one only when patience ends.
pub(super) fn await_peer<R>(
    patience: Duration,
    who: &str,
    at: &str,
    mut look: impl FnMut() -> Result<Option<R>>,
) -> Result<Option<R>> {
    let start = Instant::now();
    let mut told = false;
    loop {
        let refusal = match look() {
            Ok(Some(found)) => return Ok(Some(found)),
            Ok(None) => None,
            Err(error) if error.is_passing() => Some(error),
            Err(error) => return Err(error),
        };
        if start.elapsed() >= patience {
            return refusal.map_or(Ok(None), Err);
        }
        if !told {
            eprintln!("waiting for a {who} at {at}");
            told = true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(super) fn nobody(who: &str, at: &str, patience: Duration) -> Error {
    Error::failed(Phase::Start, format!("no {who} came to {at} within {patience:?}"))
        .hint(format!("start the {who} with the same --at, or raise --patience"))
}

impl<B: Berth + Send> Sender for Tx<B> {
    fn size(&self) -> usize {
        self.size
    }

    fn attach(&mut self) -> io::Result<()> {
        self.ring.attach();
        self.post.take_up();
        self.post.keep_vigil(self.ring.rouser(&self.post.region));
        Ok(())
    }

    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        let Self { ring, post, .. } = self;
        let sent = ring.send_with(post.watched(), fill);
        sent.map_err(|stop| post.stopped(stop, Role::Producer, ring.nonsense()))
    }

    #[inline(always)]
    fn send_each(&mut self, n: u64, fill: impl FnMut(u64, &mut [u8])) -> io::Result<()> {
        let Self { ring, post, .. } = self;
        let sent = ring.send_each(n, post.watched(), fill);
        sent.map_err(|stop| post.stopped(stop, Role::Producer, ring.nonsense()))
    }

    #[inline(always)]
    fn room(&mut self) -> Option<u64> {
        Some(self.ring.ready())
    }
}

impl<B: Berth + Send> Receiver for Rx<B> {
    fn attach(&mut self) -> io::Result<()> {
        self.ring.attach();
        self.post.take_up();
        self.post.keep_vigil(self.ring.rouser(&self.post.region));
        Ok(())
    }

    #[inline(always)]
    fn recv_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        let Self { ring, post } = self;
        let received = ring.recv_with(post.watched(), read);
        received.map_err(|stop| post.stopped(stop, Role::Consumer, ring.nonsense()))
    }

    #[inline(always)]
    fn recv_each<E>(
        &mut self,
        n: u64,
        read: impl FnMut(u64, &[u8]) -> std::result::Result<(), E>,
    ) -> io::Result<std::result::Result<(), E>> {
        let Self { ring, post } = self;
        let received = ring.recv_each(n, post.watched(), read);
        received.map_err(|stop| post.stopped(stop, Role::Consumer, ring.nonsense()))
    }

    #[inline(always)]
    fn waiting(&mut self) -> Option<u64> {
        Some(self.ring.ready())
    }
}

/// An anonymous file in memory that can no longer change its length.
#[derive(Debug)]
pub struct Memfd;

impl Backing for Memfd {
    const SPEC: &'static Spec = &Spec {
        name: "shm-ring",
        summary: "ring in a sealed memfd; no system call unless somebody sleeps",
        family: Family::SharedMemory,
        parties: BOTH,
        waits: ALL_WAITS,
        copies: 0,
        max_size: UNLIMITED,
        peer_death: PeerDeath::WATCHED,
        patterns: PATTERNS,
        meeting: Meeting::ShmName,
        sources: &["memfd_create(2)", "mmap(2)", "futex(2)", "crate memmap2"],
    };

    fn region(cfg: &Config, len: usize) -> Result<Region> {
        let file = match cfg.pages.huge {
            true => huge_memfd(cfg, len)?,
            false => map::sealed_memfd(len).context(Phase::Setup, "cannot create a memfd")?,
        };
        let map = if cfg.pages.populate { map::map_populated } else { map::map_file };
        map(&file).context(Phase::Setup, "cannot map a memfd")
    }

    fn create(at: &str, len: usize) -> Result<(Region, Name)> {
        let (_, path) = posix_name(at)?;
        let (file, name) = names::place(&path, |draft| map::create_posix(&posix_draft(draft), len))?;
        Ok((map::map_file(&file).context(Phase::Start, "cannot map shared memory")?, name))
    }

    fn open(at: &str) -> Result<Option<(Region, Seen)>> {
        let (name, path) = posix_name(at)?;
        open_mapped(map::open_posix(&name), path)
    }

    fn reclaim(at: &str) -> Result<()> {
        posix_name(at).map(|(_, path)| names::reclaim(&Thing::file(path)))
    }
}

/// What raises the number of huge pages.
pub const POOL_HINT: &str = "the limit is vm.nr_hugepages (raise it with sysctl -w vm.nr_hugepages=COUNT)";

/// A memfd of at least `len` bytes in huge pages.
fn huge_memfd(cfg: &Config, len: usize) -> Result<File> {
    let none = || Error::unsupported("this kernel has no huge pages").hint("leave out --huge-pages");
    let (page, free) = map::huge_pages().ok_or_else(none)?;
    let needed = len.div_ceil(page);
    cfg.note("huge page bytes", page);
    map::sealed_huge_memfd(needed * page).map_err(|error| {
        Error::unsupported(format!("{needed} huge pages of {page} bytes are needed and {free} are free"))
            .because(error)
            .hint(POOL_HINT)
    })
}

/// A regular file, mapped by both.
#[derive(Debug)]
pub struct MappedFile;

impl Backing for MappedFile {
    const SPEC: &'static Spec = &Spec {
        name: "mmap-file",
        summary: "the ring of shm-ring in a mapped regular file (--dir chooses the file system)",
        family: Family::SharedMemory,
        parties: BOTH,
        waits: ALL_WAITS,
        copies: 0,
        max_size: UNLIMITED,
        peer_death: PeerDeath::WATCHED,
        patterns: PATTERNS,
        meeting: Meeting::Path,
        sources: &["mmap(2)", "fallocate(2)", "futex(2)", "crate memmap2"],
    };

    fn region(cfg: &Config, len: usize) -> Result<Region> {
        let cannot = || format!("cannot create a file in {}", cfg.dir.display());
        // `tempfile` removes the name before it returns, where the file system can; else right away.
        let file = names::nameless_in(&cfg.dir).map_err(|e| no_file(cannot(), &e))?;
        cfg.note("file system", super::file::file_system(&file));
        map::allocate(&file, len).map_err(|e| no_file(cannot(), &e))?;
        map::map_file(&file).context(Phase::Setup, "cannot map a file")
    }

    fn create(at: &str, len: usize) -> Result<(Region, Name)> {
        let (file, name) = names::place(Path::new(at), |draft| {
            let file = create_new(draft)?;
            map::allocate(&file, len).inspect_err(|_| drop(std::fs::remove_file(draft))).map(|()| file)
        })?;
        Ok((map::map_file(&file).context(Phase::Start, "cannot map the file")?, name))
    }

    fn open(at: &str) -> Result<Option<(Region, Seen)>> {
        open_mapped(open_existing(Path::new(at)), at.into())
    }

    fn reclaim(at: &str) -> Result<()> {
        names::reclaim(&Thing::file(at));
        Ok(())
    }
}

/// A named segment made by the `shared_memory` crate.
#[derive(Debug)]
pub struct Segment;

impl Backing for Segment {
    const SPEC: &'static Spec = &Spec {
        name: "posix-shm",
        summary: "the ring of shm-ring in a POSIX segment made by the shared_memory crate",
        family: Family::SharedMemory,
        parties: BOTH,
        waits: ALL_WAITS,
        copies: 0,
        max_size: UNLIMITED,
        peer_death: PeerDeath::WATCHED,
        patterns: PATTERNS,
        meeting: Meeting::ShmName,
        sources: &["shm_overview(7)", "futex(2)", "crate shared_memory (unmaintained since 2022)"],
    };

    fn region(_: &Config, len: usize) -> Result<Region> {
        let free = nix::sys::statvfs::statvfs("/dev/shm").context(Phase::Setup, "cannot look at /dev/shm")?;
        let free = free.blocks_available() * free.fragment_size();
        if (len as u64) > free {
            return Err(Error::unsupported(format!("/dev/shm has {free} bytes free and {len} are needed"))
                .hint("enlarge it (mount -o remount,size=..., docker --shm-size) or choose a smaller --size"));
        }
        let mut segment = shared_memory::ShmemConf::new()
            .size(len)
            .os_id(format!("/{}", names::invent()))
            .create()
            .context(Phase::Setup, "the shared_memory crate cannot create a segment")?;
        // The crate does not allocate what it maps: without this a full /dev/shm is a SIGBUS in the middle of a run.
        let taken = map::open_posix(segment.get_os_id()).and_then(|file| map::allocate(&file, len));
        // The owner's drop would unlink the name in whichever process drops first, so the name goes now.
        segment.set_owner(false);
        map::unlink_posix(segment.get_os_id());
        taken.context(Phase::Setup, format!("/dev/shm has no {len} bytes for a segment"))?;
        map::adopt(segment, len).context(Phase::Setup, "the shared_memory crate mapped too little")
    }

    fn create(at: &str, len: usize) -> Result<(Region, Name)> {
        let (_, path) = posix_name(at)?;
        let create = |draft: &Path| {
            let segment = shared_memory::ShmemConf::new().size(len).os_id(posix_draft(draft)).create();
            let segment = segment.map_err(io::Error::other)?;
            // As for `region`; the crate's handle removes the draft on the way out.
            map::open_posix(segment.get_os_id()).and_then(|file| map::allocate(&file, len)).map(|()| segment)
        };
        let (mut segment, name) = names::place(&path, create)?;
        segment.set_owner(false);
        Ok((map::adopt(segment, len).context(Phase::Start, "the shared_memory crate mapped too little")?, name))
    }

    fn open(at: &str) -> Result<Option<(Region, Seen)>> {
        let (name, path) = posix_name(at)?;
        // The crate opens whatever has the name. Once it is known to be this user's, nobody else can exchange it: the folder
        // lets only owners rename and remove.
        let Some((_, seen)) = opened(map::open_posix(&name), &path)? else { return Ok(None) };
        let Ok(segment) = shared_memory::ShmemConf::new().os_id(name).open() else { return Ok(None) };
        let len = segment.len();
        if len < PAGE {
            return Ok(None);
        }
        Ok(Some((map::adopt(segment, len).context(Phase::Start, "cannot use the segment")?, seen)))
    }

    fn reclaim(at: &str) -> Result<()> {
        Memfd::reclaim(at)
    }
}

/// The heap of one process.
#[derive(Debug)]
pub struct Heap;

impl Backing for Heap {
    const SPEC: &'static Spec = &Spec {
        name: "heap-ring",
        summary: "the ring of shm-ring on the heap, between threads",
        family: Family::Heap,
        parties: &[Parties::Thread],
        waits: ALL_WAITS,
        copies: 0,
        max_size: UNLIMITED,
        peer_death: PeerDeath::THREADS,
        patterns: PATTERNS,
        meeting: Meeting::Never,
        sources: &["malloc(3)", "futex(2) with the private key"],
    };

    fn region(_: &Config, len: usize) -> Result<Region> {
        Ok(Region::heap(len))
    }
}

fn no_file(what: String, error: &io::Error) -> Error {
    Error::failed(Phase::Setup, what)
        .because(error)
        .hint("choose a writable folder with space, with --dir")
        .if_refused(error)
}

/// The POSIX name and the path that `at` means.
pub(crate) fn posix_name(at: &str) -> Result<(String, PathBuf)> {
    let name = at.trim_start_matches("/dev/shm/").trim_start_matches('/');
    if name.is_empty() || name.contains(['/', '\0']) || name.len() > 254 || matches!(name, "." | "..") {
        return Err(Error::usage(format!("{at:?} is no shared memory name")).hint("use a plain name such as ipcost-x"));
    }
    Ok((format!("/{name}"), Path::new("/dev/shm").join(name)))
}

/// The POSIX name of a draft in the folder of such names.
fn posix_draft(draft: &Path) -> String {
    format!("/{}", draft.file_name().unwrap_or_default().to_string_lossy())
}

/// Makes a new file that only its owner can read.
pub(super) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Opens a file that a peer of this user made; never through a symbolic link, and nothing that others can open.
pub(super) fn open_existing(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).map_err(trust::say)?;
    trust::own(&file, Kind::File)?;
    Ok(file)
}

/// What was opened, if it is this user's alone, and what it is; nothing there yet is `None`.
fn opened(file: io::Result<File>, path: &Path) -> Result<Option<(File, Seen)>> {
    let cannot = |error: io::Error| {
        let passing = trust::is_being_named(&error);
        let what = format!("cannot open {}", path.display());
        Error::failed(Phase::Start, what).because(error).hint("check its owner").passing_if(passing)
    };
    let file = match file.map_err(trust::say) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(error)),
    };
    trust::own(&file, Kind::File).map_err(cannot)?;
    let identity = Identity::of(&file.metadata().map_err(cannot)?);
    Ok(Some((file, Seen { thing: Thing::file(path), identity })))
}

/// Maps what was opened; nothing there yet, or too short to be laid out, is `None`.
fn open_mapped(file: io::Result<File>, path: PathBuf) -> Result<Option<(Region, Seen)>> {
    let Some((file, seen)) = opened(file, &path)? else { return Ok(None) };
    let region = map::map_file(&file).context(Phase::Start, format!("cannot map {}", path.display()))?;
    // The length of the mapping, not of the file, which may have another one a moment later.
    Ok((region.len() >= PAGE).then_some((region, seen)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_just_being_named_is_waited_for_and_refused_when_patience_ends() {
        let dir = tempfile::tempdir().unwrap();
        let (path, draft) = (dir.path().join("name"), dir.path().join("draft"));
        // As on a file system that cannot rename without replacing.
        create_new(&draft).unwrap().set_len(PAGE as u64).unwrap();
        std::fs::hard_link(&draft, &path).unwrap();
        let open = || OpenOptions::new().read(true).write(true).open(&path);
        let mut looks = 0;
        let look = || {
            looks += 1;
            if looks == 3 {
                std::fs::remove_file(&draft).unwrap();
            }
            opened(open(), &path)
        };
        assert!(await_peer(Duration::from_secs(60), "peer", "name", look).unwrap().is_some());
        assert_eq!(looks, 3);
        std::fs::hard_link(&path, &draft).unwrap();
        let refused = await_peer(Duration::from_millis(50), "peer", "name", || opened(open(), &path)).unwrap_err();
        assert!(refused.to_string().contains("it has 2 names"), "{refused}");
    }
}
