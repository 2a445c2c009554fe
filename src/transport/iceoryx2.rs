//! Publish and subscribe through `iceoryx2`: payloads stay in shared memory, offsets travel, services are found by
//! name.
//!
//! Key decision: a publisher that has exactly as many samples as the subscriber's queue has places. The queue can then
//! never be full, so the crate never discards a message and never waits in its own way (which spins, yields and sleeps
//! by turns, whatever was asked for): a producer that has no sample left waits here, as the plan says. Sleeping goes
//! through the crate's events: one for every message, and one back for every quarter of the queue that was freed.
//! Rejected: `loan_slice`, which zeroes the memory first; `BackpressureStrategy::RetryUntilDelivered`, see above; the
//! service of one thread (`ipc`), whose ports cannot be made in one thread and used in another.
//!
//! Ports belong to a process, so between processes each party makes its own in `attach`, under a name that the
//! constructor chose; between threads the constructor makes both. The crate leaves its folder and a file in /dev/shm
//! for the next program; here every pair has both for itself, and who leaves last removes them. Source: iceoryx2 0.9.

use super::buffers::{depth, record};
use super::{
    ALL_WAITS, BOTH, Config, Family, Meeting, Met, PATTERNS, PeerDeath, Receiver, Role, Sender, Spec, Transport,
    UNLIMITED,
};
use crate::error::{Context, Error, Phase, Result};
use crate::plan::Wait;
use crate::shm::wait::NAP;
use crate::sys::{process, sample::writable};
use ::iceoryx2::node::Node;
use ::iceoryx2::port::LoanError;
use ::iceoryx2::port::listener::Listener;
use ::iceoryx2::port::notifier::Notifier;
use ::iceoryx2::port::publisher::Publisher;
use ::iceoryx2::port::subscriber::Subscriber;
use ::iceoryx2::prelude::ipc_threadsafe::Service;
use ::iceoryx2::prelude::{
    CallbackProgression, FileName, LogLevel, NodeBuilder, PortFactory as _, SignalHandlingMode, set_log_level,
};
use ::iceoryx2::prelude::{Path, SemanticString, ServiceName};
use ::iceoryx2::service::port_factory::publish_subscribe::PortFactory;
use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Where shared memory objects have their names.
const SHM: &str = "/dev/shm";

/// See the [module](self).
#[derive(Debug)]
pub struct Iceoryx2;

/// What both parties have to agree on.
#[derive(Debug, Clone)]
struct Terms {
    world: World,
    size: usize,
    depth: usize,
    wait: Wait,
    patience: Duration,
    /// Whether each party makes its own port.
    apart: bool,
}

/// Looks between two checks whether the peer still lives, while looking.
const LOOKS_PER_CHECK: u32 = 1 << 14;

fn failed<T, E: Debug>(what: &str, result: std::result::Result<T, E>) -> io::Result<T> {
    result.map_err(|error| io::Error::other(format!("iceoryx2 cannot {what}: {error:?}")))
}

impl Terms {
    fn of(cfg: &Config) -> Self {
        let Config { size, wait, patience, processes: apart, .. } = *cfg;
        Self { world: World::new(), size, depth: depth(size), wait, patience, apart }
    }

    fn enter(&self) -> io::Result<Presence> {
        // What goes wrong is returned, and a queue that is empty or full is no news.
        set_log_level(LogLevel::Fatal);
        let node = NodeBuilder::new().config(&self.world.config()?).signal_handling_mode(SignalHandlingMode::Disabled);
        let node = failed("create a node", node.create::<Service>())?;
        let service = node
            .service_builder(&service_name("messages")?)
            .publish_subscribe::<[u8]>()
            .enable_safe_overflow(false)
            .history_size(0)
            .subscriber_max_buffer_size(self.depth)
            .subscriber_max_borrowed_samples(1)
            .max_publishers(1)
            .max_subscribers(1)
            .open_or_create();
        let service = failed("open a service", service)?;
        Ok(Presence { service, node, met: !self.apart, world: self.world.clone() })
    }

    /// The two ends of an event, where somebody may sleep.
    fn events(
        &self,
        node: &Node<Service>,
        ring: &str,
        hear: &str,
    ) -> io::Result<Option<(Notifier<Service>, Listener<Service>)>> {
        if !self.wait.sleeps() {
            return Ok(None);
        }
        let event = |of| {
            let event = node.service_builder(&service_name(of)?).event().open_or_create();
            failed("open an event", event)
        };
        let notifier = failed("create a notifier", event(ring)?.notifier_builder().create())?;
        Ok(Some((notifier, failed("create a listener", event(hear)?.listener_builder().create())?)))
    }

    fn publish(&self) -> io::Result<Publishing> {
        let presence = self.enter()?;
        let depth = self.depth;
        let publisher = presence
            .service
            .publisher_builder()
            .initial_max_slice_len(self.size)
            .max_loaned_samples(1)
            .override_sample_preallocation(move |_| depth)
            .create();
        let publisher = Some(failed("create a publisher", publisher)?);
        Ok(Publishing { publisher, bells: self.events(&presence.node, FILLED, FREED)?, presence })
    }

    fn subscribe(&self) -> io::Result<Subscribing> {
        let presence = self.enter()?;
        let subscriber = presence.service.subscriber_builder().buffer_size(self.depth).create();
        let subscriber = Some(failed("create a subscriber", subscriber)?);
        Ok(Subscribing { subscriber, bells: self.events(&presence.node, FREED, FILLED)?, freed: 0, presence })
    }
}

const FILLED: &str = "filled";
const FREED: &str = "freed";

fn service_name(name: &str) -> io::Result<ServiceName> {
    failed("use a name", ServiceName::new(name))
}

/// Where the crate keeps what it knows, for one pair of ends alone. Its paths have to fit a socket's address, which is
/// why they do not follow `--dir`.
#[derive(Debug, Clone)]
struct World {
    root: PathBuf,
    prefix: String,
}

impl World {
    fn new() -> Self {
        let name = crate::names::invent();
        Self { root: format!("/tmp/{name}").into(), prefix: format!("{name}_") }
    }

    fn config(&self) -> io::Result<::iceoryx2::config::Config> {
        // The crate leaves a folder that is there as it is.
        match std::fs::DirBuilder::new().mode(0o700).create(&self.root) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let mut config = ::iceoryx2::config::Config::default();
        config.global.prefix = failed("use a prefix", FileName::new(self.prefix.as_bytes()))?;
        config.global.set_root_path(&failed("use a path", Path::new(self.root.as_os_str().as_bytes()))?);
        Ok(config)
    }

    fn remove(&self) {
        let _ = std::fs::remove_dir_all(&self.root);
        for entry in std::fs::read_dir(SHM).into_iter().flatten().flatten() {
            if entry.file_name().as_bytes().starts_with(self.prefix.as_bytes()) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

type Bells = Option<(Notifier<Service>, Listener<Service>)>;

fn ring(bells: &Bells) {
    if let Some((notifier, _)) = bells {
        // One that cannot be delivered finds a queue of others that were not heard yet, or nobody.
        let _ = notifier.notify();
    }
}

/// A party within the framework.
#[derive(Debug)]
struct Presence {
    service: PortFactory<Service, [u8], ()>,
    node: Node<Service>,
    /// Whether the peer was seen: only then can it be gone.
    met: bool,
    world: World,
}

impl Presence {
    /// The process of the peer's port, while there is one.
    fn peer(&self, role: Role) -> Option<u32> {
        let mut pid = None;
        let mut note = |id: u32| {
            pid = Some(id);
            CallbackProgression::Stop
        };
        let ports = self.service.dynamic_config();
        match role {
            Role::Producer => ports.list_subscribers(|port| note(port.node_id.pid().value() as u32)),
            Role::Consumer => ports.list_publishers(|port| note(port.node_id.pid().value() as u32)),
        }
        pid
    }

    /// Whether the peer left, or, if it is to be `sought`, died: a port that was killed stays listed, and only the
    /// kernel knows.
    fn gone(&mut self, role: Role, sought: bool) -> bool {
        match self.peer(role) {
            Some(pid) => {
                self.met = true;
                sought && pid != std::process::id() && process::is_gone(pid)
            }
            None => self.met,
        }
    }

    /// Takes leave. The own port is closed before the peer is looked for, so of two that leave at once one is the last.
    fn leave(&mut self, role: Role, bells: &Bells) {
        let last = self.peer(role).is_none() || self.gone(role, true);
        ring(bells);
        if last {
            self.world.remove();
        }
    }

    /// Waits for the peer's port. A poll, before anything is measured.
    fn meet(&mut self, role: Role, patience: Duration) -> io::Result<()> {
        let start = Instant::now();
        while !self.met {
            self.met = self.peer(role).is_some();
            if start.elapsed() > patience {
                return Err(ErrorKind::TimedOut.into());
            }
            std::thread::yield_now();
        }
        Ok(())
    }
}

/// Waits until `look` finds something; `None` when it never will.
#[inline(always)]
fn wait_for<R>(
    terms: &Terms,
    bells: &Bells,
    mut look: impl FnMut() -> io::Result<Option<R>>,
    mut gone: impl FnMut(bool) -> bool,
) -> io::Result<Option<R>> {
    let mut looks = 0_u32;
    // Whether to ask for the peer if the next look finds nothing, and how thoroughly: a wake-up that was for nothing is
    // the rest of an earlier message or a farewell, one that did not come may be a death.
    let mut ask = None;
    loop {
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        if ask.is_some_and(&mut gone) {
            return look();
        }
        let sleeps = match terms.wait {
            // The last two are for descriptors, and this mechanism does not list them.
            Wait::Block | Wait::Poll | Wait::Epoll => true,
            Wait::Hybrid(most) => looks >= most,
            // The mechanism does not honour the last two.
            Wait::Spin | Wait::Yield | Wait::Poll | Wait::Epoll => false,
        };
        looks = looks.wrapping_add(1);
        ask = looks.is_multiple_of(LOOKS_PER_CHECK).then_some(true);
        match bells {
            Some((_, listener)) if sleeps => ask = Some(failed("wait", listener.timed_wait_one(NAP))?.is_none()),
            _ if terms.wait == Wait::Yield => std::thread::yield_now(),
            _ => std::hint::spin_loop(),
        }
    }
}

#[derive(Debug)]
struct Publishing {
    publisher: Option<Publisher<Service, [u8], ()>>,
    bells: Bells,
    presence: Presence,
}

#[derive(Debug)]
struct Subscribing {
    subscriber: Option<Subscriber<Service, [u8], ()>>,
    bells: Bells,
    /// Messages read since the producer was last told.
    freed: usize,
    presence: Presence,
}

// The port goes first and the event follows, so that a peer that wakes finds the port gone.
impl Drop for Publishing {
    fn drop(&mut self) {
        self.publisher = None;
        self.presence.leave(Role::Producer, &self.bells);
    }
}

impl Drop for Subscribing {
    fn drop(&mut self) {
        self.subscriber = None;
        self.presence.leave(Role::Consumer, &self.bells);
    }
}

/// The sending end.
#[derive(Debug)]
pub struct Tx(Terms, Option<Publishing>);

/// The receiving end.
#[derive(Debug)]
pub struct Rx(Terms, Option<Subscribing>);

impl Transport for Iceoryx2 {
    const SPEC: &'static Spec = &Spec {
        name: "iceoryx2",
        summary: "publish-subscribe of iceoryx2 in shared memory; sleepers are woken through a datagram socket",
        family: Family::SharedMemory,
        parties: BOTH,
        waits: ALL_WAITS,
        copies: 0,
        max_size: UNLIMITED,
        peer_death: PeerDeath {
            text: "end-of-file or EPIPE; a killed peer is noticed within 100 ms of waiting for it; a pair that is killed \
                   together leaves its names",
            within_ms: 100,
            leaves: Some("names in /dev/shm and a folder in /tmp, when both are killed"),
            ..PeerDeath::WATCHED
        },
        patterns: PATTERNS,
        meeting: Meeting::Never,
        sources: &["crate iceoryx2", "shm_overview(7)", "unix(7)"],
    };
    type Tx = Tx;
    type Rx = Rx;

    fn usable() -> Result<()> {
        Self::one_way(&Config { processes: false, ..Config::new(&crate::plan::Plan::default()) }).map(drop)
    }

    fn one_way(cfg: &Config) -> Result<(Tx, Rx)> {
        let terms = Terms::of(cfg);
        record(cfg, terms.depth);
        let (mut tx, mut rx) = (Tx(terms.clone(), None), Rx(terms, None));
        if !cfg.processes {
            let both = tx.attach().and_then(|()| rx.attach()).context(Phase::Setup, "cannot create the ports");
            both.map_err(|error| error.hint(format!("/tmp and {SHM} have to be writable")))?;
        }
        Ok((tx, rx))
    }

    fn meet(_: &Config, _: &str, _: Role) -> Result<Met<Self>> {
        Err(Error::unsupported("iceoryx2 is measured within one run only; two programs are not connected here"))
    }
}

impl Sender for Tx {
    fn attach(&mut self) -> io::Result<()> {
        if self.1.is_none() {
            self.1 = Some(self.0.publish()?);
        }
        Ok(())
    }

    fn size(&self) -> usize {
        self.0.size
    }

    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        let Self(terms, port) = self;
        let Publishing { publisher, bells, presence } = port.as_mut().ok_or(ErrorKind::NotConnected)?;
        let publisher = publisher.as_ref().ok_or(ErrorKind::NotConnected)?;
        if !presence.met {
            presence.meet(Role::Producer, terms.patience)?;
        }
        let loan = || match publisher.loan_slice_uninit(terms.size) {
            Ok(sample) => Ok(Some(sample)),
            Err(LoanError::OutOfMemory) => Ok(None),
            Err(error) => failed("loan", Err(error)),
        };
        let sample = wait_for(terms, bells, loan, |sought| presence.gone(Role::Producer, sought))?
            .ok_or(ErrorKind::BrokenPipe)?;
        let mut sample = writable(sample);
        fill(sample.payload_mut());
        if failed("send", sample.send())? == 0 {
            return Err(ErrorKind::BrokenPipe.into());
        }
        ring(bells);
        Ok(())
    }
}

impl Receiver for Rx {
    fn attach(&mut self) -> io::Result<()> {
        if self.1.is_none() {
            self.1 = Some(self.0.subscribe()?);
        }
        Ok(())
    }

    #[inline(always)]
    fn recv_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        let Self(terms, port) = self;
        let Subscribing { subscriber, bells, freed, presence } = port.as_mut().ok_or(ErrorKind::NotConnected)?;
        let subscriber = subscriber.as_ref().ok_or(ErrorKind::NotConnected)?;
        let look = || failed("receive", subscriber.receive());
        let sample = wait_for(terms, bells, look, |sought| presence.gone(Role::Consumer, sought))?
            .ok_or(ErrorKind::UnexpectedEof)?;
        // A consumer that never had to wait for a message has not looked for its producer yet.
        presence.met = true;
        let result = read(sample.payload());
        drop(sample);
        // A producer sleeps only after it saw all samples under way, so a quarter that is freed after that finds it
        // asleep.
        *freed += 1;
        if *freed * 4 >= terms.depth {
            *freed = 0;
            ring(bells);
        }
        Ok(result)
    }
}
