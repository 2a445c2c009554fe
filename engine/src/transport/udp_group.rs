//! UDP to a multicast group over the loopback device: one send(2), and the kernel queues the datagram at every member.
//!
//! Key decision: the window of `udp`, with a line of credit from each receiver. All receivers have sockets at the same port of
//! one group and are members of it on the loopback device; the sender may send half a window once every one of them has
//! received that much, so the slowest decides and no buffer overflows. Credits cannot come from the sockets at the group,
//! which all have the same port, so each receiver has a pair of plain UDP sockets for them. A socket at the group is
//! connected to the sender, so the kernel throws away what anybody else sends there; but anybody on this machine may join
//! the group and listen. Rejected: a group or a port for each receiver (that is a fan-out in the sender); sending without
//! credit, which measures the loss; the limited broadcast address (255.255.255.255), which the loopback device does not
//! carry and which would reach every program at that port.
//!
//! Datagrams have a time to live of 0 and do not leave the machine. Whether multicast comes through at all depends on the
//! network name space and its packet filter, so the datagram that asks for the kernel's account of a message, which is sent
//! to the group beforehand, is also the proof. Source: ip(7) `IP_ADD_MEMBERSHIP`, `IP_MULTICAST_IF`; RFC 2365.

use super::udp::{Credit, Port, Rx, Tx, charge_of, credited, crediting, drain, window_of};
use super::unix_dgram::Inbox;
use super::{Config, Ends, Udp, buffer_for};
use crate::error::{Error, Result};
use crate::sys::fd::set_receive_buffer;
use crate::sys::socket::{at_group, multicast_over_loopback};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};

/// A group of the local scope (RFC 2365, section 6.1), which routers do not pass on. Runs differ in the port.
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 73, 80);

/// One sender, and so many receivers that all get every message.
///
/// # Errors
/// `unsupported` where multicast does not come through here.
pub(super) fn broadcast(cfg: &Config, of: usize) -> Result<Ends<Udp>> {
    make(cfg, of).map_err(|error| {
        Error::unsupported("multicast over the loopback device does not work here")
            .because(error)
            .hint("bring it up with `ip link set lo up`, and let its packet filter pass 239.255.0.0/16")
    })
}

fn make(cfg: &Config, of: usize) -> io::Result<Ends<Udp>> {
    let mut members: Vec<UdpSocket> = Vec::with_capacity(of);
    for _ in 0..of {
        let port = members.first().map(UdpSocket::local_addr).transpose()?.map_or(0, |first| first.port());
        let member = at_group(SocketAddrV4::new(GROUP, port), port != 0)?;
        member.join_multicast_v4(&GROUP, &Ipv4Addr::LOCALHOST)?;
        members.push(member);
    }
    let Some(first) = members.first() else { return Err(io::ErrorKind::InvalidInput.into()) };
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    multicast_over_loopback(&socket)?;
    // After the first has joined: the kernel looks up once whether the machine itself is to hear the group.
    socket.connect(first.local_addr()?)?;
    let mut least = usize::MAX;
    for member in &members {
        member.connect(socket.local_addr()?)?;
        drain(member)?;
        least = least.min(set_receive_buffer(member, 2 * buffer_for(cfg.size))?);
    }
    socket.send(&vec![0; cfg.size])?;
    let mut charge = 0;
    for member in &members {
        charge = charge.max(charge_of(member)?);
    }
    let window = window_of(cfg, least, charge);
    // The buffer of one receiver is counted already.
    cfg.holds((of - 1) * least);
    let mut credits = Vec::with_capacity(of);
    let mut rxs: Vec<Rx> = Vec::with_capacity(of);
    for member in members {
        let (here, there) = connected()?;
        credits.push(Credit::new(cfg, here, None)?);
        let inbox = Inbox::new(Port::new(member), None);
        rxs.push(credited(cfg, cfg.size, inbox, window, there, None)?);
    }
    let tx: Tx = crediting(cfg, socket, window, credits)?;
    Ok(Ends { txs: vec![tx], rxs })
}

/// Two UDP sockets that take from each other only.
fn connected() -> io::Result<(UdpSocket, UdpSocket)> {
    let socket = || UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let (here, there) = (socket()?, socket()?);
    here.connect(there.local_addr()?)?;
    there.connect(here.local_addr()?)?;
    drain(&here)?;
    drain(&there)?;
    Ok((here, there))
}
