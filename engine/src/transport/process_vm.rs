//! One copy, from the sender's own memory straight into the receiver's: process_vm_readv(2).
//!
//! Key decision: the sender keeps its messages in private memory and announces each by address and length in the ring of
//! `shm-ring`, whose slots are 16 bytes here; the receiver fetches the message and only then releases the announcement, so
//! the ring's protocol is also what says when a place may be written again. The payload is never in shared memory: what
//! this row costs above `shm-ring` is the system call with its copy. Rejected: process_vm_writev(2), which makes
//! the sender wait for a place of the receiver's (a round trip for each message, or the same ring the other way round);
//! iovecs that gather many messages into one call, which is batching and belongs to a batching row.
//! A sender that lets go waits, for at most two seconds, until its messages were fetched: they end with its memory.
//! Source: process_vm_readv(2), ptrace(2) on access modes, prctl(2) PR_SET_PTRACER, Yama in the kernel's documentation.

use super::ring::{Memfd, Post, announced, find_as, fits, host_as, join, manner};
use super::scribble::{Damaged, Scene, erased};
use super::{
    ALL_WAITS, BOTH, Config, Family, Meeting, Met, PATTERNS, PeerDeath, Receiver, Role, Sender, Sign, Spec, Transport,
    UNLIMITED, buffer_for,
};
use crate::error::{Context, Error, Phase, Result};
use crate::names::Name;
use crate::plan::{Plan, Wait};
use crate::shm::nonsense::Nonsense;
use crate::shm::region::{Places, Region, RingRx, RingShape, RingTx};
use crate::shm::scribble::Header;
use crate::sys::{map, process};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// See the [module](self).
#[derive(Debug)]
pub struct ProcessVm;

/// "ipc" and the version of this layout.
const MAGIC: u32 = 0x6970_6391;
/// Address and length of a message, in words of eight bytes.
const NOTICE: usize = 16;
/// How long a sender that lets go waits for its last messages to be fetched.
const LINGER: Duration = Duration::from_secs(2);

/// The sender's places for messages of `size` bytes, and the ring that announces them.
fn shapes(size: usize) -> (RingShape, RingShape) {
    let places = RingShape::new(size, buffer_for(size));
    (places, RingShape::new(NOTICE, NOTICE * places.slots))
}

/// The sending end.
#[derive(Debug)]
pub struct Tx {
    notices: RingTx,
    places: Places,
    count: u64,
    size: usize,
    post: Post,
    /// Whether the messages end with this process, so that dropping the end has to wait for them.
    lingers: bool,
    memory: Arc<Region>,
    /// Who may read it, with its descendants: whoever made the ends, of whom all parties descend, or the peer that was met.
    reader: u32,
    _name: Option<Name>,
}

/// The receiving end.
#[derive(Debug)]
pub struct Rx {
    notices: RingRx,
    message: Box<[u8]>,
    post: Post,
    /// Between threads, what keeps messages readable after their sender has left.
    _memory: Option<Arc<Region>>,
}

fn sender(region: &Arc<Region>, memory: &Arc<Region>, size: usize, wait: Wait, processes: bool) -> Tx {
    let (places, notices) = shapes(size);
    Tx {
        notices: RingTx::new(region, notices, manner(wait, processes)),
        places: Places::new(memory, places),
        count: 0,
        size,
        post: Post::new(region, 0),
        lingers: processes,
        memory: Arc::clone(memory),
        reader: std::process::id(),
        _name: None,
    }
}

fn receiver(region: &Arc<Region>, memory: Option<Arc<Region>>, size: usize, wait: Wait, processes: bool) -> Rx {
    Rx {
        notices: RingRx::new(region, shapes(size).1, manner(wait, processes)),
        message: vec![0; size].into_boxed_slice(),
        post: Post::new(region, 1),
        _memory: memory,
    }
}

/// Refuses where the call cannot work: hidden by a sandbox, or kept by Yama from all but administrators.
fn permitted(processes: bool) -> Result<()> {
    let witness = [0x5A_u8; 8];
    let mut seen = [0; 8];
    let tried = process::read_memory(std::process::id(), witness.as_ptr().expose_provenance(), &mut seen);
    if let Err(error) = tried {
        return Err(Error::unsupported("process_vm_readv(2) is refused even for the process's own memory")
            .because(error)
            .hint("a sandbox forbids it: allow the call in the seccomp profile (docker: --cap-add SYS_PTRACE)"));
    }
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    match scope.trim().parse() {
        Ok(3) => Err(Error::unsupported("kernel.yama.ptrace_scope is 3: no process may read another's memory")
            .hint("boot again with a lower scope; 3 stays until then")),
        Ok(2) if processes && !process::may_trace() => {
            Err(Error::unsupported("kernel.yama.ptrace_scope is 2: only administrators may read another's memory")
                .hint("sysctl kernel.yama.ptrace_scope=1, or grant CAP_SYS_PTRACE"))
        }
        _ => Ok(()),
    }
}

impl Damaged for ProcessVm {
    fn scene(cfg: &Config) -> Result<Scene> {
        let (tx, rx) = Self::one_way(cfg)?;
        let header = Header::ring(&tx.post.region);
        Ok(Scene::over(erased(tx, rx), header))
    }
}

impl Transport for ProcessVm {
    const SPEC: &'static Spec = &Spec {
        name: "process-vm",
        summary: "the receiver copies each message out of the sender's memory; announced in a ring of 16-byte slots",
        family: Family::Kernel,
        parties: BOTH,
        waits: ALL_WAITS,
        copies: 1,
        max_size: UNLIMITED,
        peer_death: PeerDeath {
            text: "as shm-ring, but what a killed sender had not handed over is lost; the receiver is told so",
            consumer: &[Sign::EndOfFile, Sign::Cut],
            delivers: false,
            ..PeerDeath::WATCHED
        },
        patterns: PATTERNS,
        meeting: Meeting::ShmName,
        sources: &["process_vm_readv(2)", "ptrace(2)", "PR_SET_PTRACER in prctl(2)", "futex(2)"],
    };
    type Tx = Tx;
    type Rx = Rx;

    fn one_way(cfg: &Config) -> Result<(Tx, Rx)> {
        permitted(cfg.processes)?;
        let (places, notices) = shapes(cfg.size);
        cfg.note(super::SLOTS_NOTE, places.slots);
        cfg.holds(places.region_len() + notices.region_len());
        let file = map::sealed_memfd(notices.region_len()).context(Phase::Setup, "cannot create a memfd")?;
        let region = Arc::new(map::map_file(&file).context(Phase::Setup, "cannot map a memfd")?);
        let memory = Arc::new(Region::heap(places.region_len()));
        let tx = sender(&region, &memory, cfg.size, cfg.wait, cfg.processes);
        let keep = (!cfg.processes).then_some(memory);
        Ok((tx, receiver(&region, keep, cfg.size, cfg.wait, cfg.processes)))
    }

    /// Besides making a link, lets a forked child fetch a message, where the process may fork: what a security module
    /// forbids shows only between processes.
    fn usable() -> Result<()> {
        let cfg = Config { processes: true, ..Config::new(&Plan::default()) };
        let (mut tx, mut rx) = Self::one_way(&cfg)?;
        if !process::single_threaded() {
            return Ok(());
        }
        let fetch = || u8::from(rx.attach().and_then(|()| rx.recv_with(<[u8]>::len)).is_err());
        let mut child = process::fork_child(fetch).context(Phase::Setup, "cannot fork for a trial")?;
        let sent = tx.attach().and_then(|()| tx.send_with(|message| message.fill(1)));
        sent.context(Phase::Setup, "cannot announce a message")?;
        child.wait_briefly().map_err(|how| {
            Error::unsupported(format!("a forked child could not read its parent's memory: it {how}"))
                .hint("a security module or a sandbox forbids process_vm_readv(2) between processes")
        })
    }

    fn meet(cfg: &Config, at: &str, role: Role) -> Result<Met<Self>> {
        permitted(true)?;
        match role {
            Role::Producer => {
                let (places, notices) = shapes(cfg.size);
                let (post, name) = host_as::<Memfd>(cfg, at, MAGIC, notices.region_len(), places, |_| Ok(()))?;
                let memory = Arc::new(Region::heap(places.region_len()));
                let mut tx = sender(&post.region, &memory, cfg.size, cfg.wait, true);
                (tx.reader, tx.post, tx._name) = (post.peer(), post, Some(name));
                Ok(Met::Tx(tx))
            }
            Role::Consumer => {
                let (region, thing) = find_as::<Memfd>(cfg, at, MAGIC)?;
                let (size, slots) = announced(&region, at)?;
                let (places, notices) = shapes(size);
                fits(&region, slots, places, notices.region_len(), at)?;
                let rx = receiver(&region, None, size, cfg.wait, true);
                Ok(Met::Rx(Rx { post: join(&region, &thing)?, ..rx }, size))
            }
        }
    }
}

impl Sender for Tx {
    fn size(&self) -> usize {
        self.size
    }

    fn attach(&mut self) -> io::Result<()> {
        self.notices.attach();
        self.post.take_up();
        self.post.keep_vigil(self.notices.rouser(&self.post.region));
        // After a fork the pages are still the other process's too: now they become ours alone.
        self.memory.prefault();
        process::let_read(self.reader);
        Ok(())
    }

    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        let Self { notices, places, count, post, .. } = self;
        let announce = |notice: &mut [u8]| {
            // The ring has as many slots as there are places, so a free slot means that its place was fetched.
            let place = places.at(*count);
            fill(place);
            let (address, len) = notice.split_at_mut(NOTICE / 2);
            address.copy_from_slice(&(place.as_ptr().expose_provenance() as u64).to_ne_bytes());
            len.copy_from_slice(&(place.len() as u64).to_ne_bytes());
        };
        let sent = notices.send_with(post.watched(), announce);
        sent.map_err(|stop| post.stopped(stop, Role::Producer, notices.nonsense()))?;
        self.count += 1;
        Ok(())
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        if self.lingers && self.count > 0 {
            let until = Instant::now() + LINGER;
            let _ = self.notices.drain(|| self.post.peer_gone() || Instant::now() >= until);
        }
    }
}

impl Receiver for Rx {
    fn attach(&mut self) -> io::Result<()> {
        self.notices.attach();
        self.post.take_up();
        self.post.keep_vigil(self.notices.rouser(&self.post.region));
        Ok(())
    }

    #[inline(always)]
    fn recv_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        let Self { notices, message, post, .. } = self;
        let fetch = |notice: &[u8]| {
            let word = |at: usize| u64::from_ne_bytes(notice[at..at + 8].try_into().expect("eight bytes")) as usize;
            let (at, len) = (word(0), word(8));
            if let Some(nonsense) = Nonsense::unless("the announced length", len as u64, message.len() as u64) {
                return Err(nonsense.into());
            }
            match process::read_memory(post.peer(), at, message) {
                Ok(came) if came == message.len() => Ok(()),
                other => Err(unfetched(other)),
            }
        };
        let fetched = notices.recv_with(post.watched(), fetch);
        fetched.map_err(|stop| post.stopped(stop, Role::Consumer, notices.nonsense()))??;
        Ok(read(message))
    }
}

/// Why a message that was announced could not be fetched.
#[cold]
fn unfetched(tried: io::Result<usize>) -> io::Error {
    match tried {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => io::Error::new(
            ErrorKind::PermissionDenied,
            "the kernel does not let this process read the sender's memory (process_vm_readv): another user, or a \
             security module",
        ),
        Err(error) if !matches!(error.raw_os_error(), Some(libc::ESRCH | libc::EFAULT)) => error,
        _ => io::Error::new(
            ErrorKind::ConnectionAborted,
            "the sender left after it announced a message, and took the message along",
        ),
    }
}
