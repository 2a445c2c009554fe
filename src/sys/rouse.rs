//! Rousing the hub of many parties out of a call in which nobody else will ever wake it.
//!
//! Key decision: a signal whose handler raises a flag and does nothing else, installed without SA_RESTART, so that a call that
//! sleeps ends with EINTR, and whoever would make it again looks at the flag first ([`heed`]). It is sent again and again,
//! because one that comes between the look and the call is lost. SIGURG: a process that has no handler for it is not
//! disturbed, and the kernel sends it for nothing but out-of-band data that was asked for. The cost of a message does not
//! change: the flag is read only after a call that found nothing. Rejected: a limit for every sleep, which arms a timer for
//! each message; a lifeline beside each channel, a descriptor and a call more for each look, which queues and semaphores
//! could not sleep on; to kill the hub, which is the calling program itself where the library is used.
//! Source: sigaction(2), signal(7) on interrupted calls.

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::unistd::Pid;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};

const SIGNAL: Signal = Signal::SIGURG;

/// Whether the signal came.
static RAISED: AtomicBool = AtomicBool::new(false);

/// The handler. To store into an atomic is all that it does, which any moment allows (signal-safety(7)).
extern "C" fn raise(_: libc::c_int) {
    // Relaxed: the flag orders nothing, and is read by the thread that the signal interrupts, or later.
    RAISED.store(true, Ordering::Relaxed);
}

/// While this lives, the calling process can be [roused](rouse).
#[derive(Debug)]
pub struct Rousable {
    was: SigAction,
    /// Whether the calling thread had the signal blocked.
    blocked: bool,
}

/// The signal alone.
fn mask() -> SigSet {
    SigSet::from(SIGNAL)
}

impl Rousable {
    /// Takes the signal.
    ///
    /// # Errors
    /// What sigaction(2) says.
    pub fn new() -> io::Result<Self> {
        RAISED.store(false, Ordering::Relaxed);
        let action = SigAction::new(SigHandler::Handler(raise), SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler does nothing that a signal may not interrupt.
        let was = unsafe { sigaction(SIGNAL, &action) }?;
        // Whoever has it blocked, or inherited it so, would never hear it.
        let blocked = SigSet::thread_get_mask()?.contains(SIGNAL);
        mask().thread_unblock()?;
        Ok(Self { was, blocked })
    }
}

impl Drop for Rousable {
    fn drop(&mut self) {
        // SAFETY: the action was the process's before.
        let _ = unsafe { sigaction(SIGNAL, &self.was) };
        if self.blocked {
            let _ = mask().thread_block();
        }
        RAISED.store(false, Ordering::Relaxed);
    }
}

/// Rouses process `pid`, once.
pub fn rouse(pid: u32) {
    let _ = kill(Pid::from_raw(pid as i32), SIGNAL);
}

/// Whether the calling process was roused, so that what it waits for will not come.
#[inline(always)]
pub fn roused() -> bool {
    RAISED.load(Ordering::Relaxed)
}

/// To be asked before a call that found nothing, or was interrupted, is made again.
///
/// # Errors
/// `ConnectionAborted` when the calling process was roused.
#[inline(always)]
pub fn heed() -> io::Result<()> {
    if roused() { Err(lost()) } else { Ok(()) }
}

#[cold]
fn lost() -> io::Error {
    io::Error::new(ErrorKind::ConnectionAborted, "another party of the run was lost")
}
