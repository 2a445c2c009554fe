//! The textbook's bounded buffer between processes: under two semaphores, or under a robust mutex with condition variables.
//!
//! Key decision: as many slots as the ring has, in the same sealed memfd, and messages built and read in place, so that
//! the difference to `shm-ring` is the C library's synchronisation and nothing else. See [`crate::shm::bounded`] for what
//! is under the lock and why. Rejected: named semaphores, which would be found and left behind by name. Source:
//! sem_overview(7), pthread_mutexattr_setrobust(3), pthread_cond_init(3).

use super::ring::{Backing, Memfd, Post, find_as, host_as, join, ring_shape, shape};
use super::scribble::{Damaged, Scene, erased};
use super::{
    ALL_WAITS, BOTH, Config, Family, Meeting, Met, PATTERNS, PeerDeath, Receiver, Role, Sender, Sign, Spec, Transport,
    UNLIMITED, memory_for,
};
use crate::error::{Error, Result};
use crate::names::Name;
use crate::plan::WaitKind;
use crate::shm::bounded::{BoundedRx, BoundedTx, ByMutex, BySemaphores, Turns, ends};
use crate::shm::region::{Region, RingShape};
use crate::shm::scribble::Header;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;

/// What guards a buffer.
pub trait Guard: Turns {
    /// What the mechanism with this guard is.
    const SPEC: &'static Spec;
    /// Tag of its memory: what another guard laid out must never be locked as if it were this one's.
    const MAGIC: u32;
    /// The words that both sides share, but for the C library's objects.
    fn header(region: &Arc<Region>) -> Header;
}

impl Guard for BySemaphores {
    const MAGIC: u32 = 0x6970_6392;
    const SPEC: &'static Spec = &Spec {
        name: "shm-sem",
        summary: "bounded buffer in a sealed memfd, two POSIX semaphores; messages are built and read in place",
        family: Family::SharedMemory,
        parties: BOTH,
        waits: ALL_WAITS,
        copies: 0,
        max_size: UNLIMITED,
        peer_death: PeerDeath::WATCHED,
        patterns: PATTERNS,
        meeting: Meeting::ShmName,
        sources: &["sem_overview(7)", "sem_init(3)", "sem_wait(3)", "sem_post(3)", "memfd_create(2)"],
    };

    fn header(region: &Arc<Region>) -> Header {
        Header::semaphores(region)
    }
}

impl Guard for ByMutex {
    const MAGIC: u32 = 0x6970_6396;
    const SPEC: &'static Spec = &Spec {
        name: "shm-mutex",
        summary: "bounded buffer in a sealed memfd, robust mutex and condition variables; the lock covers the counts only",
        family: Family::SharedMemory,
        parties: BOTH,
        waits: &[WaitKind::Block],
        copies: 0,
        max_size: UNLIMITED,
        peer_death: PeerDeath {
            text: "end-of-file or EPIPE; a killed peer is noticed within 10 ms of waiting for it; ECONNRESET (EOWNERDEAD) \
                   when it was killed inside the lock",
            lock: &[Sign::OwnerDead],
            ..PeerDeath::WATCHED
        },
        patterns: PATTERNS,
        meeting: Meeting::ShmName,
        sources: &[
            "pthread_mutexattr_setrobust(3)",
            "pthread_mutexattr_setpshared(3)",
            "pthread_mutex_consistent(3)",
            "pthread_cond_init(3)",
            "memfd_create(2)",
        ],
    };

    fn header(region: &Arc<Region>) -> Header {
        Header::mutex(region)
    }
}

/// A bounded buffer under some guard. See the [module](self).
#[derive(Debug)]
pub struct Bounded<G>(PhantomData<G>);

/// `shm-sem`.
pub type ShmSem = Bounded<BySemaphores>;
/// `shm-mutex`.
pub type ShmMutex = Bounded<ByMutex>;

/// The sending end.
#[derive(Debug)]
pub struct Tx<T: Turns> {
    buffer: BoundedTx<T>,
    post: Post,
    size: usize,
    _name: Option<Name>,
}

/// The receiving end.
#[derive(Debug)]
pub struct Rx<T: Turns> {
    buffer: BoundedRx<T>,
    post: Post,
}

impl<G: Guard> Damaged for Bounded<G> {
    fn scene(cfg: &Config) -> Result<Scene> {
        let (tx, rx) = Self::one_way(cfg)?;
        let header = G::header(&tx.post.region);
        Ok(Scene::over(erased(tx, rx), header))
    }
}

impl<G: Guard> Transport for Bounded<G> {
    const SPEC: &'static Spec = G::SPEC;
    type Tx = Tx<G>;
    type Rx = Rx<G>;

    fn one_way(cfg: &Config) -> Result<(Self::Tx, Self::Rx)> {
        let shape = shape(cfg);
        let region = Arc::new(Memfd::region(cfg, shape.region_len())?);
        lay::<G>(&region, shape)?;
        let (buffer, theirs) = ends(&region, shape, cfg.wait);
        let tx = Tx { buffer, post: Post::new(&region, 0), size: cfg.size, _name: None };
        Ok((tx, Rx { buffer: theirs, post: Post::new(&region, 1) }))
    }

    fn meet(cfg: &Config, at: &str, role: Role) -> Result<Met<Self>> {
        match role {
            Role::Producer => {
                let shape = RingShape::new(cfg.size, memory_for(cfg.size));
                let (post, name) =
                    host_as::<Memfd>(cfg, at, G::MAGIC, shape.region_len(), shape, |region| lay::<G>(region, shape))?;
                let (buffer, _) = ends::<G>(&post.region, shape, cfg.wait);
                Ok(Met::Tx(Tx { buffer, post, size: shape.size, _name: Some(name) }))
            }
            Role::Consumer => {
                let (region, thing) = find_as::<Memfd>(cfg, at, G::MAGIC)?;
                let shape = ring_shape(&region, at)?;
                let (_, buffer) = ends::<G>(&region, shape, cfg.wait);
                let post = join(&region, &thing)?;
                Ok(Met::Rx(Rx { buffer, post }, shape.size))
            }
        }
    }
}

fn lay<G: Guard>(region: &Arc<Region>, shape: RingShape) -> Result<()> {
    G::lay(region, shape.slots).map_err(|error| {
        Error::unsupported(format!("{} needs what this C library or kernel lacks", G::SPEC.name)).because(error)
    })
}

impl<T: Turns> Sender for Tx<T> {
    fn size(&self) -> usize {
        self.size
    }

    fn attach(&mut self) -> io::Result<()> {
        self.buffer.attach();
        self.post.take_up();
        Ok(())
    }

    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        let sent = self.buffer.send_with(fill);
        sent.map_err(|stop| self.post.stopped(stop, Role::Producer, self.buffer.nonsense()))
    }

    fn room(&mut self) -> Option<u64> {
        self.buffer.ready()
    }

    fn holding(&mut self, then: &mut dyn FnMut()) -> bool {
        self.buffer.holding(then)
    }
}

impl<T: Turns> Receiver for Rx<T> {
    fn attach(&mut self) -> io::Result<()> {
        self.buffer.attach();
        self.post.take_up();
        Ok(())
    }

    #[inline(always)]
    fn recv_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        let received = self.buffer.recv_with(read);
        received.map_err(|stop| self.post.stopped(stop, Role::Consumer, self.buffer.nonsense()))
    }

    fn waiting(&mut self) -> Option<u64> {
        self.buffer.ready()
    }

    fn holding(&mut self, then: &mut dyn FnMut()) -> bool {
        self.buffer.holding(then)
    }
}
