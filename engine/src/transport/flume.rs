//! The bounded channel of the crate `flume`.
//!
//! Key decision: without the crate's features, so that its lock is the standard library's and a `recv` that finds
//! nothing parks at once. Rejected: the feature `spin`, whose lock naps with growing pauses; `eventual-fairness` and
//! `async`, which belong to selects and futures. Source: flume 0.12; how it is used here: [`buffers`](super::buffers).

use super::buffers::{Buffer, Buffers, Channel, spec};
use super::{ALL_WAITS, Spec};
use ::flume::{Receiver, Sender, bounded};
use std::sync::mpsc::TryRecvError;

/// `flume`.
pub type Flume = Buffers<Locked>;

/// See the [module](self).
#[derive(Debug)]
pub struct Locked;

impl Channel for Locked {
    const SPEC: &'static Spec = &spec(
        "flume",
        "bounded channels of the flume crate, a queue behind a mutex; allocates when it sleeps; buffers go round",
        ALL_WAITS,
        &["crate flume", "std::sync::Mutex", "futex(2)"],
    );
    type Tx = Sender<Buffer>;
    type Rx = Receiver<Buffer>;

    fn bounded(depth: usize) -> (Self::Tx, Self::Rx) {
        bounded(depth)
    }

    #[inline(always)]
    fn put(tx: &mut Self::Tx, buffer: Buffer) -> bool {
        tx.send(buffer).is_ok()
    }

    #[inline(always)]
    fn look(rx: &mut Self::Rx) -> Result<Buffer, TryRecvError> {
        rx.try_recv().map_err(|error| match error {
            ::flume::TryRecvError::Empty => TryRecvError::Empty,
            ::flume::TryRecvError::Disconnected => TryRecvError::Disconnected,
        })
    }

    #[inline(always)]
    fn sleep(rx: &mut Self::Rx) -> Option<Buffer> {
        rx.recv().ok()
    }
}
