//! A window with a fault in its middle: what the checks of a run are checked with.
//!
//! Key decision: the ordinary loops carry what comes before and after the fault, and a loop of its own is chosen before
//! the window starts, so that the possibility of a fault costs a healthy run nothing. The fault is committed by the
//! *sender*, once, as a broken mechanism would: the receiver knows nothing of it. Rejected: a test in the hot loop; a
//! faulty transport around each mechanism (it would be checked instead of the mechanism).
//!
//! What the receiver can tell: it has no second look at a message that never came, so a lost message and the first of
//! two that were swapped read alike, "lost or reordered".

use super::payload::Way;
use super::{Batch, Fault, Load, ping_pong, stream};
use crate::plan::{Plant, Workload};
use crate::transport::dynamic::AnyTx;
use crate::transport::{Receiver, Sender, Side};

/// Shortest window that has a middle with messages after it, so that a lost one is noticed instead of waited for.
const SHORTEST: u64 = 8;

impl Load {
    /// The fault to commit in a window of `n` messages, if there is one left.
    pub fn due(&mut self, n: u64) -> Option<Plant> {
        self.plant.take_if(|_| n >= SHORTEST)
    }
}

/// The leader's half of either workload, with `plant` in the middle.
///
/// # Errors
/// As [`ping_pong::lead`] and [`stream::lead`]; and when all goes well, the receiver's.
#[inline(never)]
pub fn lead<S: Sender, R: Receiver>(
    side: &mut Side<S, R>,
    load: &mut Load,
    n: u64,
    workload: Workload,
    plant: Plant,
) -> Result<(), Fault> {
    let first = load.next;
    let healthy = |side: &mut Side<S, R>, load: &mut Load, n| match workload {
        Workload::PingPong => ping_pong::lead(side, load, n, &mut Batch),
        _ => stream::lead(side, load, n),
    };
    healthy(side, load, n / 2)?;
    let (payload, seq) = (load.payload, load.next);
    commit(&mut side.tx, load, plant)?;
    if workload == Workload::PingPong {
        side.rx.recv_with(|pong| payload.check(Way::Back, seq, pong))??;
    }
    healthy(side, load, first + n - load.next)
}

/// Sends what should have been the next message (two of them for a swap) with the fault. Through a pointer, since no such
/// window is believed: compiled once and not for each mechanism.
///
/// # Errors
/// When the transport fails.
pub fn commit(tx: &mut dyn AnyTx, load: &mut Load, plant: Plant) -> Result<(), Fault> {
    let (payload, seq) = (load.payload, load.next);
    let mut send = |seq| tx.send(&mut |message| payload.fill(Way::Out, seq, message));
    match plant {
        Plant::Flip => flip(tx, load)?,
        Plant::Drop => {}
        Plant::Double => {
            send(seq)?;
            send(seq)?;
        }
        Plant::Swap => {
            send(seq + 1)?;
            send(seq)?;
        }
    }
    load.book(if plant == Plant::Swap { 2 } else { 1 }, 0, 0);
    Ok(())
}

/// Both halves in one party, with a flipped bit in the middle.
///
/// # Errors
/// When a message is wrong, as it should be.
#[inline(never)]
pub fn alone<S: Sender, R: Receiver>(sides: &mut [Side<S, R>; 2], load: &mut Load, n: u64) -> Result<(), Fault> {
    stream::alone(sides, load, n / 2)?;
    let [near, far] = &mut *sides;
    flip(&mut near.tx, load)?;
    let (payload, seq) = (load.payload, load.next);
    let len = far.rx.recv_with(|message| payload.check(Way::Out, seq, message))??;
    load.book(1, 1, len as u64);
    stream::alone(sides, load, n - n / 2 - 1)
}

fn flip(tx: &mut dyn AnyTx, load: &Load) -> Result<(), Fault> {
    let (payload, seq) = (load.payload, load.next);
    tx.send(&mut |message| {
        payload.fill(Way::Out, seq, message);
        payload.spoil(message);
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Parties, Plan};
    use crate::transport::{Config, HeapRing, Transport};

    /// What the receiver of eight messages says.
    fn heard(plant: Plant) -> String {
        let config = Config::new(&Plan { workload: Workload::Stream, parties: Parties::Thread, ..Plan::default() });
        let [mut near, mut far] = HeapRing::link(&config).unwrap();
        near.attach().unwrap();
        far.attach().unwrap();
        let mut load = Load::new(&Plan { plant: Some(plant), ..Plan::default() });
        assert_eq!(load.due(SHORTEST - 1), None, "a window without a middle is left alone");
        let due = load.due(SHORTEST).unwrap();
        assert_eq!(load.due(SHORTEST), None, "once is enough");
        lead(&mut near, &mut load, 8, Workload::Stream, due).unwrap();
        assert_eq!(load.next, 8);
        let mut receiver = Load::new(&Plan::default());
        stream::follow(&mut far, &mut receiver, 8).unwrap_err().to_string()
    }

    #[test]
    fn the_receiver_names_every_fault() {
        assert_eq!(heard(Plant::Flip), "message 4 of 64 bytes is wrong from byte 63 on");
        assert_eq!(heard(Plant::Drop), "message 4 was due and message 5 came (lost or reordered)");
        assert_eq!(heard(Plant::Double), "message 5 was due and message 4 came again (doubled or reordered)");
        assert_eq!(heard(Plant::Swap), "message 4 was due and message 5 came (lost or reordered)");
    }
}
