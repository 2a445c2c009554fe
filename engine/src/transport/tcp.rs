//! TCP over the loopback device: one connection for both directions.
//!
//! Key decision: TCP_NODELAY, because a message that is written is to be sent; with Nagle's algorithm (`--nagle`, a row of
//! its own) the kernel holds a small message back while an earlier one is unacknowledged, and the receiver delays the
//! acknowledgement. Both buffers are set, so that as much is under way as with other mechanisms and the kernel does not
//! tune them during a run; what it gave is recorded. The pair is made by listening at a port that the kernel chooses, and
//! whoever else connects there in between is turned away. A port has no permissions: two programs that meet at one look up
//! whose the other end is. Source: tcp(7), ip(7), socket(7), proc_pid_net(5).

use super::bytes::{ByteRx, ByteTx, say_hello};
use super::unix_stream::{await_hello, nobody_at};
use super::{
    BOTH, Config, DESCRIPTOR_WAITS, Family, Meeting, Met, PATTERNS, PeerDeath, Role, Side, SideOf, Spec, Transport,
    UNLIMITED, buffer_for,
};
use crate::error::{Context, Error, Phase, Result};
use crate::sys::fd::{receive_buffer, send_buffer, set_receive_buffer, set_send_buffer};
use crate::sys::socket::Socket;
use crate::sys::trust;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// See the [module](self).
#[derive(Debug)]
pub struct Tcp;

/// How long a consumer may take to accept a connection.
const ACCEPTED: Duration = Duration::from_secs(5);

/// What a consumer says to a producer that it has looked up. Until then the producer must not end: a closed socket is nobody's.
const WELCOME: [u8; 1] = [b'w'];

/// Most bytes that the kernel allocates for a segment besides room for its data: the headers of all layers, and a
/// `struct sk_buff` with a clone.
pub(super) const OVERHEAD: usize = 2048;

/// Bytes that a new connection holds at the least: what its sender has, and of what its receiver has the quarter that a window
/// begins with.
///
/// # Errors
/// What socket(2) and bind(2) say.
pub fn usual_buffer() -> io::Result<usize> {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(send_buffer(&socket)? + receive_buffer(&socket)? / 4)
}

/// Buffers, half of what is to be under way in each, and Nagle's algorithm.
fn prepare(cfg: &Config, stream: &TcpStream, size: usize) -> io::Result<()> {
    let half = buffer_for(size) / 2;
    let (send, receive) = (set_send_buffer(stream, half)?, set_receive_buffer(stream, half)?);
    // A sender waits for room in its own buffer only, whatever the receiver has read; unless the system is told to let it hold
    // less (tcp_notsent_lowat), or is short of memory (tcp_mem). A party that polls has two thirds of it, which is more than
    // the messages that fit in the worst case take.
    cfg.fits_buffer(send, size, OVERHEAD);
    cfg.note("send buffer", send);
    cfg.note("receive buffer", receive);
    cfg.note("TCP_NODELAY", !cfg.nagle);
    cfg.holds(send + receive);
    stream.set_nodelay(!cfg.nagle)
}

/// Accepts until it is `peer` who came.
fn accept_from(listener: &TcpListener, peer: SocketAddr) -> io::Result<TcpStream> {
    loop {
        let (stream, from) = listener.accept()?;
        if from == peer {
            return Ok(stream);
        }
    }
}

fn pair(cfg: &Config) -> Result<(TcpStream, TcpStream)> {
    let make = || -> io::Result<_> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let near = TcpStream::connect(listener.local_addr()?)?;
        let far = accept_from(&listener, near.local_addr()?)?;
        prepare(cfg, &near, cfg.size)?;
        prepare(cfg, &far, cfg.size)?;
        Ok((near, far))
    };
    make().map_err(|error| no_loopback("TCP", &error))
}

/// What a failure over the loopback device means: a sandbox without a network, or something else.
pub(super) fn no_loopback(protocol: &str, error: &io::Error) -> Error {
    let what = format!("cannot connect two {protocol} sockets over 127.0.0.1");
    match error.kind() {
        ErrorKind::NetworkUnreachable
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkDown
        | ErrorKind::AddrNotAvailable
        | ErrorKind::PermissionDenied
        | ErrorKind::Unsupported => Error::unsupported(what)
            .because(error)
            .hint("bring the loopback device up (ip link set lo up), or allow sockets in the sandbox"),
        _ => Error::failed(Phase::Setup, what).because(error).if_refused(error),
    }
}

/// The address that `at` means; only this machine's own, since nothing else is compared here.
pub fn loopback_address(at: &str) -> Result<SocketAddr> {
    match at.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() && address.port() != 0 => Ok(address),
        _ => Err(Error::usage(format!("{at:?} is no address of this machine")).hint("write it as 127.0.0.1:20000")),
    }
}

/// Waits at `at` for one producer; the connection and the message size.
pub(super) fn accept_producer(cfg: &Config, at: &str) -> Result<(TcpStream, usize)> {
    let cannot = |error: io::Error| {
        Error::failed(Phase::Start, format!("cannot listen at {at}"))
            .because(error)
            .hint("choose another port with --at")
    };
    let listener = TcpListener::bind(loopback_address(at)?).map_err(cannot)?;
    listener.set_nonblocking(true).map_err(cannot)?;
    await_hello(cfg, at, || {
        let (stream, from) = listener.accept()?;
        trust::own_tcp_peer(stream.local_addr()?, from)?;
        // If it has left meanwhile, its missing hello tells.
        let _ = (&stream).write_all(&WELCOME);
        Ok(stream)
    })
}

/// Connects to a consumer that waits at `at`.
pub(super) fn connect_to_consumer(at: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(loopback_address(at)?).map_err(|error| nobody_at(at, &error))?;
    let ends = || Ok((stream.local_addr()?, stream.peer_addr()?));
    let (ours, theirs) = ends().map_err(|error: io::Error| nobody_at(at, &error))?;
    // Before the consumer has accepted, its end is nobody's.
    let start = Instant::now();
    loop {
        match trust::own_tcp_peer(ours, theirs) {
            Err(_) if start.elapsed() < ACCEPTED => std::thread::sleep(Duration::from_millis(5)),
            told => {
                told.context(Phase::Start, format!("the program at {at} is not to be trusted"))?;
                return await_welcome(stream, at);
            }
        }
    }
}

/// Waits until the consumer knows whose this connection is.
fn await_welcome(stream: TcpStream, at: &str) -> Result<TcpStream> {
    let hear = || -> io::Result<()> {
        stream.set_read_timeout(Some(ACCEPTED))?;
        let mut heard = [0; WELCOME.len()];
        (&stream).read_exact(&mut heard)?;
        stream.set_read_timeout(None)?;
        if heard == WELCOME { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
    };
    match hear() {
        Ok(()) => Ok(stream),
        Err(error) => Err(Error::failed(Phase::Start, format!("the program at {at} does not take this one"))
            .because(error)
            .hint("look at what it says; only a consumer of the same user and version does")),
    }
}

fn side(cfg: &Config, stream: TcpStream) -> io::Result<SideOf<Tcp>> {
    let tx = ByteTx::new(Socket(stream.try_clone()?), cfg.size, cfg.wait)?;
    Ok(Side { tx, rx: ByteRx::new(Socket(stream), cfg.size, cfg.wait)? })
}

impl Transport for Tcp {
    const SPEC: &'static Spec = &Spec {
        name: "tcp",
        summary: "TCP over loopback with TCP_NODELAY (--nagle: without), through the whole network stack",
        family: Family::Kernel,
        parties: BOTH,
        waits: DESCRIPTOR_WAITS,
        copies: 2,
        max_size: UNLIMITED,
        peer_death: PeerDeath {
            text: "reader: end-of-file after the data already sent, or an error when a message was cut; writer: ECONNRESET, \
                   then EPIPE",
            ..PeerDeath::SOCKET
        },
        patterns: PATTERNS,
        meeting: Meeting::Address,
        sources: &["tcp(7)", "ip(7)", "std::net::TcpStream"],
    };
    type Tx = ByteTx<Socket<TcpStream>>;
    type Rx = ByteRx<Socket<TcpStream>>;

    fn one_way(cfg: &Config) -> Result<(Self::Tx, Self::Rx)> {
        let (a, b) = pair(cfg)?;
        let ends = || Ok((ByteTx::new(Socket(a), cfg.size, cfg.wait)?, ByteRx::new(Socket(b), cfg.size, cfg.wait)?));
        ends().map_err(|error: io::Error| no_loopback("TCP", &error))
    }

    fn link(cfg: &Config) -> Result<[SideOf<Self>; 2]> {
        let (a, b) = pair(cfg)?;
        let sides = || Ok([side(cfg, a)?, side(cfg, b)?]);
        sides().map_err(|error: io::Error| no_loopback("TCP", &error))
    }

    fn meet(cfg: &Config, at: &str, role: Role) -> Result<Met<Self>> {
        match role {
            Role::Producer => {
                let stream = connect_to_consumer(at)?;
                let hello = prepare(cfg, &stream, cfg.size).and_then(|()| say_hello(&stream, cfg.size));
                let tx = hello.and_then(|()| ByteTx::new(Socket(stream), cfg.size, cfg.wait));
                Ok(Met::Tx(tx.context(Phase::Start, format!("cannot talk to the consumer at {at}"))?))
            }
            Role::Consumer => {
                let (stream, size) = accept_producer(cfg, at)?;
                let rx = prepare(cfg, &stream, size).and_then(|()| ByteRx::new(Socket(stream), size, cfg.wait));
                Ok(Met::Rx(rx.context(Phase::Start, "cannot prepare the socket")?, size))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_producer_waits_until_the_consumer_has_looked_it_up() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = listener.local_addr().unwrap().to_string();
        let answered = |answer: &[u8]| {
            std::thread::scope(|scope| {
                let producer = scope.spawn(|| connect_to_consumer(&at).map(drop));
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(answer).unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                producer.join().unwrap()
            })
        };
        answered(&WELCOME).unwrap();
        for refusal in [&b""[..], b"x"] {
            let error = answered(refusal).unwrap_err().to_string();
            assert!(error.contains("does not take this one"), "{error}");
        }
    }
}
