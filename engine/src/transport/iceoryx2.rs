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
//! A broadcast is the same with more subscribers: one payload, of which each gets the offset. No more samples than one queue
//! has places, so none of the queues can be full, and a sample is free when the last subscriber has let go of it: the
//! slowest one holds up the publisher.
//!
//! Ports belong to a process, so between processes each party makes its own in `attach`, under a name that the
//! constructor chose; between threads the constructor makes both. The crate leaves its folder and a file in /dev/shm
//! for the next program; here every pair has both for itself, and who leaves last removes them. Source: iceoryx2 0.9.

use super::buffers::{depth, record};
use super::{
    ALL_WAITS, BOTH, Config, Ends, Family, Meeting, Met, PeerDeath, Receiver, Role, Sender, Shape, Spec, Transport,
    UNLIMITED, WITH_BROADCAST,
};
use crate::error::{Context, Error, Phase, Result};
use crate::plan::Wait;
use crate::shm::budget::Budget;
use crate::sys::rouse::heed;
use crate::sys::{process, sample::writable};
use ::iceoryx2::node::{Node, NodeState};
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
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
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
    /// How many subscribe.
    subscribers: usize,
}

/// Sleep between two checks whether the peer still lives. The crate's limit is SO_RCVTIMEO, which the kernel rounds up to its
/// ticks and then adds up to one: of 5 ms it makes up to 12 ms with 250 ticks a second, and of this 8 ms.
const NAP: Duration = Duration::from_millis(2);
/// Looks between two checks whether the peer still lives, while looking.
const LOOKS_PER_CHECK: u32 = 1 << 14;

fn failed<T, E: Debug>(what: &str, result: std::result::Result<T, E>) -> io::Result<T> {
    result.map_err(|error| io::Error::other(format!("iceoryx2 cannot {what}: {error:?}")))
}

impl Terms {
    fn of(cfg: &Config, subscribers: usize) -> io::Result<Self> {
        let Config { size, wait, patience, processes: apart, .. } = *cfg;
        Ok(Self { world: World::new()?, size, depth: depth(cfg), wait, patience, apart, subscribers })
    }

    fn enter(&self) -> io::Result<Presence> {
        let config = self.world.config().inspect_err(|_| drop(std::fs::remove_dir(&self.world.root)))?;
        // Who fails here has no port yet, so a peer does not see it and may have gone already.
        self.join(&config).inspect_err(|_| self.world.forsake(&config))
    }

    fn join(&self, config: &::iceoryx2::config::Config) -> io::Result<Presence> {
        // What goes wrong is returned, and a queue that is empty or full is no news.
        set_log_level(LogLevel::Fatal);
        let node = NodeBuilder::new().config(config).signal_handling_mode(SignalHandlingMode::Disabled);
        let node = failed("create a node", node.create::<Service>())?;
        let service = node
            .service_builder(&service_name("messages")?)
            .publish_subscribe::<[u8]>()
            .enable_safe_overflow(false)
            .history_size(0)
            .subscriber_max_buffer_size(self.depth)
            .subscriber_max_borrowed_samples(1)
            .max_publishers(1)
            .max_subscribers(self.subscribers)
            .max_nodes(self.parties())
            .open_or_create();
        let service = failed("open a service", service)?;
        let (met, subscribers) = (!self.apart, self.subscribers);
        Ok(Presence { service, node, met, subscribers, world: self.world.clone() })
    }

    /// How many have a node each, and whatever else each has one of.
    fn parties(&self) -> usize {
        self.subscribers + 1
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
            let parties = self.parties();
            let event = node.service_builder(&service_name(of)?).event();
            let event = event.max_nodes(parties).max_notifiers(parties).max_listeners(parties).open_or_create();
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
        // Made at once, so that a party that fails from here on takes leave as any other does.
        let mut publishing = Publishing { publisher: None, bells: None, budget: Budget::default(), presence };
        publishing.publisher = Some(failed("create a publisher", publisher)?);
        publishing.bells = self.events(&publishing.presence.node, FILLED, FREED)?;
        Ok(publishing)
    }

    fn subscribe(&self) -> io::Result<Subscribing> {
        let presence = self.enter()?;
        let subscriber = presence.service.subscriber_builder().buffer_size(self.depth).create();
        let mut subscribing =
            Subscribing { subscriber: None, bells: None, budget: Budget::default(), freed: 0, presence };
        subscribing.subscriber = Some(failed("create a subscriber", subscriber)?);
        subscribing.bells = self.events(&subscribing.presence.node, FREED, FILLED)?;
        Ok(subscribing)
    }
}

const FILLED: &str = "filled";
const FREED: &str = "freed";

fn service_name(name: &str) -> io::Result<ServiceName> {
    failed("use a name", ServiceName::new(name))
}

/// Where the crate keeps what it knows, for these ends alone: a folder in /tmp, which is why it does not follow `--dir`.
///
/// The paths of its sockets have to fit an address, of 107 bytes, and hold the folder, the prefix and a number of up to 39
/// digits. Folder and prefix both say whose they are, which is too long. So the crate is given the folder as an open
/// descriptor, whose number all parties have alike because they inherit it from the constructor; each opens the folder there
/// when it attaches.
#[derive(Debug, Clone)]
struct World {
    root: PathBuf,
    prefix: String,
    place: Arc<Mutex<OwnedFd>>,
}

impl World {
    fn new() -> io::Result<Self> {
        let name = crate::names::invent();
        let place = Arc::new(Mutex::new(File::open("/dev/null")?.into()));
        Ok(Self { root: format!("/tmp/{name}").into(), prefix: format!("{name}_"), place })
    }

    /// A short path into the folder, which is made if it is not there.
    fn enter(&self) -> io::Result<String> {
        match std::fs::DirBuilder::new().mode(0o700).create(&self.root) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        rustix::io::dup3(File::open(&self.root)?, &mut place, rustix::io::DupFlags::CLOEXEC)?;
        Ok(format!("/proc/self/fd/{}/w", place.as_raw_fd()))
    }

    fn config(&self) -> io::Result<::iceoryx2::config::Config> {
        let mut config = ::iceoryx2::config::Config::default();
        config.global.prefix = failed("use a prefix", FileName::new(self.prefix.as_bytes()))?;
        config.global.set_root_path(&failed("use a path", Path::new(self.enter()?.as_bytes()))?);
        config.global.service.directory = failed("use a path", Path::new(b"s"))?;
        config.global.service.event_connection_suffix = failed("use a suffix", FileName::new(b".e"))?;
        Ok(config)
    }

    /// Removes what a party left that could not enter, unless somebody else is there.
    fn forsake(&self, config: &::iceoryx2::config::Config) {
        let mut alone = true;
        let listed = Node::<Service>::list(config, |state| {
            alone &= matches!(state, NodeState::Dead(_));
            CallbackProgression::Continue
        });
        if listed.is_ok() && alone {
            self.remove();
        }
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
    /// Whether all peers were seen: only then can one be gone.
    met: bool,
    subscribers: usize,
    world: World,
}

impl Presence {
    /// The processes of the ports on the other side, one for each port.
    fn peers(&self, role: Role) -> Vec<u32> {
        let mut pids = Vec::new();
        let mut note = |id: u32| {
            pids.push(id);
            CallbackProgression::Continue
        };
        let ports = self.service.dynamic_config();
        match role {
            Role::Producer => ports.list_subscribers(|port| note(port.node_id.pid().value() as u32)),
            Role::Consumer => ports.list_publishers(|port| note(port.node_id.pid().value() as u32)),
        }
        pids
    }

    /// Whether so many are all that there are to be on the other side.
    fn all(&self, role: Role, peers: usize) -> bool {
        peers >= if role == Role::Producer { self.subscribers } else { 1 }
    }

    /// Whether a peer left, or, if they are to be `sought`, died: a port that was killed stays listed, and only the kernel
    /// knows.
    fn gone(&mut self, role: Role, sought: bool) -> bool {
        let pids = self.peers(role);
        if !self.all(role, pids.len()) {
            return self.met;
        }
        self.met = true;
        sought && pids.into_iter().any(is_dead)
    }

    /// Takes leave. The own port is closed before the others are looked for, so of those that leave at once one is the last.
    fn leave(&self, bells: &Bells) {
        let mut others = [Role::Producer, Role::Consumer].into_iter().flat_map(|side| self.peers(side));
        let last = others.all(is_dead);
        ring(bells);
        if last {
            self.world.remove();
        }
    }

    /// Waits for the ports of all peers. A poll, before anything is measured.
    fn meet(&mut self, role: Role, patience: Duration) -> io::Result<()> {
        let start = Instant::now();
        while !self.met {
            self.met = self.all(role, self.peers(role).len());
            if start.elapsed() > patience {
                return Err(ErrorKind::TimedOut.into());
            }
            std::thread::yield_now();
        }
        Ok(())
    }
}

/// Whether a port's process has ended.
fn is_dead(pid: u32) -> bool {
    process::peer_is_ending(pid, std::process::id())
}

/// Sleeps until the other side rings or it is time to ask whether it is there; says whether it rang.
///
/// A process that was stopped and goes on finds its receive with a limit ended by EINTR (signal(7)), of which the crate makes the
/// same failure as of all other errors: some of them are taken for that.
#[inline(never)]
fn heard(listener: &Listener<Service>) -> io::Result<bool> {
    /// Nobody stops a process more often in a row than this while it makes a call again.
    const MOST: u32 = 1000;
    for _ in 0..MOST {
        match listener.timed_wait_one(NAP) {
            Ok(heard) => return Ok(heard.is_some()),
            Err(_) => heed()?,
        }
    }
    failed("wait", listener.timed_wait_one(NAP)).map(|heard| heard.is_some())
}

/// Waits until `look` finds something; `None` when it never will.
#[inline(always)]
fn wait_for<R>(
    terms: &Terms,
    bells: &Bells,
    budget: &Budget,
    mut look: impl FnMut() -> io::Result<Option<R>>,
    mut gone: impl FnMut(bool) -> bool,
) -> io::Result<Option<R>> {
    let mut looks = 0_u32;
    // Whether to ask for the peer if the next look finds nothing, and how thoroughly: a wake-up that was for nothing is
    // the rest of an earlier message or a farewell, one that did not come may be a death.
    let mut ask = None;
    loop {
        if let Some(found) = look()? {
            budget.met();
            return Ok(Some(found));
        }
        if ask.is_some_and(&mut gone) {
            return look();
        }
        let sleeps = !budget.looks_on(terms.wait);
        looks = looks.wrapping_add(1);
        ask = looks.is_multiple_of(LOOKS_PER_CHECK).then_some(true);
        match bells {
            Some((_, listener)) if sleeps => ask = Some(!heard(listener)?),
            _ => terms.wait.pause(),
        }
    }
}

#[derive(Debug)]
struct Publishing {
    publisher: Option<Publisher<Service, [u8], ()>>,
    bells: Bells,
    budget: Budget,
    presence: Presence,
}

#[derive(Debug)]
struct Subscribing {
    subscriber: Option<Subscriber<Service, [u8], ()>>,
    bells: Bells,
    budget: Budget,
    /// Messages read since the producer was last told.
    freed: usize,
    presence: Presence,
}

// The port goes first and the event follows, so that a peer that wakes finds the port gone.
impl Drop for Publishing {
    fn drop(&mut self) {
        self.publisher = None;
        self.presence.leave(&self.bells);
    }
}

impl Drop for Subscribing {
    fn drop(&mut self) {
        self.subscriber = None;
        self.presence.leave(&self.bells);
    }
}

/// The sending end.
#[derive(Debug)]
pub struct Tx(Terms, Option<Publishing>);

/// The receiving end.
#[derive(Debug)]
pub struct Rx(Terms, Option<Subscribing>);

/// A publisher, and so many subscribers that all get what it publishes.
fn publication(cfg: &Config, subscribers: usize) -> Result<(Tx, Vec<Rx>)> {
    let terms = Terms::of(cfg, subscribers).context(Phase::Setup, "cannot keep a descriptor")?;
    record(cfg, terms.depth);
    let mut rxs: Vec<Rx> = (0..subscribers).map(|_| Rx(terms.clone(), None)).collect();
    let mut tx = Tx(terms, None);
    if !cfg.processes {
        let all = tx.attach().and_then(|()| rxs.iter_mut().try_for_each(Receiver::attach));
        let all = all.context(Phase::Setup, "cannot create the ports");
        all.map_err(|error| error.hint(format!("/tmp and {SHM} have to be writable")))?;
    }
    Ok((tx, rxs))
}

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
            text: "end-of-file or EPIPE; a killed peer is noticed within 10 ms of waiting for it where the kernel ticks 250 \
                   times a second or more; a pair that is killed together leaves its names",
            leaves: Some("names in /dev/shm and a folder in /tmp, when both are killed"),
            ..PeerDeath::WATCHED
        },
        patterns: WITH_BROADCAST,
        meeting: Meeting::Never,
        sources: &["crate iceoryx2", "shm_overview(7)", "unix(7)"],
    };
    type Tx = Tx;
    type Rx = Rx;

    fn usable() -> Result<()> {
        Self::one_way(&Config { processes: false, ..Config::new(&crate::plan::Plan::default()) }).map(drop)
    }

    fn one_way(cfg: &Config) -> Result<(Tx, Rx)> {
        let (tx, mut rxs) = publication(cfg, 1)?;
        Ok((tx, rxs.remove(0)))
    }

    fn shared(cfg: &Config, shape: Shape) -> Result<Option<Ends<Self>>> {
        let Shape::Broadcast(of) = shape else { return Ok(None) };
        let (tx, rxs) = publication(cfg, of)?;
        Ok(Some(Ends { txs: vec![tx], rxs }))
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
        let Publishing { publisher, bells, budget, presence } = port.as_mut().ok_or(ErrorKind::NotConnected)?;
        let publisher = publisher.as_ref().ok_or(ErrorKind::NotConnected)?;
        if !presence.met {
            presence.meet(Role::Producer, terms.patience)?;
        }
        let loan = || match publisher.loan_slice_uninit(terms.size) {
            Ok(sample) => Ok(Some(sample)),
            Err(LoanError::OutOfMemory) => Ok(None),
            Err(error) => failed("loan", Err(error)),
        };
        let sample = wait_for(terms, bells, budget, loan, |sought| presence.gone(Role::Producer, sought))?
            .ok_or(ErrorKind::BrokenPipe)?;
        let mut sample = writable(sample);
        fill(sample.payload_mut());
        if failed("send", sample.send())? < terms.subscribers {
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
        let Subscribing { subscriber, bells, budget, freed, presence } =
            port.as_mut().ok_or(ErrorKind::NotConnected)?;
        let subscriber = subscriber.as_ref().ok_or(ErrorKind::NotConnected)?;
        let look = || failed("receive", subscriber.receive());
        let sample = wait_for(terms, bells, budget, look, |sought| presence.gone(Role::Consumer, sought))?
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

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> Terms {
        let cfg = Config { processes: false, ..Config::new(&crate::plan::Plan::default()) };
        Terms::of(&cfg, 1).unwrap()
    }

    /// What is left of a pair: its folder, and its names.
    fn left(world: &World) -> Vec<PathBuf> {
        let names = std::fs::read_dir(SHM).unwrap().map(|entry| entry.unwrap().path());
        let ours = |path: &PathBuf| path.file_name().unwrap().as_bytes().starts_with(world.prefix.as_bytes());
        names.filter(ours).chain(world.root.exists().then(|| world.root.clone())).collect()
    }

    #[test]
    fn a_party_that_cannot_enter_leaves_nothing_behind() {
        // More subscribers than any address space holds.
        let crowd = Terms { subscribers: 1 << 45, ..terms() };
        let refused = crowd.publish().unwrap_err().to_string();
        assert!(refused.contains("open a service"), "{refused}");
        assert_eq!(left(&crowd.world), Vec::<PathBuf>::new());
        // With somebody there it goes alone.
        let first = terms();
        let there = first.publish().unwrap();
        assert!(Terms { subscribers: 1 << 45, ..first.clone() }.subscribe().is_err());
        assert!(first.world.root.exists(), "the first one still needs the folder");
        drop(there);
        assert_eq!(left(&first.world), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_party_that_gets_no_port_takes_leave() {
        // More than any address space holds.
        let terms = Terms { size: 1 << 52, ..terms() };
        let refused = terms.publish().unwrap_err().to_string();
        assert!(refused.contains("create a publisher"), "{refused}");
        assert_eq!(left(&terms.world), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_party_that_takes_leave_at_once_disturbs_nobody() {
        let terms = terms();
        let first = terms.publish().unwrap();
        let refused = terms.publish().unwrap_err().to_string();
        assert!(refused.contains("create a publisher"), "{refused}");
        assert!(terms.world.root.exists(), "the first one still needs the folder");
        let mut subscribing = terms.subscribe().unwrap();
        subscribing.presence.meet(Role::Consumer, Duration::from_secs(30)).unwrap();
        drop(first);
        drop(subscribing);
        assert_eq!(left(&terms.world), Vec::<PathBuf>::new());
    }
}
