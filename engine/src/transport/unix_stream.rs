//! A connected pair of Unix stream sockets: one object for both directions.
//!
//! Key decision: `link` is *one* connection, as a program would use it, not two. The send buffer stays at the system's
//! default unless a message does not fit twice; what the kernel uses is recorded. Source: unix(7), socketpair(2).

use super::bytes::{ByteRx, ByteTx, hear_hello, say_hello};
use super::ring::{await_peer, nobody};
use super::{
    BOTH, Config, DESCRIPTOR_WAITS, Family, Meeting, Met, PATTERNS, PeerDeath, Role, Side, SideOf, Spec, Transport,
    UNLIMITED,
};
use crate::error::{Context, Error, Phase, Result};
use crate::names::{self, Thing};
use crate::plan::Wait;
use crate::sys::fd::{send_buffer, set_send_buffer};
use crate::sys::net::listen_at;
use crate::sys::socket::Socket;
use crate::sys::trust::{self, Kind};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// See the [module](self).
#[derive(Debug)]
pub struct Unix;

/// Most bytes that the kernel allocates for a message in a Unix socket besides room for the message.
pub(super) const OVERHEAD: usize = 1024;

/// Bytes that a new Unix socket holds to send.
///
/// # Errors
/// What socketpair(2) says.
pub fn usual_buffer() -> io::Result<usize> {
    send_buffer(&UnixStream::pair()?.0)
}

/// Of a send buffer of `given` bytes, those that a party with this wait fills: poll(2) says that a Unix socket can be written
/// while no more than a quarter is full.
pub(super) fn filled(cfg: &Config, given: usize) -> usize {
    if matches!(cfg.wait, Wait::Poll | Wait::Epoll) { given / 4 } else { given }
}

/// Makes room for two messages, as far as the system allows, and records what there is.
pub(super) fn size_buffers(cfg: &Config, ends: [&UnixStream; 2]) -> io::Result<()> {
    let mut given = 0;
    for end in ends {
        given = send_buffer(end)?;
        if given < 2 * cfg.size {
            given = set_send_buffer(end, 2 * cfg.size)?;
        }
        cfg.holds(given);
    }
    cfg.note("send buffer", given);
    cfg.fits_buffer(filled(cfg, given), cfg.size, OVERHEAD);
    Ok(())
}

fn side(cfg: &Config, stream: UnixStream) -> io::Result<SideOf<Unix>> {
    let tx = ByteTx::new(Socket(stream.try_clone()?), cfg.size, cfg.wait)?;
    Ok(Side { tx, rx: ByteRx::new(Socket(stream), cfg.size, cfg.wait)? })
}

impl Transport for Unix {
    const SPEC: &'static Spec = &Spec {
        name: "unix-stream",
        summary: "Unix stream socket; the kernel copies in and out of socket buffers",
        family: Family::Kernel,
        parties: BOTH,
        waits: DESCRIPTOR_WAITS,
        copies: 2,
        max_size: UNLIMITED,
        peer_death: PeerDeath::SOCKET,
        patterns: PATTERNS,
        meeting: Meeting::Path,
        sources: &["unix(7)", "socketpair(2)", "std::os::unix::net::UnixStream"],
    };
    type Tx = ByteTx<Socket<UnixStream>>;
    type Rx = ByteRx<Socket<UnixStream>>;

    fn one_way(cfg: &Config) -> Result<(Self::Tx, Self::Rx)> {
        let make = || -> io::Result<_> {
            let (a, b) = UnixStream::pair()?;
            size_buffers(cfg, [&a, &b])?;
            Ok((ByteTx::new(Socket(a), cfg.size, cfg.wait)?, ByteRx::new(Socket(b), cfg.size, cfg.wait)?))
        };
        make().context(Phase::Setup, "cannot create a socket pair")
    }

    fn link(cfg: &Config) -> Result<[SideOf<Self>; 2]> {
        let make = || -> io::Result<_> {
            let (a, b) = UnixStream::pair()?;
            size_buffers(cfg, [&a, &b])?;
            Ok([side(cfg, a)?, side(cfg, b)?])
        };
        make().context(Phase::Setup, "cannot create a socket pair")
    }

    fn meet(cfg: &Config, at: &str, role: Role) -> Result<Met<Self>> {
        match role {
            Role::Producer => {
                let stream = reach(at)?;
                let tx = say_hello(&stream, cfg.size).and_then(|()| ByteTx::new(Socket(stream), cfg.size, cfg.wait));
                Ok(Met::Tx(tx.context(Phase::Start, format!("cannot talk to the consumer at {at}"))?))
            }
            Role::Consumer => {
                let (stream, size) = accept_one(cfg, at)?;
                let rx =
                    ByteRx::new(Socket(stream), size, cfg.wait).context(Phase::Start, "cannot prepare the socket")?;
                Ok(Met::Rx(rx, size))
            }
        }
    }
}

/// The error of a producer that finds no consumer.
pub(super) fn nobody_at(at: &str, error: &io::Error) -> Error {
    Error::failed(Phase::Start, format!("no consumer at {at}"))
        .because(error)
        .hint("start the consumer first, with the same --at")
}

/// Takes the path, waits for one producer, and gives the path back.
pub(super) fn accept_one(cfg: &Config, at: &str) -> Result<(UnixStream, usize)> {
    names::reclaim(&Thing::file(at));
    let (listener, _name) = names::place(Path::new(at), listen_at)?;
    listener.set_nonblocking(true).context(Phase::Start, format!("cannot listen at {at}"))?;
    await_hello(cfg, at, || {
        let (stream, _) = listener.accept()?;
        trust::own_peer(&stream).map(|()| stream)
    })
}

/// Connects to a consumer of this user that listens at the path.
pub(super) fn reach(at: &str) -> Result<UnixStream> {
    reach_by(at, |path| UnixStream::connect(path))
}

/// As [`reach`], by another library's call. It is given a path that leads to the very socket whose owner was looked at.
pub(super) fn reach_by<S: AsFd>(at: &str, connect: impl FnOnce(&Path) -> io::Result<S>) -> Result<S> {
    let strange = |error: io::Error| Error::failed(Phase::Start, format!("{at} is not to be trusted")).because(error);
    let own = || trust::own_path(Path::new(at), Kind::Socket);
    let mut looks = 0;
    let found = loop {
        match own() {
            // Its second name goes in a moment, unless somebody gave it one on purpose.
            Err(error) if trust::is_being_named(&error) && looks < 100 => {
                looks += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
            found => break found,
        }
    };
    let found = match found {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(strange(error)),
        other => other.map_err(|error| nobody_at(at, &error))?,
    };
    let link = format!("/proc/self/fd/{}", found.as_raw_fd());
    let stream = connect(Path::new(&link)).map_err(|error| nobody_at(at, &error))?;
    trust::own_peer(stream.as_fd()).map_err(strange)?;
    Ok(stream)
}

/// Waits until somebody comes through `accept`, which must not block, and says hello. Who leaves without a word was no
/// producer but another consumer, asking whether the path is taken.
pub(super) fn await_hello<S>(cfg: &Config, at: &str, mut accept: impl FnMut() -> io::Result<S>) -> Result<(S, usize)>
where
    for<'a> &'a S: io::Read,
{
    let look = || {
        let stream = match accept() {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                eprintln!("turned somebody away at {at}: {error}");
                return Ok(None);
            }
            Err(error) => return Err(Error::failed(Phase::Start, "cannot accept a producer").because(error)),
        };
        match hear_hello(&stream) {
            Ok(size) => Ok(Some((stream, size))),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(Error::failed(Phase::Start, "the producer is not one of ours").because(error)),
        }
    };
    await_peer(cfg.patience, "producer", at, look)?.ok_or_else(|| nobody("producer", at, cfg.patience))
}
