//! Rousing the hub of many parties out of a call in which nobody else will ever wake it.
//!
//! Key decision: a signal whose handler raises a flag and does nothing else, installed without SA_RESTART, so that a call that
//! sleeps ends with EINTR, and whoever would make it again looks at the flag first ([`heed`]). It is sent again and again,
//! because one that comes between the look and the call is lost. SIGURG: a process that has no handler for it is not
//! disturbed, and the kernel sends it for nothing but out-of-band data that was asked for. The cost of a message does not
//! change: the flag is read only after a call that found nothing. Rejected: a limit for every sleep, which arms a timer for
//! each message; a lifeline beside each channel, a descriptor and a call more for each look, which queues and semaphores
//! could not sleep on; to kill the hub, which is the calling program itself where the library is used.
//!
//! A runtime takes up its sleep again after a signal and asks nobody. It can wait for a descriptor, though, so the handler
//! also rings a [`bell`] once somebody has asked for it. Source: sigaction(2), signal(7) on interrupted calls,
//! signal-safety(7), pipe(2).

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::unistd::{Pid, pipe2, read, write};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

const SIGNAL: Signal = Signal::SIGURG;

/// Whether the signal came.
static RAISED: AtomicBool = AtomicBool::new(false);

/// Whether a [`Rousable`] lives, in this process or in the one that it was forked from.
static ROUSABLE: AtomicBool = AtomicBool::new(false);

/// A pipe, whose second end the handler writes to; made when somebody asks for it, and never closed, because a handler may
/// be about to write.
static BELL: OnceLock<(OwnedFd, OwnedFd)> = OnceLock::new();
/// The number of that end, for the handler; -1 before there is one.
static BELL_NUMBER: AtomicI32 = AtomicI32::new(-1);

/// The handler. It stores into an atomic and writes to a descriptor, which any moment allows (signal-safety(7)).
extern "C" fn raise(_: libc::c_int) {
    // Relaxed: the flag orders nothing, and is read by the thread that the signal interrupts, or later.
    RAISED.store(true, Ordering::Relaxed);
    // Relaxed: the descriptor exists since before its number was stored, and a number is all that is used of it.
    let bell = BELL_NUMBER.load(Ordering::Relaxed);
    if bell >= 0 {
        let error = Errno::last_raw();
        // SAFETY: the kernel reads one byte of a static. Where the pipe is full, the bell rings.
        unsafe { libc::write(bell, RING.as_ptr().cast(), RING.len()) };
        // Whoever was interrupted may be about to look.
        Errno::set_raw(error);
    }
}

/// What is written to the bell.
static RING: [u8; 1] = [1];

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
        // What rang for an earlier run is over.
        while BELL.get().is_some_and(|(ear, _)| read(ear, &mut [0; 64]).is_ok_and(|bytes| bytes > 0)) {}
        ROUSABLE.store(true, Ordering::Relaxed);
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
        ROUSABLE.store(false, Ordering::Relaxed);
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

/// A descriptor that becomes readable, and stays so, when the calling process is roused: for a wait that a signal does not
/// end. It is the end of a pipe that nobody reads. `None` where nobody will rouse the process.
///
/// # Errors
/// What pipe(2) and dup(2) say.
pub fn bell() -> io::Result<Option<OwnedFd>> {
    if !ROUSABLE.load(Ordering::Relaxed) {
        return Ok(None);
    }
    if BELL.get().is_none() {
        // Two at once: the second one's is dropped unused.
        let _ = BELL.set(pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?);
    }
    let Some((ear, bell)) = BELL.get() else { return Ok(None) };
    // From here on the handler rings it; before that it raised the flag only.
    BELL_NUMBER.store(bell.as_raw_fd(), Ordering::Relaxed);
    if roused() {
        // Where it is full, it rings.
        let _ = write(bell, &RING);
    }
    ear.try_clone().map(Some)
}

/// To be asked before a call that found nothing, or was interrupted, is made again.
///
/// # Errors
/// `ConnectionAborted` when the calling process was roused.
#[inline(always)]
pub fn heed() -> io::Result<()> {
    if roused() { Err(lost()) } else { Ok(()) }
}

/// That the calling process was roused.
#[cold]
pub fn lost() -> io::Error {
    io::Error::new(ErrorKind::ConnectionAborted, "another party of the run was lost")
}
