//! Ownership passes from thread to thread: a pointer moves, the bytes stay where they are.
//!
//! Key decision: the ring of `heap-ring`, but its places hold *owned buffers*, which are swapped: a full one for a
//! spent one. So the row differs from `heap-ring` only by where the bytes are (behind a pointer, and the consumer may
//! keep them for as long as it likes), and from `mutex-queue` only by what makes the swap exclusive. Rejected: indices
//! into a pool (the same number of shared lines, and a buffer could not be kept); a fresh `Box` for each message
//! (measures the allocator). Source: [`shm::exchange`](crate::shm::exchange).

use super::buffers::{Buffer, depth, record, spec};
use super::ring::stopped;
use super::{ALL_WAITS, Config, Receiver, Role, Sender, Spec, Transport};
use crate::error::Result;
use crate::shm::exchange::{SwapRx, SwapTx, exchange};
use std::io;

/// See the [module](self).
#[derive(Debug)]
pub struct HeapHandoff;

/// The producer's end, with a spare buffer to write into.
#[derive(Debug)]
pub struct Tx(SwapTx<Buffer>, Buffer);
/// The consumer's end, with a spare buffer to hand back.
#[derive(Debug)]
pub struct Rx(SwapRx<Buffer>, Buffer);

impl Transport for HeapHandoff {
    const SPEC: &'static Spec = &spec(
        "heap-handoff",
        "ring of owned buffers on the heap; a full one is swapped for a spent one, nothing is copied",
        ALL_WAITS,
        &["malloc(3)", "futex(2) with the private key"],
    );
    type Tx = Tx;
    type Rx = Rx;

    fn one_way(cfg: &Config) -> Result<(Tx, Rx)> {
        let new = || Buffer::new(cfg.size);
        // The ring wants a power of two, and no more than the others have.
        let depth = 1 << depth(cfg).ilog2();
        record(cfg, depth);
        let (tx, rx) = exchange((0..depth).map(|_| new()), cfg.wait);
        Ok((Tx(tx, new()), Rx(rx, new())))
    }
}

impl Sender for Tx {
    fn size(&self) -> usize {
        self.1.len()
    }

    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        fill(&mut self.1);
        self.0.swap(&mut self.1).map_err(|stop| stopped(stop, Role::Producer))
    }

    #[inline(always)]
    fn send_each(&mut self, n: u64, mut fill: impl FnMut(u64, &mut [u8])) -> io::Result<()> {
        let Self(ring, spare) = self;
        ring.swap_each(n, spare, |k, buffer| fill(k, buffer)).map_err(|stop| stopped(stop, Role::Producer))
    }
}

impl Receiver for Rx {
    #[inline(always)]
    fn recv_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        self.0.swap(&mut self.1).map_err(|stop| stopped(stop, Role::Consumer))?;
        Ok(read(&self.1))
    }

    #[inline(always)]
    fn recv_each<E>(
        &mut self,
        n: u64,
        mut read: impl FnMut(u64, &[u8]) -> std::result::Result<(), E>,
    ) -> io::Result<std::result::Result<(), E>> {
        let Self(ring, spare) = self;
        ring.swap_each(n, spare, |k, buffer| read(k, buffer)).map_err(|stop| stopped(stop, Role::Consumer))
    }
}
