//! Stream: one direction, as fast as it goes.
//!
//! # Timing model
//! The producer reads the clock before it builds the first message, the consumer reads the same clock after it verified
//! the last one: `elapsed = last verified - first built`. What still lies in a buffer when the producer's last call
//! returns is therefore inside the time, and the consumer's start-up is not.

use super::payload::Way;
use super::{Fault, Load};
use crate::transport::{Receiver, Sender, Side, Transport};

/// The producer's half.
///
/// # Errors
/// When the transport fails.
#[inline(never)]
pub fn lead<T: Transport>(side: &mut Side<T>, load: &mut Load, n: u64) -> Result<(), Fault> {
    for _ in 0..n {
        let (payload, seq) = (load.payload, load.next);
        side.tx.send_with(|message| payload.fill(Way::Out, seq, message))?;
        load.next += 1;
    }
    Ok(())
}

/// The consumer's half.
///
/// # Errors
/// When the transport fails or a message is wrong.
#[inline(never)]
pub fn follow<T: Transport>(side: &mut Side<T>, load: &mut Load, n: u64) -> Result<(), Fault> {
    for _ in 0..n {
        let (payload, seq) = (load.payload, load.next);
        let checked = side.rx.recv_with(|message| payload.check(Way::Out, seq, message))?;
        load.count(checked)?;
        load.delay();
        load.next += 1;
    }
    Ok(())
}

/// Both halves in one party, for the controls.
///
/// # Errors
/// When a message is wrong.
#[inline(never)]
pub fn alone<T: Transport>([near, far]: &mut [Side<T>; 2], load: &mut Load, n: u64) -> Result<(), Fault> {
    for _ in 0..n {
        let (payload, seq) = (load.payload, load.next);
        near.tx.send_with(|message| payload.fill(Way::Out, seq, message))?;
        let checked = far.rx.recv_with(|message| payload.check(Way::Out, seq, message))?;
        load.count(checked)?;
        load.next += 1;
    }
    Ok(())
}
