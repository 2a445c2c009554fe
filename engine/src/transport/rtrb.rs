//! The wait-free ring of the crate `rtrb`, for one producer and one consumer.
//!
//! Key decision: `yield` and `spin` only. The crate is made for threads that must never wait and has no call that
//! sleeps.
//! Rejected: parking beside it by hand, which needs a fence and a flag for every message that the crate's users do not
//! pay; its chunks, which move several messages per index update, where every other row moves one.
//! Source: rtrb 0.4; how it is used here: [`buffers`](super::buffers).

use super::Spec;
use super::buffers::{Buffer, Buffers, Channel, spec};
use crate::plan::WaitKind;
use ::rtrb::{Consumer, Producer, RingBuffer};
use std::sync::mpsc::TryRecvError;

/// `rtrb`.
pub type Rtrb = Buffers<WaitFree>;

/// See the [module](self).
#[derive(Debug)]
pub struct WaitFree;

impl Channel for WaitFree {
    const SPEC: &'static Spec = &spec(
        "rtrb",
        "rings of the rtrb crate, which never sleeps; buffers go round, nothing is copied",
        &[WaitKind::Yield, WaitKind::Spin],
        &["crate rtrb"],
    );
    type Tx = Producer<Buffer>;
    type Rx = Consumer<Buffer>;

    fn bounded(depth: usize) -> (Self::Tx, Self::Rx) {
        RingBuffer::new(depth)
    }

    // The ring itself takes buffers also when nobody is left to pop them.
    #[inline(always)]
    fn attended(tx: &Self::Tx) -> bool {
        !tx.is_abandoned()
    }

    #[inline(always)]
    fn put(tx: &mut Self::Tx, buffer: Buffer) -> bool {
        tx.push(buffer).is_ok()
    }

    #[inline(always)]
    fn look(rx: &mut Self::Rx) -> Result<Buffer, TryRecvError> {
        if let Ok(buffer) = rx.pop() {
            return Ok(buffer);
        }
        if !rx.is_abandoned() {
            return Err(TryRecvError::Empty);
        }
        // It may have pushed its last buffers after our look and before it left.
        rx.pop().map_err(|_| TryRecvError::Disconnected)
    }

    fn sleep(_: &mut Self::Rx) -> Option<Buffer> {
        unreachable!("the constructor refuses waits that sleep")
    }
}
