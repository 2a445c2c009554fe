//! Stream: one direction, as fast as it goes.
//!
//! # Timing model
//! The producer reads the clock before it builds the first message, the consumer reads the same clock after it verified
//! the last one: `elapsed = last verified - first built`. What still lies in a buffer when the producer's last call
//! returns is therefore inside the time, and the consumer's start-up is not.

use super::payload::Way;
use super::{Fault, Load, delay};
use crate::transport::{Receiver, Sender, Side};

/// The producer's half.
///
/// # Errors
/// When the transport fails.
#[inline(never)]
pub fn lead<S: Sender, R: Receiver>(side: &mut Side<S, R>, load: &mut Load, n: u64) -> Result<(), Fault> {
    let (payload, first) = (load.payload, load.next);
    side.tx.send_each(n, |k, message| payload.fill(Way::Out, first + k, message))?;
    load.book(n, 0, 0);
    Ok(())
}

/// The consumer's half.
///
/// # Errors
/// When the transport fails or a message is wrong.
#[inline(never)]
pub fn follow<S: Sender, R: Receiver>(side: &mut Side<S, R>, load: &mut Load, n: u64) -> Result<(), Fault> {
    let (payload, first, wait) = (load.payload, load.next, load.delay_ns);
    let mut bytes = 0;
    if wait == 0 {
        side.rx.recv_each(n, |k, message| payload.check(Way::Out, first + k, message).map(|len| bytes += len))??;
    } else {
        for seq in first..first + n {
            bytes += side.rx.recv_with(|message| payload.check(Way::Out, seq, message))??;
            delay(wait);
        }
    }
    load.book(n, n, bytes as u64);
    Ok(())
}

/// Both halves in one party, for the controls.
///
/// # Errors
/// When a message is wrong.
#[inline(never)]
pub fn alone<S: Sender, R: Receiver>([near, far]: &mut [Side<S, R>; 2], load: &mut Load, n: u64) -> Result<(), Fault> {
    let (payload, first) = (load.payload, load.next);
    let mut bytes = 0;
    for seq in first..first + n {
        near.tx.send_with(|message| payload.fill(Way::Out, seq, message))?;
        bytes += far.rx.recv_with(|message| payload.check(Way::Out, seq, message))??;
    }
    load.book(n, n, bytes as u64);
    Ok(())
}
