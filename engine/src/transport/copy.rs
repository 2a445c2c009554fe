//! The control that copies once: harness, payload work and one memcpy, all in one party.
//!
//! A mechanism that beats this row by more than the noise either overlaps the two parties' work or does not do it.

use super::{Config, DESCRIPTOR_WAITS, Family, Meeting, PeerDeath, Receiver, Sender, Spec, Transport, UNLIMITED};
use crate::error::Result;
use crate::plan::Parties;
use crate::shm::scratch::{ScratchRx, ScratchTx, scratch};
use std::io;

/// See the [module](self).
#[derive(Debug)]
pub struct Copy;

/// Fills a buffer of its own and copies it over.
#[derive(Debug)]
pub struct Tx(ScratchTx, Box<[u8]>);
/// Looks at the copy.
#[derive(Debug)]
pub struct Rx(ScratchRx);

impl Transport for Copy {
    const SPEC: &'static Spec = &Spec {
        name: "copy",
        summary: "control: null plus one memcpy of the payload",
        family: Family::Control,
        parties: &[Parties::Solo],
        waits: DESCRIPTOR_WAITS,
        copies: 1,
        max_size: UNLIMITED,
        peer_death: PeerDeath::NO_PEER,
        patterns: &[],
        meeting: Meeting::Never,
        sources: &["memcpy(3)"],
    };
    type Tx = Tx;
    type Rx = Rx;

    fn one_way(cfg: &Config) -> Result<(Tx, Rx)> {
        cfg.holds(cfg.size);
        let (tx, rx) = scratch(cfg.size);
        Ok((Tx(tx, vec![0; cfg.size].into_boxed_slice()), Rx(rx)))
    }
}

impl Sender for Tx {
    fn size(&self) -> usize {
        self.1.len()
    }
    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        fill(&mut self.1);
        // Opaque to the optimiser, which would otherwise fill the second buffer directly and drop the copy.
        let message = std::hint::black_box(&*self.1);
        self.0.write(|place| place.copy_from_slice(message));
        Ok(())
    }
}

impl Receiver for Rx {
    #[inline(always)]
    fn recv_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        Ok(self.0.read(read))
    }
}
