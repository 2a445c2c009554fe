//! A mailbox for one message per direction; up to 64 bytes, the message and what announces it are one cache line.
//!
//! Key decision: the lowest latency rather than the highest rate. Messages of one line travel in a slot that both sides
//! write in turn, so that a reply overwrites the request in the line that was just read; longer ones in a lane per
//! direction. See [`crate::shm::slot`] for the protocol and the measurement behind that boundary.

use super::ring::{Post, manner};
use super::scribble::{Damaged, Scene, erased};
use super::{
    ALL_WAITS, BOTH, Config, Family, Meeting, PATTERNS, PeerDeath, Receiver, Role, Sender, Side, SideOf, Spec,
    Transport, UNLIMITED,
};
use crate::error::{Context, Phase, Result};
use crate::shm::region::{LaneShape, MailRx, MailTx, Mailbox};
use crate::shm::scribble::Header;
use crate::sys::map;
use std::io;
use std::sync::Arc;

/// See the [module](self).
#[derive(Debug)]
pub struct ShmSlot;

/// The sending half of one side.
#[derive(Debug)]
pub struct Tx {
    mail: MailTx,
    post: Post,
    size: usize,
}

/// The receiving half of one side.
#[derive(Debug)]
pub struct Rx {
    mail: MailRx,
    post: Post,
}

impl Damaged for ShmSlot {
    fn scene(cfg: &Config) -> Result<Scene> {
        let (tx, rx) = Self::one_way(cfg)?;
        let header = Header::slot(&tx.post.region, LaneShape { size: cfg.size });
        Ok(Scene::over(erased(tx, rx), header))
    }
}

impl Transport for ShmSlot {
    const SPEC: &'static Spec = &Spec {
        name: "shm-slot",
        summary: "one-message mailbox in a sealed memfd; up to 64 bytes in one cache line, which both sides write in turn",
        family: Family::SharedMemory,
        parties: BOTH,
        waits: ALL_WAITS,
        copies: 0,
        max_size: UNLIMITED,
        peer_death: PeerDeath::WATCHED,
        patterns: PATTERNS,
        meeting: Meeting::Never,
        sources: &["memfd_create(2)", "mmap(2)", "futex(2)", "crate memmap2"],
    };
    type Tx = Tx;
    type Rx = Rx;

    fn one_way(cfg: &Config) -> Result<(Tx, Rx)> {
        let [near, far] = Self::link(cfg)?;
        Ok((near.tx, far.rx))
    }

    fn link(cfg: &Config) -> Result<[SideOf<Self>; 2]> {
        let shape = LaneShape { size: cfg.size };
        cfg.holds(shape.region_len());
        let file = map::sealed_memfd(shape.region_len()).context(Phase::Setup, "cannot create a memfd")?;
        let region = Arc::new(map::map_file(&file).context(Phase::Setup, "cannot map a memfd")?);
        Ok([0, 1].map(|index| {
            let (tx, rx) = Mailbox::open(&region, shape, index, manner(cfg.wait, cfg.processes));
            let tx = Tx { mail: tx, post: Post::new(&region, index), size: cfg.size };
            Side { tx, rx: Rx { mail: rx, post: Post::new(&region, index) } }
        }))
    }
}

impl Sender for Tx {
    fn size(&self) -> usize {
        self.size
    }

    fn attach(&mut self) -> io::Result<()> {
        self.mail.attach();
        self.post.take_up();
        self.post.keep_vigil(self.mail.rouser(&self.post.region));
        Ok(())
    }

    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        let Self { mail, post, .. } = self;
        let sent = mail.send_with(post.watched(), fill);
        sent.map_err(|stop| post.stopped(stop, Role::Producer, mail.nonsense()))
    }
}

impl Receiver for Rx {
    fn attach(&mut self) -> io::Result<()> {
        self.mail.attach();
        self.post.take_up();
        self.post.keep_vigil(self.mail.rouser(&self.post.region));
        Ok(())
    }

    #[inline(always)]
    fn recv_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        let Self { mail, post } = self;
        let received = mail.recv_with(post.watched(), read);
        received.map_err(|stop| post.stopped(stop, Role::Consumer, mail.nonsense()))
    }
}
