//! A ring whose messages come from, and go to, memory beside it: copied, or handed over in a pool of buffers.
//!
//! Key decision: no mechanisms of their own, since nobody would choose them before the ring itself, in which messages are
//! written and read in place; they exist for the question what sharing a heap gives, and carry the messages of the usual
//! run. Here rather than with that question: who makes a [`Pool`] must keep its tickets one of a kind, and what is timed
//! is compiled with the rest that is.

use super::ring::{self, Backing, Heap, Memfd, Ring};
use super::{Config, Receiver, Sender, Spec, Transport};
use crate::cell::{self, Outcome};
use crate::conduct::Measure;
use crate::error::Result;
use crate::plan::Plan;
use crate::shm::pool::{Pool, Ticket};
use crate::shm::region::RingShape;
use std::io::{self, ErrorKind};
use std::marker::PhantomData;
use std::sync::Arc;

/// Which way a message takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detour {
    /// From a buffer of the producer's into the ring, and from there into one of the consumer's.
    Copying,
    /// In a buffer of a pool, of which only the offset goes through the ring; another ring brings the buffer back.
    HandingOver,
}

impl Detour {
    /// One run of `plan` on the heap or on a shared mapping.
    ///
    /// # Errors
    /// As those of [`Runner::run`](super::Runner::run).
    pub fn run(self, heap: bool, plan: &Plan) -> Result<Outcome> {
        match (self, heap) {
            (Self::Copying, true) => cell::run::<Copying<Heap>>(plan, &mut Measure),
            (Self::Copying, false) => cell::run::<Copying<Memfd>>(plan, &mut Measure),
            (Self::HandingOver, true) => cell::run::<HandingOver<Heap>>(plan, &mut Measure),
            (Self::HandingOver, false) => cell::run::<HandingOver<Memfd>>(plan, &mut Measure),
        }
    }
}

/// A ring whose messages come from and go to memory of the ends.
struct Copying<B>(PhantomData<B>);

struct CopyTx {
    ring: ring::Tx,
    own: Box<[u8]>,
}

struct CopyRx {
    ring: ring::Rx,
    own: Box<[u8]>,
}

impl<B: Backing> Transport for Copying<B> {
    const SPEC: &'static Spec = B::SPEC;
    type Tx = CopyTx;
    type Rx = CopyRx;

    fn one_way(cfg: &Config) -> Result<(CopyTx, CopyRx)> {
        let (tx, rx) = Ring::<B>::one_way(cfg)?;
        let own = || vec![0; cfg.size].into_boxed_slice();
        Ok((CopyTx { ring: tx, own: own() }, CopyRx { ring: rx, own: own() }))
    }
}

impl Sender for CopyTx {
    fn attach(&mut self) -> io::Result<()> {
        self.own.fill(1);
        self.ring.attach()
    }

    fn size(&self) -> usize {
        self.own.len()
    }

    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        fill(&mut self.own);
        self.ring.send(&self.own)
    }
}

impl Receiver for CopyRx {
    fn attach(&mut self) -> io::Result<()> {
        self.own.fill(1);
        self.ring.attach()
    }

    #[inline(always)]
    fn recv_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        self.ring.recv(&mut self.own)?;
        Ok(read(&self.own))
    }
}

/// A pool of buffers whose offsets go through one ring and come back through another.
struct HandingOver<B>(PhantomData<B>);

struct HandTx {
    full: ring::Tx,
    free: ring::Rx,
    spare: Vec<Ticket>,
    pool: Pool,
    size: usize,
}

struct HandRx {
    full: ring::Rx,
    free: ring::Tx,
    pool: Pool,
}

impl<B: Backing> Transport for HandingOver<B> {
    const SPEC: &'static Spec = B::SPEC;
    type Tx = HandTx;
    type Rx = HandRx;

    fn one_way(cfg: &Config) -> Result<(HandTx, HandRx)> {
        let tickets = Config { size: size_of::<u64>(), ..cfg.clone() };
        let (full_tx, full_rx) = Ring::<B>::one_way_for(&tickets, cfg.size)?;
        let (free_tx, free_rx) = Ring::<B>::one_way_for(&tickets, cfg.size)?;
        // As many as the ring itself would have slots.
        let count = RingShape::new(cfg.size, cfg.memory()).slots;
        let region = Arc::new(B::region(cfg, Pool::region_len(cfg.size, count))?);
        let [here, there] = [(); 2].map(|()| Pool::new(&region, cfg.size, count));
        let tx = HandTx { full: full_tx, free: free_rx, spare: here.tickets(), pool: here, size: cfg.size };
        Ok((tx, HandRx { full: full_rx, free: free_tx, pool: there }))
    }
}

/// Receives a ticket.
#[inline(always)]
fn ticket(ring: &mut ring::Rx, pool: &Pool) -> io::Result<Ticket> {
    let offset = ring.recv_with(|word| word.first_chunk().map(|raw| u64::from_le_bytes(*raw)))?;
    offset.and_then(|offset| pool.admit(offset)).ok_or_else(|| ErrorKind::InvalidData.into())
}

/// Hands a ticket over.
#[inline(always)]
fn hand_over(ring: &mut ring::Tx, ticket: Ticket) -> io::Result<()> {
    ring.send_with(|word| word.copy_from_slice(&ticket.offset().to_le_bytes()))
}

impl Sender for HandTx {
    fn attach(&mut self) -> io::Result<()> {
        self.pool.prefault();
        self.full.attach()?;
        self.free.attach()
    }

    fn size(&self) -> usize {
        self.size
    }

    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        let mut ticket = match self.spare.pop() {
            Some(ticket) => ticket,
            None => ticket(&mut self.free, &self.pool).map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => ErrorKind::BrokenPipe.into(),
                _ => error,
            })?,
        };
        self.pool.with(&mut ticket, fill);
        hand_over(&mut self.full, ticket)
    }
}

impl Receiver for HandRx {
    fn attach(&mut self) -> io::Result<()> {
        self.pool.prefault();
        self.full.attach()?;
        self.free.attach()
    }

    #[inline(always)]
    fn recv_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        let mut ticket = ticket(&mut self.full, &self.pool)?;
        let result = self.pool.with(&mut ticket, |buffer| read(buffer));
        // A producer that has left wants no buffer back, and what it sent is still read.
        let _ = hand_over(&mut self.free, ticket);
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_producer_that_leaves_is_told_behind_what_it_handed_over() {
        let (mut tx, mut rx) =
            HandingOver::<Heap>::one_way(&Config::new(&Plan { size: 64 << 10, ..Plan::default() })).unwrap();
        tx.attach().unwrap();
        rx.attach().unwrap();
        tx.send(&[7; 64 << 10]).unwrap();
        drop(tx);
        assert_eq!(rx.recv_with(|message| message[9]).unwrap(), 7);
        assert_eq!(rx.recv_with(|_| ()).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
}
