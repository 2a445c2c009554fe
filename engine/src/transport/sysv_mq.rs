//! A System V message queue: the kernel keeps whole messages, oldest first.
//!
//! Key decision: the queue itself tells what has to be told, and nothing lies beside it. Its first message is a hello with
//! the message size; the kernel keeps who sent to and who received from it last, which is how two programs find out
//! that both are there. A sender that leaves sends a message without text and of another type; a receiver that leaves
//! removes the queue, which wakes a waiting sender (EIDRM).
//!
//! A System V object outlives its users. The receiver removes the queue, or the process that made it when nobody else
//! receives; a run that is killed leaves it, with a key of ours and naming processes that have all ended
//! ([`sysv::Found::is_abandoned`]), and its launcher removes it, or `ipcost clean`. Rejected: `IPC_PRIVATE`, whose leftovers nobody can recognise; a guarding process,
//! which dies of the same signal. Source: sysvipc(7), msgop(2), msgctl(2).

use super::bytes::{hear_hello, say_hello};
use super::ring::{await_peer, nobody};
use super::sysv_shm::{parse_key, remove_abandoned, taken};
use super::{
    ALL_WAITS, BOTH, Bound, Config, Family, IN_FLIGHT, Meeting, Met, PATTERNS, PeerDeath, Receiver, Role, Sender, Spec,
    Transport, UNLIMITED,
};
use crate::error::{Error, Phase, Result};
use crate::names::{Name, Thing};
use crate::plan::Wait;
use crate::shm::budget::Budget;
use crate::sys::process;
use crate::sys::rouse::heed;
use crate::sys::sysv::{self, Letter, Mark, Patience, Sort};
use std::io::{self, ErrorKind};
use std::sync::Arc;

/// See the [module](self).
#[derive(Debug)]
pub struct SysvMq;

/// Type of a message that carries payload, and of the hello.
const PAYLOAD: i32 = 1;
/// Type of the empty message of a sender that leaves.
const FAREWELL: i32 = 2;
/// Bytes of the hello.
const HELLO: usize = 16;

/// A queue, and who made it.
#[derive(Debug)]
struct Queue {
    id: i32,
    maker: u32,
}

impl Drop for Queue {
    /// Whoever made the queue removes it, unless somebody else receives from it, or a child of ours may be about to: that
    /// process does it when it leaves.
    fn drop(&mut self) {
        let me = std::process::id();
        let elsewhere = |pid: u32| match pid {
            0 => process::has_children(),
            pid => pid != me && !process::is_gone(pid),
        };
        if self.maker == me && sysv::users(self.id).is_ok_and(|[_, receiver]| !elsewhere(receiver)) {
            let _ = sysv::remove_queue(self.id);
        }
    }
}

/// The sending end.
#[derive(Debug)]
pub struct Tx {
    queue: Arc<Queue>,
    letter: Letter,
    wait: Wait,
    budget: Budget,
    attached: bool,
}

/// The receiving end.
#[derive(Debug)]
pub struct Rx {
    queue: Arc<Queue>,
    letter: Letter,
    wait: Wait,
    budget: Budget,
    attached: bool,
    over: bool,
}

impl Tx {
    fn new(queue: &Arc<Queue>, size: usize, wait: Wait) -> Self {
        Self {
            queue: Arc::clone(queue),
            letter: Letter::new(PAYLOAD, size),
            wait,
            budget: Budget::default(),
            attached: false,
        }
    }
}

impl Rx {
    fn new(queue: &Arc<Queue>, size: usize, wait: Wait) -> Self {
        let letter = Letter::new(PAYLOAD, size);
        Self { queue: Arc::clone(queue), letter, wait, budget: Budget::default(), attached: false, over: false }
    }
}

/// Makes `attempt` until it succeeds or fails otherwise than by having to wait, and waits in between as `wait` says.
#[inline(always)]
fn patiently<R>(wait: Wait, budget: &Budget, mut attempt: impl FnMut(Patience) -> io::Result<R>) -> io::Result<R> {
    let mut patience = if wait == Wait::Block { Patience::Sleep } else { Patience::None };
    loop {
        match attempt(patience) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && patience == Patience::None => {
                heed()?;
                if !budget.pauses(wait.by_calls()) {
                    patience = Patience::Sleep;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => heed()?,
            result => {
                budget.met();
                return result;
            }
        }
    }
}

/// What a removed queue means: the other side took it away.
fn removed(error: io::Error, means: ErrorKind) -> io::Error {
    if sysv::is_removed(&error) { means.into() } else { error }
}

/// Makes a queue with a key, gives it room, and says hello in it.
fn make_queue(cfg: &Config, key: i32) -> io::Result<Arc<Queue>> {
    // Who is killed before the hello is known by it.
    let mark = Mark::set(key);
    let queue = Arc::new(Queue { id: sysv::create_queue(key)?, maker: std::process::id() });
    let mut hello = Letter::new(PAYLOAD, HELLO);
    say_hello(hello.text_mut(), cfg.size)?;
    // First of all, so that the queue names a process from here on.
    sysv::send(queue.id, &hello, Patience::None)?;
    drop(mark);
    let given = sysv::set_capacity(queue.id, IN_FLIGHT.max(2 * cfg.size))?;
    cfg.note("queue bytes", given);
    if given < IN_FLIGHT {
        let limit = format!("kernel.msgmnb = {given} bytes (raise it with sysctl -w kernel.msgmnb=BYTES)");
        cfg.note("limited by", limit);
    }
    cfg.holds(given);
    cfg.fits(given / cfg.size);
    Ok(queue)
}

/// The error of a machine that does not let a queue be made.
fn no_queue(error: &io::Error) -> Error {
    let what = "no System V message queue can be made here";
    match error.raw_os_error() {
        Some(libc::ENOSPC) => {
            let most = sysv::setting("msgmni").map_or("unknown".into(), |n| n.to_string());
            Error::unsupported(what).because(error).hint(format!(
                "the limit is kernel.msgmni = {most} queues (raise it with sysctl, or look with ipcs -q)"
            ))
        }
        Some(libc::ENOSYS) => Error::unsupported(what).because(error).hint("the kernel needs CONFIG_SYSVIPC"),
        _ => Error::failed(Phase::Setup, what).because(error).if_refused(error),
    }
}

impl Transport for SysvMq {
    const SPEC: &'static Spec = &Spec {
        name: "sysv-mq",
        summary: "System V message queue; the kernel copies whole messages in and out",
        family: Family::Kernel,
        parties: BOTH,
        waits: ALL_WAITS,
        copies: 2,
        max_size: UNLIMITED,
        peer_death: PeerDeath {
            text: "end-of-file (a farewell message) or EPIPE (EIDRM) when the peer leaves; nobody is told that it was \
                     killed",
            leaves: Some("the queue, until its launcher removes it"),
            ..PeerDeath::UNTOLD
        },
        patterns: PATTERNS,
        meeting: Meeting::Key,
        sources: &["sysvipc(7)", "msgget(2)", "msgop(2)", "msgctl(2)"],
    };
    type Tx = Tx;
    type Rx = Rx;

    fn bound() -> Bound {
        let largest = |name| sysv::setting(name).map_or(UNLIMITED, |bytes| bytes.min(UNLIMITED as u64) as usize);
        let (message, queue) = (largest("msgmax"), largest("msgmnb"));
        let (name, size) = if message <= queue { ("msgmax", message) } else { ("msgmnb", queue) };
        let set_by = format!("kernel.{name} = {size} bytes (raise it with sysctl -w kernel.{name}=BYTES)");
        Bound { size, set_by: (size < UNLIMITED).then_some(set_by) }
    }

    fn one_way(cfg: &Config) -> Result<(Tx, Rx)> {
        let queue = loop {
            match make_queue(cfg, fastrand::i32(sysv::KEYS)) {
                // Somebody has that key: one of a million others is free.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                other => break other.map_err(|error| no_queue(&error))?,
            }
        };
        Ok((Tx::new(&queue, cfg.size, cfg.wait), Rx::new(&queue, cfg.size, cfg.wait)))
    }

    fn meet(cfg: &Config, at: &str, role: Role) -> Result<Met<Self>> {
        let key = parse_key(at)?;
        match role {
            Role::Producer => {
                remove_abandoned(Sort::Queue, key, at);
                let queue = make_queue(cfg, key).map_err(|error| match error.kind() {
                    ErrorKind::AlreadyExists => taken(at, "message queue", &error),
                    _ => no_queue(&error),
                })?;
                let (id, name) = (queue.id, Name::of(Thing::SysvQueue(queue.id)));
                let consumer = || Ok(sysv::users(id).ok().map(|[_, receiver]| receiver).filter(|pid| *pid != 0));
                let consumer = await_peer(cfg.patience, "consumer", at, consumer)?
                    .ok_or_else(|| nobody("consumer", at, cfg.patience))?;
                name.hand_over();
                process::when_gone(consumer, move || drop(sysv::remove_queue(id)));
                Ok(Met::Tx(Tx::new(&queue, cfg.size, cfg.wait)))
            }
            Role::Consumer => {
                let (id, producer, size) = await_peer(cfg.patience, "producer", at, || find(key, at))?
                    .ok_or_else(|| nobody("producer", at, cfg.patience))?;
                process::when_gone(producer, move || drop(say_farewell(id)));
                let queue = Arc::new(Queue { id, maker: std::process::id() });
                Ok(Met::Rx(Rx::new(&queue, size, cfg.wait), size))
            }
        }
    }
}

/// The queue with that key in which a living producer said hello and nobody received yet: its identifier, the producer's
/// process id and the message size.
fn find(key: i32, at: &str) -> Result<Option<(i32, u32, usize)>> {
    let cannot = |error: io::Error| {
        Error::failed(Phase::Start, format!("cannot use the message queue with key {at}"))
            .because(error)
            .hint("choose another key with --at")
    };
    let id = match sysv::find_queue(key) {
        Ok(id) => id,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(error)),
    };
    match sysv::own(Sort::Queue, id) {
        Err(error) if sysv::is_removed(&error) => return Ok(None),
        owned => owned.map_err(cannot)?,
    }
    let producer = match sysv::users(id) {
        Ok([producer, 0]) if producer != 0 && !process::is_gone(producer) => producer,
        _ => return Ok(None),
    };
    let mut hello = Letter::new(PAYLOAD, HELLO);
    match sysv::receive(id, &mut hello, Patience::None) {
        Ok(HELLO) => {}
        Ok(_) => return Err(cannot(io::Error::other("what came is not from a producer of this version"))),
        Err(error) if error.kind() == ErrorKind::WouldBlock || sysv::is_removed(&error) => return Ok(None),
        Err(error) => return Err(cannot(error)),
    }
    let size = hear_hello(hello.text()).map_err(cannot)?;
    Ok(Some((id, producer, size)))
}

/// Says in the queue that its sender left. It has no text, so there is room for it unless the messages have a byte each and
/// fill the queue: then this waits until the receiver has taken one, or is gone and the queue with it.
fn say_farewell(id: i32) -> io::Result<()> {
    let farewell = Letter::new(FAREWELL, 0);
    patiently(Wait::Block, &Budget::default(), |patience| sysv::send(id, &farewell, patience))
}

impl Tx {
    /// Sends the letter as it stands; apart from what fills it, as in [`bytes`](super::bytes).
    #[inline(always)]
    fn pass(&self) -> io::Result<()> {
        let (id, letter) = (self.queue.id, &self.letter);
        patiently(self.wait, &self.budget, |patience| sysv::send(id, letter, patience))
            .map_err(|error| removed(error, ErrorKind::BrokenPipe))
    }
}

impl Rx {
    /// Receives a letter and says how long it is.
    #[inline(always)]
    fn fetch(&mut self) -> io::Result<usize> {
        if self.over {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let (id, letter) = (self.queue.id, &mut self.letter);
        let got = patiently(self.wait, &self.budget, |patience| sysv::receive(id, letter, patience))
            .map_err(|error| removed(error, ErrorKind::UnexpectedEof))?;
        if self.letter.kind() == FAREWELL {
            self.over = true;
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(got)
    }
}

impl Sender for Tx {
    fn attach(&mut self) -> io::Result<()> {
        self.attached = true;
        Ok(())
    }

    fn size(&self) -> usize {
        self.letter.text().len()
    }

    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        fill(self.letter.text_mut());
        self.pass()
    }
}

impl Receiver for Rx {
    /// Takes the hello, if this end has not met its sender by it: from then on the kernel names this process as the receiver.
    fn attach(&mut self) -> io::Result<()> {
        self.attached = true;
        if sysv::users(self.queue.id).is_ok_and(|[_, receiver]| receiver == 0) {
            let mut hello = Letter::new(PAYLOAD, HELLO);
            sysv::receive(self.queue.id, &mut hello, Patience::None)?;
        }
        Ok(())
    }

    #[inline(always)]
    fn recv_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        let got = self.fetch()?;
        Ok(read(&self.letter.text()[..got]))
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        if self.attached {
            // A receiver that is gone needs none.
            let _ = say_farewell(self.queue.id);
        }
    }
}

impl Drop for Rx {
    fn drop(&mut self) {
        if self.attached {
            let _ = sysv::remove_queue(self.queue.id);
        }
    }
}
