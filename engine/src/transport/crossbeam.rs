//! The bounded channel of the crate `crossbeam-channel`.
//!
//! Key decision: there is no `block` row. The crate's `recv` never sleeps at once: it looks with growing pauses and
//! gives the CPU away a few times before it registers, and the same again before it parks, which is a `hybrid` and is
//! listed as one. Rejected: calling that a block, which would win against rows that pay for a wake-up; parking by hand
//! beside `try_recv`, which measures this crate's wake-up and not theirs. Source: crossbeam-channel 0.5,
//! `flavors::array` and `context`; how it is used here: [`buffers`](super::buffers).

use super::Spec;
use super::buffers::{Buffer, Buffers, Channel, spec};
use crate::plan::WaitKind;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::mpsc::TryRecvError;

/// `crossbeam`.
pub type Crossbeam = Buffers<Array>;

/// See the [module](self).
#[derive(Debug)]
pub struct Array;

impl Channel for Array {
    const SPEC: &'static Spec = &spec(
        "crossbeam",
        "bounded channels of crossbeam-channel, whose recv looks and yields before it sleeps; buffers go round",
        &[WaitKind::Hybrid, WaitKind::Yield, WaitKind::Spin],
        &["crate crossbeam-channel", "futex(2)"],
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
            crossbeam_channel::TryRecvError::Empty => TryRecvError::Empty,
            crossbeam_channel::TryRecvError::Disconnected => TryRecvError::Disconnected,
        })
    }

    #[inline(always)]
    fn sleep(rx: &mut Self::Rx) -> Option<Buffer> {
        rx.recv().ok()
    }
}
