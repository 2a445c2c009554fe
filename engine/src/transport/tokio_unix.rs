//! A Unix stream socket driven by `tokio`: the calls of `unix-stream` behind a reactor.
//!
//! Key decision: a runtime of one thread in each party, entered once for each message, so that the row differs from
//! `unix-stream` by what tokio adds: registering with epoll(7), asking for readiness, polling a future. The runtime is
//! made in `attach`, because an epoll descriptor that crosses a fork serves both processes at once. Rejected: the
//! runtime of several threads (its workers cannot be pinned with the party, and wake each other); a loop that stays
//! within one future (the workload would have to be async, and differ from every other row's).
//! Source: tokio 1, `net::UnixStream` and `runtime`; epoll(7).

use super::bytes::{hear_end, say_hello};
use super::message::Message;
use super::unix_stream::{accept_one, reach, size_buffers};
use super::{
    BOTH, Config, Family, Meeting, Met, PATTERNS, PeerDeath, Receiver, Role, Sender, Side, SideOf, Spec, Transport,
    UNLIMITED,
};
use crate::error::{Context, Phase, Result};
use crate::plan::WaitKind;
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream as Socket;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

/// See the [module](self).
#[derive(Debug)]
pub struct TokioUnix;

/// A connection with the runtime that drives it. The stream is first, so that it leaves the reactor before that ends.
#[derive(Debug)]
struct Driven {
    stream: UnixStream,
    runtime: Runtime,
}

/// A connection before and after its party attached; shared by the two ends of a side.
#[derive(Debug)]
enum Berth {
    Idle(Socket),
    Driven(Arc<Driven>),
}

type Shared = Arc<Mutex<Berth>>;

fn drive(shared: &Shared) -> io::Result<Arc<Driven>> {
    let mut berth = shared.lock().unwrap_or_else(PoisonError::into_inner);
    let socket = match &*berth {
        Berth::Driven(driven) => return Ok(Arc::clone(driven)),
        Berth::Idle(socket) => socket.try_clone()?,
    };
    socket.set_nonblocking(true)?;
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let stream = runtime.block_on(async { UnixStream::from_std(socket) })?;
    let driven = Arc::new(Driven { stream, runtime });
    // Drops the socket as it was before: one descriptor is left.
    *berth = Berth::Driven(Arc::clone(&driven));
    Ok(driven)
}

/// One end: the connection, what drives it once it is attached, and the message.
#[derive(Debug)]
struct End {
    shared: Shared,
    driven: Option<Arc<Driven>>,
    message: Message,
}

impl End {
    fn new(shared: Shared, size: usize) -> Self {
        Self { shared, driven: None, message: Message::new(size) }
    }

    fn attach(&mut self) -> io::Result<()> {
        self.driven = Some(drive(&self.shared)?);
        Ok(())
    }
}

/// The sending end.
#[derive(Debug)]
pub struct Tx(End);

/// The receiving end.
#[derive(Debug)]
pub struct Rx(End);

fn side(cfg: &Config, socket: Socket) -> SideOf<TokioUnix> {
    let shared = Arc::new(Mutex::new(Berth::Idle(socket)));
    Side { tx: Tx(End::new(Arc::clone(&shared), cfg.size)), rx: Rx(End::new(shared, cfg.size)) }
}

impl Transport for TokioUnix {
    const SPEC: &'static Spec = &Spec {
        name: "tokio-unix",
        summary: "the socket of unix-stream under a tokio runtime of one thread; sleeps in epoll, never in the call",
        family: Family::Kernel,
        parties: BOTH,
        waits: &[WaitKind::Block],
        copies: 2,
        max_size: UNLIMITED,
        peer_death: PeerDeath::STREAM,
        patterns: PATTERNS,
        meeting: Meeting::Path,
        sources: &["unix(7)", "epoll(7)", "crate tokio, net and rt"],
    };
    type Tx = Tx;
    type Rx = Rx;

    fn one_way(cfg: &Config) -> Result<(Tx, Rx)> {
        let [near, far] = Self::link(cfg)?;
        Ok((near.tx, far.rx))
    }

    fn link(cfg: &Config) -> Result<[SideOf<Self>; 2]> {
        let (a, b) = Socket::pair().context(Phase::Setup, "cannot create a socket pair")?;
        size_buffers(cfg, [&a, &b]).context(Phase::Setup, "cannot size a socket's buffers")?;
        Ok([side(cfg, a), side(cfg, b)])
    }

    fn meet(cfg: &Config, at: &str, role: Role) -> Result<Met<Self>> {
        match role {
            Role::Producer => {
                let socket = reach(at)?;
                say_hello(&socket, cfg.size).context(Phase::Start, format!("cannot talk to the consumer at {at}"))?;
                Ok(Met::Tx(side(cfg, socket).tx))
            }
            Role::Consumer => {
                let (socket, size) = accept_one(cfg, at)?;
                Ok(Met::Rx(side(&Config { size, ..cfg.clone() }, socket).rx, size))
            }
        }
    }
}

async fn write_all(stream: &UnixStream, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match stream.try_write(rest) {
            Ok(sent) => rest = &rest[sent..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn read_exact(stream: &UnixStream, message: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < message.len() {
        match stream.try_read(&mut message[filled..]) {
            Ok(0) => return Err(hear_end(filled, message.len())),
            Ok(got) => filled += got,
            Err(error) if error.kind() == ErrorKind::WouldBlock => stream.readable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Sender for Tx {
    fn attach(&mut self) -> io::Result<()> {
        self.0.attach()
    }

    fn size(&self) -> usize {
        self.0.message.len()
    }

    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        fill(&mut self.0.message);
        let Driven { stream, runtime } = &**self.0.driven.as_ref().ok_or(ErrorKind::NotConnected)?;
        runtime.block_on(write_all(stream, &self.0.message))
    }
}

impl Receiver for Rx {
    fn attach(&mut self) -> io::Result<()> {
        self.0.attach()
    }

    #[inline(always)]
    fn recv_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        let Driven { stream, runtime } = &**self.0.driven.as_ref().ok_or(ErrorKind::NotConnected)?;
        runtime.block_on(read_exact(stream, &mut self.0.message))?;
        Ok(read(&self.0.message))
    }
}
