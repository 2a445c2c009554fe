//! ZeroMQ by the crate `zeromq`: framed messages between sockets that look after their connections themselves.
//!
//! Key decision: the crate written in Rust, because it builds with nothing but cargo; the binding `zmq` compiles libzmq
//! with a C++ compiler and CMake, or wants it installed. One DEALER socket in each party carries both directions, over
//! a runtime of one thread as in `tokio-unix`, so that the row differs from that one by what ZeroMQ adds: frames,
//! queues, a fresh message each time. Rejected: PUSH and PULL (two connections for a link, each with a handshake that
//! only proceeds while its runtime is entered); a runtime of several threads (its workers are not pinned with the
//! party). A broadcast has one PUB and many SUB sockets ([`zeromq_pub`](super::zeromq_pub)).
//!
//! A socket that is bound before a fork would be driven by two runtimes, so the parties connect in `attach`, and the
//! address travels through a pipe that the constructor made. ZeroMQ has no end of file: a sender that is dropped says
//! so with an empty message. Source: zeromq 0.6; RFC 23/ZMTP and 28/REQREP of rfc.zeromq.org.

use super::death::TOLD_WITHIN_MS;
use super::zeromq_pub::{Announcement, Publisher, subscribe};
use super::{
    BOTH, Config, Ends, Family, Meeting, Met, PeerDeath, Receiver, Role, Sender, Shape, Side, SideOf, Sign, Spec,
    Transport, UNLIMITED, WITH_BROADCAST, tcp, unix_stream,
};
use crate::error::{Context, Error, Phase, Result};
use crate::names;
use crate::plan::WaitKind;
use crate::sys::rouse;
use ::zeromq::{
    DealerRecvHalf, DealerSendHalf, DealerSocket, Socket, SocketEvent, SocketRecv, SocketSend, SubSocket, ZmqError,
    ZmqMessage, ZmqResult,
};
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::unix::pipe;
use tokio::runtime::{Builder, Runtime};

/// An address to bind, and the private folder of the file that binding makes.
pub type Address = (String, Option<TempDir>);

/// What ZeroMQ runs over.
pub trait Carrier: Sized + Send + 'static {
    /// What the mechanism over this carrier is.
    const SPEC: &'static Spec;

    /// An address to bind, and the private folder of the file that binding makes.
    ///
    /// # Errors
    /// When the folder cannot be made.
    fn address(dir: &Path) -> io::Result<Address>;

    /// Bytes that one direction holds: the crate leaves them as they are, and writes each message and its frame at once.
    ///
    /// # Errors
    /// Where no socket can be made to ask.
    fn buffer() -> io::Result<usize>;

    /// Most bytes that the kernel allocates for a message there besides room for it.
    const OVERHEAD: usize;
}

/// A Unix stream socket.
#[derive(Debug)]
pub struct Ipc;

/// A TCP connection over the loopback device.
#[derive(Debug)]
pub struct Tcp;

const fn spec(name: &'static str, summary: &'static str, within_ms: u64, sources: &'static [&'static str]) -> Spec {
    Spec {
        name,
        summary,
        family: Family::Kernel,
        parties: BOTH,
        waits: &[WaitKind::Block],
        copies: 3,
        max_size: UNLIMITED,
        peer_death: PeerDeath {
            text: "receiver: end-of-file from a sender that is dropped, from a killed one nothing or, once it has received \
                   what lay there, that its message was cut; sender: EPIPE",
            consumer: &[Sign::Nothing, Sign::Cut],
            within_ms,
            ..PeerDeath::STREAM
        },
        patterns: WITH_BROADCAST,
        meeting: Meeting::Never,
        sources,
    }
}

impl Carrier for Ipc {
    const SPEC: &'static Spec = &spec(
        "zeromq",
        "DEALER sockets of the zeromq crate (pure Rust, on tokio) over ipc://, a Unix stream socket",
        TOLD_WITHIN_MS,
        &["crate zeromq", "unix(7)", "epoll(7)"],
    );

    fn address(dir: &Path) -> io::Result<Address> {
        // The crate makes a socket that all may connect to: nobody else can enter its folder.
        let folder = names::folder_in(dir)?;
        Ok((format!("ipc://{}", folder.path().join("s").display()), Some(folder)))
    }

    fn buffer() -> io::Result<usize> {
        unix_stream::usual_buffer()
    }

    const OVERHEAD: usize = unix_stream::OVERHEAD;
}

impl Carrier for Tcp {
    const SPEC: &'static Spec = &spec(
        "zeromq-tcp",
        "DEALER sockets of the zeromq crate (pure Rust, on tokio) over tcp:// on the loopback device",
        // The buffers of a connection hold megabytes, which a receiver takes apart before it comes to the cut.
        100,
        &["crate zeromq", "tcp(7)", "epoll(7)"],
    );

    fn address(_: &Path) -> io::Result<Address> {
        Ok(("tcp://127.0.0.1:0".into(), None))
    }

    fn buffer() -> io::Result<usize> {
        tcp::usual_buffer()
    }

    const OVERHEAD: usize = tcp::OVERHEAD;
}

/// `zeromq`.
pub type ZeroMq = Dealers<Ipc>;
/// `zeromq-tcp`.
pub type ZeroMqTcp = Dealers<Tcp>;

/// See the [module](self).
#[derive(Debug)]
pub struct Dealers<C>(PhantomData<C>);

/// Where a party will bind. The folder is made then, so that it is that party's to remove, whoever made the ends.
pub(super) struct Place {
    address: fn(&Path) -> io::Result<Address>,
    dir: PathBuf,
}

impl Place {
    fn of<C: Carrier>(cfg: &Config) -> Self {
        Self { address: C::address, dir: cfg.dir.clone() }
    }

    pub(super) fn address(&self) -> io::Result<Address> {
        (self.address)(&self.dir)
    }
}

/// One party's socket, before and after it attached.
enum Berth {
    /// Will bind, say where, and wait for the other one.
    Binds { place: Place, say: PipeWriter },
    /// Will hear where, and connect.
    Connects { hear: PipeReader },
    /// Will bind, say where, and wait for all subscribers.
    Publishes(Announcement),
    /// Will hear where, subscribe, and say so.
    Subscribes { hear: PipeReader, tell: PipeWriter },
    /// Has; each half until its end takes it.
    Open { tx: Option<Output>, rx: Option<Input>, drive: Drive },
}

/// What moves a party's futures: its runtime and, where the party can be roused out of a wait, what rings then.
#[derive(Clone)]
struct Drive {
    runtime: Arc<Runtime>,
    bell: Option<Arc<pipe::Receiver>>,
}

impl Drive {
    fn new() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let bell = rouse::bell()?.map(|ear| pipe::Receiver::from_owned_fd(ear).map(Arc::new)).transpose()?;
        drop(entered);
        Ok(Self { runtime: Arc::new(runtime), bell })
    }

    /// Waits for `what`, or until the process is roused. The bell is looked at only where `what` is not ready.
    #[inline(always)]
    fn block_on<T>(&self, what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let Some(bell) = &self.bell else { return self.runtime.block_on(what) };
        let mut what = pin!(what);
        self.runtime.block_on(poll_fn(|context| match what.as_mut().poll(context) {
            Poll::Pending => bell.poll_read_ready(context).map(|rung| Err(rung.err().unwrap_or_else(rouse::lost))),
            ready => ready,
        }))
    }
}

/// What an end sends through.
enum Output {
    Dealer(DealerSendHalf),
    Publisher(Publisher),
}

impl Output {
    #[inline(always)]
    async fn send(&mut self, message: ZmqMessage) -> io::Result<()> {
        match self {
            Output::Publisher(publisher) => publisher.send(message).await,
            Output::Dealer(half) => half.send(message).await.map_err(|error| match error {
                ZmqError::ReturnToSender { .. } | ZmqError::Codec(_) => ErrorKind::BrokenPipe.into(),
                error => other(error),
            }),
        }
    }

    async fn take_leave(&mut self) {
        match self {
            Output::Dealer(half) => drop(half.send(Vec::new().into()).await),
            Output::Publisher(publisher) => publisher.take_leave().await,
        }
    }
}

/// What an end receives from.
enum Input {
    Dealer(DealerRecvHalf),
    Subscriber(SubSocket),
}

impl Input {
    #[inline(always)]
    async fn recv(&mut self) -> ZmqResult<ZmqMessage> {
        match self {
            Input::Dealer(half) => half.recv().await,
            Input::Subscriber(socket) => socket.recv().await,
        }
    }
}

type Shared = Arc<Mutex<Berth>>;

pub(super) fn other(error: ZmqError) -> io::Error {
    match error {
        ZmqError::Network(error) => error,
        error => io::Error::other(error),
    }
}

/// Makes the connection.
fn open(berth: &mut Berth) -> io::Result<()> {
    let drive = Drive::new()?;
    let socket = match berth {
        Berth::Publishes(announcement) => {
            let publisher = drive.block_on(Publisher::begin(announcement))?;
            *berth = Berth::Open { tx: Some(Output::Publisher(publisher)), rx: None, drive };
            return Ok(());
        }
        Berth::Subscribes { hear, tell } => {
            let address = hear_address(hear)?;
            let socket = drive.block_on(subscribe(&address, tell))?;
            *berth = Berth::Open { tx: None, rx: Some(Input::Subscriber(socket)), drive };
            return Ok(());
        }
        Berth::Binds { place, say } => drive.block_on(bind(place, say))?,
        Berth::Connects { hear } => {
            let address = hear_address(hear)?;
            drive.block_on(async {
                let mut socket = DealerSocket::new();
                socket.connect(&address).await.map_err(other)?;
                Ok::<_, io::Error>(socket)
            })?
        }
        Berth::Open { .. } => return Ok(()),
    };
    let (tx, rx) = socket.split();
    let (tx, rx) = (Some(Output::Dealer(tx)), Some(Input::Dealer(rx)));
    *berth = Berth::Open { tx, rx, drive };
    Ok(())
}

async fn bind(place: &Place, say: &mut PipeWriter) -> io::Result<DealerSocket> {
    // Removed as soon as the one connection that there will be is made.
    let (address, _folder) = place.address()?;
    let mut socket = DealerSocket::new();
    let mut events = socket.monitor();
    let address = socket.bind(&address).await.map_err(other)?;
    say_address(say, &address.to_string())?;
    loop {
        match events.recv().await {
            Ok(SocketEvent::Accepted(..)) => return Ok(socket),
            Ok(SocketEvent::AcceptFailed(error)) => return Err(other(error)),
            Ok(_) => {}
            Err(_) => return Err(ErrorKind::NotConnected.into()),
        }
    }
}

/// An address on its way from one party to the other: its length in a byte, then itself.
pub(super) fn say_address(mut to: impl Write, address: &str) -> io::Result<()> {
    let len = u8::try_from(address.len()).map_err(|_| io::Error::other(format!("{address} is too long an address")))?;
    to.write_all(&[&[len], address.as_bytes()].concat())
}

fn hear_address(mut from: impl Read) -> io::Result<String> {
    let mut len = [0];
    from.read_exact(&mut len)?;
    let mut address = vec![0; len[0].into()];
    from.read_exact(&mut address)?;
    String::from_utf8(address).map_err(io::Error::other)
}

fn locked(shared: &Shared) -> std::sync::MutexGuard<'_, Berth> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sending end.
pub struct Tx {
    open: Option<(Output, Drive)>,
    shared: Shared,
    size: usize,
}

/// The receiving end.
pub struct Rx {
    open: Option<(Input, Drive)>,
    shared: Shared,
    ended: bool,
}

impl<C: Carrier> Transport for Dealers<C> {
    const SPEC: &'static Spec = C::SPEC;
    type Tx = Tx;
    type Rx = Rx;

    fn usable() -> Result<()> {
        Self::link(&Config { processes: false, ..Config::new(&crate::plan::Plan::default()) }).map(drop)
    }

    fn one_way(cfg: &Config) -> Result<(Tx, Rx)> {
        let [near, far] = Self::link(cfg)?;
        Ok((near.tx, far.rx))
    }

    fn link(cfg: &Config) -> Result<[SideOf<Self>; 2]> {
        let (hear, say) = io::pipe().context(Phase::Setup, "cannot create a pipe")?;
        let mut berths = [Berth::Binds { place: Place::of::<C>(cfg), say }, Berth::Connects { hear }];
        if !cfg.processes {
            connect(&mut berths).context(Phase::Setup, "cannot connect two ZeroMQ sockets")?;
        }
        if let Ok(buffer) = C::buffer() {
            cfg.fits_buffer(buffer, cfg.size, C::OVERHEAD);
        }
        Ok(berths.map(|berth| side(cfg, berth)))
    }

    fn shared(cfg: &Config, shape: Shape) -> Result<Option<Ends<Self>>> {
        let Shape::Broadcast(of) = shape else { return Ok(None) };
        let mut berths = publication::<C>(cfg, of).context(Phase::Setup, "cannot prepare a publication")?;
        if !cfg.processes {
            connect(&mut berths).context(Phase::Setup, "cannot connect ZeroMQ's publisher with its subscribers")?;
        }
        let mut sides = berths.into_iter().map(|berth| side(cfg, berth));
        let txs = sides.by_ref().take(1).map(|side| side.tx).collect();
        Ok(Some(Ends { txs, rxs: sides.map(|side| side.rx).collect() }))
    }

    fn meet(_: &Config, _: &str, _: Role) -> Result<Met<Self>> {
        let name = C::SPEC.name;
        Err(Error::unsupported(format!("{name} is measured within one run only; two programs are not connected here")))
    }
}

/// A party's two ends.
fn side(cfg: &Config, berth: Berth) -> Side<Tx, Rx> {
    let shared = Arc::new(Mutex::new(berth));
    let tx = Tx { open: None, shared: Arc::clone(&shared), size: cfg.size };
    Side { tx, rx: Rx { open: None, shared, ended: false } }
}

/// The publisher's berth, and those of so many subscribers.
fn publication<C: Carrier>(cfg: &Config, of: usize) -> io::Result<Vec<Berth>> {
    let (answers, tell) = io::pipe()?;
    let (mut say, mut subscribers) = (Vec::with_capacity(of), Vec::with_capacity(of));
    for _ in 0..of {
        let (hear, to) = io::pipe()?;
        say.push(to);
        subscribers.push(Berth::Subscribes { hear, tell: tell.try_clone()? });
    }
    let announcement = Announcement { place: Place::of::<C>(cfg), say, answers, patience: cfg.patience };
    Ok(std::iter::once(Berth::Publishes(announcement)).chain(subscribers).collect())
}

/// Connects all at once, as each waits for the others.
fn connect(berths: &mut [Berth]) -> io::Result<()> {
    thread::scope(|scope| {
        let opening: Vec<_> = berths.iter_mut().map(|berth| scope.spawn(|| open(berth))).collect();
        let join = |it: thread::ScopedJoinHandle<'_, io::Result<()>>| {
            it.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
        };
        let opened: Vec<_> = opening.into_iter().map(join).collect();
        opened.into_iter().collect()
    })
}

impl Sender for Tx {
    fn attach(&mut self) -> io::Result<()> {
        let mut berth = locked(&self.shared);
        open(&mut berth)?;
        if let Berth::Open { tx, drive, .. } = &mut *berth
            && let Some(half) = tx.take()
        {
            self.open = Some((half, drive.clone()));
        }
        Ok(())
    }

    fn size(&self) -> usize {
        self.size
    }

    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        let (half, drive) = self.open.as_mut().ok_or(ErrorKind::NotConnected)?;
        // A fresh one for every message: the crate takes it and does not give it back.
        let mut message = vec![0; self.size];
        fill(&mut message);
        drive.block_on(half.send(message.into()))
    }
}

/// How long a sender that leaves tries to say so to a receiver that does not read.
const FAREWELL: Duration = Duration::from_millis(100);

impl Drop for Tx {
    fn drop(&mut self) {
        if let Some((half, drive)) = &mut self.open {
            let farewell = half.take_leave();
            let _ = drive.runtime.block_on(async { tokio::time::timeout(FAREWELL, farewell).await });
        }
    }
}

impl Receiver for Rx {
    fn attach(&mut self) -> io::Result<()> {
        let mut berth = locked(&self.shared);
        open(&mut berth)?;
        if let Berth::Open { rx, drive, .. } = &mut *berth
            && let Some(half) = rx.take()
        {
            self.open = Some((half, drive.clone()));
        }
        Ok(())
    }

    #[inline(always)]
    fn recv_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        let (half, drive) = self.open.as_mut().ok_or(ErrorKind::NotConnected)?;
        if self.ended {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let message = drive.block_on(async {
            half.recv().await.map_err(|error| match error {
                ZmqError::Codec(error) => io::Error::new(ErrorKind::ConnectionAborted, error),
                error => other(error),
            })
        })?;
        match message.get(0) {
            Some(frame) if !frame.is_empty() => Ok(read(frame)),
            _ => {
                self.ended = true;
                Err(ErrorKind::UnexpectedEof.into())
            }
        }
    }
}
