//! A Unix stream socket through io_uring: each message is one operation submitted and its completion awaited.
//!
//! Key decision: the socket pair of `unix-stream`, so that the difference between the rows is the way into the
//! kernel: a queue entry and one io_uring_enter(2) that submits and waits, instead of one read(2) or write(2). One
//! operation is under way, because a message is answered before the next; batches, for which io_uring was made, are another
//! class. The ring is made in `attach`: one that a fork inherits still belongs to the process that made it. Each end has a
//! ring of its own, and gives it the socket's descriptor with each operation. Rejected: the socket as the ring's registered file,
//! which the kernel lets go of with the dead process's ring, so that a survivor heard of the death after 26 to 60 ms instead of
//! less than one; registered buffers, which save the pinning of
//! pages that socket calls never do, and count against the limit of locked memory; a ring without interrupts
//! (IORING_SETUP_DEFER_TASKRUN), where a wait that only looks would never see anything.
//!
//! `io-uring-sqpoll` leaves even the submission to a kernel thread that polls the queue. A spin then makes no system call at
//! all, for the price of that thread's CPU: one for each side of a link, and among many parties one for each end, in
//! addition to the parties themselves. With fewer CPUs than that, spinning parties and their threads take time slices from
//! each other, milliseconds for a message between two parties on two CPUs: a spin is refused there, and so are many parties with
//! more such threads than CPUs, however they wait. It does not yield, because what it waits for is not the scheduler's next choice,
//! nor spin before it sleeps, because looks are what the thread is there for.
//! Source: io_uring(7), io_uring_setup(2), io_uring_enter(2), unix(7), crate io-uring.

use super::bytes::{hear_end, say_hello};
use super::unix_stream::{accept_one, reach, size_buffers};
use super::{
    ALL_WAITS, BOTH, Config, Family, Meeting, Met, PATTERNS, PeerDeath, Receiver, Role, Sender, Side, SideOf, Spec,
    Transport, UNLIMITED,
};
use crate::error::{Context, Error, Phase, Result};
use crate::plan::{Wait, WaitKind};
use crate::sys::cpu;
use crate::sys::uring::{self, Poller, Queue};
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// A socket through io_uring, with or without a kernel thread that polls for submissions. See the [module](self).
#[derive(Debug)]
pub struct Ringed<const POLLED: bool>;

/// `io-uring`.
pub type IoUring = Ringed<false>;
/// `io-uring-sqpoll`.
pub type IoUringSqpoll = Ringed<true>;

/// What both kinds of ends are.
#[derive(Debug)]
struct End {
    /// Made by the party that uses it. Before the socket, which has to be open for as long as there is a queue.
    queue: Option<Queue>,
    socket: UnixStream,
    size: usize,
    wait: Wait,
    poller: Option<Arc<Poller>>,
}

impl End {
    fn new(socket: UnixStream, cfg: &Config, size: usize, poller: Option<Arc<Poller>>) -> Self {
        Self { socket, size, wait: cfg.wait, poller, queue: None }
    }

    fn attach(&mut self) -> io::Result<()> {
        self.queue = Some(Queue::new(&self.socket, self.size, self.wait, self.poller.as_deref())?);
        Ok(())
    }

    #[inline(always)]
    fn queue(&mut self) -> io::Result<&mut Queue> {
        self.queue.as_mut().ok_or_else(|| io::Error::other("the end was not attached"))
    }
}

/// The sending end.
#[derive(Debug)]
pub struct Tx(End);
/// The receiving end.
#[derive(Debug)]
pub struct Rx(End);

/// Refuses where no ring can be made, and says what stands in the way.
fn permitted(polled: bool) -> Result<()> {
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    match uring::trial() {
        Ok(unprivileged) if polled && !unprivileged => {
            Err(Error::unsupported("a thread that polls for submissions needs Linux 5.13"))
        }
        Ok(_) => Ok(()),
        Err(error) => {
            let hint = match (error.raw_os_error(), disabled.trim()) {
                (Some(libc::EPERM), setting @ ("1" | "2")) => {
                    format!("kernel.io_uring_disabled is {setting}: sysctl kernel.io_uring_disabled=0")
                }
                (Some(libc::ENOMEM), _) => "raise the limit of locked memory: ulimit -l unlimited".into(),
                _ => "a sandbox forbids it (docker: a seccomp profile that allows io_uring), or the kernel lacks it"
                    .into(),
            };
            Err(Error::unsupported("cannot make an io_uring").because(error).hint(hint))
        }
    }
}

/// Refuses parties that are busy where they and the threads that poll for them have less than a CPU each.
///
/// # Errors
/// `unsupported`, with how many are needed.
pub fn enough_cpus(cfg: &Config, cpus: usize) -> Result<()> {
    let Config { busy, pollable, .. } = cfg;
    if cpus >= busy + pollable {
        return Ok(());
    }
    let what = format!(
        "{busy} busy parties and {pollable} threads that poll for them need {} CPUs, and here are {cpus}",
        busy + pollable
    );
    Err(Error::unsupported(what).hint("use --wait block"))
}

/// Refuses many parties whose threads outnumber the CPUs, even if the parties sleep: each thread looks for a millisecond before
/// it does. A fan-in of four to one on two CPUs took four milliseconds for a message.
///
/// # Errors
/// `unsupported`, with how many are needed.
fn enough_for_many(cfg: &Config, cpus: usize) -> Result<()> {
    if cfg.peers == 0 || cpus >= cfg.pollable {
        return Ok(());
    }
    let what = format!("{} threads that poll for many parties need as many CPUs, and here are {cpus}", cfg.pollable);
    Err(Error::unsupported(what).hint("use io-uring, which has none"))
}

impl<const POLLED: bool> Ringed<POLLED> {
    fn poller() -> Option<Arc<Poller>> {
        POLLED.then(Arc::default)
    }

    fn pair(cfg: &Config) -> Result<[UnixStream; 2]> {
        permitted(POLLED)?;
        if POLLED {
            cfg.note("kernel threads", format!("{}; their CPU time is in no column", cfg.pollable));
            let cpus = cpu::allowed().map_or(1, |allowed| allowed.len());
            enough_for_many(cfg, cpus)?;
            if cfg.wait == Wait::Spin {
                enough_cpus(cfg, cpus)?;
            }
        }
        let make = || -> io::Result<_> {
            let (a, b) = UnixStream::pair()?;
            size_buffers(cfg, [&a, &b])?;
            Ok([a, b])
        };
        make().context(Phase::Setup, "cannot create a socket pair")
    }

    fn side(cfg: &Config, socket: UnixStream) -> Result<SideOf<Self>> {
        let again = socket.try_clone().context(Phase::Setup, "cannot duplicate a socket")?;
        let poller = Self::poller();
        let tx = Tx(End::new(again, cfg, cfg.size, poller.clone()));
        Ok(Side { tx, rx: Rx(End::new(socket, cfg, cfg.size, poller)) })
    }
}

impl<const POLLED: bool> Transport for Ringed<POLLED> {
    const SPEC: &'static Spec = if POLLED {
        &Spec {
            name: "io-uring-sqpoll",
            summary: "as io-uring, submitted through a kernel thread that polls: a CPU more for each party",
            waits: &[WaitKind::Block, WaitKind::Spin],
            ..PLAIN
        }
    } else {
        &PLAIN
    };
    type Tx = Tx;
    type Rx = Rx;

    fn one_way(cfg: &Config) -> Result<(Tx, Rx)> {
        let [a, b] = Self::pair(cfg)?;
        Ok((Tx(End::new(a, cfg, cfg.size, Self::poller())), Rx(End::new(b, cfg, cfg.size, Self::poller()))))
    }

    fn link(cfg: &Config) -> Result<[SideOf<Self>; 2]> {
        let [a, b] = Self::pair(cfg)?;
        Ok([Self::side(cfg, a)?, Self::side(cfg, b)?])
    }

    fn meet(cfg: &Config, at: &str, role: Role) -> Result<Met<Self>> {
        permitted(POLLED)?;
        match role {
            Role::Producer => {
                let socket = reach(at)?;
                let what = format!("cannot talk to the consumer at {at}");
                say_hello(&socket, cfg.size).context(Phase::Start, what)?;
                Ok(Met::Tx(Tx(End::new(socket, cfg, cfg.size, Self::poller()))))
            }
            Role::Consumer => {
                let (socket, size) = accept_one(cfg, at)?;
                Ok(Met::Rx(Rx(End::new(socket, cfg, size, Self::poller())), size))
            }
        }
    }
}

const PLAIN: Spec = Spec {
    name: "io-uring",
    summary: "Unix stream socket through io_uring: an operation is submitted and awaited for each message",
    family: Family::Kernel,
    parties: BOTH,
    waits: ALL_WAITS,
    copies: 2,
    max_size: UNLIMITED,
    peer_death: PeerDeath::STREAM,
    patterns: PATTERNS,
    meeting: Meeting::Path,
    sources: &["io_uring(7)", "io_uring_enter(2)", "unix(7)", "crate io-uring"],
};

impl Sender for Tx {
    fn size(&self) -> usize {
        self.0.size
    }

    fn attach(&mut self) -> io::Result<()> {
        self.0.attach()
    }

    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        let queue = self.0.queue()?;
        fill(queue.message());
        queue.send()
    }
}

impl Receiver for Rx {
    fn attach(&mut self) -> io::Result<()> {
        self.0.attach()
    }

    #[inline(always)]
    fn recv_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        let queue = self.0.queue()?;
        let filled = queue.receive()?;
        let message = queue.message();
        if filled < message.len() {
            return Err(hear_end(filled, message.len()));
        }
        Ok(read(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Plan, Several, Workload};

    #[test]
    fn each_lane_of_many_parties_needs_a_cpu_for_its_thread() {
        let needs = |workload, peers| {
            let cfg =
                Config::new(&Plan { workload, several: Several { peers, ..Several::default() }, ..Plan::default() });
            let least = |enough: fn(&Config, usize) -> Result<()>| (1..100).find(|cpus| enough(&cfg, *cpus).is_ok());
            // Of parties that spin, and of those that sleep.
            (least(enough_cpus).unwrap(), least(enough_for_many).unwrap())
        };
        // Two parties work on few CPUs, if badly.
        assert_eq!(needs(Workload::PingPong, None), (4, 1));
        // Two parties of each pair, and a thread for each end.
        assert_eq!(needs(Workload::Pairs, Some(1)), (4, 2));
        assert_eq!(needs(Workload::Pairs, Some(4)), (16, 8));
        // The hub has an end for each peer.
        assert_eq!(needs(Workload::FanIn, Some(4)), (5 + 8, 8));
        assert_eq!(needs(Workload::FanOut, Some(2)), (3 + 4, 4));
    }
}
