//! The control that moves nothing: what the harness and the payload work cost by themselves.
//!
//! One party fills a buffer and verifies the same buffer. Whatever this row shows is in every other row too.

use super::{Config, DESCRIPTOR_WAITS, Family, Meeting, PeerDeath, Receiver, Sender, Spec, Transport, UNLIMITED};
use crate::error::Result;
use crate::plan::Parties;
use crate::shm::scratch::{ScratchRx, ScratchTx, scratch};
use std::io;

/// See the [module](self).
#[derive(Debug)]
pub struct Null;

/// Fills the buffer.
#[derive(Debug)]
pub struct Tx(ScratchTx, usize);
/// Looks at it.
#[derive(Debug)]
pub struct Rx(ScratchRx);

impl Transport for Null {
    const SPEC: &'static Spec = &Spec {
        name: "null",
        summary: "control: one party writes and verifies the payload; nothing is moved",
        family: Family::Control,
        parties: &[Parties::Solo],
        waits: DESCRIPTOR_WAITS,
        copies: 0,
        max_size: UNLIMITED,
        peer_death: PeerDeath::NO_PEER,
        patterns: &[],
        meeting: Meeting::Never,
        sources: &[],
    };
    type Tx = Tx;
    type Rx = Rx;

    fn one_way(cfg: &Config) -> Result<(Tx, Rx)> {
        cfg.holds(cfg.size);
        let (tx, rx) = scratch(cfg.size);
        Ok((Tx(tx, cfg.size), Rx(rx)))
    }
}

impl Sender for Tx {
    fn size(&self) -> usize {
        self.1
    }
    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        self.0.write(fill);
        Ok(())
    }
}

impl Receiver for Rx {
    #[inline(always)]
    fn recv_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        Ok(self.0.read(read))
    }
}
