//! A POSIX message queue: the kernel keeps whole messages, oldest first.
//!
//! Key decision: the queue is made for the one size, as deep as the machine's settings allow up to [`IN_FLIGHT`], and loses
//! its name as soon as both ends have it open. A queue does not tell when the other side goes, so an end that leaves raises
//! a flag in a small shared page and then makes sure that its peer does not sleep: a sender by a message of no bytes, a
//! receiver by emptying the queue. The flag is a load from a line that nobody writes, not a system call.
//! Rejected: mq_notify(3), which announces messages, not departures; a second queue for farewells, which costs a poll(2)
//! for every message; a message of higher priority, which overtakes those before it. Source: mq_overview(7).

use super::bytes::pause;
use super::ring::{Backing, Memfd, announced, await_peer, find_as, fits, host_as, join_all, posix_name};
use super::{
    ALL_WAITS, BOTH, Bound, Config, Family, IN_FLIGHT, Meeting, Met, PATTERNS, PeerDeath, Receiver, Role, Sender, Spec,
    Transport,
};
use crate::error::{Context, Error, Phase, Result};
use crate::names::{self, Name, Seen, Thing};
use crate::plan::Wait;
use crate::shm::budget::Budget;
use crate::shm::region::{Farewell, PAGE, Region, RingShape, View};
use crate::sys::fd::{Ready, set_nonblocking};
use crate::sys::mqueue::{self, Limits, Queue, Use};
use crate::sys::process;
use crate::sys::rouse::heed;
use std::io::{self, ErrorKind};
use std::sync::Arc;

/// See the [module](self).
#[derive(Debug)]
pub struct PosixMq;

/// What an end has of the page in which ends say that they left.
#[derive(Debug)]
struct Manners {
    farewell: View<Farewell>,
    wait: Wait,
    budget: Budget,
    attached: bool,
    _names: Vec<Name>,
}

impl Manners {
    fn new(region: &Arc<Region>, wait: Wait, names: Vec<Name>) -> Self {
        Self { farewell: Farewell::lay(region), wait, budget: Budget::default(), attached: false, _names: names }
    }
}

/// The sending end.
#[derive(Debug)]
pub struct Tx {
    queue: Queue,
    manners: Manners,
    message: Box<[u8]>,
}

/// The receiving end.
#[derive(Debug)]
pub struct Rx {
    queue: Queue,
    manners: Manners,
    message: Box<[u8]>,
    /// The sender is known to have left: what is still there is received without waiting.
    over: bool,
}

/// Tag of the page beside a queue.
const MAGIC: u32 = 0x6970_6394;

const SENDER: usize = Role::Producer as usize;
const RECEIVER: usize = Role::Consumer as usize;

/// Says that the sender left. A full queue needs no wake-up: its receiver does not sleep, and looks at the flag before it
/// next does.
fn sender_leaves(farewell: &Farewell, queue: &Queue) {
    farewell.say(SENDER);
    let _ = set_nonblocking(queue, true).and_then(|()| queue.send(&[]));
}

/// Says that the receiver left, and makes room under a sender that waits for it: its message is accepted, as one that lay
/// in the queue would have been, and its next one is not.
fn receiver_leaves(farewell: &Farewell, queue: &Queue, buffer: &mut [u8]) {
    farewell.say(RECEIVER);
    let _ = set_nonblocking(queue, true);
    while queue.receive(buffer).is_ok() {}
}

/// Share of RLIMIT_MSGQUEUE for one queue: a link has two, and the user may have others.
const SHARE: usize = 4;

/// Messages in a queue, and what keeps it from being deeper.
fn depth(limits: &Limits, size: usize) -> (usize, Option<String>) {
    let wanted = (IN_FLIGHT / size).max(2);
    let by_bytes = (limits.bytes / SHARE / (size + mqueue::OVERHEAD)).max(1);
    let by_count = if limits.exempt { mqueue::HARD_DEPTH } else { limits.depth };
    let depth = wanted.min(by_bytes).min(by_count);
    let set_by =
        (depth < wanted).then(|| if by_count < by_bytes { count_setting(limits) } else { bytes_setting(limits) });
    (depth, set_by)
}

fn bytes_setting(limits: &Limits) -> String {
    format!(
        "RLIMIT_MSGQUEUE = {} bytes for all queues of the user (raise it with ulimit -q BYTES, as root or below the hard \
         limit)",
        limits.bytes
    )
}

fn count_setting(limits: &Limits) -> String {
    if limits.exempt {
        return format!("the kernel's {} messages", mqueue::HARD_DEPTH);
    }
    format!("fs.mqueue.msg_max = {} messages (raise it with sysctl -w fs.mqueue.msg_max=COUNT)", limits.depth)
}

/// Makes the queue of that name and opens it to send. Where others of this user hold what the limit leaves, it becomes
/// less deep, and while they hold all of it, this waits. Each depth is announced before it is tried.
fn make_queue(cfg: &Config, name: &str, announce: impl Fn(usize) -> Result<()>) -> Result<Queue> {
    let mut limits = mqueue::limits().map_err(|error| {
        Error::unsupported("this kernel or sandbox has no POSIX message queues")
            .because(error)
            .hint("they need CONFIG_POSIX_MQUEUE, and a /proc with fs.mqueue")
    })?;
    let setting = bytes_setting(&limits);
    let full = |what: &str| Error::unsupported(what).hint(format!("the limit is {setting}"));
    if cfg.size + mqueue::OVERHEAD > limits.bytes {
        return Err(full("not even one such message may lie in a message queue here"));
    }
    let (mut deep, mut set_by) = depth(&limits, cfg.size);
    let mut announced = None;
    let look = || loop {
        if announced != Some(deep) {
            announce(deep)?;
            announced = Some(deep);
        }
        match Queue::create(name, deep, cfg.size) {
            Ok(queue) => return Ok(Some(queue)),
            Err(error) if limits.exempt && mqueue::is_over_setting(&error) => {
                limits.exempt = false;
                (deep, set_by) = depth(&limits, cfg.size);
            }
            Err(error) if mqueue::is_over_bytes(&error) && deep > 1 => {
                (deep, set_by) = (deep / 2, Some(setting.clone()));
            }
            Err(error) if mqueue::is_over_bytes(&error) => return Ok(None),
            Err(error) => {
                return Err(Error::failed(Phase::Setup, format!("cannot create the message queue {name}"))
                    .because(&error)
                    .hint("choose another name with --at, or a smaller --size")
                    .if_refused(&error));
            }
        }
    };
    let queue = await_peer(cfg.patience, "share of RLIMIT_MSGQUEUE", name, look)?
        .ok_or_else(|| full("the message queues of this user leave no room for another one"))?;
    cfg.note("depth", deep);
    if let Some(setting) = set_by {
        cfg.note("limited by", setting);
    }
    cfg.holds(deep * cfg.size);
    cfg.fits(deep);
    Ok(queue)
}

impl Transport for PosixMq {
    const SPEC: &'static Spec = &Spec {
        name: "posix-mq",
        summary: "POSIX message queue; the kernel copies whole messages in and out",
        family: Family::Kernel,
        parties: BOTH,
        waits: ALL_WAITS,
        copies: 2,
        max_size: mqueue::HARD_SIZE,
        peer_death: PeerDeath {
            text: "end-of-file or EPIPE when the peer leaves (a flag beside the queue); nobody is told that it was killed",
            ..PeerDeath::UNTOLD
        },
        patterns: PATTERNS,
        meeting: Meeting::QueueName,
        sources: &["mq_overview(7)", "mq_open(3)", "mq_send(3)", "mq_receive(3)"],
    };
    type Tx = Tx;
    type Rx = Rx;

    fn bound() -> Bound {
        let Ok(limits) = mqueue::limits() else { return Bound { size: Self::SPEC.max_size, set_by: None } };
        let limits = Limits { exempt: mqueue::is_exempt(&limits), ..limits };
        let by_setting = if limits.exempt { mqueue::HARD_SIZE } else { limits.size };
        let by_bytes = (limits.bytes / SHARE).saturating_sub(mqueue::OVERHEAD);
        let set_by = match (by_setting <= by_bytes, limits.exempt) {
            (true, true) => None,
            (true, false) => Some(format!(
                "fs.mqueue.msgsize_max = {} bytes (raise it with sysctl -w fs.mqueue.msgsize_max=BYTES)",
                limits.size
            )),
            (false, _) => Some(bytes_setting(&limits)),
        };
        Bound { size: by_setting.min(by_bytes), set_by }
    }

    fn one_way(cfg: &Config) -> Result<(Tx, Rx)> {
        let name = format!("/{}", names::invent());
        let queue = make_queue(cfg, &name, |_| Ok(()))?;
        let other = Queue::open(&name, Use::Receive);
        let _ = mqueue::unlink(&name);
        let other = other.context(Phase::Setup, "cannot open the message queue a second time")?;
        let region = Arc::new(Memfd::region(cfg, PAGE)?);
        let ends = Tx::new(queue, cfg.size, Manners::new(&region, cfg.wait, vec![]))
            .and_then(|tx| Ok((tx, Rx::new(other, cfg.size, Manners::new(&region, cfg.wait, vec![]))?)));
        ends.context(Phase::Setup, "cannot prepare the message queue")
    }

    fn meet(cfg: &Config, at: &str, role: Role) -> Result<Met<Self>> {
        // The page in which both say who they are has the queue's name, in the other name space.
        let (name, _) = posix_name(at)?;
        let cannot = format!("cannot use the message queue {at}");
        let open = |what| Queue::open_own(&name, what).context(Phase::Start, &cannot);
        let thing = Thing::Queue(name.clone());
        match role {
            Role::Producer => {
                let mut made = None;
                let shape = RingShape { size: cfg.size, stride: 0, slots: 0 };
                names::reclaim(&thing);
                let (post, page) = host_as::<Memfd>(cfg, at, MAGIC, shape.region_len(), shape, |_| {
                    let queue = make_queue(cfg, &name, |deep| names::intend(&name, deep, cfg.size))?;
                    made = Some((queue, Name::written(thing)?, open(Use::Receive)?));
                    Ok(())
                })?;
                let Some((queue, name, theirs)) = made else { unreachable!("the host lays out what it made") };
                let (farewell, mut buffer) = (Farewell::lay(&post.region), room(cfg.size));
                process::when_gone(post.peer(), move || receiver_leaves(&farewell, &theirs, &mut buffer));
                // The queue first, and the page that tells of it last.
                let manners = Manners::new(&post.region, cfg.wait, vec![name, page]);
                Ok(Met::Tx(Tx::new(queue, cfg.size, manners).context(Phase::Start, &cannot)?))
            }
            Role::Consumer => {
                let (region, page) = find_as::<Memfd>(cfg, at, MAGIC)?;
                let (queue, theirs) = (open(Use::Receive)?, open(Use::Send)?);
                let (size, slots) = announced(&region, at)?;
                let empty = RingShape { size, stride: 0, slots: 0 };
                fits(&region, slots, empty, empty.region_len(), at)?;
                // The kernel's word for it: a buffer for more would be filled with nothing, one for less with an error.
                let largest = queue.message_size().context(Phase::Start, &cannot)?;
                if size != largest {
                    let what = format!("{at} announces messages of {size} bytes beside a queue of {largest}");
                    return Err(Error::failed(Phase::Start, what).hint("start the producer anew"));
                }
                let rx =
                    Rx::new(queue, size, Manners::new(&region, cfg.wait, vec![])).context(Phase::Start, &cannot)?;
                let identity = thing.identity().ok_or(ErrorKind::NotFound).context(Phase::Start, &cannot)?;
                // As the producer: the page goes last.
                let post = join_all(&region, &[Seen { thing, identity }, page])?;
                let farewell = Farewell::lay(&region);
                process::when_gone(post.peer(), move || sender_leaves(&farewell, &theirs));
                Ok(Met::Rx(rx, size))
            }
        }
    }
}

fn room(size: usize) -> Box<[u8]> {
    vec![0; size].into_boxed_slice()
}

impl Tx {
    fn new(queue: Queue, size: usize, manners: Manners) -> io::Result<Self> {
        set_nonblocking(&queue, manners.wait != Wait::Block)?;
        Ok(Self { queue, manners, message: room(size) })
    }
}

impl Rx {
    fn new(queue: Queue, size: usize, manners: Manners) -> io::Result<Self> {
        set_nonblocking(&queue, manners.wait != Wait::Block)?;
        Ok(Self { queue, manners, message: room(size), over: false })
    }
}

impl Tx {
    /// Sends the message as it stands; apart from what fills it, as in [`bytes`](super::bytes).
    #[inline(always)]
    fn pass(&self) -> io::Result<()> {
        loop {
            if self.manners.farewell.said(RECEIVER)? {
                return Err(ErrorKind::BrokenPipe.into());
            }
            match self.queue.send(&self.message) {
                Ok(()) => {
                    self.manners.budget.met();
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    pause(self.manners.wait, &self.manners.budget, &self.queue, Ready::Write, None)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => heed()?,
                Err(error) => return Err(error),
            }
        }
    }
}

impl Rx {
    /// Receives a message and says how long it is.
    #[inline(always)]
    fn fetch(&mut self) -> io::Result<usize> {
        loop {
            if !self.over && self.manners.farewell.said(SENDER)? {
                set_nonblocking(&self.queue, true)?;
                self.over = true;
            }
            match self.queue.receive(&mut self.message) {
                // The wake-up of a sender that left; its flag is up.
                Ok(0) => {}
                Ok(got) => {
                    self.manners.budget.met();
                    return Ok(got);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.over => {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    pause(self.manners.wait, &self.manners.budget, &self.queue, Ready::Read, None)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => heed()?,
                Err(error) => return Err(error),
            }
        }
    }
}

impl Sender for Tx {
    fn attach(&mut self) -> io::Result<()> {
        self.manners.attached = true;
        Ok(())
    }

    fn size(&self) -> usize {
        self.message.len()
    }

    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        fill(&mut self.message);
        self.pass()
    }
}

impl Receiver for Rx {
    fn attach(&mut self) -> io::Result<()> {
        self.manners.attached = true;
        Ok(())
    }

    #[inline(always)]
    fn recv_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        let got = self.fetch()?;
        Ok(read(&self.message[..got]))
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        if self.manners.attached {
            sender_leaves(&self.manners.farewell, &self.queue);
        }
    }
}

impl Drop for Rx {
    fn drop(&mut self) {
        if self.manners.attached {
            receiver_leaves(&self.manners.farewell, &self.queue, &mut self.message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: Limits = Limits { size: 8192, depth: 10, exempt: false, bytes: 819_200 };

    #[test]
    fn a_queue_is_as_deep_as_the_tightest_setting_and_names_it() {
        let (deep, set_by) = depth(&DEFAULT, 64);
        assert_eq!(deep, 10);
        assert!(set_by.unwrap().contains("msg_max = 10"));
        let (deep, set_by) = depth(&Limits { exempt: true, ..DEFAULT }, 64);
        assert_eq!(deep, 204_800 / 160);
        assert!(set_by.unwrap().contains("RLIMIT_MSGQUEUE = 819200"));
        let roomy = Limits { depth: 1 << 20, bytes: 1 << 30, ..DEFAULT };
        assert_eq!(depth(&roomy, 64), (IN_FLIGHT / 64, None));
        assert_eq!(depth(&roomy, 8 << 20), (2, None));
    }
}
