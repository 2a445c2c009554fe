//! One ring over five kinds of memory: a sealed memfd, a mapped file, a named POSIX segment, a System V segment, the heap.
//!
//! Key decision: the ring code is *the same* and only the [`Backing`] differs, so that a difference between two of these
//! rows can only come from the memory itself: its page table, its file system, its names. This is the experiment behind
//! "threads communicate cheaply because they share the heap". Rejected: a ring per mechanism, which drift apart.

mod backing;
mod meeting;
mod post;

pub use backing::posix_name;
pub use backing::{Backing, Heap, MappedFile, Memfd, POOL_HINT, Segment};
pub(super) use backing::{create_new, open_existing};
pub(super) use meeting::{
    announced, await_peer, find, find_as, fits, foreign, host, host_as, join, join_all, nobody, ring_shape,
};
pub(super) use post::{Post, stopped};

use super::scribble::{Damaged, Scene, erased};
use super::{Bound, Config, Met, Receiver, Role, Sender, Spec, Transport, memory_for};
use crate::error::Result;
use crate::names::Name;
use crate::plan::Wait;
use crate::shm::futex::Scope;
use crate::shm::region::{Region, RingRx, RingShape, RingTx};
use crate::shm::ring::Manner;
use crate::shm::scribble::Header;
use crate::shm::wait::Berth;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;

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

/// The ring for a run, noted down.
pub(super) fn shape(cfg: &Config) -> RingShape {
    let shape = RingShape::new(cfg.size, cfg.memory());
    cfg.note(super::SLOTS_NOTE, shape.slots);
    cfg.holds(shape.region_len());
    shape
}

/// Both ends of a ring in `region` whose messages announce some of `size` bytes, or are those themselves; the producer's and
/// the consumer's way of waiting given.
pub(super) fn ends<B: Berth>(region: Region, shape: RingShape, size: usize, manners: [Manner<B>; 2]) -> (Tx<B>, Rx<B>) {
    let region = Arc::new(region);
    let [producer, consumer] = manners;
    let tx = RingTx::new(&region, shape, producer).paced(size);
    let rx = RingRx::new(&region, shape, consumer).paced(size);
    let tx = Tx { ring: tx, post: Post::new(&region, 0), size: shape.size, _name: None };
    (tx, Rx { ring: rx, post: Post::new(&region, 1) })
}

impl<B: Backing> Damaged for Ring<B> {
    fn scene(cfg: &Config) -> Result<Scene> {
        let (tx, rx) = Self::one_way(cfg)?;
        let header = Header::ring(&tx.post.region);
        Ok(Scene::over(erased(tx, rx), header))
    }
}

impl<B: Backing> Ring<B> {
    /// As [`one_way`](Transport::one_way), where what announces messages of `size` bytes comes through the ring.
    pub(super) fn one_way_for(cfg: &Config, size: usize) -> Result<(Tx, Rx)> {
        let shape = shape(cfg);
        let (tx, rx) = ends(B::region(cfg, shape.region_len())?, shape, size, [manner(cfg.wait, cfg.processes); 2]);
        let ring = if cfg.turns == Some(1) { tx.ring.in_turns() } else { tx.ring };
        Ok((Tx { ring, ..tx }, rx))
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
        Self::one_way_for(cfg, cfg.size)
    }

    fn meet(cfg: &Config, at: &str, role: Role) -> Result<Met<Self>> {
        match role {
            Role::Producer => {
                let shape = RingShape::new(cfg.size, memory_for(cfg.size));
                let (post, name) = host::<B>(cfg, at, shape, |_| Ok(()))?;
                let ring = RingTx::new(&post.region, shape, manner(cfg.wait, true)).paced(shape.size);
                Ok(Met::Tx(Tx { ring, post, size: shape.size, _name: Some(name) }))
            }
            Role::Consumer => {
                let (region, thing) = find::<B>(cfg, at)?;
                let shape = ring_shape(&region, at)?;
                let ring = RingRx::new(&region, shape, manner(cfg.wait, true)).paced(shape.size);
                Ok(Met::Rx(Rx { ring, post: join(&region, &thing)? }, shape.size))
            }
        }
    }
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
