//! A connected pair of Unix datagram sockets: message boundaries, and no connection whose end would be told.
//!
//! Key decision: nothing is added to a message and nothing to the calls for one, so the end has to be told otherwise. A
//! sender that leaves says goodbye with an empty datagram, which no message is; of several senders to one socket each does, and the
//! receiver counts them. For a sender that is killed the kernel
//! says nothing at all: tried out between processes, a receiver that sleeps in recv(2) sleeps on, and neither poll(2) nor
//! shutdown(2) by the sender show it anything. In a measured run that is left to whoever watches the processes, and
//! [rouses](crate::sys::rouse) a hub among them. Two programs that were started by hand have no such watcher, so they keep
//! the connection over which they met and the receiver wakes every 20 ms to look at it. Rejected: the same for every receiver; the timer that a timeout arms for
//! each message made a round trip on one CPU four per cent slower. Rejected: to probe the sender with a datagram, because
//! the kernel answers a failed send by throwing away what the socket has received. Source: unix(7), socketpair(2).

use super::bytes::{ByteRx, ByteTx};
use super::unix_seqpacket::{LARGEST_PACKET, hand_over, packet_bound, pair, take_over};
use super::{
    BOTH, Bound, Config, DESCRIPTOR_WAITS, Ends, Family, Meeting, Met, PATTERNS, PeerDeath, Receiver, Role, Sender,
    Shape, Side, SideOf, Sign, Spec, Transport,
};
use crate::error::{Context, Phase, Result};
use crate::sys::fd::hung_up;
use crate::sys::socket::{Kind, Packet, say_goodbye, shut_reading};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// See the [module](self).
#[derive(Debug)]
pub struct Dgram;

/// Longest wait for room for a goodbye.
const LEAVING: Duration = Duration::from_secs(2);
/// Sleep between two looks whether a separately started sender still lives.
pub(super) const NAP: Duration = Duration::from_millis(20);

/// A datagram socket to send through.
#[derive(Debug)]
pub struct Outbox(Packet);

impl Write for Outbox {
    #[inline(always)]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf).map_err(|error| match error.kind() {
            // At first the kernel says that the peer is gone, and then that there is none.
            ErrorKind::ConnectionRefused | ErrorKind::NotConnected => ErrorKind::BrokenPipe.into(),
            _ => error,
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Outbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A datagram socket to receive from, which knows when the sender has left.
#[derive(Debug)]
pub struct Inbox<S> {
    socket: S,
    /// A connection that ends with the sender, where there is one.
    line: Option<OwnedFd>,
    /// Senders that have not said goodbye.
    senders: usize,
}

impl<S> Inbox<S> {
    pub(super) fn new(socket: S, line: Option<OwnedFd>) -> Self {
        Self { socket, line, senders: 1 }
    }

    /// An inbox of several senders, of which each says goodbye.
    fn of(socket: S, senders: usize) -> Self {
        Self { socket, line: None, senders }
    }
}

impl<S: Read + AsFd> Inbox<S> {
    /// After a look that found nothing: whether the sender is gone, and then once more what there is.
    #[cold]
    fn look_again(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let waiting = || Err(ErrorKind::WouldBlock.into());
        match &self.line {
            Some(line) if hung_up(line)? => {}
            _ => return waiting(),
        }
        match self.socket.read(buf) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.end(),
            found => found,
        }
    }

    /// After a goodbye: the end of the stream if it was the last, and else the next message.
    #[cold]
    fn one_less(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.senders -= 1;
        if self.senders > 0 { self.read(buf) } else { self.end() }
    }

    /// The end of the stream, from now on.
    #[cold]
    fn end(&mut self) -> io::Result<usize> {
        self.senders = 0;
        // So that poll(2) does not wait for a datagram when the end is asked for once more.
        shut_reading(&self.socket)?;
        Ok(0)
    }
}

impl<S: Read + AsFd> Read for Inbox<S> {
    #[inline(always)]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.senders == 0 {
            return Ok(0);
        }
        match self.socket.read(buf) {
            Ok(0) => self.one_less(buf),
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.look_again(buf),
            found => found,
        }
    }
}

impl<S: AsFd> AsFd for Inbox<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// An end of a datagram mechanism that says goodbye when it leaves.
#[derive(Debug)]
pub struct Leaving<E> {
    end: E,
    attached: bool,
    /// Another descriptor of the socket, for the goodbye.
    door: OwnedFd,
    /// The sender's half of the connection that ends with it, where there is one.
    _line: Option<OwnedFd>,
}

impl<E> Leaving<E> {
    pub(super) fn new(end: E, door: OwnedFd, line: Option<OwnedFd>) -> Self {
        Self { end, attached: false, door, _line: line }
    }
}

impl<E: Sender> Sender for Leaving<E> {
    fn attach(&mut self) -> io::Result<()> {
        self.attached = true;
        self.end.attach()
    }

    fn size(&self) -> usize {
        self.end.size()
    }

    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        self.end.send_with(fill)
    }
}

impl<E: Receiver> Receiver for Leaving<E> {
    fn attach(&mut self) -> io::Result<()> {
        self.attached = true;
        self.end.attach()
    }

    #[inline(always)]
    fn recv_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        self.end.recv_with(read)
    }
}

impl<E> Drop for Leaving<E> {
    fn drop(&mut self) {
        if self.attached {
            say_goodbye(&self.door, LEAVING);
        }
    }
}

type Tx = Leaving<ByteTx<Outbox>>;
type Rx = ByteRx<Inbox<Packet>>;

fn sender(cfg: &Config, socket: Packet, line: Option<OwnedFd>) -> io::Result<Tx> {
    let door = socket.as_fd().try_clone_to_owned()?;
    Ok(Leaving::new(ByteTx::new(Outbox(socket), cfg.size, cfg.wait)?, door, line))
}

fn receiver(cfg: &Config, socket: Packet, size: usize, line: Option<OwnedFd>) -> io::Result<Rx> {
    let nap = line.is_some().then_some(NAP);
    ByteRx::new(Inbox::new(socket, line), size, cfg.wait)?.napping(nap)
}

fn side(cfg: &Config, socket: Packet) -> io::Result<SideOf<Dgram>> {
    Ok(Side { tx: sender(cfg, socket.try_clone()?, None)?, rx: receiver(cfg, socket, cfg.size, None)? })
}

/// Records the other limit of datagrams, which a connected pair is not subject to.
fn note_queue(cfg: &Config) {
    if let Ok(most) = std::fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen") {
        cfg.note("net.unix.max_dgram_qlen", format!("{}, not applied to a connected pair", most.trim()));
    }
}

impl Transport for Dgram {
    const SPEC: &'static Spec = &Spec {
        name: "unix-dgram",
        summary: "Unix datagram socket pair; one datagram a message, reliable and in order",
        family: Family::Kernel,
        parties: BOTH,
        waits: DESCRIPTOR_WAITS,
        copies: 2,
        max_size: LARGEST_PACKET,
        peer_death: PeerDeath {
            text: "reader: nothing from the kernel; a sender that leaves says goodbye with an empty datagram, a killed \
                     one does not; writer: ECONNREFUSED, then ENOTCONN",
            consumer: &[Sign::Nothing],
            ..PeerDeath::STREAM
        },
        patterns: PATTERNS,
        meeting: Meeting::Path,
        sources: &["unix(7)", "socketpair(2)", "send(2)", "recv(2)"],
    };
    type Tx = Tx;
    type Rx = Rx;

    fn one_way(cfg: &Config) -> Result<(Tx, Rx)> {
        note_queue(cfg);
        let make = || -> io::Result<_> {
            let (a, b) = pair(cfg, Kind::Datagram, 1)?;
            Ok((sender(cfg, a, None)?, receiver(cfg, b, cfg.size, None)?))
        };
        make().context(Phase::Setup, "cannot create a socket pair")
    }

    // Several receivers of one socket are not offered: the first to hear a goodbye would take it from the others.
    fn shared(cfg: &Config, shape: Shape) -> Result<Option<Ends<Self>>> {
        let Shape::FanIn(senders) = shape else { return Ok(None) };
        note_queue(cfg);
        let make = || -> io::Result<_> {
            let (a, b) = pair(cfg, Kind::Datagram, 1)?;
            let rx = || ByteRx::new(Inbox::of(b.try_clone()?, senders), cfg.size, cfg.wait);
            Ends::made(shape, || sender(cfg, a.try_clone()?, None), rx)
        };
        make().map(Some).context(Phase::Setup, "cannot share a socket pair")
    }

    fn bound() -> Bound {
        packet_bound()
    }

    fn link(cfg: &Config) -> Result<[SideOf<Self>; 2]> {
        note_queue(cfg);
        let make = || -> io::Result<_> {
            let (a, b) = pair(cfg, Kind::Datagram, 2)?;
            Ok([side(cfg, a)?, side(cfg, b)?])
        };
        make().context(Phase::Setup, "cannot create a socket pair")
    }

    fn meet(cfg: &Config, at: &str, role: Role) -> Result<Met<Self>> {
        let cannot = "cannot prepare the socket";
        match role {
            Role::Producer => {
                let (socket, line) = hand_over(cfg, at, Kind::Datagram)?;
                Ok(Met::Tx(sender(cfg, socket, Some(line.into())).context(Phase::Start, cannot)?))
            }
            Role::Consumer => {
                let (socket, size, line) = take_over(cfg, at, Kind::Datagram)?;
                let rx = receiver(cfg, socket, size, Some(line.into()));
                Ok(Met::Rx(rx.context(Phase::Start, cannot)?, size))
            }
        }
    }
}
