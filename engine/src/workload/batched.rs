//! Stream in batches: several messages of the agreed size travel as one message of the transport.
//!
//! Key decision: an explicit option and a class of its own. What a mechanism costs per call is then shared by the whole
//! batch, which is what a program can do that may wait for more messages, and what one that may not cannot: rows with and
//! without are never comparable. Each message keeps its own sequence number and is verified by itself, and all figures
//! are per message. Rejected: a wake-up that is deferred over several messages (the transport would still see single
//! messages and the row would not say so).
//!
//! # Timing model
//! As [`stream`](super::stream): `elapsed = last verified - first built`. Windows are whole batches.

use super::payload::{Mismatch, Payload, Way};
use super::{Fault, Load, delay};
use crate::transport::{Receiver, Sender, Side};

/// Messages of `size` bytes, `count` of them in one of the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pack {
    /// Bytes of a message.
    pub size: usize,
    /// Messages that travel as one.
    pub count: usize,
}

impl Pack {
    #[inline(always)]
    fn fill(self, payload: Payload, first: u64, pack: &mut [u8]) {
        for (seq, message) in (first..).zip(pack.chunks_exact_mut(self.size)) {
            payload.fill(Way::Out, seq, message);
        }
    }

    /// Verifies the messages that came as one and returns their bytes; fewer than were due show in that sum.
    #[inline(always)]
    fn check(self, payload: Payload, first: u64, pack: &[u8]) -> Result<usize, Box<Mismatch>> {
        let messages = (first..).zip(pack.chunks_exact(self.size)).take(self.count);
        messages.map(|(seq, message)| payload.check(Way::Out, seq, message)).sum()
    }

    /// First sequence number of each batch of `n` messages, which are whole batches.
    #[inline(always)]
    fn firsts(self, load: &Load, n: u64) -> impl Iterator<Item = u64> + use<> {
        (load.next..load.next + n).step_by(self.count)
    }
}

/// The producer's half of `n` messages.
///
/// # Errors
/// When the transport fails.
#[inline(never)]
pub fn lead<S: Sender, R: Receiver>(side: &mut Side<S, R>, load: &mut Load, n: u64, pack: Pack) -> Result<(), Fault> {
    let payload = load.payload;
    for first in pack.firsts(load, n) {
        side.tx.send_with(|place| pack.fill(payload, first, place))?;
    }
    load.book(n, 0, 0);
    Ok(())
}

/// The consumer's half.
///
/// # Errors
/// When the transport fails or a message is wrong.
#[inline(never)]
pub fn follow<S: Sender, R: Receiver>(side: &mut Side<S, R>, load: &mut Load, n: u64, pack: Pack) -> Result<(), Fault> {
    let (payload, wait) = (load.payload, load.delay_ns);
    let mut bytes = 0;
    for first in pack.firsts(load, n) {
        bytes += side.rx.recv_with(|place| pack.check(payload, first, place))??;
        delay(wait);
    }
    load.book(n, n, bytes as u64);
    Ok(())
}

/// Both halves in one party, for the controls.
///
/// # Errors
/// When a message is wrong.
#[inline(never)]
pub fn alone<S: Sender, R: Receiver>(
    [near, far]: &mut [Side<S, R>; 2],
    load: &mut Load,
    n: u64,
    pack: Pack,
) -> Result<(), Fault> {
    let payload = load.payload;
    let mut bytes = 0;
    for first in pack.firsts(load, n) {
        near.tx.send_with(|place| pack.fill(payload, first, place))?;
        bytes += far.rx.recv_with(|place| pack.check(payload, first, place))??;
    }
    load.book(n, n, bytes as u64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Plan, Several, Touch, Workload};
    use crate::transport::{Config, HeapRing, Null, Transport};

    const PACK: Pack = Pack { size: 24, count: 5 };

    fn config() -> Config {
        let several = Several { batch: Some(5), ..Several::default() };
        Config::new(&Plan { workload: Workload::Stream, size: 24, several, ..Plan::default() })
    }

    #[test]
    fn every_message_of_a_batch_is_verified_by_itself() {
        let [mut near, mut far] = HeapRing::link(&config()).unwrap();
        near.attach().unwrap();
        far.attach().unwrap();
        let mut sender = Load::of(Touch::Whole, 0);
        lead(&mut near, &mut sender, 20, PACK).unwrap();
        near.tx
            .send_with(|place| {
                PACK.fill(sender.payload, 20, place);
                place[3 * 24 + 23] ^= 4;
            })
            .unwrap();
        let mut receiver = Load::of(Touch::Whole, 0);
        follow(&mut far, &mut receiver, 20, PACK).unwrap();
        assert_eq!((receiver.next, receiver.verified, receiver.bytes), (20, 20, 480));
        let fault = follow(&mut far, &mut receiver, 5, PACK).unwrap_err().to_string();
        assert_eq!(fault, "message 23 of 24 bytes is wrong from byte 23 on");
    }

    #[test]
    fn a_control_packs_and_verifies_too() {
        let mut load = Load::of(Touch::Whole, 0);
        alone(&mut Null::link(&config()).unwrap(), &mut load, 10, PACK).unwrap();
        assert_eq!((load.next, load.verified, load.bytes), (10, 10, 240));
    }
}
