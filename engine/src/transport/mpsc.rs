//! The bounded channel of the standard library.
//!
//! Key decision: [`sync_channel`](mpsc::sync_channel), which allocates its slots once, not [`channel`](mpsc::channel),
//! which allocates a block for every 31 messages and bounds nothing. Source: std::sync::mpsc (an array with a stamp in
//! each slot, which came from crossbeam-channel with Rust 1.67); how it is used here: [`buffers`](super::buffers).

use super::buffers::{Buffer, Buffers, Channel, spec};
use super::{ALL_WAITS, Spec};
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};

/// `mpsc`.
pub type Mpsc = Buffers<Std>;

/// See the [module](self).
#[derive(Debug)]
pub struct Std;

impl Channel for Std {
    const SPEC: &'static Spec = &spec(
        "mpsc",
        "bounded channels of the standard library; buffers go round, nothing is copied",
        ALL_WAITS,
        &["std::sync::mpsc::sync_channel", "futex(2)"],
    );
    type Tx = SyncSender<Buffer>;
    type Rx = Receiver<Buffer>;

    fn bounded(depth: usize) -> (Self::Tx, Self::Rx) {
        mpsc::sync_channel(depth)
    }

    #[inline(always)]
    fn put(tx: &mut Self::Tx, buffer: Buffer) -> bool {
        tx.send(buffer).is_ok()
    }

    #[inline(always)]
    fn look(rx: &mut Self::Rx) -> Result<Buffer, TryRecvError> {
        rx.try_recv()
    }

    #[inline(always)]
    fn sleep(rx: &mut Self::Rx) -> Option<Buffer> {
        rx.recv().ok()
    }
}
