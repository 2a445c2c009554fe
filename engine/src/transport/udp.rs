//! UDP over the loopback device: datagrams through the network stack, and a window so that none is lost.
//!
//! Key decision: the kernel drops a datagram that finds the receiver's buffer full and tells nobody, so the sender counts.
//! It starts with a window of messages of which all together fill half of the receiver's buffer, as the kernel accounts
//! for one of them (it is asked, with a datagram that is sent in advance); the receiver gives half a window back whenever
//! it has received that many, with a datagram of one byte against the direction of the messages. Half of the buffer,
//! because the kernel books what was read late, up to a quarter. Messages carry nothing but themselves: what travels beside
//! them is a credit every half window and an empty datagram as goodbye, in either direction. Each direction of a link
//! has sockets of its own, so that credits never come between messages. The sender of a broadcast
//! (`udp_group`) has a line of credit from each of its receivers.
//!
//! The kernel tells nobody of a peer that was killed: neither a sender that waits for credit nor a receiver. That is left to
//! whoever watches the parties, who also [rouses](crate::sys::rouse) a hub that is stuck with one of its peers. Rejected: a Unix
//! socket pair beside each channel, which the kernel closes with its holder, and on which a party that waits would have to wake
//! from time to time to look at it; a sequence number in front of each message, which the check of the payload makes unnecessary; sending without a window, which measures the loss.
//! Source: udp(7), ip(7), SO_MEMINFO in the kernel's net/core/sock.c.

use super::bytes::{ByteRx, ByteTx, Patience, say_hello};
use super::tcp::{accept_producer, connect_to_consumer, no_loopback};
use super::unix_dgram::{Inbox, Leaving, NAP};
use super::{
    BOTH, Config, DESCRIPTOR_WAITS, Ends, Family, Meeting, Met, PeerDeath, Role, Shape, Sign, Spec, Transport,
    WITH_BROADCAST, buffer_for, udp_group,
};
use crate::error::{Context, Phase, Result};
use crate::sys::fd::{Ready, set_receive_buffer};
use crate::sys::socket::{Socket, memory, receive_now};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// See the [module](self).
#[derive(Debug)]
pub struct Udp;

/// What fits an IPv4 packet.
const LARGEST: usize = 65_507;
/// What a credit is: a datagram that is not empty. A goodbye is.
const CREDIT: [u8; 1] = [1];
/// Longest time that a datagram to oneself takes.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A connected socket that remembers that nobody has the other end any more.
#[derive(Debug)]
pub(super) struct Port {
    socket: UdpSocket,
    refused: bool,
}

impl Port {
    pub(super) fn new(socket: UdpSocket) -> Self {
        Self { socket, refused: false }
    }

    /// What is still there, then nothing for ever.
    #[cold]
    fn drain(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.refused = true;
        loop {
            match receive_now(&self.socket, buf) {
                // Each credit for the dead sender is refused once more, before what still lies there: not yet the end.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
                found => return found,
            }
        }
    }
}

impl Read for Port {
    #[inline(always)]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.refused {
            return self.drain(buf);
        }
        match Socket(&self.socket).read(buf) {
            // What was sent last found no socket: the peer is gone. What it sent before is still to be received.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => self.drain(buf),
            found => found,
        }
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Where a sender hears of one receiver.
#[derive(Debug)]
pub(super) struct Credit {
    inbox: Inbox<Port>,
    patience: Patience,
}

impl Credit {
    pub(super) fn new(cfg: &Config, socket: UdpSocket, line: Option<OwnedFd>) -> io::Result<Self> {
        let nap = line.is_some().then_some(NAP);
        let patience = Patience::new(&socket, cfg.wait, Ready::Read)?.napping(&socket, nap)?;
        Ok(Self { inbox: Inbox::new(Port::new(socket), line), patience })
    }
}

/// Sends as many messages as it has credit for.
#[derive(Debug)]
pub struct Payer {
    socket: UdpSocket,
    /// One from each receiver.
    credits: Vec<Credit>,
    /// Messages that may be sent before the next credit.
    left: usize,
    half: usize,
    gone: bool,
}

impl Payer {
    /// Waits until every receiver gives half a window back. Each gives it for the same messages, so the slowest decides.
    #[cold]
    fn earn(&mut self) -> io::Result<()> {
        for Credit { inbox, patience } in &mut self.credits {
            let got = patience.until(inbox, |inbox| inbox.read(&mut [0]))?;
            if got == 0 {
                self.gone = true;
                break;
            }
        }
        self.left = self.half;
        Ok(())
    }
}

impl Write for Payer {
    #[inline(always)]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.left == 0 {
            self.earn()?;
        }
        if self.gone {
            return Err(ErrorKind::BrokenPipe.into());
        }
        match Socket(&self.socket).write(buf) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                // The kernel says it once, about the message before this one.
                self.gone = true;
                Err(ErrorKind::BrokenPipe.into())
            }
            sent => {
                self.left -= usize::from(sent.is_ok());
                sent
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Payer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Receives, and gives credit for what it received.
#[derive(Debug)]
pub struct Payee {
    inbox: Inbox<Port>,
    /// Where credit is given: the same socket, but for a broadcast.
    credit: UdpSocket,
    /// Messages received since the last credit.
    since: usize,
    half: usize,
}

impl Payee {
    #[cold]
    fn pay(&mut self) -> io::Result<()> {
        self.since = 0;
        match self.credit.send(&CREDIT) {
            // A sender that is gone needs no credit; what it sent before is still to be received.
            Err(error) if error.kind() != ErrorKind::ConnectionRefused => Err(error),
            _ => Ok(()),
        }
    }

    /// The end, unless messages are missing.
    #[cold]
    fn account(&self) -> io::Result<usize> {
        match memory(&self.inbox)?.dropped {
            0 => Ok(0),
            lost => Err(io::Error::new(ErrorKind::InvalidData, format!("the kernel dropped {lost} datagrams"))),
        }
    }
}

impl Read for Payee {
    #[inline(always)]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.inbox.read(buf)?;
        if got == 0 {
            return self.account();
        }
        self.since += 1;
        while self.since >= self.half {
            match self.pay() {
                // The message is here already: to say "again" would lose it.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    std::thread::yield_now();
                }
                paid => paid?,
            }
        }
        Ok(got)
    }
}

impl AsFd for Payee {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inbox.as_fd()
    }
}

/// A socket to receive from, not yet connected, and how many messages of `size` bytes may be under way to it.
fn receiving(cfg: &Config, ip: IpAddr, size: usize) -> io::Result<(UdpSocket, usize)> {
    let socket = UdpSocket::bind((ip, 0))?;
    let buffer = set_receive_buffer(&socket, 2 * buffer_for(size))?;
    // What one message costs of the buffer depends on how the kernel allocates, so one is sent and looked at.
    UdpSocket::bind((ip, 0))?.send_to(&vec![0; size], socket.local_addr()?)?;
    let charge = charge_of(&socket)?;
    Ok((socket, window_of(cfg, buffer, charge)))
}

/// What the kernel accounts for the datagram that comes next, which is thrown away.
pub(super) fn charge_of(socket: &UdpSocket) -> io::Result<usize> {
    socket.set_read_timeout(Some(AT_ONCE))?;
    socket.peek(&mut [0])?;
    let charge = memory(socket)?.received.max(1);
    socket.recv(&mut [0])?;
    socket.set_read_timeout(None)?;
    Ok(charge)
}

/// How many messages may be under way to a receiver with such a buffer, and the notes about it.
pub(super) fn window_of(cfg: &Config, buffer: usize, charge: usize) -> usize {
    let window = (buffer / 2 / charge).max(1);
    cfg.note("receive buffer", buffer);
    cfg.note("receive buffer used per message", charge);
    cfg.note("window, messages", window);
    cfg.holds(buffer);
    cfg.fits(window);
    window
}

/// Throws away what strangers sent before the socket was connected; from then on the kernel takes the peer's only.
pub(super) fn drain(socket: &UdpSocket) -> io::Result<()> {
    loop {
        match receive_now(socket, &mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            other => other.map(drop)?,
        }
    }
}

/// Messages for which one credit is given.
fn half(window: usize) -> usize {
    (window / 2).max(1)
}

pub(super) type Tx = Leaving<ByteTx<Payer>>;
pub(super) type Rx = Leaving<ByteRx<Payee>>;

fn sender(cfg: &Config, socket: UdpSocket, window: usize, line: Option<OwnedFd>) -> io::Result<Tx> {
    let credits = vec![Credit::new(cfg, socket.try_clone()?, line)?];
    crediting(cfg, socket, window, credits)
}

/// An end that sends through `socket` what its receivers give credit for.
pub(super) fn crediting(cfg: &Config, socket: UdpSocket, window: usize, credits: Vec<Credit>) -> io::Result<Tx> {
    let door = socket.try_clone()?;
    let payer = Payer { socket, credits, left: window, half: half(window), gone: false };
    Ok(Leaving::new(ByteTx::new(payer, cfg.size, cfg.wait)?, door.into(), None))
}

fn receiver(cfg: &Config, size: usize, socket: UdpSocket, window: usize, line: Option<OwnedFd>) -> io::Result<Rx> {
    let nap = line.is_some().then_some(NAP);
    let credit = socket.try_clone()?;
    credited(cfg, size, Inbox::new(Port::new(socket), line), window, credit, nap)
}

/// An end that receives from `inbox` and gives credit through `credit`, where it also says goodbye.
pub(super) fn credited(
    cfg: &Config,
    size: usize,
    inbox: Inbox<Port>,
    window: usize,
    credit: UdpSocket,
    nap: Option<Duration>,
) -> io::Result<Rx> {
    let door = credit.try_clone()?;
    let payee = Payee { inbox, credit, since: 0, half: half(window) };
    Ok(Leaving::new(ByteRx::new(payee, size, cfg.wait)?.napping(nap)?, door.into(), None))
}

/// The producer's half of agreeing on ports, over the connection at which the two met: it says its port and hears the
/// consumer's and the window.
fn agree_as_producer(cfg: &Config, mut line: &TcpStream) -> io::Result<(UdpSocket, usize)> {
    let socket = UdpSocket::bind((line.local_addr()?.ip(), 0))?;
    say_hello(line, cfg.size)?;
    line.write_all(&socket.local_addr()?.port().to_le_bytes())?;
    let (mut port, mut window) = ([0; 2], [0; 8]);
    line.read_exact(&mut port)?;
    line.read_exact(&mut window)?;
    let window = usize::try_from(u64::from_le_bytes(window)).unwrap_or(0);
    if window == 0 {
        return Err(io::Error::new(ErrorKind::InvalidData, "the consumer gives no credit"));
    }
    socket.connect((line.peer_addr()?.ip(), u16::from_le_bytes(port)))?;
    drain(&socket)?;
    Ok((socket, window))
}

fn agree_as_consumer(cfg: &Config, mut line: &TcpStream, size: usize) -> io::Result<(UdpSocket, usize)> {
    let (socket, window) = receiving(cfg, line.local_addr()?.ip(), size)?;
    let mut port = [0; 2];
    line.read_exact(&mut port)?;
    socket.connect(SocketAddr::new(line.peer_addr()?.ip(), u16::from_le_bytes(port)))?;
    drain(&socket)?;
    line.write_all(&socket.local_addr()?.port().to_le_bytes())?;
    line.write_all(&(window as u64).to_le_bytes())?;
    Ok((socket, window))
}

impl Transport for Udp {
    const SPEC: &'static Spec = &Spec {
        name: "udp",
        summary: "UDP over loopback, one datagram a message; a window of credits, so that none is lost",
        family: Family::Kernel,
        parties: BOTH,
        waits: DESCRIPTOR_WAITS,
        copies: 2,
        max_size: LARGEST,
        peer_death: PeerDeath {
            text: "writer: ECONNREFUSED at the second message, nothing when it is out of credit; reader: end-of-file if it \
                   still gives credit back, else nothing; an end that leaves says goodbye with an empty datagram, a killed \
                   one does not",
            consumer: &[Sign::EndOfFile, Sign::Nothing],
            producer: &[Sign::BrokenPipe, Sign::Nothing],
            ..PeerDeath::UNTOLD
        },
        patterns: WITH_BROADCAST,
        meeting: Meeting::Address,
        sources: &["udp(7)", "ip(7)", "std::net::UdpSocket", "RFC 2365"],
    };
    type Tx = Tx;
    type Rx = Rx;

    fn one_way(cfg: &Config) -> Result<(Tx, Rx)> {
        let make = || -> io::Result<_> {
            let ip = Ipv4Addr::LOCALHOST;
            let (there, window) = receiving(cfg, ip.into(), cfg.size)?;
            let here = UdpSocket::bind((ip, 0))?;
            there.connect(here.local_addr()?)?;
            here.connect(there.local_addr()?)?;
            drain(&there)?;
            drain(&here)?;
            Ok((sender(cfg, here, window, None)?, receiver(cfg, cfg.size, there, window, None)?))
        };
        make().map_err(|error| no_loopback("UDP", &error))
    }

    fn shared(cfg: &Config, shape: Shape) -> Result<Option<Ends<Self>>> {
        match shape {
            Shape::Broadcast(of) => udp_group::broadcast(cfg, of).map(Some),
            Shape::FanIn(_) | Shape::FanOut(_) => Ok(None),
        }
    }

    fn meet(cfg: &Config, at: &str, role: Role) -> Result<Met<Self>> {
        let cannot = format!("cannot agree on ports with the peer at {at}");
        match role {
            Role::Producer => {
                let line = connect_to_consumer(at)?;
                let tx = agree_as_producer(cfg, &line)
                    .and_then(|(socket, window)| sender(cfg, socket, window, Some(line.into())));
                Ok(Met::Tx(tx.context(Phase::Start, cannot)?))
            }
            Role::Consumer => {
                let (line, size) = accept_producer(cfg, at)?;
                let rx = agree_as_consumer(cfg, &line, size)
                    .and_then(|(socket, window)| receiver(cfg, size, socket, window, Some(line.into())));
                Ok(Met::Rx(rx.context(Phase::Start, cannot)?, size))
            }
        }
    }
}
