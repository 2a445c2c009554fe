//! The byte channel of the crate `ipc-channel`: channels that look like the standard library's and cross processes.
//!
//! Key decision: [`bytes_channel`](ipc::bytes_channel), which carries bytes as they are. Rejected: `ipc::channel`,
//! which serialises each message with serde and postcard and would measure that; its shared memory, which is another
//! mechanism. Only `block`: `try_recv` exists, but a send has no such twin and sleeps when the socket is full.
//! Source: ipc-channel 0.23, `platform::unix`; unix(7), SOCK_SEQPACKET.

use super::unix_stream::{OVERHEAD, usual_buffer};
use super::{
    BOTH, Config, Family, Meeting, Met, PATTERNS, PeerDeath, Receiver, Role, Sender, Sign, Spec, Transport, UNLIMITED,
};
use crate::error::{Context, Error, Phase, Result};
use crate::plan::WaitKind;
use crate::sys::rouse::heed;
use ::ipc_channel::IpcError;
use ::ipc_channel::ipc::{self, IpcBytesReceiver, IpcBytesSender};
use std::io::{self, ErrorKind};

/// See the [module](self).
#[derive(Debug)]
pub struct IpcChannel;

/// The sending end.
#[derive(Debug)]
pub struct Tx(IpcBytesSender, Box<[u8]>);

/// The receiving end.
#[derive(Debug)]
pub struct Rx(IpcBytesReceiver);

impl Transport for IpcChannel {
    const SPEC: &'static Spec = &Spec {
        name: "ipc-channel",
        summary: "byte channel of ipc-channel over a seqpacket socket; a fresh vector for every message received",
        family: Family::Kernel,
        parties: BOTH,
        waits: &[WaitKind::Block],
        copies: 2,
        max_size: UNLIMITED,
        peer_death: PeerDeath {
            text: "receiver: end-of-file, also within a message of several fragments; sender: EPIPE or ECONNRESET",
            consumer: &[Sign::EndOfFile],
            ..PeerDeath::SOCKET
        },
        patterns: PATTERNS,
        meeting: Meeting::Never,
        sources: &["unix(7)", "crate ipc-channel, ipc::bytes_channel"],
    };
    type Tx = Tx;
    type Rx = Rx;

    fn one_way(cfg: &Config) -> Result<(Tx, Rx)> {
        let (tx, rx) = ipc::bytes_channel().context(Phase::Setup, "the ipc-channel crate cannot create a channel")?;
        // The crate keeps its descriptors to itself and leaves the buffer as the system makes it.
        if let Ok(buffer) = usual_buffer() {
            cfg.note("send buffer", buffer);
            cfg.holds(buffer);
            // A message above the buffer's size goes over a socket of its own, whose receiver the sender waits for.
            cfg.fits_buffer(buffer, cfg.size, OVERHEAD);
        }
        Ok((Tx(tx, vec![0; cfg.size].into_boxed_slice()), Rx(rx)))
    }

    fn meet(_: &Config, _: &str, _: Role) -> Result<Met<Self>> {
        Err(Error::unsupported("ipc-channel lets two programs meet at a name of its own choice only, not at --at"))
    }
}

impl Sender for Tx {
    fn size(&self) -> usize {
        self.1.len()
    }

    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        fill(&mut self.1);
        // The crate cannot go on with a message of several fragments; only who is roused is interrupted.
        self.0.send(&self.1).map_err(|error| match error.kind() {
            ErrorKind::Interrupted => heed().err().unwrap_or(error),
            _ => error,
        })
    }
}

impl Receiver for Rx {
    #[inline(always)]
    fn recv_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        loop {
            match self.0.recv() {
                Ok(message) => return Ok(read(&message)),
                Err(IpcError::Disconnected) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(IpcError::Io(error)) if error.kind() == ErrorKind::Interrupted => heed()?,
                Err(IpcError::Io(error)) => return Err(error),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}
