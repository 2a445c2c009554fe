//! The ring of `shm-ring` whose sides sleep on and wake each other through an eventfd instead of a futex.
//!
//! Key decision: the same ring and the same wait protocol ([`crate::shm::wait`]); only the place to sleep differs, so that
//! the difference to `shm-ring` is the wake-up and nothing else. The eventfd is touched only when the other side said
//! that it sleeps. Waits that never sleep would never touch it: they would be rows of `shm-ring` under another name, and
//! are left out. Rejected: a write per message, as the textbook shows it, which is the cost of a pipe without its
//! payload; a poll(2) with a limit before each sleep, which is a second call: the watcher of the peer
//! ([`crate::shm::vigil`]) writes to the eventfd where somebody has to look again. Source: eventfd(2).

use super::ring::{Backing, Memfd, Rx, Tx, ends, shape};
use super::scribble::{Damaged, Scene, erased};
use super::{BOTH, Config, Family, Meeting, PATTERNS, PeerDeath, Spec, Transport, UNLIMITED};
use crate::error::{Context, Phase, Result};
use crate::plan::WaitKind;
use crate::shm::ring::Manner;
use crate::shm::scribble::Header;
use crate::sys::event::Events;

/// See the [module](self).
#[derive(Debug)]
pub struct EventFd;

impl Damaged for EventFd {
    fn scene(cfg: &Config) -> Result<Scene> {
        let (tx, rx) = Self::one_way(cfg)?;
        let header = Header::ring(tx.region());
        Ok(Scene::over(erased(tx, rx), header))
    }
}

/// Both ends of a ring whose sides sleep in these.
fn over(cfg: &Config, events: [Events; 2]) -> Result<(Tx<Events>, Rx<Events>)> {
    let shape = shape(cfg);
    let region = Memfd::region(cfg, shape.region_len())?;
    Ok(ends(region, shape, cfg.size, events.map(|berth| Manner { wait: cfg.wait, berth })))
}

impl Transport for EventFd {
    const SPEC: &'static Spec = &Spec {
        name: "eventfd",
        summary: "the ring of shm-ring; a side that sleeps does so in an eventfd (spin and yield would never touch it)",
        family: Family::SharedMemory,
        parties: BOTH,
        waits: &[WaitKind::Block, WaitKind::Hybrid],
        copies: 0,
        max_size: UNLIMITED,
        peer_death: PeerDeath::WATCHED,
        // The descriptors would have to be passed over a socket, which is another mechanism.
        patterns: PATTERNS,
        meeting: Meeting::Never,
        sources: &["eventfd(2)", "memfd_create(2)", "mmap(2)"],
    };
    type Tx = Tx<Events>;
    type Rx = Rx<Events>;

    fn one_way(cfg: &Config) -> Result<(Self::Tx, Self::Rx)> {
        over(cfg, Events::pair().context(Phase::Setup, "cannot create an eventfd")?)
    }
}
