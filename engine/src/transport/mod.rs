//! The mechanisms: one trait, one file each, one list.
//!
//! Key decision: generic where it is hot, dynamic where it is cold. A [`Transport`] is a set of types, and the timed loops
//! are compiled once per transport with every call inlined; [`Runner`] erases the type once per *run*. Rejected: a
//! `dyn` endpoint (four indirect calls per round trip, and no inlining: it taxes the fastest row most); an enum matched
//! per call (three or four edits per new mechanism); one duplex endpoint type (natural for sockets only).
//!
//! To add a mechanism, read `docs/ADDING_A_TRANSPORT.md`: one file here, one line in [`list`], one binary.

use crate::error::Result;
use crate::plan::{Parties, Plan, Wait, WaitKind, Workload};
use std::io;

pub mod bounded;
pub mod buffers;
pub mod bytes;
mod config;
pub mod conformance;
pub mod copy;
pub mod crossbeam;
pub mod death;
pub mod detour;
pub mod dynamic;
pub mod eventfd;
pub mod fifo;
pub mod file;
pub mod flume;
pub mod heap_handoff;
#[cfg(feature = "iceoryx2")]
pub mod iceoryx2;
pub mod io_uring;
#[cfg(feature = "ipc-channel")]
pub mod ipc_channel;
pub mod list;
pub mod local_socket;
pub mod message;
pub mod mpsc;
pub mod mutex_queue;
pub mod null;
pub mod pipe;
pub mod posix_mq;
pub mod process_vm;
pub mod ring;
pub mod rtrb;
#[doc(hidden)]
pub mod scribble;
pub mod shm_slot;
pub mod sysv_mq;
pub mod sysv_shm;
pub mod tcp;
#[cfg(feature = "tokio-unix")]
pub mod tokio_unix;
pub mod udp;
mod udp_group;
pub mod unix_dgram;
pub mod unix_seqpacket;
pub mod unix_stream;
pub mod vmsplice;
#[cfg(feature = "zeromq")]
pub mod zeromq;
#[cfg(feature = "zeromq")]
mod zeromq_pub;

pub use bounded::{ShmMutex, ShmSem};
pub use config::{Config, IN_FLIGHT, IN_MEMORY, MEMORY_NOTE, NEAR, Notes, SLOTS_NOTE, buffer_for, memory_for};
pub use copy::Copy;
pub use crossbeam::Crossbeam;
pub use death::{PeerDeath, Sign};
pub use eventfd::EventFd;
pub use fifo::Fifo;
pub use file::FileRing;
pub use flume::Flume;
pub use heap_handoff::HeapHandoff;
#[cfg(feature = "iceoryx2")]
pub use iceoryx2::Iceoryx2;
pub use io_uring::{IoUring, IoUringSqpoll};
#[cfg(feature = "ipc-channel")]
pub use ipc_channel::IpcChannel;
pub use list::{ALL, FRAMEWORKS, Runner, find, left_out};
pub use local_socket::LocalSocket;
pub use mpsc::Mpsc;
pub use mutex_queue::MutexQueue;
pub use null::Null;
pub use pipe::Pipe;
pub use posix_mq::PosixMq;
pub use process_vm::ProcessVm;
pub use ring::{HeapRing, MmapFile, PosixShm, ShmRing};
pub use rtrb::Rtrb;
pub use shm_slot::ShmSlot;
pub use sysv_mq::SysvMq;
pub use sysv_shm::SysvShm;
pub use tcp::Tcp;
#[cfg(feature = "tokio-unix")]
pub use tokio_unix::TokioUnix;
pub use udp::Udp;
pub use unix_dgram::Dgram;
pub use unix_seqpacket::Seqpacket;
pub use unix_stream::Unix;
pub use vmsplice::{Vmsplice, VmspliceSplice};
#[cfg(feature = "zeromq")]
pub use zeromq::{ZeroMq, ZeroMqTcp};

/// Where the bytes are on their way from one party to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// The kernel carries them: system calls for every message.
    Kernel,
    /// Both map the same pages.
    SharedMemory,
    /// Both are threads and use the same heap.
    Heap,
    /// Nobody carries them: what the harness itself costs.
    Control,
}

/// How two programs that were started separately find each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Meeting {
    /// Standard output of one is standard input of the other.
    Stdio,
    /// A path in the file system.
    Path,
    /// A name in the POSIX shared memory name space.
    ShmName,
    /// An address and port of this machine.
    Address,
    /// A name of a POSIX message queue.
    QueueName,
    /// A System V key.
    Key,
    /// They cannot: the mechanism lives within one process.
    Never,
}

impl Meeting {
    /// What `--at` means, in capitals as the help has it; `None` where there is no such place.
    pub fn place(self) -> Option<&'static str> {
        match self {
            Meeting::Path => Some("PATH"),
            Meeting::ShmName | Meeting::QueueName => Some("NAME"),
            Meeting::Address => Some("ADDRESS:PORT"),
            Meeting::Key => Some("KEY"),
            Meeting::Stdio | Meeting::Never => None,
        }
    }
}

/// The largest message on this machine as it is configured, which may be less than [`Spec::max_size`].
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Bound {
    /// In bytes.
    pub size: usize,
    /// The setting that keeps it below what the mechanism could do: its name, its value, and how to raise it.
    pub set_by: Option<String>,
}

/// What a mechanism is, for people and for audits. The list, the help, the docs and the conformance suite read this.
#[derive(Debug, serde::Serialize)]
pub struct Spec {
    /// Name on the command line.
    pub name: &'static str,
    /// One line for `ipcost list`.
    pub summary: &'static str,
    /// Where the bytes travel.
    pub family: Family,
    /// Which kinds of parties it connects.
    pub parties: &'static [Parties],
    /// Which waits it honours.
    pub waits: &'static [WaitKind],
    /// Copies of each payload byte between the producer's write and the consumer's read, by the mechanism's model.
    pub copies: u32,
    /// Largest message in bytes, whatever the machine's settings; see [`Transport::bound`].
    pub max_size: usize,
    /// What the survivor sees when its peer dies.
    #[serde(flatten)]
    pub peer_death: PeerDeath,
    /// What it does between many parties; nothing where it has one party. What is not here is refused.
    pub patterns: &'static [Workload],
    /// How separately started programs meet.
    pub meeting: Meeting,
    /// Manual pages and crates that it rests on.
    pub sources: &'static [&'static str],
}

impl Spec {
    /// A plan that the mechanism can carry out: the usual one, with parties that it connects and a wait that it honours.
    pub fn plan(&self) -> Plan {
        let usual = Plan::default();
        let parties = self.parties.first().copied().unwrap_or(usual.parties);
        Plan { mechanism: self.name.into(), parties, wait: self.wait_near(usual.wait), ..usual }
    }

    /// `wait` where the mechanism honours it, else the first that it does.
    pub fn wait_near(&self, wait: Wait) -> Wait {
        let honoured = self.waits.contains(&wait.kind());
        self.waits.first().filter(|_| !honoured).map_or(wait, |kind| kind.typical())
    }
}

/// The largest message of the mechanisms that have no limit of their own: 1 GiB.
pub const UNLIMITED: usize = 1 << 30;

/// Every kind of wait that needs no descriptor.
pub const ALL_WAITS: &[WaitKind] = &[WaitKind::Block, WaitKind::Hybrid, WaitKind::Yield, WaitKind::Spin];
/// Every kind of wait: those of a mechanism that waits on a descriptor, and of a control, which never waits.
pub const DESCRIPTOR_WAITS: &[WaitKind] = WaitKind::ALL;
/// What the harness can make of any mechanism that connects two parties: a channel for each peer is enough.
pub const PATTERNS: &[Workload] = &[Workload::FanIn, Workload::FanOut, Workload::Pairs];
/// The same, and a broadcast, which only a mechanism can have that takes one message to many receivers by itself. A producer
/// that writes a message once for each of them is a fan-out.
pub const WITH_BROADCAST: &[Workload] = &[Workload::FanIn, Workload::FanOut, Workload::Pairs, Workload::Broadcast];
/// Processes and threads.
pub const BOTH: &[Parties] = &[Parties::Process, Parties::Thread];

/// A way to carry messages of one agreed size between two parties on one host.
///
/// # Rules
/// 1. The parent creates everything before anyone is spawned.
/// 2. Names do not escape: whatever needs a name is opened at both ends and unlinked in the constructor.
/// 3. Drop is local: a fork leaves a copy of each end on the wrong side, and dropping it must not disturb the right one.
///    An end that was [attached](Sender::attach) tells its peer when it is dropped.
pub trait Transport: Sized + 'static {
    /// What it is.
    const SPEC: &'static Spec;
    /// The sending end.
    type Tx: Sender;
    /// The receiving end.
    type Rx: Receiver;

    /// One direction.
    ///
    /// # Errors
    /// `unsupported` when this machine cannot do it as configured, `failed` when a call fails.
    fn one_way(cfg: &Config) -> Result<(Self::Tx, Self::Rx)>;

    /// The largest message here and now. To be overridden where a setting of the kernel decides.
    fn bound() -> Bound {
        Bound { size: Self::SPEC.max_size, set_by: None }
    }

    /// Whether it works here at all: makes a link for small messages and lets go of it.
    ///
    /// # Errors
    /// `unsupported` with the reason, or what else [`link`](Self::link) says.
    fn usable() -> Result<()> {
        let processes = Self::SPEC.parties.contains(&Parties::Process);
        let wait = Self::SPEC.wait_near(Wait::Block);
        Self::link(&Config { processes, ..Config::new(&Plan { wait, ..Plan::default() }) }).map(drop)
    }

    /// Both directions: two one-way transports, unless the mechanism has one object for both.
    ///
    /// # Errors
    /// As [`one_way`](Self::one_way).
    fn link(cfg: &Config) -> Result<[SideOf<Self>; 2]> {
        let (there_tx, here_rx) = Self::one_way(cfg)?;
        let (here_tx, there_rx) = Self::one_way(cfg)?;
        Ok([Side { tx: here_tx, rx: here_rx }, Side { tx: there_tx, rx: there_rx }])
    }

    /// One object that several parties use at once, if the mechanism has such a thing for messages of this size. Without
    /// it the harness makes a channel for each peer and its hub serves them in turn; but a broadcast, which cannot be
    /// served in turn, is there exactly where [`Spec::patterns`] has it.
    ///
    /// Messages of one sender arrive in its order, each exactly once and whole, at any one of the receivers; those of a
    /// broadcast at every one of them. A side has left when all its ends have; the receivers of a broadcast as soon as one
    /// has, since what is sent after that cannot come to all.
    ///
    /// # Errors
    /// As [`one_way`](Self::one_way).
    fn shared(cfg: &Config, shape: Shape) -> Result<Option<Ends<Self>>> {
        let _ = (cfg, shape);
        Ok(None)
    }

    /// One end for a program that was started by hand, meeting its peer at `at`. The producer learns the message size
    /// from `cfg`, the consumer from the producer.
    ///
    /// # Errors
    /// `unsupported` where the mechanism lives within one process, `failed` when nobody is there.
    fn meet(cfg: &Config, at: &str, role: Role) -> Result<Met<Self>> {
        let _ = (cfg, at, role);
        Err(crate::Error::unsupported(format!("{} connects threads of one process, not two programs", Self::SPEC.name)))
    }
}

/// Who shares an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// So many senders and one receiver.
    FanIn(usize),
    /// One sender and so many receivers, each message to one of them.
    FanOut(usize),
    /// One sender and so many receivers, each message to all of them.
    Broadcast(usize),
}

impl Shape {
    /// Senders and receivers.
    pub fn ends(self) -> (usize, usize) {
        match self {
            Shape::FanIn(peers) => (peers, 1),
            Shape::FanOut(peers) | Shape::Broadcast(peers) => (1, peers),
        }
    }
}

/// The ends of an object that several parties share: as many as its [`Shape`] says.
#[derive(Debug)]
pub struct Ends<T: Transport> {
    /// Sending ends.
    pub txs: Vec<T::Tx>,
    /// Receiving ends.
    pub rxs: Vec<T::Rx>,
}

impl<T: Transport> Ends<T> {
    /// As many ends as `shape` has, each made by a call of its own.
    fn made(
        shape: Shape,
        tx: impl Fn() -> std::io::Result<T::Tx>,
        rx: impl Fn() -> std::io::Result<T::Rx>,
    ) -> std::io::Result<Self> {
        let (senders, receivers) = shape.ends();
        let txs = (0..senders).map(|_| tx()).collect::<std::io::Result<_>>()?;
        Ok(Self { txs, rxs: (0..receivers).map(|_| rx()).collect::<std::io::Result<_>>()? })
    }
}

/// Which end a separately started program is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Sends.
    Producer = 0,
    /// Receives.
    Consumer = 1,
}

/// The end that [`Transport::meet`] found, and the message size that both agreed on.
#[derive(Debug)]
pub enum Met<T: Transport> {
    /// A producer's end.
    Tx(T::Tx),
    /// A consumer's end, and the size of the messages that will come.
    Rx(T::Rx, usize),
}

/// One party's two ends.
#[derive(Debug)]
pub struct Side<S, R> {
    /// Sends to the other party.
    pub tx: S,
    /// Receives from it.
    pub rx: R,
}

/// One party's two ends of a transport.
pub type SideOf<T> = Side<<T as Transport>::Tx, <T as Transport>::Rx>;

/// A sending end.
pub trait Sender: Send {
    /// To be called once by the party that will use this end, after it was started and before the first message: where
    /// ends leave their process id, touch their pages, and begin to tell their peer when they are dropped.
    ///
    /// # Errors
    /// What the system says.
    fn attach(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// The agreed message size in bytes.
    fn size(&self) -> usize;

    /// Sends one message, built in place where the mechanism has a place. `fill` gets exactly the agreed size.
    ///
    /// # Errors
    /// `BrokenPipe` (or `ConnectionReset`) when the receiver is gone, and what the system says.
    fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> io::Result<()>;

    /// Sends `n` messages one by one, each published before the next is begun; `fill` also gets how many came before it.
    /// For ends that can keep in registers, over the run, what they know of the ring.
    ///
    /// # Errors
    /// As [`send_with`](Self::send_with); the messages before it were sent.
    #[inline(always)]
    fn send_each(&mut self, n: u64, mut fill: impl FnMut(u64, &mut [u8])) -> io::Result<()> {
        (0..n).try_for_each(|k| self.send_of(n - k, |place| fill(k, place)))
    }

    /// As [`send_with`](Self::send_with), the first of so many messages in a run. For ends that wait differently in one.
    #[inline(always)]
    fn send_of(&mut self, run: u64, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        let _ = run;
        self.send_with(fill)
    }

    /// How many messages this end is sure to send without waiting, where a look at memory tells: zero where it would wait
    /// for the first. `None` where only the call itself finds out. A peer that left keeps nobody waiting.
    fn room(&mut self) -> Option<u64> {
        None
    }

    /// Runs `then` while this end holds the lock that the other end needs, if the mechanism has such a lock; says whether
    /// it does. For `ipcost faults`, which kills a party there.
    fn holding(&mut self, then: &mut dyn FnMut()) -> bool {
        let _ = then;
        false
    }

    /// Sends a message that lies in memory.
    ///
    /// # Errors
    /// `InvalidInput` when its length is not the agreed one; else as [`send_with`](Self::send_with).
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        if message.len() != self.size() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the agreed message size"));
        }
        self.send_with(|place| place.copy_from_slice(message))
    }
}

/// A receiving end.
pub trait Receiver: Send {
    /// As [`Sender::attach`].
    ///
    /// # Errors
    /// What the system says.
    fn attach(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Receives one message and lets `read` look at it, in place where the mechanism has a place.
    ///
    /// # Errors
    /// `UnexpectedEof` when the sender is gone and everything it sent was received, and what the system says.
    fn recv_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> io::Result<R>;

    /// Receives `n` messages one by one, each given back before the next is awaited; as [`Sender::send_each`].
    ///
    /// # Errors
    /// As [`recv_with`](Self::recv_with), and, inside, what `read` says, after which nothing more is received.
    #[inline(always)]
    fn recv_each<E>(
        &mut self,
        n: u64,
        mut read: impl FnMut(u64, &[u8]) -> std::result::Result<(), E>,
    ) -> io::Result<std::result::Result<(), E>> {
        for k in 0..n {
            if let Err(wrong) = self.recv_of(n - k, |message| read(k, message))? {
                return Ok(Err(wrong));
            }
        }
        Ok(Ok(()))
    }

    /// As [`recv_with`](Self::recv_with), the first of so many messages in a run; as [`Sender::send_of`].
    #[inline(always)]
    fn recv_of<R>(&mut self, run: u64, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        let _ = run;
        self.recv_with(read)
    }

    /// How many messages there are to be received without waiting; as [`Sender::room`].
    fn waiting(&mut self) -> Option<u64> {
        None
    }

    /// As [`Sender::holding`].
    fn holding(&mut self, then: &mut dyn FnMut()) -> bool {
        let _ = then;
        false
    }

    /// Receives one message into `buf` and returns its length.
    ///
    /// # Errors
    /// `InvalidInput` when `buf` is too short; else as [`recv_with`](Self::recv_with).
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.recv_with(|message| match buf.get_mut(..message.len()) {
            Some(place) => {
                place.copy_from_slice(message);
                Ok(message.len())
            }
            None => Err(io::Error::new(io::ErrorKind::InvalidInput, "the buffer is shorter than the message")),
        })?
    }
}

impl<S: Sender, R: Receiver> Side<S, R> {
    /// Attaches both ends.
    ///
    /// # Errors
    /// What the system says.
    pub fn attach(&mut self) -> io::Result<()> {
        self.tx.attach()?;
        self.rx.attach()
    }
}
