//! PUB and SUB sockets of ZeroMQ: one publisher, and subscribers that all get every message.
//!
//! Key decision: the crate's PUB writes a message to one subscriber after the other and waits for each whose connection is
//! full, so the slowest one holds the publisher up, nothing is dropped and nothing has to be counted. That is the crate's
//! doing and not ZeroMQ's: libzmq's PUB drops what exceeds a subscriber's high-water mark, and this crate has no such mark.
//! A subscriber that is gone, though, is dropped in silence; the socket's monitor says so, and a send after that fails.
//!
//! PUB does not tell who has subscribed, and what is published before that is lost. So the publisher says hello until every
//! subscriber has answered through a pipe that the constructor made, and then says that it starts; subscribers read up to
//! there before the first message. Rejected: credits as for `udp`, which would add a flow control where there is one.
//! Source: zeromq 0.6; RFC 29/PUBSUB of rfc.zeromq.org.

use super::zeromq::{Place, other, say_address};
use crate::sys::fd::set_nonblocking;
use ::zeromq::{PubSocket, Socket, SocketEvent, SocketRecv, SocketSend, SubSocket, ZmqError, ZmqMessage};
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::time::{Duration, Instant};

/// What a publisher says until all have heard it.
const HELLO: &str = "hello";
/// What it says then.
const START: &str = "start";
/// How long it waits for answers before it says so again.
const BETWEEN: Duration = Duration::from_millis(1);

/// What a publisher needs to begin.
pub(super) struct Announcement {
    pub(super) place: Place,
    /// To each subscriber, the address.
    pub(super) say: Vec<PipeWriter>,
    /// From all of them, a byte each.
    pub(super) answers: PipeReader,
    /// How long it waits for them.
    pub(super) patience: Duration,
}

/// A publisher that all have subscribed to.
pub(super) struct Publisher {
    socket: PubSocket,
    /// Whether a subscriber has gone since this was last asked.
    lost_one: Box<dyn FnMut() -> bool + Send>,
    gone: bool,
}

impl Publisher {
    /// Binds, and waits for all subscribers.
    pub(super) async fn begin(terms: &mut Announcement) -> io::Result<Self> {
        let mut socket = PubSocket::new();
        let mut events = socket.monitor();
        // Removed as soon as all connections that there will be are made.
        let (address, _folder) = terms.place.address()?;
        let address = socket.bind(&address).await.map_err(other)?.to_string();
        terms.say.iter_mut().try_for_each(|to| say_address(to, &address))?;
        set_nonblocking(&terms.answers, true)?;
        let (start, mut answers) = (Instant::now(), 0);
        while answers < terms.say.len() {
            if start.elapsed() > terms.patience {
                let few = format!("{answers} of {} subscribers came", terms.say.len());
                return Err(io::Error::new(ErrorKind::TimedOut, few));
            }
            socket.send(HELLO.into()).await.map_err(other)?;
            tokio::time::sleep(BETWEEN).await;
            match terms.answers.read(&mut [0; 64]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Nobody is left that could answer.
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                answered => answers += answered?,
            }
        }
        socket.send(START.into()).await.map_err(other)?;
        let lost_one = move || {
            let mut lost = false;
            while let Ok(event) = events.try_recv() {
                lost |= matches!(event, SocketEvent::Disconnected(_));
            }
            lost
        };
        Ok(Self { socket, lost_one: Box::new(lost_one), gone: false })
    }

    /// Sends to all; `BrokenPipe` once one of them has gone.
    #[inline(always)]
    pub(super) async fn send(&mut self, message: ZmqMessage) -> io::Result<()> {
        if self.gone {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let sent = self.socket.send(message).await;
        self.gone = (self.lost_one)();
        match sent {
            _ if self.gone => Err(ErrorKind::BrokenPipe.into()),
            Err(ZmqError::Codec(_)) => Err(ErrorKind::BrokenPipe.into()),
            sent => sent.map_err(other),
        }
    }

    /// Tells those that are left that nothing follows.
    pub(super) async fn take_leave(&mut self) {
        let _ = self.socket.send(Vec::new().into()).await;
    }
}

/// Subscribes to everything that is published at `address`, answers the publisher through `tell`, and reads up to the first
/// message.
pub(super) async fn subscribe(address: &str, tell: &mut PipeWriter) -> io::Result<SubSocket> {
    let mut socket = SubSocket::new();
    socket.connect(address).await.map_err(other)?;
    socket.subscribe("").await.map_err(other)?;
    let mut answered = false;
    loop {
        let message = socket.recv().await.map_err(other)?;
        match message.get(0) {
            Some(frame) if frame == HELLO.as_bytes() => {
                if !answered {
                    tell.write_all(&[1])?;
                }
                answered = true;
            }
            Some(frame) if frame == START.as_bytes() => return Ok(socket),
            _ => return Err(ErrorKind::InvalidData.into()),
        }
    }
}
