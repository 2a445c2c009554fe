//! Ping-pong: a message each way, one at a time.
//!
//! # Timing model
//! A window of `n` round trips lies between two clock readings of the leader: `elapsed = n * (build ping + carry + verify
//! ping + build pong + carry + verify pong) + one clock reading`. The clock starts when the follower stands at the start
//! line and stops when the leader has verified the last pong.

use super::payload::Way;
use super::{Fault, Load, Watch, delay};
use crate::transport::{Receiver, Sender, Side};

/// The leader's half: sends a ping, waits for its pong.
///
/// # Errors
/// When the transport fails or a pong is wrong.
#[inline(never)]
pub fn lead<S: Sender, R: Receiver>(
    side: &mut Side<S, R>,
    load: &mut Load,
    n: u64,
    watch: &mut impl Watch,
) -> Result<(), Fault> {
    let (payload, first) = (load.payload, load.next);
    let mut bytes = 0;
    for seq in first..first + n {
        watch.begin();
        side.tx.send_with(|ping| payload.fill(Way::Out, seq, ping))?;
        let checked = side.rx.recv_with(|pong| payload.check(Way::Back, seq, pong))?;
        watch.end();
        bytes += checked?;
    }
    load.book(n, n, bytes as u64);
    Ok(())
}

/// The follower's half: waits for a ping, verifies it, sends its pong.
///
/// # Errors
/// When the transport fails or a ping is wrong.
#[inline(never)]
pub fn follow<S: Sender, R: Receiver>(side: &mut Side<S, R>, load: &mut Load, n: u64) -> Result<(), Fault> {
    let (payload, first, wait) = (load.payload, load.next, load.delay_ns);
    let mut bytes = 0;
    for seq in first..first + n {
        bytes += side.rx.recv_with(|ping| payload.check(Way::Out, seq, ping))??;
        delay(wait);
        side.tx.send_with(|pong| payload.fill(Way::Back, seq, pong))?;
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
    watch: &mut impl Watch,
) -> Result<(), Fault> {
    let (payload, first) = (load.payload, load.next);
    let mut bytes = 0;
    for seq in first..first + n {
        watch.begin();
        near.tx.send_with(|ping| payload.fill(Way::Out, seq, ping))?;
        let ping = far.rx.recv_with(|ping| payload.check(Way::Out, seq, ping))?;
        far.tx.send_with(|pong| payload.fill(Way::Back, seq, pong))?;
        let pong = near.rx.recv_with(|pong| payload.check(Way::Back, seq, pong))?;
        watch.end();
        ping?;
        bytes += pong?;
    }
    load.book(n, n, bytes as u64);
    Ok(())
}
