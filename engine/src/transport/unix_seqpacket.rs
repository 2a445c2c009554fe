//! A connected pair of Unix sockets that keep message boundaries: sequenced packets.
//!
//! Key decision: a message is one packet, so it is one send(2) and one recv(2) whatever its size, and never torn. The
//! send buffer, which is the only limit, is asked for as large as the messages under way need it, and what the kernel
//! gave is recorded. Two programs meet at a path by a stream socket, over which the producer hands one end of a pair to
//! the consumer: from there on the sockets are the ones that are measured. Rejected: a listening SOCK_SEQPACKET socket,
//! which is a second way to meet beside the one of `unix-stream`. Source: unix(7), socketpair(2).

use super::bytes::{ByteRx, ByteTx, say_hello};
use super::unix_stream::{OVERHEAD, accept_one, filled, reach};
use super::{
    BOTH, Bound, Config, DESCRIPTOR_WAITS, Ends, Family, Meeting, Met, PATTERNS, PeerDeath, Role, Shape, Side, SideOf,
    Sign, Spec, Transport, buffer_for,
};
use crate::error::{Context, Phase, Result};
use crate::sys::fd::set_send_buffer;
use crate::sys::socket::{Kind, Packet, largest_packet, receive_descriptor, send_descriptor};
use std::io;
use std::os::unix::net::UnixStream;

/// See the [module](self).
#[derive(Debug)]
pub struct Seqpacket;

/// The kernel wants a packet in one piece of physical memory. It takes four times as much where it finds such a piece, and
/// else says ENOBUFS, as it did here under load.
pub(super) const LARGEST_PACKET: usize = 1 << 20;

/// The largest packet here: what the send buffer may hold.
pub(super) fn packet_bound() -> Bound {
    const SETTING: &str = "net.core.wmem_max";
    // Containers with a network of their own do not show the setting, but the kernel goes by it.
    let value = std::fs::read_to_string("/proc/sys/net/core/wmem_max").unwrap_or_else(|_| "not shown".into());
    match largest_packet() {
        Ok(size) if size < LARGEST_PACKET => {
            let how = format!("raise it with `sysctl -w {SETTING}={}`", LARGEST_PACKET / 2 + 4096);
            Bound { size, set_by: Some(format!("the send buffer, {SETTING} is {}; {how}", value.trim())) }
        }
        _ => Bound { size: LARGEST_PACKET, set_by: None },
    }
}

/// A connected pair, of which the first `senders` have room for the messages under way.
pub(super) fn pair(cfg: &Config, kind: Kind, senders: usize) -> io::Result<(Packet, Packet)> {
    let (a, b) = Packet::pair(kind)?;
    for end in [&a, &b].into_iter().take(senders) {
        let given = set_send_buffer(end, buffer_for(cfg.size))?;
        cfg.note("send buffer", given);
        cfg.holds(given);
        cfg.fits_buffer(filled(cfg, given), cfg.size, OVERHEAD);
    }
    Ok((a, b))
}

/// Meets a consumer and hands it one end of a pair; the other end, and the connection over which they met.
pub(super) fn hand_over(cfg: &Config, at: &str, kind: Kind) -> Result<(Packet, UnixStream)> {
    let stream = reach(at)?;
    let make = || -> io::Result<Packet> {
        let (mine, theirs) = pair(cfg, kind, 1)?;
        say_hello(&stream, cfg.size)?;
        send_descriptor(&stream, theirs)?;
        Ok(mine)
    };
    Ok((make().context(Phase::Start, format!("cannot talk to the consumer at {at}"))?, stream))
}

/// Waits for a producer; the end that it hands over, the message size, and the connection over which they met.
pub(super) fn take_over(cfg: &Config, at: &str, kind: Kind) -> Result<(Packet, usize, UnixStream)> {
    let (stream, size) = accept_one(cfg, at)?;
    let socket = receive_descriptor(&stream).context(Phase::Start, "the producer handed no socket over")?;
    Ok((Packet::of(socket, kind), size, stream))
}

fn side(cfg: &Config, socket: Packet) -> io::Result<SideOf<Seqpacket>> {
    let tx = ByteTx::new(socket.try_clone()?, cfg.size, cfg.wait)?;
    Ok(Side { tx, rx: ByteRx::new(socket, cfg.size, cfg.wait)? })
}

impl Transport for Seqpacket {
    const SPEC: &'static Spec = &Spec {
        name: "unix-seqpacket",
        summary: "Unix sequenced-packet socket; one packet a message, copied into and out of a socket buffer",
        family: Family::Kernel,
        parties: BOTH,
        waits: DESCRIPTOR_WAITS,
        copies: 2,
        max_size: LARGEST_PACKET,
        peer_death: PeerDeath {
            text: "reader: end-of-file after the data already sent; writer: EPIPE, or ECONNRESET once when it was waiting \
                   for a reader that left data unread",
            consumer: &[Sign::EndOfFile],
            ..PeerDeath::SOCKET
        },
        patterns: PATTERNS,
        meeting: Meeting::Path,
        sources: &["unix(7)", "socketpair(2)", "send(2)", "recv(2)"],
    };
    type Tx = ByteTx<Packet>;
    type Rx = ByteRx<Packet>;

    fn one_way(cfg: &Config) -> Result<(Self::Tx, Self::Rx)> {
        let make = || -> io::Result<_> {
            let (a, b) = pair(cfg, Kind::Seqpacket, 1)?;
            Ok((ByteTx::new(a, cfg.size, cfg.wait)?, ByteRx::new(b, cfg.size, cfg.wait)?))
        };
        make().context(Phase::Setup, "cannot create a socket pair")
    }

    // A packet goes in as a whole, whoever else uses the socket. It comes out as a whole, too, but consumers that compete for one
    // socket took 1.14 times as long for a message as with a pair for each.
    fn shared(cfg: &Config, shape: Shape) -> Result<Option<Ends<Self>>> {
        let Shape::FanIn(_) = shape else { return Ok(None) };
        let make = || -> io::Result<_> {
            let (a, b) = pair(cfg, Kind::Seqpacket, 1)?;
            let tx = || ByteTx::new(a.try_clone()?, cfg.size, cfg.wait);
            Ends::made(shape, tx, || ByteRx::new(b.try_clone()?, cfg.size, cfg.wait))
        };
        make().map(Some).context(Phase::Setup, "cannot share a socket pair")
    }

    fn bound() -> Bound {
        packet_bound()
    }

    fn link(cfg: &Config) -> Result<[SideOf<Self>; 2]> {
        let make = || -> io::Result<_> {
            let (a, b) = pair(cfg, Kind::Seqpacket, 2)?;
            Ok([side(cfg, a)?, side(cfg, b)?])
        };
        make().context(Phase::Setup, "cannot create a socket pair")
    }

    fn meet(cfg: &Config, at: &str, role: Role) -> Result<Met<Self>> {
        let cannot = "cannot prepare the socket";
        match role {
            Role::Producer => {
                let (socket, _) = hand_over(cfg, at, Kind::Seqpacket)?;
                Ok(Met::Tx(ByteTx::new(socket, cfg.size, cfg.wait).context(Phase::Start, cannot)?))
            }
            Role::Consumer => {
                let (socket, size, _) = take_over(cfg, at, Kind::Seqpacket)?;
                Ok(Met::Rx(ByteRx::new(socket, size, cfg.wait).context(Phase::Start, cannot)?, size))
            }
        }
    }
}
